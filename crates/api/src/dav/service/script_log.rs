//! The lines that a script logs, on their way to the event log of the cell.

use std::sync::Arc;

use parking_lot::Mutex;
use personium_model::event::Event;
use personium_model::event::log::{self as event_log, LogLevel as LineLevel};
use personium_model::locate::Target;
use personium_model::settings::ScriptLogLevel;
use personium_model::{CellContext, Permit, PermitTarget, Unit};
use personium_script::{LogLevel, ScriptFailure};
use personium_types::error::chain;

use crate::event_cause;
use crate::request_context::CellRequest;

/// The type of the lines that a script logs.
const LOG_TYPE: &str = "service.log";
/// The type of the line about a script that failed.
const ERROR_TYPE: &str = "service.error";
/// The size of the other values of a line, in bytes.
const LINE_BYTES: usize = 256;

/// The log of one request to a script. Its lines are kept until the script ends, and then stored together.
pub(super) struct ScriptLog {
    unit: Arc<Unit>,
    context: Arc<CellContext>,
    permit: Permit,
    service: PermitTarget,
    /// The event of each line, without type and text.
    event: Event,
    file: String,
    kept: Mutex<Kept>,
}

/// The lines that are kept.
#[derive(Default)]
struct Kept {
    lines: Vec<(LineLevel, String)>,
    bytes: usize,
    left_out: u64,
    has_ended: bool,
}

impl ScriptLog {
    /// The log of a request to a file of a service, which the permit is for.
    pub(super) fn new(
        request: &CellRequest,
        target: &Target,
        (permit, file): (Permit, &str),
    ) -> Self {
        let event = Event {
            object: Some(request.url.clone()),
            ..event_cause::event_of(request)
        };
        Self {
            unit: Arc::clone(&request.unit),
            context: Arc::clone(&request.context),
            permit,
            service: target.permit_target(),
            event,
            file: file.to_owned(),
            kept: Mutex::default(),
        }
    }

    /// Keeps a line, if lines of its level are stored and the limit is not reached. Returns whether it was below the limit.
    pub(super) fn add(&self, level: LogLevel, text: &str) -> bool {
        let settings = &self.unit.settings().scripts;
        let (needed, line_level) = match level {
            LogLevel::Error => (ScriptLogLevel::Error, LineLevel::Error),
            LogLevel::Warn => (ScriptLogLevel::Warn, LineLevel::Warn),
            LogLevel::Info => (ScriptLogLevel::Info, LineLevel::Info),
            LogLevel::Debug => (ScriptLogLevel::Debug, LineLevel::Info),
        };
        let mut kept = self.kept.lock();
        if settings.log < needed || kept.has_ended {
            return false;
        }
        let bytes = kept.bytes.saturating_add(text.len() + LINE_BYTES);
        if bytes > settings.log_max_bytes {
            kept.left_out = kept.left_out.saturating_add(1);
            return false;
        }
        kept.bytes = bytes;
        kept.lines.push((line_level, text.to_owned()));
        true
    }

    /// Stores the lines, and one about the failure of the script. Later calls do nothing.
    pub(super) async fn store(&self, failure: Option<&ScriptFailure>) {
        let level = self.unit.settings().scripts.log;
        let mut kept = {
            let mut kept = self.kept.lock();
            if kept.has_ended {
                return;
            }
            kept.has_ended = true;
            std::mem::take(&mut *kept)
        };
        if kept.left_out > 0 {
            let text = format!("{} more lines were left out", kept.left_out);
            kept.lines.push((LineLevel::Warn, text));
        }
        let mut lines: Vec<_> = kept
            .lines
            .into_iter()
            .map(|(level, text)| (level, self.line(LOG_TYPE, text)))
            .collect();
        if let Some(failure) = failure.filter(|_| level >= ScriptLogLevel::Error) {
            let text = self.text_of(failure);
            lines.push((LineLevel::Error, self.line(ERROR_TYPE, text)));
        }
        if lines.is_empty() {
            return;
        }
        let stored = event_log::add_script_lines(
            (&self.unit, &self.context),
            (&self.permit, &self.service),
            &lines,
        );
        if let Err(error) = stored.await {
            let (cell, error) = (self.context.cell().id, chain(&error));
            tracing::warn!(cell.id = %cell, %error, "failed to store the log of a script");
        }
    }

    fn line(&self, kind: &str, text: String) -> Event {
        Event {
            kind: Some(kind.to_owned()),
            info: Some(text),
            ..self.event.clone()
        }
    }

    fn text_of(&self, failure: &ScriptFailure) -> String {
        match failure {
            ScriptFailure::Failed { text, stack } if stack.is_empty() => {
                format!("{}: {text}", self.file)
            }
            // The stack begins with the text.
            ScriptFailure::Failed { stack, .. } => format!("{}: {}", self.file, stack.trim_end()),
            other => format!("{}: {other}", self.file),
        }
    }
}
