//! A unit that publishes its events at a broker.

use personium_testkit::{ProcessUnitBuilder, TestClient, wait_until};
use serde_json::Value;

use super::{BusEvent, EventBus, Outage, Refusal, post};
use crate::storage_unit::StorageUnit;

/// The largest number of events of a cell that wait for a broker.
pub(super) const WAITING_MAX: u32 = 40;
/// The number of events that are lost when too many wait.
const LOST: u32 = 3;

/// A broker, with a reader of what is published there.
pub(super) trait Broker {
    /// Adds its settings to those of a unit.
    fn configure(&self, unit: ProcessUnitBuilder) -> ProcessUnitBuilder;

    /// Begins to read the events from now on, or from the beginning.
    async fn listen(&mut self);

    /// The next event. Connects again where that is necessary, and goes on after the last one.
    async fn next(&mut self) -> BusEvent;

    /// Ends it by SIGKILL, with all connections.
    fn kill(&mut self);

    /// Starts it again.
    fn start_again(&mut self);

    /// Makes it slow: it accepts what comes and answers nothing.
    fn pause(&self);

    /// Lets it go on.
    fn resume(&self);

    /// A part of the reason why it refuses a large event.
    fn refusal(&self) -> &'static str;
}

/// The event in the format for other systems.
pub(super) fn published(event: &Value) -> BusEvent {
    let text = |name: &str| event[name].as_str().unwrap().to_owned();
    BusEvent::new(&text("Cell"), text("Id"), event)
}

pub(super) struct BrokerUnit<B> {
    pub(super) unit: StorageUnit,
    pub(super) broker: B,
}

impl<B: Broker> BrokerUnit<B> {
    pub(super) async fn start(broker: B) -> Self {
        let unit = broker.configure(crate::unit());
        let unit = tokio::task::spawn_blocking(|| StorageUnit::start(unit));
        Self {
            unit: unit.await.unwrap(),
            broker,
        }
    }

    /// Waits until so many events wait for the broker.
    pub(super) async fn wait_for_waiting(&self, at_least: u32) {
        wait_until("it is shown how many events wait", async || {
            self.unit.metric("personium_event_bus_waiting").await >= at_least.into()
        })
        .await;
    }

    /// The number of events that were lost to the broker.
    pub(super) async fn lost(&self) -> u64 {
        self.unit.metric("personium_event_bus_lost_total").await
    }

    async fn expect_lost(&self, lost: u32) {
        assert_eq!(self.lost().await, u64::from(lost));
    }

    pub(super) async fn wait_until_none_waits(&self) {
        wait_until("none waits", async || {
            self.unit.metric("personium_event_bus_waiting").await == 0
        })
        .await;
    }
}

impl<B: Broker> EventBus for BrokerUnit<B> {
    fn admin(&self) -> TestClient {
        self.unit.admin()
    }

    async fn listen(&mut self) {
        self.broker.listen().await;
    }

    async fn next(&mut self) -> BusEvent {
        self.broker.next().await
    }

    fn carries_reads(&self) -> bool {
        false
    }

    async fn fail(&mut self, outage: Outage) {
        match outage {
            Outage::Down => tokio::task::block_in_place(|| self.broker.kill()),
            Outage::ProcessKilled => {
                self.wait_for_waiting(8).await;
                self.expect_lost(0).await;
                tokio::task::block_in_place(|| {
                    self.unit.kill();
                    self.unit.restart();
                });
            }
            Outage::Stuck => {
                tokio::task::block_in_place(|| self.broker.start_again());
                self.broker.pause();
            }
            Outage::Over => {
                self.wait_for_waiting(6).await;
                self.broker.resume();
            }
        }
    }

    /// Writes go on while the broker is away.
    fn may_refuse(&self) -> bool {
        false
    }

    async fn expect_all_carried(&self) {
        self.wait_until_none_waits().await;
        self.expect_lost(0).await;
    }

    /// The broker takes no large messages.
    async fn refuse(&mut self, _: &str) -> Refusal {
        Refusal {
            action: "publish",
            rule: Value::Null,
            reason: self.broker.refusal(),
        }
    }

    fn carries_refused(&self) -> bool {
        false
    }

    async fn expect_one_set_aside(&self) {
        wait_until("it is counted", async || {
            let name = "personium_event_bus_set_aside_total";
            self.unit.metric(name).await == 1
        })
        .await;
        self.wait_until_none_waits().await;
    }

    /// Writes go on, and events wait in the store up to the setting.
    async fn check_more_than_is_kept(&mut self) {
        tokio::task::block_in_place(|| self.broker.kill());
        let admin = self.admin();
        let info = |number: u32| format!("waiting {number}");
        for number in 0..WAITING_MAX + LOST {
            assert!(post(&admin, "c", &info(number)).await);
        }
        self.wait_for_waiting(WAITING_MAX).await;
        self.expect_lost(LOST).await;
        tokio::task::block_in_place(|| self.broker.start_again());
        for number in 0..WAITING_MAX {
            // One that came before may come again.
            while self.broker.next().await.info != info(number) {}
        }
        self.wait_until_none_waits().await;
    }
}
