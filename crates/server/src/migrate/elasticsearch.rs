//! The search engine of the original, read over HTTP: Elasticsearch 7.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http::{Method, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use personium_types::Secret;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::MigrateResult;
use crate::outside::{
    ExchangeFailure, ExchangeLimits, OutsideClient, OutsideRequest, basic_authorization,
};

/// The versions that were tested.
const MAJOR_VERSION: &str = "7.";
/// The end of the name of the index with the cells of a unit. Each unit has one.
const CELLS: &str = "_ad.cell";
/// How long the search engine keeps a scroll between two pages.
const KEEP_ALIVE: &str = "5m";
/// The characters that stay in the name of an index in a path.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_');
/// The failures that end a run before anything was read.
const FIRST_FAILURES_MAX: u32 = 4;

/// Where the search engine is, and who reads it.
#[derive(Debug, Clone)]
pub struct EngineAddress {
    /// Its URL, without a final slash.
    url: String,
    /// The name and the password, if it wants them.
    user: Option<(String, Secret<String>)>,
    /// A file with certificates that are trusted besides those of this machine.
    roots: Option<PathBuf>,
}

impl EngineAddress {
    /// The search engine with this URL.
    ///
    /// # Errors
    /// A text if it is no URL with the scheme http or https and a host, or has a password.
    pub fn new(
        url: &str,
        user: Option<(String, Secret<String>)>,
        roots: Option<PathBuf>,
    ) -> Result<Self, String> {
        let uri: Uri = url
            .parse()
            .map_err(|error| format!("the URL of the documents is none: {error}"))?;
        let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
        match uri.authority() {
            Some(authority) if authority.as_str().contains('@') => {
                Err("give the user with --user and --password-file, not in the URL".to_owned())
            }
            Some(_) if is_web && uri.query().is_none() => Ok(Self {
                url: url.trim_end_matches('/').to_owned(),
                user,
                roots,
            }),
            _ => Err(format!(
                "{url} is no URL of a search engine, such as http://localhost:9200"
            )),
        }
    }

    /// The URL, without a final slash.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// How much is read at once, and how often, and after which times, what has failed is tried again.
#[derive(Debug, Clone, Copy)]
pub(super) struct EngineLimits {
    /// The limits of an exchange: a page of documents.
    pub exchange: ExchangeLimits,
    /// The number of failures in a row after which the run ends.
    pub failures_max: u32,
    /// The time after the first failure, which doubles with each.
    pub first: Duration,
    /// The longest time.
    pub longest: Duration,
}

impl Default for EngineLimits {
    fn default() -> Self {
        Self {
            exchange: ExchangeLimits {
                timeout: Duration::from_secs(120),
                body_bytes: 32 << 20,
            },
            failures_max: 40,
            first: Duration::from_millis(500),
            longest: Duration::from_secs(15),
        }
    }
}

/// An index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IndexFacts {
    /// Its name.
    pub name: String,
    /// Its id.
    pub uuid: String,
    /// The numbers of the last changes of its shards, as `shard:number`. They grow with each change.
    pub changes: String,
}

/// A page of documents.
#[derive(Debug, Default)]
pub(super) struct HitPage {
    /// Names the next page.
    pub scroll: String,
    /// The documents, a line each.
    pub lines: Vec<Vec<u8>>,
}

/// The reason why there is no page.
#[derive(Debug)]
pub(super) enum PageFailure {
    /// The window has to be read from its beginning.
    Lost(String),
    /// The page is larger than can be read at once.
    TooLarge,
    /// The run ends: a text for the operator.
    Fatal(String),
}

/// The reason why a request has no result.
enum CallFailure {
    /// May work later.
    Transient(String),
    TooLarge,
    Fatal(String),
}

/// The search engine.
pub(super) struct Elasticsearch {
    client: OutsideClient,
    url: String,
    authorization: Option<String>,
    limits: EngineLimits,
    /// The failures since the last progress.
    failures: AtomicU32,
}

#[derive(Deserialize)]
struct ListedIndex {
    index: String,
    status: String,
    health: Option<String>,
}

#[derive(Deserialize)]
struct Stats {
    #[serde(default)]
    indices: BTreeMap<String, IndexStats>,
}

#[derive(Deserialize)]
struct IndexStats {
    uuid: String,
    #[serde(default)]
    shards: BTreeMap<String, Vec<Value>>,
}

