//! A unit in memory for tests, whose commits can be interrupted.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "each test uses a part of it"
)]

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use personium_model::credentials::UnitKeys;
use personium_model::event::{self, Event};
use personium_model::node::Kind;
use personium_model::odata::{self, Change, Creation, Entity, ServiceRoot, accept};
use personium_model::unit::Ports;
use personium_model::{
    Access, CellContext, Identity, Permit, PermitTarget, Resource, ServerAuthority, Settings, Unit,
    UnitUrls, collection,
};
use personium_odata::body::{Intent, Route};
use personium_odata::conditions::IfMatch;
use personium_odata::key::EntityKey;
use personium_store::memory::{MemoryBlobs, MemoryCache, MemoryRecords};
use personium_store::{
    Batch, CommitSeq, Direction, ErrorDetail, Key, KeyRange, Limit, Record, RecordStore,
    Result as StoreResult, Space, StoreError, WriteFence,
};
use personium_types::{Clock, Code, NodeId, Operation, Result, SystemRandom};
use tokio::sync::oneshot;

static KEYS: LazyLock<Arc<UnitKeys>> = LazyLock::new(|| {
    Arc::new(
        UnitKeys::self_signed("unit.example", "a secret of these tests", 1_700_000_000_000)
            .unwrap(),
    )
});

/// A clock that advances by one millisecond whenever it is read.
#[derive(Debug)]
struct TickingClock {
    start: Instant,
    ticks: AtomicU32,
}

impl TickingClock {
    fn tick(&self) -> u32 {
        self.ticks.fetch_add(1, Ordering::SeqCst)
    }
}

impl Clock for TickingClock {
    fn now_ms(&self) -> i64 {
        1_700_000_000_000 + i64::from(self.tick())
    }

    fn monotonic(&self) -> Instant {
        self.start + Duration::from_millis(self.tick().into())
    }
}

type Interruption = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What happens in between, and how many calls are left before that.
#[derive(Default)]
struct Planned(Mutex<Option<(usize, Interruption)>>);

impl Planned {
    async fn happen(&self) {
        let due = match &mut *self.0.lock() {
            Some((left @ 1.., _)) => {
                *left -= 1;
                None
            }
            planned => planned.take(),
        };
        if let Some((_, interruption)) = due {
            interruption.await;
        }
    }
}

/// Records that let something else happen between what a change reads and its commit.
#[derive(Default)]
pub struct Interrupted {
    records: MemoryRecords,
    before_commit: Planned,
    before_fence: Planned,
    after_get: Planned,
    held: Mutex<Option<(Space, Interruption)>>,
    commits: AtomicUsize,
    /// Whether the next commit fails, though it is done.
    fails: AtomicBool,
    /// A space that cannot be read.
    damaged: Mutex<Option<Space>>,
}

