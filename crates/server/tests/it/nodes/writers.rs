//! Clients that write under load, and the ledger of what was acknowledged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use personium_testkit::{Nginx, TestClient};
use tokio::task::JoinHandle;

/// The files between two large ones.
const LARGE_EVERY: usize = 5;

/// The size of a file whose body is not kept in its record.
const LARGE_BYTES: usize = 150_000;

/// The pause after a refusal.
const PAUSE: Duration = Duration::from_millis(50);

/// The outcome of what [`Writers`] wrote.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// The files that were acknowledged.
    names: Vec<String>,
    /// The number of refusals by status, 0 for a connection without an answer.
    refused: BTreeMap<u16, usize>,
    /// The first answer with each of these statuses.
    answers: BTreeMap<u16, String>,
}

impl Written {
    pub(super) fn count_refused(&self, status: u16) -> usize {
        self.refused.get(&status).copied().unwrap_or_default()
    }

    pub(super) fn count_other_than(&self, statuses: &[u16]) -> usize {
        let others = self
            .refused
            .iter()
            .filter(|(status, _)| !statuses.contains(status));
        others.map(|(_, count)| count).sum()
    }

    /// Checks that at least `count` files were acknowledged, and that all of them are there.
    pub(super) async fn expect_kept(&self, client: &TestClient, count: usize) {
        assert!(
            self.names.len() >= count,
            "only {} writes",
            self.names.len()
        );
        expect_files(client, &self.names).await;
    }

    fn add(&mut self, other: Self) {
        self.names.extend(other.names);
        for (status, count) in other.refused {
            *self.refused.entry(status).or_default() += count;
        }
        for (status, answer) in other.answers {
            self.answers.entry(status).or_insert(answer);
        }
    }
}

/// The content of the file with this name.
pub(super) fn content(name: &str) -> Vec<u8> {
    let number = name
        .rsplit('-')
        .next()
        .and_then(|n| n.parse::<usize>().ok());
    match number {
        Some(number) if number % LARGE_EVERY == LARGE_EVERY - 1 => {
            name.bytes().cycle().take(LARGE_BYTES).collect()
        }
        _ => name.as_bytes().to_vec(),
    }
}

/// Checks that files are there, each with the content that its name says.
pub(super) async fn expect_files(client: &TestClient, names: &[String]) {
    for name in names {
        let read = client.request("GET", name).send().await.expect(200);
        assert!(read.body == content(name) || read.text() == *name, "{name}");
    }
}

/// Clients that write new files into the box `c/box`, each one after the other.
pub(super) struct Writers {
    is_over: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Written>>,
}

impl Writers {
    /// Starts clients of a web layer. A refused write is counted, and never repeated.
    pub(super) fn start(nginx: &Nginx, clients: usize) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let start = |writer| {
            let client = nginx.client().admin();
            tokio::spawn(write(client, writer, Arc::clone(&is_over)))
        };
        let tasks = (0..clients).map(start).collect();
        Self { is_over, tasks }
    }

    /// Ends the clients.
    pub(super) async fn end(self) -> Written {
        self.is_over.store(true, Ordering::Relaxed);
        let mut all = Written::default();
        for task in self.tasks {
            all.add(task.await.unwrap());
        }
        all
    }
}

async fn write(client: TestClient, writer: usize, is_over: Arc<AtomicBool>) -> Written {
    let mut written = Written::default();
    for number in 0.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let name = format!("c/box/w{writer}-{number}");
        let put = client.request("PUT", &name).body(content(&name));
        let (status, answer) = match put.try_send().await {
            Ok(answer) => (answer.status.as_u16(), answer.text()),
            Err(error) => (0, error.to_string()),
        };
        // A refusal has a code of the unit or of its web layer.
        let is_coded = matches!(status, 0 | 201) || answer.contains("\"code\":\"PR");
        assert!(is_coded, "{name}: {status} {answer}");
        if status == 201 {
            written.names.push(name);
        } else {
            *written.refused.entry(status).or_default() += 1;
            let answer = format!("{name}: {answer}");
            written.answers.entry(status).or_insert(answer);
            tokio::time::sleep(PAUSE).await;
        }
    }
    written
}
