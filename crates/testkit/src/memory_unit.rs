//! The API service on stores in memory.

use std::ops::Deref;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use personium_api::{AdminHooks, ApiService};
use personium_model::ServerAuthority;
use personium_model::credentials::UnitKeys;
use personium_model::unit::Ports;
use personium_model::{Settings, Unit, UnitUrls};
use personium_store::memory::{MemoryBlobs, MemoryCache, MemoryRecords};
use personium_store::{Batch, BlobStore, Direction, Key, KeyRange, Limit, RecordStore, Space};
use personium_token::saml::{self, TransCellToken};
use personium_token::trust::UnitKey;
use personium_types::{CellId, Secret, SystemRandom};

use crate::{CLOCK_START_MS, InterruptibleRecords, MASTER_TOKEN, TestClient, TickingClock};

/// The URL of every [`TestUnit`].
pub const UNIT_URL: &str = "http://unit.example/";

/// The secret of every [`TestUnit`].
pub const UNIT_SECRET: &str = "a secret of these tests";

/// The largest page of a [`TestUnit`] once its settings are reloaded.
pub const RELOADED_TOP_MAX: u32 = 1_234;

/// The setting that [`TestUnit`] reports as waiting for a restart.
pub const PENDING_SETTING: &str = "another setting";

/// Keys are generated once, because that takes longer than most tests.
static KEYS: LazyLock<Arc<UnitKeys>> = LazyLock::new(|| {
    let mut keys = UnitKeys::self_signed("unit.example", UNIT_SECRET, CLOCK_START_MS).unwrap();
    keys.password_hashing.scrypt.cpu_cost = 16;
    Arc::new(keys)
});

fn store_over(records: &MemoryRecords) -> Arc<InterruptibleRecords> {
    Arc::new(InterruptibleRecords::from(records.clone()))
}

/// The URL of a cell of a [`TestUnit`].
#[must_use]
pub fn cell_url(name: &str) -> String {
    format!("{UNIT_URL}{name}/")
}

/// Hooks that show one setting, and reload a changed one.
struct TestAdminHooks(Settings);

impl AdminHooks for TestAdminHooks {
    fn settings(&self) -> Vec<(String, String)> {
        vec![("a setting".to_owned(), "its value".to_owned())]
    }

    fn pending_restart(&self) -> Vec<String> {
        vec![PENDING_SETTING.to_owned()]
    }

    fn reload(&self) -> personium_types::Result<Settings> {
        let mut settings = self.0.clone();
        settings.odata.top_max = RELOADED_TOP_MAX;
        Ok(settings)
    }
}

/// A unit in memory behind the API service. It is its own client.
#[derive(Clone)]
pub struct TestUnit {
    /// The unit of the model.
    pub model: Arc<Unit>,
    /// The API service.
    pub service: ApiService,
    /// The authority of the server.
    pub server: ServerAuthority,
    /// The records of the unit.
    pub records: Arc<MemoryRecords>,
    /// The store through which this node uses the records.
    pub store: Arc<InterruptibleRecords>,
    /// The bodies of the unit.
    pub blobs: Arc<MemoryBlobs>,
    clock: Arc<TickingClock>,
    client: TestClient,
}

impl TestUnit {
    /// Starts a unit with the cell `c`, which has the boxes `b` and, with a schema, `app`.
    pub async fn new() -> Self {
        Self::with_settings(|_| {}).await
    }

    /// As [`TestUnit::new`], with changed settings.
    pub async fn with_settings(change: impl FnOnce(&mut Settings)) -> Self {
        let unit = Self::without_cells(change);
        unit.create_cell("c").await;
        unit.create_box("c", "b").await;
        let app = r#"{"Name":"app","Schema":"http://unit.example/appcell/"}"#;
        unit.create("c/__ctl/Box", app).await;
        unit
    }

    /// Starts a unit without cells.
    pub fn without_cells(change: impl FnOnce(&mut Settings)) -> Self {
        Self::empty_with_keys(KEYS.clone(), change)
    }

    /// Starts a unit without cells, with these keys.
    pub fn empty_with_keys(keys: Arc<UnitKeys>, change: impl FnOnce(&mut Settings)) -> Self {
        let urls = UnitUrls::new("http", "unit.example", None, true);
        Self::start(urls, keys, change)
    }

    /// Starts a unit without cells that clients reach by `https`, with cells as paths or as hosts.
    #[must_use]
    pub fn with_https(path_based: bool) -> Self {
        let urls = UnitUrls::new("https", "unit.example", None, path_based);
        Self::start(urls, KEYS.clone(), |_| {})
    }

    fn start(urls: UnitUrls, keys: Arc<UnitKeys>, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::default();
        settings.auth.master_token = Some(Secret::new(MASTER_TOKEN.to_owned()));
        change(&mut settings);
        let records = Arc::new(MemoryRecords::new());
        let store = store_over(&records);
        let clock = Arc::new(TickingClock::default());
        let random = Arc::new(SystemRandom::new());
        let blobs = Arc::new(MemoryBlobs::new(clock.clone(), random.clone()));
        let ports = Ports {
            broker: None,
            records: store.clone(),
            blobs: blobs.clone(),
            cache: Arc::new(MemoryCache::new(1 << 20)),
            clock: clock.clone(),
            random,
        };
        let hooks = Arc::new(TestAdminHooks(settings.clone()));
        let (model, server) = Unit::new(ports, urls, settings, keys);
        let model = Arc::new(model);
        let service = ApiService::new(model.clone(), server.clone()).with_admin_hooks(hooks);
        Self {
            client: TestClient::for_service(service.clone(), UNIT_URL),
            model,
            service,
            server,
            records,
            store,
            blobs,
            clock,
        }
    }

