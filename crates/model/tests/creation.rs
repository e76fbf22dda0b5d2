//! Creations in OData collections while somebody removes the collection or its type: nothing is left behind that
//! nobody can see, and creations do not get in each other's way.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use parking_lot::Mutex;
use personium_model::acl::Acl;
use personium_model::auth::Keys;
use personium_model::node::Kind;
use personium_model::odata::{self, Creation, Entity, Root, accept};
use personium_model::unit::Ports;
use personium_model::{Access, Identity, Resource, Settings, Unit, UnitUrls, collection};
use personium_odata::body::{Intent, Route};
use personium_odata::etag::IfMatch;
use personium_odata::key::EntityKey;
use personium_store::memory::{MemoryBlobs, MemoryCache, MemoryRecords};
use personium_store::{
    Batch, Direction, Key, KeyRange, Limit, Record, RecordStore, Result as StoreResult, Space,
    Stamp,
};
use personium_types::{Clock, Code, NodeId, Result};

static KEYS: LazyLock<Arc<Keys>> = LazyLock::new(|| {
    Arc::new(
        Keys::self_signed("unit.example", "a secret of these tests", 1_700_000_000_000).unwrap(),
    )
});

struct Ticks(AtomicI64);

impl Clock for Ticks {
    fn now_ms(&self) -> i64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}

type Interruption = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Records that let something else happen between what a change reads and its commit.
#[derive(Default)]
struct Interrupted {
    records: MemoryRecords,
    before_commit: Mutex<Option<Interruption>>,
    commits: AtomicUsize,
}

#[async_trait]
impl RecordStore for Interrupted {
    async fn get(&self, space: &Space, keys: &[Key]) -> StoreResult<Vec<Option<Record>>> {
        self.records.get(space, keys).await
    }

    async fn scan(
        &self,
        space: &Space,
        range: &KeyRange,
        order: Direction,
        limit: Limit,
    ) -> StoreResult<Vec<(Key, Record)>> {
        self.records.scan(space, range, order, limit).await
    }

    async fn count(&self, space: &Space, range: &KeyRange) -> StoreResult<u64> {
        self.records.count(space, range).await
    }

    async fn commit(&self, space: &Space, batch: Batch) -> StoreResult<Stamp> {
        let interruption = self.before_commit.lock().take();
        if let Some(interruption) = interruption {
            interruption.await;
        }
        self.commits.fetch_add(1, Ordering::SeqCst);
        self.records.commit(space, batch).await
    }

    async fn drop_space(&self, space: &Space) -> StoreResult<()> {
        self.records.drop_space(space).await
    }

    async fn check(&self) -> StoreResult<()> {
        self.records.check().await
    }

    async fn close(&self) -> StoreResult<()> {
        self.records.close().await
    }
}

/// A unit with the cell `c` and the box `b`.
#[derive(Clone)]
struct World {
    unit: Arc<Unit>,
    records: Arc<Interrupted>,
}

