//! The model on stores in memory, whose commits can be interrupted.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, LazyLock, OnceLock};

use personium_model::ServerAuthority;
use personium_model::auth::cell_key;
use personium_model::credentials::UnitKeys;
use personium_model::event::{self, Event, RuleChain};
use personium_model::locate::Prefetch;
use personium_model::node::NodeKind;
use personium_model::odata::{self, Change, Creation, Entity, EntityRef, ServiceRoot, validate};
use personium_model::unit::Ports;
use personium_model::{
    Access, CellContext, Identity, Permit, PermitTarget, Resource, Settings, Unit, UnitUrls,
    collection,
};
use personium_odata::body::{Intent, Route};
use personium_odata::key::EntityKey;
use personium_store::memory::{MemoryBlobs, MemoryCache};
use personium_store::{BlobStore, Direction, KeyRange, Limit, RecordStore, Space};
use personium_types::{Clock, Code, NodeId, Operation, Preconditions, Result, SystemRandom};

use crate::{CLOCK_START_MS, InterruptibleRecords, NodeClock, TickingClock};

/// Keys are generated once, because that takes longer than most tests.
static KEYS: LazyLock<Arc<UnitKeys>> = LazyLock::new(|| {
    let keys = UnitKeys::self_signed("unit.example", "a secret of these tests", CLOCK_START_MS);
    Arc::new(keys.unwrap())
});

static SERVER: OnceLock<ServerAuthority> = OnceLock::new();

/// The authority of the server, once a [`ModelUnit`] was started.
pub fn server_authority() -> &'static ServerAuthority {
    SERVER.get().unwrap()
}

/// A permit of the server for a cell itself.
#[must_use]
pub fn cell_permit(context: &CellContext, operation: Operation) -> Permit {
    server_authority().permit(operation, PermitTarget::Cell(context.cell().id))
}

/// A permit of the server for the removal of a box.
#[must_use]
pub fn box_removal_permit(context: &CellContext, node: NodeId) -> Permit {
    let cell = context.cell().id;
    server_authority().permit(Operation::RemoveBox, PermitTarget::Node { cell, node })
}

fn start(records: &Arc<InterruptibleRecords>) -> Arc<Unit> {
    let clock = Arc::new(TickingClock::default());
    let random = Arc::new(SystemRandom::new());
    let blobs = Arc::new(MemoryBlobs::new(clock.clone(), random));
    start_on(records.clone(), blobs, clock)
}

/// The model of a unit on these records, with its other stores in memory.
#[must_use]
pub fn model_on(records: Arc<dyn RecordStore>, clock: Arc<dyn Clock>) -> Arc<Unit> {
    let random = Arc::new(SystemRandom::new());
    let blobs = Arc::new(MemoryBlobs::new(Arc::clone(&clock), random));
    start_on(records, blobs, clock)
}

fn start_on(
    records: Arc<dyn RecordStore>,
    blobs: Arc<dyn BlobStore>,
    clock: Arc<dyn Clock>,
) -> Arc<Unit> {
    let random = Arc::new(SystemRandom::new());
    let ports = Ports {
        broker: None,
        records,
        blobs,
        cache: Arc::new(MemoryCache::new(1 << 20)),
        clock,
        random,
    };
    let urls = UnitUrls::new("http", "unit.example", None, true);
    let (unit, server) = Unit::new(ports, urls, Settings::default(), KEYS.clone());
    SERVER.get_or_init(|| server);
    Arc::new(unit)
}

/// A unit of the model with the cell `c` and the box `b`.
#[derive(Clone)]
pub struct ModelUnit {
    /// The unit of the model.
    pub model: Arc<Unit>,
    /// The records of the unit.
    pub records: Arc<InterruptibleRecords>,
}

