//! The sequence of the steps of an installation.

use std::sync::Arc;
use std::time::Duration;

use personium_archive::paths;
use personium_types::error::chain;

use crate::error::{InstallError, InstallResult, Remains};
use crate::installer::Installer;
use crate::progress::InstallationResult;
use crate::rollback::{self, FailedBox};

/// The interval at which a running installation stores its heartbeat.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);

impl Installer {
    /// Installs the content of the box. If a step fails, the box is removed with everything that was made, and the error is
    /// reported as an event and as the status of the box.
    pub async fn run(self) {
        let installer = Arc::new(self);
        // A task of its own, so that a panic ends only the step.
        let steps = tokio::spawn({
            let installer = Arc::clone(&installer);
            async move { installer.install().await }
        });
        tokio::pin!(steps);
        let mut heartbeat = tokio::time::interval(HEARTBEAT_INTERVAL);
        heartbeat.tick().await;
        let result = loop {
            tokio::select! {
                result = &mut steps => break result,
                _ = heartbeat.tick() => installer.store_progress_or_warn(None).await,
            }
        };
        let box_url = installer.box_url();
        match result.unwrap_or_else(|panic| Err(InstallError::internal(&box_url, panic))) {
            Ok(()) => {
                installer
                    .post_event("PL-BI-0000", &box_url, "Bar installation completed.")
                    .await;
                let done = Some(InstallationResult::Done);
                installer.store_progress_or_warn(done).await;
            }
            Err(error) => installer.fail(&error).await,
        }
    }

    /// Reports an error and removes what was made.
    async fn fail(&self, error: &InstallError) {
        let failed = FailedBox {
            cell: self.target.cell,
            id: self.target.box_id,
        };
        self.post_event(error.code, &error.entry, &error.reason)
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
                rollback::remove_box(&self.unit, &self.authority, failed, &state).await;
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
                self.store_progress_or_warn(result).await;
            }
        }
    }

    async fn install(&self) -> InstallResult {
        if !self.package.is_legacy() {
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
