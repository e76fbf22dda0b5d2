//! A unit in memory, requests to it, and a look at what it stores.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use personium_api::{AdminHooks, ApiService, Body};
use personium_model::auth::UnitKeys;
use personium_model::unit::Ports;
use personium_model::{Settings, Unit, UnitUrls};
use personium_store::memory::{MemoryBlobs, MemoryCache, MemoryRecords};
use personium_store::{BlobStore, Direction, Key, KeyRange, Limit, RecordStore, Space};
use personium_types::{CellId, Clock, Secret};

/// The URL of the unit.
pub const UNIT: &str = "http://unit.example/";
const MASTER: &str = "master";
/// The secret of the unit.
pub const SECRET: &str = "a secret of these tests";

/// Keys are made once: that takes longer than most tests.
static KEYS: LazyLock<Arc<UnitKeys>> = LazyLock::new(|| {
    let mut keys = UnitKeys::self_signed("unit.example", SECRET, START).unwrap();
    keys.password_hashing.scrypt.cpu_cost = 16;
    Arc::new(keys)
});

/// When the clocks of these tests start, milliseconds since 1970.
pub const START: i64 = 1_700_000_000_000;

/// A clock that goes on by one millisecond with every look at it.
struct Ticks(AtomicI64);

impl Clock for Ticks {
    fn now_ms(&self) -> i64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}

/// The largest page once settings were read anew.
pub const NEW_TOP_MAX: u32 = 1_234;

/// An operator who shows one setting, and has changed the largest page.
struct Operations(Settings);

impl AdminHooks for Operations {
    fn settings(&self) -> Vec<(String, String)> {
        vec![("a setting".to_owned(), "its value".to_owned())]
    }

    fn pending_restart(&self) -> Vec<String> {
        vec!["another setting".to_owned()]
    }

    fn reload(&self) -> personium_types::Result<Settings> {
        let mut settings = self.0.clone();
        settings.odata.top_max = NEW_TOP_MAX;
        Ok(settings)
    }
}

/// A unit in memory.
#[derive(Clone)]
pub struct World {
    pub unit: Arc<Unit>,
    pub service: ApiService,
    pub records: Arc<MemoryRecords>,
    pub blobs: Arc<MemoryBlobs>,
    clock: Arc<Ticks>,
}

/// An answer.
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A request that is being put together.
pub struct Ask {
    world: World,
    request: http::request::Builder,
    body: Body,
}

impl World {
    /// A unit without cells.
    pub fn empty(change: impl FnOnce(&mut Settings)) -> Self {
        Self::empty_with(KEYS.clone(), change)
    }

    /// A unit without cells, with these keys.
    pub fn empty_with(keys: Arc<UnitKeys>, change: impl FnOnce(&mut Settings)) -> Self {
        let urls = UnitUrls::new("http", "unit.example", None, true);
        Self::empty_at(urls, keys, change)
    }

    /// A unit without cells that clients reach by `https`, with cells as paths or as hosts.
    pub fn secure(path_based: bool) -> Self {
        let urls = UnitUrls::new("https", "unit.example", None, path_based);
        Self::empty_at(urls, KEYS.clone(), |_| {})
    }

    fn empty_at(urls: UnitUrls, keys: Arc<UnitKeys>, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::default();
        settings.auth.master_token = Some(Secret::new(MASTER.to_owned()));
        change(&mut settings);
        let records = Arc::new(MemoryRecords::new());
        let blobs = Arc::new(MemoryBlobs::new());
        let clock = Arc::new(Ticks(AtomicI64::new(START)));
        let ports = Ports {
            records: records.clone(),
            blobs: blobs.clone(),
            cache: Arc::new(MemoryCache::new(1 << 20)),
            clock: clock.clone(),
        };
        let operations = Arc::new(Operations(settings.clone()));
        let unit = Arc::new(Unit::new(ports, urls, settings, keys));
        Self {
            service: ApiService::new(unit.clone()).with_admin_hooks(operations),
            unit,
            records,
            blobs,
            clock,
        }
    }

