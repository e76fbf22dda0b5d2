//! Settings of the log.

use super::section::section;
use super::value_parser::{OneOf, Text};

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    Auto,
    /// Text.
    Text,
    /// One JSON object per line.
    Json,
}

section! {
    /// Settings of the log, which is written to the standard error.
    LogConfig "Log" {
        /// The format of log lines: text, json, or auto, which means text on a terminal and json elsewhere.
        format: LogFormat = "log.format", "auto",
            OneOf(&[("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)]);
        /// The lowest level that is logged: error, warn, info, debug or trace. Levels can be set for crates:
        /// info,personium_api=debug.
        filter: String = "log.filter", "info", Text;
    }
}
