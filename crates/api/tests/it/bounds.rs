//! What a request may cost: memory, time and turns of others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use personium_model::Settings;
use serde_json::{Value, json};

use crate::harness::{Reply, World, done, refused};

/// A unit with the collection `c/b/od`, in it the types `A` and `B`; an `A` has many `B`.
pub async fn world(change: impl FnOnce(&mut Settings)) -> World {
    let world = World::with(change).await;
    world.mkcol("c/b/od", "odata").await;
    for name in ["A", "B"] {
        let body = json!({"Name": name}).to_string();
        world.make("c/b/od/$metadata/EntityType", &body).await;
    }
    for (name, of, many) in [("a", "A", "0..1"), ("b", "B", "*")] {
        let end = json!({"Name": name, "_EntityType.Name": of, "Multiplicity": many});
        let path = "c/b/od/$metadata/AssociationEnd";
        world.make(path, &end.to_string()).await;
    }
    let end = |name: &str, of: &str| {
        format!("c/b/od/$metadata/AssociationEnd(Name='{name}',_EntityType.Name='{of}')")
    };
    let link = json!({"uri": format!("http://unit.example/{}", end("b", "B"))}).to_string();
    let links = format!("{}/$links/_AssociationEnd", end("a", "A"));
    assert_eq!(
        world.ask("POST", &links).text(&link).send().await.status,
        204
    );
    world
}

/// Declares a property, which is indexed then.
async fn declare(world: &World, name: &str) {
    let body = json!({"Name": name, "_EntityType.Name": "A", "Type": "Edm.String"}).to_string();
    world.make("c/b/od/$metadata/Property", &body).await;
}

async fn get(world: &World, query: &str) -> Reply {
    world.ask("GET", &format!("c/b/od/{query}")).send().await
}

async fn ids(world: &World, query: &str) -> Vec<String> {
    let reply = get(world, &format!("{query}&$format=json")).await;
    assert_eq!(reply.status, 200, "{query}: {}", reply.text());
    let list = reply.json()["d"]["results"].clone();
    let id = |entity: &Value| entity["__id"].as_str().unwrap().to_owned();
    list.as_array().unwrap().iter().map(id).collect()
}

#[tokio::test]
async fn members_beyond_what_a_type_can_have_are_refused_at_once() {
    let world = world(|s| s.odata.properties_max = 20).await;
    let members = |count: usize| {
        let members: Vec<String> = (0..count).map(|n| format!("\"m{n}\":1")).collect();
        format!("{{{}}}", members.join(","))
    };
    for (count, outcome) in [
        (10, done(201)),
        (50_000, refused(400, "OD-0032")),
        (100_001, refused(400, "OD-0001")),
    ] {
        let reply = world
            .ask("POST", "c/b/od/A")
            .text(&members(count))
            .send()
            .await;
        assert_eq!(reply.outcome(), outcome, "{count}");
    }
    let same = format!("{{{}\"m\":7}}", "\"m\":1,".repeat(50_000));
    let reply = world.ask("POST", "c/b/od/A").text(&same).send().await;
    assert_eq!(reply.json()["d"]["results"]["m"], 7, "{}", reply.text());
}

#[tokio::test]
async fn an_entity_has_a_size() {
    let world = world(|s| s.odata.entity_max = 3_000).await;
    let post = async |id: &str, text: usize| {
        let body = json!({"__id": id, "t": "x".repeat(text)}).to_string();
        let reply = world.ask("POST", "c/b/od/A").text(&body).send().await;
        reply.outcome()
    };
    assert_eq!(post("1", 2_900).await, done(201));
    assert_eq!(post("2", 3_001).await, refused(413, "MC-0001"));
    let merge = json!({"u": "x".repeat(200)}).to_string();
    let merged = world
        .ask("MERGE", "c/b/od/A('1')")
        .text(&merge)
        .send()
        .await;
    assert_eq!(merged.outcome(), refused(413, "MC-0001"));
    assert_eq!(ids(&world, "A?$top=5").await, ["1"]);
}

#[tokio::test]
async fn an_answer_has_a_size() {
    let world = world(|s| s.odata.answer_max = 10_000).await;
    for n in 0..5 {
        let body = json!({"__id": n.to_string(), "t": "x".repeat(3_000)}).to_string();
        world.make("c/b/od/A", &body).await;
        let child = json!({"t": "y".repeat(3_000)}).to_string();
        world.make("c/b/od/A('0')/_B", &child).await;
    }
    for (query, outcome) in [
        ("A?$top=3", done(200)),
        ("A", refused(400, "OD-0051")),
        ("A?$top=3&$orderby=t", done(200)),
        ("A?$top=4&$orderby=t", refused(400, "OD-0051")),
        ("A('0')?$expand=_B", refused(400, "OD-0051")),
        ("A('1')?$expand=_B", done(200)),
        ("A('0')/_B?$top=3", done(200)),
        ("A('0')/_B", refused(400, "OD-0051")),
    ] {
        assert_eq!(get(&world, query).await.outcome(), outcome, "{query}");
    }
    let part = "--b\nContent-Type: application/http\n\nGET A('1') HTTP/1.1\n\n\n";
    let batch = world
        .ask("POST", "c/b/od/$batch")
        .with("content-type", "multipart/mixed; boundary=b")
        .text(&format!("{}--b--", part.repeat(6)))
        .send()
        .await
        .text();
    assert_eq!(batch.matches("HTTP/1.1 200").count(), 3, "{batch}");
    assert_eq!(batch.matches("PR400-OD-0051").count(), 3, "{batch}");
}

