//! Modes of maintenance: the unit is only read and deleted from, the cells of an owner are only read.

use personium_model::low_space::DiskContent;
use personium_testkit::{Outcome, TestUnit, refused, success};

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