impl Interrupted {
    fn check_damage(&self, space: &Space) -> StoreResult<()> {
        match *self.damaged.lock() == Some(*space) {
            true => Err(StoreError::Corrupt(ErrorDetail::new("the disk failed"))),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl RecordStore for Interrupted {
    async fn get(&self, space: &Space, keys: &[Key]) -> StoreResult<Vec<Option<Record>>> {
        self.check_damage(space)?;
        let found = self.records.get(space, keys).await;
        self.after_get.happen().await;
        found
    }

    async fn scan(
        &self,
        space: &Space,
        range: &KeyRange,
        order: Direction,
        limit: Limit,
    ) -> StoreResult<Vec<(Key, Record)>> {
        self.check_damage(space)?;
        self.records.scan(space, range, order, limit).await
    }

    async fn count(&self, space: &Space, range: &KeyRange) -> StoreResult<u64> {
        self.records.count(space, range).await
    }

    async fn commit(&self, space: &Space, batch: Batch) -> StoreResult<CommitSeq> {
        self.before_commit.happen().await;
        self.commits.fetch_add(1, Ordering::SeqCst);
        let done = self.records.commit(space, batch).await;
        let held = self.held.lock().take_if(|(of, _)| of == space);
        if let Some((_, until)) = held {
            until.await;
        }
        if self.fails.swap(false, Ordering::SeqCst) {
            return Err(StoreError::Down(ErrorDetail::new("the disk failed")));
        }
        done
    }

    async fn fence(&self, space: &Space, empty: &[KeyRange]) -> StoreResult<WriteFence> {
        self.before_fence.happen().await;
        self.records.fence(space, empty).await
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

fn start(records: &Arc<Interrupted>) -> Arc<Unit> {
    let clock = Arc::new(TickingClock {
        start: Instant::now(),
        ticks: AtomicU32::new(0),
    });
    let random = Arc::new(SystemRandom::new());
    let ports = Ports {
        records: records.clone(),
        blobs: Arc::new(MemoryBlobs::new(clock.clone(), random.clone())),
        cache: Arc::new(MemoryCache::new(1 << 20)),
        clock,
        random,
    };
    let urls = UnitUrls::new("http", "unit.example", None, true);
    let (unit, server) = Unit::new(ports, urls, Settings::default(), KEYS.clone());
    SERVER.get_or_init(|| server);
    Arc::new(unit)
}

static SERVER: OnceLock<ServerAuthority> = OnceLock::new();

/// The authority of the server, once a unit was started.
pub fn server() -> &'static ServerAuthority {
    SERVER.get().unwrap()
}

/// A permit of the server for a cell itself.
pub fn cell_permit(context: &CellContext, operation: Operation) -> Permit {
    server().permit(operation, PermitTarget::Cell(context.cell().id))
}

/// A permit of the server for the removal of a box.
pub fn removal_permit(context: &CellContext, node: NodeId) -> Permit {
    let cell = context.cell().id;
    server().permit(Operation::RemoveBox, PermitTarget::Node { cell, node })
}

/// A unit with the cell `c` and the box `b`.
#[derive(Clone)]
pub struct World {
    pub unit: Arc<Unit>,
    pub records: Arc<Interrupted>,
}

impl World {
    pub async fn new() -> Self {
        let records = Arc::new(Interrupted::default());
        let world = Self {
            unit: start(&records),
            records,
        };
        world.make_cell("c").await;
        let root = world.cell().await;
        create(&root, "Box", r#"{"Name":"b"}"#).await.unwrap();
        world
    }

    /// The same records after a restart of the unit.
    pub fn restart(&self) -> Self {
        Self {
            unit: start(&self.records),
            records: self.records.clone(),
        }
    }

    /// Makes a cell.
    pub async fn make_cell(&self, name: &str) {
        let root = ServiceRoot::of_unit(self.unit.clone());
        let body = format!(r#"{{"Name":"{name}"}}"#);
        create(&root, "Cell", &body).await.unwrap();
    }

    /// As [`World::new`], with an OData collection that has an entity type.
    pub async fn with_type() -> Self {
        let world = Self::new().await;
        world.mkcol("od").await;
        let root = world.schema("od").await;
        create(&root, "EntityType", r#"{"Name":"T"}"#)
            .await
            .unwrap();
        world
    }

    pub async fn resource(&self, name: &str) -> Resource {
        Resource {
            unit: self.unit.clone(),
            context: self.context().await,
            access: self.access(),
            box_name: "b".to_owned(),
            box_id: None,
            segments: vec![name.to_owned()],
            url: format!("http://unit.example/c/b/{name}"),
        }
    }

    pub fn access(&self) -> Access {
        Access::of(Identity::UnitMaster)
    }

    pub async fn mkcol(&self, name: &str) {
        let resource = self.resource(name).await;
        collection::create(&resource, Kind::Odata).await.unwrap();
    }

    pub async fn schema(&self, name: &str) -> ServiceRoot {
        let resource = self.resource(name).await;
        let target = resource.locate().await.unwrap();
        ServiceRoot::of_schema(self.unit.clone(), resource.context, target.node())
    }

    pub async fn data(&self, name: &str) -> ServiceRoot {
        let resource = self.resource(name).await;
        let target = resource.locate().await.unwrap();
        let root = ServiceRoot::of_data(self.unit.clone(), resource.context, target.node());
        root.await.unwrap()
    }

    pub async fn id(&self, name: &str) -> NodeId {
        let target = self.resource(name).await.locate().await.unwrap();
        target.node().value().id
    }

    /// Removes a collection with everything in it, and waits until it is swept.
    pub async fn remove(&self, name: &str) {
        let resource = self.resource(name).await;
        collection::remove(&resource, true).await.unwrap();
        self.unit.resume_sweeps().await.unwrap();
    }

    /// Lets this happen before the next commit.
    pub fn interrupt(&self, by: impl Future<Output = ()> + Send + 'static) {
        self.interrupt_at(0, by);
        self.records.commits.store(0, Ordering::SeqCst);
    }

    /// Lets this happen before the n-th commit from now, counted from 0.
    pub fn interrupt_at(&self, commit: usize, by: impl Future<Output = ()> + Send + 'static) {
        *self.records.before_commit.0.lock() = Some((commit, Box::pin(by)));
    }

    /// Lets this happen before a space is fenced.
    pub fn interrupt_fence(&self, by: impl Future<Output = ()> + Send + 'static) {
        *self.records.before_fence.0.lock() = Some((0, Box::pin(by)));
    }

    /// Lets this happen after the next read of single records.
    pub fn interrupt_after_get(&self, by: impl Future<Output = ()> + Send + 'static) {
        *self.records.after_get.0.lock() = Some((0, Box::pin(by)));
    }

    /// Lets the next commit fail after it is done, as if the disk had failed while it was told so.
    pub fn fail(&self) {
        self.records.fails.store(true, Ordering::SeqCst);
    }

    /// Lets every read of this space fail, or of none.
    pub fn damage(&self, space: Option<Space>) {
        *self.records.damaged.lock() = space;
    }

    /// How often something was committed, or tried to, since the interruption was set.
    pub fn commits(&self) -> usize {
        self.records.commits.load(Ordering::SeqCst)
    }

    /// Gives up a request when the next commit of this space is done, before its answer is there. Returns when nothing
    /// of it goes on.
    pub async fn abandon<T>(&self, space: Space, request: impl Future<Output = T>) {
        let (reached, is_reached) = oneshot::channel();
        let (let_go, may_go) = oneshot::channel();
        let until = async move {
            reached.send(()).unwrap();
            may_go.await.unwrap();
        };
        *self.records.held.lock() = Some((space, Box::pin(until)));
        tokio::select! {
            _ = request => panic!("the request was answered"),
            is_reached = is_reached => is_reached.unwrap(),
        }
        // Whoever waits for the commit may be gone with the request.
        let _ = let_go.send(());
        self.unit.finish_commits().await;
    }

    pub async fn context(&self) -> Arc<CellContext> {
        self.find("c").await.unwrap()
    }

    pub async fn find(&self, name: &str) -> Option<Arc<CellContext>> {
        self.unit.find_cell(name).await.unwrap()
    }

    pub async fn space(&self) -> Space {
        Space::Cell(self.context().await.cell().id)
    }

    pub async fn cell(&self) -> ServiceRoot {
        ServiceRoot::of_cell(self.unit.clone(), self.context().await)
    }

    pub async fn rename(&self, to: &str) -> Result<()> {
        let root = ServiceRoot::of_unit(self.unit.clone());
        let set = root.set("Cell")?;
        let body = format!(r#"{{"Name":"{to}"}}"#);
        let change = Change {
            accepted: accept(&root, &set, body.as_bytes(), Intent::Merge, Route::Direct).await?,
            intent: Intent::Merge,
            hidden: Default::default(),
            if_match: IfMatch::Any,
        };
        let permit = server().permit_write(&root, &set);
        let key = EntityKey::single("c");
        odata::update(&root, &permit, &set, &key, &change, &|_| Ok(())).await?;
        Ok(())
    }

    /// Makes a rule of the cell that relays every event from outside; its id.
    pub async fn relay(&self, root: &ServiceRoot) -> String {
        let rule =
            r#"{"Name":"r","EventExternal":true,"Action":"relay","TargetUrl":"http://x.example/"}"#;
        create(root, "Rule", rule).await.unwrap().id
    }

    /// Posts an event whose type is the name of the cell.
    pub async fn post(&self, context: &CellContext) {
        let event = Event {
            external: true,
            schema: None,
            subject: None,
            account: None,
            kind: Some(context.cell().name.clone()),
            object: None,
            info: None,
            request_key: None,
            id: None,
            hops: Some(0),
            via: None,
            roles: Vec::new(),
        };
        let permit = cell_permit(context, Operation::PostEvent);
        event::post(&self.unit, context, &permit, event)
            .await
            .unwrap();
    }

    /// Removes an object of the unit or of the cell.
    pub async fn delete(&self, root: &ServiceRoot, set: &str, key: &EntityKey) -> Result<Entity> {
        let set = root.set(set)?;
        let permit = server().permit_write(root, &set);
        odata::delete(root, &permit, &set, key, IfMatch::Any, &|_| Ok(())).await
    }

    /// Records of the cell whose key names this collection.
    pub async fn traces(&self, id: &NodeId) -> usize {
        let cell = self.context().await.cell().id;
        let everything = KeyRange::all();
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
pub async fn create(root: &ServiceRoot, set: &str, body: &str) -> Result<Entity> {
    let mut root = root.clone();
    loop {
        match create_once(&root, set, body).await {
            Err(e) if e.code() == Code::Conflict && root.is_stale().await? => {
                root = root.reloaded().await?;
            }
            made => return made,
        }
    }
}

async fn create_once(root: &ServiceRoot, set: &str, body: &str) -> Result<Entity> {
    let set = root.set(set)?;
    let accepted = accept(root, &set, body.as_bytes(), Intent::Create, Route::Direct).await?;
    let permit = server().permit_write(root, &set);
    let creation = Creation {
        set,
        accepted,
        hidden: BTreeMap::new(),
        navigation: None,
        exists: Code::EntityExists,
    };
    let mut made = odata::create(root, &permit, &[creation]).await?;
    made.remove(0)
}