impl ModelUnit {
    /// Starts a unit.
    pub async fn new() -> Self {
        let records = Arc::new(InterruptibleRecords::default());
        let unit = Self {
            model: start(&records),
            records,
        };
        unit.create_cell("c").await;
        let root = unit.cell_root().await;
        create(&root, "Box", r#"{"Name":"b"}"#).await.unwrap();
        unit
    }

    /// Starts a unit with the OData collection `od`, which has the entity type `T`.
    pub async fn with_entity_type() -> Self {
        let unit = Self::new().await;
        unit.create_odata_collection("od").await;
        let root = unit.schema_root("od").await;
        create(&root, "EntityType", r#"{"Name":"T"}"#)
            .await
            .unwrap();
        unit
    }

    /// Starts a server node of the unit on the same stores, which are shared then. Its wall time is ahead by so much. The unit itself
    /// should not be used any more.
    #[must_use]
    pub fn server_node(&self, ahead_ms: i64) -> Self {
        let records = Arc::new(self.records.for_other_node());
        let clock = Arc::new(NodeClock::new(ahead_ms));
        Self {
            model: start_on(records.clone(), self.model.blobs().clone(), clock),
            records,
        }
    }

    /// Starts a unit on the same records.
    #[must_use]
    pub fn restart(&self) -> Self {
        Self {
            model: start(&self.records),
            records: self.records.clone(),
        }
    }

    /// Runs an interruption before the n-th commit from now, counted from 0.
    pub fn interrupt_commit(&self, n: usize, by: impl Future<Output = ()> + Send + 'static) {
        self.records.interrupt_commit(n, by);
    }

    /// Runs an interruption before the next commit.
    pub fn interrupt_next_commit(&self, by: impl Future<Output = ()> + Send + 'static) {
        self.records.interrupt_commit(0, by);
    }

    /// Cancels a request when the next commit of this space is done, before its result is returned. Returns when all that
    /// follows the commit is done.
    pub async fn cancel_during_commit<T>(&self, space: Space, request: impl Future<Output = T>) {
        self.records.cancel_during_commit(space, request).await;
        self.model.finish_commits().await;
    }

    /// Creates a cell.
    pub async fn create_cell(&self, name: &str) {
        let root = ServiceRoot::of_unit(self.model.clone());
        let body = format!(r#"{{"Name":"{name}"}}"#);
        create(&root, "Cell", &body).await.unwrap();
    }

    /// Renames the cell `c`.
    ///
    /// # Errors
    /// As [`odata::update`].
    pub async fn rename_cell(&self, to: &str) -> Result<()> {
        let root = ServiceRoot::of_unit(self.model.clone());
        let set = root.set("Cell")?;
        let body = format!(r#"{{"Name":"{to}"}}"#);
        let change = Change {
            body: validate(&root, &set, body.as_bytes(), Intent::Merge, Route::Direct).await?,
            intent: Intent::Merge,
            hidden: BTreeMap::default(),
            conditions: Preconditions::default(),
        };
        let permit = server_authority().permit_write(&root, &set);
        let key = EntityKey::single("c");
        odata::update(
            &root,
            &permit,
            EntityRef {
                set: &set,
                key: &key,
            },
            &change,
            &|_| Ok(()),
        )
        .await?;
        Ok(())
    }

    /// The access of the master of the unit.
    #[must_use]
    pub fn access(&self) -> Access {
        Access::of(Identity::UnitMaster)
    }

    /// A resource of the box `b`.
    pub async fn resource(&self, name: &str) -> Resource {
        Resource {
            unit: self.model.clone(),
            context: self.context().await,
            access: self.access(),
            box_name: "b".to_owned(),
            box_id: None,
            segments: vec![name.to_owned()],
            url: format!("http://unit.example/c/b/{name}"),
            conditions: Preconditions::default(),
            prefetch: Prefetch::Nothing,
            events: None,
        }
    }

    /// The id of a resource of the box `b`.
    pub async fn resource_id(&self, name: &str) -> NodeId {
        let target = self.resource(name).await.locate().await.unwrap();
        target.node().value().id
    }

    /// Creates an OData collection in the box `b`.
    pub async fn create_odata_collection(&self, name: &str) {
        let resource = self.resource(name).await;
        collection::create(&resource, NodeKind::Odata)
            .await
            .unwrap();
    }

    /// Removes a collection with everything in it, and waits until its records are deleted.
    pub async fn remove_collection(&self, name: &str) {
        let resource = self.resource(name).await;
        collection::remove(&resource, true).await.unwrap();
        self.model.resume_garbage_collection().await.unwrap();
    }

    /// The schema of an OData collection of the box `b`.
    pub async fn schema_root(&self, name: &str) -> ServiceRoot {
        let resource = self.resource(name).await;
        let target = resource.locate().await.unwrap();
        ServiceRoot::of_schema(self.model.clone(), resource.context, target.node())
    }

    /// The data of an OData collection of the box `b`.
    pub async fn data_root(&self, name: &str) -> ServiceRoot {
        let resource = self.resource(name).await;
        let target = resource.locate().await.unwrap();
        let root = ServiceRoot::of_data(self.model.clone(), resource.context, target.node());
        root.await.unwrap()
    }

    /// The control objects of the cell `c`.
    pub async fn cell_root(&self) -> ServiceRoot {
        ServiceRoot::of_cell(self.model.clone(), self.context().await)
    }

    /// The cell `c`.
    pub async fn context(&self) -> Arc<CellContext> {
        self.find_cell("c").await.unwrap()
    }

    /// A cell, if it exists.
    pub async fn find_cell(&self, name: &str) -> Option<Arc<CellContext>> {
        self.model.find_cell(name).await.unwrap()
    }

    /// The space of the cell `c`.
    pub async fn space(&self) -> Space {
        Space::Cell(self.context().await.cell().id)
    }

    /// Creates a rule of a cell that relays every external event; returns its id.
    pub async fn create_relay_rule(&self, root: &ServiceRoot) -> String {
        self.create_rule(root, "relay", "http://x.example/").await
    }

    /// Creates a rule for external events with an action and a target. Returns its entity id.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn create_rule(&self, root: &ServiceRoot, action: &str, target: &str) -> String {
        let rule = format!(
            r#"{{"Name":"r","EventExternal":true,"Action":"{action}","TargetUrl":"{target}"}}"#
        );
        // The key of the cell, with which requests are signed: while a thread makes it, a paused clock would run on.
        let context = root.context().unwrap();
        cell_key::get_or_create(&self.model, context).await.unwrap();
        create(root, "Rule", &rule).await.unwrap().id
    }

    /// Posts an event whose type is the name of the cell.
    pub async fn post_event(&self, context: &CellContext) {
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
            chain: RuleChain::default(),
            via: None,
            roles: Vec::new(),
        };
        let permit = cell_permit(context, Operation::PostEvent);
        event::post(&self.model, context, &permit, event)
            .await
            .unwrap();
    }

    /// Deletes an object of the unit or of a cell.
    ///
    /// # Errors
    /// As [`odata::delete`].
    pub async fn delete(&self, root: &ServiceRoot, set: &str, key: &EntityKey) -> Result<Entity> {
        let set = root.set(set)?;
        let permit = server_authority().permit_write(root, &set);
        odata::delete(
            root,
            &permit,
            EntityRef { set: &set, key },
            Preconditions::NONE,
            &|_| Ok(()),
        )
        .await
    }

    /// The number of records of the cell `c` whose key contains this id.
    pub async fn records_with_id(&self, id: &NodeId) -> usize {
        let found = self
            .records
            .scan(
                &self.space().await,
                &KeyRange::all(),
                Direction::Up,
                Limit::records(1 << 20),
            )
            .await
            .unwrap()
            .value;
        let text = id.to_string();
        let contains_id = |key: &[u8]| {
            key.windows(16).any(|part| part == id.as_bytes())
                || key.windows(text.len()).any(|part| part == text.as_bytes())
        };
        found
            .iter()
            .filter(|(key, _)| contains_id(key.as_bytes()))
            .count()
    }
}

/// Creates an entity; tries again if the schema changed meanwhile.
///
/// # Errors
/// As [`odata::create`].
pub async fn create(root: &ServiceRoot, set: &str, body: &str) -> Result<Entity> {
    let mut root = root.clone();
    loop {
        match create_once(&root, set, body).await {
            Err(e) if e.code() == Code::Conflict && root.is_stale().await? => {
                root = root.reloaded().await?;
            }
            created => return created,
        }
    }
}

async fn create_once(root: &ServiceRoot, set: &str, body: &str) -> Result<Entity> {
    let set = root.set(set)?;
    let body = validate(root, &set, body.as_bytes(), Intent::Create, Route::Direct).await?;
    let permit = server_authority().permit_write(root, &set);
    let creation = Creation {
        set,
        body,
        hidden: BTreeMap::new(),
        navigation: None,
        exists: Code::EntityExists,
        history: None,
    };
    let mut created = odata::create(root, &permit, &[creation]).await?;
    created.remove(0)
}
