//! The list of active rules, `__rule`, and the lifetime of rules.

use personium_testkit::{TestUnit, cell_url, refused, success};
use serde_json::json;

use crate::event::{create_rule, log_lines, post_event};

#[tokio::test]
async fn rule_list_shows_rules_in_force_with_hit_counts() {
    let unit = TestUnit::new().await;
    create_rule(&unit, "b", json!({"Action": "log", "EventType": "t"})).await;
    let bound = json!({
        "_Box.Name": "app", "Action": "exec", "TargetUrl": "personium-localbox:/s/x",
        "EventObject": "personium-localbox:/f", "EventType": "never",
    });
    create_rule(&unit, "a", bound).await;
    for _ in 0..3 {
        post_event(&unit, json!({"Type": "t"})).await;
    }
    let shown = unit.admin_request("GET", "c/__rule").send().await.json();
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
        "timers": [],
    });
    assert_eq!(shown, expected);
    assert_eq!(
        unit.admin_outcome("POST", "c/__rule").await,
        refused(405, "MC-0001")
    );
}

#[tokio::test]
async fn rule_list_shows_addresses_of_the_unit_as_urls() {
    let unit = TestUnit::new().await;
    let rule = json!({
        "Name": "r", "Action": "relay.event", "EventSubject": "personium-localunit:/c/#me",
        "TargetUrl": "personium-localunit:d:/", "EventObject": "personium-localcell:/b/",
    });
    unit.create("c/__ctl/Rule", &rule.to_string()).await;
    let shown = unit.admin_request("GET", "c/__rule").send().await.json();
    let shown = &shown["rules"][0];
    assert_eq!(shown["EventSubject"], format!("{}#me", cell_url("c")));
    assert_eq!(shown["TargetUrl"], cell_url("d"));
    assert_eq!(shown["EventObject"], "personium-localcell:/b/");
}

#[tokio::test]
async fn rule_hit_count_starts_at_creation_and_ends_with_removal() {
    let unit = TestUnit::new().await;
    let key = "c/__ctl/Rule(Name='r',_Box.Name=null)";
    for _ in 0..2 {
        create_rule(&unit, "r", json!({"Action": "log"})).await;
        post_event(&unit, json!({})).await;
        let shown = unit.admin_request("GET", "c/__rule").send().await.json();
        assert_eq!(shown["rules"][0]["HitCount"], 1, "{shown}");
        assert_eq!(unit.admin_outcome("DELETE", key).await, success(204));
        assert!(unit.record_keys(b"H").await.is_empty());
    }
    let lines = log_lines(&unit, "c").await.len();
    post_event(&unit, json!({})).await;
    assert_eq!(log_lines(&unit, "c").await.len(), lines);
}

#[tokio::test]
async fn box_bound_rule_follows_a_renamed_box() {
    let unit = TestUnit::new().await;
    let bound = json!({"_Box.Name": "b", "Action": "log", "EventObject": "personium-localbox:/f"});
    create_rule(&unit, "r", bound).await;
    let event = |name: &str| json!({"Object": format!("personium-localcell:/{name}/f")});
    post_event(&unit, event("b")).await;
    assert_eq!(log_lines(&unit, "c").await.len(), 1);
    let rename = unit
        .admin_request("PUT", "c/__ctl/Box('b')")
        .header("if-match", "*");
    assert_eq!(
        rename.body(r#"{"Name":"new"}"#).send().await.outcome(),
        success(204)
    );
    post_event(&unit, event("b")).await;
    assert_eq!(log_lines(&unit, "c").await.len(), 1, "the old name");
    post_event(&unit, event("new")).await;
    assert_eq!(log_lines(&unit, "c").await.len(), 2);
    let remove = unit
        .admin_request("DELETE", "c/new")
        .header("x-personium-recursive", "true");
    assert_eq!(remove.send().await.outcome(), success(204));
    post_event(&unit, event("new")).await;
    assert_eq!(
        log_lines(&unit, "c").await.len(),
        2,
        "the rule went with its box"
    );
}
