//! The audit log: what is appended stays, in one chain, and whatever is done to it is found.

use std::collections::BTreeSet;

use personium_model::audit::{
    self, AuditActor, AuditEvent, AuditEventKind, AuditFilter, AuditFinding, AuditRetention,
    AuditVerification, NotedEntry,
};
use personium_model::keys;
use personium_model::records::Records;
use personium_store::{Batch, Space};
use personium_testkit::ModelUnit;
use serde_json::Value;

fn event(target: &str) -> AuditEvent {
    AuditEvent::new(AuditEventKind::Note, "test")
        .by(AuditActor::command("root (0)"), Some("192.0.2.7"))
        .with_target(target)
}

async fn append(unit: &ModelUnit, count: usize) {
    for number in 0..count {
        let appended = unit.model.append_audit_entry(event(&number.to_string()));
        appended.await.unwrap();
    }
}

async fn verify(unit: &ModelUnit, noted: Option<&NotedEntry>) -> AuditVerification {
    audit::verify(&unit.model.records(), noted).await.unwrap()
}

async fn findings(unit: &ModelUnit) -> Vec<AuditFinding> {
    verify(unit, None).await.findings
}

async fn entries(unit: &ModelUnit, filter: &AuditFilter) -> Vec<Value> {
    let mut lines = Vec::new();
    let records = unit.model.records();
    let exported = audit::export(&records, filter, |line| {
        lines.push(serde_json::from_str(line).unwrap());
        Ok(())
    });
    exported.await.unwrap().unwrap();
    lines
}

async fn raw(records: &Records, sequence: u64) -> Vec<u8> {
    let found = records.find_bytes(&keys::audit_entry(sequence)).await;
    found.unwrap().unwrap().to_vec()
}

async fn change(unit: &ModelUnit, change: impl FnOnce(&mut Batch)) {
    let mut batch = Batch::new();
    change(&mut batch);
    unit.model.records().commit(batch).await.unwrap();
}

#[tokio::test]
async fn entries_of_many_tasks_and_two_nodes_are_one_chain_without_gaps() {
    let unit = ModelUnit::new().await;
    let nodes = [unit.server_node(0), unit.server_node(3_600_000)];
    let mut tasks = Vec::new();
    for number in 0..200 {
        let model = nodes[number % 2].model.clone();
        let entry = event(&number.to_string());
        tasks.push(tokio::spawn(async move {
            model.append_audit_entry(entry).await.unwrap()
        }));
    }
    let mut numbers = BTreeSet::new();
    for task in tasks {
        assert!(numbers.insert(task.await.unwrap()));
    }
    assert_eq!(numbers, (1..=200).collect());
    let verified = verify(&nodes[0], None).await;
    assert_eq!(verified.findings, []);
    assert_eq!((verified.first, verified.last), (1, 200));
    let entries = entries(&nodes[1], &AuditFilter::default()).await;
    let targets = entries.iter().map(|entry| entry["target"].to_string());
    assert_eq!(targets.collect::<BTreeSet<_>>().len(), 200);
}

#[tokio::test]
async fn entry_is_stored_although_its_caller_is_cancelled() {
    let unit = ModelUnit::new().await;
    // Polled once: it is queued then.
    tokio::select! {
        biased;
        _ = unit.model.append_audit_entry(event("x")) => {}
        () = std::future::ready(()) => {}
    }
    unit.model.finish_commits().await;
    assert_eq!(verify(&unit, None).await.last, 1);
}

#[tokio::test]
async fn every_change_of_the_chain_is_found() {
    let (fifth, sixth) = (keys::audit_entry(5), keys::audit_entry(6));
    type Tampering<'t> = (
        &'t str,
        Box<dyn Fn(&mut Batch, [Vec<u8>; 2]) + 't>,
        Vec<AuditFinding>,
    );
    let altered = |value: &[u8]| {
        let text = String::from_utf8(value.to_vec()).unwrap();
        text.replace("192.0.2.7", "192.0.2.8").into_bytes()
    };
    let cases: [Tampering<'_>; 7] = [
        (
            "an entry is changed",
            Box::new(|batch, [a, _]| batch.put(fifth.clone(), altered(&a))),
            vec![AuditFinding::Changed(5)],
        ),
        (
            "an entry is removed",
            Box::new(|batch, _| batch.delete(fifth.clone())),
            vec![AuditFinding::Missing(5, 5)],
        ),
        (
            "two entries change places",
            Box::new(|batch, [a, b]| {
                batch.put(fifth.clone(), b);
                batch.put(sixth.clone(), a);
            }),
            vec![
                AuditFinding::Misplaced(5, 6),
                AuditFinding::Misplaced(6, 5),
                AuditFinding::Changed(6),
            ],
        ),
        (
            "an entry is no entry",
            Box::new(|batch, _| batch.put(fifth.clone(), "x")),
            vec![AuditFinding::Damaged(5)],
        ),
        (
            "the last entries are removed",
            Box::new(|batch, _| {
                for sequence in 9..=10 {
                    batch.delete(keys::audit_entry(sequence));
                }
            }),
            vec![AuditFinding::Missing(9, 10)],
        ),
        (
            "the head is removed",
            Box::new(|batch, _| batch.delete(keys::audit_head())),
            vec![AuditFinding::NoHead],
        ),
        (
            "an entry is added after the head",
            Box::new(|batch, [a, _]| batch.put(keys::audit_entry(12), a)),
            vec![AuditFinding::Unknown(12)],
        ),
    ];
    for (what, tamper, expected) in cases {
        let unit = ModelUnit::new().await;
        append(&unit, 10).await;
        assert_eq!(findings(&unit).await, []);
        let records = unit.model.records();
        let values = [raw(&records, 5).await, raw(&records, 6).await];
        change(&unit, |batch| tamper(batch, values)).await;
        assert_eq!(findings(&unit).await, expected, "{what}");
    }
}

