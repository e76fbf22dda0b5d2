//! The check of the clock of this machine.

use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::report::CheckReport;

/// The name of the check.
pub(super) const CHECK: &str = "clock";

/// The time that the program may take which says whether the clock is synchronized.
const TIMEOUT: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(20);

/// The difference to another clock that is reported, in milliseconds.
const TOLERANCE_MS: u64 = 5_000;

/// Checks whether the clock is synchronized with others.
pub(super) fn check(report: &mut CheckReport) {
    match is_synchronized() {
        Some(true) => report.ok(CHECK, "synchronized"),
        Some(false) => report.warning(
            CHECK,
            "not synchronized: tokens of other units and nodes may be refused; run chrony or systemd-timesyncd",
        ),
        None => report.ok(
            CHECK,
            "whether it is synchronized is not known: timedatectl does not say",
        ),
    }
}

/// Compares the clock with that of a database server.
pub(super) fn compare(report: &mut CheckReport, own_ms: i64, of_database_ms: i64) {
    let ahead_ms = of_database_ms.saturating_sub(own_ms);
    if ahead_ms.unsigned_abs() > TOLERANCE_MS {
        let seconds = ahead_ms.unsigned_abs() / 1_000;
        let direction = if ahead_ms > 0 { "ahead" } else { "behind" };
        report.warning(
            CHECK,
            format!("the clock of the database is {seconds} s {direction}"),
        );
    }
}

/// Whether the clock is synchronized; `None` if the system does not say.
fn is_synchronized() -> Option<bool> {
    let mut command = Command::new("timedatectl");
    command
        .args(["show", "--property=NTPSynchronized", "--value"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let mut waited = Duration::ZERO;
    while matches!(child.try_wait(), Ok(None)) {
        if waited >= TIMEOUT {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        thread::sleep(PAUSE);
        waited += PAUSE;
    }
    let mut text = String::new();
    let output = child.stdout.take()?;
    output.take(16).read_to_string(&mut text).ok()?;
    match text.trim() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::CheckOutcome;

    #[test]
    fn clock_of_the_database_may_differ_by_some_seconds() {
        for (own, other, expected) in [
            (0, 4_000, None),
            (10_000, 5_500, None),
            (
                0,
                3_600_000,
                Some("the clock of the database is 3600 s ahead"),
            ),
            (9_000, 0, Some("the clock of the database is 9 s behind")),
            (i64::MIN, i64::MAX, Some("ahead")),
        ] {
            let mut report = CheckReport::default();
            compare(&mut report, own, other);
            let found = report.0.first().map(|finding| finding.detail.as_str());
            match expected {
                None => assert_eq!(found, None),
                Some(text) => assert!(found.unwrap().contains(text), "{found:?}"),
            }
            assert!(report.0.iter().all(|f| f.outcome == CheckOutcome::Warning));
        }
    }
}
