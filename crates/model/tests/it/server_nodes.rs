//! Server nodes over one shared store: which of them is dead, and what the others take over.

use std::time::Duration;

use personium_model::file::{self, CheckedPut, FileContent, FileHeaders, ReceivedBody, Upload};
use personium_model::server_node::{self, DEAD_AFTER, JoinError};
use personium_model::{Resource, garbage_collection, keys, records};
use personium_store::{Batch, Space};
use personium_testkit::{ModelUnit, create, wait_until};
use personium_types::Code;
use tokio::task::JoinHandle;
use tokio::time::sleep;

const HOUR_MS: i64 = 3_600_000;
/// The time within which others must have taken over.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(10);

/// Two server nodes of a unit with the cell `c` and the box `b`. The clock of the second one is an hour ahead.
async fn two_nodes() -> (ModelUnit, ModelUnit) {
    let unit = ModelUnit::new().await;
    let nodes = (unit.server_node(0), unit.server_node(HOUR_MS));
    // What made the unit is no server node of it.
    unit.model.leave().await.unwrap();
    nodes
}

/// Keeps a server node registered until the task is aborted.
fn maintain(node: &ModelUnit) -> JoinHandle<()> {
    let model = node.model.clone();
    tokio::spawn(async move { server_node::maintain(&model).await })
}

/// Lets a server node end as by `kill -9`.
fn kill(node: &ModelUnit, task: JoinHandle<()>) {
    task.abort();
    node.records.suspend_process();
}

async fn count_nodes(node: &ModelUnit) -> usize {
    node.model.list_nodes().await.unwrap().len()
}

#[tokio::test(start_paused = true)]
async fn living_server_nodes_stay_whatever_their_clocks_show() {
    let (a, b) = two_nodes().await;
    let _tasks = [maintain(&a), maintain(&b)];
    sleep(Duration::from_secs(60)).await;
    let (first, second) = (a.model.node_id().unwrap(), b.model.node_id().unwrap());
    sleep(Duration::from_secs(600)).await;
    assert_eq!(a.model.node_id(), Some(first));
    assert_eq!(b.model.node_id(), Some(second));
    assert_eq!(count_nodes(&a).await, 2);
}

