//! Installations of a unit with several server nodes: each is one of its server node, and removed when that is dead.

use std::sync::Arc;
use std::time::Duration;

use personium_install::{InstallAuthority, InstallationStatus, Installer};
use personium_model::keys;
use personium_model::server_node;
use personium_testkit::{ModelUnit, cell_permit, server_authority, wait_until};
use personium_types::Operation;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::archive::install_request;

const HOUR_MS: i64 = 3_600_000;

/// A running server node.
struct RunningNode {
    unit: ModelUnit,
    tasks: Vec<JoinHandle<()>>,
}

impl RunningNode {
    fn start(unit: ModelUnit) -> Self {
        let model = unit.model.clone();
        let maintained = tokio::spawn(async move { server_node::maintain(&model).await });
        let model = unit.model.clone();
        let cleaned = tokio::spawn(async move {
            let authority = InstallAuthority::new(server_authority().clone());
            loop {
                authority.remove_unfinished(&model).await.unwrap();
                sleep(Duration::from_secs(2)).await;
            }
        });
        Self {
            unit,
            tasks: vec![maintained, cleaned],
        }
    }

    /// Ends it as by `kill -9`.
    fn kill(&self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.unit.records.suspend_process();
    }

    async fn installer(&self) -> Installer {
        let context = self.unit.context().await;
        let permit = cell_permit(&context, Operation::InstallBox);
        let authority = InstallAuthority::new(server_authority().clone());
        let request = install_request().await;
        let installer = authority.start(&self.unit.model, &context, &permit, request);
        installer.await.unwrap()
    }

    /// Starts an installation, and suspends the process before its n-th commit. `None` if it was complete before.
    async fn install_until(&self, commit: usize) -> Option<JoinHandle<()>> {
        let installer = self.installer().await;
        let (records, (reached, is_reached)) = (self.unit.records.clone(), oneshot::channel());
        self.unit.interrupt_commit(commit, async move {
            records.suspend_process();
            reached.send(()).unwrap();
        });
        let mut running = tokio::spawn(installer.run());
        tokio::select! {
            _ = &mut running => None,
            reached = is_reached => {
                reached.unwrap();
                let status = self.status().await;
                let is_running = matches!(status, Some(InstallationStatus::Running { .. }));
                is_running.then_some(running)
            }
        }
    }

    /// The status of the box `new`; `None` if there is none.
    async fn status(&self) -> Option<InstallationStatus> {
        // Another server node may have changed the boxes.
        let unit = self.unit.server_node(0);
        let context = unit.context().await;
        let info = context.find_box("new").await.unwrap()?;
        let status = personium_install::status(&unit.model, &context, &info).await;
        Some(status.unwrap())
    }

    async fn has_claims(&self) -> bool {
        let markers = keys::installation_markers().range;
        !self.unit.model.records().is_empty(&markers).await.unwrap()
    }

    /// The number of roles and relations of the cell.
    async fn count_objects(&self) -> usize {
        let unit = self.unit.server_node(0);
        let records = unit.context().await.records().clone();
        let mut count = 0;
        for set in [keys::ControlSet::Role, keys::ControlSet::Relation] {
            let range = keys::entities(&keys::SetKey::control(set));
            count += records.count(&range).await.unwrap();
        }
        usize::try_from(count).unwrap()
    }
}

/// Two server nodes of a unit with the cell `c`.
async fn two_nodes() -> (RunningNode, RunningNode) {
    let unit = ModelUnit::new().await;
    let (a, b) = (unit.server_node(HOUR_MS), unit.server_node(0));
    unit.model.leave().await.unwrap();
    let nodes = (RunningNode::start(a), RunningNode::start(b));
    sleep(Duration::from_secs(5)).await;
    nodes
}

#[tokio::test(start_paused = true)]
async fn installation_of_a_living_server_node_is_not_disturbed() {
    let (a, b) = two_nodes().await;
    let installer = a.installer().await;
    let _starting = RunningNode::start(b.unit.server_node(-HOUR_MS));
    sleep(Duration::from_secs(120)).await;
    let status = b.status().await.unwrap();
    assert!(
        matches!(status, InstallationStatus::Running { .. }),
        "{status:?}"
    );
    installer.run().await;
    let status = b.status().await.unwrap();
    assert!(
        matches!(status, InstallationStatus::Ready { .. }),
        "{status:?}"
    );
    assert!(!b.has_claims().await);
}

#[tokio::test(start_paused = true)]
async fn installation_of_a_killed_server_node_is_removed_within_ten_seconds() {
    for commit in 0.. {
        let (a, b) = two_nodes().await;
        let Some(running) = a.install_until(commit).await else {
            assert!(commit > 5, "the installation has several steps");
            return;
        };
        let status = b.status().await.unwrap();
        assert!(
            matches!(status, InstallationStatus::Running { .. }),
            "commit {commit}: {status:?}"
        );
        a.kill();
        running.abort();
        let elapsed = wait_until("the claim is released", async || !b.has_claims().await);
        assert!(elapsed.await < Duration::from_secs(10), "commit {commit}");
        assert_eq!(b.status().await, None, "commit {commit}");
        assert_eq!(b.count_objects().await, 0, "commit {commit}");
        let unit = b.unit.server_node(0);
        let context = unit.context().await;
        let failed = personium_install::find_failure(&unit.model, &context, "new").await;
        let failed = failed.unwrap().unwrap();
        assert!(
            matches!(failed.status, InstallationStatus::Failed { .. }),
            "commit {commit}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn suspended_server_node_installs_nothing_after_the_takeover() {
    for commit in 0.. {
        let (a, b) = two_nodes().await;
        let Some(running) = a.install_until(commit).await else {
            assert!(commit > 5, "the installation has several steps");
            return;
        };
        sleep(Duration::from_secs(20)).await;
        assert_eq!(b.status().await, None, "commit {commit}");
        a.unit.records.resume_process();
        running.await.unwrap();
        sleep(Duration::from_secs(5)).await;
        assert_eq!(b.status().await, None, "commit {commit}");
        assert_eq!(b.count_objects().await, 0, "commit {commit}");
        // The name is free.
        b.installer().await.run().await;
        let status = b.status().await.unwrap();
        assert!(
            matches!(status, InstallationStatus::Ready { .. }),
            "commit {commit}: {status:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn box_that_is_created_after_the_takeover_is_refused() {
    let (a, b) = two_nodes().await;
    let (records, (reached, is_reached)) = (a.unit.records.clone(), oneshot::channel());
    // After the claim, before the box.
    a.unit.interrupt_commit(1, async move {
        records.suspend_process();
        reached.send(()).unwrap();
    });
    let a = Arc::new(a);
    let starting = {
        let a = Arc::clone(&a);
        let request = install_request().await;
        tokio::spawn(async move {
            let context = a.unit.context().await;
            let permit = cell_permit(&context, Operation::InstallBox);
            let authority = InstallAuthority::new(server_authority().clone());
            let started = authority.start(&a.unit.model, &context, &permit, request);
            started.await.is_ok()
        })
    };
    is_reached.await.unwrap();
    assert!(b.has_claims().await);
    sleep(Duration::from_secs(20)).await;
    assert!(!b.has_claims().await);
    a.unit.records.resume_process();
    assert!(!starting.await.unwrap());
    assert_eq!(b.status().await, None);
}
