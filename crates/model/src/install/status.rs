//! How far an installation is, as it is kept with the box.

use personium_store::{Batch, Expect};
use personium_types::{Code, Error, NodeId, Result as Outcome};
use serde::{Deserialize, Serialize};

use crate::commit::Invalidation;
use crate::keys::{self, ControlSet, SetKey};
use crate::records;
use crate::{BoxInfo, CellContext, Unit};

/// Milliseconds without a sign of life after which an installation is given up: its server has stopped.
const SILENCE: i64 = 60_000;
/// The code of an installation that nobody goes on with.
const ABANDONED: &str = "PL-BI-1005";

/// What is stored about an installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Installation {
    /// When it began, milliseconds since 1970.
    #[serde(rename = "s")]
    pub started: i64,
    /// How much of the archive was looked at.
    #[serde(rename = "p")]
    pub percent: u64,
    /// When it last said that it goes on, milliseconds since 1970.
    #[serde(rename = "a")]
    pub alive: i64,
    /// How it ended.
    #[serde(rename = "e", default)]
    pub end: Option<Result>,
}

/// How an installation ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Result {
    /// Everything is there.
    Done,
    /// It stopped.
    Failed {
        /// The code of what went wrong.
        code: String,
        /// What went wrong, for people.
        text: String,
    },
}

/// What can be said about a box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// It can be used.
    Ready {
        /// Since when, milliseconds since 1970.
        since: i64,
    },
    /// It is being installed.
    Running {
        /// Since when, milliseconds since 1970.
        started: i64,
        /// How much of the archive was looked at.
        percent: u64,
    },
    /// Its installation failed.
    Failed {
        /// When it began, milliseconds since 1970.
        started: i64,
        /// How much of the archive was looked at.
        percent: u64,
        /// The code of what went wrong.
        code: String,
        /// What went wrong, for people.
        text: String,
    },
}

/// Stores how far the installation of a box is.
///
/// # Errors
/// 404 if the box is gone.
pub(super) async fn store(
    unit: &Unit,
    context: &CellContext,
    box_id: &NodeId,
    installation: &Installation,
) -> Outcome<()> {
    let id = box_id.to_string();
    unit.transact(context, Invalidation::None, || async {
        let mut batch = Batch::new();
        let the_box = keys::entity(&SetKey::control(ControlSet::Box), &id);
        if context.records().find_version(&the_box).await?.is_none() {
            return Err(Error::new(Code::NoSuchBox).with(id.as_str()));
        }
        batch.assert(the_box, Expect::Present);
        records::put(&mut batch, keys::installation(&id), installation)?;
        Ok((batch, ()))
    })
    .await
}

/// What can be said about a box.
pub async fn status(unit: &Unit, context: &CellContext, found: &BoxInfo) -> Outcome<Status> {
    let key = keys::installation(&found.id.to_string());
    let stored = context.records().find::<Installation>(&key).await?;
    Ok(match stored {
        None => Status::Ready {
            since: found.published,
        },
        Some(stored) => stored.value.at(unit.now_ms()),
    })
}

impl Installation {
    fn at(self, now: i64) -> Status {
        let (started, percent) = (self.started, self.percent);
        match self.end {
            Some(Result::Done) => Status::Ready { since: started },
            Some(Result::Failed { code, text }) => Status::Failed {
                started,
                percent,
                code,
                text,
            },
            None if now - self.alive <= SILENCE => Status::Running { started, percent },
            None => Status::Failed {
                started,
                percent,
                code: ABANDONED.to_owned(),
                text: "the server stopped while it installed the box".to_owned(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installation_that_is_silent_has_failed() {
        let running = Installation {
            started: 1_000,
            percent: 40,
            alive: 5_000,
            end: None,
        };
        let (started, percent) = (1_000, 40);
        assert_eq!(
            running.clone().at(5_000 + SILENCE),
            Status::Running { started, percent }
        );
        assert!(matches!(
            running.clone().at(5_001 + SILENCE),
            Status::Failed { started: 1_000, percent: 40, code, .. } if code == ABANDONED
        ));
        let done = Installation {
            end: Some(Result::Done),
            ..running
        };
        assert_eq!(done.at(i64::MAX), Status::Ready { since: 1_000 });
    }
}
