//! A cell while it is exported or imported.

use personium_model::transfer::{self, RunningTransfer, TransferKind};
use personium_model::{Access, Identity};
use personium_testkit::{TestUnit, refused, success, text_member};

use super::state_of;

/// Begins a transfer of the cell `c` that goes on as long as the result exists.
async fn begin(unit: &TestUnit, kind: TransferKind) -> RunningTransfer {
    let context = unit.model.find_cell("c").await.unwrap().unwrap();
    let node = context.cell_node().await.unwrap();
    let access = Access::of(Identity::UnitMaster);
    let permit = access.permit_cell(
        unit.model.urls(),
        context.cell(),
        &node.value.acl,
        kind.operation(),
    );
    let permit = permit.unwrap();
    let begun = transfer::begin(&unit.model, &context, &permit, (kind, "s"));
    begun.await.unwrap()
}

const BUSY: &str = "CM-0002";

async fn check_refused(unit: &TestUnit, word: &str) {
    for (method, path, body) in [
        ("POST", "c/__ctl/Role", r#"{"Name":"r"}"#),
        ("PUT", "c/b/file", "x"),
        ("DELETE", "c/b/file", ""),
        ("MKCOL", "c/b/col", ""),
        ("ACL", "c", ""),
        ("PROPPATCH", "c/b", ""),
        ("MOVE", "c/b/file", ""),
        ("POST", "c/__event", r#"{"Type":"t"}"#),
        ("PUT", "c/__snapshot/new.zip", "x"),
        ("DELETE", "c", ""),
        ("POST", "c/__export", ""),
        ("POST", "c/__import", r#"{"Name":"s"}"#),
        ("MKCOL", "c/fresh", ""),
        ("MERGE", "__ctl/Cell('c')", r#"{"Name":"renamed"}"#),
    ] {
        let request = unit.admin_request(method, path);
        let request = request.header("x-personium-recursive", "true");
        let response = request.body(body).send().await;
        assert_eq!(response.outcome(), refused(409, BUSY), "{method} {path}");
        assert!(response.text().contains(word), "{}", response.text());
    }
    for (method, path) in [
        ("GET", "c/b/file"),
        ("HEAD", "c/b/file"),
        ("PROPFIND", "c"),
        ("GET", "c/__ctl/Role"),
        ("OPTIONS", "c/b"),
    ] {
        let request = unit.admin_request(method, path).header("depth", "0");
        assert!(request.send().await.status.is_success(), "{method} {path}");
    }
    assert!(!unit.access_token("c").await.is_empty());
    let other = unit.admin().call("PUT", "d/b/file", "x").await;
    assert!(
        other.status.is_success(),
        "another cell: {:?}",
        other.outcome()
    );
}

async fn unit() -> TestUnit {
    let unit = TestUnit::new().await;
    unit.create("__ctl/Cell", r#"{"Name":"d"}"#).await;
    unit.create_box("d", "b").await;
    unit.create_account("c", r#"{"Name":"me"}"#).await;
    unit.put_file("c/b/file", "x").await;
    unit
}

#[tokio::test]
async fn changes_of_a_cell_are_refused_on_every_node_while_it_is_exported() {
    let unit = unit().await;
    let other = unit.sharing_node();
    other.put_file("c/b/other", "x").await;
    let running = begin(&unit, TransferKind::Export).await;
    for node in [&unit, &other] {
        check_refused(node, "cell export").await;
        let state = state_of(node, "c/__export").await;
        assert_eq!(state["status"], "exportation in progress");
        assert_eq!(state["exportation_name"], "s");
        assert_eq!(state["progress"], "0%");
        assert!(state["started_at"].as_str().unwrap().ends_with('Z'));
        assert_eq!(state_of(node, "c/__import").await["status"], "ready");
    }
    running.set_progress(1, 2).await;
    assert_eq!(state_of(&other, "c/__export").await["progress"], "50%");
    running.end(None).await.unwrap();
    for node in [&unit, &other] {
        let put = node.admin_request("PUT", "c/b/file").body("y").send().await;
        assert_eq!(put.outcome(), success(204));
        assert_eq!(state_of(node, "c/__export").await["status"], "ready");
    }
}

#[tokio::test]
async fn who_may_change_nothing_does_not_learn_of_an_export() {
    let unit = unit().await;
    unit.create_collection("c/b/open", "").await;
    unit.put_file("c/b/open/file", "x").await;
    unit.grant_to_everybody("c/b/open", &["D:write"]).await;
    unit.create_account("c", r#"{"Name":"rooted"}"#).await;
    unit.create_role("c", "boss").await;
    unit.link("c", "Account('rooted')", "_Role", "Role('boss')")
        .await;
    unit.grant_to_role("c", "boss", &["p:root"]).await;
    let mine = unit.access_token("c").await;
    let rooted = unit.login_as("c", "rooted", &[]).await;
    let rooted = text_member(&rooted, "access_token");
    let running = begin(&unit, TransferKind::Export).await;
    for (method, path) in [
        ("POST", "c/__export"),
        ("POST", "c/__import"),
        ("POST", "c/__ctl/Role"),
        ("POST", "c/__event"),
        ("PUT", "c/__snapshot/new.zip"),
        ("PUT", "c/b/file"),
        ("DELETE", "c/b/file"),
        ("DELETE", "c"),
        ("MKCOL", "c/fresh"),
        ("PUT", "c/b/new"),
    ] {
        let send = async |token: Option<&str>| {
            let request = unit.request(method, path);
            let request = match token {
                Some(token) => request.bearer(token),
                None => request,
            };
            request.body("{}").send().await.outcome()
        };
        let what = format!("{method} {path}");
        assert_eq!(send(None).await, refused(401, "AU-0001"), "{what}");
        assert_eq!(send(Some("none")).await.0, 401, "{what}");
        assert_eq!(send(Some(&mine)).await, refused(403, "AU-0002"), "{what}");
        assert_eq!(send(Some(&rooted)).await, refused(409, BUSY), "{what}");
    }
    // Also without credentials, where everybody may write.
    for method in ["PUT", "DELETE"] {
        let sent = unit.request(method, "c/b/open/file").body("y").send().await;
        assert_eq!(sent.outcome(), refused(409, BUSY), "{method}");
    }
    running.end(None).await.unwrap();
    let put = unit.request("PUT", "c/b/open/file").body("y").send().await;
    assert_eq!(put.outcome(), success(204));
}

#[tokio::test]
async fn changes_of_a_cell_are_refused_while_it_is_imported() {
    let unit = unit().await;
    let running = begin(&unit, TransferKind::Import).await;
    check_refused(&unit, "cell import").await;
    let state = state_of(&unit, "c/__import").await;
    assert_eq!(state["status"], "importation in progress");
    assert_eq!(state["importation_name"], "s");
    running.end(None).await.unwrap();
    let put = unit.admin_request("PUT", "c/b/file").body("y").send().await;
    assert_eq!(put.outcome(), success(204));
}

#[tokio::test]
async fn transfer_ends_with_its_process() {
    for kind in [TransferKind::Export, TransferKind::Import] {
        let unit = unit().await;
        let other = unit.sharing_node();
        let running = begin(&unit, kind).await;
        let put = other.admin_request("PUT", "c/b/file").body("y");
        assert_eq!(put.send().await.outcome(), refused(409, BUSY));
        unit.model.leave().await.unwrap();
        let put = other.admin_request("PUT", "c/b/file").body("y");
        assert_eq!(put.send().await.outcome(), success(204));
        let state = state_of(&other, "c/__import").await;
        match kind {
            TransferKind::Export => assert_eq!(state["status"], "ready"),
            TransferKind::Import => {
                assert_eq!(state["status"], "import failed");
                assert_eq!(state["message"]["code"], "PR500-SV-9999");
            }
        }
        let again = begin(&other, kind).await;
        // A late step of the dead process changes nothing.
        running.end(None).await.ok();
        let put = other.admin_request("PUT", "c/b/file").body("z");
        assert_eq!(put.send().await.outcome(), refused(409, BUSY));
        again.end(None).await.unwrap();
    }
}

#[tokio::test]
async fn transfer_that_is_dropped_does_not_keep_its_process_from_changing_the_cell() {
    let unit = unit().await;
    drop(begin(&unit, TransferKind::Export).await);
    let put = unit.admin_request("PUT", "c/b/file").body("y").send().await;
    assert_eq!(put.outcome(), success(204));
}
