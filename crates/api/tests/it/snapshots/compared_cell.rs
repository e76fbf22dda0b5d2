//! The comparison of a migrated cell names what was changed since: links, access control lists, properties.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use personium_install::{ComparedCell, Documents, Migration, OriginalFiles};
use personium_store::memory::MemoryRecords;
use personium_testkit::TestUnit;
use serde_json::{Value, json};

const CELL: &str = "cell000000000000000000";
const BOX: &str = "box0000000000000000000";
const COLLECTION: &str = "data000000000000000000";
const CREATED_MS: i64 = 1_700_000_000_000;

/// The documents of a cell with links of every kind.
fn documents() -> Vec<Value> {
    let mut out = Vec::new();
    let mut add = |kind: &str, id: &str, more: Value| {
        let mut source = json!({"type": kind, "p": CREATED_MS, "u": CREATED_MS, "h": {}, "l": {}});
        if kind != "Cell" {
            source["c"] = json!(CELL);
        }
        for (name, value) in more.as_object().unwrap() {
            source[name] = value.clone();
        }
        let index = format!("u0_anon.{}", kind.to_lowercase());
        out.push(json!({"_index": index, "_id": id, "_version": 1, "_source": source}));
    };
    let data = |mut more: Value| {
        more["b"] = json!(BOX);
        more["n"] = json!(COLLECTION);
        more
    };
    add("Cell", CELL, json!({"s": {"Name": "c"}}));
    add("Box", BOX, json!({"s": {"Name": "b"}}));
    let account = json!({"Name": "me", "Type": "basic", "Status": "active"});
    add("Account", "account", json!({"s": account}));
    for role in ["boss", "guest"] {
        add("Role", role, json!({"s": {"Name": role}}));
    }
    let in_box = json!({"s": {"Name": "inbox"}, "l": {"Box": BOX}});
    add("Role", "inbox", in_box);
    let ends = json!({"t1": "Account", "t2": "Role", "k1": "account", "k2": "boss"});
    add("link", "link1", ends);
    for name in ["Item", "Tag", "Owner"] {
        add("EntityType", name, data(json!({"s": {"Name": name}})));
    }
    for (one, one_many, other, other_many) in
        [("Item", "*", "Tag", "*"), ("Item", "*", "Owner", "0..1")]
    {
        for (own, many, far) in [(one, one_many, other), (other, other_many, one)] {
            let links = json!({"EntityType": own, "AssociationEnd": format!("{far}{own}")});
            let name = json!({"Name": format!("{own}{far}"), "Multiplicity": many});
            let end = data(json!({"s": name, "l": links}));
            add("AssociationEnd", &format!("{own}{far}"), end);
        }
    }
    for (kind, id) in [
        ("Item", "e0"),
        ("Item", "e1"),
        ("Tag", "t0"),
        ("Owner", "o0"),
    ] {
        // The entity that has one of the others names it.
        let links = match id {
            "e0" => json!(["Owner:o0"]),
            _ => json!([]),
        };
        let entity = json!({"t": kind, "s": {"__id": id}, "ll": links});
        add("UserData", id, data(entity));
    }
    for (number, item) in ["e0", "e1"].into_iter().enumerate() {
        let ends = json!({"t1": "Item", "t2": "Tag", "k1": item, "k2": "t0"});
        add("link", &format!("data{number}"), data(ends));
    }
    out
}

/// Writes the description of a cell, box, collection or file.
fn describe(folder: &Path, kind: &str, more: Value) {
    fs::create_dir_all(folder).unwrap();
    let mut meta =
        json!({"i": "0", "t": kind, "p": CREATED_MS, "u": CREATED_MS, "v": 1, "a": {}, "d": {}});
    for (name, value) in more.as_object().unwrap() {
        meta[name] = value.clone();
    }
    fs::write(folder.join(".pmeta"), meta.to_string()).unwrap();
}

fn write_tree(dav: &Path) {
    let cell = dav.join("u0_anon").join(CELL);
    let read = json!({"D.privilege": {"D.read": {}}});
    let list = json!({"D.ace": [{"D.principal": {"D.href": "boss"}, "D.grant": read}]});
    let color = json!({"color@urn:x": "<x:color xmlns:x=\"urn:x\">red</x:color>"});
    describe(
        &cell,
        "Cell",
        json!({"cs": "normal", "a": list, "d": color}),
    );
    let top = cell.join(BOX);
    describe(&top, "col.box", json!({"a": list}));
    describe(&top.join("data"), "col.odata", json!({"i": COLLECTION}));
    let file = json!({"i": "1", "ct": "text/plain", "cl": 5, "et": "NONE", "d": color});
    describe(&top.join("plain.txt"), "dav.file", file);
    fs::write(top.join("plain.txt/content"), "plain").unwrap();
}

