//! The log: lines on the standard error, as text or JSON.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// A filter of the log that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("io.personium.core.log.filter: {0}")]
pub struct FilterError(String);

/// Starts the log. A second call in one process has no effect.
///
/// # Errors
/// If the filter cannot be read.
pub fn start(settings: &Log) -> Result<(), FilterError> {
    let filter =
        EnvFilter::try_new(&settings.filter).map_err(|error| FilterError(error.to_string()))?;
    let terminal = std::io::stderr().is_terminal();
    let json = match settings.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !terminal,
    };
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // A second subscriber is refused: the first one stays.
    let _started = if json {
        lines
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .try_init()
    } else {
        lines.with_ansi(terminal).with_target(false).try_init()
    };
    Ok(())
}