#[tokio::test]
async fn chain_that_was_rewritten_as_a_whole_is_found_by_a_noted_entry() {
    let unit = ModelUnit::new().await;
    append(&unit, 10).await;
    let before = verify(&unit, None).await;
    let noted = NotedEntry {
        sequence: before.last,
        hash: before.last_hash,
    };
    append(&unit, 5).await;
    assert_eq!(verify(&unit, Some(&noted)).await.findings, []);
    // Another chain in its place: as if somebody with access to the store had written it anew.
    change(&unit, |batch| {
        for sequence in 1..=15 {
            batch.delete(keys::audit_entry(sequence));
        }
        batch.delete(keys::audit_head());
    })
    .await;
    append(&unit, 9).await;
    assert_eq!(findings(&unit).await, []);
    let found = verify(&unit, Some(&noted)).await.findings;
    assert_eq!(found, [AuditFinding::LaterThanHead(10)]);
    append(&unit, 6).await;
    let found = verify(&unit, Some(&noted)).await.findings;
    assert_eq!(found, [AuditFinding::OtherThanNoted(10)]);
}

#[tokio::test]
async fn old_and_too_many_entries_are_removed_and_the_rest_still_verifies() {
    let unit = ModelUnit::new().await;
    append(&unit, 450).await;
    let noted = NotedEntry {
        sequence: 440,
        hash: {
            let value = raw(&unit.model.records(), 441).await;
            let next: Value = serde_json::from_slice(&value[1..]).unwrap();
            next["previous"].as_str().unwrap().to_owned()
        },
    };
    let nothing = unit
        .model
        .remove_old_audit_entries(AuditRetention::default());
    assert_eq!(nothing.await.unwrap(), 0);
    let retention = AuditRetention {
        entries_max: Some(10),
        max_age_ms: Some(i64::MAX),
    };
    // Two nodes at the same time.
    let (one, other) = (unit.model.clone(), unit.server_node(0).model);
    let (one, other) = tokio::join!(
        one.remove_old_audit_entries(retention),
        other.remove_old_audit_entries(retention)
    );
    assert!(one.unwrap() + other.unwrap() >= 440);
    let verified = verify(&unit, Some(&noted)).await;
    assert_eq!(verified.findings, []);
    assert!(verified.first > 440 && verified.last > 450, "{verified:?}");
    let entries = entries(&unit, &AuditFilter::default()).await;
    let says_so = |entry: &Value| entry["operation"] == "audit.remove";
    assert!(entries.iter().any(says_so), "{entries:?}");

    // All that is older than now.
    let age = AuditRetention {
        entries_max: None,
        max_age_ms: Some(-1),
    };
    assert!(unit.model.remove_old_audit_entries(age).await.unwrap() > 0);
    let verified = verify(&unit, Some(&noted)).await;
    assert_eq!(verified.findings, []);
    assert!(verified.is_noted_entry_removed);
    assert_eq!(
        verified.first, verified.last,
        "only the note of the removal"
    );
}

#[tokio::test]
async fn export_takes_the_entries_between_two_times() {
    let unit = ModelUnit::new().await;
    append(&unit, 10).await;
    let all = entries(&unit, &AuditFilter::default()).await;
    let time = |number: usize| Some(all[number]["time"].as_str().unwrap().to_owned());
    let filter = AuditFilter {
        from: time(3),
        until: time(7),
    };
    let found = entries(&unit, &filter).await;
    let is_within = |entry: &&Value| {
        let time = entry["time"].as_str();
        time >= filter.from.as_deref() && time < filter.until.as_deref()
    };
    let expected: Vec<Value> = all.iter().filter(is_within).cloned().collect();
    assert!(!expected.is_empty() && expected.len() < 10);
    assert_eq!(found, expected);
}

#[tokio::test]
async fn commit_whose_outcome_is_unknown_leaves_a_whole_chain() {
    let unit = ModelUnit::new().await;
    append(&unit, 3).await;
    unit.records.fail_audit_log(true);
    assert!(unit.model.append_audit_entry(event("x")).await.is_err());
    unit.records.fail_audit_log(false);
    append(&unit, 3).await;
    let verified = verify(&unit, None).await;
    assert_eq!((verified.findings, verified.last), (Vec::new(), 6));
    assert_eq!(*unit.model.records().space(), Space::Unit);
}
