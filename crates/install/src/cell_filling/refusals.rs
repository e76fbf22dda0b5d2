//! Objects that are refused: the first one ends the filling, or they are left out and noted.

use parking_lot::Mutex;
use personium_types::{Error, Result};

use crate::snapshot_package::reason_of;

/// The largest number of refusals that are kept.
const MAX_NOTED: usize = 1_000;

/// An object that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The kind of the object, or its path.
    pub place: String,
    /// Its id in the source, if it has one.
    pub id: String,
    /// Why it was refused.
    pub reason: String,
}

impl Refusal {
    /// The place, the id and the reason.
    pub fn into_parts(self) -> (String, String, String) {
        (self.place, self.id, self.reason)
    }
}

/// The treatment of objects that are refused.
#[derive(Debug)]
pub(crate) enum Refusals {
    /// The first one ends the filling.
    End,
    /// They are left out and noted: those that are kept, and the number of all.
    Note(Mutex<(Vec<Refusal>, u64)>),
}

impl Refusals {
    /// They are left out and noted.
    pub fn noted() -> Self {
        Self::Note(Mutex::default())
    }

    /// Adds a refusal.
    ///
    /// # Errors
    /// The error, if it ends the filling: a failure of the server always does.
    pub fn add(&self, place: &str, id: &str, error: Error) -> Result<()> {
        match self {
            Self::Note(_) if !error.code().is_server_error() => {
                self.note(place, id, &reason_of(&error, place));
                Ok(())
            }
            _ => Err(error),
        }
    }

    /// Notes what is left out in any case.
    pub fn note(&self, place: &str, id: &str, reason: &str) {
        let Self::Note(noted) = self else {
            return;
        };
        let mut noted = noted.lock();
        noted.1 += 1;
        if noted.0.len() < MAX_NOTED {
            noted.0.push(Refusal {
                place: place.to_owned(),
                id: id.to_owned(),
                reason: reason.to_owned(),
            });
        }
    }

    /// The refusals that were noted, and the number of all.
    pub fn into_noted(self) -> (Vec<Refusal>, u64) {
        match self {
            Self::End => (Vec::new(), 0),
            Self::Note(noted) => noted.into_inner(),
        }
    }
}

#[cfg(test)]
mod tests {
    use personium_types::Code;

    use super::*;

    #[test]
    fn refusals_are_noted_and_failures_are_not() {
        assert!(
            Refusals::End
                .add("p", "i", Code::EntityExists.into())
                .is_err()
        );
        let noted = Refusals::noted();
        for _ in 0..=MAX_NOTED {
            noted.add("p", "i", Code::EntityExists.into()).unwrap();
        }
        assert!(noted.add("p", "i", Code::StoreCorrupt.into()).is_err());
        let (kept, all) = noted.into_noted();
        assert_eq!((kept.len(), all), (MAX_NOTED, MAX_NOTED as u64 + 1));
    }
}
