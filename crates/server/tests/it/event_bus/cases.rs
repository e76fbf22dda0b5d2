//! The cases of the contract, which every bus passes one after the other.

use std::collections::{BTreeMap, BTreeSet};

use personium_testkit::wait_until;
use serde_json::Value;

use super::{BusEvent, EventBus, WAITING_MAX, post, wait_for_waiting};
use crate::storage_unit::StorageUnit;

/// The number of external events of each cell.
const EVENTS: u32 = 30;
/// The number of events that a broker loses when too many wait.
const LOST: u32 = 3;
/// The information of a large event, which brokers of tests refuse: more bytes than characters.
const LARGE_CHARS: usize = 50_000;

/// Checks all cases with a new unit.
pub(super) async fn check(bus: impl EventBus) {
    let unit = bus.configure(crate::unit());
    let unit = tokio::task::spawn_blocking(|| StorageUnit::start(unit));
    let mut case = Case {
        unit: unit.await.unwrap(),
        bus,
    };
    let admin = case.unit.admin();
    admin.create_cell("c").await;
    admin.create_cell("d").await;
    case.bus.listen().await;
    case.changes_come_with_their_cell_and_without_content()
        .await;
    case.acknowledged_events_come_in_order_although_all_are_killed()
        .await;
    case.event_that_is_refused_is_set_aside_and_the_next_ones_come()
        .await;
    case.too_many_that_wait_are_counted().await;
}

struct Case<B> {
    unit: StorageUnit,
    bus: B,
}

impl<B: EventBus> Case<B> {
    async fn next(&mut self) -> BusEvent {
        self.bus.next().await
    }

    async fn post(&self, cell: &str, info: &str) {
        post(&self.unit, cell, info).await;
    }

    fn kill_bus(&mut self) {
        tokio::task::block_in_place(|| self.bus.kill());
    }

    fn start_bus_again(&mut self) {
        tokio::task::block_in_place(|| self.bus.start_again());
    }

    async fn changes_come_with_their_cell_and_without_content(&mut self) {
        let admin = self.unit.admin();
        admin.create_box("c", "b").await;
        let event = self.next().await;
        assert_eq!(event.kind, "cellctl.Box.create");
        assert!(!event.is_external);
        assert_eq!(event.cell, self.unit.cell_url("c"));
        // Reading is not published.
        let read = admin.admin_request("GET", "c/__ctl/Box?$top=1");
        read.send().await.expect(200);
        admin.put_file("c/b/f", "secret content").await;
        let event = self.next().await;
        assert_eq!(event.kind, "davfile.create");
        assert!(!event.text.contains("secret"), "{}", event.text);
    }

    /// The bus dies under load, the process while the bus is down, and then the bus is stuck.
    async fn acknowledged_events_come_in_order_although_all_are_killed(&mut self) {
        let mut posted = BTreeSet::new();
        for number in 0..EVENTS {
            for cell in ["c", "d"] {
                self.post(cell, &number.to_string()).await;
                posted.insert((self.unit.cell_url(cell), number));
            }
            match number {
                8 => {
                    self.kill_bus();
                }
                16 => {
                    wait_for_waiting(&self.unit, 8).await;
                    let lost = self.unit.metric("personium_event_bus_lost_total");
                    assert_eq!(lost.await, 0);
                    tokio::task::block_in_place(|| {
                        self.unit.kill();
                        self.unit.restart();
                    });
                }
                20 => {
                    self.start_bus_again();
                    self.bus.pause();
                }
                26 => {
                    wait_for_waiting(&self.unit, 6).await;
                    self.bus.resume();
                }
                _ => {}
            }
        }
        let mut events: BTreeMap<String, Vec<(String, u32)>> = BTreeMap::new();
        let mut received = BTreeSet::new();
        while received.len() < posted.len() {
            let event = self.next().await;
            assert!(event.is_external, "{event:?}");
            let number: u32 = event.info.parse().unwrap();
            received.insert((event.cell.clone(), number));
            events
                .entry(event.cell)
                .or_default()
                .push((event.id, number));
        }
        assert_eq!(received, posted);
        for (cell, events) in events {
            // One that came twice has the same id; by their ids all are in order, and so they first came.
            let different: BTreeMap<&String, u32> =
                events.iter().map(|(id, number)| (id, *number)).collect();
            let numbers: Vec<u32> = different.into_values().collect();
            assert_eq!(numbers, (0..EVENTS).collect::<Vec<u32>>(), "{cell}");
            let mut first = Vec::new();
            for (_, number) in events {
                if !first.contains(&number) {
                    first.push(number);
                }
            }
            assert!(first.is_sorted(), "{cell}: {first:?}");
        }
        self.wait_until_none_waits().await;
        let lost = self.unit.metric("personium_event_bus_lost_total");
        assert_eq!(lost.await, 0);
    }

    async fn wait_until_none_waits(&mut self) {
        wait_until("none waits", async || {
            self.unit.metric("personium_event_bus_waiting").await == 0
        })
        .await;
    }

    async fn event_that_is_refused_is_set_aside_and_the_next_ones_come(&mut self) {
        let large = "\u{e9}".repeat(LARGE_CHARS);
        let admin = self.unit.admin();
        for info in [large.as_str(), "next", "last"] {
            self.post("c", info).await;
        }
        for info in ["next", "last"] {
            assert_eq!(self.next_information().await, info);
        }
        let failed = async || {
            let listed = admin.admin_request("GET", "c/__rule/failed").send().await;
            let listed = listed.expect(200).json();
            listed["requests"].as_array().unwrap().clone()
        };
        wait_until("it is set aside", async || {
            self.unit
                .metric("personium_event_bus_set_aside_total")
                .await
                == 1
        })
        .await;
        self.wait_until_none_waits().await;
        let letters = failed().await;
        let [letter] = letters.as_slice() else {
            panic!("{letters:?}");
        };
        assert_eq!(letter["Action"], "publish");
        assert_eq!(letter["Rule"], Value::Null);
        assert_eq!(letter["Event"]["Info"], large);
        let status = letter["Status"].as_str().unwrap();
        assert!(status.contains(self.bus.refusal()), "{status}");
        let path = format!("c/__rule/failed/{}", letter["Id"].as_str().unwrap());
        admin
            .admin_request("DELETE", &path)
            .send()
            .await
            .expect(204);
    }

    /// The information of the next event that comes for the first time.
    async fn next_information(&mut self) -> String {
        loop {
            let event = self.next().await;
            // What comes twice was read before.
            if event.info.parse::<u32>().is_err() {
                return event.info;
            }
        }
    }

    /// Writes go on, and events wait in the store up to the setting.
    async fn too_many_that_wait_are_counted(&mut self) {
        self.kill_bus();
        for number in 0..WAITING_MAX + LOST {
            self.post("c", &format!("waiting {number}")).await;
        }
        wait_for_waiting(&self.unit, WAITING_MAX.into()).await;
        let lost = self.unit.metric("personium_event_bus_lost_total").await;
        assert_eq!(lost, u64::from(LOST));
        self.start_bus_again();
        for number in 0..WAITING_MAX {
            let expected = format!("waiting {number}");
            while self.next_information().await != expected {}
        }
        self.wait_until_none_waits().await;
    }
}
