//! Rights: roles, links, access control lists, accounts, passwords.

use personium_testkit::{PASSWORD, TestUnit, acl_body, cell_url, refused, success};

use super::{change, role_ace, token_of, unit};

/// A kind of request, each of which a node answers in its own way.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Get,
    Head,
    Put,
    PutNew,
    Propfind,
    PropfindWithBody,
    Create,
    Merge,
    Batch,
    Delete,
    Mkcol,
    Proppatch,
    Acl,
    Move,
}

const KINDS: [Kind; 14] = [
    Kind::Get,
    Kind::Head,
    Kind::Put,
    Kind::PutNew,
    Kind::Propfind,
    Kind::PropfindWithBody,
    Kind::Create,
    Kind::Merge,
    Kind::Batch,
    Kind::Delete,
    Kind::Mkcol,
    Kind::Proppatch,
    Kind::Acl,
    Kind::Move,
];

const BATCH: &str = "--b\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n\
                     GET T('e') HTTP/1.1\r\nHost: unit.example\r\n\r\n\r\n--b--\r\n";

pub(super) const MKCOL: &str = "<D:mkcol xmlns:D='DAV:'><D:set><D:prop><D:resourcetype><D:collection/></D:resourcetype>\
                     </D:prop></D:set></D:mkcol>";

pub(super) const PROPPATCH: &str = "<D:propertyupdate xmlns:D='DAV:'><D:set><D:prop><a xmlns='u:'>x</a></D:prop></D:set>\
                         </D:propertyupdate>";

