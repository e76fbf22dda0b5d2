//! A broker without space: a real disk that is full, and a limit of its store, with which it answers nothing or refuses everything.

use std::collections::BTreeSet;

use personium_testkit::OnFullStore;

use super::activemq::ActiveMqBus;
use super::broker::{Broker, BrokerUnit, WAITING_MAX};
use super::kafka::KafkaOnDisk;
use super::{EventBus, post};

/// The number of events that are lost before there is space.
const LOST: u64 = 3;
/// The number of events by which the broker must be full.
const EVENTS_MAX: u64 = 2_000;
/// The length of the information of an event.
const LARGE_CHARS: usize = 40_000;
/// The size of the disk of a cluster.
const DISK_MIB: u64 = 64;

/// A broker that can be left without space.
pub(super) trait FullBroker: Broker {
    /// Takes its space, or lets it be used by the events that come.
    fn fill(&mut self);

    /// Gives it space again.
    fn make_room(&mut self);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_wait_for_an_activemq_broker_that_blocks_because_its_store_is_full() {
    check(|| Some(ActiveMqBus::with_small_store(OnFullStore::Block))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_wait_for_an_activemq_broker_that_refuses_because_its_store_is_full() {
    check(|| Some(ActiveMqBus::with_small_store(OnFullStore::Refuse))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_wait_for_a_kafka_cluster_whose_disk_is_full() {
    check(|| KafkaOnDisk::start(DISK_MIB)).await;
}

fn info(number: u64) -> String {
    format!("{number} {}", "x".repeat(LARGE_CHARS))
}

/// The events that came, each once.
#[derive(Default)]
struct Published {
    ids: BTreeSet<String>,
    /// Their numbers, in the order in which they first came.
    numbers: Vec<u64>,
}

impl Published {
    /// Receives until so many different events have come.
    async fn receive<B: Broker>(&mut self, bus: &mut BrokerUnit<B>, events: u64) {
        while (self.ids.len() as u64) < events {
            let event = bus.next().await;
            let is_new = self.ids.insert(event.id);
            if is_new && event.is_external {
                let number = event.info.split(' ').next().unwrap();
                self.numbers.push(number.parse().unwrap());
            }
        }
    }
}

/// Writes go on while the broker has no space; as many events wait as the setting says, further ones are counted as lost; when there is
/// space, all others come in order, and none was set aside.
async fn check<B: FullBroker + Send + 'static>(start: impl FnOnce() -> Option<B> + Send + 'static) {
    let broker = tokio::task::spawn_blocking(start).await.unwrap();
    let Some(broker) = broker else {
        return;
    };
    let mut bus = BrokerUnit::start(broker).await;
    let admin = bus.admin();
    admin.create_cell("c").await;
    bus.listen().await;
    let mut published = Published::default();
    assert!(post(&admin, "c", &info(0)).await);
    published.receive(&mut bus, 1).await;

    tokio::task::block_in_place(|| bus.broker.fill());
    let mut posted = 1;
    while bus.lost().await < LOST {
        assert!(posted < EVENTS_MAX, "the broker does not become full");
        assert!(post(&admin, "c", &info(posted)).await);
        posted += 1;
    }
    bus.wait_for_waiting(WAITING_MAX).await;
    // A change, which has an event too.
    admin.create_role("c", "r").await;
    let lost = bus.lost().await;
    let (status, ready) = bus.unit.admin_text("ready").await;
    assert_eq!(status, 200, "{ready}");

    tokio::task::block_in_place(|| bus.broker.make_room());
    published.receive(&mut bus, posted + 1 - lost).await;
    bus.wait_until_none_waits().await;
    assert_eq!(bus.lost().await, lost);
    let set_aside = bus.unit.metric("personium_event_bus_set_aside_total").await;
    assert_eq!(set_aside, 0);
    assert!(post(&admin, "c", &info(posted)).await);
    published.receive(&mut bus, posted + 2 - lost).await;
    assert!(published.numbers.is_sorted(), "{:?}", published.numbers);
    assert_eq!(published.numbers.last(), Some(&posted));
}