    /// Returns the unit after a restart: only what was stored is left.
    #[must_use]
    pub fn restart(&self) -> Self {
        self.restart_with_keys(self.model.keys().clone())
    }

    /// Returns the unit after a restart with these keys.
    #[must_use]
    pub fn restart_with_keys(&self, keys: Arc<UnitKeys>) -> Self {
        self.restart_over(store_over(&self.records), keys)
    }

    fn restart_over(&self, store: Arc<InterruptibleRecords>, keys: Arc<UnitKeys>) -> Self {
        let ports = Ports {
            broker: None,
            records: store.clone(),
            blobs: self.blobs.clone(),
            cache: Arc::new(MemoryCache::new(1 << 20)),
            clock: self.clock.clone(),
            random: Arc::new(SystemRandom::new()),
        };
        let (urls, settings) = (self.model.urls().clone(), self.model.settings().clone());
        Self {
            store,
            ..self.with_model(Unit::new(ports, urls, settings, keys).0)
        }
    }

    /// Starts another node of the unit: it shares records and file bodies, but nothing that is in the memory of this one.
    #[must_use]
    pub fn another_node(&self) -> Self {
        self.restart()
    }

    /// As [`Self::another_node`], on a store that it knows to be shared: it asks whether this node is alive.
    #[must_use]
    pub fn sharing_node(&self) -> Self {
        let store = Arc::new(self.store.for_other_node());
        self.restart_over(store, self.model.keys().clone())
    }

    /// Returns the unit with another node. Requests go to both nodes in turn.
    #[must_use]
    pub fn with_two_nodes(&self) -> Self {
        let services = [self.service.clone(), self.another_node().service];
        Self {
            client: TestClient::for_services(&services, UNIT_URL),
            ..self.clone()
        }
    }

    /// As [`Self::another_node`], with a clock of its own that is ahead by this time, or behind if it is negative.
    #[must_use]
    pub fn node_with_clock_ahead(&self, ahead_ms: i64) -> Self {
        let clock = Arc::new(TickingClock::default());
        clock.advance(self.clock.advance(0));
        clock.set_back(-ahead_ms);
        let node = Self {
            clock,
            ..self.clone()
        };
        node.restart()
    }

    /// Returns the unit with other settings.
    #[must_use]
    pub fn change_settings(&self, settings: Settings) -> Self {
        self.with_model(self.model.with_settings(settings))
    }

    fn with_model(&self, model: Unit) -> Self {
        let model = Arc::new(model);
        let service = ApiService::new(model.clone(), self.server.clone());
        Self {
            client: TestClient::for_service(service.clone(), UNIT_URL),
            model,
            service,
            ..self.clone()
        }
    }

    /// Lets time pass.
    pub fn advance_clock(&self, ms: i64) {
        self.clock.advance(ms);
    }

    /// Sets the clock back.
    pub fn set_clock_back(&self, ms: i64) {
        self.clock.set_back(ms);
    }

    /// The number of the last commit in the cell `c`.
    pub async fn last_commit(&self) -> u64 {
        let space = Space::Cell(self.cell_id().await);
        self.records.commit(&space, Batch::new()).await.unwrap()
    }

    /// The id of the cell `c`.
    pub async fn cell_id(&self) -> CellId {
        self.model.find_cell("c").await.unwrap().unwrap().cell().id
    }

    /// The keys of the records of the cell `c` in the tables with these tags, but for those that count its bytes.
    pub async fn record_keys(&self, tags: &[u8]) -> Vec<Key> {
        let space = Space::Cell(self.cell_id().await);
        let found = self
            .records
            .scan(
                &space,
                &KeyRange::all(),
                Direction::Up,
                Limit::records(1 << 20),
            )
            .await
            .unwrap()
            .value;
        let mut keys: Vec<Key> = found.into_iter().map(|(key, _)| key).collect();
        let counters = personium_model::cell_usage::counter_keys();
        keys.retain(|key| tags.contains(&key.as_bytes()[0]) && !counters.contains(key));
        keys
    }

    /// The number of bodies of the cell `c` in the blob store.
    pub async fn blob_count(&self) -> usize {
        let space = Space::Cell(self.cell_id().await);
        self.blobs
            .list(&space, None, Duration::ZERO, 1 << 20)
            .await
            .unwrap()
            .len()
    }

    /// Returns a trans-cell token of `me` at the cell `d` for the cell `c`, changed before this unit signs it.
    pub fn assertion(&self, change: impl FnOnce(&mut TransCellToken)) -> String {
        self.assertion_signed_by(&self.model.keys().certificates().signing, change)
    }

    /// As [`TestUnit::assertion`], signed with another unit's key.
    pub fn assertion_signed_by(
        &self,
        key: &UnitKey,
        change: impl FnOnce(&mut TransCellToken),
    ) -> String {
        let mut token = TransCellToken {
            id: "5e2e1f0c-0000-4000-8000-0000000000aa".to_owned(),
            issued_at_ms: self.model.now_ms(),
            lifespan_ms: 3_600_000,
            issuer: cell_url("d"),
            subject: cell_url("d") + "#me",
            target: cell_url("c"),
            schema: None,
            roles: Vec::new(),
            scopes: vec!["root".to_owned()],
        };
        change(&mut token);
        saml::issue(key, &token).unwrap()
    }
}

impl Deref for TestUnit {
    type Target = TestClient;

    fn deref(&self) -> &TestClient {
        &self.client
    }
}