/// Sends a request of this kind. Returns the status of the response, or of the response in the response.
async fn status(node: &TestUnit, token: &str, kind: Kind) -> u16 {
    let acl = acl_body("", "");
    let (method, path, body) = match kind {
        Kind::Get => ("GET", "c/b/col/file", ""),
        Kind::Head => ("HEAD", "c/b/od/T('e')", ""),
        Kind::Put => ("PUT", "c/b/col/file", "other content"),
        Kind::PutNew => ("PUT", "c/b/col/new", "new content"),
        Kind::Propfind => ("PROPFIND", "c/b/col", ""),
        Kind::PropfindWithBody => (
            "PROPFIND",
            "c/b/col",
            "<D:propfind xmlns:D='DAV:'><D:allprop/></D:propfind>",
        ),
        Kind::Create => ("POST", "c/b/od/T", "{}"),
        Kind::Merge => ("MERGE", "c/b/od/T('e')", r#"{"p":"merged"}"#),
        Kind::Batch => ("POST", "c/b/od/$batch", BATCH),
        Kind::Delete => ("DELETE", "c/b/col/file", ""),
        Kind::Mkcol => ("MKCOL", "c/b/col/sub", MKCOL),
        Kind::Proppatch => ("PROPPATCH", "c/b/col", PROPPATCH),
        Kind::Acl => ("ACL", "c/b/col", acl.as_str()),
        Kind::Move => ("MOVE", "c/b/col/old", ""),
    };
    // A collection is moved as a whole.
    let depth = if matches!(kind, Kind::Move) {
        "infinity"
    } else {
        "0"
    };
    let mut request = node
        .request(method, path)
        .bearer(token)
        .header("depth", depth);
    if matches!(kind, Kind::Batch) {
        request = request.header("content-type", "multipart/mixed; boundary=b");
    }
    if matches!(kind, Kind::Move) {
        request = request.header("destination", &format!("{}b/col/moved", cell_url("c")));
    }
    if matches!(kind, Kind::Merge) {
        request = request.header("if-match", "*");
    }
    let response = request.body(body).send().await;
    match kind {
        Kind::Batch if response.status == 202 => {
            let text = response.text();
            let inner = text.split("HTTP/1.1 ").nth(1).unwrap();
            inner[..3].parse().unwrap()
        }
        _ => response.status.as_u16(),
    }
}

/// The statuses of a permitted request.
fn is_permitted(status: u16) -> bool {
    (200..300).contains(&status)
}

/// The statuses of a refused request.
fn is_refused(status: u16) -> bool {
    [401, 403].contains(&status)
}

type Change = (&'static str, &'static str, String);

/// Changes that take the rights of the account `exact` away.
fn revocations() -> Vec<Change> {
    let own = |method, path, body: &str| (method, path, body.to_owned());
    let acl = |aces: &str| acl_body("", aces);
    vec![
        own(
            "DELETE",
            "c/__ctl/Account('exact')/$links/_Role('exact')",
            "",
        ),
        own(
            "DELETE",
            "c/__ctl/Role('exact')/$links/_Account('exact')",
            "",
        ),
        own("DELETE", "c/__ctl/Role('exact')", ""),
        own("DELETE", "c/__ctl/Account('exact')", ""),
        own("PUT", "c/__ctl/Account('exact')", r#"{"Name":"renamed"}"#),
        own(
            "MERGE",
            "c/__ctl/Account('exact')",
            r#"{"Status":"deactivated"}"#,
        ),
        ("ACL", "c/b", acl("")),
        ("ACL", "c/b", acl(&role_ace("stranger"))),
    ]
}

#[tokio::test]
async fn right_that_one_node_revokes_is_refused_by_the_next_request_to_another() {
    for (method, path, body) in revocations() {
        let unit = unit().await;
        unit.create_role("c", "stranger").await;
        let token = token_of(&unit, "exact").await;
        let mut nodes = Vec::new();
        for kind in KINDS {
            let node = unit.another_node();
            assert!(is_permitted(status(&node, &token, Kind::Get).await));
            assert!(is_permitted(status(&node, &token, kind).await), "{kind:?}");
            match kind {
                Kind::Delete => drop(unit.put_file("c/b/col/file", "content").await),
                Kind::Move => drop(unit.put_file("c/b/col/old", "content").await),
                Kind::Mkcol => change(&unit, "DELETE", "c/b/col/sub", "").await,
                _ => {}
            }
            // The node knows the cell as it is before the change.
            assert!(is_permitted(status(&node, &token, Kind::Get).await));
            nodes.push((kind, node));
        }
        change(&unit, method, path, &body).await;
        for (kind, node) in nodes {
            let status = status(&node, &token, kind).await;
            assert!(
                is_refused(status),
                "{kind:?} after {method} {path}: {status}"
            );
        }
    }
}

#[tokio::test]
async fn right_that_one_node_grants_is_honoured_by_the_next_request_to_another() {
    let by_link: Change = (
        "POST",
        "c/__ctl/Account('exact')/$links/_Role",
        r#"{"uri":"http://unit.example/c/__ctl/Role('exact')"}"#.to_owned(),
    );
    let by_acl: Change = ("ACL", "c/b", acl_body("", &role_ace("exact")));
    let without_link = (
        "DELETE",
        "c/__ctl/Account('exact')/$links/_Role('exact')",
        "",
    );
    let empty = acl_body("", "");
    for (before, (method, path, body)) in [
        (without_link, by_link),
        (("ACL", "c/b", &empty[..]), by_acl),
    ] {
        let unit = unit().await;
        change(&unit, before.0, before.1, before.2).await;
        let token = token_of(&unit, "exact").await;
        let mut nodes = Vec::new();
        for kind in KINDS {
            let node = unit.another_node();
            assert!(is_refused(status(&node, &token, kind).await), "{kind:?}");
            nodes.push((kind, node));
        }
        change(&unit, method, path, &body).await;
        for (kind, node) in nodes {
            let status = status(&node, &token, kind).await;
            assert!(
                is_permitted(status),
                "{kind:?} after {method} {path}: {status}"
            );
        }
    }
}

async fn logs_in(node: &TestUnit, password: &str) -> bool {
    let fields = [
        ("grant_type", "password"),
        ("username", "exact"),
        ("password", password),
    ];
    node.request_token("c", &fields).await.status == 200
}

#[tokio::test]
async fn account_that_one_node_changes_cannot_log_in_to_another() {
    for (method, body) in [
        ("DELETE", ""),
        ("MERGE", r#"{"Status":"deactivated"}"#),
        ("PUT", r#"{"Name":"renamed"}"#),
    ] {
        let unit = unit().await;
        let node = unit.another_node();
        assert!(logs_in(&node, PASSWORD).await);
        change(&unit, method, "c/__ctl/Account('exact')", body).await;
        assert!(!logs_in(&node, PASSWORD).await, "{method}");
    }
}

#[tokio::test]
async fn password_that_one_node_changes_is_the_one_of_another() {
    const OTHER: &str = "another-pass-word-1";
    let unit = unit().await;
    let node = unit.another_node();
    assert!(logs_in(&node, PASSWORD).await);
    let basic = |password: &str| {
        let pair = format!("exact:{password}");
        let pair = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, pair);
        node.request("GET", "c/b/col/file")
            .header("authorization", &format!("Basic {pair}"))
            .send()
    };
    assert_eq!(basic(PASSWORD).await.outcome(), success(200));
    let request = unit
        .admin_request("MERGE", "c/__ctl/Account('exact')")
        .header("if-match", "*")
        .header("x-personium-credential", OTHER);
    request.body("{}").send().await.expect_success();
    assert_eq!(basic(PASSWORD).await.status, 401);
    assert!(!logs_in(&node, PASSWORD).await);
    assert!(logs_in(&node, OTHER).await);
    assert_eq!(basic(OTHER).await.outcome(), success(200));
}

#[tokio::test]
async fn refusal_from_the_memory_of_a_node_is_checked_before_it_is_sent() {
    let unit = unit().await;
    let stranger = r#"{"Name":"stranger"}"#;
    unit.create_account("c", stranger).await;
    let token = token_of(&unit, "stranger").await;
    let node = unit.another_node();
    let refusal = || node.outcome_with_token("GET", "c/b/od/T('e')", &token);
    assert_eq!(refusal().await, refused(403, "AU-0002"));
    assert_eq!(refusal().await, refused(403, "AU-0002"));
    unit.link("c", "Account('stranger')", "_Role", "Role('exact')")
        .await;
    assert_eq!(refusal().await, success(200));
}
