//! The feed of a unit of one process, whose store is its own.

use std::time::Duration;

use personium_testkit::{TestClient, wait_until};

use super::feed::FeedListeners;
use super::{BusEvent, EventBus, Outage, Refusal};
use crate::storage_unit::StorageUnit;

/// The time for which the process is stuck.
const STUCK: Duration = Duration::from_secs(1);

pub(super) struct ProcessFeed {
    unit: StorageUnit,
    listeners: FeedListeners,
    is_down: bool,
}

impl ProcessFeed {
    pub(super) fn start() -> Self {
        let private = "io.personium.core.outgoing.privateNetworks.enabled";
        Self {
            unit: StorageUnit::start(crate::unit().setting(private, true)),
            listeners: FeedListeners::new(),
            is_down: false,
        }
    }
}

impl EventBus for ProcessFeed {
    fn admin(&self) -> TestClient {
        self.unit.admin()
    }

    async fn listen(&mut self) {
        let Self {
            unit, listeners, ..
        } = self;
        listeners.listen(&|| unit.admin()).await;
    }

    async fn next(&mut self) -> BusEvent {
        let Self {
            unit, listeners, ..
        } = self;
        listeners.next(&|| unit.admin()).await
    }

    fn carries_reads(&self) -> bool {
        true
    }

    /// The process carries the events, so it is what dies.
    async fn fail(&mut self, outage: Outage) {
        match outage {
            Outage::Down => self.unit.kill(),
            Outage::ProcessKilled => tokio::task::block_in_place(|| {
                self.unit.restart();
                self.unit.kill();
            }),
            Outage::Stuck => {
                tokio::task::block_in_place(|| self.unit.restart());
                self.unit.pause();
                tokio::time::sleep(STUCK).await;
                self.unit.resume();
            }
            Outage::Over => {}
        }
        self.is_down = matches!(outage, Outage::Down | Outage::ProcessKilled);
    }

    fn may_refuse(&self) -> bool {
        self.is_down
    }

    async fn refuse(&mut self, beginning: &str) -> Refusal {
        self.listeners.refuse(&self.unit.admin(), beginning).await
    }

    fn carries_refused(&self) -> bool {
        true
    }

    async fn expect_one_set_aside(&self) {
        wait_until("it is counted", async || {
            let name = "personium_rule_requests_failed_total";
            self.unit.metric(name).await == 1
        })
        .await;
    }

    async fn check_more_than_is_kept(&mut self) {
        let Self {
            unit, listeners, ..
        } = self;
        listeners.check_more_than_is_kept(&|| unit.admin()).await;
    }
}
