//! The search engine of an original: Elasticsearch in a process of its own.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use personium_testkit::{OnDrop, Process, free_port};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::external_programs::java_command;

/// The time that the search engine may take until it answers.
const START_SECONDS: u32 = 120;
/// The number of indexes that are created at the same time.
const CONCURRENT_CREATIONS: usize = 8;

/// A search engine. Dropping it kills the process.
#[derive(Clone)]
pub struct SearchEngine {
    port: u16,
    process: Arc<Mutex<Option<Process>>>,
    folder: Arc<TempDir>,
}

impl SearchEngine {
    /// Starts one without indexes.
    pub fn start() -> Self {
        // Each index has many small files that are flushed.
        let memory = Path::new("/dev/shm");
        let folder = match memory.is_dir() {
            true => tempfile::tempdir_in(memory),
            false => tempfile::tempdir(),
        };
        let engine = Self {
            port: free_port(),
            process: Arc::default(),
            folder: Arc::new(folder.unwrap()),
        };
        engine.start_again();
        engine
    }

    /// Starts it after [`Self::kill`], with what it had.
    pub fn start_again(&self) {
        let mut command = java_command("elasticsearch", "ElasticsearchNode.java");
        command.env(
            "JDK_JAVA_OPTIONS",
            "-Xmx256m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
        );
        command
            .arg(self.folder.path())
            .arg(self.port.to_string())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        let started = Process::listen(&mut command, self.port, OnDrop::Kill);
        *self.process.lock().unwrap() = Some(started.unwrap().0);
        for _ in 0..START_SECONDS * 10 {
            let path = "/_cluster/health?wait_for_status=green&timeout=60s";
            if self
                .try_call("GET", path, "")
                .is_some_and(|(status, _)| status == 200)
            {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("the search engine does not answer");
    }

    /// Kills the process.
    pub fn kill(&self) {
        *self.process.lock().unwrap() = None;
    }

    /// Whether the process was killed.
    pub fn is_killed(&self) -> bool {
        self.process.lock().unwrap().is_none()
    }

    /// Its address: a host and a port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Sends a request, which must succeed. Returns the answer.
    pub fn call(&self, method: &str, path: &str, body: &str) -> String {
        let (status, answer) = self.try_call(method, path, body).unwrap();
        assert!(status < 300, "{method} {path}: {status} {answer}");
        answer
    }

    fn try_call(&self, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(self.address()).ok()?;
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).ok()?;
        stream.write_all(body.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// Creates the indexes of documents, and adds them. `mapping` gives the mapping of an index.
    pub fn load(&self, documents: &[Value], mapping: impl Fn(&str) -> Value) {
        let names: BTreeSet<&str> = documents
            .iter()
            .map(|document| document["_index"].as_str().unwrap())
            .collect();
        let names: Vec<(&str, String)> = names
            .into_iter()
            .map(|name| {
                // As the original sets them, but for the number of shards.
                let settings = json!({
                    "number_of_shards": 2, "number_of_replicas": 0, "refresh_interval": "-1",
                    "mapping.total_fields.limit": 10_000,
                });
                let index = json!({"mappings": mapping(name), "settings": settings});
                (name, index.to_string())
            })
            .collect();
        for names in names.chunks(CONCURRENT_CREATIONS) {
            thread::scope(|scope| {
                for (name, index) in names {
                    scope.spawn(move || self.call("PUT", &format!("/{name}"), index));
                }
            });
        }
        self.add(documents);
    }

    /// Adds documents with their versions to indexes that exist.
    pub fn add(&self, documents: &[Value]) {
        let mut lines = String::new();
        for document in documents {
            let cell = document["_source"]["c"].as_str().unwrap_or("pcsCell");
            let action = json!({"index": {
                "_index": document["_index"], "_id": document["_id"], "routing": cell,
                "version": document["_version"], "version_type": "external",
            }});
            lines.push_str(&format!("{action}\n{}\n", document["_source"]));
        }
        let added = self.call("POST", "/_bulk", &lines);
        assert!(added.contains("\"errors\":false"), "{added}");
    }

    /// Removes a document of a cell.
    pub fn remove(&self, document: &Value) {
        let (index, id) = (document["_index"].as_str(), document["_id"].as_str());
        let cell = document["_source"]["c"].as_str().unwrap();
        let path = format!("/{}/_doc/{}?routing={cell}", index.unwrap(), id.unwrap());
        self.call("DELETE", &path, "");
    }
}
