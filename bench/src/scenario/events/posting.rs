//! Events that clients post to a cell with ten rules, alone and beside W1.

use std::sync::Arc;

use personium_testkit::{RawBody, RawConnection, request_bytes};
use serde_json::json;

use super::EventsBench;
use crate::load::{self, LoadProfile, LoadRequest, Measurement, RequestGenerator};
use crate::report::Bound;
use crate::scenario::read_by_key;
use crate::unit::BenchCell;
use crate::{BenchResult, baseline};

const CONNECTIONS: usize = 32;
/// The events per second that are wanted beside W1.
const WANTED_PER_SECOND: f64 = 3_000.0;
/// The events per second that are sent beside W1: a little more, so that what is due is reached.
const SENT_PER_SECOND: f64 = 3_050.0;
/// The rules that match nothing that is posted.
const OTHER_RULES: u64 = 8;
/// One of so many events matches the rule that relays it.
const RELAYED_EVERY: u64 = 100;
/// The events per second when all are relayed: fewer than the outbox of a cell takes in the time of a run.
const RELAYED_ALONE_PER_SECOND: f64 = 1_500.0;
/// The size of an event in bytes.
const EVENT_BYTES: usize = 1024;
/// The appends of a commit of the baseline.
const BARE_GROUP: &str = "32";

