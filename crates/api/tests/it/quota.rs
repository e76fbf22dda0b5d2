//! Counters of stored bytes, and quotas: `__quota`, refusals with 507, the properties of RFC 4331.

mod links_and_names;

use personium_model::cell_usage::{self, CountedCell};
use personium_model::keys;
use personium_store::{Batch, Key, RecordStore, Space};
use personium_testkit::{TestUnit, cell_url, refused, success, wait_until};
use personium_types::CellId;
use serde_json::{Value, json};

use crate::archive_entries::entries;
use crate::install::{install_bytes, wait_for_installation};

const OWNER: &str = "http://unit.example/c/#owner";
const LOCAL_OWNER: &str = "personium-localunit:c:/#owner";

/// The counters and the content of a cell in one snapshot.
async fn counted(unit: &TestUnit, cell: &str) -> CountedCell {
    let id = unit.model.find_cell(cell).await.unwrap().unwrap().cell().id;
    cell_usage::count(&*unit.records, &id).await.unwrap()
}

/// Checks that the counters say what there is, and returns the bytes of files and of entities.
pub async fn exact(unit: &TestUnit, cell: &str) -> (i64, i64) {
    let counted = counted(unit, cell).await;
    assert_eq!(counted.counters, counted.content);
    (counted.content.files, counted.content.entities)
}

async fn set_quota(unit: &TestUnit, body: &Value) {
    let set = unit.admin().post("__quota", &body.to_string()).await;
    assert_eq!(set.outcome(), success(204), "{}", set.text());
}

async fn shown(unit: &TestUnit, query: &str) -> Value {
    let path = format!("__quota{query}");
    unit.admin_request("GET", &path)
        .send()
        .await
        .expect(200)
        .json()
}

/// A quota that leaves the cell `c` so many bytes.
async fn leave(unit: &TestUnit, bytes: u64) {
    let used = shown(unit, "?cell=c").await["usedBytes"].as_u64().unwrap();
    set_quota(unit, &json!({"cell": "c", "quota": used + bytes})).await;
}

async fn put(unit: &TestUnit, path: &str, bytes: usize) -> u16 {
    let put = unit.admin_request("PUT", path).body(vec![b'x'; bytes]);
    put.send().await.status.as_u16()
}

fn change_set(parts: &[(&str, &str)]) -> String {
    let mut body = "--b\r\nContent-Type: multipart/mixed; boundary=s\r\n\r\n".to_owned();
    for (request, content) in parts {
        body.push_str(&format!(
            "--s\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n{request}\r\nHost: h\r\n\
             Content-Length: {}\r\n\r\n{content}\r\n",
            content.len()
        ));
    }
    body + "--s--\r\n\r\n--b--"
}

async fn batch(unit: &TestUnit, parts: &[(&str, &str)]) -> String {
    let request = unit.admin_request("POST", "c/b/data/$batch");
    let request = request.header("content-type", "multipart/mixed; boundary=b");
    request.body(change_set(parts)).send().await.text()
}

async fn unit() -> TestUnit {
    let unit = TestUnit::new().await;
    unit.create_odata_collection("c/b/data", "Row").await;
    unit
}

