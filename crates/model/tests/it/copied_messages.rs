//! Messages that wait for delivery in a cell that is restored: only the former cell delivers them.

use std::sync::Arc;

use personium_model::cell_restoration::{CellRestoration, RestoredPlace};
use personium_model::entity;
use personium_model::keys::{self, ControlSet, SetKey};
use personium_model::odata::message::{self, AttemptOutcome, DeliveryResult, DeliverySender};
use personium_model::odata::{self, ServiceRoot};
use personium_model::{PermitTarget, records::Records};
use personium_odata::key::EntityKey;
use personium_odata::value::Value;
use personium_store::{BlobStore, RecordStore};
use personium_testkit::{ModelUnit, cell_permit, server_authority};
use personium_types::Operation;

const DELIVERED: &str = "http://unit.example/d/";
const WAITING: &str = "http://far.example/x/";

/// The recipients of a sent message, with the codes and reasons of their results.
async fn results_of(root: &ServiceRoot, id: &str) -> Vec<[String; 3]> {
    let set = root.set("SentMessage").unwrap();
    let found = odata::find(root, &set, &EntityKey::single(id)).await;
    let Value::List(results) = found.unwrap().unwrap().properties.value("Result").clone() else {
        panic!("a list of results");
    };
    let of = |result: &Value| match result {
        Value::Complex(members) => {
            ["To", "Code", "Reason"].map(|name| members.text(name).unwrap_or_default().to_owned())
        }
        _ => panic!("a result"),
    };
    results.iter().map(of).collect()
}

async fn waiting(records: &Records) -> (bool, i64) {
    let is_empty = records.is_empty(&keys::all_outbox_entries()).await.unwrap();
    let count = records.counter(&keys::waiting_deliveries()).await.unwrap();
    (!is_empty, count)
}

#[tokio::test]
async fn restored_cell_does_not_deliver_what_waits_and_its_messages_say_so() {
    let unit = ModelUnit::new().await;
    let (root, context) = (unit.cell_root().await, unit.context().await);
    let body = format!(r#"{{"To":"{DELIVERED},{WAITING}","Type":"message","Title":"t"}}"#);
    let outgoing = message::prepare(&root, body.as_bytes(), None)
        .await
        .unwrap();
    let outcomes = [
        AttemptOutcome::Answered {
            code: "201".to_owned(),
            reason: "Created.".to_owned(),
        },
        AttemptOutcome::Failed {
            code: None,
            reason: "No connection.".to_owned(),
        },
    ];
    let results: Vec<_> = [DELIVERED, WAITING]
        .into_iter()
        .zip(outcomes)
        .map(|(to, outcome)| DeliveryResult::after(&unit.model, to, (0, i64::MAX), outcome))
        .collect();
    let permit = cell_permit(&context, Operation::SendMessage);
    let sender = DeliverySender::default();
    let sent = message::store_sent(&root, &permit, (&outgoing, &sender), (&results, i64::MAX));
    let sent = sent.await.unwrap();
    let before = results_of(&root, &sent.id).await;
    assert_eq!(before[1][..2], [WAITING, "202"]);
    assert_eq!(waiting(context.records()).await, (true, 1));

    let old = context.cell().id;
    let catalogue = SetKey::control(ControlSet::Cell);
    let entry = entity::find(&unit.model.records(), &catalogue, &old.to_string()).await;
    let entry = entry.unwrap().unwrap().value;
    let restoration = CellRestoration::begin(&unit.model, old).await.unwrap();
    let source: (&dyn RecordStore, &dyn BlobStore) = (&*unit.records, &**unit.model.blobs());
    restoration.copy(source, false, &|_| {}).await.unwrap();
    let permit = server_authority().permit(Operation::WriteCells, PermitTarget::Unit);
    let place = RestoredPlace::Beside("copy".parse().unwrap());
    restoration.complete(&permit, &entry, &place).await.unwrap();

    let copy = unit.find_cell("copy").await.unwrap();
    assert_eq!(waiting(copy.records()).await, (false, 0));
    let copied = ServiceRoot::of_cell(unit.model.clone(), Arc::clone(&copy));
    let after = results_of(&copied, &sent.id).await;
    assert_eq!(after[0], before[0]);
    let reason = message::NOT_DELIVERED_BY_COPY;
    assert_eq!(after[1], [WAITING, "500", reason]);
    assert_eq!(results_of(&root, &sent.id).await, before);
    assert_eq!(waiting(context.records()).await, (true, 1));
}
