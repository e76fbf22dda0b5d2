//! The worker that fires the timers of rules.

use std::time::Duration;

use personium_model::Unit;
use personium_model::event::timer;
use personium_types::error::chain;

/// The time between two looks for timers that are due.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Fires the timers of the unit until it is dropped.
pub async fn fire_timers(unit: &Unit) {
    loop {
        match timer::fire_due(unit).await {
            Ok(true) => {}
            Ok(false) => tokio::time::sleep(POLL_INTERVAL).await,
            Err(error) => {
                tracing::error!(error = %chain(&error), "failed to fire timers, will retry");
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        }
    }
}