#[tokio::test]
async fn counters_follow_each_change_of_files_and_entities() {
    let unit = unit().await;
    assert!(exact(&unit, "c").await.1 > 0);
    for (bytes, status) in [(10, 201), (10, 204), (40_000, 204), (3, 204)] {
        assert_eq!(put(&unit, "c/b/file", bytes).await, status);
        assert_eq!(exact(&unit, "c").await.0, i64::try_from(bytes).unwrap());
    }
    assert_eq!(put(&unit, "c/b/other", 50_000).await, 201);
    let moved = unit
        .admin_request("MOVE", "c/b/file")
        .header("overwrite", "T");
    let moved = moved.header("destination", "http://unit.example/c/b/other");
    assert_eq!(moved.send().await.outcome(), success(204));
    assert_eq!(exact(&unit, "c").await.0, 3);
    unit.create("c/b/data/Row", r#"{"__id":"1","a":"b"}"#).await;
    unit.create("c/b/data/Row", r#"{"__id":"2","new":"dynamic","more":1}"#)
        .await;
    for (method, body) in [
        ("MERGE", r#"{"a":"much longer than before"}"#),
        ("PUT", "{}"),
    ] {
        let changed = unit.admin_request(method, "c/b/data/Row('1')").body(body);
        assert_eq!(
            changed.header("if-match", "*").send().await.outcome(),
            success(204)
        );
        exact(&unit, "c").await;
    }
    let text = batch(
        &unit,
        &[
            ("POST Row", r#"{"__id":"3","a":"b"}"#),
            ("PUT Row('3')", r#"{"a":"changed in its change set"}"#),
            ("POST Row", r#"{"__id":"4"}"#),
            ("DELETE Row('4')", ""),
            ("DELETE Row('2')", ""),
        ],
    )
    .await;
    assert!(
        text.contains("201 Created") && !text.contains(" 4"),
        "{text}"
    );
    unit.create_account("c", r#"{"Name":"me"}"#).await;
    unit.create_cell("d").await;
    let message = json!({"To": cell_url("d"), "Title": "t", "Body": "text"}).to_string();
    assert_eq!(unit.post("c/__message/send", &message).await.status, 201);
    for cell in ["c", "d"] {
        assert!(exact(&unit, cell).await.1 > 0, "{cell}");
    }
    // The garbage collection takes what a removed tree had from the counters.
    unit.create_collection("c/b/tree", "").await;
    assert_eq!(put(&unit, "c/b/tree/large", 40_000).await, 201);
    for path in ["c/b/tree", "c/b/data"] {
        let removed = unit.admin_request("DELETE", path);
        let removed = removed.header("x-personium-recursive", "true").send().await;
        assert_eq!(removed.outcome(), success(204));
    }
    wait_until("the end of the garbage collection", async || {
        let left = unit.record_keys(b"E").await;
        let of_collections = |key: &Key| matches!(key.as_bytes()[1], 2 | 3);
        counted(&unit, "c").await.content.files == 3 && !left.iter().any(of_collections)
    })
    .await;
    exact(&unit, "c").await;
}

#[tokio::test]
async fn what_takes_more_than_the_quota_is_refused_on_every_way() {
    let unit = unit().await;
    unit.create_cell("d").await;
    unit.put_file("c/b/file", &"x".repeat(30_000)).await;
    unit.create("c/b/data/Row", r#"{"__id":"1","a":"text"}"#)
        .await;
    unit.create_account("c", r#"{"Name":"me"}"#).await;
    let snapshot = exported(&unit).await;
    leave(&unit, 20).await;
    let before = exact(&unit, "c").await;
    let refusal = refused(507, "SV-0002");
    let large = json!({"__id": "2", "a": "x".repeat(100)}).to_string();
    let message = json!({"To": cell_url("d"), "Title": "t", "Body": "x".repeat(100)}).to_string();
    let event = json!({"Type": "t", "Object": "o", "Info": "x".repeat(100)}).to_string();
    let more = "x".repeat(100);
    for [method, path, body] in [
        ["PUT", "c/b/new", &more],
        ["PUT", "c/b/file", &"x".repeat(40_000)],
        ["PUT", "c/__snapshot/s.zip", &more],
        ["POST", "c/b/data/Row", &large],
        ["PUT", "c/b/data/Row('1')", &large],
        [
            "POST",
            "c/__ctl/Relation",
            r#"{"Name":"a-relation-with-a-name"}"#,
        ],
        ["POST", "c/__message/send", &message],
        ["POST", "c/__event", &event],
    ] {
        let request = unit.admin_request(method, path).header("if-match", "*");
        let request = match path {
            "c/b/new" | "c/__snapshot/s.zip" => unit.admin_request(method, path),
            _ => request,
        };
        let outcome = request.body(body).send().await.outcome();
        assert_eq!(outcome, refusal, "{method} {path}");
    }
    let text = batch(&unit, &[("DELETE Row('1')", ""), ("POST Row", &large)]).await;
    assert!(text.contains("PR507-SV-0002"), "{text}");
    // A message to the cell is refused there for now, and the sender learns it.
    let to_it = json!({"To": cell_url("c"), "Title": "t", "Body": more}).to_string();
    let sent = unit
        .post("d/__message/send", &to_it)
        .await
        .expect(201)
        .json();
    let result = &sent["d"]["results"]["Result"][0];
    assert_eq!(result["Code"], "202", "{sent}");
    let reason = result["Reason"].as_str().unwrap();
    assert!(reason.contains("quota of the cell"), "{reason}");
    let archive = crate::install::full_archive().zip();
    let installed = install_bytes(&unit, "new", archive.clone()).await;
    assert_eq!(installed.outcome(), refusal);
    assert_eq!(exact(&unit, "c").await, before);
    leave(&unit, 1_000).await;
    install_bytes(&unit, "new", archive).await.expect(202);
    let failed = wait_for_installation(&unit, "new").await;
    assert_eq!(failed["status"], "installation failed", "{failed}");
    assert!(failed.to_string().contains("quota"), "{failed}");
    wait_until("the end of the clean-up", async || {
        let now = counted(&unit, "c").await.content;
        (now.files, now.entities) == before
    })
    .await;
    assert_eq!(exact(&unit, "c").await, before);
    leave(&unit, 20).await;

    // What takes no more than before is possible, and so is removing.
    assert_eq!(put(&unit, "c/b/file", 30_010).await, 204);
    assert_eq!(put(&unit, "c/b/file", 100).await, 204);
    set_quota(&unit, &json!({"cell": "c", "quota": 0})).await;
    assert_eq!(put(&unit, "c/b/file", 99).await, 204);
    assert_eq!(put(&unit, "c/b/file", 100).await, 507);
    assert!(!unit.access_token("c").await.is_empty());
    for path in ["c/b/file", "c/b/data/Row('1')"] {
        let removed = unit.admin_request("DELETE", path).header("if-match", "*");
        assert_eq!(removed.send().await.outcome(), success(204), "{path}");
    }
    set_quota(&unit, &json!({"cell": "c", "quota": "unlimited"})).await;
    assert_eq!(put(&unit, "c/__snapshot/s.zip", 3).await, 201);

    // An import is judged by the quota of the cell that it replaces. The quota stays with the cell.
    let put_snapshot = unit
        .admin_request("PUT", "d/__snapshot/it.zip")
        .body(snapshot.clone());
    assert_eq!(put_snapshot.send().await.outcome(), success(201));
    let limit = snapshot.len() + 20_000;
    set_quota(&unit, &json!({"cell": "d", "quota": limit})).await;
    let failed = import(&unit, "d", "it").await;
    assert_eq!(failed["status"], "import failed", "{failed}");
    set_quota(&unit, &json!({"cell": "d", "quota": 10_000_000})).await;
    let done = import(&unit, "d", "it").await;
    assert_eq!(done["status"], "ready", "{done}");
    assert!(exact(&unit, "d").await.0 > 30_000);
    assert_eq!(shown(&unit, "").await["cells"]["d"], 10_000_000);
}

async fn state(unit: &TestUnit, path: &str) -> Value {
    let request = unit
        .admin_request("GET", path)
        .header("accept", "application/json");
    request.send().await.expect(200).json()
}

async fn exported(unit: &TestUnit) -> Vec<u8> {
    unit.admin()
        .post("c/__export", r#"{"Name":"s1"}"#)
        .await
        .expect(202);
    wait_until("the end of the export", async || {
        state(unit, "c/__export").await["status"] == "ready"
    })
    .await;
    let got = unit
        .admin_request("GET", "c/__snapshot/s1.zip")
        .send()
        .await;
    let bytes = got.expect(200).body.to_vec();
    assert!(!entries(&bytes).is_empty());
    bytes
}

async fn import(unit: &TestUnit, cell: &str, name: &str) -> Value {
    let path = format!("{cell}/__import");
    let body = json!({"Name": name}).to_string();
    unit.admin().post(&path, &body).await.expect(202);
    wait_until("the end of the import", async || {
        state(unit, &path).await["status"] != "importation in progress"
    })
    .await;
    state(unit, &path).await
}

#[tokio::test]
async fn export_that_exceeds_the_quota_fails_and_says_why() {
    let unit = unit().await;
    unit.put_file("c/b/file", &"0123456789abcdef".repeat(3_000))
        .await;
    leave(&unit, 10).await;
    unit.admin()
        .post("c/__export", r#"{"Name":"s1"}"#)
        .await
        .expect(202);
    wait_until("the end of the export", async || {
        state(&unit, "c/__export").await["status"] == "ready"
    })
    .await;
    let got = unit
        .admin_request("GET", "c/__snapshot/s1.zip")
        .send()
        .await;
    assert_eq!(got.status, 404);
    let error = unit
        .admin_request("GET", "c/__snapshot/s1.error")
        .send()
        .await;
    assert!(error.text().contains("PR507-SV-0002"), "{}", error.text());
    exact(&unit, "c").await;
}

#[tokio::test]
async fn quota_of_an_owner_is_for_all_cells_of_the_owner_on_all_nodes() {
    let unit = unit().await;
    for name in ["d", "e"] {
        let made = unit
            .admin_request("POST", "__ctl/Cell")
            .header("x-personium-unit-user", OWNER);
        let body = format!("{{\"Name\":\"{name}\"}}");
        assert_eq!(made.body(body).send().await.outcome(), success(201));
    }
    let node = unit.sharing_node();
    assert_eq!(put(&node, "d/__/file", 30_000).await, 201);
    set_quota(&unit, &json!({"unitUser": LOCAL_OWNER, "quota": 80_000})).await;
    let stored = shown(&unit, &format!("?unitUser={}", OWNER.replace('#', "%23"))).await;
    let used = stored["usedBytes"].as_u64().unwrap();
    assert!((30_000..31_000).contains(&used), "{stored}");
    assert_eq!(stored["availableBytes"], 80_000 - used);
    assert_eq!(put(&unit, "e/__/file", 40_000).await, 201);
    assert_eq!(put(&unit, "e/__/file2", 20_000).await, 507);
    assert_eq!(put(&unit, "d/__/file2", 20_000).await, 507);
    assert_eq!(
        put(&unit, "c/b/file", 90_000).await,
        201,
        "of another owner"
    );
    // The other node looks for quotas again after two seconds.
    unit.advance_clock(3_000);
    assert_eq!(put(&node, "d/__/file2", 20_000).await, 507);
    let removed = node.admin_request("DELETE", "e/__/file").send().await;
    assert_eq!(removed.outcome(), success(204));
    unit.advance_clock(3_000);
    assert_eq!(put(&unit, "d/__/file2", 20_000).await, 201);
    set_quota(&unit, &json!({"unitUser": OWNER, "quota": "default"})).await;
    assert_eq!(shown(&unit, "").await["unitUsers"], json!({}));
    assert_eq!(put(&unit, "e/__/file", 90_000).await, 201);
}

#[tokio::test]
async fn defaults_of_the_settings_hold_where_no_quota_was_set() {
    let unit = TestUnit::with_settings(|settings| {
        settings.quotas.cell_max_bytes = Some(50_000);
        settings.quotas.owner_max_bytes = Some(70_000);
    })
    .await;
    assert_eq!(put(&unit, "c/b/file", 60_000).await, 507);
    set_quota(&unit, &json!({"cell": "c", "quota": "unlimited"})).await;
    assert_eq!(put(&unit, "c/b/file", 60_000).await, 201, "no owner");
    set_quota(&unit, &json!({"cell": "c", "quota": "default"})).await;
    assert_eq!(put(&unit, "c/b/file2", 1).await, 507);
    let quotas = shown(&unit, "").await;
    let expected = json!({"cell": 50_000, "unitUser": 70_000});
    assert_eq!(quotas["defaults"], expected, "{quotas}");
}

#[tokio::test]
async fn malformed_quotas_are_refused() {
    let unit = unit().await;
    for (body, code) in [
        ("", "CM-0004"),
        ("[]", "CM-0004"),
        ("{}", "CM-0001"),
        (r#"{"cell":"c"}"#, "CM-0001"),
        (r#"{"cell":"c","quota":-1}"#, "CM-0002"),
        (r#"{"cell":"c","quota":1.5}"#, "CM-0002"),
        (r#"{"cell":"c","quota":"much"}"#, "CM-0002"),
        (r#"{"cell":"c","quota":null}"#, "CM-0002"),
        (r#"{"cell":5,"quota":1}"#, "CM-0002"),
        (
            r#"{"cell":"c","unitUser":"http://x/#a","quota":1}"#,
            "CM-0002",
        ),
        (r#"{"unitUser":"http://x/","quota":1}"#, "CM-0002"),
        (r#"{"cell":"c","quota":1,"more":1}"#, "CM-0002"),
    ] {
        let refusal = unit.admin().post("__quota", body).await.outcome();
        assert_eq!(refusal, refused(400, code), "{body}");
    }
    let missing = r#"{"cell":"missing","quota":1}"#;
    let refusal = unit.admin().post("__quota", missing).await.outcome();
    assert_eq!(refusal, refused(404, "OD-0002"));
}

#[tokio::test]
async fn webdav_shows_the_storage_of_the_cell() {
    let unit = unit().await;
    unit.put_file("c/b/file", &"x".repeat(30_000)).await;
    leave(&unit, 777).await;
    let used = shown(&unit, "?cell=c").await["usedBytes"].clone();
    let body = "<propfind xmlns='DAV:'><prop><quota-available-bytes/><quota-used-bytes/></prop></propfind>";
    let found = unit.admin_request("PROPFIND", "c/b").header("depth", "0");
    let text = found.body(body).send().await.text();
    assert!(text.contains("<quota-available-bytes>777</"), "{text}");
    assert!(
        text.contains(&format!("<quota-used-bytes>{used}</")),
        "{text}"
    );
}

/// Makes a cell one that an earlier version has filled: without counters.
async fn forget_counters(unit: &TestUnit, cell: &CellId) {
    let mut batch = Batch::new();
    for key in cell_usage::counter_keys() {
        batch.delete(key);
    }
    unit.records
        .commit(&Space::Cell(*cell), batch)
        .await
        .unwrap();
}

#[tokio::test]
async fn cells_of_an_earlier_version_are_counted_once() {
    let unit = unit().await;
    unit.create_cell("d").await;
    unit.put_file("c/b/file", &"x".repeat(30_000)).await;
    let id = unit.cell_id().await;
    let before = exact(&unit, "c").await;
    forget_counters(&unit, &id).await;
    assert_eq!(counted(&unit, "c").await.counters.files, 0);
    // What is changed before it is counted is counted with it.
    assert_eq!(put(&unit, "c/b/second", 11).await, 201);
    unit.model.count_content().await.unwrap();
    assert_eq!(exact(&unit, "c").await, (before.0 + 11, before.1));
    assert!(counted(&unit, "c").await.is_marked);
    assert!(cell_usage::all_counted(&*unit.records).await.unwrap());
    unit.model.count_content().await.unwrap();
    assert_eq!(put(&unit, "c/b/second", 5).await, 204);
    assert_eq!(exact(&unit, "c").await, (before.0 + 5, before.1));

    // A quota that is judged before counts the cell itself.
    let mut batch = Batch::new();
    batch.delete(keys::bytes_counted());
    unit.records.commit(&Space::Unit, batch).await.unwrap();
    forget_counters(&unit, &id).await;
    let unit = unit.restart();
    set_quota(&unit, &json!({"cell": "c", "quota": 30_000})).await;
    assert_eq!(put(&unit, "c/b/third", 1).await, 507);
    exact(&unit, "c").await;
}

#[tokio::test]
async fn messages_of_queues_and_topics_are_counted_and_limited() {
    let unit = TestUnit::new().await;
    unit.create_stream_collection("c/b/s").await;
    let (queue, topic) = ("c/b/s/queue/q", "c/b/s/topic/t");
    let send = async |path: &str, bytes: usize| {
        let sent = unit.admin_request("POST", path).body(vec![b'x'; bytes]);
        sent.send().await.outcome()
    };
    let messages = async |expected: (i64, i64)| {
        exact(&unit, "c").await;
        let content = counted(&unit, "c").await.content;
        assert_eq!((content.queues, content.topics), expected);
        let shown = shown(&unit, "?cell=c").await;
        assert_eq!(shown["messageBytes"], expected.0 + expected.1);
    };
    assert_eq!(send(queue, 1_000).await, success(200));
    assert_eq!(send(queue, 500).await, success(200));
    assert_eq!(send(topic, 300).await, success(200));
    messages((1_500, 300)).await;
    leave(&unit, 700).await;
    for node in [&unit, &unit.sharing_node()] {
        for path in [queue, topic] {
            let sent = node.admin_request("POST", path).body(vec![b'x'; 701]);
            assert_eq!(sent.send().await.outcome(), refused(507, "SV-0002"));
        }
    }
    messages((1_500, 300)).await;
    assert_eq!(send(topic, 700).await, success(200));
    assert_eq!(put(&unit, "c/b/file", 1).await, 507);
    // What is received makes room.
    let received = unit.admin_request("GET", queue).send().await;
    assert_eq!(received.outcome(), success(200));
    wait_until("the message is removed", async || {
        counted(&unit, "c").await.content.queues == 500
    })
    .await;
    messages((500, 1_000)).await;
    assert_eq!(put(&unit, "c/b/file", 800).await, 201);
    // So does what expires, and what goes with its collection.
    let moved = unit.admin_request("DELETE", "c/b/s").send().await;
    assert_eq!(moved.outcome(), success(204));
    wait_until("the messages are removed", async || {
        unit.record_keys(b"SAWZ").await.is_empty()
    })
    .await;
    messages((0, 0)).await;
    unit.create_stream_collection("c/b/s").await;
    assert_eq!(send(queue, 100).await, success(200));
    assert_eq!(send(topic, 100).await, success(200));
    unit.advance_clock(4_000_000);
    personium_model::message_queue::remove_due(&unit.model)
        .await
        .unwrap();
    messages((0, 0)).await;
}

#[tokio::test]
async fn message_that_a_recipient_has_is_stored_although_its_results_exceed_the_quota() {
    let unit = TestUnit::new().await;
    unit.create_cell("d").await;
    let message = json!({"To": cell_url("d"), "Title": "t", "Body": "x".repeat(100)}).to_string();
    let received = async || unit.list_entities("d/__ctl/ReceivedMessage").await.len();
    leave(&unit, message.len() as u64 - 1).await;
    let refusal = unit.post("c/__message/send", &message).await;
    assert_eq!(refusal.outcome(), refused(507, "SV-0002"));
    assert_eq!(received().await, 0);
    let entities = exact(&unit, "c").await.1;
    leave(&unit, message.len() as u64).await;
    let sent = unit.post("c/__message/send", &message).await;
    assert_eq!(sent.outcome(), success(201), "{}", sent.text());
    assert_eq!(received().await, 1);
    assert_eq!(unit.list_entities("c/__ctl/SentMessage").await.len(), 1);
    // What is stored is longer than the request.
    let added = exact(&unit, "c").await.1 - entities;
    assert!(added > i64::try_from(message.len()).unwrap(), "{added}");
    let refusal = unit.post("c/__message/send", &message).await;
    assert_eq!(refusal.outcome(), refused(507, "SV-0002"));
    assert_eq!(received().await, 1);
}

#[tokio::test]
async fn dead_properties_are_counted_and_limited() {
    let unit = TestUnit::new().await;
    let proppatch = async |path: &str, name: &str, bytes: usize| {
        let text = "x".repeat(bytes);
        let body = format!(
            "<D:propertyupdate xmlns:D=\"DAV:\" xmlns:z=\"urn:z\"><D:set><D:prop><z:{name}>{text}</z:{name}></D:prop></D:set>\
             </D:propertyupdate>"
        );
        let set = unit.admin_request("PROPPATCH", path).body(body);
        set.send().await.outcome()
    };
    let bytes = async || {
        exact(&unit, "c").await;
        counted(&unit, "c").await.content.properties
    };
    let before = bytes().await;
    unit.create_collection("c/b/tree", "").await;
    unit.create_collection("c/b/tree/in", "").await;
    unit.create_collection("c/b/empty", "").await;
    unit.create_collection("c/b/svc", "service").await;
    unit.put_file("c/b/file", "x").await;
    unit.put_file("c/b/other", "x").await;
    unit.put_file("c/b/tree/in/file", "x").await;
    unit.create_box("c", "gone").await;
    unit.create_box("c", "full").await;
    unit.put_file("c/full/file", "x").await;
    let mut last = bytes().await;
    for path in [
        "c",
        "c/b",
        "c/b/tree",
        "c/b/tree/in",
        "c/b/empty",
        "c/b/svc",
        "c/b/file",
        "c/b/other",
        "c/b/tree/in/file",
        "c/gone",
        "c/full",
        "c/full/file",
    ] {
        assert_eq!(proppatch(path, "a", 1_000).await, success(207), "{path}");
        assert_eq!(proppatch(path, "a", 900).await, success(207), "{path}");
        let now = bytes().await;
        assert!(
            now > last + 900 && now < last + 1_100,
            "{path}: {last} {now}"
        );
        last = now;
    }
    leave(&unit, 2_000).await;
    assert_eq!(proppatch("c/b", "b", 2_000).await, refused(507, "SV-0002"));
    assert_eq!(bytes().await, last);
    assert_eq!(proppatch("c/b", "b", 1_800).await, success(207));
    assert_eq!(proppatch("c/b", "b", 1_700).await, success(207));
    // A file keeps its properties when it is replaced or moved, and loses those of what it replaces.
    last = bytes().await;
    unit.put_file("c/b/file", "y").await;
    assert_eq!(bytes().await, last);
    let moved = unit
        .admin_request("MOVE", "c/b/file")
        .header("overwrite", "T");
    let moved = moved.header("destination", "http://unit.example/c/b/other");
    assert_eq!(moved.send().await.outcome(), success(204));
    let now = bytes().await;
    assert!(now < last - 900 && now > last - 1_100, "{last} {now}");
    for path in ["c/b/other", "c/b/empty", "c/b/svc", "c/b/tree", "c/full"] {
        let removed = unit.admin_request("DELETE", path);
        let removed = removed.header("x-personium-recursive", "true").send().await;
        assert_eq!(removed.outcome(), success(204), "{path}");
    }
    let removed = unit.admin_outcome("DELETE", "c/__ctl/Box('gone')").await;
    assert_eq!(removed, success(204));
    // Those of the cell and of the box `b` are left.
    wait_until("the end of the garbage collection", async || {
        bytes().await < before + 4_000
    })
    .await;
    let left = bytes().await - before;
    assert!(left > 3_500, "{left}");
    // A cell that is imported has what was exported.
    set_quota(&unit, &json!({"cell": "c", "quota": "unlimited"})).await;
    let snapshot = exported(&unit).await;
    unit.create_cell("d").await;
    let put = unit.admin_request("PUT", "d/__snapshot/s1.zip");
    assert_eq!(put.body(snapshot).send().await.outcome(), success(201));
    import(&unit, "d", "s1").await;
    exact(&unit, "d").await;
    let imported = counted(&unit, "d").await.content.properties;
    // It has a node of the main box, which the other cell has not needed yet.
    let difference = imported - bytes().await;
    assert!((0..200).contains(&difference), "{difference}");
}
