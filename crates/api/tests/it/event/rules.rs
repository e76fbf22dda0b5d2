//! `__rule`, and what becomes of rules.

use serde_json::json;

use crate::harness::{World, done, refused};

#[tokio::test]
async fn rules_in_force_are_shown_with_their_hits() {
    let world = World::new().await;
    world
        .rule("b", json!({"Action": "log", "EventType": "t"}))
        .await;
    let bound = json!({
        "_Box.Name": "app", "Action": "exec", "TargetUrl": "personium-localbox:/s/x",
        "EventObject": "personium-localbox:/f", "EventType": "never",
    });
    world.rule("a", bound).await;
    for _ in 0..3 {
        world.tell(json!({"Type": "t"})).await;
    }
    let shown = world.ask("GET", "c/__rule").send().await.json();
    let id = &shown["boxes"][0]["id"];
    assert!(id.as_str().is_some_and(|id| !id.is_empty()));
    let expected = json!({
        "rules": [
            {
                "EventExternal": true, "EventSubject": null, "EventType": "never",
                "EventObject": "personium-localbox:/f", "EventInfo": null, "Action": "exec",
                "TargetUrl": "personium-localbox:/s/x", "Name": "a", "HitCount": 0,
                "Schema": "http://unit.example/appcell/", "_Box.Name": "app",
            },
            {
                "EventExternal": true, "EventSubject": null, "EventType": "t", "EventObject": null,
                "EventInfo": null, "Action": "log", "TargetUrl": null, "Name": "b", "HitCount": 3,
            },
        ],
        "boxes": [{"Name": "app", "Schema": "http://unit.example/appcell/", "id": id}],
    });
    assert_eq!(shown, expected);
    assert_eq!(
        world.code("POST", "c/__rule").await,
        refused(405, "MC-0001")
    );
}

#[tokio::test]
async fn a_rule_counts_from_its_creation_to_its_removal() {
    let world = World::new().await;
    let key = "c/__ctl/Rule(Name='r',_Box.Name=null)";
    for _ in 0..2 {
        world.rule("r", json!({"Action": "log"})).await;
        world.tell(json!({})).await;
        let shown = world.ask("GET", "c/__rule").send().await.json();
        assert_eq!(shown["rules"][0]["HitCount"], 1, "{shown}");
        assert_eq!(world.code("DELETE", key).await, done(204));
        assert!(world.keys(b"H").await.is_empty());
    }
    let lines = world.lines("c").await.len();
    world.tell(json!({})).await;
    assert_eq!(world.lines("c").await.len(), lines);
}

#[tokio::test]
async fn a_rule_hears_of_its_box_under_any_name() {
    let world = World::new().await;
    let bound = json!({"_Box.Name": "b", "Action": "log", "EventObject": "personium-localbox:/f"});
    world.rule("r", bound).await;
    let event = |name: &str| json!({"Object": format!("personium-localcell:/{name}/f")});
    world.tell(event("b")).await;
    assert_eq!(world.lines("c").await.len(), 1);
    let rename = world.ask("PUT", "c/__ctl/Box('b')").with("if-match", "*");
    assert_eq!(
        rename.text(r#"{"Name":"new"}"#).send().await.outcome(),
        done(204)
    );
    world.tell(event("b")).await;
    assert_eq!(world.lines("c").await.len(), 1, "the old name");
    world.tell(event("new")).await;
    assert_eq!(world.lines("c").await.len(), 2);
    let remove = world
        .ask("DELETE", "c/new")
        .with("x-personium-recursive", "true");
    assert_eq!(remove.send().await.outcome(), done(204));
    world.tell(event("new")).await;
    assert_eq!(
        world.lines("c").await.len(),
        2,
        "the rule went with its box"
    );
}
