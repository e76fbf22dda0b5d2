//! A unit in memory, requests to it, and a look at what it stores.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use personium_api::{AdminHooks, ApiService, Body};
use personium_model::credentials::UnitKeys;
use personium_model::unit::Ports;
use personium_model::{ServerAuthority, Settings, Unit, UnitUrls};
use personium_store::memory::{MemoryBlobs, MemoryCache, MemoryRecords};
use personium_store::{BlobStore, Direction, Key, KeyRange, Limit, RecordStore, Space};
use personium_types::{CellId, Clock, Secret, SystemRandom};

/// The URL of the unit.
pub const UNIT_URL: &str = "http://unit.example/";
const MASTER_TOKEN: &str = "master";
/// The secret of the unit.
pub const UNIT_SECRET: &str = "a secret of these tests";

/// Keys are made once: that takes longer than most tests.
static KEYS: LazyLock<Arc<UnitKeys>> = LazyLock::new(|| {
    let mut keys = UnitKeys::self_signed("unit.example", UNIT_SECRET, CLOCK_START_MS).unwrap();
    keys.password_hashing.scrypt.cpu_cost = 16;
    Arc::new(keys)
});

/// When the clocks of these tests start, milliseconds since 1970.
pub const CLOCK_START_MS: i64 = 1_700_000_000_000;

/// A clock that advances by one millisecond whenever it is read.
#[derive(Debug)]
struct TickingClock {
    start: Instant,
    elapsed_ms: AtomicI64,
}

impl TickingClock {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            elapsed_ms: AtomicI64::new(0),
        }
    }

    fn advance(&self, ms: i64) -> i64 {
        self.elapsed_ms.fetch_add(ms, Ordering::SeqCst)
    }
}

impl Clock for TickingClock {
    fn now_ms(&self) -> i64 {
        CLOCK_START_MS + self.advance(1)
    }

    fn monotonic(&self) -> Instant {
        self.start + Duration::from_millis(self.advance(1).unsigned_abs())
    }
}

/// The largest page once settings were read anew.
pub const RELOADED_TOP_MAX: u32 = 1_234;

/// An operator who shows one setting, and has changed the largest page.
struct TestAdminHooks(Settings);

impl AdminHooks for TestAdminHooks {
    fn settings(&self) -> Vec<(String, String)> {
        vec![("a setting".to_owned(), "its value".to_owned())]
    }

    fn pending_restart(&self) -> Vec<String> {
        vec!["another setting".to_owned()]
    }

    fn reload(&self) -> personium_types::Result<Settings> {
        let mut settings = self.0.clone();
        settings.odata.top_max = RELOADED_TOP_MAX;
        Ok(settings)
    }
}

/// A unit in memory.
#[derive(Clone)]
pub struct TestUnit {
    pub model: Arc<Unit>,
    server: ServerAuthority,
    pub service: ApiService,
    pub records: Arc<MemoryRecords>,
    pub blobs: Arc<MemoryBlobs>,
    clock: Arc<TickingClock>,
}

/// An answer.
pub struct TestResponse {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A request that is being put together.
pub struct TestRequest {
    unit: TestUnit,
    request: http::request::Builder,
    body: Body,
}

impl TestUnit {
    /// A unit without cells.
    pub fn without_cells(change: impl FnOnce(&mut Settings)) -> Self {
        Self::empty_with_keys(KEYS.clone(), change)
    }

    /// A unit without cells, with these keys.
    pub fn empty_with_keys(keys: Arc<UnitKeys>, change: impl FnOnce(&mut Settings)) -> Self {
        let urls = UnitUrls::new("http", "unit.example", None, true);
        Self::start(urls, keys, change)
    }

    /// A unit without cells that clients reach by `https`, with cells as paths or as hosts.
    pub fn with_https(path_based: bool) -> Self {
        let urls = UnitUrls::new("https", "unit.example", None, path_based);
        Self::start(urls, KEYS.clone(), |_| {})
    }

    fn start(urls: UnitUrls, keys: Arc<UnitKeys>, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::default();
        settings.auth.master_token = Some(Secret::new(MASTER_TOKEN.to_owned()));
        change(&mut settings);
        let records = Arc::new(MemoryRecords::new());
        let clock = Arc::new(TickingClock::new());
        let random = Arc::new(SystemRandom::new());
        let blobs = Arc::new(MemoryBlobs::new(clock.clone(), random.clone()));
        let ports = Ports {
            records: records.clone(),
            blobs: blobs.clone(),
            cache: Arc::new(MemoryCache::new(1 << 20)),
            clock: clock.clone(),
            random,
        };
        let operations = Arc::new(TestAdminHooks(settings.clone()));
        let (unit, server) = Unit::new(ports, urls, settings, keys);
        let model = Arc::new(unit);
        Self {
            service: ApiService::new(model.clone(), server.clone()).with_admin_hooks(operations),
            model,
            server,
            records,
            blobs,
            clock,
        }
    }