#[tokio::test(start_paused = true)]
async fn killed_server_node_is_removed_within_ten_seconds_but_not_before_six() {
    let (a, b) = two_nodes().await;
    let (task, _other) = (maintain(&a), maintain(&b));
    sleep(Duration::from_secs(60)).await;
    kill(&a, task);
    let elapsed = wait_until("a is dead", async || count_nodes(&b).await == 1).await;
    // The last renewal was up to two seconds before.
    assert!(
        elapsed >= DEAD_AFTER - Duration::from_secs(2),
        "{elapsed:?}"
    );
    assert!(elapsed < TAKEN_OVER_WITHIN, "{elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn suspended_server_node_registers_anew_and_has_no_claims() {
    let (a, b) = two_nodes().await;
    let _tasks = [maintain(&a), maintain(&b)];
    sleep(Duration::from_secs(5)).await;
    let key = keys::orphan_scan();
    let claim = a.model.acquire_claim(&key).await.unwrap().unwrap();
    assert!(b.model.acquire_claim(&key).await.unwrap().is_none());
    assert!(a.model.holds(&claim).await.unwrap());
    let before = a.model.node_id().unwrap();
    a.records.suspend_process();
    sleep(Duration::from_secs(20)).await;
    let taken = b.model.acquire_claim(&key).await.unwrap().unwrap();
    a.records.resume_process();
    // The first thing that it asks.
    assert!(!a.model.confirm_node(&before).await.unwrap());
    assert!(!a.model.holds(&claim).await.unwrap());
    assert!(!a.model.release_claim(&claim).await.unwrap());
    assert!(a.model.acquire_claim(&key).await.unwrap().is_none());
    assert!(b.model.holds(&taken).await.unwrap());
    sleep(Duration::from_secs(5)).await;
    assert_ne!(a.model.node_id(), Some(before));
    assert_eq!(count_nodes(&b).await, 2);
}

#[tokio::test(start_paused = true)]
async fn server_node_that_is_only_slow_keeps_its_claims() {
    let (a, b) = two_nodes().await;
    let _tasks = [maintain(&a), maintain(&b)];
    sleep(Duration::from_secs(5)).await;
    let id = a.model.node_id().unwrap();
    for _ in 0..5 {
        a.records.suspend_process();
        sleep(Duration::from_secs(3)).await;
        a.records.resume_process();
        assert!(a.model.confirm_node(&id).await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn server_nodes_outlive_a_store_that_is_away_for_longer_than_their_lease() {
    let (a, b) = two_nodes().await;
    let _tasks = [maintain(&a), maintain(&b)];
    sleep(Duration::from_secs(5)).await;
    let (first, second) = (a.model.node_id(), b.model.node_id());
    let key = keys::orphan_scan();
    let claim = a.model.acquire_claim(&key).await.unwrap().unwrap();
    // At different moments of what the second one does in a turn.
    for away_ms in [7_000, 20_300, 60_600, 61_900] {
        a.records.suspend_process();
        b.records.suspend_process();
        sleep(Duration::from_millis(away_ms)).await;
        // One of them reaches the store a little earlier.
        b.records.resume_process();
        sleep(Duration::from_millis(1_900)).await;
        a.records.resume_process();
        sleep(Duration::from_secs(5)).await;
        assert_eq!((a.model.node_id(), b.model.node_id()), (first, second));
    }
    assert!(a.model.holds(&claim).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn stopped_server_node_leaves_its_claims_at_once() {
    let (a, b) = two_nodes().await;
    let key = keys::orphan_scan();
    a.model.acquire_claim(&key).await.unwrap().unwrap();
    assert!(b.model.acquire_claim(&key).await.unwrap().is_none());
    a.model.leave().await.unwrap();
    assert!(b.model.acquire_claim(&key).await.unwrap().is_some());
    assert!(a.model.register_node().await.is_err());
    assert_eq!(count_nodes(&b).await, 1);
}

#[tokio::test(start_paused = true)]
async fn records_of_a_newer_program_are_refused_and_not_changed() {
    let (a, b) = two_nodes().await;
    let newer = serde_json::json!({ "d": server_node::DATA_VERSION + 1 });
    let mut batch = Batch::new();
    records::put(&mut batch, keys::node_agreement(), &newer).unwrap();
    a.model.store().commit(&Space::Unit, batch).await.unwrap();
    let refused = b.model.join_nodes().await.unwrap_err();
    assert!(matches!(refused, JoinError::NewerData { .. }), "{refused}");
    assert_eq!(count_nodes(&a).await, 0);
}

#[tokio::test(start_paused = true)]
async fn server_nodes_that_register_at_once_see_each_other() {
    let (a, b) = two_nodes().await;
    let other = b.model.clone();
    a.interrupt_next_commit(async move {
        other.register_node().await.unwrap();
    });
    let id = a.model.register_node().await.unwrap();
    // What was decided before the other one came was decided again.
    assert_eq!(a.records.commit_count(), 2);
    assert!(b.model.is_node_alive(&id).await.unwrap());
    assert_eq!(count_nodes(&b).await, 2);
}

#[tokio::test(start_paused = true)]
async fn starting_process_that_owns_its_store_removes_earlier_server_nodes() {
    let unit = ModelUnit::new().await;
    let before = unit.model.register_node().await.unwrap();
    let unit = unit.restart();
    let now = unit.model.register_node().await.unwrap();
    let nodes = unit.model.list_nodes().await.unwrap();
    assert_eq!(nodes.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [now]);
    assert!(!unit.model.is_node_alive(&before).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn process_that_owns_its_store_commits_nothing_while_it_is_idle() {
    let unit = ModelUnit::new().await;
    server_node::maintain(&unit.model).await;
    unit.interrupt_commit(usize::MAX, async {});
    server_node::maintain(&unit.model).await;
    let id = unit.model.node_id().unwrap();
    sleep(Duration::from_secs(100)).await;
    assert!(unit.model.confirm_node(&id).await.unwrap());
    assert_eq!(unit.records.commit_count(), 0);
}

/// A collection with a file, whose removal this server node has committed and not followed by a collection.
async fn unlink_without_collecting(node: &ModelUnit) -> usize {
    let context = node.context().await;
    let mark = garbage_collection::mark_pending(&node.model, &context)
        .await
        .unwrap();
    let resource = node.resource("col").await;
    let target = resource.locate().await.unwrap();
    let mut batch = Batch::new();
    mark.assert_in(&mut batch);
    batch.delete(target.node().key.clone());
    garbage_collection::add_record(&mut batch, target.node().value()).unwrap();
    context.records().commit(batch).await.unwrap();
    count_garbage(node).await
}

async fn count_garbage(node: &ModelUnit) -> usize {
    let records = node.model.cell_records(&node.context().await.cell().id);
    let found = records.count(&keys::garbage_records()).await;
    usize::try_from(found.unwrap()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn garbage_of_a_killed_server_node_is_collected_within_ten_seconds() {
    let (a, b) = two_nodes().await;
    a.create_odata_collection("col").await;
    let (task, _other) = (maintain(&a), maintain(&b));
    sleep(Duration::from_secs(5)).await;
    assert_eq!(unlink_without_collecting(&a).await, 1);
    b.model.take_over_garbage_collection().await.unwrap();
    sleep(Duration::from_secs(5)).await;
    assert_eq!(count_garbage(&b).await, 1, "a is alive");
    kill(&a, task);
    let elapsed = wait_until("the garbage is collected", async || {
        b.model.take_over_garbage_collection().await.unwrap();
        count_garbage(&b).await == 0
    });
    assert!(elapsed.await < TAKEN_OVER_WITHIN);
    let markers = keys::garbage_markers().range;
    wait_until("the marker is removed", async || {
        b.model.records().is_empty(&markers).await.unwrap()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn batch_that_comes_after_its_claim_was_taken_over_is_refused() {
    let (a, b) = two_nodes().await;
    a.create_odata_collection("col").await;
    let (_task, _other) = (maintain(&a), maintain(&b));
    sleep(Duration::from_secs(5)).await;
    let context = a.context().await;
    let mark = garbage_collection::mark_pending(&a.model, &context)
        .await
        .unwrap();
    a.records.suspend_process();
    sleep(Duration::from_secs(20)).await;
    // Nothing is to be collected: the claim is removed.
    b.model.resume_garbage_collection().await.unwrap();
    let markers = keys::garbage_markers().range;
    assert!(b.model.records().is_empty(&markers).await.unwrap());
    a.records.resume_process();
    let mut batch = Batch::new();
    mark.assert_in(&mut batch);
    batch.put(keys::garbage_record(&context_node(&a).await), "");
    let late = context.records().commit(batch).await;
    assert!(matches!(late, Err(personium_store::StoreError::Conflict)));
}

async fn context_node(node: &ModelUnit) -> personium_types::NodeId {
    node.resource_id("col").await
}

#[tokio::test(start_paused = true)]
async fn cell_that_a_living_server_node_creates_is_not_collected() {
    let (a, b) = two_nodes().await;
    let (_task, _other) = (maintain(&a), maintain(&b));
    sleep(Duration::from_secs(5)).await;
    let starting = a.server_node(-HOUR_MS);
    let (other, third) = (b.clone(), starting.clone());
    // Between the creation of the space and the batch that adds the cell to the catalogue.
    a.interrupt_commit(1, async move {
        for node in [other, third] {
            let markers = keys::removed_cells();
            let marked = node.model.list_marked_cells(&markers).await.unwrap();
            assert_eq!(marked.len(), 1);
            node.model.resume_garbage_collection().await.unwrap();
        }
    });
    a.create_cell("new").await;
    assert!(b.find_cell("new").await.is_some());
    let cell = b.find_cell("new").await.unwrap();
    let root = personium_model::odata::ServiceRoot::of_cell(b.model.clone(), cell);
    create(&root, "Box", r#"{"Name":"works"}"#).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn space_that_a_dead_server_node_left_is_removed_and_never_used() {
    let (a, b) = two_nodes().await;
    let (task, _other) = (maintain(&a), maintain(&b));
    sleep(Duration::from_secs(5)).await;
    let (reached, is_reached) = tokio::sync::oneshot::channel();
    let records = a.records.clone();
    a.interrupt_commit(1, async move {
        records.suspend_process();
        reached.send(()).unwrap();
    });
    let root = personium_model::odata::ServiceRoot::of_unit(a.model.clone());
    let creating = tokio::spawn(async move { create(&root, "Cell", r#"{"Name":"new"}"#).await });
    is_reached.await.unwrap();
    task.abort();
    let markers = keys::removed_cells();
    let elapsed = wait_until("the space is removed", async || {
        b.model.take_over_garbage_collection().await.unwrap();
        b.model.records().is_empty(&markers.range).await.unwrap()
    });
    assert!(elapsed.await < TAKEN_OVER_WITHIN);
    // It was only suspended.
    a.records.resume_process();
    // The creation begins again, with another space.
    let created = creating.await.unwrap().unwrap();
    let cell = b.find_cell("new").await.unwrap();
    assert_eq!(cell.cell().id.to_string(), created.id);
    let root = personium_model::odata::ServiceRoot::of_cell(b.model.clone(), cell);
    create(&root, "Box", r#"{"Name":"works"}"#).await.unwrap();
    assert!(b.model.records().is_empty(&markers.range).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn orphaned_body_is_removed_by_one_server_node_an_hour_after_it_was_found() {
    let (a, b) = two_nodes().await;
    let (_task, _other) = (maintain(&a), maintain(&b));
    sleep(Duration::from_secs(5)).await;
    let space = a.space().await;
    put_body(&a, &space).await;
    let scan = async |node: &ModelUnit| {
        let scanned = node
            .model
            .collect_orphaned_blobs(Duration::ZERO, Duration::ZERO);
        scanned.await.unwrap()
    };
    assert_eq!(scan(&a).await, 0, "it may belong to an upload of b");
    assert_eq!(scan(&b).await, 0, "a scans");
    sleep(Duration::from_secs(3_500)).await;
    assert_eq!(scan(&a).await, 0);
    sleep(Duration::from_secs(200)).await;
    assert_eq!(scan(&b).await, 0);
    assert_eq!(scan(&a).await, 1);
}

/// Uploads what is too large for a record, and returns it before it gets its file.
async fn upload(resource: &Resource, node: &ModelUnit, byte: u8) -> (CheckedPut, ReceivedBody) {
    let target = resource.locate().await.unwrap();
    let checked = file::check_put(resource, target).await.unwrap();
    let mut upload = Upload::new(&node.model, resource);
    upload.write(vec![byte; 1 << 20].into()).await.unwrap();
    let received = upload.finish(FileHeaders::default()).await;
    (checked, received.unwrap())
}

#[tokio::test(start_paused = true)]
async fn upload_of_a_process_that_was_suspended_until_its_body_was_removed_gets_no_file() {
    let (a, b) = two_nodes().await;
    let task = maintain(&b);
    let resource = a.resource("f").await;
    let (checked, former) = upload(&resource, &a, b'a').await;
    file::put(&resource, checked, former).await.unwrap();
    let (checked, late) = upload(&resource, &a, b'b').await;
    let (_, early) = upload(&resource, &a, b'c').await;
    let scan = async || {
        let scanned = b
            .model
            .collect_orphaned_blobs(Duration::ZERO, Duration::ZERO);
        scanned.await.unwrap()
    };
    assert_eq!(scan().await, 0);
    sleep(Duration::from_secs(3_500)).await;
    let other = a.resource("other").await;
    let not_yet = file::check_put(&other, other.locate().await.unwrap()).await;
    file::put(&other, not_yet.unwrap(), early).await.unwrap();
    sleep(Duration::from_secs(200)).await;
    assert_eq!(scan().await, 1, "only that without a file");
    let refused = file::put(&resource, checked, late).await;
    assert_eq!(refused.unwrap_err().code(), Code::Conflict);
    for (name, byte) in [("f", b'a'), ("other", b'c')] {
        let resource = b.resource(name).await;
        let target = resource.locate().await.unwrap();
        let FileContent::Chunks(mut reader) = file::open(&resource, &target).await.unwrap().content
        else {
            unreachable!("the body is large");
        };
        assert_eq!(reader.read_at(0, 1).await.unwrap()[0], byte, "{name}");
    }
    task.abort();
}

async fn put_body(node: &ModelUnit, space: &Space) {
    let mut writer = node.model.blobs().create(space).await.unwrap();
    writer.write("an upload".into()).await.unwrap();
    writer.finish().await.unwrap();
}
