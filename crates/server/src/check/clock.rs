//! The check of the clock of this machine.

use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::report::{CheckOutcome, CheckReport};

/// The name of the check.
pub(super) const CHECK: &str = "clock";

/// The time that a program may take which says how the clock is synchronized.
const TIMEOUT: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(20);

/// The part of the output of such a program that is read, in bytes.
const OUTPUT_MAX: u64 = 8 << 10;

/// The difference to another clock that is reported, in milliseconds.
const TOLERANCE_MS: i64 = 5_000;

/// The difference to the time of the network above which a synchronized clock causes a warning, in milliseconds.
const NETWORK_TOLERANCE_MS: f64 = 1_000.0;

/// The difference in milliseconds from which on it is shown in seconds.
const SHOWN_IN_SECONDS_MS: u64 = 10_000;

/// Checks whether the clock is synchronized with others, and how exactly.
pub(super) fn check(report: &mut CheckReport) {
    let measured = output_of("chronyc", &["-n", "-c", "tracking"])
        .and_then(|text| NetworkTime::of_chrony(&text));
    let says = output_of(
        "timedatectl",
        &["show", "--property=NTPSynchronized", "--value"],
    );
    let measured = measured.or_else(|| {
        says.as_ref()?;
        let text = output_of("timedatectl", &["timesync-status"])?;
        NetworkTime::of_timesyncd(&text)
    });
    let is_synchronized = match says.as_deref().map(str::trim) {
        Some("yes") => Some(true),
        Some("no") => Some(false),
        _ => None,
    };
    let (outcome, detail, values) = describe(measured.as_ref(), is_synchronized);
    report.add_with_values(CHECK, outcome, detail, values);
}

/// The finding about the time of the network. chrony knows better than the kernel, which it need not tell.
fn describe(
    measured: Option<&NetworkTime>,
    is_synchronized: Option<bool>,
) -> (CheckOutcome, String, Map<String, Value>) {
    let is_synchronized = measured
        .and_then(|time| time.is_synchronized)
        .or(is_synchronized);
    let mut values = Map::new();
    values.insert("synchronized".to_owned(), json!(is_synchronized));
    let measured = measured.filter(|_| is_synchronized != Some(false));
    values.insert(
        "aheadMs".to_owned(),
        json!(measured.map(|time| time.ahead_ms)),
    );
    values.insert(
        "errorMs".to_owned(),
        json!(measured.map(|time| time.error_ms)),
    );
    let (outcome, detail) = match (is_synchronized, measured) {
        (Some(false), _) => (
            CheckOutcome::Warning,
            "not synchronized: tokens of other units and nodes may be refused; run chrony or systemd-timesyncd"
                .to_owned(),
        ),
        (_, Some(time)) => {
            let NetworkTime {
                source,
                ahead_ms,
                error_ms,
                ..
            } = time;
            let (direction, by_ms) = match *ahead_ms < 0.0 {
                true => ("behind", -ahead_ms),
                false => ("ahead of", *ahead_ms),
            };
            let is_near = by_ms + error_ms <= NETWORK_TOLERANCE_MS;
            let outcome = match is_near {
                true => CheckOutcome::Ok,
                false => CheckOutcome::Warning,
            };
            let detail = format!(
                "synchronized: {by_ms:.3} ms {direction} the time of the network, ± {error_ms:.3} ms, as {source} says"
            );
            (outcome, detail)
        }
        (Some(true), None) => (
            CheckOutcome::Ok,
            "synchronized; how exactly is not known: neither chronyc nor timedatectl says".to_owned(),
        ),
        (None, None) => (
            CheckOutcome::Ok,
            "whether it is synchronized is not known: neither chronyc nor timedatectl says".to_owned(),
        ),
    };
    (outcome, detail, values)
}

/// The clock compared with the time of the network, as a program measured it last.
#[derive(Debug, Clone, PartialEq)]
struct NetworkTime {
    /// The name of the program.
    source: &'static str,
    /// Whether it has a source of time; `None` if it does not say.
    is_synchronized: Option<bool>,
    /// The milliseconds by which the clock is ahead; negative if it is behind.
    ahead_ms: f64,
    /// The largest error of that number, in milliseconds.
    error_ms: f64,
}