async fn verify(migration: &Migration, documents: &Documents) -> ComparedCell {
    let mut cells = documents.list_cells(None).await.unwrap();
    migration.verify(cells.remove(0)).await.unwrap()
}

async fn send(unit: &TestUnit, method: &str, path: &str, body: &str) {
    let response = unit.admin_request(method, path).body(body).send().await;
    let status = response.status;
    assert!(status.is_success(), "{method} {path}: {}", response.text());
}

#[tokio::test]
async fn changed_links_lists_and_properties_are_named() {
    let tree = tempfile::tempdir().unwrap();
    let dav = tree.path().join("dav");
    write_tree(&dav);
    let unit = TestUnit::without_cells(|_| {});
    let store = Documents::open(Arc::new(MemoryRecords::new()));
    let store = store.await.unwrap();
    let mut collector = store.collect("u0").await.unwrap();
    for document in documents() {
        let line = document.to_string();
        collector.add(line.as_bytes()).await.unwrap();
    }
    collector.finish().await.unwrap();
    let files = OriginalFiles {
        dav,
        event_logs: None,
        snapshots: None,
        prefix: "u0".to_owned(),
        secret: None,
    };
    let authority = (unit.model.clone(), unit.server.clone());
    let migration = Migration::new(authority, store.clone(), files);
    let mut cells = store.list_cells(None).await.unwrap();
    let migrated = migration.migrate(cells.remove(0)).await.unwrap();
    assert_eq!(migrated.refused, Vec::new());

    let equal = verify(&migration, &store).await;
    assert_eq!(equal.differences, Vec::<String>::new());
    // One of objects, one of each end of the associations, one to one entity, and two between many.
    assert_eq!((equal.links, equal.descriptions), (1 + 4 + 1 + 2, 4));

    let links = "c/__ctl/Account('me')/$links/_Role";
    send(&unit, "DELETE", &format!("{links}('boss')"), "").await;
    let uri = format!(
        r#"{{"uri":"{}__ctl/Role('guest')"}}"#,
        unit.model.urls().cell("c")
    );
    send(&unit, "POST", links, &uri).await;
    let item = "c/b/data/Item('e0')/$links";
    send(&unit, "DELETE", &format!("{item}/_Tag('t0')"), "").await;
    send(&unit, "DELETE", &format!("{item}/_Owner('o0')"), "").await;
    let list = "<D:acl xmlns:D='DAV:'><D:ace><D:principal><D:all/></D:principal><D:grant><D:privilege><D:read/>\
                </D:privilege></D:grant></D:ace></D:acl>";
    send(&unit, "ACL", "c/b", list).await;
    let set = "<D:propertyupdate xmlns:D='DAV:' xmlns:x='urn:x'><D:set><D:prop><x:color>blue</x:color><x:more>1</x:more>\
               </D:prop></D:set></D:propertyupdate>";
    send(&unit, "PROPPATCH", "c/b/plain.txt", set).await;
    let remove = "<D:propertyupdate xmlns:D='DAV:' xmlns:x='urn:x'><D:remove><D:prop><x:color/></D:prop></D:remove>\
                  </D:propertyupdate>";
    send(&unit, "PROPPATCH", "c", remove).await;

    let found = verify(&migration, &store).await.differences;
    let file = format!("{BOX}/plain.txt");
    for expected in [
        "the link from Account me to Role boss is missing".to_owned(),
        "the original has no link from Account".to_owned(),
        "the link from Item('e0') to Tag('t0') is missing".to_owned(),
        "the link from Item('e0') to Owner('o0') is missing".to_owned(),
        format!("the access control list of {BOX} is another one"),
        format!("the property color@urn:x of {file} has another value"),
        format!("the property more@urn:x of {file} is not in the original"),
        "the property color@urn:x of the cell is missing".to_owned(),
    ] {
        let count = found
            .iter()
            .filter(|text| text.starts_with(&expected))
            .count();
        assert!(count > 0, "{expected}: {found:#?}");
    }
    let others = ["Item('e1') to Tag", "list of the cell", "Role inbox"];
    for other in others {
        assert!(!found.iter().any(|text| text.contains(other)), "{found:#?}");
    }
}
