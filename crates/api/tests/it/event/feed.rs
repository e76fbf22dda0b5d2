//! The feed of the events of a cell: what listeners get, after interruptions and from other server nodes, and what is kept.

use std::sync::Arc;
use std::time::Duration;

use personium_model::event::feed;
use personium_store::Batch;
use personium_testkit::{EventStream, TestUnit, wait_until};
use serde_json::json;

use super::post_event;

/// The number of events that are kept.
const KEPT: usize = 1_000;
const MINUTE_MS: i64 = 60_000;

async fn listen(unit: &TestUnit, last_id: Option<&str>) -> EventStream {
    EventStream::open(&unit.admin(), "c", last_id).await
}

async fn post(unit: &TestUnit, info: &str) {
    let posted = post_event(unit, json!({"Type": "t", "Object": "o", "Info": info})).await;
    assert_eq!(posted.status, 200);
}

/// The details of the next events.
async fn infos(stream: &mut EventStream, count: usize) -> Vec<String> {
    let mut infos = Vec::new();
    for _ in 0..count {
        let (_, event) = stream.next_of_cell().await;
        infos.push(event["Info"].as_str().unwrap().to_owned());
    }
    infos
}

async fn is_gap(stream: &mut EventStream) {
    let event = stream.next().await.unwrap();
    assert_eq!((&*event.kind, &*event.data), ("gap", "events were missed"));
}

async fn stored_events(unit: &TestUnit) -> usize {
    unit.record_keys(b"F").await.len()
}

#[tokio::test]
async fn client_that_comes_back_gets_what_it_missed_also_after_a_restart() {
    let unit = TestUnit::new().await;
    let mut stream = listen(&unit, None).await;
    stream.wait_for_id().await;
    let begin = stream.last_id().to_owned();
    post(&unit, "0").await;
    assert_eq!(infos(&mut stream, 1).await, ["0"]);
    let id = stream.last_id().to_owned();
    assert_ne!(id, begin);
    drop(stream);
    // More than what is read at once.
    let missed: Vec<String> = (1..30).map(|n| n.to_string()).collect();
    for info in &missed {
        post(&unit, info).await;
    }
    let mut again = listen(&unit, Some(&id)).await;
    assert_eq!(infos(&mut again, missed.len()).await, missed);
    post(&unit, "live").await;
    assert_eq!(infos(&mut again, 1).await, ["live"]);
    drop(again);
    let restarted = unit.restart();
    post(&restarted, "after").await;
    let mut whole = listen(&restarted, Some(&begin)).await;
    assert_eq!(infos(&mut whole, 1).await, ["0"]);
    assert_eq!(infos(&mut whole, missed.len()).await, missed);
    assert_eq!(infos(&mut whole, 2).await, ["live", "after"]);
}

#[tokio::test]
async fn what_follows_an_unknown_id_begins_with_a_gap() {
    let unit = TestUnit::new().await;
    let mut stream = listen(&unit, None).await;
    post(&unit, "0").await;
    infos(&mut stream, 1).await;
    let known = stream.last_id().to_owned();
    let (seq, time) = (
        known.split('-').next().unwrap(),
        known.rsplit('-').next().unwrap(),
    );
    let long = "9".repeat(5_000);
    for id in [
        "",
        "x",
        "é",
        "1-2",
        "-1-0-0",
        "0-0-0",
        "18446744073709551615-4294967295-9223372036854775807",
        "18446744073709551616-0-0",
        // The number of an event that exists, with another time, and of one that does not.
        &format!("{seq}-0-0"),
        &format!("{seq}-1-{time}"),
        &format!("{known}, {known}"),
        &long,
    ] {
        let mut resumed = listen(&unit, Some(id)).await;
        is_gap(&mut resumed).await;
        post(&unit, "new").await;
        assert_eq!(infos(&mut resumed, 1).await, ["new"], "{id}");
    }
}

#[tokio::test]
async fn old_events_are_removed_and_missed_by_who_comes_too_late() {
    let unit = TestUnit::new().await;
    let mut stream = listen(&unit, None).await;
    stream.wait_for_id().await;
    let id = stream.last_id().to_owned();
    drop(stream);
    for n in 0..KEPT + 300 {
        post(&unit, &n.to_string()).await;
    }
    wait_until("old events are removed", async || {
        stored_events(&unit).await < KEPT + 150
    })
    .await;
    feed::trim(&unit.model, unit.cell_id().await).await.unwrap();
    assert_eq!(stored_events(&unit).await, KEPT);
    let mut late = listen(&unit, Some(&id)).await;
    is_gap(&mut late).await;
    post(&unit, "new").await;
    assert_eq!(infos(&mut late, 1).await, ["new"]);
}

#[tokio::test]
async fn large_events_are_kept_by_their_size() {
    let unit = TestUnit::new().await;
    let mut stream = listen(&unit, None).await;
    let info = "\u{1}".repeat(50_000);
    for _ in 0..40 {
        post(&unit, &info).await;
        assert_eq!(infos(&mut stream, 1).await, std::slice::from_ref(&info));
    }
    feed::trim(&unit.model, unit.cell_id().await).await.unwrap();
    let kept = stored_events(&unit).await;
    assert!(kept > 20 && kept < 35, "{kept}");
}

