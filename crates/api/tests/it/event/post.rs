//! `POST __event`.

use serde_json::json;

use super::{longest, told};
use crate::auth::{cell_url, world};
use crate::harness::{World, done, refused};

#[tokio::test]
async fn what_nobody_listens_to_leaves_no_trace() {
    let world = World::new().await;
    world
        .rule("other", json!({"Action": "log", "EventType": "other"}))
        .await;
    for body in [
        r#"{"Type":"a","Object":"b","Info":"c"}"#,
        r#"{"Type":null}"#,
        r#"{}"#,
        r#"{"Level":"INFO","More":[1,{"a":2}]}"#,
    ] {
        let reply = world.post("c/__event", body).await;
        assert_eq!(
            (reply.status.as_u16(), reply.text()),
            (200, String::new()),
            "{body}"
        );
    }
    assert!(world.keys(b"GHQ").await.is_empty());
}

#[tokio::test]
async fn what_is_no_event_is_refused() {
    let world = World::new().await;
    world.rule("all", json!({"Action": "log"})).await;
    let long = |text: String| json!({"Info": text}).to_string();
    let pairs = "😀".repeat(25_600);
    for (body, outcome) in [
        (r#"{"Type":1}"#.to_owned(), refused(400, "EV-0004")),
        (r#"{"Object":true}"#.to_owned(), refused(400, "EV-0004")),
        (r#"{"Info":{}}"#.to_owned(), refused(400, "EV-0004")),
        (long(longest() + "x"), refused(400, "EV-0004")),
        (long(format!("{pairs}x")), refused(400, "EV-0004")),
        ("{".to_owned(), refused(400, "CM-0004")),
        ("[]".to_owned(), refused(400, "CM-0004")),
        (String::new(), refused(400, "CM-0004")),
        (long("x".repeat(2 << 20)), refused(413, "MC-0001")),
    ] {
        let reply = world.post("c/__event", &body).await;
        let begin = body.get(..30).unwrap_or(&body);
        assert_eq!(reply.outcome(), outcome, "{begin}");
    }
    assert!(world.lines("c").await.is_empty());
    for body in [long(longest()), long(pairs)] {
        assert_eq!(world.post("c/__event", &body).await.outcome(), done(200));
    }
    assert_eq!(world.lines("c").await.len(), 2);
}

#[tokio::test]
async fn only_posts_are_events() {
    let world = World::new().await;
    for (method, outcome) in [
        ("GET", refused(405, "MC-0001")),
        ("PUT", refused(405, "MC-0001")),
        ("DELETE", refused(405, "MC-0001")),
        ("PROPFIND", refused(501, "MC-0001")),
        ("PROPPATCH", refused(501, "MC-0001")),
        ("OPTIONS", done(200)),
    ] {
        assert_eq!(world.code(method, "c/__event").await, outcome, "{method}");
    }
    assert_eq!(
        world.code("POST", "c/__event/x").await,
        refused(404, "MC-0001")
    );
}

#[tokio::test]
async fn the_log_tells_who_caused_it_and_by_which_request() {
    let world = world(|_| {}).await;
    world.rule("all", json!({"Action": "log"})).await;
    world.grant_cell(&["p:event"]).await;
    let event = r#"{"Type":"t","Object":"personium-localcell:/b/f","Info":"i \"q\""}"#;
    let rest = format!(r#""t","{}b/f","i ""q""""#, cell_url("c"));

    let master = world
        .ask("POST", "c/__event")
        .with("x-personium-requestkey", "key-1_");
    assert_eq!(master.text(event).send().await.status, 200);
    let resident = world.access("c").await;
    world.post_as(&resident, "c/__event", event).await;
    let app = world.signed(|token| token.schema = Some(cell_url("appcell")));
    let visitor = world.delivering();
    for token in [&app, &visitor] {
        world.post_as(token, "c/__event", event).await;
    }
    let lines = world.lines("c").await;
    assert_eq!(
        told(&lines[0]),
        format!(r#""key-1_","true",null,null,{rest}"#)
    );
    let ends = |line: &str, middle: &str| {
        let end = format!(r#","true",{middle},{rest}"#);
        assert!(line.ends_with(&end), "{line}\n{end}");
    };
    ends(&lines[1], &format!(r#""","{}#me""#, cell_url("c")));
    let (app, other) = (cell_url("appcell"), cell_url("d"));
    ends(&lines[2], &format!(r#""{app}","{other}#me""#));
    ends(&lines[3], &format!(r#""","{other}""#));
    assert_eq!(lines.len(), 4, "{lines:#?}");
}

#[tokio::test]
async fn chains_of_events_end() {
    let world = World::new().await;
    world.rule("all", json!({"Action": "log"})).await;
    for (chain, logged) in [("2", true), ("3", false), ("x", false), ("-5", true)] {
        let before = world.lines("c").await.len();
        let ask = world
            .ask("POST", "c/__event")
            .with("x-personium-rulechain", chain);
        assert_eq!(ask.text("{}").send().await.outcome(), done(200));
        assert_eq!(
            world.lines("c").await.len() - before,
            usize::from(logged),
            "{chain}"
        );
    }
    let silent = World::with(|settings| settings.events.hops_max = 0).await;
    silent.rule("all", json!({"Action": "log"})).await;
    assert_eq!(silent.tell(json!({})).await.status, 200);
    assert!(silent.lines("c").await.is_empty());
}