impl NetworkTime {
    /// The output of `chronyc -c tracking`: one line of 14 values, times in seconds (chronyc(1)).
    fn of_chrony(text: &str) -> Option<Self> {
        let values: Vec<&str> = text.trim().split(',').collect();
        let number = |at: usize| {
            values
                .get(at)?
                .parse::<f64>()
                .ok()
                .filter(|n| n.is_finite())
        };
        // By how much the clock is behind, the way to the source and back, and what each source on the way adds.
        let (behind, delay, dispersion) = (number(4)?, number(10)?, number(11)?);
        let state = *values.get(13)?;
        Some(Self {
            source: "chrony",
            is_synchronized: Some(state != "Not synchronised"),
            ahead_ms: -behind * 1_000.0,
            error_ms: (delay / 2.0 + dispersion) * 1_000.0,
        })
    }

    /// The output of `timedatectl timesync-status`: lines of a name and a value.
    fn of_timesyncd(text: &str) -> Option<Self> {
        let value = |name: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(':'));
            lines.find_map(|(found, value)| (found.trim() == name).then_some(value))
        };
        let distance = value("Root distance")?;
        let distance = distance.split('(').next().unwrap_or_default();
        Some(Self {
            source: "systemd-timesyncd",
            is_synchronized: None,
            // What is told is what the clock lacks.
            ahead_ms: -timespan_ms(value("Offset")?)?,
            error_ms: timespan_ms(distance)?,
        })
    }
}

/// The milliseconds of a time span such as `+1.066ms` or `1min 2.5s` (systemd.time(7)).
fn timespan_ms(text: &str) -> Option<f64> {
    let text = text.trim();
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut sum = None;
    for part in text.split_whitespace() {
        let unit_at = part.find(|c: char| c.is_ascii_alphabetic())?;
        let (number, unit) = part.split_at_checked(unit_at)?;
        let number: f64 = number.parse().ok()?;
        let unit_ms = match unit {
            "us" => 0.001,
            "ms" => 1.0,
            "s" => 1_000.0,
            "min" => 60_000.0,
            "h" => 3_600_000.0,
            "d" => 86_400_000.0,
            _ => return None,
        };
        sum = Some(sum.unwrap_or(0.0) + number * unit_ms);
    }
    Some(sign * sum?)
}

/// The time that another clock showed, between two times of this one, all in milliseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(super) struct OtherClock {
    /// The time here before the other clock was asked.
    pub(super) asked_ms: i64,
    /// The time here when it had answered.
    pub(super) answered_ms: i64,
    /// The time there.
    pub(super) shown_ms: i64,
    /// By how much the time there can be later than shown.
    pub(super) resolution_ms: i64,
}

/// Compares the clock of this machine with another one: `of_whom`, such as `that of the database`.
pub(super) fn compare(report: &mut CheckReport, of_whom: &str, other: &OtherClock) {
    let least_ms = other.shown_ms.saturating_sub(other.answered_ms);
    let most_ms = other
        .shown_ms
        .saturating_add(other.resolution_ms)
        .saturating_sub(other.asked_ms);
    let mut values = Map::new();
    values.insert("aheadMsLeast".to_owned(), json!(least_ms));
    values.insert("aheadMsMost".to_owned(), json!(most_ms));
    let (behind, ahead) = (span(least_ms), span(most_ms));
    let detail = match (least_ms <= 0, most_ms >= 0) {
        (false, _) => format!("{of_whom} is {behind} to {ahead} ahead of this machine"),
        (_, false) => format!("{of_whom} is {ahead} to {behind} behind this machine"),
        (true, true) => {
            format!("{of_whom} is at most {behind} behind and {ahead} ahead of this machine")
        }
    };
    let is_near = least_ms <= TOLERANCE_MS && most_ms >= -TOLERANCE_MS;
    match is_near {
        true => report.add_with_values(CHECK, CheckOutcome::Ok, detail, values),
        false => {
            let detail = format!("{detail}: tokens may be refused; synchronize the clocks");
            report.add_with_values(CHECK, CheckOutcome::Warning, detail, values);
        }
    }
}

/// A number of milliseconds without its sign, in seconds if it is large.
fn span(ms: i64) -> String {
    match ms.unsigned_abs() {
        ms if ms >= SHOWN_IN_SECONDS_MS => format!("{} s", ms / 1_000),
        ms => format!("{ms} ms"),
    }
}

