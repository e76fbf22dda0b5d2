//! Links, index entries, names and access control lists in quotas.

use personium_testkit::{TestUnit, ace, acl_body, collection_body, refused, success, wait_until};
use serde_json::json;

use super::{batch, counted, exact, exported, import, leave, put, set_quota, shown, unit};

/// The bytes that a cell counts of links and of index entries.
async fn links_and_indexes(unit: &TestUnit, cell: &str) -> (i64, i64) {
    exact(unit, cell).await;
    let content = counted(unit, cell).await.content;
    (content.links, content.indexes)
}

#[tokio::test]
async fn links_are_counted_and_limited_on_all_nodes() {
    let unit = unit().await;
    unit.create_role("c", "r").await;
    for name in ["a", "b", "d"] {
        unit.create_account("c", &json!({"Name": name}).to_string())
            .await;
    }
    for (end, of) in [("far", "Row"), ("near", "Row")] {
        let end = json!({"Name": end, "_EntityType.Name": of, "Multiplicity": "*"});
        let path = "c/b/data/$metadata/AssociationEnd";
        unit.create(path, &end.to_string()).await;
    }
    let near = "c/b/data/$metadata/AssociationEnd(Name='near',_EntityType.Name='Row')";
    let far = near.replace("near", "far");
    let link = async |unit: &TestUnit, from: &str, to: &str| {
        let body = json!({"uri": format!("http://unit.example/{to}")}).to_string();
        unit.admin().post(from, &body).await.outcome()
    };
    let ends = format!("{far}/$links/_AssociationEnd");
    assert_eq!(link(&unit, &ends, near).await, success(204));
    for id in ["1", "2", "3"] {
        unit.create("c/b/data/Row", &json!({"__id": id}).to_string())
            .await;
    }
    let of_account = |name: &str| format!("c/__ctl/Account('{name}')");
    let of_row = |id: &str| format!("c/b/data/Row('{id}')");
    let roles = "c/__ctl/Role('r')/$links/_Account";
    let rows = "c/b/data/Row('1')/$links/_Row";
    let (before, _) = links_and_indexes(&unit, "c").await;
    assert_eq!(link(&unit, roles, &of_account("a")).await, success(204));
    let (with_role, _) = links_and_indexes(&unit, "c").await;
    assert!(with_role > before + 100, "{before} {with_role}");
    // Also one to itself, whose two ends are removed at once.
    for id in ["1", "2"] {
        assert_eq!(link(&unit, rows, &of_row(id)).await, success(204), "{id}");
    }
    let (with_rows, _) = links_and_indexes(&unit, "c").await;
    assert!(with_rows > with_role + 150, "{with_role} {with_rows}");
    assert_eq!(
        shown(&unit, "?cell=c").await["linkBytes"].as_i64(),
        Some(with_rows)
    );

    // What is left is less than one link needs.
    let node = unit.sharing_node();
    leave(&unit, 100).await;
    unit.advance_clock(3_000);
    for unit in [&unit, &node] {
        for (from, to) in [(roles, of_account("b")), (rows, of_row("3"))] {
            let refusal = link(unit, from, &to).await;
            assert_eq!(refusal, refused(507, "SV-0002"), "{from}");
        }
    }
    assert_eq!(links_and_indexes(&unit, "c").await.0, with_rows);
    let removed = node
        .admin_outcome("DELETE", "c/__ctl/Role('r')/$links/_Account('a')")
        .await;
    assert_eq!(removed, success(204));
    assert_eq!(link(&node, roles, &of_account("b")).await, success(204));
    set_quota(&unit, &json!({"cell": "c", "quota": "unlimited"})).await;
    // Links go with an entity at either end.
    for path in [&of_row("1"), &of_account("b"), &of_row("2")] {
        let removed = unit.admin_request("DELETE", path).header("if-match", "*");
        assert_eq!(removed.send().await.outcome(), success(204), "{path}");
        exact(&unit, "c").await;
    }
    assert_eq!(links_and_indexes(&unit, "c").await.0, before);
    let text = batch(
        &unit,
        &[
            ("POST Row", r#"{"__id":"5"}"#),
            ("POST Row('5')/_Row", r#"{"__id":"6"}"#),
            ("DELETE Row('6')", ""),
            ("POST Row('5')/_Row", r#"{"__id":"7"}"#),
        ],
    )
    .await;
    assert!(!text.contains("HTTP/1.1 4"), "{text}");
    let in_batch = links_and_indexes(&unit, "c").await.0;
    assert!(in_batch > before, "{text}");

    // A snapshot brings them into another cell; removing the collection takes them.
    let snapshot = exported(&unit).await;
    unit.create_cell("d").await;
    let put = unit.admin_request("PUT", "d/__snapshot/s1.zip");
    assert_eq!(put.body(snapshot).send().await.outcome(), success(201));
    import(&unit, "d", "s1").await;
    // Its entities have other ids: in a key, a zero byte of one takes two.
    let (copy, source) = (
        links_and_indexes(&unit, "d").await,
        links_and_indexes(&unit, "c").await,
    );
    let is_about = |copied: i64, of: i64| copied > 0 && (copied - of).abs() < 60;
    assert!(
        is_about(copy.0, source.0) && is_about(copy.1, source.1),
        "{copy:?} {source:?}"
    );
    let removed = unit.admin_request("DELETE", "c/b/data");
    let removed = removed.header("x-personium-recursive", "true").send().await;
    assert_eq!(removed.outcome(), success(204));
    wait_until("the end of the garbage collection", async || {
        counted(&unit, "c").await.content.indexes == 0
    })
    .await;
    wait_until("the end of the garbage collection", async || {
        unit.record_keys(b"L")
            .await
            .iter()
            .all(|key| key.as_bytes()[1] != 3)
    })
    .await;
    exact(&unit, "c").await;
}

#[tokio::test]
async fn index_entries_are_counted_and_limited() {
    let unit = unit().await;
    for name in ["p", "q", "r"] {
        let property = json!({"Name": name, "_EntityType.Name": "Row", "Type": "Edm.String"});
        let path = "c/b/data/$metadata/Property";
        unit.create(path, &property.to_string()).await;
    }
    let indexes = async || links_and_indexes(&unit, "c").await.1;
    let before = indexes().await;
    let text = "x".repeat(300);
    let row = json!({"__id": "1", "p": text, "q": text, "r": text}).to_string();
    unit.create("c/b/data/Row", &row).await;
    let one = indexes().await - before;
    assert!(one > 3 * 300, "{one}");
    assert_eq!(
        shown(&unit, "?cell=c").await["indexBytes"].as_i64(),
        Some(before + one)
    );
    let change = async |method: &str, body: &str| {
        let changed = unit.admin_request(method, "c/b/data/Row('1')").body(body);
        changed.header("if-match", "*").send().await.outcome()
    };
    assert_eq!(change("MERGE", r#"{"p":"short"}"#).await, success(204));
    assert_eq!(indexes().await, before + one - 295);
    assert_eq!(change("PUT", "{}").await, success(204));
    assert!(indexes().await < before + one - 900);
    // The record alone would fit, its index entries do not.
    leave(&unit, 1_800).await;
    assert_eq!(change("PUT", &row).await, refused(507, "SV-0002"));
    leave(&unit, 2_500).await;
    assert_eq!(change("PUT", &row).await, success(204));
    assert_eq!(indexes().await, before + one);
    let removed = unit.admin_request("DELETE", "c/b/data/Row('1')");
    assert_eq!(
        removed.header("if-match", "*").send().await.outcome(),
        success(204)
    );
    assert_eq!(indexes().await, before);
}

#[tokio::test]
async fn names_and_access_control_lists_are_counted_and_limited() {
    let unit = TestUnit::new().await;
    let roles: Vec<String> = (0..40).map(|number| format!("role{number}")).collect();
    for role in &roles {
        unit.create_role("c", role).await;
    }
    let aces: String = roles
        .iter()
        .map(|role| {
            let url = format!("http://unit.example/c/__role/__/{role}");
            ace(&url, &["D:read", "D:write"])
        })
        .collect();
    let metadata = async || {
        exact(&unit, "c").await;
        counted(&unit, "c").await.content.properties
    };
    let before = metadata().await;
    unit.create_collection("c/b/folder", "").await;
    let named = metadata().await;
    assert!(named > before + 128, "{before} {named}");
    for path in ["c", "c/b", "c/b/folder"] {
        let before = metadata().await;
        unit.set_acl(path, &aces).await;
        let with_list = metadata().await;
        // The first list of a cell stores its node too.
        let grown = with_list - before - 40 * (32 + 3 * 24);
        assert!((0..200).contains(&grown), "{path}: {before} {with_list}");
        unit.set_acl(path, &aces).await;
        assert_eq!(metadata().await, with_list, "{path}");
    }
    unit.set_acl("c/b/folder", "").await;
    leave(&unit, 1_000).await;
    let acl = acl_body("", &aces);
    for path in ["c/b/folder", "c/__"] {
        let set = unit.admin_request("ACL", path).body(acl.clone()).send();
        assert_eq!(set.await.outcome(), refused(507, "SV-0002"), "{path}");
    }
    // Empty collections and files use up a quota too.
    let name = "n".repeat(100);
    let mut refusals = 0;
    for number in 0..10 {
        refusals += usize::from(put(&unit, &format!("c/b/{name}{number}"), 0).await == 507);
        let made = unit.admin_request("MKCOL", &format!("c/b/folder/{number}"));
        let made = made.body(collection_body("")).send().await.outcome();
        refusals += usize::from(made == refused(507, "SV-0002"));
    }
    assert!(refusals > 10, "{refusals}");
    metadata().await;
    set_quota(&unit, &json!({"cell": "c", "quota": 0})).await;
    // A list that is shorter is possible at any time, and so is another name of the same length.
    unit.set_acl("c/b", "").await;
    let moved = unit.admin_request("MOVE", "c/b/folder");
    let moved = moved.header("destination", "http://unit.example/c/b/renamd");
    assert_eq!(moved.send().await.outcome(), success(201));
    metadata().await;
    let removed = unit.admin_request("DELETE", "c/b/renamd");
    let removed = removed.header("x-personium-recursive", "true").send().await;
    assert_eq!(removed.outcome(), success(204));
    wait_until("the end of the garbage collection", async || {
        counted(&unit, "c").await.content.properties < named + 40 * 200
    })
    .await;
    metadata().await;
}
