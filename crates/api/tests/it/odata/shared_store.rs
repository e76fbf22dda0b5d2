//! Creations over a store that several server nodes share, which do not read first whether a key is taken.

use std::collections::BTreeSet;

use personium_testkit::{Outcome, TestUnit};
use serde_json::{Value, json};

use super::batch::{change, outcomes, send};
use super::{declare, odata_unit, relate};

/// A collection with entities, so that each of [`CREATIONS`] has something that refuses it.
async fn unit() -> TestUnit {
    let unit = odata_unit(|_| {}).await;
    unit.create_entity_type("c/b/od", "One").await;
    relate(&unit, ("One", "0..1"), ("A", "0..1")).await;
    let needed = json!({
        "Name": "needed", "_EntityType.Name": "B", "Type": "Edm.Int32", "Nullable": false, "DefaultValue": null,
    });
    declare(&unit, needed).await;
    for (path, body) in [
        ("c/b/od/A", r#"{"__id":"taken"}"#),
        ("c/b/od/A", r#"{"__id":"linked"}"#),
        ("c/b/od/A", r#"{"__id":"open"}"#),
        ("c/b/od/B", r#"{"__id":"taken","needed":1}"#),
        ("c/b/od/A('linked')/_One", r#"{"__id":"taken"}"#),
        ("c/__ctl/Role", r#"{"Name":"taken"}"#),
        ("c/__ctl/Relation", r#"{"Name":"taken"}"#),
        ("c/__ctl/ExtCell", r#"{"Url":"http://unit.example/taken/"}"#),
    ] {
        unit.create(path, body).await;
    }
    unit
}

/// Requests that create something, most of which are refused: paths and bodies.
const CREATIONS: &[(&str, &str)] = &[
    ("c/b/od/A", r#"{"__id":"taken"}"#),
    ("c/b/od/A", r#"{"__id":"taken","a":1,"b":2,"c":3,"d":4}"#),
    ("c/b/od/A", r#"{"__id":"free","a":1,"b":2,"c":3,"d":4}"#),
    ("c/b/od/A", r#"{"__id":"taken","a":{"b":1}}"#),
    ("c/b/od/A", r#"{"__id":""}"#),
    ("c/b/od/A", r#"{"__id":"-"}"#),
    ("c/b/od/A", r#"{"__id":5}"#),
    ("c/b/od/A", "[]"),
    ("c/b/od/A", ""),
    ("c/b/od/None", r#"{"__id":"taken"}"#),
    ("c/b/none/A", r#"{"__id":"taken"}"#),
    ("c/b/od/B", r#"{"__id":"taken"}"#),
    ("c/b/od/B", r#"{"__id":"taken","needed":null}"#),
    ("c/b/od/B", r#"{"__id":"taken","needed":"x"}"#),
    ("c/b/od/B", r#"{"__id":"taken","needed":2}"#),
    ("c/b/od/B", r#"{"__id":"free"}"#),
    ("c/b/od/A('taken')/_B", r#"{"__id":"taken","needed":1}"#),
    ("c/b/od/A('none')/_B", r#"{"__id":"taken","needed":1}"#),
    ("c/b/od/A('none')/_B", r#"{"__id":"free","needed":1}"#),
    ("c/b/od/A('taken')/_None", r#"{"__id":"taken"}"#),
    ("c/b/od/A('linked')/_One", r#"{"__id":"taken"}"#),
    ("c/b/od/A('linked')/_One", r#"{"__id":"free"}"#),
    ("c/b/od/A('open')/_One", r#"{"__id":"taken"}"#),
    ("c/__ctl/Role", r#"{"Name":"taken"}"#),
    ("c/__ctl/Role", r#"{"Name":"free","_Box.Name":"none"}"#),
    ("c/__ctl/Role", r#"{"Name":"taken","_Box.Name":"none"}"#),
    ("c/__ctl/Role", r#"{"Name":"a b"}"#),
    ("c/__ctl/Relation", r#"{"Name":"taken"}"#),
    ("c/__ctl/ExtCell", r#"{"Url":"http://unit.example/taken/"}"#),
    ("c/__ctl/ExtCell", r#"{"Url":"no URL"}"#),
    (
        "c/__ctl/ExtRole",
        r#"{"ExtRole":"http://unit.example/x/__role/__/r","_Relation.Name":"none"}"#,
    ),
    ("c/__ctl/Account", r#"{"Name":"x","Type":"none"}"#),
    ("c/__ctl/Box", r#"{"Name":"b"}"#),
    (
        "c/__ctl/Box",
        r#"{"Name":"free","Schema":"http://unit.example/appcell/"}"#,
    ),
    (
        "c/__ctl/Box",
        r#"{"Name":"b","Schema":"http://unit.example/appcell/"}"#,
    ),
    ("c/b/od/$metadata/EntityType", r#"{"Name":"A"}"#),
    (
        "c/b/od/$metadata/Property",
        r#"{"Name":"needed","_EntityType.Name":"B","Type":"Edm.Int32"}"#,
    ),
    (
        "c/b/od/$metadata/Property",
        r#"{"Name":"x","_EntityType.Name":"None","Type":"Edm.Int32"}"#,
    ),
    ("c/b/od/A", r#"{"__id":"large","text":"LARGE"}"#),
    ("c/b/od/A", r#"{"__id":"taken","text":"LARGE"}"#),
];

/// The outcomes of all requests, alone and those of entities as parts of batches.
async fn all_outcomes(unit: &TestUnit) -> Vec<(String, Vec<Outcome>)> {
    let mut found = Vec::new();
    let large = "x".repeat(60_000);
    for (path, body) in CREATIONS {
        let body = body.replace("LARGE", &large);
        let shown = format!("{path} {}", &body[..body.len().min(80)]);
        let alone = unit.post(path, &body).await.outcome();
        found.push((shown.clone(), vec![alone]));
        if let Some(target) = path.strip_prefix("c/b/od/").filter(|_| !path.contains('$')) {
            // The same in a change set, twice, and after one that is not refused.
            let part = change("POST", target, "", &body);
            let (head, one) = part.split_once("\n\n").unwrap();
            let first = one.strip_suffix("--c--\n").unwrap();
            let set = format!("{head}\n\n{first}{one}");
            let parts = [part.clone(), part, set];
            let answer = send(unit, "master", &parts).await;
            found.push((format!("$batch {shown}"), outcomes(&answer)));
        }
    }
    found
}

async fn set_quota(unit: &TestUnit, quota: Value) {
    let body = json!({"cell": "c", "quota": quota}).to_string();
    unit.post("__quota", &body).await.expect(204);
}

async fn set_mode(unit: &TestUnit, is_on: bool) {
    let changed = unit
        .model
        .change_maintenance(|modes| modes.is_read_delete_only = is_on);
    changed.await.unwrap();
}

/// The outcomes over a store of this process alone, or over one that is shared.
async fn outcomes_over(is_shared: bool) -> Vec<(String, Vec<Outcome>)> {
    let made = unit().await;
    let unit = match is_shared {
        true => made.sharing_node(),
        false => made,
    };
    assert_eq!(unit.model.store().is_shared(), is_shared);
    let mut found = Vec::new();
    set_mode(&unit, true).await;
    found.extend(all_outcomes(&unit).await);
    set_mode(&unit, false).await;
    set_quota(&unit, json!(0)).await;
    found.extend(all_outcomes(&unit).await);
    set_quota(&unit, json!("unlimited")).await;
    found.extend(all_outcomes(&unit).await);
    // Once more: what was created is refused now.
    found.extend(all_outcomes(&unit).await);
    found
}

#[tokio::test]
async fn refusals_of_creations_over_a_shared_store_are_those_over_another_one() {
    let (alone, shared) = (outcomes_over(false).await, outcomes_over(true).await);
    let codes: BTreeSet<_> = alone.iter().flat_map(|(_, all)| all).collect();
    assert!(codes.len() > 12, "{codes:?}");
    let different: Vec<_> = alone
        .iter()
        .zip(&shared)
        .filter(|(one, other)| one != other)
        .collect();
    assert_eq!(different, []);
}
