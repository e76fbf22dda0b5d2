//! The feed of a unit of several server nodes, whose store is a PostgreSQL database.

use std::sync::atomic::{AtomicUsize, Ordering};

use personium_testkit::{PostgresCluster, ProcessUnit, TestClient, wait_until};

use super::feed::FeedListeners;
use super::{BusEvent, EventBus, Outage, Refusal, post};
use crate::nodes::Nodes;

/// The node that is killed, at which the clients listen first, and the one that is stuck.
const KILLED: usize = 0;
const STUCK: usize = 1;
/// A cell that nobody listens to.
const OTHER_CELL: &str = "other";

pub(super) struct NodesFeed {
    cluster: PostgresCluster,
    unit: RunningNodes,
    listeners: FeedListeners,
    may_refuse: bool,
}

/// The server nodes, of which some may answer nothing.
struct RunningNodes {
    nodes: Nodes,
    is_silent: Vec<bool>,
    next: AtomicUsize,
}

impl RunningNodes {
    fn answering(&self) -> Vec<&ProcessUnit> {
        let nodes = self.nodes.nodes.iter().zip(&self.is_silent);
        nodes
            .filter(|(_, is_silent)| !**is_silent)
            .map(|(node, _)| node)
            .collect()
    }

    /// A client of the nodes that answer, one after the other.
    fn admin(&self) -> TestClient {
        let answering = self.answering();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        answering[number % answering.len()].admin()
    }
}

impl NodesFeed {
    pub(super) fn start() -> Self {
        let cluster = PostgresCluster::start();
        let nodes = Nodes::start_with_private_networks(&cluster);
        let is_silent = vec![false; nodes.nodes.len()];
        Self {
            cluster,
            unit: RunningNodes {
                nodes,
                is_silent,
                next: AtomicUsize::new(KILLED),
            },
            listeners: FeedListeners::new(),
            may_refuse: false,
        }
    }
}

impl EventBus for NodesFeed {
    fn admin(&self) -> TestClient {
        self.unit.admin()
    }

    async fn listen(&mut self) {
        let Self {
            unit, listeners, ..
        } = self;
        unit.admin().create_cell(OTHER_CELL).await;
        // At the node that will die.
        let node = unit.nodes.nodes[KILLED].admin();
        listeners.listen(&|| node.clone()).await;
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

    /// The database carries the events.
    async fn fail(&mut self, outage: Outage) {
        let nodes = &mut self.unit.nodes.nodes;
        match outage {
            Outage::Down => {
                self.may_refuse = true;
                tokio::task::block_in_place(|| self.cluster.kill());
            }
            Outage::ProcessKilled => {
                self.unit.is_silent[KILLED] = true;
                nodes[KILLED].kill();
            }
            Outage::Stuck => {
                tokio::task::block_in_place(|| {
                    self.cluster.restart();
                    nodes[KILLED].restart();
                });
                self.unit.is_silent[KILLED] = false;
                nodes[STUCK].pause();
                self.unit.is_silent[STUCK] = true;
            }
            Outage::Over => {
                nodes[STUCK].resume();
                for node in self.unit.answering() {
                    // Of its connections some may still be to the killed server.
                    let admin = node.admin();
                    wait_until("a node writes again", async || {
                        post(&admin, OTHER_CELL, "again").await
                    })
                    .await;
                }
                self.may_refuse = false;
            }
        }
    }

    fn may_refuse(&self) -> bool {
        self.may_refuse
    }

    async fn refuse(&mut self, beginning: &str) -> Refusal {
        let admin = self.unit.admin();
        self.listeners.refuse(&admin, beginning).await
    }

    fn carries_refused(&self) -> bool {
        true
    }

    /// One of the nodes has counted it; what is listed is the same for all.
    async fn expect_one_set_aside(&self) {
        for node in self.unit.answering() {
            let listed = node.admin_request("GET", "c/__rule/failed").send().await;
            let listed = listed.expect(200).json();
            assert_eq!(listed["requests"].as_array().map(Vec::len), Some(1));
        }
    }

    async fn check_more_than_is_kept(&mut self) {
        let Self {
            unit, listeners, ..
        } = self;
        listeners.check_more_than_is_kept(&|| unit.admin()).await;
    }
}
