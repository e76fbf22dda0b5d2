//! Settings of the log.

use std::path::PathBuf;

use personium_model::audit::AuditRetention;

use super::section::section;
use super::value_parser::{FilePath, LogFilter, Number, OneOf, Optional};

/// The milliseconds of a day.
const DAY_MS: i64 = 24 * 3600 * 1000;

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

/// The format of the access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessLogFormat {
    /// There is none.
    Off,
    /// JSON if the log is JSON, else the Common Log Format.
    Auto,
    /// The Common Log Format.
    Common,
    /// One JSON object per line.
    Json,
}

section! {
    /// Settings of the log, which is written to the standard error.
    LogConfig "Log" {
        /// The format of log lines: text, json, or auto, which means text on a terminal and json elsewhere.
        format: LogFormat = "log.format", "auto",
            OneOf(&[("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)]);
        /// The lowest level that is logged: error, warn, info, debug, trace, or off. Levels can be set for crates:
        /// info,personium_api=debug.
        filter: String = "log.filter", "info", LogFilter;
        /// The access log, with a line for each request: off, common (Common Log Format, followed by the seconds until the
        /// response was sent and the request key), json, or auto, which means json if the log is json, else common. Tokens,
        /// codes and passwords in URLs are masked.
        access: AccessLogFormat = "log.access", "auto",
            OneOf(&[
                ("off", AccessLogFormat::Off),
                ("auto", AccessLogFormat::Auto),
                ("common", AccessLogFormat::Common),
                ("json", AccessLogFormat::Json),
            ]);
        /// The file of the access log; by default, the standard error. SIGHUP opens it again, after another program has
        /// renamed it.
        access_file: Option<PathBuf> = "log.access.file", "", Optional(FilePath);
        /// The time in milliseconds for which the runtime must have run no new task until the log and a metric say so; 0 means
        /// never.
        stall_threshold_ms: u64 = "log.stall.thresholdInMs", "1000", Number(0..=600_000);
        /// The time in days after which entries of the audit log are removed; 0 means never.
        audit_retention_days: u32 = "log.audit.retentionInDays", "365", Number(0..=36_500);
        /// The largest number of entries of the audit log, from which on the oldest are removed; 0 means no limit.
        audit_entries_max: u64 = "log.audit.entries.maxnum", "1000000", Number(0..=1_000_000_000);
    }
}

impl LogConfig {
    /// How long entries of the audit log are kept.
    pub(crate) fn audit_retention(&self) -> AuditRetention {
        let days = Some(self.audit_retention_days).filter(|days| *days > 0);
        AuditRetention {
            max_age_ms: days.map(|days| i64::from(days) * DAY_MS),
            entries_max: Some(self.audit_entries_max).filter(|max| *max > 0),
        }
    }
}