    /// A unit with the cell `c` and in it the boxes `b` and, belonging to an app, `app`.
    pub async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let world = Self::empty(change);
        world.make("__ctl/Cell", r#"{"Name":"c"}"#).await;
        world.make("c/__ctl/Box", r#"{"Name":"b"}"#).await;
        let app = r#"{"Name":"app","Schema":"http://unit.example/appcell/"}"#;
        world.make("c/__ctl/Box", app).await;
        world
    }

    /// As [`World::with`], with the usual settings.
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// The same unit after it was started again: nothing but what was stored is left.
    pub fn again(&self) -> Self {
        self.again_with(self.unit.keys().clone())
    }

    /// The same unit after it was started again with these keys.
    pub fn again_with(&self, keys: Arc<UnitKeys>) -> Self {
        let ports = Ports {
            records: self.records.clone(),
            blobs: self.blobs.clone(),
            cache: Arc::new(MemoryCache::new(1 << 20)),
            clock: self.clock.clone(),
        };
        let (urls, settings) = (self.unit.urls().clone(), self.unit.settings().clone());
        self.running(Unit::new(ports, urls, settings, keys))
    }

    /// The same unit under other settings.
    pub fn set(&self, settings: Settings) -> Self {
        self.running(self.unit.with_settings(settings))
    }

    fn running(&self, unit: Unit) -> Self {
        let unit = Arc::new(unit);
        Self {
            service: ApiService::new(unit.clone()),
            unit,
            ..self.clone()
        }
    }

    /// Lets time pass.
    pub fn later(&self, ms: i64) {
        self.clock.0.fetch_add(ms, Ordering::SeqCst);
    }

    /// Creates a control object.
    pub async fn make(&self, path: &str, json: &str) {
        let reply = self.ask("POST", path).text(json).send().await;
        assert_eq!(reply.status, 201, "{path} {json}: {}", reply.text());
    }

    /// A request by the master of the unit to a path below the unit.
    pub fn ask(&self, method: &str, path: &str) -> Ask {
        self.anybody(method, path)
            .with("authorization", &format!("Bearer {MASTER}"))
    }

    /// A request without credentials.
    pub fn anybody(&self, method: &str, path: &str) -> Ask {
        Ask {
            world: self.clone(),
            request: Request::builder()
                .method(Method::from_bytes(method.as_bytes()).unwrap())
                .uri(format!("{UNIT}{path}")),
            body: Full::new(Bytes::new())
                .map_err(|never| match never {})
                .boxed_unsync(),
        }
    }

    /// Sends a request by the master without body and gives status and error code.
    pub async fn code(&self, method: &str, path: &str) -> (u16, String) {
        self.ask(method, path).send().await.outcome()
    }

    /// Puts a file and gives its ETag.
    pub async fn put(&self, path: &str, content: &str) -> String {
        let reply = self.ask("PUT", path).text(content).send().await;
        assert!(reply.status.is_success(), "{path}: {}", reply.text());
        reply.header("etag").unwrap().to_owned()
    }

    /// Makes a collection of this kind: `""`, `odata`, `service` or `stream`.
    pub async fn mkcol(&self, path: &str, kind: &str) {
        let reply = self.ask("MKCOL", path).text(&mkcol_body(kind)).send().await;
        assert_eq!(reply.status, 201, "{path}: {}", reply.text());
    }

    /// Sets an access control list: privileges for everybody, given as XML elements.
    pub async fn grant_all(&self, path: &str, privileges: &[&str]) {
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
        let reply = self.ask("ACL", path).text(&acl_body("", aces)).send().await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    }

    /// The id of the cell `c`.
    pub async fn cell(&self) -> CellId {
        self.unit.find_cell("c").await.unwrap().unwrap().cell().id
    }

    /// Keys of the records of the cell `c` in the tables with these tags.
    pub async fn keys(&self, tags: &[u8]) -> Vec<Key> {
        let everything = KeyRange {
            start: Key::from_bytes(Vec::new()),
            end: None,
        };
        let space = Space::Cell(self.cell().await);
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
    pub async fn bodies(&self) -> usize {
        let space = Space::Cell(self.cell().await);
        self.blobs
            .list(&space, None, 0, 1 << 20)
            .await
            .unwrap()
            .len()
    }
}

impl Ask {
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// A body, announced by its length.
    pub fn text(self, text: &str) -> Self {
        self.bytes(Bytes::copy_from_slice(text.as_bytes()))
    }

    pub fn bytes(mut self, bytes: Bytes) -> Self {
        self.request = self.request.header("content-length", bytes.len());
        self.body = Full::new(bytes)
            .map_err(|never| match never {})
            .boxed_unsync();
        self
    }

    /// A body of unknown length.
    pub fn streamed(mut self, body: Body) -> Self {
        self.request = self.request.header("transfer-encoding", "chunked");
        self.body = body;
        self
    }

    /// Sends the request and gives the answer while its body is still being made.
    pub async fn start(self) -> http::Response<Body> {
        let request = self.request.body(self.body).unwrap();
        let answer = self.world.service.handle(request, None);
        // Boxed: a test that sends much would need a larger stack.
        Box::pin(answer).await
    }

    pub async fn send(self) -> Reply {
        let (head, body) = self.start().await.into_parts();
        Reply {
            status: head.status,
            headers: head.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }
}

impl Reply {
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
pub fn mkcol_body(kind: &str) -> String {
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
pub fn different_aces(count: usize) -> String {
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
pub fn done(status: u16) -> (u16, String) {
    (status, String::new())
}
