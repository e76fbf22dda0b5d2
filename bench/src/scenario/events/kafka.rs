//! Events for other systems: from a unit through a Kafka broker to a consumer, and as many records of Kafka's own producer.

use std::time::Duration;

use personium_testkit::{Kafka, KafkaCounter};

use super::EventsBench;
use super::arrivals::{self, ArrivedEvents};
use super::broker::{Bus, MEASURED_PART};
use crate::BenchResult;

/// The topic of the records of the bare producer.
const BARE_TOPIC: &str = "bare";
/// The pause between two looks whether a consumer has begun, and the number of looks.
const PAUSE: Duration = Duration::from_millis(20);
const LOOKS: u32 = 3_000;

impl ArrivedEvents for KafkaCounter {
    fn count(&self) -> f64 {
        self.records() as f64
    }

    fn is_over(&self) -> bool {
        Self::is_over(self)
    }
}

impl EventsBench<'_> {
    /// Measures how fast events that wait for a Kafka broker reach a consumer, and as many records of the producer of Kafka's library.
    pub(super) async fn kafka(&mut self) -> BenchResult {
        if !Kafka::is_installed() {
            let note = "not compared with Kafka: `cargo xtask clients` has not installed it";
            self.section.note(note);
            return Ok(());
        }
        let broker = Kafka::start();
        let bus = Bus {
            name: "kafka",
            address: broker.url(),
        };
        let (unit, cell) = self.unit_with(&bus).await?;
        let consumer = begun_counter(&broker, Bus::TOPIC).await?;
        broker.pause();
        let posted = self.post_waiting(&unit, &cell).await?;
        broker.resume();
        let seconds = self.context.profile(Bus::CONNECTIONS).duration;
        let due = posted.per_second * seconds.as_secs_f64();
        let published = arrivals::rate(&consumer, due * MEASURED_PART).await?;
        let (records, bytes) = (consumer.records(), consumer.bytes());
        drop((consumer, unit));
        let size = bytes / records.max(1);
        let consumer = begun_counter(&broker, BARE_TOPIC).await?;
        broker.send_records(BARE_TOPIC, records, size);
        let bare = arrivals::rate(&consumer, records as f64 * MEASURED_PART).await?;
        self.section.measured_rate(
            "events of one cell that waited for Kafka to a consumer",
            published,
        );
        self.section.measured_rate(
            format!("baseline: producer of Kafka's library, records of {size} bytes with one key"),
            bare,
        );
        self.section.note(format!(
            "events of one cell pass Kafka at {:.2} times the rate of its own producer",
            published / bare
        ));
        Ok(())
    }
}

/// A consumer that knows its topic.
async fn begun_counter(broker: &Kafka, topic: &str) -> BenchResult<KafkaCounter> {
    let counter = broker.counter(topic);
    for _ in 0..LOOKS {
        if counter.has_begun() {
            return Ok(counter);
        }
        if ArrivedEvents::is_over(&counter) {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(format!("no consumer of the topic {topic} could begin"))
}
