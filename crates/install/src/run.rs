//! The sequence of the steps of an installation.

use std::time::Duration;

use personium_archive::paths;

use crate::error::InstallResult;
use crate::installer::Installer;
use crate::progress::InstallationResult;

/// The interval at which a running installation stores its heartbeat.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);

impl Installer {
    /// Installs the content of the box. An error is stored with the box and reported as an event.
    pub async fn run(self) {
        let steps = self.install();
        tokio::pin!(steps);
        let mut heartbeat = tokio::time::interval(HEARTBEAT_INTERVAL);
        let result = loop {
            tokio::select! {
                result = &mut steps => break result,
                _ = heartbeat.tick() => self.store_progress_or_warn(None).await,
            }
        };
        let box_url = self.box_url();
        let result = match result {
            Ok(()) => {
                self.post_event("PL-BI-0000", &box_url, "Bar installation completed.")
                    .await;
                InstallationResult::Done
            }
            Err(error) => {
                self.post_event(error.code, &error.entry, &error.reason)
                    .await;
                self.post_event("PL-BI-0001", &box_url, "Bar installation failed.")
                    .await;
                InstallationResult::Failed {
                    code: error.code.to_owned(),
                    text: format!("{}: {}", error.entry, error.reason),
                }
            }
        };
        self.store_progress_or_warn(Some(result)).await;
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
