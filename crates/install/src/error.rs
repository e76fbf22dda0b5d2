//! Why an installation fails.

use std::error::Error as _;
use std::fmt::Display;

use personium_archive::BarEntry;
use personium_types::Error;
use personium_types::error::chain;

/// The result of a step of an installation.
pub(crate) type InstallResult<T = ()> = Result<T, InstallError>;

/// The code of an error of the archive.
const ARCHIVE_ERROR: &str = "PL-BI-1004";
/// The code of an error of the server.
pub(crate) const SERVER_ERROR: &str = "PL-BI-1005";

/// The text for an installation whose server is gone.
pub(crate) const SERVER_STOPPED: &str = "the server stopped while it installed the box";

/// The error that ends an installation.
#[derive(Debug)]
pub(crate) struct InstallError {
    /// The code for an error of the archive or of the server.
    pub code: &'static str,
    /// The entry of the archive.
    pub entry: String,
    /// The reason, for people.
    pub reason: String,
    /// The remains of the box.
    pub remains: Remains,
}

/// The remains of a box whose installation failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remains {
    /// Nothing.
    Nothing,
    /// The box with its collections, but no roles, relations and rules: clients of the legacy version remove them one by one.
    Collections,
}

/// The kinds of errors of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InstallReason {
    /// The entry cannot be read.
    Unreadable,
    /// The entry is missing, or not expected there.
    Misplaced,
    /// The entry is not the JSON or XML that is expected.
    Syntax,
    /// A definition or an entity is not valid.
    Definition,
    /// The media type is not valid.
    MediaType,
    /// The description of the box does not contain the file.
    NotDescribed,
}

impl InstallReason {
    /// The number of the reason, and its text.
    const fn text(self) -> (u16, &'static str) {
        match self {
            Self::Unreadable => (2000, "the entry cannot be read"),
            Self::Misplaced => (2001, "the entry is missing or not expected there"),
            Self::Syntax => (2002, "the entry is not the JSON or XML that is expected"),
            Self::Definition => (2003, "a definition is not valid"),
            Self::MediaType => (2005, "the media type is not valid"),
            Self::NotDescribed => (2006, "90_rootprops.xml does not describe it"),
        }
    }
}

impl InstallError {
    /// An error of the archive.
    pub fn new(reason: InstallReason, entry: &str, detail: impl Display) -> Self {
        let (number, text) = reason.text();
        Self::numbered(number, entry, format!("{text}: {detail}"))
    }

    /// An error of the archive with this number.
    pub fn numbered(number: u16, entry: &str, text: impl Display) -> Self {
        Self {
            code: ARCHIVE_ERROR,
            entry: entry.to_owned(),
            reason: format!("{text} (PL-BI-{number})"),
            remains: Remains::Nothing,
        }
    }

    /// The error for an entry that `model` refused.
    pub fn refused(entry: &BarEntry, error: &Error) -> Self {
        Self {
            code: match error.code().is_server_error() {
                true => SERVER_ERROR,
                false => ARCHIVE_ERROR,
            },
            entry: entry.name().to_owned(),
            reason: format!("{} ({})", with_cause(error), error.code().as_str()),
            remains: Remains::Nothing,
        }
    }

    /// The error for a failure of the server itself.
    pub fn internal(entry: &str, reason: impl Display) -> Self {
        Self {
            code: SERVER_ERROR,
            entry: entry.to_owned(),
            reason: reason.to_string(),
            remains: Remains::Nothing,
        }
    }

    /// The same error at a line of the entry.
    pub fn at_line(mut self, line: Option<usize>) -> Self {
        if let Some(line) = line {
            self.reason = format!("line {line}: {}", self.reason);
        }
        self
    }

    /// The text of the event about the entry.
    pub fn event_text(&self) -> String {
        match self.code {
            ARCHIVE_ERROR => format!("Installation failed({}).", self.reason),
            _ => self.reason.clone(),
        }
    }

    /// The text of the event that ends the installation.
    pub fn summary(&self) -> String {
        format!(
            "Bar installation failed({}: {}).",
            self.entry,
            self.event_text()
        )
    }

    /// The entry and the reason.
    pub fn text(&self) -> String {
        format!("{}: {}", self.entry, self.reason)
    }
}

/// The message of an error. For an error of the archive, its causes follow: they tell what is wrong in it.
fn with_cause(error: &Error) -> String {
    let message = error.message();
    match error.source() {
        Some(source) if !error.code().is_server_error() => {
            format!("{message} {}", chain(source))
        }
        _ => message,
    }
}

/// Adds the entry of the archive to an error.
pub(crate) trait InEntry<T>: Sized {
    /// The error with the entry that caused it.
    fn in_entry(self, entry: &BarEntry) -> InstallResult<T>;

    /// The error with the entry and the line that caused it.
    fn at_line(self, entry: &BarEntry, line: Option<usize>) -> InstallResult<T> {
        self.in_entry(entry).map_err(|error| error.at_line(line))
    }
}

impl<T> InEntry<T> for personium_types::Result<T> {
    fn in_entry(self, entry: &BarEntry) -> InstallResult<T> {
        self.map_err(|error| InstallError::refused(entry, &error))
    }
}
