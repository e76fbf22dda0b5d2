//! A topic at the cluster: the leaders of its partitions, connections that are used one after the other, and writing.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use personium_types::error::chain;
use personium_types::{Clock, Random};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::connection::{Connection, RequestKind};
use crate::error::{ErrorCode, KafkaError};
use crate::partition::partition_of;
use crate::record_batch::{self, Record};
use crate::settings::{BrokerHost, KafkaSettings};
use crate::wire::{Malformed, Reader, Writer};

/// The operations at the same time, each of which has a connection.
const OPERATIONS_MAX: usize = 16;
/// The time after which a connection is not used again: the broker may have closed it.
const IDLE_TIME: Duration = Duration::from_secs(60);
/// The time after which the leaders are asked for anew: partitions may have been added.
const LEADERS_TIME: Duration = Duration::from_secs(300);
/// The pause between two attempts of an operation that a broker may accept a little later. Half of the time-out is used for them.
const PAUSE: Duration = Duration::from_millis(200);
/// The longest name of a host in bytes (RFC 1035, section 2.3.4).
const HOST_MAX_BYTES: usize = 255;
/// All replicas in sync must have the records.
const ALL: i16 = -1;

/// A topic.
pub(crate) struct Topic {
    settings: KafkaSettings,
    name: String,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    operations: Semaphore,
    leaders: Mutex<Option<(Arc<Leaders>, Instant)>>,
    idle: Mutex<HashMap<BrokerHost, Vec<(Connection, Instant)>>>,
    is_failing: AtomicBool,
}

/// The partitions of a topic, in the order of their numbers, each with the broker that leads it, if one does.
type Leaders = Vec<(i32, Option<BrokerHost>)>;

impl Topic {
    /// A topic with this name. The cluster is connected to when it is first used.
    pub(crate) fn new(
        settings: KafkaSettings,
        name: &str,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        Self {
            settings,
            name: name.to_owned(),
            clock,
            random,
            operations: Semaphore::new(OPERATIONS_MAX),
            leaders: Mutex::default(),
            idle: Mutex::default(),
            is_failing: AtomicBool::new(false),
        }
    }

    /// Appends records of this time (milliseconds since 1970) with one key to the partition of the key, in this order, in parts of which each is stored whole or not at all.
    /// When it returns, all replicas in sync have them.
    ///
    /// # Errors
    /// [`KafkaError`], within the time-out of the settings; then some of them may be stored.
    pub(crate) async fn append(
        &self,
        key: &[u8],
        parts: &[Vec<Record>],
        time_ms: i64,
    ) -> Result<(), KafkaError> {
        let appending = async {
            let _permit = self.operations.acquire().await;
            for records in parts {
                let batch = record_batch::encode(records, time_ms);
                self.append_batch(key, &batch).await?;
            }
            Ok(())
        };
        let appended = timeout(self.settings.timeout, appending).await;
        self.noted(appended.unwrap_or(Err(KafkaError::Silent)))
    }

    async fn append_batch(&self, key: &[u8], batch: &[u8]) -> Result<(), KafkaError> {
        let begin = self.clock.monotonic();
        loop {
            let error = match self.try_append(key, batch).await {
                Err(error) if error.is_passing() => error,
                other => return other,
            };
            // Another broker leads the partition, or soon one will.
            self.forget();
            let passed = self.clock.monotonic().saturating_duration_since(begin);
            if passed > self.settings.timeout / 2 {
                return Err(error);
            }
            sleep(PAUSE).await;
        }
    }

    async fn try_append(&self, key: &[u8], batch: &[u8]) -> Result<(), KafkaError> {
        let leaders = self.leaders().await?;
        let found = leaders.get(partition_of(key, leaders.len()));
        let (number, leader) = found.ok_or(Malformed)?;
        let not_available = || KafkaError::Refused(ErrorCode::LEADER_NOT_AVAILABLE);
        let leader = leader.as_ref().ok_or_else(not_available)?;
        let timeout_ms = i32::try_from(self.settings.timeout.as_millis()).unwrap_or(i32::MAX);
        let mut body = Writer::default();
        body.no_text().i16(ALL).i32(timeout_ms);
        body.i32(1).text(&self.name);
        body.i32(1).i32(*number).bytes(batch);
        let body = body.into_bytes();
        let answer = self.request(leader, RequestKind::PRODUCE, &body).await?;
        let codes = Reader::new(&answer).items(|topic| {
            topic.text()?;
            topic.items(|partition| {
                partition.i32()?;
                let code = partition.i16()?;
                // The offset, the time and the offset of the first record.
                for _ in 0..3 {
                    partition.i64()?;
                }
                Ok(code)
            })
        })?;
        let code = codes.into_iter().flatten().next().ok_or(Malformed)?;
        ErrorCode::check(code)
    }

