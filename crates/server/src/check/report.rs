//! The report of `personium check`.

use serde_json::{Map, Value, json};

use crate::config::ConfigError;

/// The outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CheckOutcome {
    /// Nothing is wrong.
    Ok,
    /// The unit can run, but an operator should look at the finding.
    Warning,
    /// The unit cannot start or does not work.
    Error,
}

/// One line of the report.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The name of the check.
    pub check: &'static str,
    /// The outcome.
    pub outcome: CheckOutcome,
    /// The details.
    pub detail: String,
    /// The numbers in the details, by their names in JSON; empty if there are none. An unknown number is `null`.
    pub values: Map<String, Value>,
}

/// The findings of all checks.
#[derive(Debug, Default)]
pub struct CheckReport(pub Vec<Finding>);

impl CheckReport {
    /// Whether any finding is an error.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.0
            .iter()
            .any(|finding| finding.outcome == CheckOutcome::Error)
    }

    /// Whether any finding is a warning.
    #[must_use]
    pub fn has_warnings(&self) -> bool {
        let mut findings = self.0.iter();
        findings.any(|finding| finding.outcome == CheckOutcome::Warning)
    }

    /// The report for settings that cannot be used.
    #[must_use]
    pub fn of_settings(error: ConfigError) -> Self {
        let mut report = Self::default();
        for problem in error.0 {
            report.error("settings", problem);
        }
        report
    }

    /// Adds a finding.
    pub(crate) fn add(
        &mut self,
        check: &'static str,
        outcome: CheckOutcome,
        detail: impl Into<String>,
    ) {
        self.add_with_values(check, outcome, detail, Map::new());
    }

    /// Adds a finding with its numbers.
    pub(crate) fn add_with_values(
        &mut self,
        check: &'static str,
        outcome: CheckOutcome,
        detail: impl Into<String>,
        values: Map<String, Value>,
    ) {
        self.0.push(Finding {
            check,
            outcome,
            detail: detail.into(),
            values,
        });
    }

    /// Adds a finding with the outcome [`CheckOutcome::Ok`].
    pub(crate) fn ok(&mut self, check: &'static str, detail: impl Into<String>) {
        self.add(check, CheckOutcome::Ok, detail);
    }

    /// Adds a finding with the outcome [`CheckOutcome::Warning`].
    pub(crate) fn warning(&mut self, check: &'static str, detail: impl Into<String>) {
        self.add(check, CheckOutcome::Warning, detail);
    }

    /// Adds a finding with the outcome [`CheckOutcome::Error`].
    pub(crate) fn error(&mut self, check: &'static str, detail: impl Into<String>) {
        self.add(check, CheckOutcome::Error, detail);
    }

    /// Returns the report as text, one line per finding.
    #[must_use]
    pub fn text(&self) -> String {
        let line = |finding: &Finding| {
            let outcome = match finding.outcome {
                CheckOutcome::Ok => "ok     ",
                CheckOutcome::Warning => "WARNING",
                CheckOutcome::Error => "ERROR  ",
            };
            format!("{outcome} {:<22} {}\n", finding.check, finding.detail)
        };
        self.0.iter().map(line).collect()
    }

    /// Returns the report as JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let finding = |finding: &Finding| {
            let outcome = match finding.outcome {
                CheckOutcome::Ok => "ok",
                CheckOutcome::Warning => "warning",
                CheckOutcome::Error => "error",
            };
            let mut out = Map::new();
            out.insert("check".to_owned(), json!(finding.check));
            out.insert("outcome".to_owned(), json!(outcome));
            out.insert("detail".to_owned(), json!(finding.detail));
            if !finding.values.is_empty() {
                out.insert("values".to_owned(), json!(finding.values));
            }
            Value::from(out)
        };
        let findings: Vec<_> = self.0.iter().map(finding).collect();
        json!({"ok": !self.has_errors(), "checks": findings})
    }
}
