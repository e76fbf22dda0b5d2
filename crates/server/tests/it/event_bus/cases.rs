//! The cases of the contract, which every bus passes one after the other.

use std::collections::{BTreeMap, BTreeSet};

use personium_testkit::wait_until;

use super::{BusEvent, EventBus, Outage, post};

/// The number of external events of each cell.
const EVENTS: u32 = 30;
/// The events before which something fails.
const OUTAGES: [(u32, Outage); 4] = [
    (9, Outage::Down),
    (17, Outage::ProcessKilled),
    (21, Outage::Stuck),
    (27, Outage::Over),
];
/// The information of an event that is refused outside of the unit. It is large, because brokers refuse that, and has more bytes than
/// characters.
const REFUSED_CHARS: usize = 50_000;
const REFUSED_CHAR: &str = "\u{e9}";

/// Checks all cases with a bus whose unit is new.
pub(super) async fn check(bus: impl EventBus) {
    let mut case = Case { bus };
    let admin = case.bus.admin();
    admin.create_cell("c").await;
    admin.create_cell("d").await;
    case.bus.listen().await;
    case.changes_come_with_their_cell_and_without_content()
        .await;
    case.acknowledged_events_come_in_order_although_all_are_killed()
        .await;
    case.event_that_is_refused_is_set_aside_and_the_next_ones_come()
        .await;
    case.bus.check_more_than_is_kept().await;
}

struct Case<B> {
    bus: B,
}

impl<B: EventBus> Case<B> {
    async fn changes_come_with_their_cell_and_without_content(&mut self) {
        let admin = self.bus.admin();
        admin.create_box("c", "b").await;
        let event = self.bus.next().await;
        assert_eq!(event.kind, "cellctl.Box.create");
        assert!(!event.is_external);
        assert_eq!(event.cell, admin.cell_url("c"));
        let read = admin.admin_request("GET", "c/__ctl/Box?$top=1");
        read.send().await.expect(200);
        if self.bus.carries_reads() {
            assert_eq!(self.bus.next().await.kind, "cellctl.Box.list");
        }
        admin.put_file("c/b/f", "secret content").await;
        let event = self.bus.next().await;
        assert_eq!(event.kind, "davfile.create");
        assert!(!event.text.contains("secret"), "{}", event.text);
    }

    /// The bus dies under load, a process while the bus is down, and then something is stuck.
    async fn acknowledged_events_come_in_order_although_all_are_killed(&mut self) {
        let mut acknowledged = BTreeSet::new();
        for number in 0..EVENTS {
            if let Some((_, outage)) = OUTAGES.iter().find(|(before, _)| *before == number) {
                self.bus.fail(*outage).await;
            }
            for cell in ["c", "d"] {
                let admin = self.bus.admin();
                if post(&admin, cell, &number.to_string()).await {
                    acknowledged.insert((admin.cell_url(cell), number));
                } else {
                    assert!(self.bus.may_refuse(), "{cell}: {number}");
                }
            }
        }
        let mut events: BTreeMap<String, Vec<(String, u32)>> = BTreeMap::new();
        let mut received = BTreeSet::new();
        while !received.is_superset(&acknowledged) {
            let event = self.bus.next().await;
            assert!(event.is_external, "{event:?}");
            let number: u32 = event.info.parse().unwrap();
            received.insert((event.cell.clone(), number));
            events
                .entry(event.cell)
                .or_default()
                .push((event.id, number));
        }
        for (cell, events) in events {
            // One that came twice has the same id; by their ids all are in order, and so they first came.
            let different: BTreeMap<&String, u32> =
                events.iter().map(|(id, number)| (id, *number)).collect();
            let numbers: Vec<u32> = different.into_values().collect();
            let in_order = numbers.windows(2).all(|pair| pair[0] < pair[1]);
            assert!(in_order, "{cell}: {numbers:?}");
            let mut first = Vec::new();
            for (_, number) in events {
                if !first.contains(&number) {
                    first.push(number);
                }
            }
            assert!(first.is_sorted(), "{cell}: {first:?}");
        }
        self.bus.expect_all_carried().await;
    }

    async fn event_that_is_refused_is_set_aside_and_the_next_ones_come(&mut self) {
        let refused = REFUSED_CHAR.repeat(REFUSED_CHARS);
        let refusal = self.bus.refuse(REFUSED_CHAR).await;
        let admin = self.bus.admin();
        let infos = [refused.as_str(), "next", "last"];
        for info in infos {
            assert!(post(&admin, "c", info).await);
        }
        let carried = if self.bus.carries_refused() {
            &infos
        } else {
            &infos[1..]
        };
        for info in carried {
            assert!(self.next_external().await.info == *info);
        }
        let listed = async || {
            let listed = admin.admin_request("GET", "c/__rule/failed").send().await;
            let listed = listed.expect(200).json();
            listed["requests"].as_array().unwrap().clone()
        };
        wait_until("it is set aside", async || !listed().await.is_empty()).await;
        self.bus.expect_one_set_aside().await;
        let letters = listed().await;
        let [letter] = letters.as_slice() else {
            panic!("{letters:?}");
        };
        assert_eq!(letter["Action"], refusal.action);
        assert_eq!(letter["Rule"], refusal.rule);
        assert_eq!(letter["Event"]["Info"], refused);
        let status = letter["Status"].as_str().unwrap();
        assert!(status.contains(refusal.reason), "{status}");
        let path = format!("c/__rule/failed/{}", letter["Id"].as_str().unwrap());
        let removed = admin.admin_request("DELETE", &path).send().await;
        removed.expect(204);
        assert!(listed().await.is_empty());
    }

    /// The next external event that comes for the first time.
    async fn next_external(&mut self) -> BusEvent {
        loop {
            let event = self.bus.next().await;
            // What comes twice was read before.
            if event.is_external && event.info.parse::<u32>().is_err() {
                return event;
            }
        }
    }
}
