//! Approval of requests: each kind, all or nothing, once.

use serde_json::{Value, json};

use super::{ID, letter, request};
use crate::auth::{cell_url, world};
use crate::harness::{World, done, refused};

/// A cell that somebody asks to be linked to.
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

/// A world in which `c` has a relation and a role in no box and in the box `app`.
async fn related() -> World {
    let world = world(|_| {}).await;
    for set in ["Relation", "Role"] {
        let path = format!("c/__ctl/{set}");
        world.make(&path, r#"{"Name":"r"}"#).await;
        world.make(&path, r#"{"Name":"r","_Box.Name":"app"}"#).await;
    }
    world
}

/// Removes the message and delivers another one with the same id.
async fn replace(world: &World, objects: Value) {
    let path = format!("c/__ctl/ReceivedMessage('{ID}')");
    let gone = world.code("DELETE", &path).await.0;
    assert!(matches!(gone, 204 | 404));
    world.deliver(&request(objects)).await;
}

async fn linked(world: &World, entity: &str) -> Vec<Value> {
    world
        .entities(&format!("c/__ctl/{entity}/$links/_ExtCell"))
        .await
}

async fn status(world: &World) -> Value {
    world.entities("c/__ctl/ReceivedMessage").await[0]["Status"].clone()
}

#[tokio::test]
async fn relations_and_roles_get_and_lose_cells() {
    let world = related().await;
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
        replace(&world, object("add")).await;
        assert_eq!(world.command("approved").await, done(204), "{entity}");
        assert_eq!(status(&world).await, "approved");
        assert_eq!(linked(&world, &entity).await.len(), 1, "{entity}");
        replace(&world, object("add")).await;
        assert_eq!(world.command("approved").await, refused(400, "RM-0001"));
        assert_eq!(status(&world).await, "none");
        replace(&world, object("remove")).await;
        assert_eq!(world.command("approved").await, done(204));
        assert!(linked(&world, &entity).await.is_empty());
        replace(&world, object("remove")).await;
        assert_eq!(world.command("approved").await, refused(404, "OD-0000"));
    }
    assert_eq!(world.entities("c/__ctl/ExtCell").await.len(), 1);
}

#[tokio::test]
async fn a_name_means_what_is_in_the_box_of_the_message() {
    let world = related().await;
    let bound = json!({"Type": "request", "Status": "none", "Schema": cell_url("appcell"),
        "RequestObjects": [add("r"), rule("rule.add", "n")]});
    world.deliver(&letter(bound)).await;
    assert_eq!(world.command("approved").await, done(204));
    assert!(linked(&world, "Relation('r')").await.is_empty());
    let in_app = linked(&world, "Relation(Name='r',_Box.Name='app')").await;
    assert_eq!(in_app.len(), 1);
    assert_eq!(world.entities("c/__ctl/Rule").await[0]["_Box.Name"], "app");
}

#[tokio::test]
async fn what_is_missing_is_told() {
    let world = related().await;
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
        replace(&world, json!([object])).await;
        assert_eq!(world.command("approved").await, outcome, "{object}");
    }
}

#[tokio::test]
async fn a_known_cell_is_not_made_again_in_another_spelling() {
    let world = related().await;
    let known = json!({"Url": "personium-localunit:d:/"}).to_string();
    world.make("c/__ctl/ExtCell", &known).await;
    let object = json!([{"RequestType": "role.add", "Name": "r", "TargetUrl": cell_url("d")}]);
    world.deliver(&request(object)).await;
    assert_eq!(world.command("approved").await, done(204));
    assert_eq!(world.entities("c/__ctl/ExtCell").await.len(), 1);
    assert_eq!(linked(&world, "Role('r')").await.len(), 1);
}

#[tokio::test]
async fn rules_come_go_and_are_replaced() {
    let world = related().await;
    let names = async || {
        let mut all: Vec<(String, String)> = Vec::new();
        for rule in world.entities("c/__ctl/Rule").await {
            assert_eq!(rule["EventExternal"], false);
            let text = |member: &str| rule[member].as_str().unwrap_or_default().to_owned();
            all.push((text("Name"), text("Action")));
        }
        all
    };
    let is = |action: &str| vec![("n".to_owned(), action.to_owned())];
    let with = |action: &str| json!({"RequestType": "rule.add", "Name": "n", "Action": action});
    for (objects, outcome, after) in [
        (json!([with("log")]), done(204), is("log")),
        (json!([with("log")]), refused(409, "OD-0003"), is("log")),
        (
            json!([rule("rule.remove", "n"), with("log.info")]),
            done(204),
            is("log.info"),
        ),
        (
            json!([rule("rule.remove", "n"), rule("rule.remove", "n")]),
            refused(404, "OD-0002"),
            is("log.info"),
        ),
        (json!([rule("rule.remove", "n")]), done(204), Vec::new()),
        (
            json!([with("log"), rule("rule.remove", "n")]),
            done(204),
            Vec::new(),
        ),
        (
            json!([with("log"), with("log")]),
            refused(409, "OD-0003"),
            Vec::new(),
        ),
    ] {
        replace(&world, objects.clone()).await;
        assert_eq!(world.command("approved").await, outcome, "{objects}");
        assert_eq!(names().await, after, "{objects}");
    }
}

