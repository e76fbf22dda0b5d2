//! A cell whose records cannot be read does not delay the rule requests of other cells.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, StatusCode};
use personium_event::{NoResponse, ReceivedResponse, RequestSender};
use personium_model::odata::ServiceRoot;
use personium_store::Space;
use personium_testkit::ModelUnit;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// A sender that reports the type of each event.
struct TypeReporter(UnboundedSender<String>);

#[async_trait]
impl RequestSender for TypeReporter {
    async fn send(&self, request: Request<Bytes>) -> Result<ReceivedResponse, NoResponse> {
        let event: serde_json::Value = serde_json::from_slice(request.body()).unwrap();
        self.0
            .send(event["Type"].as_str().unwrap().to_owned())
            .unwrap();
        Ok(ReceivedResponse {
            status: StatusCode::OK,
            body: Bytes::new(),
        })
    }
}

/// A unit with a relay rule and a queued event in each of the cells `c` and `d`, and the space of `d`.
async fn two_cells() -> (ModelUnit, Space) {
    let unit = ModelUnit::new().await;
    unit.create_cell("d").await;
    for name in ["d", "c"] {
        let context = unit.find_cell(name).await.unwrap();
        let root = ServiceRoot::of_cell(unit.model.clone(), context.clone());
        unit.create_relay_rule(&root).await;
        unit.post_event(&unit.find_cell(name).await.unwrap()).await;
    }
    let damaged = unit.find_cell("d").await.unwrap().cell().id;
    (unit, Space::Cell(damaged))
}

/// Starts a sender of rule requests, one at a time; returns the types of the events that it sends.
fn start_sender(unit: &ModelUnit) -> UnboundedReceiver<String> {
    let (types, sent) = unbounded_channel();
    let sender = Arc::new(TypeReporter(types));
    tokio::spawn(personium_event::run(unit.model.clone(), sender, 1, None));
    sent
}

async fn expect_event_of(sent: &mut UnboundedReceiver<String>, cell: &str) {
    // The paused clock of the test only advances while every task waits.
    let from = tokio::time::timeout(Duration::from_secs(3600), sent.recv()).await;
    assert_eq!(from.unwrap().unwrap(), cell);
}

#[tokio::test(start_paused = true)]
async fn unreadable_cell_at_startup_does_not_delay_other_cells() {
    let (unit, damaged) = two_cells().await;
    let unit = unit.restart();
    unit.records.fail_reads_of(Some(damaged));
    let mut sent = start_sender(&unit);
    expect_event_of(&mut sent, "c").await;
    let context = unit.find_cell("c").await.unwrap();
    unit.post_event(&context).await;
    expect_event_of(&mut sent, "c").await;
    unit.records.fail_reads_of(None);
    expect_event_of(&mut sent, "d").await;
}

#[tokio::test(start_paused = true)]
async fn cell_that_becomes_unreadable_does_not_delay_other_cells() {
    let (unit, damaged) = two_cells().await;
    unit.records.fail_reads_of(Some(damaged));
    let mut sent = start_sender(&unit);
    expect_event_of(&mut sent, "c").await;
    unit.records.fail_reads_of(None);
    expect_event_of(&mut sent, "d").await;
}