impl World {
    async fn new() -> Self {
        let records = Arc::new(Interrupted::default());
        let ports = Ports {
            records: records.clone(),
            blobs: Arc::new(MemoryBlobs::new()),
            cache: Arc::new(MemoryCache::new(1 << 20)),
            clock: Arc::new(Ticks(AtomicI64::new(1_700_000_000_000))),
        };
        let urls = UnitUrls::new("http", "unit.example", None, true);
        let unit = Arc::new(Unit::new(ports, urls, Settings::default(), KEYS.clone()));
        let world = Self { unit, records };
        let root = Root::unit(world.unit.clone());
        create(&root, "Cell", r#"{"Name":"c"}"#).await.unwrap();
        let view = world.unit.find_cell("c").await.unwrap().unwrap();
        let root = Root::cell(world.unit.clone(), view);
        create(&root, "Box", r#"{"Name":"b"}"#).await.unwrap();
        world
    }

    /// As [`World::new`], with an OData collection that has an entity type.
    async fn with_type() -> Self {
        let world = Self::new().await;
        world.mkcol("od").await;
        let root = world.schema("od").await;
        create(&root, "EntityType", r#"{"Name":"T"}"#)
            .await
            .unwrap();
        world
    }

    async fn resource(&self, name: &str) -> Resource {
        Resource {
            unit: self.unit.clone(),
            view: self.unit.find_cell("c").await.unwrap().unwrap(),
            access: Access::of(Identity::UnitMaster),
            box_name: "b".to_owned(),
            segments: vec![name.to_owned()],
            url: format!("http://unit.example/c/b/{name}"),
        }
    }

    async fn mkcol(&self, name: &str) {
        let resource = self.resource(name).await;
        collection::create(&resource, Kind::Odata).await.unwrap();
    }

    async fn schema(&self, name: &str) -> Root {
        let resource = self.resource(name).await;
        let target = resource.locate().await.unwrap();
        Root::schema(self.unit.clone(), resource.view, target.node())
    }

    async fn data(&self, name: &str) -> Root {
        let resource = self.resource(name).await;
        let target = resource.locate().await.unwrap();
        let root = Root::data(self.unit.clone(), resource.view, target.node());
        root.await.unwrap()
    }

    async fn id(&self, name: &str) -> NodeId {
        let target = self.resource(name).await.locate().await.unwrap();
        target.node().value().id
    }

    /// Removes a collection with everything in it, and waits until it is swept.
    async fn remove(&self, name: &str) {
        let resource = self.resource(name).await;
        collection::remove(&resource, true).await.unwrap();
        self.unit.resume_sweeps().await.unwrap();
    }

    /// Lets this happen before the next commit.
    fn interrupt(&self, by: impl Future<Output = ()> + Send + 'static) {
        *self.records.before_commit.lock() = Some(Box::pin(by));
        self.records.commits.store(0, Ordering::SeqCst);
    }

    /// How often something was committed, or tried to, since the interruption was set.
    fn commits(&self) -> usize {
        self.records.commits.load(Ordering::SeqCst)
    }

    /// Records of the cell whose key names this collection.
    async fn traces(&self, id: &NodeId) -> usize {
        let cell = self.unit.find_cell("c").await.unwrap().unwrap().cell().id;
        let everything = KeyRange {
            start: Key::from_bytes(Vec::new()),
            end: None,
        };
        let found = self
            .records
            .scan(
                &Space::Cell(cell),
                &everything,
                Direction::Up,
                Limit::records(1 << 20),
            )
            .await
            .unwrap();
        let text = id.to_string();
        let names = |key: &[u8]| {
            key.windows(16).any(|part| part == id.as_bytes())
                || key.windows(text.len()).any(|part| part == text.as_bytes())
        };
        found
            .iter()
            .filter(|(key, _)| names(key.as_bytes()))
            .count()
    }
}

/// Creates an entity; anew if the schema changed meanwhile.
async fn create(root: &Root, set: &str, body: &str) -> Result<Entity> {
    let mut root = root.clone();
    loop {
        match create_once(&root, set, body).await {
            Err(e) if e.code() == Code::Conflict && root.is_outdated().await? => {
                root = root.reloaded().await?;
            }
            made => return made,
        }
    }
}

async fn create_once(root: &Root, set: &str, body: &str) -> Result<Entity> {
    let set = root.set(set)?;
    let accepted = accept(root, &set, body.as_bytes(), Intent::Create, Route::Direct).await?;
    let creation = Creation {
        set,
        accepted,
        hidden: BTreeMap::new(),
        linked: None,
        exists: Code::EntityExists,
    };
    let permit = Access::server_permit();
    let mut made = odata::create(root, &permit, &[creation]).await?;
    made.remove(0)
}

#[tokio::test]
async fn nothing_is_created_in_a_collection_that_is_removed_meanwhile() {
    for body in [r#"{"__id":"e"}"#, r#"{"__id":"e","undeclared":1}"#] {
        let world = World::with_type().await;
        let (root, id) = (world.data("od").await, world.id("od").await);
        let other = world.clone();
        world.interrupt(async move { other.remove("od").await });
        let refusal = create(&root, "T", body).await.unwrap_err();
        assert!(
            matches!(refusal.code(), Code::NoSuchSet | Code::NoSuchResource),
            "{refusal}"
        );
        world.unit.resume_sweeps().await.unwrap();
        assert_eq!(world.traces(&id).await, 0, "{body}");
    }
}

#[tokio::test]
async fn no_schema_is_created_in_a_collection_that_is_removed_meanwhile() {
    for (set, body) in [
        ("EntityType", r#"{"Name":"T"}"#),
        ("ComplexType", r#"{"Name":"C"}"#),
    ] {
        let world = World::new().await;
        world.mkcol("od").await;
        let (root, id) = (world.schema("od").await, world.id("od").await);
        let other = world.clone();
        world.interrupt(async move {
            let resource = other.resource("od").await;
            collection::remove(&resource, false).await.unwrap();
        });
        let refusal = create(&root, set, body).await.unwrap_err();
        assert_eq!(refusal.code(), Code::NoSuchResource, "{set}");
        assert_eq!(world.traces(&id).await, 0, "{set}");
    }
}

#[tokio::test]
async fn a_new_collection_of_the_same_name_is_another_one() {
    let world = World::with_type().await;
    let (schema, data) = (world.schema("od").await, world.data("od").await);
    let old = world.id("od").await;
    let other = world.clone();
    world.interrupt(async move {
        other.remove("od").await;
        other.mkcol("od").await;
    });
    let refusal = create(&schema, "EntityType", r#"{"Name":"U"}"#).await;
    assert_eq!(refusal.unwrap_err().code(), Code::NoSuchResource);
    assert!(create(&data, "T", r#"{"__id":"e"}"#).await.is_err());
    assert_eq!(world.traces(&old).await, 0);
    assert!(world.data("od").await.edm().entity_types().is_empty());
}

#[tokio::test]
async fn nothing_is_created_of_a_type_that_is_removed_meanwhile() {
    let world = World::with_type().await;
    let root = world.data("od").await;
    let other = world.clone();
    world.interrupt(async move {
        let root = other.schema("od").await;
        let set = root.set("EntityType").unwrap();
        let key = EntityKey::single("T");
        let permit = Access::server_permit();
        odata::delete(&root, &permit, &set, &key, IfMatch::Any, &|_| Ok(()))
            .await
            .unwrap();
    });
    let refusal = create(&root, "T", r#"{"__id":"e"}"#).await.unwrap_err();
    assert_eq!(refusal.code(), Code::NoSuchSet);
    let id = world.id("od").await;
    world.remove("od").await;
    assert_eq!(world.traces(&id).await, 0);
}

#[tokio::test]
async fn creations_do_not_get_in_each_others_way() {
    let world = World::with_type().await;
    let root = world.data("od").await;
    let other = root.clone();
    world.interrupt(async move {
        create(&other, "T", r#"{"__id":"first"}"#).await.unwrap();
    });
    create(&root, "T", r#"{"__id":"second"}"#).await.unwrap();
    assert_eq!(world.commits(), 2);
}

#[tokio::test]
async fn a_collection_that_only_changed_takes_the_creation() {
    let world = World::with_type().await;
    let root = world.data("od").await;
    let other = world.clone();
    world.interrupt(async move {
        let resource = other.resource("od").await;
        let acl = Acl::default();
        personium_model::properties::set_acl(&resource, &acl)
            .await
            .unwrap();
    });
    create(&root, "T", r#"{"__id":"e"}"#).await.unwrap();
    assert_eq!(world.commits(), 3);
}

/// Deletes an entity by its name or id.
async fn delete(root: &Root, set: &str, name: &str) -> Result<Entity> {
    let (set, key) = (root.set(set)?, EntityKey::single(name));
    let permit = Access::server_permit();
    odata::delete(root, &permit, &set, &key, IfMatch::Any, &|_| Ok(())).await
}

async fn link(root: &Root, from: (&str, &str), to: (&str, &str)) -> Result<()> {
    let set = root.set(from.0)?;
    let association = root.association(&set, &format!("_{}", to.0)).unwrap();
    let (from, to) = (EntityKey::single(from.1), EntityKey::single(to.1));
    odata::add_link(root, &Access::server_permit(), &association, &from, &to).await
}

#[tokio::test]
async fn a_link_that_comes_while_an_end_is_deleted_goes_with_it() {
    let world = World::new().await;
    let view = world.unit.find_cell("c").await.unwrap().unwrap();
    let root = Root::cell(world.unit.clone(), view);
    for (set, name) in [
        ("Role", "r"),
        ("ExtCell", "http://a.example/x/"),
        ("ExtCell", "http://b.example/x/"),
    ] {
        let member = if set == "Role" { "Name" } else { "Url" };
        create(&root, set, &format!("{{\"{member}\":\"{name}\"}}"))
            .await
            .unwrap();
    }
    link(&root, ("Role", "r"), ("ExtCell", "http://a.example/x/"))
        .await
        .unwrap();
    let other = root.clone();
    world.interrupt(async move {
        link(&other, ("ExtCell", "http://b.example/x/"), ("Role", "r"))
            .await
            .unwrap();
    });
    let gone = delete(&root, "Role", "r").await.unwrap();
    assert_eq!(world.traces(&gone.id.parse().unwrap()).await, 0);
    assert_eq!(world.commits(), 3);
}

#[tokio::test]
async fn a_property_that_comes_while_its_type_is_deleted_keeps_it() {
    let world = World::with_type().await;
    let root = world.schema("od").await;
    let other = root.clone();
    world.interrupt(async move {
        let body = r#"{"Name":"p","_EntityType.Name":"T","Type":"Edm.String"}"#;
        create(&other, "Property", body).await.unwrap();
    });
    let refusal = delete(&root, "EntityType", "T").await.unwrap_err();
    assert_eq!(refusal.code(), Code::HasRelated);
    assert!(world.data("od").await.set("T").is_ok());
}

#[tokio::test]
async fn what_comes_to_a_part_of_a_box_that_is_removed_goes_with_it() {
    let world = World::new().await;
    let view = world.unit.find_cell("c").await.unwrap().unwrap();
    let root = Root::cell(world.unit.clone(), view.clone());
    let body = r#"{"Name":"rel","_Box.Name":"b"}"#;
    let relation = create(&root, "Relation", body).await.unwrap();
    let (boxes, key) = (root.set("Box").unwrap(), EntityKey::single("b"));
    let found = odata::find(&root, &boxes, &key).await.unwrap().unwrap();
    let id: NodeId = found.id.parse().unwrap();
    let (other, again) = (root.clone(), world.clone());
    let made = Arc::new(Mutex::new(None));
    let kept = made.clone();
    // The first commit announces the removal, the second one removes the relation.
    world.interrupt(async move {
        again.interrupt(async move {
            let body = r#"{"ExtRole":"http://a.example/x/__role/__/r","_Relation.Name":"rel","_Relation._Box.Name":"b"}"#;
            let role = create(&other, "ExtRole", body).await.unwrap();
            *kept.lock() = Some(role.id);
        });
    });
    let permit = Access::server_permit();
    odata::remove_box(&world.unit, &view, &permit, &id)
        .await
        .unwrap();
    world.unit.resume_sweeps().await.unwrap();
    let made = made.lock().take().unwrap();
    for gone in [made, relation.id] {
        assert_eq!(world.traces(&gone.parse().unwrap()).await, 0, "{gone}");
    }
}
