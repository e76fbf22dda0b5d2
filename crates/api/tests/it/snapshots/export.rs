//! `__export`: the content of a cell in a snapshot.

use personium_testkit::{TestUnit, refused, success, wait_until};
use serde_json::{Value, json};

use super::{documents, entries, export, state_of, unit_with_full_cell};

/// The properties of the documents of one kind.
fn properties(archive: &[u8], file: &str) -> Vec<Value> {
    let documents = documents(archive, file).into_iter();
    documents
        .map(|document| document["_source"]["s"].clone())
        .collect()
}

#[tokio::test]
async fn exported_cell_is_a_snapshot_of_the_format_of_the_original() {
    let unit = unit_with_full_cell().await;
    let archive = export(&unit, "s").await;
    let entries = entries(&archive);
    let json = |name: &str| -> Value { serde_json::from_slice(&entries[name]).unwrap() };
    let manifest = json("00_manifest.json");
    assert_eq!(manifest["export_version"], 2);
    assert_eq!(manifest["unit_url"], "http://unit.example/");
    let cell = json("10_odata/00_cell.json");
    assert_eq!(cell["_source"]["s"], json!({"Name": "c"}));
    assert_eq!(
        properties(&archive, "11_account.pjson"),
        [json!({"Name": "me", "Type": "basic", "Status": "active"})]
    );
    let account = &documents(&archive, "11_account.pjson")[0];
    assert!(account["_source"]["h"]["HashedCredential"].is_string());
    let boxes = properties(&archive, "10_box.pjson");
    assert!(
        boxes.contains(&json!({"Name": "new", "Schema": "http://app.example/"})),
        "{boxes:?}"
    );
    let pets = properties(&archive, "70_userdata.pjson");
    let cat = pets.iter().find(|pet| pet["__id"] == "cat").unwrap();
    assert!(cat.to_string().contains("\"9007199254740993\""), "{cat}");
    let rules = properties(&archive, "21_rule.pjson");
    assert_eq!(rules[0]["EventExternal"], true);
    let links = documents(&archive, "80_link.pjson");
    let kinds = |kind: &str, other: &str| {
        let found = links
            .iter()
            .filter(|link| link["_source"]["t1"] == kind && link["_source"]["t2"] == other);
        found.count()
    };
    assert_eq!(kinds("Account", "Role"), 1);
    assert_eq!(kinds("ExtCell", "Role"), 1);
    assert_eq!(kinds("Relation", "Role"), 1);
    assert_eq!(kinds("ExtRole", "Role"), 1);
    assert_eq!(entries["20_webdav/__/profile.json/content"], b"{}");
    let box_b = documents(&archive, "10_box.pjson");
    let box_b = box_b
        .iter()
        .find(|found| found["_source"]["s"]["Name"] == "b")
        .unwrap();
    let folder = format!("20_webdav/{}", box_b["_id"].as_str().unwrap());
    assert_eq!(
        entries[&format!("{folder}/large.bin/content")].len(),
        700_000
    );
    let large = json(&format!("{folder}/large.bin/.pmeta"));
    assert_eq!(large["t"], "dav.file");
    assert_eq!(
        (&large["cl"], &large["et"]),
        (&json!(700_000), &json!("NONE"))
    );
    let grant = &large["a"]["D.ace"][0]["D.grant"]["D.privilege"];
    assert_eq!(*grant, json!([{"D.read": {}}]));
    assert_eq!(
        entries[&format!("{folder}/content/content")],
        b"not a content"
    );
    assert_eq!(json(&format!("{folder}/.pmeta"))["t"], "col.box");
    assert_eq!(json(&format!("{folder}/packed/.pmeta"))["ce"], "gzip");
    assert_eq!(json("20_webdav/.pmeta")["t"], "Cell");
}

#[tokio::test]
async fn snapshot_gets_the_wanted_name_or_one_with_the_time() {
    let unit = TestUnit::new().await;
    unit.admin().post("c/__export", "").await.expect(202);
    wait_until("the end of the export", async || {
        state_of(&unit, "c/__export").await["status"] == "ready"
    })
    .await;
    let list = unit
        .admin_request("PROPFIND", "c/__snapshot")
        .header("depth", "1");
    let list = list.send().await.expect(207).text();
    let name = list.split("/__snapshot/c_").nth(1).unwrap();
    let name = name.split(".zip").next().unwrap();
    assert!(
        name.len() == 15 && name.chars().all(|c| c.is_ascii_digit() || c == '_'),
        "{name}"
    );
    export(&unit, "wanted-1_A").await;
    for (body, outcome) in [
        (r#"{"Name":"wanted-1_A"}"#, refused(409, "DV-0002")),
        (r#"{"Name":"a.zip"}"#, refused(400, "CM-0002")),
        (r#"{"Name":"../a"}"#, refused(400, "CM-0002")),
        (r#"{"Name":""}"#, refused(400, "CM-0002")),
        (r#"{"Name":1}"#, refused(400, "CM-0002")),
        ("{", refused(400, "CM-0004")),
        ("[]", refused(400, "CM-0004")),
    ] {
        let response = unit.admin().post("c/__export", body).await;
        assert_eq!(response.outcome(), outcome, "{body}");
    }
    let long = json!({"Name": "n".repeat(193)}).to_string();
    let response = unit.admin().post("c/__export", &long).await;
    assert_eq!(response.outcome(), refused(400, "CM-0002"));
    let put = unit.admin_request("PUT", "c/__export").send().await;
    assert_eq!(put.outcome(), refused(405, "MC-0001"));
}

#[tokio::test]
async fn export_that_fails_leaves_a_file_that_tells_why() {
    let unit = TestUnit::with_settings(|settings| {
        settings.archives.temp_dir = "/dev/null/nowhere".into();
    })
    .await;
    unit.admin()
        .post("c/__export", r#"{"Name":"s"}"#)
        .await
        .expect(202);
    wait_until("the end of the export", async || {
        state_of(&unit, "c/__export").await["status"] == "ready"
    })
    .await;
    let error = unit
        .admin_request("GET", "c/__snapshot/s.error")
        .send()
        .await;
    let error = error.expect(200);
    assert_eq!(error.header("content-type"), Some("application/json"));
    assert_eq!(error.json()["code"], "PR500-SV-9999");
    assert!(error.json()["message"]["value"].is_string());
    let archive = unit.admin_request("GET", "c/__snapshot/s.zip").send().await;
    assert_eq!(archive.outcome(), refused(404, "DV-0001"));
    let written = unit.admin_request("PUT", "c/b/file").body("x").send().await;
    assert_eq!(written.outcome(), success(201));
}

#[tokio::test]
async fn end_of_an_export_is_an_event() {
    let unit = TestUnit::new().await;
    let rule = r#"{"Name":"r","EventType":"cell.export","EventExternal":false,"Action":"log"}"#;
    unit.create("c/__ctl/Rule", rule).await;
    export(&unit, "s").await;
    wait_until("the line of the log", async || {
        let log = unit.admin_request("GET", "c/__log/current/default.log");
        let log = log.send().await.text();
        log.contains("\"cell.export\",\"http://unit.example/c/__export\"")
    })
    .await;
}