    /// The leaders of the partitions: those that are known, or new ones. A cluster that creates topics creates the topic.
    async fn leaders(&self) -> Result<Arc<Leaders>, KafkaError> {
        let now = self.clock.monotonic();
        if let Some((known, since)) = &*self.leaders.lock()
            && now.saturating_duration_since(*since) < LEADERS_TIME
        {
            return Ok(Arc::clone(known));
        }
        let mut body = Writer::default();
        body.i32(1).text(&self.name).i8(1);
        let body = body.into_bytes();
        let mut failure = KafkaError::Address("nothing".to_owned());
        let count = u32::try_from(self.settings.hosts.len()).unwrap_or(u32::MAX);
        // A silent broker must not use the time of all others.
        let share = self.settings.timeout / count.saturating_add(1);
        for host in &self.settings.hosts {
            let asking = self.request(host, RequestKind::METADATA, &body);
            match timeout(share, asking).await {
                Ok(Ok(answer)) => {
                    let leaders = Arc::new(leaders_of(&answer)?);
                    *self.leaders.lock() = Some((Arc::clone(&leaders), now));
                    return Ok(leaders);
                }
                Ok(Err(error)) => failure = error,
                Err(_) => failure = KafkaError::Silent,
            }
        }
        Err(failure)
    }

    /// Sends a request over a connection that waited, or over a new one if there is none, or if that has ended meanwhile. So it may be
    /// sent twice.
    async fn request(
        &self,
        host: &BrokerHost,
        kind: RequestKind,
        body: &[u8],
    ) -> Result<Vec<u8>, KafkaError> {
        if let Some(mut connection) = self.take_idle(host)
            && let Ok(answer) = connection.request(kind, body).await
        {
            self.keep(host, connection);
            return Ok(answer);
        }
        let mut connection = Connection::open(&self.settings, host, &*self.random).await?;
        let answer = connection.request(kind, body).await?;
        self.keep(host, connection);
        Ok(answer)
    }

    fn take_idle(&self, host: &BrokerHost) -> Option<Connection> {
        let now = self.clock.monotonic();
        let mut idle = self.idle.lock();
        let of_host = idle.get_mut(host)?;
        of_host.retain(|(_, since)| now.saturating_duration_since(*since) < IDLE_TIME);
        of_host.pop().map(|(connection, _)| connection)
    }

    fn keep(&self, host: &BrokerHost, connection: Connection) {
        let now = self.clock.monotonic();
        let mut idle = self.idle.lock();
        idle.entry(host.clone())
            .or_default()
            .push((connection, now));
    }

    /// Forgets who leads the partitions, and the connections.
    fn forget(&self) {
        *self.leaders.lock() = None;
        self.idle.lock().clear();
    }

    /// Notes and returns the result of an operation.
    fn noted<T>(&self, result: Result<T, KafkaError>) -> Result<T, KafkaError> {
        match &result {
            Ok(_) => {
                if self.is_failing.swap(false, Ordering::Relaxed) {
                    tracing::info!(
                        broker = %self.settings.addresses(),
                        topic = self.name,
                        "the message broker is there again"
                    );
                }
            }
            Err(error) if error.is_refusal() => {}
            Err(error) => {
                // A broken or stuck connection may be all that failed.
                self.forget();
                if !self.is_failing.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        broker = %self.settings.addresses(),
                        topic = self.name,
                        error = %chain(error),
                        "the message broker failed"
                    );
                }
            }
        }
        result
    }
}

/// The leaders in an answer about one topic.
fn leaders_of(answer: &[u8]) -> Result<Leaders, KafkaError> {
    let mut reader = Reader::new(answer);
    // How long the cluster wants to be left alone.
    reader.i32()?;
    let brokers = reader.items(|broker| {
        let (node, name, port) = (broker.i32()?, broker.text()?, broker.i32()?);
        broker.text()?;
        let port = u16::try_from(port).map_err(|_| Malformed)?;
        // Each of many partitions may have a copy of it.
        let name = name.filter(|name| name.len() <= HOST_MAX_BYTES);
        let name = name.ok_or(Malformed)?;
        Ok((node, BrokerHost { name, port }))
    })?;
    let brokers: HashMap<i32, BrokerHost> = brokers.into_iter().collect();
    // The name of the cluster, and its controller.
    reader.text()?;
    reader.i32()?;
    let topics = reader.items(|topic| {
        let code = topic.i16()?;
        topic.text()?;
        topic.i8()?;
        let partitions = topic.items(|partition| {
            partition.i16()?;
            let (number, leader) = (partition.i32()?, partition.i32()?);
            // All replicas, and those in sync.
            partition.items(Reader::i32)?;
            partition.items(Reader::i32)?;
            Ok((number, brokers.get(&leader).cloned()))
        })?;
        Ok((code, partitions))
    })?;
    let (code, mut leaders) = topics.into_iter().next().ok_or(Malformed)?;
    ErrorCode::check(code)?;
    leaders.sort_by_key(|(number, _)| *number);
    Ok(leaders)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer about a topic with partitions that are all led by one broker.
    fn answer(host: &str, partitions: i32) -> Vec<u8> {
        let mut answer = Writer::default();
        answer.i32(0).i32(1).i32(7).text(host).i32(9092).no_text();
        answer.no_text().i32(7);
        answer.i32(1).i16(0).text("events").i8(0).i32(partitions);
        for number in 0..partitions {
            answer.i16(0).i32(number).i32(7).i32(0).i32(0);
        }
        answer.into_bytes()
    }

    #[test]
    fn name_of_a_host_is_not_longer_than_names_are() {
        let leaders = leaders_of(&answer(&"h".repeat(HOST_MAX_BYTES), 3)).unwrap();
        assert_eq!(leaders.len(), 3);
        assert!(leaders.iter().all(|(_, leader)| leader.is_some()));
        // Each partition would have a copy: some megabytes of an answer would be gigabytes of memory.
        assert!(leaders_of(&answer(&"h".repeat(32_000), 3)).is_err());
    }
}
