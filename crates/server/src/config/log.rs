//! The log.

use super::rule::{OneOf, Text};
use super::section::section;

/// How lines of the log look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    Auto,
    /// For people.
    Text,
    /// For programs: one object a line.
    Json,
}

section! {
    /// The log, which goes to the standard error.
    Log "Log" {
        /// How lines look: text, json, or auto, which is text on a terminal and json elsewhere.
        format: LogFormat = "log.format", "auto",
            OneOf(&[("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)]);
        /// What is logged: error, warn, info, debug or trace, also by part: info,personium_api=debug.
        filter: String = "log.filter", "info", Text;
    }
}
