//! Loads of a Kafka broker by Kafka's own client library.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::kafka::Kafka;
use crate::process::{OnDrop, Process};

/// A consumer that counts the records of a topic. Dropping it ends its process.
#[derive(Debug)]
pub struct KafkaCounter {
    progress: Arc<Progress>,
    _process: Process,
}

#[derive(Debug, Default)]
struct Progress {
    has_begun: AtomicBool,
    records: AtomicU64,
    bytes: AtomicU64,
    is_over: AtomicBool,
}

impl Progress {
    /// Reads a line with the number of records and the sum of their sizes.
    fn read(&self, line: &str) -> Option<()> {
        let (records, bytes) = line.split_once(' ')?;
        self.bytes.store(bytes.parse().ok()?, Ordering::Relaxed);
        self.records.store(records.parse().ok()?, Ordering::Relaxed);
        self.has_begun.store(true, Ordering::Release);
        Some(())
    }
}

impl KafkaCounter {
    /// Whether it knows the topic, and counts.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.progress.has_begun.load(Ordering::Acquire)
    }

    /// The number of records until now.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.progress.records.load(Ordering::Relaxed)
    }

    /// The sum of the sizes of their values.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.progress.bytes.load(Ordering::Relaxed)
    }

    /// Whether its process has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.progress.is_over.load(Ordering::Relaxed)
    }
}

impl Kafka {
    /// A consumer that counts the records of a topic from its beginning. The topic is created if it is missing.
    #[must_use]
    pub fn counter(&self, topic: &str) -> KafkaCounter {
        let mut command = self.load(&["count", &self.reader_host(), topic]);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = Process::spawn(&mut command, OnDrop::Kill);
        let output = process.take_stdout().unwrap();
        let progress = Arc::<Progress>::default();
        let read = Arc::clone(&progress);
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                if line.ok().and_then(|line| read.read(&line)).is_none() {
                    break;
                }
            }
            read.is_over.store(true, Ordering::Relaxed);
        });
        KafkaCounter {
            progress,
            _process: process,
        }
    }

    /// Sends so many records with values of this size to a topic, all with one key, and waits until they are acknowledged.
    pub fn send_records(&self, topic: &str, count: u64, bytes: u64) {
        let arguments = [count, bytes].map(|number| number.to_string());
        let [count, bytes] = &arguments;
        let mut command = self.load(&["send", &self.reader_host(), topic, count, bytes]);
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {text}");
    }

    fn load(&self, arguments: &[&str]) -> std::process::Command {
        let program = self.folder().join("KafkaLoad.java");
        fs::write(&program, include_str!("../kafka/KafkaLoad.java")).unwrap();
        let mut command = self.java();
        command.arg("-Xmx128m").arg(program).args(arguments);
        command
    }
}
