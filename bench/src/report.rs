//! The report: a table of measurements, a table of requirements, and a line that describes the machine.

use std::fmt::Write as _;

use crate::load::Measurement;

/// A measurement with its name.
pub(crate) struct Subject {
    /// The name.
    pub(crate) name: String,
    /// The measurement; zeros are shown as blanks.
    pub(crate) measurement: Measurement,
}

/// The direction of a requirement.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    /// The value must not be larger than the limit.
    AtMost,
    /// The value must not be smaller than the limit.
    AtLeast,
}

/// A condition on a value of one run, mostly a ratio of two measurements.
pub(crate) struct Requirement {
    /// The description.
    pub(crate) text: String,
    /// The measured value.
    pub(crate) value: f64,
    /// The direction.
    pub(crate) bound: Bound,
    /// The limit.
    pub(crate) limit: f64,
}

impl Requirement {
    /// Whether the value is within the limit.
    pub(crate) fn is_met(&self) -> bool {
        match self.bound {
            Bound::AtMost => self.value <= self.limit,
            Bound::AtLeast => self.value >= self.limit,
        }
    }
}

/// The part of the report about one scenario.
#[derive(Default)]
pub(crate) struct Section {
    /// The name of the scenario, for instance `W1`.
    pub(crate) name: String,
    /// The measurements.
    pub(crate) subjects: Vec<Subject>,
    /// The requirements.
    pub(crate) requirements: Vec<Requirement>,
    /// Notes for the reader.
    pub(crate) notes: Vec<String>,
}

impl Section {
    /// Creates an empty section.
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    /// Adds a measurement.
    pub(crate) fn measured(&mut self, name: impl Into<String>, measurement: Measurement) {
        self.subjects.push(Subject {
            name: name.into(),
            measurement,
        });
    }

    /// Adds a measurement that consists of a rate only.
    pub(crate) fn measured_rate(&mut self, name: impl Into<String>, per_second: f64) {
        self.measured(
            name,
            Measurement {
                per_second,
                ..Measurement::default()
            },
        );
    }

    /// Adds a requirement.
    pub(crate) fn require(
        &mut self,
        text: impl Into<String>,
        value: f64,
        bound: Bound,
        limit: f64,
    ) {
        self.requirements.push(Requirement {
            text: text.into(),
            value,
            bound,
            limit,
        });
    }

    /// Adds a note.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Adds all of another section.
    pub(crate) fn extend(&mut self, other: Self) {
        self.subjects.extend(other.subjects);
        self.requirements.extend(other.requirements);
        self.notes.extend(other.notes);
    }
}

/// Returns the report as Markdown.
pub(crate) fn markdown(machine: &str, sections: &[Section]) -> String {
    let mut text = format!("# Bench\n\n{machine}\n\n");
    push_measurements(&mut text, sections);
    push_requirements(&mut text, sections);
    let notes: Vec<String> = sections
        .iter()
        .flat_map(|section| {
            let name = &section.name;
            section
                .notes
                .iter()
                .map(move |note| format!("- {name}: {note}\n"))
        })
        .collect();
    if !notes.is_empty() {
        let _ = write!(text, "\n{}", notes.concat());
    }
    text
}

fn push_measurements(text: &mut String, sections: &[Section]) {
    text.push_str("| Scenario | Subject | per s | MB/s | p50 ms | p99 ms | CPU µs each | peak MB |\n|---|---|--:|--:|--:|--:|--:|--:|\n");
    for section in sections {
        for Subject { name, measurement } in &section.subjects {
            let _ = writeln!(
                text,
                "| {} | {name} | {} | {} | {} | {} | {} | {} |",
                section.name,
                number(measurement.per_second),
                number(measurement.bytes_per_second / 1e6),
                number(measurement.p50_us / 1e3),
                number(measurement.p99_us / 1e3),
                number(measurement.cpu_us),
                number(measurement.peak_bytes as f64 / 1e6),
            );
        }
    }
}

fn push_requirements(text: &mut String, sections: &[Section]) {
    text.push_str("\n| Scenario | Requirement | Measured | Limit | |\n|---|---|--:|--:|---|\n");
    for section in sections {
        for requirement in &section.requirements {
            let sign = match requirement.bound {
                Bound::AtMost => "≤",
                Bound::AtLeast => "≥",
            };
            let met = if requirement.is_met() {
                "met"
            } else {
                "**not met**"
            };
            let _ = writeln!(
                text,
                "| {} | {} | {:.2} | {sign} {} | {met} |",
                section.name, requirement.text, requirement.value, requirement.limit
            );
        }
    }
}

/// Formats a number with its significant digits; zero as an empty text.
fn number(value: f64) -> String {
    match value {
        0.0 => String::new(),
        v if v < 10.0 => format!("{v:.2}"),
        v if v < 100.0 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_shows_measurements_requirements_and_notes() {
        let mut section = Section::new("W0");
        section.measured(
            "a | b",
            Measurement {
                per_second: 1234.5,
                cpu_us: 9.876,
                ..Measurement::default()
            },
        );
        section.require("cost", 4.0, Bound::AtMost, 4.0);
        section.require("rate", 0.3, Bound::AtLeast, 0.4);
        section.note("a note");
        let text = markdown("the machine", &[section]);
        assert!(
            text.contains("| 1234 |") || text.contains("| 1235 |"),
            "{text}"
        );
        assert!(
            text.contains("| 9.88 |")
                && text.contains("≤ 4 | met")
                && text.contains("≥ 0.4 | **not met**")
                && text.contains("- W0: a note"),
            "{text}"
        );
    }
}
