//! `__export` in open formats: everything in a cell for the person whose cell it is.

use personium_testkit::{TestUnit, refused, wait_until};
use serde_json::Value;

use super::{entries, state_of};

async fn exported(unit: &TestUnit) -> Vec<u8> {
    let body = r#"{"Name":"mine","Format":"open"}"#;
    unit.admin().post("c/__export", body).await.expect(202);
    wait_until("the end of the export", async || {
        state_of(unit, "c/__export").await["status"] == "ready"
    })
    .await;
    let got = unit.admin_request("GET", "c/__snapshot/mine.zip").send();
    got.await.expect(200).body.to_vec()
}

fn lines(text: &[u8]) -> Vec<Value> {
    let text = String::from_utf8(text.to_vec()).unwrap();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn everything_in_a_cell_is_in_open_formats_and_a_page_leads_to_it() {
    let unit = TestUnit::new().await;
    unit.create_odata_collection("c/b/data", "Row").await;
    unit.create("c/b/data/Row", r#"{"__id":"1","text":"<b>of a row</b>"}"#)
        .await;
    unit.create_collection("c/b/a%20folder", "").await;
    unit.put_file("c/b/a%20folder/a&'.txt", "in a folder").await;
    unit.put_file("c/__/main", &"m".repeat(50_000)).await;
    unit.create_account("c", r#"{"Name":"me"}"#).await;
    unit.create_role("c", "boss").await;
    unit.link("c", "Account('me')", "_Role", "Role('boss')")
        .await;
    let archive = exported(&unit).await;
    let entries = entries(&archive);
    assert_eq!(entries["files/b/a folder/a&'.txt"], b"in a folder");
    assert_eq!(entries["files/__/main"].len(), 50_000);
    let rows = lines(&entries["data/b/data/Row.jsonl"]);
    assert_eq!(rows[0]["text"], "<b>of a row</b>");
    assert_eq!(rows[0]["__id"], "1");
    let accounts = lines(&entries["objects/Account.jsonl"]);
    assert_eq!(accounts[0]["Name"], "me");
    assert_eq!(lines(&entries["objects/_links.jsonl"]).len(), 1);
    assert!(lines(&entries["descriptions.jsonl"]).len() > 5);
    for (name, content) in &entries {
        let text = String::from_utf8_lossy(content);
        assert!(!text.contains("HashedCredential"), "{name}");
    }
    let page = String::from_utf8(entries["index.html"].clone()).unwrap();
    for part in [
        "http://unit.example/c/",
        "objects/Account.jsonl",
        "a%20folder",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    assert!(!page.contains("a&'"), "{page}");
}

#[tokio::test]
async fn unknown_format_is_refused() {
    let unit = TestUnit::new().await;
    for format in [r#""pdf""#, "5", "null"] {
        let body = format!(r#"{{"Name":"mine","Format":{format}}}"#);
        let refusal = unit.admin().post("c/__export", &body).await.outcome();
        assert_eq!(refusal, refused(400, "CM-0002"), "{format}");
    }
}
