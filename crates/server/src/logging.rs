//! The log: lines on the standard error, as text or JSON.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};

/// A malformed log filter.
#[derive(Debug, thiserror::Error)]
#[error("io.personium.core.log.filter: {0}")]
pub struct LogFilterError(String);

/// Starts the log. A second call in one process has no effect.
///
/// # Errors
/// [`LogFilterError`] if the filter cannot be parsed.
pub fn start(config: &LogConfig) -> Result<(), LogFilterError> {
    let filter =
        EnvFilter::try_new(&config.filter).map_err(|error| LogFilterError(error.to_string()))?;
    let is_terminal = std::io::stderr().is_terminal();
    let is_json = match config.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !is_terminal,
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // The error says that a subscriber is installed already: it stays.
    let _installed = if is_json {
        subscriber
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .try_init()
    } else {
        subscriber
            .with_ansi(is_terminal)
            .with_target(false)
            .try_init()
    };
    Ok(())
}