#[derive(Deserialize)]
struct SearchAnswer<'a> {
    #[serde(rename = "_scroll_id", default)]
    scroll: String,
    #[serde(default)]
    timed_out: bool,
    #[serde(borrow)]
    hits: Hits<'a>,
    #[serde(rename = "_shards")]
    shards: ShardCounts,
}

/// The numbers of shards. Those that are not there at all have not failed.
#[derive(Deserialize)]
struct ShardCounts {
    total: u64,
    successful: u64,
    failed: u64,
}

impl ShardCounts {
    fn are_whole(&self) -> bool {
        self.failed == 0 && self.successful == self.total
    }
}

#[derive(Deserialize)]
struct CountAnswer {
    count: u64,
    #[serde(rename = "_shards")]
    shards: ShardCounts,
}

#[derive(Deserialize)]
struct Hits<'a> {
    #[serde(borrow)]
    hits: Vec<Hit<'a>>,
}

#[derive(Deserialize)]
struct Hit<'a> {
    #[serde(rename = "_index")]
    index: String,
    #[serde(rename = "_type", default)]
    kind: String,
    #[serde(rename = "_id")]
    id: String,
    #[serde(rename = "_version")]
    version: u64,
    #[serde(rename = "_source", borrow)]
    source: &'a RawValue,
}

impl Elasticsearch {
    /// Connects to a search engine.
    ///
    /// # Errors
    /// A text for the operator if it does not answer, or has another version.
    pub async fn connect(address: &EngineAddress, limits: EngineLimits) -> MigrateResult<Self> {
        let mut engine = Self {
            client: OutsideClient::with_roots(address.roots.as_deref())?.within(limits.exchange),
            url: address.url.clone(),
            authorization: address
                .user
                .as_ref()
                .map(|(name, password)| basic_authorization(name, password)),
            limits: EngineLimits {
                failures_max: limits.failures_max.min(FIRST_FAILURES_MAX),
                ..limits
            },
            failures: AtomicU32::new(0),
        };
        let about: Value = engine.get("/").await?;
        engine.limits = limits;
        let version = about.get("version");
        let text = |name: &str| version?.get(name)?.as_str().map(shown);
        let number = text("number").unwrap_or_default();
        match text("distribution") {
            None if number.starts_with(MAJOR_VERSION) => Ok(engine),
            distribution => Err(format!(
                "{} is {} {number}, and documents can be read from Elasticsearch {MAJOR_VERSION}x; export them instead",
                engine.url,
                distribution.unwrap_or_else(|| "Elasticsearch".to_owned()),
            )),
        }
    }