#[tokio::test]
async fn bodies_have_room_together() {
    let world = World::with(|s| s.bodies_max = 64 << 10).await;
    let role = |size: usize| {
        let name = json!({"Name": "r"}).to_string();
        format!("{name}{}", " ".repeat(size - name.len()))
    };
    let post = async |body: &str| world.ask("POST", "c/__ctl/Role").text(body).send().await;
    assert_eq!(
        post(&role(70 << 10)).await.outcome(),
        refused(503, "SV-0002")
    );
    assert_eq!(post(&role(60 << 10)).await.status, 201);
    assert_eq!(
        post(&role(60 << 10)).await.outcome(),
        refused(409, "OD-0003")
    );
}

#[tokio::test]
async fn a_filter_searches_for_so_many_phrases() {
    let world = world(|_| {}).await;
    world.make("c/b/od/A", r#"{"t":"some text"}"#).await;
    let filter = |count: usize| {
        let terms: Vec<String> = (0..count)
            .map(|n| format!("substringof('w{n}',t)"))
            .collect();
        format!("A?$filter={}", terms.join(" or ").replace(' ', "%20"))
    };
    assert_eq!(get(&world, &filter(64)).await.status, 200);
    assert_eq!(
        get(&world, &filter(65)).await.outcome(),
        refused(400, "OD-0051")
    );
}

/// Fills the set `A` with texts that take long to search.
async fn filled(change: impl FnOnce(&mut Settings)) -> World {
    let world = world(change).await;
    let text = "mot été ".repeat(2_000);
    for n in 0..40 {
        let body = json!({"__id": n.to_string(), "t": text}).to_string();
        world.make("c/b/od/A", &body).await;
    }
    world
}

const SEARCH: &str = "A?$filter=substringof('nowhere',t)";

#[tokio::test]
async fn a_long_query_gives_others_their_turn() {
    let world = filled(|_| {}).await;
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&turns);
    let other = tokio::spawn(async move {
        loop {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    tokio::task::yield_now().await;
    let before = turns.load(Ordering::Relaxed);
    assert_eq!(get(&world, SEARCH).await.status, 200);
    let turns = turns.load(Ordering::Relaxed) - before;
    other.abort();
    assert!(turns >= 3, "{turns}");
}

#[tokio::test]
async fn a_query_ends_at_its_time_limit() {
    let world = filled(|s| s.odata.query_timeout_ms = 1).await;
    assert_eq!(get(&world, SEARCH).await.outcome(), refused(400, "OD-0051"));
    assert_eq!(get(&world, "A('1')").await.status, 200);
}

#[tokio::test]
async fn a_range_holds_texts_that_are_longer_than_its_bound() {
    let world = world(|_| {}).await;
    declare(&world, "p").await;
    let x = "x".repeat(510);
    for (id, text) in [
        ("1", format!("{x}ab")),
        ("2", format!("{x}いb")),
        ("3", "a".to_owned()),
    ] {
        let body = json!({"__id": id, "p": text}).to_string();
        world.make("c/b/od/A", &body).await;
    }
    let bound = format!("{x}あ");
    for (operator, expected) in [("lt", ["1", "3"].as_slice()), ("gt", &["2"])] {
        let bound: String = url::form_urlencoded::byte_serialize(bound.as_bytes()).collect();
        let mut found = ids(&world, &format!("A?$filter=p%20{operator}%20'{bound}'")).await;
        found.sort();
        assert_eq!(found, expected, "{operator}");
    }
}

#[tokio::test]
async fn navigation_shows_every_entity_that_only_one_may_be_linked_to() {
    let world = world(|s| s.odata.top_max = 3).await;
    world.make("c/b/od/A", r#"{"__id":"1"}"#).await;
    for n in 0..5 {
        let body = json!({"__id": n.to_string()}).to_string();
        world.make("c/b/od/A('1')/_B", &body).await;
    }
    let reply = get(
        &world,
        "A('1')/_B?$inlinecount=allpages&$top=1&$format=json",
    )
    .await;
    assert_eq!(reply.json()["d"]["__count"], "5");
    assert_eq!(ids(&world, "A('1')/_B?$skip=3&$top=3").await, ["3", "4"]);
}
