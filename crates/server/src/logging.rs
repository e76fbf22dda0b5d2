//! The log: lines on the standard error, as text or JSON.

mod line_limits;

use std::io::IsTerminal;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use personium_types::Clock;
use tracing::Level;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use self::line_limits::{BoundedLines, LineLimits};
use crate::config::{LogConfig, LogFormat};

/// Changes the filter of the log of this process, once the log has started.
static FILTER: Mutex<Option<reload::Handle<EnvFilter, Registry>>> = Mutex::new(None);

/// The bounds of the log of this process, once the log has started.
static LIMITS: OnceLock<Arc<LineLimits>> = OnceLock::new();

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
pub fn start(config: &LogConfig, clock: Arc<dyn Clock>) -> Result<(), LogFilterError> {
    let (filter, handle) = reload::Layer::new(filter(config)?);
    // Otherwise a line that nobody reads any more ends the thread that writes it.
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    let limits = Arc::new(LineLimits::new(clock));
    let bounds = BoundedLines(Arc::clone(&limits));
    let subscriber = tracing_subscriber::registry().with(filter).with(bounds);
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
        let _ = LIMITS.set(limits);
    }
    Ok(())
}

/// Writes from time to time how many warnings and errors were left out, because there were too many of the same place.
pub(crate) async fn report_left_out_lines() {
    loop {
        tokio::time::sleep(line_limits::INTERVAL).await;
        report_now(false);
    }
}

/// As [`report_left_out_lines`], for the last time.
pub(crate) fn report_last_left_out_lines() {
    report_now(true);
}

fn report_now(at_once: bool) {
    let Some(limits) = LIMITS.get() else {
        return;
    };
    for left_out in limits.end_intervals(at_once) {
        let (place, lines) = (left_out.place, left_out.lines);
        match left_out.level {
            Level::ERROR => tracing::error!(place, lines, "lines of the log were left out"),
            _ => tracing::warn!(place, lines, "lines of the log were left out"),
        }
    }
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
