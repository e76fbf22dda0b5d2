//! The log: lines on the standard error, as text or JSON.

use std::io::IsTerminal;

use parking_lot::Mutex;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use crate::config::{LogConfig, LogFormat};

/// Changes the filter of the log of this process, once the log has started.
static FILTER: Mutex<Option<reload::Handle<EnvFilter, Registry>>> = Mutex::new(None);

/// A malformed log filter.
#[derive(Debug, thiserror::Error)]
#[error("io.personium.core.log.filter: {0}")]
pub struct LogFilterError(String);

/// Whether log lines are JSON.
#[must_use]
pub fn is_json(config: &LogConfig) -> bool {
    match config.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    }
}

fn filter(config: &LogConfig) -> Result<EnvFilter, LogFilterError> {
    EnvFilter::try_new(&config.filter).map_err(|error| LogFilterError(error.to_string()))
}

/// Starts the log. A second call in one process has no effect.
///
/// # Errors
/// [`LogFilterError`] if the filter cannot be parsed.
pub fn start(config: &LogConfig) -> Result<(), LogFilterError> {
    let (filter, handle) = reload::Layer::new(filter(config)?);
    let lines = fmt::layer().with_writer(std::io::stderr);
    let subscriber = tracing_subscriber::registry().with(filter);
    // An error says that a subscriber is installed already: it stays.
    let installed = if is_json(config) {
        let lines = lines
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false);
        subscriber.with(lines).try_init()
    } else {
        let lines = lines
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false);
        subscriber.with(lines).try_init()
    };
    if installed.is_ok() {
        *FILTER.lock() = Some(handle);
    }
    Ok(())
}

/// Applies the filter of other settings to the log.
///
/// # Errors
/// [`LogFilterError`] if the filter cannot be parsed; then the old one stays.
pub fn apply_filter(config: &LogConfig) -> Result<(), LogFilterError> {
    let filter = filter(config)?;
    match &*FILTER.lock() {
        Some(handle) => handle
            .reload(filter)
            .map_err(|error| LogFilterError(error.to_string())),
        None => Ok(()),
    }
}
