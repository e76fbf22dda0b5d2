//! The report: one table of figures, one of demands, and the line that says how fast the machine was.

use std::fmt::Write as _;

use crate::load::Figures;

/// One side of a comparison.
pub(crate) struct Side {
    /// What was measured.
    pub(crate) name: String,
    /// What came out; zeros are shown as blanks.
    pub(crate) figures: Figures,
}

/// Which way a demand goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    /// The value may not be larger.
    AtMost,
    /// The value may not be smaller.
    AtLeast,
}

/// Something that must hold between two sides of the same run.
pub(crate) struct Demand {
    /// In words.
    pub(crate) text: String,
    /// What was found.
    pub(crate) value: f64,
    /// Which way it goes.
    pub(crate) bound: Bound,
    /// How far.
    pub(crate) limit: f64,
}

impl Demand {
    /// Whether it holds.
    pub(crate) fn kept(&self) -> bool {
        match self.bound {
            Bound::AtMost => self.value <= self.limit,
            Bound::AtLeast => self.value >= self.limit,
        }
    }
}

/// What a scenario gives.
#[derive(Default)]
pub(crate) struct Section {
    /// Its name, for instance `W1`.
    pub(crate) name: String,
    /// What was measured, ours first.
    pub(crate) sides: Vec<Side>,
    /// What must hold.
    pub(crate) demands: Vec<Demand>,
    /// What a reader has to know besides.
    pub(crate) notes: Vec<String>,
}

impl Section {
    /// An empty one.
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    /// Adds a side.
    pub(crate) fn side(&mut self, name: impl Into<String>, figures: Figures) {
        self.sides.push(Side {
            name: name.into(),
            figures,
        });
    }

    /// Adds a side that has only a rate.
    pub(crate) fn rate(&mut self, name: impl Into<String>, per_second: f64) {
        self.side(
            name,
            Figures {
                per_second,
                ..Figures::default()
            },
        );
    }

    /// Adds a demand.
    pub(crate) fn demand(&mut self, text: impl Into<String>, value: f64, bound: Bound, limit: f64) {
        self.demands.push(Demand {
            text: text.into(),
            value,
            bound,
            limit,
        });
    }
}

/// The whole report as Markdown.
pub(crate) fn markdown(calibration: &str, sections: &[Section]) -> String {
    let mut text = format!(
        "# Bench\n\n{calibration}\n\n| Scenario | Side | per s | MB/s | p50 ms | p99 ms | CPU µs each | peak MB |\n|---|---|--:|--:|--:|--:|--:|--:|\n"
    );
    for section in sections {
        for side in &section.sides {
            let f = side.figures;
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} | {} |",
                section.name,
                side.name,
                number(f.per_second),
                number(f.bytes_per_second / 1e6),
                number(f.p50 / 1e3),
                number(f.p99 / 1e3),
                number(f.cpu),
                number(f.peak as f64 / 1e6),
            );
        }
    }
    text.push_str("\n| Scenario | Demand | Found | Wanted | |\n|---|---|--:|--:|---|\n");
    for section in sections {
        for demand in &section.demands {
            let sign = if demand.bound == Bound::AtMost {
                "≤"
            } else {
                "≥"
            };
            let kept = if demand.kept() {
                "kept"
            } else {
                "**not kept**"
            };
            let _ = writeln!(
                text,
                "| {} | {} | {:.2} | {sign} {} | {kept} |",
                section.name, demand.text, demand.value, demand.limit
            );
        }
    }
    let notes: Vec<String> = sections
        .iter()
        .flat_map(|s| s.notes.iter().map(|n| format!("- {}: {n}\n", s.name)))
        .collect();
    if !notes.is_empty() {
        let _ = write!(text, "\n{}", notes.concat());
    }
    text
}

/// A number with as many digits as say something; nothing for zero.
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
    fn demands_go_both_ways() {
        let mut section = Section::new("W0");
        section.side(
            "a | b",
            Figures {
                per_second: 1234.5,
                cpu: 9.876,
                ..Figures::default()
            },
        );
        section.demand("cost", 4.0, Bound::AtMost, 4.0);
        section.demand("rate", 0.3, Bound::AtLeast, 0.4);
        section.notes.push("a note".into());
        let text = markdown("the machine", &[section]);
        assert!(
            text.contains("| 1234 |") || text.contains("| 1235 |"),
            "{text}"
        );
        assert!(
            text.contains("| 9.88 |")
                && text.contains("≤ 4 | kept")
                && text.contains("≥ 0.4 | **not kept**")
                && text.contains("- W0: a note"),
            "{text}"
        );
    }
}
