//! The task that keeps this process registered.

use std::time::Duration;

use personium_types::error::chain;

use super::RENEWAL_INTERVAL;
use crate::Unit;

/// The time between two looks at the other server nodes.
const OBSERVATION_INTERVAL: Duration = Duration::from_secs(1);
const OBSERVATIONS_PER_RENEWAL: u64 = RENEWAL_INTERVAL.as_secs() / OBSERVATION_INTERVAL.as_secs();

/// Keeps this process registered, and removes the records of server nodes that are dead. If the store is not shared, it ends as
/// soon as the process is registered.
pub async fn maintain(unit: &Unit) {
    for turn in 0_u64.. {
        if turn % OBSERVATIONS_PER_RENEWAL == 0 {
            match unit.renew_node().await {
                Ok(()) if !unit.store().is_shared() => return,
                Ok(()) => {}
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "failed to renew the server node, will retry");
                }
            }
        }
        if unit.store().is_shared()
            && let Err(error) = unit.remove_dead_nodes().await
        {
            tracing::warn!(error = %chain(&error), "failed to look at other server nodes, will retry");
        }
        tokio::time::sleep(OBSERVATION_INTERVAL).await;
    }
}