/// The begin of what a program prints. `None` if there is none, it fails, or takes too long.
fn output_of(program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let mut waited = Duration::ZERO;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if waited < TIMEOUT => {
                thread::sleep(PAUSE);
                waited += PAUSE;
            }
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    };
    let mut text = String::new();
    let output = child.stdout.take().filter(|_| status.success())?;
    output.take(OUTPUT_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(other: &OtherClock) -> super::super::report::Finding {
        let mut report = CheckReport::default();
        compare(&mut report, "that of the database", other);
        report.0.pop().unwrap()
    }

    #[test]
    fn other_clocks_may_differ_by_some_seconds_and_the_bounds_of_the_difference_are_told() {
        use CheckOutcome::{Ok, Warning};
        for (asked_ms, answered_ms, shown_ms, outcome, text) in [
            (0, 2, 1, Ok, "at most 1 ms behind and 1 ms ahead"),
            (0, 10, 4_000, Ok, "3990 ms to 4000 ms ahead"),
            (9_000, 9_500, 5_000, Ok, "4000 ms to 4500 ms behind"),
            (0, 0, 3_600_000, Warning, "3600 s to 3600 s ahead"),
            (9_000, 9_010, 0, Warning, "9000 ms to 9010 ms behind"),
            (i64::MIN, i64::MIN, i64::MAX, Warning, " s ahead"),
        ] {
            let found = compared(&OtherClock {
                asked_ms,
                answered_ms,
                shown_ms,
                resolution_ms: 0,
            });
            assert_eq!(found.outcome, outcome, "{found:?}");
            assert!(found.detail.contains(text), "{found:?}");
        }
        // The date of an answer has whole seconds.
        let found = compared(&OtherClock {
            asked_ms: 1_700,
            answered_ms: 1_720,
            shown_ms: 1_000,
            resolution_ms: 1_000,
        });
        let text = "at most 720 ms behind and 300 ms ahead of this machine";
        assert!(found.detail.contains(text), "{found:?}");
        assert_eq!(found.values["aheadMsLeast"], -720);
        assert_eq!(found.values["aheadMsMost"], 300);
    }

    #[test]
    fn chrony_and_timesyncd_tell_offset_and_error() {
        let line = "A29FC87B,162.159.200.123,4,1700000000.5,0.000250000,-0.000012,0.00003,-9.1,0.001,0.05,0.004,0.001,64.4,Normal\n";
        let time = NetworkTime::of_chrony(line).unwrap();
        assert_eq!((time.ahead_ms, time.error_ms), (-0.25, 3.0));
        assert_eq!(time.is_synchronized, Some(true));
        let (outcome, detail, values) = describe(Some(&time), Some(false));
        assert_eq!(outcome, CheckOutcome::Ok, "{detail}");
        assert!(
            detail.contains("0.250 ms behind the time of the network, ± 3.000 ms"),
            "{detail}"
        );
        assert_eq!(values["aheadMs"], -0.25);
        let far = line.replace(",0.000250000,", ",-2.5,");
        let time = NetworkTime::of_chrony(&far).unwrap();
        let (outcome, detail, _) = describe(Some(&time), None);
        assert!(
            outcome == CheckOutcome::Warning && detail.contains("2500.000 ms ahead of"),
            "{detail}"
        );
        let without = line.replace("Normal", "Not synchronised");
        let time = NetworkTime::of_chrony(&without).unwrap();
        let (outcome, detail, values) = describe(Some(&time), Some(true));
        assert!(
            outcome == CheckOutcome::Warning && detail.starts_with("not synchronized"),
            "{detail}"
        );
        assert!(values["aheadMs"].is_null());
        for wrong in [
            "",
            "506 Cannot talk to daemon",
            "a,b,c,d,e,f,g,h,i,j,k,l,m,n",
            "1,2,3,4,NaN,6,7,8,9,10,1,1,1,Normal",
        ] {
            assert_eq!(NetworkTime::of_chrony(wrong), None, "{wrong}");
        }

        let text = "       Server: 192.0.2.1 (ntp.example)\n Root distance: 12.878ms (max: 5s)\n        Offset: +1.066ms\n";
        let time = NetworkTime::of_timesyncd(text).unwrap();
        assert_eq!((time.ahead_ms, time.error_ms), (-1.066, 12.878));
        assert_eq!(NetworkTime::of_timesyncd("Offset: n/a\n"), None);
        for (text, ms) in [
            ("-250us", Some(-0.25)),
            ("1min 2.5s", Some(62_500.0)),
            ("0", None),
            ("x", None),
            ("", None),
            ("5 parsecs", None),
        ] {
            assert_eq!(timespan_ms(text), ms, "{text}");
        }
    }
}
