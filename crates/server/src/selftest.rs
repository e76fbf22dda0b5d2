//! `personium selftest`: makes a cell in a unit that runs, uses what belongs to a cell, and removes it again.

mod bodies;
mod steps;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use personium_types::{Clock, Secret};
use serde_json::{Value, json};

use crate::outside::{
    OutsideClient, OutsideRequest, OutsideResponse, UnitAccess, UnitAddress, UnitFacts,
};
use crate::{key_files, system};

/// The beginning of the names of cells that the test makes.
const CELL_PREFIX: &str = "selftest-";

/// The number of random characters after it.
const NAME_CHARS: usize = 12;

/// The outcome of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepOutcome {
    /// It did what it should.
    Passed,
    /// The unit does not do this; nothing depends on it.
    Skipped(String),
    /// It did something else.
    Failed(String),
}

/// A step that was made.
#[derive(Debug, Clone)]
pub struct Step {
    /// The name.
    pub name: &'static str,
    /// The outcome.
    pub outcome: StepOutcome,
    /// The time that it took.
    pub elapsed: Duration,
}

/// The steps of a test.
#[derive(Debug, Default)]
pub struct SelfTestReport(pub Vec<Step>);

impl SelfTestReport {
    /// Whether no step failed.
    #[must_use]
    pub fn passed(&self) -> bool {
        let is_failed = |step: &Step| matches!(step.outcome, StepOutcome::Failed(_));
        !self.0.iter().any(is_failed)
    }

    /// Returns the report as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let step = |step: &Step| {
            let (outcome, detail) = match &step.outcome {
                StepOutcome::Passed => ("ok", None),
                StepOutcome::Skipped(detail) => ("skipped", Some(detail)),
                StepOutcome::Failed(detail) => ("error", Some(detail)),
            };
            let millis = u64::try_from(step.elapsed.as_millis()).unwrap_or(u64::MAX);
            json!({"step": step.name, "outcome": outcome, "detail": detail, "elapsed_ms": millis})
        };
        let steps: Vec<Value> = self.0.iter().map(step).collect();
        json!({"ok": self.passed(), "steps": steps})
    }
}

impl fmt::Display for SelfTestReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.0 {
            let millis = step.elapsed.as_millis();
            match &step.outcome {
                StepOutcome::Passed => writeln!(f, "ok      {} ({millis} ms)", step.name)?,
                StepOutcome::Skipped(why) => writeln!(f, "skipped {}: {why}", step.name)?,
                StepOutcome::Failed(why) => {
                    writeln!(f, "FAILED  {} ({millis} ms): {why}", step.name)?
                }
            }
        }
        f.write_str(if self.passed() { "OK\n" } else { "NOT OK\n" })
    }
}

/// Why a step did not pass.
enum StepProblem {
    /// The unit does not do this.
    Unsupported(String),
    /// Something is wrong.
    Wrong(String),
}

/// The unit and the cell of a test.
struct Scene {
    client: OutsideClient,
    facts: UnitFacts,
    /// The token that makes the cell.
    token: Secret<String>,
    cell_name: String,
    /// The URL of the cell, with a final slash.
    cell: String,
    /// The password of the account in the cell.
    password: Secret<String>,
}

/// Runs the test. Whatever fails, the cell is removed at the end.
pub async fn run(address: &UnitAddress, access: UnitAccess) -> SelfTestReport {
    let mut report = SelfTestReport::default();
    let clock = system::clock();
    let start = clock.monotonic();
    let elapsed = |start| clock.monotonic().saturating_duration_since(start);
    let scene = match Scene::enter(address, access).await {
        Ok(scene) => scene,
        Err(reason) => {
            report.0.push(Step {
                name: "log in",
                outcome: StepOutcome::Failed(reason),
                elapsed: elapsed(start),
            });
            return report;
        }
    };
    report.0.push(Step {
        name: "log in",
        outcome: StepOutcome::Passed,
        elapsed: elapsed(start),
    });
    steps::run(&scene, &mut report, &clock).await;
    report
}

impl Scene {
    /// Asks the unit for its description, and logs in.
    async fn enter(address: &UnitAddress, access: UnitAccess) -> Result<Self, String> {
        let client = OutsideClient::new(address)?;
        let facts = UnitFacts::ask(&client, address).await?;
        let token = access.token(&client, &facts).await?;
        let random = system::random();
        let text = |chars| key_files::random_text(chars, &random).map_err(|e| e.to_string());
        let cell_name = format!("{CELL_PREFIX}{}", text(NAME_CHARS)?);
        Ok(Self {
            cell: facts.cell_url(&cell_name),
            password: Secret::new(text(NAME_CHARS)?),
            cell_name,
            token,
            client,
            facts,
        })
    }

    /// Sends a request with a token.
    async fn send(
        &self,
        method: Method,
        url: String,
        token: &Secret<String>,
        (headers, body): (&[(&'static str, &str)], String),
    ) -> Result<OutsideResponse, String> {
        let mut all = vec![(
            Cow::Borrowed("authorization"),
            format!("Bearer {}", token.reveal()),
        )];
        all.extend(
            headers
                .iter()
                .map(|(name, value)| (Cow::Borrowed(*name), (*value).to_owned())),
        );
        let request = OutsideRequest {
            method,
            url,
            headers: all,
            body: body.into_bytes(),
        };
        self.client.send(request).await
    }
}

/// The time since a moment.
fn since(clock: &Arc<dyn Clock>, start: std::time::Instant) -> Duration {
    clock.monotonic().saturating_duration_since(start)
}
