//! `__import`: the content of a snapshot in the place of that of a cell.

use std::collections::BTreeMap;

use personium_store::RecordStore;
use personium_testkit::{
    EventStream, StubServer, TestUnit, cell_url, refused, success, text_member, wait_until,
};
use serde_json::{Value, json};

use super::{documents, entries, export, state_of, unit_with_full_cell};

/// Imports a snapshot of a cell, and returns the state of the cell afterwards.
async fn import(unit: &TestUnit, cell: &str, name: &str) -> Value {
    let body = json!({"Name": name}).to_string();
    let path = format!("{cell}/__import");
    let begun = unit.admin().post(&path, &body).await.expect(202);
    let location = format!("http://unit.example/{cell}/__import");
    assert_eq!(begun.header("location"), Some(location.as_str()));
    wait_until("the end of the import", async || {
        state_of_cell(unit, cell).await["status"] != "importation in progress"
    })
    .await;
    state_of_cell(unit, cell).await
}

async fn state_of_cell(unit: &TestUnit, cell: &str) -> Value {
    state_of(unit, &format!("{cell}/__import")).await
}

async fn import_ready(unit: &TestUnit, cell: &str, name: &str) {
    let state = import(unit, cell, name).await;
    assert_eq!(state["status"], "ready", "{state}");
}

async fn upload(unit: &TestUnit, cell: &str, name: &str, snapshot: &[u8]) {
    let path = format!("{cell}/__snapshot/{name}.zip");
    let put = unit.admin_request("PUT", &path).body(snapshot);
    assert!(put.send().await.status.is_success());
}

/// The content of a snapshot, without ids and times of changes of the schema: each object by its kind and properties, with those that
/// it is linked to.
fn content(snapshot: &[u8]) -> BTreeMap<String, Vec<String>> {
    let entries = entries(snapshot);
    let mut names = BTreeMap::new();
    let files: Vec<&String> = entries
        .keys()
        .filter(|name| name.ends_with(".pjson"))
        .collect();
    let all = |file: &String| documents(snapshot, file.strip_prefix("10_odata/").unwrap());
    for file in &files {
        for document in all(file) {
            let name = format!("{}{}", document["_type"], document["_source"]["s"]);
            names.insert(document["_id"].as_str().unwrap().to_owned(), name);
        }
    }
    let named = |id: &Value| names.get(id.as_str().unwrap_or_default()).cloned();
    let mut out = BTreeMap::new();
    for file in &files {
        let mut lines: Vec<String> = all(file)
            .iter()
            .map(|document| {
                let source = &document["_source"];
                let links = source["l"].as_object();
                let links = links.map(|links| links.values().map(named).collect::<Vec<_>>());
                let entities = source["ll"].as_array();
                let entities = entities.map(|links| {
                    let ids = links
                        .iter()
                        .map(|link| link.as_str().unwrap().split_once(':').unwrap().1);
                    let mut ids: Vec<_> = ids.map(|id| names.get(id).cloned()).collect();
                    ids.sort();
                    ids
                });
                let mut ends = [named(&source["k1"]), named(&source["k2"])];
                ends.sort();
                let (published, hidden) = (&source["p"], &source["h"]);
                format!(
                    "{} {} {published} {hidden} {links:?} {entities:?} {ends:?}",
                    source["type"], source["s"]
                )
            })
            .collect();
        lines.sort();
        out.insert((*file).clone(), lines);
    }
    for (name, bytes) in &entries {
        let Some(below) = name.strip_prefix("20_webdav/") else {
            continue;
        };
        let (folder, rest) = below.split_once('/').unwrap_or((below, ""));
        let is_id = |part: &str| part.len() == 32 && part.chars().all(|c| c.is_ascii_hexdigit());
        let rest = rest
            .split('/')
            .map(|part| if is_id(part) { "id" } else { part });
        let rest = rest.collect::<Vec<_>>().join("/");
        let path = format!(
            "{}/{rest}",
            names.get(folder).map_or(folder, String::as_str)
        );
        let mut text = String::from_utf8_lossy(bytes).into_owned();
        if name.ends_with("/.pmeta") && !text.is_empty() {
            let mut meta: Value = serde_json::from_str(&text).unwrap();
            meta["i"] = Value::Null;
            text = meta.to_string();
            for (id, name) in &names {
                text = text.replace(id.as_str(), name);
            }
        }
        out.entry(path).or_default().push(text);
    }
    out.values_mut().for_each(|texts| texts.sort());
    out
}