    /// Notes that something was read, so that failures are counted from the beginning.
    pub fn note_progress(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    /// Waits after a failure.
    ///
    /// # Errors
    /// The text, if there were too many in a row.
    pub async fn note_failure(&self, text: String) -> MigrateResult {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if failures >= self.limits.failures_max {
            return Err(format!(
                "{text}; {failures} attempts have failed. Repeat the command: it goes on where it was"
            ));
        }
        tracing::warn!(failures, reason = %text, "the search engine is asked again");
        let factor = 1u32 << (failures - 1).min(16);
        let wait = self.limits.first.saturating_mul(factor);
        tokio::time::sleep(wait.min(self.limits.longest)).await;
        Ok(())
    }

    /// Lets searches see all changes that have happened before in the indexes of a unit.
    ///
    /// # Errors
    /// A text for the operator.
    pub async fn refresh(&self, prefix: &str) -> MigrateResult {
        let path = format!("/{}_*/_refresh", encoded(prefix));
        let answer: Value = self.repeat(Method::POST, &path, None).await?;
        drop(answer);
        Ok(())
    }

    /// The indexes of a unit, in the order of their names.
    ///
    /// # Errors
    /// A text for the operator if there is no unit with the prefix, or an index of it cannot be read.
    pub async fn indices(&self, prefix: &str) -> MigrateResult<Vec<IndexFacts>> {
        let listed = loop {
            let listed = self.list(&format!("{}_*", encoded(prefix))).await?;
            let red = |index: &&ListedIndex| index.health.as_deref() == Some("red");
            let Some(index) = listed.iter().find(red) else {
                break listed;
            };
            let text = format!("the index {} has shards that are missing", index.index);
            self.note_failure(text).await?;
        };
        // The prefix of another unit may begin with the same letters.
        let own = format!("{prefix}{CELLS}");
        let others: Vec<String> = listed
            .iter()
            .filter(|index| index.index != own)
            .filter_map(|index| index.index.strip_suffix(CELLS))
            .map(|other| format!("{other}_"))
            .collect();
        let is_own = |name: &str| {
            name.starts_with(&format!("{prefix}_"))
                && !others.iter().any(|other| name.starts_with(other))
        };
        let listed: Vec<_> = listed.into_iter().filter(|i| is_own(&i.index)).collect();
        if let Some(closed) = listed.iter().find(|index| index.status != "open") {
            return Err(format!("the index {} is not open", shown(&closed.index)));
        }
        if !listed.iter().any(|index| index.index == own) {
            return Err(self.no_unit(prefix).await?);
        }
        let names: Vec<String> = listed.into_iter().map(|index| index.index).collect();
        loop {
            match self.facts(prefix, &names).await? {
                Ok(facts) => return Ok(facts),
                Err(text) => self.note_failure(text).await?,
            }
        }
    }

    /// The facts about indexes; a text if some do not say them yet.
    async fn facts(
        &self,
        prefix: &str,
        names: &[String],
    ) -> MigrateResult<Result<Vec<IndexFacts>, String>> {
        let path = format!(
            "/{}_*/_stats/docs?level=shards&filter_path=indices.*.uuid,indices.*.shards.*.seq_no,indices.*.shards.*.routing",
            encoded(prefix)
        );
        let stats: Stats = self.get(&path).await?;
        let facts = names.iter().map(|name| {
            let stats = stats.indices.get(name);
            let stats = stats.ok_or_else(|| format!("the index {} has vanished", shown(name)))?;
            Ok(IndexFacts {
                uuid: stats.uuid.clone(),
                changes: stats.changes(name)?,
                name: name.clone(),
            })
        });
        Ok(facts.collect())
    }

    async fn list(&self, names: &str) -> MigrateResult<Vec<ListedIndex>> {
        let path = format!(
            "/_cat/indices/{names}?format=json&h=index,status,health&s=index&expand_wildcards=all"
        );
        self.get(&path).await
    }

    /// Why there is no unit with a prefix.
    async fn no_unit(&self, prefix: &str) -> MigrateResult<String> {
        let units = self.list(&format!("*{CELLS}")).await?;
        let units: Vec<String> = units
            .iter()
            .filter_map(|index| index.index.strip_suffix(CELLS).map(shown))
            .take(20)
            .collect();
        let found = match units.is_empty() {
            true => "it has no unit at all".to_owned(),
            false => format!("it has units with the prefixes {}", units.join(", ")),
        };
        Ok(format!(
            "{} has no index {prefix}{CELLS}; {found} (es.unitPrefix in the settings of the original)",
            self.url
        ))
    }

    /// The number of documents of an index that a query finds.
    ///
    /// # Errors
    /// A text for the operator.
    pub async fn count(&self, index: &str, query: &Value) -> MigrateResult<u64> {
        let path = format!("/{}/_count", encoded(index));
        loop {
            let body = json!({"query": query});
            let answer: CountAnswer = self.repeat(Method::POST, &path, Some(body)).await?;
            if answer.shards.are_whole() {
                return Ok(answer.count);
            }
            let text = format!("the documents of the index {index} could not be counted");
            self.note_failure(text).await?;
        }
    }

    /// The first and the last time of creation of the documents of an index; nothing if it has none.
    ///
    /// # Errors
    /// A text for the operator.
    pub async fn times(&self, index: &str) -> MigrateResult<Option<(i64, i64)>> {
        let path = format!(
            "/{}/_search?allow_partial_search_results=false",
            encoded(index)
        );
        let field = json!({"field": "p"});
        let body =
            json!({"size": 0, "aggs": {"first": {"min": field.clone()}, "last": {"max": field}}});
        let answer: Value = self.repeat(Method::POST, &path, Some(body)).await?;
        let time = |name: &str| {
            let value = answer
                .pointer(&format!("/aggregations/{name}/value"))?
                .as_f64()?;
            // Milliseconds are far below 2^53.
            #[allow(clippy::cast_possible_truncation)]
            value.is_finite().then_some(value as i64)
        };
        Ok(time("first").zip(time("last")))
    }

    /// The first page of the documents that a query finds, in no order.
    ///
    /// # Errors
    /// [`PageFailure`]
    pub async fn first_page(
        &self,
        index: &str,
        query: &Value,
        size: u64,
    ) -> Result<HitPage, PageFailure> {
        let path = format!(
            "/{}/_search?scroll={KEEP_ALIVE}&allow_partial_search_results=false",
            encoded(index)
        );
        let body = json!({"size": size, "sort": ["_doc"], "version": true, "query": query});
        self.page(index, &path, body).await
    }

    /// The page after another one; without documents after the last one.
    ///
    /// # Errors
    /// [`PageFailure`]
    pub async fn next_page(&self, index: &str, scroll: &str) -> Result<HitPage, PageFailure> {
        let body = json!({"scroll": KEEP_ALIVE, "scroll_id": scroll});
        self.page(index, "/_search/scroll", body).await
    }

    /// Ends a scroll, which would end by itself later.
    pub async fn end(&self, scroll: &str) {
        let body = json!({"scroll_id": [scroll]});
        let _ = self
            .call(Method::DELETE, "/_search/scroll", Some(body))
            .await;
    }

    /// A request that gets a page is never repeated: the scroll may have gone on, although the answer was lost.
    async fn page(&self, index: &str, path: &str, body: Value) -> Result<HitPage, PageFailure> {
        let answer = self.call(Method::POST, path, Some(body)).await;
        let answer = answer.map_err(|failure| match failure {
            CallFailure::Transient(text) => PageFailure::Lost(text),
            CallFailure::TooLarge => PageFailure::TooLarge,
            CallFailure::Fatal(text) => PageFailure::Fatal(text),
        })?;
        let answer: SearchAnswer<'_> = serde_json::from_slice(&answer)
            .map_err(|error| PageFailure::Fatal(self.unreadable(path, &error)))?;
        if answer.timed_out || !answer.shards.are_whole() {
            let text = format!("some shards of the index {index} did not answer");
            return Err(PageFailure::Lost(text));
        }
        let hits = answer.hits.hits.into_iter();
        let lines: Result<Vec<_>, _> = hits.map(|hit| hit.line(index)).collect();
        Ok(HitPage {
            scroll: answer.scroll,
            lines: lines.map_err(PageFailure::Fatal)?,
        })
    }

    async fn get<T: for<'de> Deserialize<'de>>(&self, path: &str) -> MigrateResult<T> {
        self.repeat(Method::GET, path, None).await
    }

    /// Sends a request that may be repeated, until there is an answer.
    async fn repeat<T: for<'de> Deserialize<'de>>(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> MigrateResult<T> {
        loop {
            match self.call(method.clone(), path, body.clone()).await {
                Ok(answer) => {
                    return serde_json::from_slice(&answer)
                        .map_err(|error| self.unreadable(path, &error));
                }
                Err(CallFailure::Transient(text)) => self.note_failure(text).await?,
                Err(CallFailure::Fatal(text)) => return Err(text),
                Err(CallFailure::TooLarge) => {
                    return Err(format!("{}{path}: the answer is too large", self.url));
                }
            }
        }
    }

    fn unreadable(&self, path: &str, error: &serde_json::Error) -> String {
        format!(
            "{}{path}: this is no answer of Elasticsearch: {error}",
            self.url
        )
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<bytes::Bytes, CallFailure> {
        let mut request = OutsideRequest {
            method,
            url: format!("{}{path}", self.url),
            ..OutsideRequest::default()
        };
        if let Some(body) = body {
            let json = "application/json".to_owned();
            request.headers.push(("content-type".into(), json));
            request.body = body.to_string().into_bytes();
        }
        if let Some(authorization) = &self.authorization {
            let name = "authorization".into();
            request.headers.push((name, authorization.clone()));
        }
        let place = request.url.clone();
        let response = match self.client.exchange(request).await {
            Ok(response) => response,
            Err(ExchangeFailure::TooLarge) => return Err(CallFailure::TooLarge),
            Err(ExchangeFailure::Other(text)) => {
                return Err(CallFailure::Transient(format!("{place}: {text}")));
            }
        };
        let text = format!(
            "{place} answers {}: {}",
            response.status,
            shown(&response.shown())
        );
        match response.status {
            200 => Ok(response.body),
            401 | 403 => Err(CallFailure::Fatal(format!(
                "{text}\nThe user needs the privileges monitor of the cluster and read, view_index_metadata, monitor and \
                 maintenance of the indexes (--user, --password-file)"
            ))),
            // The search engine has forgotten the scroll, or is overloaded, or starts.
            404 if is_lost_scroll(&response.body) => Err(CallFailure::Transient(text)),
            429 | 500.. => Err(CallFailure::Transient(text)),
            _ => Err(CallFailure::Fatal(text)),
        }
    }
}

impl IndexStats {
    /// The numbers of the last changes, if all shards know theirs.
    fn changes(&self, index: &str) -> Result<String, String> {
        let mut out = String::new();
        for (shard, copies) in &self.shards {
            let is_primary = |copy: &&Value| {
                copy.pointer("/routing/primary").and_then(Value::as_bool) == Some(true)
            };
            let number = copies.iter().find(is_primary);
            let number = number.and_then(|copy| copy.pointer("/seq_no/max_seq_no")?.as_i64());
            let number = number.ok_or_else(|| {
                format!(
                    "the shard {shard} of the index {} has no number of changes",
                    shown(index)
                )
            })?;
            out.push_str(&format!("{shard}:{number} "));
        }
        match out.is_empty() {
            true => Err(format!("the index {} has no shards", shown(index))),
            false => Ok(out),
        }
    }
}

impl Hit<'_> {
    /// The document as a line of an export.
    fn line(&self, index: &str) -> Result<Vec<u8>, String> {
        if self.index != index {
            return Err(format!(
                "the index {index} answers with a document of {}",
                shown(&self.index)
            ));
        }
        let text = |text: &str| Value::from(text).to_string();
        let mut line = format!(
            "{{\"_index\":{},\"_type\":{},\"_id\":{},\"_version\":{},\"_source\":",
            text(&self.index),
            text(&self.kind),
            text(&self.id),
            self.version
        )
        .into_bytes();
        // There is no line break within a text of JSON.
        let source = self.source.get().bytes();
        line.extend(source.map(|byte| if byte == b'\n' { b' ' } else { byte }));
        line.extend_from_slice(b"}\n");
        Ok(line)
    }
}

fn is_lost_scroll(body: &[u8]) -> bool {
    const KIND: &[u8] = b"search_context_missing_exception";
    body.windows(KIND.len()).any(|window| window == KIND)
}

fn encoded(name: &str) -> String {
    utf8_percent_encode(name, IN_PATH).to_string()
}

/// A text of the search engine without control characters.
fn shown(text: &str) -> String {
    const MAX_CHARS: usize = 500;
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(plain).take(MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    const ABOUT: &str = r#"{"version":{"number":"7.17.6"}}"#;
    const LIMITS: EngineLimits = EngineLimits {
        exchange: ExchangeLimits {
            timeout: Duration::from_secs(60),
            body_bytes: 2_000,
        },
        failures_max: 3,
        first: Duration::from_millis(1),
        longest: Duration::from_millis(1),
    };

    /// The address of a server that gives these answers, one after the other.
    fn answering(answers: Vec<(u16, String)>) -> EngineAddress {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for (status, body) in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut read = [0; 65_536];
                let _ = stream.read(&mut read).unwrap();
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
                );
                stream.write_all((head + &body).as_bytes()).unwrap();
            }
        });
        EngineAddress::new(&url, None, None).unwrap()
    }

    async fn connected(mut answers: Vec<(u16, String)>) -> Elasticsearch {
        answers.insert(0, (200, ABOUT.to_owned()));
        let connected = Elasticsearch::connect(&answering(answers), LIMITS).await;
        connected.unwrap()
    }

    async fn page(answer: &str) -> Result<HitPage, PageFailure> {
        let engine = connected(vec![(200, answer.to_owned())]).await;
        engine.first_page("u0_a", &json!({}), 10).await
    }

    #[tokio::test]
    async fn other_programs_and_versions_are_refused() {
        for (about, is_accepted) in [
            (ABOUT, true),
            (r#"{"version":{"number":"8.1.0"}}"#, false),
            (r#"{"version":{"number":"6.8.23"}}"#, false),
            (
                r#"{"version":{"number":"7.10.2","distribution":"opensearch"}}"#,
                false,
            ),
            ("{}", false),
            ("<html>", false),
        ] {
            let address = answering(vec![(200, about.to_owned())]);
            let connected = Elasticsearch::connect(&address, LIMITS).await;
            assert_eq!(connected.is_ok(), is_accepted, "{about}");
        }
    }

    #[tokio::test]
    async fn attempts_end_after_some_failures_in_a_row() {
        let busy = |status| (status, "busy".to_owned());
        let count = (
            200,
            r#"{"count":7,"_shards":{"total":2,"successful":2,"failed":0}}"#.to_owned(),
        );
        let engine = connected(vec![busy(429), busy(503), count.clone()]).await;
        assert_eq!(engine.count("u0_a", &json!({})).await, Ok(7));
        let engine = connected(vec![busy(500), busy(502), busy(503), count]).await;
        let refused = engine.count("u0_a", &json!({})).await.unwrap_err();
        assert!(refused.contains("3 attempts have failed"), "{refused}");
        let refused = connected(vec![(403, "no".to_owned())]).await;
        let refused = refused.count("u0_a", &json!({})).await.unwrap_err();
        assert!(refused.contains("--password-file"), "{refused}");
    }

    #[tokio::test]
    async fn pages_are_whole_or_refused() {
        let hit = |index: &str, source: &str| {
            format!(
                r#"{{"_scroll_id":"s","timed_out":false,"_shards":{{"total":2,"successful":2,"failed":0}},"hits":{{"hits":[{{"_index":"{index}","_type":"_doc",
                "_id":"a\"b","_version":3,"sort":[0],"_source":{source}}}]}}}}"#
            )
        };
        let read = page(&hit("u0_a", "{\n\"p\": 1.50,\n\"s\": {\"x\": \"a\\nb\"}}")).await;
        let read = read.unwrap();
        let line = String::from_utf8(read.lines[0].clone()).unwrap();
        assert_eq!(read.scroll, "s");
        assert_eq!(
            line,
            "{\"_index\":\"u0_a\",\"_type\":\"_doc\",\"_id\":\"a\\\"b\",\"_version\":3,\"_source\":\
             { \"p\": 1.50, \"s\": {\"x\": \"a\\nb\"}}}\n"
        );
        let foreign = page(&hit("u0_b", "{}")).await;
        assert!(matches!(foreign, Err(PageFailure::Fatal(_))));
        let part = hit("u0_a", "{}").replace("\"failed\":0", "\"failed\":1");
        assert!(matches!(page(&part).await, Err(PageFailure::Lost(_))));
        let part = hit("u0_a", "{}").replace("\"successful\":2", "\"successful\":1");
        assert!(matches!(page(&part).await, Err(PageFailure::Lost(_))));
        let late = hit("u0_a", "{}").replace("false", "true");
        assert!(matches!(page(&late).await, Err(PageFailure::Lost(_))));
        assert!(matches!(page("[1]").await, Err(PageFailure::Fatal(_))));
        let large = page(&hit("u0_a", &format!("[{}0]", "0,".repeat(1_000)))).await;
        assert!(matches!(large, Err(PageFailure::TooLarge)));
        let engine = connected(vec![(
            404,
            r#"{"type":"search_context_missing_exception"}"#.to_owned(),
        )]);
        let lost = engine.await.next_page("u0_a", "s").await;
        assert!(matches!(lost, Err(PageFailure::Lost(_))));
        let engine = connected(vec![(
            404,
            r#"{"type":"index_not_found_exception"}"#.to_owned(),
        )]);
        let gone = engine.await.first_page("u0_a", &json!({}), 1).await;
        assert!(matches!(gone, Err(PageFailure::Fatal(_))));
    }

    #[test]
    fn passwords_are_not_part_of_urls() {
        for (url, is_accepted) in [
            ("http://localhost:9200", true),
            ("https://search.example/elastic/", true),
            ("http://me:secret@localhost:9200", false),
            ("ftp://localhost/", false),
            ("http://localhost:9200/?x=1", false),
            ("documents.ndjson", false),
        ] {
            let parsed = EngineAddress::new(url, None, None);
            assert_eq!(parsed.is_ok(), is_accepted, "{url}");
            assert!(!format!("{parsed:?}").contains("me:secret"), "{parsed:?}");
        }
    }
}
