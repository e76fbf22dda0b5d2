//! Why an installation stops.

use personium_types::Error;

use super::package::BarEntry;
use super::status::Result as End;

/// What a step of an installation comes to.
pub(super) type Outcome<T = ()> = Result<T, Failure>;

/// An installation that stopped.
#[derive(Debug)]
pub(super) struct Failure {
    /// `PL-BI-1004` for what the archive is to blame for, `PL-BI-1005` for the server.
    pub code: &'static str,
    /// The entry of the archive.
    pub entry: String,
    /// What went wrong, for people.
    pub reason: String,
}

/// What archives get wrong, with the number that installers tell it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The entry cannot be read.
    Unreadable,
    /// The entry is not expected, or is missing.
    Place,
    /// Not the JSON or XML that is expected.
    Syntax,
    /// A definition or data that is not valid.
    Definition,
    /// A media type that is none.
    MediaType,
    /// A file that the description of the box does not know.
    NotDescribed,
}

impl Fault {
    const fn text(self) -> (u16, &'static str) {
        match self {
            Self::Unreadable => (2000, "the entry cannot be read"),
            Self::Place => (2001, "the entry is missing or not expected there"),
            Self::Syntax => (2002, "the entry is not the JSON or XML that is expected"),
            Self::Definition => (2003, "a definition is not valid"),
            Self::MediaType => (2005, "the media type is not valid"),
            Self::NotDescribed => (2006, "90_rootprops.xml does not describe it"),
        }
    }
}

impl Failure {
    /// The archive is to blame.
    pub fn new(fault: Fault, entry: &str, detail: impl std::fmt::Display) -> Self {
        let (number, text) = fault.text();
        Self::numbered(number, entry, format!("{text}: {detail}"))
    }

    /// The archive is to blame, for a fault of this number.
    pub fn numbered(number: u16, entry: &str, text: impl std::fmt::Display) -> Self {
        Self {
            code: "PL-BI-1004",
            entry: entry.to_owned(),
            reason: format!("{text} (PL-BI-{number})"),
        }
    }

    /// The archive is to blame for what cannot be made, unless the server is.
    pub fn refused(entry: &BarEntry, error: &Error) -> Self {
        Self {
            code: if error.code().is_server_error() {
                "PL-BI-1005"
            } else {
                "PL-BI-1004"
            },
            entry: entry.name().to_owned(),
            reason: format!("{} ({})", error.message(), error.code().as_str()),
        }
    }

    /// What is kept with the box.
    pub fn into_end(self) -> End {
        End::Failed {
            code: self.code.to_owned(),
            text: format!("{}: {}", self.entry, self.reason),
        }
    }
}

/// Says which entry an error belongs to.
pub(super) trait At<T> {
    /// The failure of the entry.
    fn at(self, entry: &BarEntry) -> Outcome<T>;
}

impl<T> At<T> for personium_types::Result<T> {
    fn at(self, entry: &BarEntry) -> Outcome<T> {
        self.map_err(|error| Failure::refused(entry, &error))
    }
}
