//! Modes of maintenance: the unit is only read and deleted from, the cells of an owner are only read.

use personium_model::low_space::DiskContent;
use personium_testkit::{Outcome, TestUnit, refused, success};
use serde_json::{Value, json};

const OWNER: &str = "http://unit.example/c/#owner";
const LOCAL_OWNER: &str = "personium-localunit:c:/#owner";

/// A unit with the cells `c` and `d`. The first has accounts, files and entities, the second belongs to [`OWNER`].
async fn unit() -> TestUnit {
    let unit = TestUnit::new().await;
    unit.create_account("c", r#"{"Name":"me"}"#).await;
    unit.create_odata_collection("c/b/data", "Row").await;
    unit.create("c/b/data/Row", r#"{"__id":"1"}"#).await;
    unit.put_file("c/b/file", "x").await;
    let made = create_owned_cell(&unit, "d").await;
    assert_eq!(made, success(201));
    unit.create_account("d", r#"{"Name":"me"}"#).await;
    unit.put_file("d/__/file", "x").await;
    unit
}

/// Creates a cell as a unit user.
async fn create_owned_cell(unit: &TestUnit, name: &str) -> Outcome {
    let request = unit.admin_request("POST", "__ctl/Cell");
    let request = request.header("x-personium-unit-user", OWNER);
    let body = format!("{{\"Name\":\"{name}\"}}");
    request.body(body).send().await.outcome()
}

async fn outcome(unit: &TestUnit, [method, path, body]: [&str; 3]) -> Outcome {
    let request = unit.admin_request(method, path).header("depth", "0");
    let request = request.header("x-personium-recursive", "true");
    request.body(body).send().await.outcome()
}

async fn is_allowed(unit: &TestUnit, request: [&str; 3]) -> bool {
    let path = request[1];
    let response = unit.admin_request(request[0], path).header("depth", "0");
    response.body(request[2]).send().await.status.is_success()
}

const CHANGES: [[&str; 3]; 8] = [
    ["PUT", "c/b/file", "y"],
    ["POST", "c/b/data/Row", "{\"__id\":\"2\"}"],
    ["MERGE", "c/b/data/Row('1')", "{}"],
    ["MKCOL", "c/b/folder", ""],
    ["PROPPATCH", "c/b", ""],
    ["ACL", "c", ""],
    ["POST", "c/__event", "{\"Type\":\"t\"}"],
    ["POST", "__ctl/Cell", "{\"Name\":\"e\"}"],
];

const READS: [[&str; 3]; 5] = [
    ["GET", "c/b/file", ""],
    ["PROPFIND", "c/b", ""],
    ["OPTIONS", "c/b", ""],
    ["GET", "c/b/data/Row", ""],
    ["GET", "__ctl/Cell", ""],
];

#[tokio::test]
async fn unit_that_is_read_and_deleted_from_stores_nothing_on_any_node() {
    let unit = unit().await;
    let nodes = [unit.sharing_node(), unit.sharing_node()];
    assert!(is_allowed(&nodes[1], ["PUT", "c/b/gone", "x"]).await);
    let changed = nodes[0]
        .model
        .change_maintenance(|modes| modes.is_read_delete_only = true);
    assert!(changed.await.unwrap().is_read_delete_only);
    for node in &nodes {
        for request in CHANGES {
            let refusal = refused(503, "SV-0005");
            assert_eq!(outcome(node, request).await, refusal, "{request:?}");
        }
        for request in READS {
            assert!(is_allowed(node, request).await, "{request:?}");
        }
        assert!(!node.access_token("c").await.is_empty());
    }
    assert_eq!(
        outcome(&nodes[1], ["DELETE", "c/b/gone", ""]).await,
        success(204)
    );
    let ended = nodes[1]
        .model
        .change_maintenance(|modes| modes.is_read_delete_only = false);
    ended.await.unwrap();
    for node in &nodes {
        assert!(is_allowed(node, ["PUT", "c/b/file", "y"]).await);
    }
}

#[tokio::test]
async fn parts_of_a_batch_read_and_delete_while_nothing_is_stored() {
    let unit = unit().await;
    let changed = unit
        .model
        .change_maintenance(|modes| modes.is_read_delete_only = true);
    changed.await.unwrap();
    let part = |request: &str, body: &str| {
        format!(
            "--b\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n{request}\r\nHost: h\r\n\
             Content-Length: {}\r\n\r\n{body}\r\n",
            body.len()
        )
    };
    let set = |parts: String| {
        let inner = parts.replace("--b\r\n", "--s\r\n");
        format!("--b\r\nContent-Type: multipart/mixed; boundary=s\r\n\r\n{inner}--s--\r\n\r\n")
    };
    let body = [
        part("GET Row('1')", ""),
        set(part("POST Row", r#"{"__id":"2"}"#)),
        set(part("POST Row", r#"{"__id":"3"}"#) + &part("POST Row", r#"{"__id":"4"}"#)),
        set(part("PUT Row('1')", r#"{"a":"b"}"#)),
        set(part("DELETE Row('1')", "")),
        "--b--".to_owned(),
    ];
    let request = unit.admin_request("POST", "c/b/data/$batch");
    let request = request.header("content-type", "multipart/mixed; boundary=b");
    let answer = request.body(body.concat()).send().await;
    let text = answer.expect(202).text();
    assert_eq!(text.matches("HTTP/1.1 200").count(), 1, "{text}");
    assert_eq!(text.matches("PR503-SV-0005").count(), 3, "{text}");
    assert_eq!(text.matches("HTTP/1.1 204").count(), 1, "{text}");
    assert!(unit.list_entities("c/b/data/Row").await.is_empty());
}

#[tokio::test]
async fn cells_of_an_owner_in_maintenance_are_only_read_and_others_work() {
    let unit = unit().await;
    let nodes = [unit.sharing_node(), unit.sharing_node()];
    assert!(is_allowed(&nodes[1], ["PUT", "d/__/file", "x"]).await);
    let set = async |is_on: bool| {
        let changed = nodes[0].model.change_maintenance(|modes| {
            match is_on {
                true => modes.read_only_owners.insert(LOCAL_OWNER.to_owned()),
                false => modes.read_only_owners.remove(LOCAL_OWNER),
            };
        });
        changed.await.unwrap();
    };
    set(true).await;
    for node in &nodes {
        for request in [
            ["PUT", "d/__/file", "y"],
            ["DELETE", "d/__/file", ""],
            ["POST", "d/__ctl/Role", "{\"Name\":\"r\"}"],
            ["POST", "d/__export", ""],
            ["PROPPATCH", "d", ""],
            ["DELETE", "d", ""],
        ] {
            let refusal = refused(503, "SV-0004");
            assert_eq!(outcome(node, request).await, refusal, "{request:?}");
        }
        assert_eq!(create_owned_cell(node, "e").await, refused(503, "SV-0004"));
        assert!(is_allowed(node, ["GET", "d/__/file", ""]).await);
        assert!(is_allowed(node, ["PROPFIND", "d", ""]).await);
        assert!(!node.access_token("d").await.is_empty());
        for request in CHANGES.iter().take(2) {
            assert!(is_allowed(node, *request).await, "{request:?}");
        }
        outcome(node, ["DELETE", "c/b/data/Row('2')", ""]).await;
    }
    set(false).await;
    for node in &nodes {
        assert!(is_allowed(node, ["PUT", "d/__/file", "y"]).await);
    }
    assert_eq!(create_owned_cell(&nodes[1], "e").await, success(201));
}

#[tokio::test]
async fn process_that_starts_with_a_mode_honours_it() {
    let unit = unit().await;
    let changed = unit
        .model
        .change_maintenance(|modes| modes.is_read_delete_only = true);
    changed.await.unwrap();
    let next = unit.restart();
    let put = ["PUT", "c/b/file", "y"];
    assert_eq!(outcome(&next, put).await, refused(503, "SV-0005"));
    let changed = next
        .model
        .change_maintenance(|modes| modes.is_read_delete_only = false);
    changed.await.unwrap();
    assert!(is_allowed(&next, put).await);
}

#[tokio::test]
async fn process_whose_disk_of_records_is_nearly_full_stores_nothing_and_keeps_the_modes() {
    let unit = unit().await;
    let nodes = [unit.sharing_node(), unit.sharing_node()];
    let low = nodes[0].model.low_space();
    assert!(low.set(DiskContent::Records, true));
    for request in CHANGES {
        let refusal = refused(503, "SV-0005");
        assert_eq!(outcome(&nodes[0], request).await, refusal, "{request:?}");
    }
    for request in READS {
        assert!(is_allowed(&nodes[0], request).await, "{request:?}");
    }
    assert!(!nodes[0].access_token("c").await.is_empty());
    let batch = "--b\r\nContent-Type: multipart/mixed; boundary=s\r\n\r\n--s\r\nContent-Type: application/http\r\n\
                 Content-Transfer-Encoding: binary\r\n\r\nPOST Row\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}\r\n--s--\r\n\r\n--b--";
    let request = nodes[0].admin_request("POST", "c/b/data/$batch");
    let request = request.header("content-type", "multipart/mixed; boundary=b");
    let answer = request.body(batch).send().await.expect(202).text();
    assert!(answer.contains("PR503-SV-0005"), "{answer}");
    // The disk of one process is not that of another.
    assert!(is_allowed(&nodes[1], ["PUT", "c/b/file", "y"]).await);
    let modes = nodes[1].model.maintenance().await.unwrap();
    assert!(!modes.is_read_delete_only);
    assert_eq!(
        outcome(&nodes[0], ["DELETE", "c/b/file", ""]).await,
        success(204)
    );
    low.set(DiskContent::Records, false);
    assert!(is_allowed(&nodes[0], ["PUT", "c/b/file", "y"]).await);
}

#[tokio::test]
async fn process_whose_disk_of_bodies_is_nearly_full_refuses_long_ones_alone() {
    let unit = unit().await;
    let low = unit.model.low_space();
    low.set(DiskContent::Bodies, true);
    let shown = unit.admin_request("GET", "__status").send().await;
    assert_eq!(shown.json()["health"]["lowSpace"][0], "bodies");
    let long = "x".repeat(200_000);
    for path in ["c/b/long", "c/b/file"] {
        let refusal = refused(503, "SV-0005");
        assert_eq!(outcome(&unit, ["PUT", path, &long]).await, refusal);
    }
    assert!(is_allowed(&unit, ["PUT", "c/b/file", "y"]).await);
    assert!(is_allowed(&unit, ["POST", "c/b/data/Row", "{}"]).await);
    low.set(DiskContent::Bodies, false);
    low.set(DiskContent::TemporaryFiles, true);
    assert!(is_allowed(&unit, ["PUT", "c/b/long", &long]).await);
}

async fn shown(node: &TestUnit) -> Value {
    let shown = node.admin_request("GET", "__maintenance").send().await;
    shown.expect(200).json()
}

fn shown_modes(mode: &str, owners: &Value) -> Value {
    json!({"mode": mode, "unitUsers": owners, "thisNode": {"mode": mode, "lowSpace": []}})
}

const PUT_READ_DELETE: [&str; 3] = ["PUT", "__maintenance", r#"{"mode":"readDelete"}"#];
const PUT_READ_ONLY: [&str; 3] = [
    "PUT",
    "__maintenance",
    r#"{"mode":"readOnly","unitUser":"http://unit.example/c/#owner"}"#,
];
const END_READ_ONLY: [&str; 3] = [
    "DELETE",
    "__maintenance?unitUser=http%3A%2F%2Funit.example%2Fc%2F%23owner",
    "",
];

#[tokio::test]
async fn modes_that_a_request_sets_and_ends_hold_on_every_node_with_the_next_request() {
    let unit = unit().await;
    let shared = [unit.sharing_node(), unit.sharing_node()];
    let put = |path| ["PUT", path, "y"];
    // A store of one process knows its modes, a shared one is asked.
    for nodes in [[&unit, &unit], [&shared[0], &shared[1]]] {
        for (setting, ending) in [(nodes[0], nodes[1]), (nodes[1], nodes[0])] {
            assert_eq!(outcome(setting, PUT_READ_DELETE).await, success(204));
            for node in nodes {
                let refusal = refused(503, "SV-0005");
                assert_eq!(outcome(node, put("c/b/file")).await, refusal);
                assert_eq!(shown(node).await, shown_modes("readDelete", &json!({})));
                // The exception is for the modes of the unit alone.
                for path in ["c/__maintenance", "c/b/__maintenance", "__maintenance/x"] {
                    assert_eq!(outcome(node, put(path)).await, refusal, "{path}");
                }
                assert_eq!(outcome(node, ["POST", "c/__status", ""]).await, refusal);
            }
            // In this mode too.
            assert_eq!(outcome(ending, PUT_READ_ONLY).await, success(204));
            let end = ["DELETE", "__maintenance", ""];
            assert_eq!(outcome(ending, end).await, success(204));
            for node in nodes {
                assert!(is_allowed(node, put("c/b/file")).await);
                let refusal = refused(503, "SV-0004");
                assert_eq!(outcome(node, put("d/__/file")).await, refusal);
                let owners = json!({OWNER: "readOnly"});
                assert_eq!(shown(node).await, shown_modes("normal", &owners));
            }
            assert_eq!(outcome(setting, END_READ_ONLY).await, success(204));
            for node in nodes {
                assert!(is_allowed(node, put("d/__/file")).await);
                assert_eq!(shown(node).await, shown_modes("normal", &json!({})));
            }
        }
    }
}

#[tokio::test]
async fn mode_that_a_request_has_set_holds_after_a_restart() {
    let unit = unit().await;
    assert_eq!(outcome(&unit, PUT_READ_DELETE).await, success(204));
    let next = unit.restart();
    let put = ["PUT", "c/b/file", "y"];
    assert_eq!(outcome(&next, put).await, refused(503, "SV-0005"));
    let end = ["DELETE", "__maintenance", ""];
    assert_eq!(outcome(&next, end).await, success(204));
    assert!(is_allowed(&next, put).await);
}

#[tokio::test]
async fn nearly_full_disk_is_shown_beside_the_modes_which_can_be_changed() {
    let unit = unit().await;
    unit.model.low_space().set(DiskContent::Records, true);
    let low = |mode: &str| {
        json!({
            "mode": mode,
            "unitUsers": {},
            "thisNode": {"mode": "readDelete", "lowSpace": ["records"]},
        })
    };
    assert_eq!(shown(&unit).await, low("normal"));
    assert_eq!(outcome(&unit, PUT_READ_DELETE).await, success(204));
    assert_eq!(shown(&unit).await, low("readDelete"));
}

#[tokio::test]
async fn owner_whose_cells_are_read_only_can_end_that_only_as_an_administrator() {
    let unit = unit().await;
    assert_eq!(outcome(&unit, PUT_READ_ONLY).await, success(204));
    let as_owner = unit
        .admin_request(END_READ_ONLY[0], END_READ_ONLY[1])
        .header("x-personium-unit-user", OWNER);
    let refusal = as_owner.send().await.outcome();
    assert_eq!(refusal.0, 403, "{refusal:?}");
    assert_eq!(
        shown(&unit).await,
        shown_modes("normal", &json!({OWNER: "readOnly"}))
    );
    assert_eq!(outcome(&unit, END_READ_ONLY).await, success(204));
}

#[tokio::test]
async fn modes_that_cannot_be_read_change_nothing() {
    let unit = unit().await;
    assert_eq!(outcome(&unit, PUT_READ_DELETE).await, success(204));
    let long = format!(
        r#"{{"mode":"readOnly","unitUser":"http://unit.example/c/#{}"}}"#,
        "a".repeat(1024)
    );
    for (body, code) in [
        ("", "CM-0004"),
        ("[]", "CM-0004"),
        ("{}", "CM-0001"),
        (r#"{"mode":"readOnly"}"#, "CM-0001"),
        (r#"{"mode":"normal"}"#, "CM-0002"),
        (r#"{"mode":null}"#, "CM-0002"),
        (r#"{"mode":"readDelete","more":1}"#, "CM-0002"),
        (
            r#"{"mode":"readDelete","unitUser":"http://x/#a"}"#,
            "CM-0002",
        ),
        (r#"{"mode":"readOnly","unitUser":"http://x/"}"#, "CM-0002"),
        (r#"{"mode":"readOnly","unitUser":5}"#, "CM-0002"),
        (&long, "CM-0002"),
    ] {
        let refusal = outcome(&unit, ["PUT", "__maintenance", body]).await;
        assert_eq!(refusal, refused(400, code), "{body}");
    }
    for query in ["unituser=http://x/%23a", "unitUser=x", "unitUser=", "a"] {
        let path = format!("__maintenance?{query}");
        let refusal = outcome(&unit, ["DELETE", &path, ""]).await;
        assert_eq!(refusal, refused(400, "CM-0002"), "{query}");
    }
    assert_eq!(shown(&unit).await, shown_modes("readDelete", &json!({})));
}
