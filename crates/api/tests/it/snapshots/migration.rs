//! A unit of the reference is migrated from its documents and its file tree, and its cells give the answers that they gave there. They are
//! beside the project, like the recorded exchanges; without them the test does nothing.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Command;
use std::sync::Arc;

use flate2::read::GzDecoder;
use personium_install::{ComparedCell, Documents, Migration, OriginalFiles};
use personium_model::credentials::UnitKeys;
use personium_store::memory::MemoryRecords;
use personium_testkit::{
    CLOCK_START_MS, TestUnit, UNIT_SECRET, artifacts_folder, expect_recorded_answers,
    recorded_answers,
};
use personium_types::Secret;
use serde_json::Value;

/// The prefix, the secret and the salt of the unit.
const PREFIX: &str = "u0";
const SECRET: &str = "gv7hpmmf5siwj5by";
const SALT: &str = "voAbizvF";

async fn collect(documents: &Documents) {
    let path = artifacts_folder().unwrap().join("es_documents.ndjson.gz");
    let lines = GzDecoder::new(fs::File::open(path).unwrap());
    let mut collector = documents.collect(PREFIX).await.unwrap();
    for line in BufReader::new(lines).lines() {
        collector.add(line.unwrap().as_bytes()).await.unwrap();
    }
    let counts = collector.finish().await.unwrap();
    assert_eq!(counts.values().sum::<u64>(), 2_498);
}

/// Takes over all cells. Returns the names of those that were not unchanged, and what was left out.
async fn migrate(migration: &Migration, documents: &Documents) -> (Vec<String>, Vec<String>) {
    let (mut changed, mut refused) = (Vec::new(), Vec::new());
    for cell in documents.list_cells(None).await.unwrap() {
        let outcome = migration.migrate(cell).await.unwrap();
        if !outcome.is_unchanged {
            changed.push(outcome.name.clone());
        }
        assert_eq!(outcome.refusals, outcome.refused.len() as u64);
        for (place, id, reason) in outcome.refused {
            refused.push(format!("{}: {place} {id}: {reason}", outcome.name));
        }
    }
    changed.sort();
    (changed, refused)
}

async fn verify(migration: &Migration, documents: &Documents) -> ComparedCell {
    let mut all = ComparedCell::default();
    for cell in documents.list_cells(None).await.unwrap() {
        let found = migration.verify(cell).await.unwrap();
        all.documents += found.documents;
        all.entities += found.entities;
        all.files += found.files;
        let differences = found.differences.into_iter();
        all.differences
            .extend(differences.map(|text| format!("{}: {text}", found.name)));
    }
    all
}

/// Logs in as it was recorded, one login after the other. Tokens are other ones.
async fn compare_logins(unit: &TestUnit) {
    for answer in recorded_answers("migrated") {
        if answer["group"] != "login" {
            continue;
        }
        // Passwords may be tried once a second.
        unit.advance_clock(1_100);
        let fields: Vec<(String, String)> = answer["request_body"]
            .as_str()
            .unwrap()
            .split('&')
            .filter_map(|field| field.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.replace("%40", "@")))
            .collect();
        let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (&**n, &**v)).collect();
        let mut request = unit.request("POST", "migrated/__token").form(&fields);
        for (name, value) in answer["headers"].as_object().unwrap() {
            if name.eq_ignore_ascii_case("x-forwarded-for") {
                request = request.header("x-forwarded-for", value.as_str().unwrap());
            }
        }
        let found = request.send().await;
        assert_eq!(
            answer["status"],
            found.status.as_u16(),
            "{fields:?}: {}",
            found.text()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unit_of_the_reference_is_migrated_with_its_answers() {
    let Some(artifacts) = artifacts_folder() else {
        return;
    };
    let tree = tempfile::tempdir().unwrap();
    let unpacked = Command::new("tar")
        .arg("-xzf")
        .arg(artifacts.join("filetree.tar.gz"))
        .arg("-C")
        .arg(tree.path())
        .status();
    assert!(unpacked.unwrap().success());
    let mut keys = UnitKeys::self_signed("unit.example", UNIT_SECRET, CLOCK_START_MS).unwrap();
    SALT.clone_into(&mut keys.password_hashing.sha256_salt);
    let unit = TestUnit::empty_with_keys(Arc::new(keys), |_| {});
    let documents = Documents::open(Arc::new(MemoryRecords::new()))
        .await
        .unwrap();
    let files = OriginalFiles {
        dav: tree.path().join("dav"),
        event_logs: Some(tree.path().join("eventlog")),
        snapshots: Some(tree.path().join("snapshot")),
        prefix: PREFIX.to_owned(),
        secret: Some(Secret::new(SECRET.to_owned())),
    };
    let authority = (unit.model.clone(), unit.server.clone());
    let migration = Migration::new(authority, documents.clone(), files);
    collect(&documents).await;
    let (taken_over, refused) = migrate(&migration, &documents).await;
    assert_eq!(taken_over.len(), 11, "{taken_over:?}");
    assert_eq!(refused, Vec::<String>::new());

    let compared = verify(&migration, &documents).await;
    assert_eq!(compared.differences, Vec::<String>::new());
    assert!(compared.documents > 2_000, "{compared:?}");
    assert_eq!(compared.entities, 433);
    assert_eq!(compared.files, 23);

    expect_recorded_answers(&unit).await;
    compare_logins(&unit).await;
    let certificates = recorded_answers("migrated");
    let certificates = certificates
        .iter()
        .find(|answer| answer["path"] == "/migrated/__certs")
        .unwrap();
    let found = unit.admin_request("GET", "migrated/__certs").send().await;
    let recorded: Value = serde_json::from_str(certificates["body"].as_str().unwrap()).unwrap();
    for name in ["kid", "n", "e"] {
        assert_eq!(found.json()["keys"][0][name], recorded["keys"][0][name]);
    }

    // Nothing has changed, so nothing is taken over again.
    collect(&documents).await;
    let (taken_over, _) = migrate(&migration, &documents).await;
    assert_eq!(taken_over, Vec::<String>::new());
    let content = tree
        .path()
        .join("dav/u0_owner_one/6W-PJqacQx2ckHOrPbfMNQ/iNyUSWp7TG-LlYYpJkQVhw/f.txt/content");
    let length = fs::read(&content).unwrap().len();
    fs::write(&content, "x".repeat(length)).unwrap();
    let (taken_over, _) = migrate(&migration, &documents).await;
    assert_eq!(taken_over, ["ownedcell"]);
    let changed = unit.admin_request("GET", "ownedcell/b/f.txt").send().await;
    assert_eq!(changed.expect(200).text(), "x".repeat(length));
}
