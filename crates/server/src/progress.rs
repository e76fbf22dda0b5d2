//! The progress of a command, for people: a bar on a terminal, otherwise lines.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use parking_lot::Mutex;
use personium_types::Clock;

/// The time after which a line is written although no percent is added.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// The bar and the counts behind it.
const TEMPLATE: &str = "[{bar:30}] {percent}% {msg}";

/// Writes a line to the error output. Nobody may read it any more: then the command goes on without it.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Shows the progress on the error output.
pub(crate) struct Progress {
    /// The name of the command.
    command: &'static str,
    bar: ProgressBar,
    clock: Arc<dyn Clock>,
    state: Mutex<ProgressState>,
}

#[derive(Debug, Default)]
struct ProgressState {
    /// The participle of what is done with the spaces.
    step: &'static str,
    spaces: u64,
    done: u64,
    /// The content of the space in hand, so far.
    records: u64,
    bodies: u64,
    body_bytes: u64,
    /// The percent of the last line, and its time.
    last_line: Option<(u64, Instant)>,
}

impl Progress {
    pub(crate) fn new(command: &'static str, clock: Arc<dyn Clock>) -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style.progress_chars("## "));
        }
        Self {
            command,
            bar,
            clock,
            state: Mutex::default(),
        }
    }

    /// Says what is being done.
    pub(crate) fn note(&self, text: &str) {
        match self.bar.is_hidden() {
            true => say(&format!("{}: {text}", self.command)),
            false => self.bar.println(text),
        }
    }

    /// Begins a step with this number of spaces.
    pub(crate) fn start(&self, step: &'static str, spaces: usize) {
        let spaces = spaces as u64;
        self.bar.set_length(spaces);
        *self.state.lock() = ProgressState {
            step,
            spaces,
            ..ProgressState::default()
        };
    }

    /// Shows the records of the space in hand.
    pub(crate) fn set_records(&self, records: u64) {
        self.change(|state| state.records = records);
    }

    /// Shows the bodies of the space in hand.
    pub(crate) fn set_bodies(&self, bodies: u64, body_bytes: u64) {
        self.change(|state| {
            state.bodies = bodies;
            state.body_bytes = body_bytes;
        });
    }

    /// Counts a space.
    pub(crate) fn end_space(&self) {
        self.change(|state| {
            state.done += 1;
            (state.records, state.bodies, state.body_bytes) = (0, 0, 0);
        });
    }

    /// Ends the bar.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }

    fn change(&self, change: impl FnOnce(&mut ProgressState)) {
        let mut state = self.state.lock();
        change(&mut state);
        if !self.bar.is_hidden() {
            self.bar.set_position(state.done);
            self.bar.set_message(state.text());
        } else if let Some(percent) = state.due_line(self.clock.monotonic()) {
            say(&format!("{}: {percent} %, {}", self.command, state.text()));
        }
    }
}

impl ProgressState {
    fn text(&self) -> String {
        let Self {
            step,
            spaces,
            done,
            records,
            bodies,
            ..
        } = self;
        let bytes = HumanBytes(self.body_bytes);
        format!(
            "{done} of {spaces} spaces {step}; the next: {records} records, {bodies} file bodies ({bytes})"
        )
    }

    /// Returns the percent if it is time for a line.
    fn due_line(&mut self, now: Instant) -> Option<u64> {
        let percent = self.done.saturating_mul(100) / self.spaces.max(1);
        let is_due = self.last_line.is_none_or(|(last, at)| {
            last != percent || now.saturating_duration_since(at) >= LINE_INTERVAL
        });
        is_due.then(|| {
            self.last_line = Some((percent, now));
            percent
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system;

    #[test]
    fn line_is_written_for_each_percent_and_after_some_time() {
        let mut state = ProgressState {
            step: "copied",
            spaces: 1_000,
            ..ProgressState::default()
        };
        let start = system::clock().monotonic();
        assert_eq!(state.due_line(start), Some(0));
        state.done = 9;
        assert_eq!(state.due_line(start), None);
        assert_eq!(state.due_line(start + LINE_INTERVAL), Some(0));
        state.done = 10;
        assert_eq!(state.due_line(start + LINE_INTERVAL), Some(1));
        assert!(state.text().starts_with("10 of 1000 spaces copied"));
    }
}