#[tokio::test]
async fn client_that_comes_back_at_an_event_as_large_as_a_page_gets_what_it_missed() {
    let unit = TestUnit::new().await;
    let mut stream = listen(&unit, None).await;
    let large = "\u{1}".repeat(50_000);
    for info in [large.as_str(), &large, "small", &large, "last"] {
        post(&unit, info).await;
    }
    assert_eq!(infos(&mut stream, 1).await, std::slice::from_ref(&large));
    let id = stream.last_id().to_owned();
    drop(stream);
    let mut again = listen(&unit, Some(&id)).await;
    assert_eq!(
        infos(&mut again, 4).await,
        [&large, "small", &large, "last"]
    );
}

#[tokio::test(start_paused = true)]
async fn feed_that_nobody_listens_to_is_removed_after_a_while_and_costs_nothing() {
    let unit = TestUnit::new().await;
    post(&unit, "before").await;
    assert_eq!(stored_events(&unit).await, 0);
    let stream = listen(&unit, None).await;
    post(&unit, "0").await;
    drop(stream);
    post(&unit, "1").await;
    // The mark of the listener is a record too.
    assert_eq!(stored_events(&unit).await, 3);
    unit.advance_clock(MINUTE_MS);
    tokio::time::sleep(Duration::from_secs(60)).await;
    post(&unit, "2").await;
    assert_eq!(stored_events(&unit).await, 4);
    unit.advance_clock(10 * MINUTE_MS);
    tokio::time::sleep(Duration::from_secs(600)).await;
    wait_until("the feed is removed", async || {
        stored_events(&unit).await == 0
    })
    .await;
    let commits = unit.last_commit().await;
    post(&unit, "3").await;
    assert_eq!(unit.last_commit().await, commits);
}

#[tokio::test(start_paused = true)]
async fn listener_of_a_removed_cell_loses_the_feed() {
    let unit = TestUnit::new().await;
    let model = Arc::clone(&unit.model);
    tokio::spawn(async move { feed::follow(&model).await });
    let mut stream = listen(&unit, None).await;
    let remove = unit
        .admin_request("DELETE", "c")
        .header("x-personium-recursive", "true");
    remove.send().await.expect(204);
    assert_eq!(stream.next().await, None);
    let late = unit
        .admin_request("GET", "c/__event?type=*&object=*")
        .header("accept", "text/event-stream");
    assert_eq!(late.send().await.status, 404);
}

#[tokio::test]
async fn events_of_all_nodes_arrive_once_and_in_one_order() {
    let unit = TestUnit::new().await;
    let nodes = [unit.sharing_node(), unit.sharing_node()];
    let mut streams = Vec::new();
    for node in &nodes {
        let model = Arc::clone(&node.model);
        tokio::spawn(async move { feed::follow(&model).await });
        let mut stream = listen(node, None).await;
        stream.wait_for_id().await;
        streams.push(stream);
    }
    let posts = (0..60_usize).map(|n| {
        let node = &nodes[n % 2];
        async move { post(node, &n.to_string()).await }
    });
    futures_util::future::join_all(posts).await;
    let mut received = Vec::new();
    for stream in &mut streams {
        let mut events = Vec::new();
        for _ in 0..60 {
            let (id, event) = stream.next_of_cell().await;
            events.push((id, event["Info"].as_str().unwrap().to_owned()));
        }
        received.push(events);
    }
    assert_eq!(received[0], received[1]);
    let mut infos: Vec<usize> = received[0]
        .iter()
        .map(|(_, n)| n.parse().unwrap())
        .collect();
    infos.sort_unstable();
    assert_eq!(infos, (0..60).collect::<Vec<_>>());
}

#[tokio::test]
async fn node_that_was_taken_for_dead_goes_on_listening() {
    let unit = TestUnit::new().await;
    let (slow, other) = (unit.sharing_node(), unit.sharing_node());
    let mut stream = listen(&slow, None).await;
    stream.wait_for_id().await;
    other.model.register_node().await.unwrap();
    let dead = slow.model.node_id().unwrap();
    let mut batch = Batch::new();
    batch.delete(personium_model::keys::server_node(&dead));
    other.model.records().commit(batch).await.unwrap();
    let cell = unit.cell_id().await;
    feed::trim(&other.model, cell).await.unwrap();
    slow.model.renew_node().await.unwrap();
    assert_ne!(slow.model.node_id().unwrap(), dead);
    // It makes sure that events are stored for it before they would not be any more.
    unit.advance_clock(MINUTE_MS);
    post(&slow, "0").await;
    assert_eq!(infos(&mut stream, 1).await, ["0"]);
    unit.advance_clock(11 * MINUTE_MS);
    feed::trim(&other.model, cell).await.unwrap();
    post(&slow, "1").await;
    assert_eq!(infos(&mut stream, 1).await, ["1"]);
}

#[tokio::test]
async fn copied_events_with_larger_numbers_hide_no_new_ones() {
    let unit = TestUnit::new().await;
    let records = unit.model.cell_records(&unit.cell_id().await);
    let mut batch = Batch::new();
    let copied = personium_model::keys::feed_event(1 << 40, 0);
    batch.put(copied, vec![1, b'{', b'}']);
    records.commit(batch).await.unwrap();
    let mut stream = listen(&unit, None).await;
    post(&unit, "new").await;
    assert_eq!(infos(&mut stream, 1).await, ["new"]);
    let mut resumed = listen(&unit, Some(&format!("{}-0-0", 1_u64 << 40))).await;
    is_gap(&mut resumed).await;
}