    /// A unit with the cell `c` and in it the boxes `b` and, belonging to an app, `app`.
    pub async fn with_settings(change: impl FnOnce(&mut Settings)) -> Self {
        let unit = Self::without_cells(change);
        unit.create("__ctl/Cell", r#"{"Name":"c"}"#).await;
        unit.create("c/__ctl/Box", r#"{"Name":"b"}"#).await;
        let app = r#"{"Name":"app","Schema":"http://unit.example/appcell/"}"#;
        unit.create("c/__ctl/Box", app).await;
        unit
    }

    /// As [`TestUnit::with`], with the usual settings.
    pub async fn new() -> Self {
        Self::with_settings(|_| {}).await
    }

    /// The same unit after it was started again: nothing but what was stored is left.
    pub fn restart(&self) -> Self {
        self.restart_with_keys(self.model.keys().clone())
    }

    /// The same unit after it was started again with these keys.
    pub fn restart_with_keys(&self, keys: Arc<UnitKeys>) -> Self {
        let ports = Ports {
            records: self.records.clone(),
            blobs: self.blobs.clone(),
            cache: Arc::new(MemoryCache::new(1 << 20)),
            clock: self.clock.clone(),
            random: Arc::new(SystemRandom::new()),
        };
        let (urls, settings) = (self.model.urls().clone(), self.model.settings().clone());
        self.with_model(Unit::new(ports, urls, settings, keys).0)
    }

    /// The same unit under other settings.
    pub fn change_settings(&self, settings: Settings) -> Self {
        self.with_model(self.model.with_settings(settings))
    }

    fn with_model(&self, unit: Unit) -> Self {
        let unit = Arc::new(unit);
        Self {
            service: ApiService::new(unit.clone(), self.server.clone()),
            model: unit,
            ..self.clone()
        }
    }

    /// Lets time pass.
    pub fn advance_clock(&self, ms: i64) {
        self.clock.advance(ms);
    }

    /// Creates a control object.
    pub async fn create(&self, path: &str, json: &str) {
        let response = self.admin_request("POST", path).body(json).send().await;
        assert_eq!(response.status, 201, "{path} {json}: {}", response.text());
    }

    /// A request by the master of the unit to a path below the unit.
    pub fn admin_request(&self, method: &str, path: &str) -> TestRequest {
        self.request(method, path)
            .header("authorization", &format!("Bearer {MASTER_TOKEN}"))
    }

    /// A request without credentials.
    pub fn request(&self, method: &str, path: &str) -> TestRequest {
        TestRequest {
            unit: self.clone(),
            request: Request::builder()
                .method(Method::from_bytes(method.as_bytes()).unwrap())
                .uri(format!("{UNIT_URL}{path}")),
            body: Full::new(Bytes::new())
                .map_err(|never| match never {})
                .boxed_unsync(),
        }
    }

    /// Sends a request by the master without body and gives status and error code.
    pub async fn admin_outcome(&self, method: &str, path: &str) -> (u16, String) {
        self.admin_request(method, path).send().await.outcome()
    }

    /// Puts a file and gives its ETag.
    pub async fn put_file(&self, path: &str, content: &str) -> String {
        let response = self.admin_request("PUT", path).body(content).send().await;
        assert!(response.status.is_success(), "{path}: {}", response.text());
        response.header("etag").unwrap().to_owned()
    }

    /// Makes a collection of this kind: `""`, `odata`, `service` or `stream`.
    pub async fn create_collection(&self, path: &str, kind: &str) {
        let response = self
            .admin_request("MKCOL", path)
            .body(&collection_body(kind))
            .send()
            .await;
        assert_eq!(response.status, 201, "{path}: {}", response.text());
    }

    /// Sets an access control list: privileges for everybody, given as XML elements.
    pub async fn grant_to_everybody(&self, path: &str, privileges: &[&str]) {
        let granted: String = privileges
            .iter()
            .map(|p| format!("<D:privilege><{p}/></D:privilege>"))
            .collect();
        let ace = if granted.is_empty() {
            String::new()
        } else {
            format!(
                "<D:ace><D:principal><D:all/></D:principal><D:grant>{granted}</D:grant></D:ace>"
            )
        };
        self.set_acl(path, &ace).await;
    }

    /// Sets an access control list of these entries.
    pub async fn set_acl(&self, path: &str, aces: &str) {
        let response = self
            .admin_request("ACL", path)
            .body(&acl_body("", aces))
            .send()
            .await;
        assert_eq!(response.status, 200, "{path}: {}", response.text());
    }

    /// The id of the cell `c`.
    pub async fn cell_id(&self) -> CellId {
        self.model.find_cell("c").await.unwrap().unwrap().cell().id
    }

    /// Keys of the records of the cell `c` in the tables with these tags.
    pub async fn record_keys(&self, tags: &[u8]) -> Vec<Key> {
        let everything = KeyRange {
            start: Key::from_bytes(Vec::new()),
            end: None,
        };
        let space = Space::Cell(self.cell_id().await);
        let found = self
            .records
            .scan(&space, &everything, Direction::Up, Limit::records(1 << 20))
            .await
            .unwrap();
        let mut keys: Vec<Key> = found.into_iter().map(|(key, _)| key).collect();
        keys.retain(|key| tags.contains(&key.as_bytes()[0]));
        keys
    }

    /// How many bodies the blob store has for the cell `c`.
    pub async fn blob_count(&self) -> usize {
        let space = Space::Cell(self.cell_id().await);
        self.blobs
            .list(&space, None, std::time::Duration::ZERO, 1 << 20)
            .await
            .unwrap()
            .len()
    }
}

impl TestRequest {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// A body, announced by its length.
    pub fn body(self, text: &str) -> Self {
        self.body_bytes(Bytes::copy_from_slice(text.as_bytes()))
    }

    pub fn body_bytes(mut self, bytes: Bytes) -> Self {
        self.request = self.request.header("content-length", bytes.len());
        self.body = Full::new(bytes)
            .map_err(|never| match never {})
            .boxed_unsync();
        self
    }

    /// A body of unknown length.
    pub fn stream(mut self, body: Body) -> Self {
        self.request = self.request.header("transfer-encoding", "chunked");
        self.body = body;
        self
    }

    /// Sends the request and gives the answer while its body is still being made.
    pub async fn send_streaming(self) -> http::Response<Body> {
        let request = self.request.body(self.body).unwrap();
        let answer = self.unit.service.handle(request, None);
        // Boxed, because tests with many requests would need a larger stack.
        Box::pin(answer).await
    }

    pub async fn send(self) -> TestResponse {
        let (head, body) = self.send_streaming().await.into_parts();
        TestResponse {
            status: head.status,
            headers: head.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }
}

impl TestResponse {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|v| v.to_str().unwrap())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The status and, of a refusal, the code without its beginning: `DV-0001`.
    pub fn outcome(&self) -> (u16, String) {
        let code = match serde_json::from_slice::<serde_json::Value>(&self.body) {
            Ok(body) if !self.status.is_success() => body["code"]
                .as_str()
                .and_then(|code| code.get(6..))
                .unwrap_or_default()
                .to_owned(),
            _ => String::new(),
        };
        (self.status.as_u16(), code)
    }
}

/// The body of a MKCOL request.
pub fn collection_body(kind: &str) -> String {
    let extension = if kind.is_empty() {
        String::new()
    } else {
        format!("<p:{kind}/>")
    };
    format!(
        "<D:mkcol xmlns:D='DAV:' xmlns:p='urn:x-personium:xmlns'><D:set><D:prop><D:resourcetype>\
         <D:collection/>{extension}</D:resourcetype></D:prop></D:set></D:mkcol>"
    )
}

/// The body of an ACL request with these attributes and entries.
pub fn acl_body(attributes: &str, aces: &str) -> String {
    format!("<D:acl xmlns:D='DAV:' xmlns:p='urn:x-personium:xmlns' {attributes}>{aces}</D:acl>")
}

/// So many different entries for everybody, at most 511: each grants another set of nine privileges.
pub fn distinct_aces(count: usize) -> String {
    let privileges = [
        "D:read-properties",
        "D:read",
        "D:write-properties",
        "D:write-content",
        "D:bind",
        "D:unbind",
        "D:write",
        "D:read-acl",
        "D:write-acl",
    ];
    let entry = |set: usize| {
        let granted: String = privileges
            .iter()
            .enumerate()
            .filter(|(bit, _)| set >> bit & 1 == 1)
            .map(|(_, name)| format!("<D:privilege><{name}/></D:privilege>"))
            .collect();
        format!("<D:ace><D:principal><D:all/></D:principal><D:grant>{granted}</D:grant></D:ace>")
    };
    (1..=count).map(entry).collect()
}

/// An outcome to compare with [`Reply::outcome`].
pub fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// The outcome of a success.
pub fn success(status: u16) -> (u16, String) {
    (status, String::new())
}