#[tokio::test]
async fn imported_cell_is_exported_as_the_same_snapshot() {
    let unit = unit_with_full_cell().await;
    unit.put_file("c/__snapshot/other.zip", "another").await;
    let before = export(&unit, "s").await;
    let keys = unit.admin_request("GET", "c/__certs").send().await.text();
    unit.admin_request("DELETE", "c/b")
        .header("x-personium-recursive", "true")
        .send()
        .await
        .expect(204);
    unit.create_role("c", "later").await;
    unit.put_file("c/__/profile.json", "changed").await;
    import_ready(&unit, "c", "s").await;
    let roles = unit.list_entities("c/__ctl/Role").await;
    assert!(
        roles.iter().all(|role| role["Name"] != "later"),
        "{roles:?}"
    );
    let profile = unit.admin_request("GET", "c/__/profile.json").send().await;
    assert_eq!(profile.expect(200).text(), "{}");
    let large = unit.admin_request("GET", "c/b/large.bin").send().await;
    assert_eq!(large.expect(200).body.len(), 700_000);
    let odd = unit.admin_request("GET", "c/b/.pmeta").send().await;
    assert_eq!(odd.expect(200).text(), "not a description");
    let pet = unit.admin_request("GET", "c/new/data/Pet('cat')/_Person");
    let pet = pet
        .header("accept", "application/json")
        .send()
        .await
        .expect(200);
    assert!(pet.text().contains("\"me\""), "{}", pet.text());
    // What is not part of a snapshot stays: other snapshots, the signing key.
    let other = unit
        .admin_request("GET", "c/__snapshot/other.zip")
        .send()
        .await;
    assert_eq!(other.expect(200).text(), "another");
    assert_eq!(
        unit.admin_request("GET", "c/__certs").send().await.text(),
        keys
    );
    let after = export(&unit, "again").await;
    let (before, after) = (content(&before), content(&after));
    for (name, texts) in &before {
        assert_eq!(after.get(name), Some(texts), "{name}");
    }
    assert_eq!(before.len(), after.len());
}