#[tokio::test]
async fn nothing_happens_unless_everything_does() {
    let world = related().await;
    for last in [add("none"), add("r"), rule("rule.remove", "none")] {
        let objects = json!([rule("rule.add", "n"), add("r"), last]);
        replace(&world, objects).await;
        let outcome = world.command("approved").await;
        assert!(outcome.0 >= 400, "{last}: {outcome:?}");
        assert_eq!(status(&world).await, "none");
        assert!(world.entities("c/__ctl/ExtCell").await.is_empty());
        assert!(world.entities("c/__ctl/Rule").await.is_empty());
        assert!(linked(&world, "Relation('r')").await.is_empty());
    }
}

#[tokio::test]
async fn later_objects_see_what_earlier_ones_did() {
    let world = related().await;
    let role = json!({"RequestType": "role.add", "Name": "r", "TargetUrl": target()});
    let objects = json!([add("r"), remove("r"), add("r"), role]);
    world.deliver(&request(objects)).await;
    assert_eq!(world.command("approved").await, done(204));
    assert_eq!(world.entities("c/__ctl/ExtCell").await.len(), 1);
    assert_eq!(linked(&world, "Relation('r')").await.len(), 1);
    assert_eq!(linked(&world, "Role('r')").await.len(), 1);
    replace(&world, json!([remove("r"), add("r"), remove("r")])).await;
    assert_eq!(world.command("approved").await, done(204));
    assert!(linked(&world, "Relation('r')").await.is_empty());
}

#[tokio::test]
async fn a_request_is_decided_once() {
    let world = related().await;
    for (command, links) in [("rejected", 0), ("approved", 1)] {
        replace(&world, json!([add("r")])).await;
        for wrong in ["read", "unread"] {
            assert_eq!(world.command(wrong).await, refused(400, "OD-0006"));
        }
        assert_eq!(world.command(command).await, done(204));
        assert_eq!(status(&world).await, command);
        for again in ["approved", "rejected"] {
            assert_eq!(world.command(again).await, refused(400, "OD-0006"));
        }
        assert_eq!(linked(&world, "Relation('r')").await.len(), links);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_approvals_at_once_one_counts() {
    let world = related().await;
    world.deliver(&request(json!([add("r")]))).await;
    let at_once = (0..8).map(|_| {
        let world = world.clone();
        tokio::spawn(async move { world.command("approved").await })
    });
    let mut outcomes = Vec::new();
    for task in at_once.collect::<Vec<_>>() {
        outcomes.push(task.await.unwrap());
    }
    outcomes.sort();
    assert_eq!(outcomes[0], done(204));
    assert!(outcomes[1..].iter().all(|o| *o == refused(400, "OD-0006")));
    assert_eq!(world.entities("c/__ctl/ExtCell").await.len(), 1);
    assert_eq!(linked(&world, "Relation('r')").await.len(), 1);
}

#[tokio::test]
async fn approval_needs_the_privileges_of_what_it_changes() {
    let world = related().await;
    let token = world.access("c").await;
    let path = format!("c/__message/received/{ID}");
    let give = async |command: &str| {
        let body = json!({"Command": command}).to_string();
        world.post_as(&token, &path, &body).await.outcome()
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
        replace(&world, objects).await;
        for too_few in [others, &["p:message"][..], &["p:message", "p:social-read"]] {
            world.grant_cell(too_few).await;
            assert_eq!(give("approved").await, lacking, "{too_few:?}");
        }
        world.grant_cell(needed).await;
        assert_eq!(give("approved").await, done(204), "{needed:?}");
    }
    replace(&world, json!([add("r")])).await;
    world.grant_cell(&["p:message"]).await;
    assert_eq!(give("rejected").await, done(204));
}

#[tokio::test]
async fn what_a_box_was_given_by_hand_is_checked_when_it_is_approved() {
    let world = related().await;
    let body = json!({
        "__id": ID, "From": cell_url("d"), "Type": "request", "Status": "none",
        "RequestObjects": [{"RequestType": "rule.add", "Name": "n", "Action": "exec"}],
    });
    let path = "c/__ctl/Box('b')/_ReceivedMessage";
    world.make(path, &body.to_string()).await;
    assert_eq!(world.command("approved").await, refused(400, "OD-0006"));
    assert!(world.entities("c/__ctl/Rule").await.is_empty());
}