impl EventsBench<'_> {
    pub(super) async fn posting(&mut self) -> BenchResult {
        self.create_rules().await?;
        self.append().await?;
        self.beside_reads().await?;
        self.relay_alone().await
    }

    /// Creates ten rules: one logs all events, one relays some, the others match none.
    async fn create_rules(&mut self) -> BenchResult {
        let relay = format!("http://127.0.0.1:{}/receive", self.server.port);
        let mut rules = vec![
            json!({"Name": "log", "EventExternal": true, "EventType": "bench.", "Action": "log"}),
            json!({"Name": "relay", "EventExternal": true, "EventType": "bench.relay", "Action": "relay",
                   "TargetUrl": relay}),
        ];
        rules.extend((0..OTHER_RULES).map(|number| {
            let kind = format!("other{number}.");
            json!({"Name": format!("other{number}"), "EventExternal": true, "EventType": kind, "Action": "log"})
        }));
        for rule in rules {
            let path = format!("/{}/__ctl/Rule", self.cell.name);
            let body = rule.to_string();
            self.context
                .unit
                .call("POST", &path, &[], body.as_bytes())
                .await?;
        }
        Ok(())
    }

    /// Measures logged events as fast as possible, and as many appends to SQLite.
    async fn append(&mut self) -> BenchResult {
        let events = post_events(&self.cell, None);
        let (mut subject_runs, mut bare_rates) = (Vec::new(), Vec::new());
        let profile = self.context.profile(CONNECTIONS);
        for run in 0..self.context.options.runs {
            subject_runs.push(load::run(self.context.unit.target(), profile, &events).await?);
            bare_rates.push(self.bare_append(run)?);
        }
        let (subject, bare) = (load::median(&subject_runs), load::median_of(bare_rates));
        let name = format!("events of 1 KB, 10 rules, 1 log, {CONNECTIONS} connections");
        self.section.measured(name, subject);
        self.section.measured_rate(
            format!("baseline: appends of 1 KB to one SQLite file, {BARE_GROUP} in a commit"),
            bare,
        );
        self.section.note(format!(
            "events reach {:.2} times the rate of bare appends",
            subject.per_second / bare
        ));
        Ok(())
    }

    fn bare_append(&self, run: usize) -> BenchResult<f64> {
        let folder = self.context.scratch.join(format!("baseline-events-{run}"));
        crate::scenario::create_folder(&folder)?;
        let path = folder.display().to_string();
        let seconds = self.context.seconds();
        let rate = baseline::per_second(&[
            "records",
            "--folder",
            &path,
            "--files",
            "1",
            "--writers",
            "1",
            "--group",
            BARE_GROUP,
            "--entries",
            "0",
            "--seconds",
            &seconds,
        ]);
        let _ = std::fs::remove_dir_all(&folder);
        rate
    }

    /// Measures W1 alone and beside 3,000 events per second.
    async fn beside_reads(&mut self) -> BenchResult {
        let reads = read_by_key::generator(self.context).await?;
        let events = post_events(&self.cell, Some(RELAYED_EVERY));
        let profile = self.context.profile(read_by_key::CONNECTIONS);
        let at_rate = LoadProfile {
            rate: Some(SENT_PER_SECOND),
            ..self.context.profile(CONNECTIONS)
        };
        let target = self.context.unit.target();
        let (mut alone, mut read_runs, mut event_runs) = (Vec::new(), Vec::new(), Vec::new());
        let mut relayed = Vec::new();
        for _ in 0..self.context.options.runs {
            alone.push(load::run(target, profile, &reads).await?);
            let before = self.relayed().await?;
            let (reads, events) = tokio::join!(
                load::run(target, profile, &reads),
                load::run(target, at_rate, &events)
            );
            let seconds = (profile.warm_up + profile.duration).as_secs_f64();
            relayed.push((self.relayed().await? - before) / seconds);
            read_runs.push(reads?);
            event_runs.push(events?);
        }
        // Processor time and memory belong to both loads together.
        let without_resources = |measurement: Measurement| Measurement {
            cpu_us: 0.0,
            peak_bytes: 0,
            ..measurement
        };
        let (alone, beside) = (
            load::median(&alone),
            without_resources(load::median(&read_runs)),
        );
        let events = without_resources(load::median(&event_runs));
        self.section.measured("W1 alone", alone);
        self.section.measured(
            format!("W1 beside {WANTED_PER_SECOND:.0} events per s"),
            beside,
        );
        self.section.measured(
            format!("those events of 1 KB, 10 rules, 1 log, 1 relay of one in {RELAYED_EVERY}"),
            events,
        );
        self.section
            .measured_rate("those relays", load::median_of(relayed));
        self.section.require(
            "events beside W1: per s",
            events.per_second,
            Bound::AtLeast,
            WANTED_PER_SECOND,
        );
        self.section.require(
            "W1 beside events over W1 alone",
            beside.per_second / alone.per_second,
            Bound::AtLeast,
            0.5,
        );
        Ok(())
    }

    /// Measures the relays of one rule, which are sent one after the other, and the same requests of a bare client.
    async fn relay_alone(&mut self) -> BenchResult {
        let events = post_events(&self.cell, Some(1));
        let profile = LoadProfile {
            rate: Some(RELAYED_ALONE_PER_SECOND),
            ..self.context.profile(1)
        };
        let before = self.relayed().await?;
        let posted = load::run(self.context.unit.target(), profile, &events).await?;
        let seconds = (profile.warm_up + profile.duration).as_secs_f64();
        let rate = (self.relayed().await? - before) / seconds;
        let (_, body) = event_bodies();
        let bare: RequestGenerator = Arc::new(move |_, _| LoadRequest {
            bytes: request_bytes("POST", "/receive", &[], body.as_bytes()),
            expected: &[200],
        });
        let bare = load::run(self.bare_target(), self.context.profile(1), &bare).await?;
        self.section
            .measured("events that are all relayed, 1 connection", posted);
        self.section
            .measured_rate("relays of one rule, signed, one after the other", rate);
        self.section.measured(
            "baseline: the same requests of a bare client, not signed",
            bare,
        );
        Ok(())
    }

    /// Returns the number of relays that have arrived.
    async fn relayed(&self) -> BenchResult<f64> {
        let failed = |error: std::io::Error| format!("cannot ask the receiver: {error}");
        let mut connection = RawConnection::open(self.server.port)
            .await
            .map_err(failed)?;
        let mut body = Vec::new();
        let request = request_bytes("GET", "/received", &[], b"");
        let answer = connection.exchange(&request, RawBody::Keep(&mut body));
        answer.await.map_err(failed)?;
        let text = String::from_utf8_lossy(&body);
        text.parse()
            .map_err(|_| format!("the receiver answered {text}"))
    }
}

/// Returns requests that post events to a cell; one of `relayed_every` is one that is relayed.
pub(super) fn post_events(cell: &BenchCell, relayed_every: Option<u64>) -> RequestGenerator {
    let path = format!("/{}/__event", cell.name);
    let bearer = cell.bearer.clone();
    let (logged, relayed) = event_bodies();
    Arc::new(move |_, sequence| {
        let is_relayed = relayed_every.is_some_and(|every| sequence % every == 0);
        let body = if is_relayed { &relayed } else { &logged };
        let headers = [
            ("Authorization", bearer.as_str()),
            ("Content-Type", "application/json"),
        ];
        LoadRequest {
            bytes: request_bytes("POST", &path, &headers, body.as_bytes()),
            expected: &[200],
        }
    })
}

/// Returns an event that is logged, and one that is relayed too.
fn event_bodies() -> (String, String) {
    let of = |kind: &str| {
        let event = json!({"Type": kind, "Object": "personium-localbox:/bench", "Info": ""});
        let length = EVENT_BYTES.saturating_sub(event.to_string().len());
        json!({"Type": kind, "Object": "personium-localbox:/bench", "Info": "i".repeat(length)})
            .to_string()
    };
    (of("bench.log"), of("bench.relay"))
}