#[tokio::test]
async fn snapshot_of_one_cell_becomes_the_content_of_another() {
    let unit = unit_with_full_cell().await;
    let rule =
        r#"{"Name":"r","Action":"relay","TargetUrl":"personium-localunit:/c/new/svc/hello"}"#;
    unit.create("c/__ctl/Rule", rule).await;
    let snapshot = export(&unit, "s").await;
    unit.create("__ctl/Cell", r#"{"Name":"d"}"#).await;
    unit.create_role("d", "own").await;
    upload(&unit, "d", "s", &snapshot).await;
    import_ready(&unit, "d", "s").await;
    // Passwords, roles and access control lists work there.
    let token = unit.access_token("d").await;
    let asked = unit.request("GET", "d/__ctl/Role").bearer(&token);
    let roles = asked
        .header("accept", "application/json")
        .send()
        .await
        .expect(200)
        .text();
    assert!(
        roles.contains("\"boss\"") && !roles.contains("\"own\""),
        "{roles}"
    );
    let rules = unit.list_entities("d/__ctl/Rule").await;
    let targets: Vec<&Value> = rules.iter().map(|rule| &rule["TargetUrl"]).collect();
    assert!(
        targets.contains(&&json!("personium-localunit:/d/new/svc/hello")),
        "{targets:?}"
    );
    // Nothing of the other cell is there or was changed.
    let token_of_c = unit.access_token("c").await;
    let foreign = unit
        .request("GET", "d/__ctl/Role")
        .bearer(&token_of_c)
        .send()
        .await;
    assert_eq!(foreign.status, 401);
    unit.put_file("d/b/large.bin", "short").await;
    let large = unit.admin_request("GET", "c/b/large.bin").send().await;
    assert_eq!(large.expect(200).body.len(), 700_000);
    let cells = unit.list_entities("__ctl/Cell").await;
    assert_eq!(cells.iter().filter(|cell| cell["Name"] == "d").count(), 1);
}

#[tokio::test]
async fn import_ends_the_logins_of_before_and_keeps_the_owner_and_the_log() {
    let unit = TestUnit::new().await;
    unit.create_account("c", r#"{"Name":"me"}"#).await;
    let rule = r#"{"Name":"r","EventExternal":true,"EventType":"heard","Action":"log"}"#;
    unit.create("c/__ctl/Rule", rule).await;
    export(&unit, "s").await;
    let token = unit.access_token("c").await;
    unit.admin()
        .post("c/__event", r#"{"Type":"heard"}"#)
        .await
        .expect(200);
    let log = unit
        .admin_request("GET", "c/__log/current/default.log")
        .send()
        .await
        .text();
    assert!(log.contains("heard"));
    import_ready(&unit, "c", "s").await;
    let old = unit
        .request("GET", "c/__ctl/Account")
        .bearer(&token)
        .send()
        .await;
    assert_eq!(old.status, 401);
    assert!(!unit.access_token("c").await.is_empty());
    let kept = unit
        .admin_request("GET", "c/__log/current/default.log")
        .send()
        .await
        .text();
    assert!(kept.starts_with(&log), "{kept}");
    unit.admin()
        .post("c/__event", r#"{"Type":"heard"}"#)
        .await
        .expect(200);
    let more = unit
        .admin_request("GET", "c/__log/current/default.log")
        .send()
        .await
        .text();
    assert_eq!(more.matches("heard").count(), 2, "{more}");
}

#[tokio::test]
async fn import_is_refused_without_a_snapshot_of_the_format() {
    let unit = TestUnit::new().await;
    unit.put_file("c/b/file", "content").await;
    let good = export(&unit, "good").await;
    let with = |name: &str, content: Option<&[u8]>| zip_with(&good, name, content);
    let manifest = "00_manifest.json";
    let all = entries(&good);
    let file = all.keys().find(|name| name.ends_with("/file/content"));
    let in_folder = |name: &str| file.unwrap().replace("/file/content", name);
    for (snapshot, outcome) in [
        (b"no zip".to_vec(), refused(400, "MC-0004")),
        (good[..good.len() - 30].to_vec(), refused(400, "MC-0004")),
        (with("../x", Some(b"x")), refused(400, "MC-0004")),
        (with(manifest, None), refused(400, "MC-0001")),
        (with(manifest, Some(b"{")), refused(400, "CM-0004")),
        (
            with(manifest, Some(br#"{"export_version":1}"#)),
            refused(400, "MC-0003"),
        ),
        (with(manifest, Some(b"{}")), refused(400, "MC-0003")),
        (
            with("10_odata/21_rule.pjson", None),
            refused(400, "MC-0001"),
        ),
        (
            with("10_odata/00_cell.json", Some(b"[]")),
            refused(400, "MC-0001"),
        ),
        (with("20_webdav/.pmeta", None), refused(400, "MC-0001")),
        (with("20_webdav/__/.pmeta", None), refused(400, "MC-0001")),
        (with(&in_folder("/.pmeta"), None), refused(400, "MC-0001")),
        (
            with(&in_folder("/file/.pmeta"), None),
            refused(400, "MC-0001"),
        ),
        (
            with("20_webdav/__/x/y/.pmeta", Some(b"{}")),
            refused(400, "MC-0001"),
        ),
    ] {
        upload(&unit, "c", "bad", &snapshot).await;
        let response = unit.admin().post("c/__import", r#"{"Name":"bad"}"#).await;
        assert_eq!(response.outcome(), outcome, "{}", response.text());
    }
    for (body, outcome) in [
        ("", refused(400, "CM-0001")),
        ("{}", refused(400, "CM-0001")),
        (r#"{"Name":"a/b"}"#, refused(400, "CM-0002")),
        ("{", refused(400, "CM-0004")),
        (r#"{"Name":"missing"}"#, refused(404, "DV-0001")),
    ] {
        let response = unit.admin().post("c/__import", body).await;
        assert_eq!(response.outcome(), outcome, "{body}");
    }
    assert_eq!(state_of_cell(&unit, "c").await["status"], "ready");
}

/// A snapshot with another entry, or without one.
fn zip_with(snapshot: &[u8], name: &str, content: Option<&[u8]>) -> Vec<u8> {
    use std::io::{Cursor, Write};
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let mut all = entries(snapshot);
    all.remove(name);
    all.extend(content.map(|content| (name.to_owned(), content.to_vec())));
    for (name, content) in all.into_iter().filter(|(name, _)| !name.ends_with('/')) {
        // Small content can be seen in the archive, large content is packed.
        let method = match content.len() < 1_000 {
            true => zip::CompressionMethod::Stored,
            false => zip::CompressionMethod::Deflated,
        };
        let options = zip::write::SimpleFileOptions::default().compression_method(method);
        zip.start_file(name, options).unwrap();
        zip.write_all(&content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[tokio::test]
async fn box_without_a_description_fails_the_import() {
    let unit = TestUnit::new().await;
    let good = export(&unit, "good").await;
    let is_of_b = |name: &&String| name.ends_with("/.pmeta") && name.matches('/').count() == 2;
    let all = entries(&good);
    let mut described = all.keys().filter(is_of_b);
    let of_b = described.find(|name| !name.contains("/__/")).unwrap();
    upload(&unit, "c", "bad", &zip_with(&good, of_b, None)).await;
    let state = import(&unit, "c", "bad").await;
    assert_eq!(state["message"]["code"], "PR400-MC-0001", "{state}");
    import_ready(&unit, "c", "good").await;
}

#[tokio::test]
async fn only_who_manages_the_cell_imports_its_properties() {
    let unit = TestUnit::new().await;
    unit.create_account("c", r#"{"Name":"me"}"#).await;
    unit.grant_to_everybody("c", &["p:root"]).await;
    let property = |value: &str| {
        format!(
            "<p:authorizationhtmlurl xmlns:p=\"urn:x-personium:xmlns\">{value}</p:authorizationhtmlurl>"
        )
    };
    let patch = |value: &str| {
        let set = property(value);
        format!(
            "<D:propertyupdate xmlns:D=\"DAV:\"><D:set><D:prop>{set}</D:prop></D:set></D:propertyupdate>"
        )
    };
    let old = patch("http://old.example/");
    let set = unit.admin_request("PROPPATCH", "c").body(old).send().await;
    set.expect(207);
    let good = export(&unit, "good").await;
    let entry = "20_webdav/.pmeta";
    let mut meta: Value = serde_json::from_slice(&entries(&good)[entry]).unwrap();
    meta["d"] = json!({
        "authorizationhtmlurl@urn:x-personium:xmlns": property("http://new.example/"),
        "tokenrefusespassword@urn:x-personium:xmlns":
            "<p:tokenrefusespassword xmlns:p=\"urn:x-personium:xmlns\">true</p:tokenrefusespassword>",
    });
    let changed = meta.to_string().into_bytes();
    upload(&unit, "c", "new", &zip_with(&good, entry, Some(&changed))).await;
    let token = unit.access_token("c").await;
    // The same right as for PROPPATCH.
    let new = patch("http://new.example/");
    let refusal = unit.request("PROPPATCH", "c").bearer(&token).body(new);
    assert_eq!(refusal.send().await.outcome(), refused(403, "AU-0001"));
    let properties = async || {
        let found = unit.admin_request("PROPFIND", "c").header("depth", "0");
        found.send().await.expect(207).text()
    };
    let body = r#"{"Name":"new"}"#;
    let begun = unit.request("POST", "c/__import").bearer(&token).body(body);
    begun.send().await.expect(202);
    wait_until("the end of the import", async || {
        state_of_cell(&unit, "c").await["status"] != "importation in progress"
    })
    .await;
    assert_eq!(state_of_cell(&unit, "c").await["status"], "ready");
    let found = properties().await;
    assert!(
        found.contains("old.example") && !found.contains("new.example"),
        "{found}"
    );
    assert!(!found.contains("tokenrefusespassword"), "{found}");
    // A manager imports them.
    import_ready(&unit, "c", "new").await;
    let found = properties().await;
    assert!(
        found.contains("new.example") && found.contains("tokenrefusespassword"),
        "{found}"
    );
}

/// The number of spaces of the store.
async fn spaces(unit: &TestUnit) -> usize {
    unit.records.list_spaces(None, 1_000).await.unwrap().len()
}

#[tokio::test]
async fn import_that_fails_leaves_the_cell_as_it_was() {
    let unit = unit_with_full_cell().await;
    let good = export(&unit, "good").await;
    let before = content(&good);
    let before_count = spaces(&unit).await;
    let document = |kind: &str, source: Value| {
        let line =
            json!({"_index": "x", "_type": kind, "_id": "new", "_source": source}).to_string();
        line.into_bytes()
    };
    let bad_role = document("Role", json!({"type": "Role", "s": {"Name": "a b/c"}}));
    let lost_role = document(
        "Role",
        json!({"type": "Role", "s": {"Name": "x"}, "l": {"Box": "none"}}),
    );
    let meta = |kind: &str| {
        json!({"i": "x", "t": kind, "a": {}, "d": {}})
            .to_string()
            .into_bytes()
    };
    let broken_property = json!({"i": "x", "t": "col.webdav", "d": {"a@b": "<a><b></a>"}});
    for (name, bytes) in [
        ("10_odata/20_role.pjson", bad_role),
        ("10_odata/20_role.pjson", lost_role),
        ("10_odata/20_role.pjson", b"no json".to_vec()),
        (
            "10_odata/70_userdata.pjson",
            document("UserData", json!({"n": "x", "t": "y", "s": {"__id": "1"}})),
        ),
        (
            "10_odata/80_link.pjson",
            document(
                "link",
                json!({"t1": "Role", "t2": "Role", "k1": "x", "k2": "y"}),
            ),
        ),
        ("20_webdav/none/.pmeta", meta("col.box")),
        ("20_webdav/__/x/.pmeta", meta("col.box")),
        ("20_webdav/__/x/.pmeta", meta("dav.file")),
        ("20_webdav/__/x:y/.pmeta", meta("col.webdav")),
        (
            "20_webdav/__/x/.pmeta",
            broken_property.to_string().into_bytes(),
        ),
    ] {
        upload(&unit, "c", "bad", &zip_with(&good, name, Some(&bytes))).await;
        let state = import(&unit, "c", "bad").await;
        assert_eq!(state["status"], "import failed", "{name}: {state}");
        assert_eq!(state["message"]["code"], "PR400-MC-0001", "{name}: {state}");
        let written = unit
            .admin_request("PUT", "c/b/written")
            .body("x")
            .send()
            .await;
        assert!(written.status.is_success());
        unit.admin_request("DELETE", "c/b/written")
            .send()
            .await
            .expect(204);
    }
    wait_until("the removal of what was made", async || {
        spaces(&unit).await == before_count
    })
    .await;
    let after = export(&unit, "after").await;
    assert_eq!(content(&after), before);
    // A good one ends the state.
    import_ready(&unit, "c", "good").await;
}

#[tokio::test]
async fn more_rules_than_a_cell_may_have_are_refused_and_leave_the_cell_as_it_was() {
    const RULES_MAX: usize = 10_000;
    const FILE: &str = "10_odata/21_rule.pjson";
    let unit = TestUnit::new().await;
    let rule = json!({"Name": "first", "EventExternal": true, "EventType": "t", "Action": "log"});
    unit.create("c/__ctl/Rule", &rule.to_string()).await;
    let before_count = spaces(&unit).await;
    let good = export(&unit, "good").await;
    let first = documents(&good, "21_rule.pjson").remove(0);
    let rules = (0..=RULES_MAX).map(|number| {
        let mut rule = first.clone();
        rule["_id"] = format!("rule{number}").into();
        rule["_source"]["s"]["Name"] = format!("rule{number}").into();
        format!("{rule}\n")
    });
    let too_many: String = rules.collect();
    let archive = zip_with(&good, FILE, Some(too_many.as_bytes()));
    upload(&unit, "c", "bad", &archive).await;
    let state = import(&unit, "c", "bad").await;
    assert_eq!(state["status"], "import failed", "{state}");
    let message = &state["message"];
    assert_eq!(message["code"], "PR400-MC-0001", "{state}");
    let text = message["message"]["value"].as_str().unwrap();
    assert!(text.contains("PR400-OD-0053"), "{text}");
    let rules = unit.list_entities("c/__ctl/Rule").await;
    assert_eq!(rules.len(), 1, "{rules:?}");
    assert_eq!(rules[0]["Name"], "first");
    wait_until("the removal of what was made", async || {
        spaces(&unit).await == before_count
    })
    .await;
}

#[tokio::test]
async fn bombs_and_damaged_content_are_refused_and_leave_nothing() {
    let unit = TestUnit::new().await;
    let good = export(&unit, "good").await;
    let bomb = zip_with(&good, "20_webdav/__/x/content", Some(&vec![0; 80 << 20]));
    upload(&unit, "c", "bomb", &bomb).await;
    let response = unit.admin().post("c/__import", r#"{"Name":"bomb"}"#).await;
    assert_eq!(response.outcome(), refused(400, "MC-0004"));
    let meta = json!({"i": "x", "t": "dav.file"}).to_string();
    let with_file = zip_with(&good, "20_webdav/__/x/content", Some(b"UNIQUE-CONTENT"));
    let mut damaged = zip_with(&with_file, "20_webdav/__/x/.pmeta", Some(meta.as_bytes()));
    let at = damaged.windows(6).position(|part| part == b"UNIQUE");
    damaged[at.unwrap()] ^= 1;
    upload(&unit, "c", "damaged", &damaged).await;
    let state = import(&unit, "c", "damaged").await;
    assert_eq!(state["status"], "import failed", "{state}");
}

#[tokio::test]
async fn both_nodes_see_the_imported_cell_at_once() {
    let unit = TestUnit::new().await;
    unit.put_file("c/b/file", "old").await;
    export(&unit, "s").await;
    unit.put_file("c/b/file", "new").await;
    let other = unit.another_node();
    let read = async |node: &TestUnit| node.admin_request("GET", "c/b/file").send().await.text();
    assert_eq!(
        (read(&unit).await, read(&other).await),
        ("new".into(), "new".into())
    );
    import_ready(&unit, "c", "s").await;
    assert_eq!(
        (read(&unit).await, read(&other).await),
        ("old".into(), "old".into())
    );
    let put = other
        .admin_request("PUT", "c/b/file")
        .body("later")
        .send()
        .await;
    assert_eq!(put.outcome(), success(204));
    assert_eq!(read(&unit).await, "later");
}

#[tokio::test]
async fn imported_copy_of_a_waiting_message_is_not_delivered_and_says_so() {
    let unit = crate::auth::unit_with_accounts(|settings| {
        settings.allow_private_networks = true;
        settings.events.delivery_secs = 600;
    })
    .await;
    let closed = StubServer::start().await.url();
    let far = format!("{closed}far/");
    let to = json!({"To": format!("{far},{}", cell_url("d")), "Title": "t"}).to_string();
    unit.post("c/__message/send", &to).await.expect(201);
    let snapshot = export(&unit, "s").await;
    unit.create("__ctl/Cell", r#"{"Name":"e"}"#).await;
    upload(&unit, "e", "s", &snapshot).await;
    import_ready(&unit, "e", "s").await;
    let results = async |cell: &str| {
        let sent = unit
            .list_entities(&format!("{cell}/__ctl/SentMessage"))
            .await;
        sent[0]["Result"].as_array().unwrap().clone()
    };
    let (original, copy) = (results("c").await, results("e").await);
    assert_eq!(original[0]["Code"], "202");
    let reason = "This is a copy of a message that was not delivered yet. A copy is not delivered.";
    assert_eq!(copy[0], json!({"To": far, "Code": "500", "Reason": reason}));
    assert_eq!(copy[1], original[1]);
    let waiting = unit.record_keys(b"Q").await;
    assert_eq!(waiting.len(), 1, "that of the former cell");
}

/// The next event of a listener that does not say that somebody has read.
async fn next_change(stream: &mut EventStream) -> Option<Value> {
    while let Some(event) = stream.next().await {
        assert_eq!(event.kind, "message", "{event:?}");
        let event: Value = serde_json::from_str(&event.data).unwrap();
        let kind = event["Type"].as_str().unwrap();
        if ![".get", ".list", ".propfind"]
            .iter()
            .any(|end| kind.ends_with(end))
        {
            return Some(event);
        }
    }
    None
}

#[tokio::test]
async fn listeners_get_the_event_of_an_import_and_unit_users_what_follows() {
    let unit = unit_with_full_cell().await;
    unit.grant_to_role("c", "boss", &["p:event-read"]).await;
    let login = unit.login_as("c", "me", &[("scope", "root")]).await;
    let account = unit.with_token(&text_member(&login, "access_token"));
    let mut streams = Vec::new();
    export(&unit, "s").await;
    for client in [&account, &unit.admin()] {
        let mut stream = EventStream::open(client, "c", None).await;
        stream.wait_for_id().await;
        streams.push(stream);
    }
    let [account, admin] = &mut streams[..] else {
        panic!("two streams");
    };
    for round in 0..2 {
        import_ready(&unit, "c", "s").await;
        let import = next_change(admin).await.expect("the feed ended");
        assert_eq!(import["Type"], "cell.import", "{import}");
        assert_eq!(import["Object"], format!("{}__import", cell_url("c")));
        assert_eq!(
            (&import["Info"], &import["External"]),
            (&json!(""), &json!(false))
        );
        unit.put_file(&format!("c/b/after{round}"), "x").await;
        let put = next_change(admin).await.expect("the feed ended");
        assert_eq!(put["Type"], "davfile.create", "{put}");
        if round == 0 {
            // The logins of the cell have ended.
            let import = next_change(account).await.expect("the feed ended");
            assert_eq!(import["Type"], "cell.import", "{import}");
            assert_eq!(next_change(account).await, None);
        }
    }
    // A failed import leaves the cell as it is, and its listeners.
    upload(&unit, "c", "damaged", b"no archive").await;
    let begun = unit.admin_request("POST", "c/__import");
    let begun = begun.body(r#"{"Name":"damaged"}"#).send().await;
    begun.expect(400);
    unit.put_file("c/b/last", "x").await;
    let put = next_change(admin).await.expect("the feed ended");
    assert_eq!(put["Object"], format!("{}b/last", cell_url("c")), "{put}");
}
