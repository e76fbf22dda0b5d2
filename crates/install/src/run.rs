//! The sequence of the steps of an installation.

use std::sync::Arc;
use std::time::Duration;

use personium_archive::paths;
use personium_types::error::chain;
use tokio::task::JoinSet;

use crate::error::{InstallError, InstallResult, Remains};
use crate::installer::Installer;
use crate::progress::InstallationResult;
use crate::rollback::{self, FailedBox};

/// The interval at which a running installation looks whether it still is one of this process.
const CLAIM_CHECK_INTERVAL: Duration = Duration::from_secs(1);

impl Installer {
    /// Installs the content of the box. If a step fails, the box is removed with everything that was made, and the error is
    /// reported as an event and as the status of the box. If other server nodes find this one dead, it ends: one of them removes
    /// the box.
    pub async fn run(self) {
        let installer = Arc::new(self);
        // A task of its own, so that a panic ends only the step.
        let mut steps = JoinSet::new();
        steps.spawn({
            let installer = Arc::clone(&installer);
            let installing = async move { installer.install().await };
            personium_trace::within(personium_trace::current(), installing)
        });
        let mut check = tokio::time::interval(CLAIM_CHECK_INTERVAL);
        let result = loop {
            tokio::select! {
                result = steps.join_next() => break result,
                _ = check.tick() => {
                    if matches!(installer.is_own().await, Ok(false)) {
                        break None;
                    }
                }
            }
        };
        // Without a result the steps end here.
        let Some(result) = result else {
            return;
        };
        let box_url = installer.box_url();
        let result = result.unwrap_or_else(|panic| Err(InstallError::internal(&box_url, panic)));
        if matches!(installer.is_own().await, Ok(false)) {
            return;
        }
        let is_over = match result {
            Ok(()) => installer.complete().await,
            Err(error) => installer.fail(&error).await,
        };
        if is_over && let Err(error) = installer.target.claim.release(&installer.unit).await {
            tracing::warn!(
                cell.id = %installer.target.cell,
                error = %chain(&error),
                "failed to release the claim of an installation"
            );
        }
    }

    /// Reports that everything was installed. Returns whether that was stored.
    async fn complete(&self) -> bool {
        self.post_event("PL-BI-0000", &self.box_url(), "Bar installation completed.")
            .await;
        let done = Some(InstallationResult::Done);
        self.store_progress_or_warn(done).await
    }

    /// Reports an error and removes what was made. Returns whether that is done.
    async fn fail(&self, error: &InstallError) -> bool {
        let failed = FailedBox {
            cell: self.target.cell,
            id: self.target.box_id,
        };
        self.post_event(error.code, &error.entry, &error.event_text())
            .await;
        self.post_event("PL-BI-0001", &self.box_url(), &error.summary())
            .await;
        let result = Some(InstallationResult::Failed {
            code: error.code.to_owned(),
            text: error.text(),
        });
        match error.remains {
            Remains::Nothing => {
                let state = self.state(result);
                rollback::remove_box(&self.unit, &self.authority, failed, &state).await
            }
            Remains::Collections => {
                let removed = rollback::remove_objects(&self.unit, &self.authority, failed).await;
                if let Err(error) = removed {
                    tracing::warn!(
                        cell.id = %failed.cell,
                        box.id = %failed.id,
                        error = %chain(&error),
                        "failed to remove the roles and rules of a failed installation"
                    );
                }
                self.store_progress_or_warn(result).await
            }
        }
    }

    async fn install(&self) -> InstallResult {
        if !self.package.is_legacy() {
            self.report_start().await;
            // The manifest was read before and is not part of the total.
            self.set_done_entries(0);
        } else if let Some(manifest) = self.package.find(paths::MANIFEST) {
            self.start_entry(&manifest).await;
            self.end_entry(&manifest).await;
        }
        self.install_control_objects().await?;
        let described = self.install_collections().await?;
        self.install_contents(&described).await
    }
}
