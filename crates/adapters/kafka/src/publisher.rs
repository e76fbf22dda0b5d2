//! Events for other systems, in a topic of the cluster.
//!
//! The key of a record is the URL of the cell, so that the events of a cell are in one partition, in their order. Its value is the event as
//! JSON, its headers are `personium-id`, `personium-cell`, `personium-type` and `content-type`, its time is when it was published.

use std::sync::Arc;

use async_trait::async_trait;
use personium_store::{EventPublisher, OutgoingEvent, PublishError};
use personium_types::error::chain;
use personium_types::{Clock, Random};

use crate::record_batch::Record;
use crate::settings::KafkaSettings;
use crate::topic::Topic;

/// The size of records that are stored as one, bytes: half of what a cluster accepts unless it is set up for less or more.
const PART_MAX_BYTES: usize = 512 << 10;

/// The publisher of events to a topic.
pub struct KafkaPublisher {
    topic: Topic,
    clock: Arc<dyn Clock>,
}

impl KafkaPublisher {
    /// A publisher to the topic with this name. It connects when something is published.
    #[must_use]
    pub fn new(
        settings: KafkaSettings,
        topic: &str,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        Self {
            topic: Topic::new(settings, topic, Arc::clone(&clock), random),
            clock,
        }
    }
}

fn record(event: &OutgoingEvent) -> Record {
    let headers = [
        ("personium-id", event.id.as_str()),
        ("personium-cell", event.cell.as_str()),
        ("personium-type", event.kind.as_str()),
        ("content-type", "application/json;charset=utf-8"),
    ];
    Record {
        key: event.cell.as_bytes().to_vec(),
        value: event.body.to_vec(),
        headers: headers
            .map(|(name, value)| (name, value.as_bytes().to_vec()))
            .to_vec(),
    }
}

/// Puts records into parts that are not larger than a limit, unless one record is.
fn parts(records: impl Iterator<Item = Record>, max_bytes: usize) -> Vec<Vec<Record>> {
    let mut parts: Vec<Vec<Record>> = Vec::new();
    let mut bytes = 0;
    for record in records {
        let size = record.size();
        match parts.last_mut() {
            Some(part) if bytes + size <= max_bytes => {
                bytes += size;
                part.push(record);
            }
            _ => {
                bytes = size;
                parts.push(vec![record]);
            }
        }
    }
    parts
}

#[async_trait]
impl EventPublisher for KafkaPublisher {
    async fn publish(&self, events: &[OutgoingEvent]) -> Result<(), PublishError> {
        let now_ms = self.clock.now_ms();
        for of_cell in events.chunk_by(|one, next| one.cell == next.cell) {
            let Some(first) = of_cell.first() else {
                continue;
            };
            let parts = parts(of_cell.iter().map(record), PART_MAX_BYTES);
            let appended = self
                .topic
                .append(first.cell.as_bytes(), &parts, now_ms)
                .await;
            appended.map_err(|error| match error.is_refusal() {
                true => PublishError::Refused(chain(&error).to_string()),
                false => PublishError::Down(chain(&error).to_string()),
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_keep_the_order_and_are_not_larger_than_the_limit_unless_one_record_is() {
        let record = |size: usize| Record {
            key: Vec::new(),
            value: vec![0; size],
            headers: Vec::new(),
        };
        let sizes = |records: &[usize]| -> Vec<Vec<usize>> {
            let parts = parts(records.iter().copied().map(record), 10);
            let of_part = |part: &Vec<Record>| part.iter().map(Record::size).collect();
            parts.iter().map(of_part).collect()
        };
        assert_eq!(sizes(&[]), Vec::<Vec<usize>>::new());
        assert_eq!(sizes(&[4, 6, 1]), [vec![4, 6], vec![1]]);
        assert_eq!(sizes(&[11, 1, 10]), [vec![11], vec![1], vec![10]]);
    }
}
