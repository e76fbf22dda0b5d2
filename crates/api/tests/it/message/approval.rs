//! Approval of request messages.

use personium_testkit::{TestUnit, cell_url, refused, success};
use serde_json::{Value, json};

use super::{ID, message_body, request_message, send_command};
use crate::auth::unit_with_accounts;
use crate::message::{deliver, grant_cell};
use crate::quota::exact;

/// The URL of the cell to link.
fn target() -> String {
    "http://far.example/x/".to_owned()
}

fn add(name: &str) -> Value {
    json!({"RequestType": "relation.add", "Name": name, "TargetUrl": target()})
}

fn remove(name: &str) -> Value {
    json!({"RequestType": "relation.remove", "Name": name, "TargetUrl": target()})
}

fn rule(kind: &str, name: &str) -> Value {
    json!({"RequestType": kind, "Name": name, "Action": "log"})
}

/// A unit in which `c` has a relation and a role, each without box and in the box `app`.
async fn unit_with_relation_and_role() -> TestUnit {
    let unit = unit_with_accounts(|_| {}).await;
    for set in ["Relation", "Role"] {
        let path = format!("c/__ctl/{set}");
        unit.create(&path, r#"{"Name":"r"}"#).await;
        unit.create(&path, r#"{"Name":"r","_Box.Name":"app"}"#)
            .await;
    }
    unit
}

/// Removes the message and delivers another one with the same id.
async fn deliver_instead(unit: &TestUnit, objects: Value) {
    let path = format!("c/__ctl/ReceivedMessage('{ID}')");
    let gone = unit.admin_outcome("DELETE", &path).await.0;
    assert!(matches!(gone, 204 | 404));
    deliver(unit, &request_message(objects)).await;
}

async fn linked_cells(unit: &TestUnit, entity: &str) -> Vec<Value> {
    unit.list_entities(&format!("c/__ctl/{entity}/$links/_ExtCell"))
        .await
}

async fn status(unit: &TestUnit) -> Value {
    unit.list_entities("c/__ctl/ReceivedMessage").await[0]["Status"].clone()
}

#[tokio::test]
async fn approved_requests_add_and_remove_linked_cells() {
    let unit = unit_with_relation_and_role().await;
    let schema = cell_url("appcell");
    let in_app = "(Name='r',_Box.Name='app')";
    for (kind, class, name, entity) in [
        ("relation", None, Some("r"), "Relation('r')".to_owned()),
        ("role", None, Some("r"), "Role('r')".to_owned()),
        (
            "relation",
            Some(format!("{schema}__relation/__/r")),
            None,
            format!("Relation{in_app}"),
        ),
        (
            "role",
            Some("personium-localunit:appcell:/__role/__/r/".to_owned()),
            None,
            format!("Role{in_app}"),
        ),
    ] {
        let object = |change: &str| {
            json!([{"RequestType": format!("{kind}.{change}"), "Name": name, "ClassUrl": class,
                "TargetUrl": target()}])
        };
        deliver_instead(&unit, object("add")).await;
        assert_eq!(
            send_command(&unit, "approved").await,
            success(204),
            "{entity}"
        );
        assert_eq!(status(&unit).await, "approved");
        assert_eq!(linked_cells(&unit, &entity).await.len(), 1, "{entity}");
        deliver_instead(&unit, object("add")).await;
        assert_eq!(
            send_command(&unit, "approved").await,
            refused(400, "RM-0001")
        );
        assert_eq!(status(&unit).await, "none");
        deliver_instead(&unit, object("remove")).await;
        assert_eq!(send_command(&unit, "approved").await, success(204));
        assert!(linked_cells(&unit, &entity).await.is_empty());
        deliver_instead(&unit, object("remove")).await;
        assert_eq!(
            send_command(&unit, "approved").await,
            refused(404, "OD-0000")
        );
    }
    assert_eq!(unit.list_entities("c/__ctl/ExtCell").await.len(), 1);
}

#[tokio::test]
async fn approval_resolves_names_in_the_box_of_the_message() {
    let unit = unit_with_relation_and_role().await;
    let bound = json!({"Type": "request", "Status": "none", "Schema": cell_url("appcell"),
        "RequestObjects": [add("r"), rule("rule.add", "n")]});
    deliver(&unit, &message_body(bound)).await;
    assert_eq!(send_command(&unit, "approved").await, success(204));
    assert!(linked_cells(&unit, "Relation('r')").await.is_empty());
    let in_app = linked_cells(&unit, "Relation(Name='r',_Box.Name='app')").await;
    assert_eq!(in_app.len(), 1);
    assert_eq!(
        unit.list_entities("c/__ctl/Rule").await[0]["_Box.Name"],
        "app"
    );
}

#[tokio::test]
async fn approval_with_a_missing_target_is_refused() {
    let unit = unit_with_relation_and_role().await;
    let schema = cell_url("nowhere");
    for (object, outcome) in [
        (add("none"), refused(409, "RM-0002")),
        (remove("none"), refused(409, "RM-0002")),
        (remove("r"), refused(409, "RM-0002")),
        (
            json!({"RequestType": "role.add", "ClassUrl": format!("{schema}__role/__/r"),
                "TargetUrl": target()}),
            refused(400, "RM-0003"),
        ),
        (rule("rule.remove", "none"), refused(404, "OD-0002")),
    ] {
        deliver_instead(&unit, json!([object])).await;
        assert_eq!(send_command(&unit, "approved").await, outcome, "{object}");
    }
}

#[tokio::test]
async fn approval_reuses_a_known_cell_in_another_url_form() {
    let unit = unit_with_relation_and_role().await;
    let known = json!({"Url": "personium-localunit:d:/"}).to_string();
    unit.create("c/__ctl/ExtCell", &known).await;
    let object = json!([{"RequestType": "role.add", "Name": "r", "TargetUrl": cell_url("d")}]);
    deliver(&unit, &request_message(object)).await;
    assert_eq!(send_command(&unit, "approved").await, success(204));
    assert_eq!(unit.list_entities("c/__ctl/ExtCell").await.len(), 1);
    assert_eq!(linked_cells(&unit, "Role('r')").await.len(), 1);
}

#[tokio::test]
async fn approved_requests_add_remove_and_replace_rules() {
    let unit = unit_with_relation_and_role().await;
    let names = async || {
        let mut all: Vec<(String, String)> = Vec::new();
        for rule in unit.list_entities("c/__ctl/Rule").await {
            assert_eq!(rule["EventExternal"], false);
            let text = |member: &str| rule[member].as_str().unwrap_or_default().to_owned();
            all.push((text("Name"), text("Action")));
        }
        all
    };
    let is = |action: &str| vec![("n".to_owned(), action.to_owned())];
    let with = |action: &str| json!({"RequestType": "rule.add", "Name": "n", "Action": action});
    for (objects, outcome, after) in [
        (json!([with("log")]), success(204), is("log")),
        (json!([with("log")]), refused(409, "OD-0003"), is("log")),
        (
            json!([rule("rule.remove", "n"), with("log.info")]),
            success(204),
            is("log.info"),
        ),
        (
            json!([rule("rule.remove", "n"), rule("rule.remove", "n")]),
            refused(404, "OD-0002"),
            is("log.info"),
        ),
        (json!([rule("rule.remove", "n")]), success(204), Vec::new()),
        (
            json!([with("log"), rule("rule.remove", "n")]),
            success(204),
            Vec::new(),
        ),
        (
            json!([with("log"), with("log")]),
            refused(409, "OD-0003"),
            Vec::new(),
        ),
    ] {
        deliver_instead(&unit, objects.clone()).await;
        assert_eq!(send_command(&unit, "approved").await, outcome, "{objects}");
        assert_eq!(names().await, after, "{objects}");
    }
}

#[tokio::test]
async fn failed_approval_changes_nothing() {
    let unit = unit_with_relation_and_role().await;
    for last in [add("none"), add("r"), rule("rule.remove", "none")] {
        let objects = json!([rule("rule.add", "n"), add("r"), last]);
        deliver_instead(&unit, objects).await;
        let outcome = send_command(&unit, "approved").await;
        assert!(outcome.0 >= 400, "{last}: {outcome:?}");
        assert_eq!(status(&unit).await, "none");
        assert!(unit.list_entities("c/__ctl/ExtCell").await.is_empty());
        assert!(unit.list_entities("c/__ctl/Rule").await.is_empty());
        assert!(linked_cells(&unit, "Relation('r')").await.is_empty());
    }
}

#[tokio::test]
async fn approval_applies_request_objects_in_order() {
    let unit = unit_with_relation_and_role().await;
    let role = json!({"RequestType": "role.add", "Name": "r", "TargetUrl": target()});
    let objects = json!([add("r"), remove("r"), add("r"), role]);
    deliver(&unit, &request_message(objects)).await;
    assert_eq!(send_command(&unit, "approved").await, success(204));
    assert_eq!(unit.list_entities("c/__ctl/ExtCell").await.len(), 1);
    assert_eq!(linked_cells(&unit, "Relation('r')").await.len(), 1);
    assert_eq!(linked_cells(&unit, "Role('r')").await.len(), 1);
    exact(&unit, "c").await;
    // What one request of a message does, a later one takes back: nothing is counted twice.
    deliver_instead(&unit, json!([remove("r"), add("r")])).await;
    assert_eq!(send_command(&unit, "approved").await, success(204));
    assert_eq!(linked_cells(&unit, "Relation('r')").await.len(), 1);
    exact(&unit, "c").await;
    deliver_instead(&unit, json!([remove("r"), add("r"), remove("r")])).await;
    assert_eq!(send_command(&unit, "approved").await, success(204));
    assert!(linked_cells(&unit, "Relation('r')").await.is_empty());
    deliver_instead(&unit, json!([add("r"), remove("r")])).await;
    assert_eq!(send_command(&unit, "approved").await, success(204));
    assert!(linked_cells(&unit, "Relation('r')").await.is_empty());
    exact(&unit, "c").await;
}

#[tokio::test]
async fn request_message_is_decided_once() {
    let unit = unit_with_relation_and_role().await;
    for (command, links) in [("rejected", 0), ("approved", 1)] {
        deliver_instead(&unit, json!([add("r")])).await;
        for wrong in ["read", "unread"] {
            assert_eq!(send_command(&unit, wrong).await, refused(400, "OD-0006"));
        }
        assert_eq!(send_command(&unit, command).await, success(204));
        assert_eq!(status(&unit).await, command);
        for again in ["approved", "rejected"] {
            assert_eq!(send_command(&unit, again).await, refused(400, "OD-0006"));
        }
        assert_eq!(linked_cells(&unit, "Relation('r')").await.len(), links);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_approvals_succeed_once() {
    let unit = unit_with_relation_and_role().await;
    deliver(&unit, &request_message(json!([add("r")]))).await;
    let at_once = (0..8).map(|_| {
        let unit = unit.clone();
        tokio::spawn(async move { send_command(&unit, "approved").await })
    });
    let mut outcomes = Vec::new();
    for task in at_once.collect::<Vec<_>>() {
        outcomes.push(task.await.unwrap());
    }
    outcomes.sort();
    assert_eq!(outcomes[0], success(204));
    // One that saw the message before the change, and the relation or the external cell after it, says that they are linked
    // already, or that it exists.
    let refusals = [
        refused(400, "OD-0006"),
        refused(400, "RM-0001"),
        refused(409, "OD-0003"),
    ];
    let are_refused = outcomes[1..].iter().all(|o| refusals.contains(o));
    assert!(are_refused, "{outcomes:?}");
    assert_eq!(unit.list_entities("c/__ctl/ExtCell").await.len(), 1);
    assert_eq!(linked_cells(&unit, "Relation('r')").await.len(), 1);
}

#[tokio::test]
async fn approval_needs_the_privileges_of_its_request_objects() {
    let unit = unit_with_relation_and_role().await;
    let token = unit.access_token("c").await;
    let path = format!("c/__message/received/{ID}");
    let give = async |command: &str| {
        let body = json!({"Command": command}).to_string();
        unit.post_as(&token, &path, &body).await.outcome()
    };
    let lacking = refused(403, "AU-0002");
    for (objects, needed, others) in [
        (
            json!([add("r")]),
            &["p:message", "p:social"][..],
            &["p:social", "p:rule"][..],
        ),
        (
            json!([rule("rule.add", "n")]),
            &["p:message", "p:rule"],
            &["p:message", "p:social"],
        ),
        (
            json!([remove("r"), rule("rule.remove", "n")]),
            &["p:message", "p:social", "p:rule"],
            &["p:message", "p:rule"],
        ),
    ] {
        deliver_instead(&unit, objects).await;
        for too_few in [others, &["p:message"][..], &["p:message", "p:social-read"]] {
            grant_cell(&unit, too_few).await;
            assert_eq!(give("approved").await, lacking, "{too_few:?}");
        }
        grant_cell(&unit, needed).await;
        assert_eq!(give("approved").await, success(204), "{needed:?}");
    }
    deliver_instead(&unit, json!([add("r")])).await;
    grant_cell(&unit, &["p:message"]).await;
    assert_eq!(give("rejected").await, success(204));
}

#[tokio::test]
async fn message_created_through_odata_is_validated_on_approval() {
    let unit = unit_with_relation_and_role().await;
    let body = json!({
        "__id": ID, "From": cell_url("d"), "Type": "request", "Status": "none",
        "RequestObjects": [{"RequestType": "rule.add", "Name": "n", "Action": "exec"}],
    });
    let path = "c/__ctl/Box('b')/_ReceivedMessage";
    unit.create(path, &body.to_string()).await;
    assert_eq!(
        send_command(&unit, "approved").await,
        refused(400, "OD-0006")
    );
    assert!(unit.list_entities("c/__ctl/Rule").await.is_empty());
}
