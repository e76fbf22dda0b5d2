//! The signal that stops a script before its time is over.

use tokio::sync::watch;

/// A signal that a script must stop: the value `true`, or the end of its sender.
#[derive(Debug, Clone)]
pub struct ScriptStop(pub watch::Receiver<bool>);

impl ScriptStop {
    /// Whether the script must stop.
    pub(crate) fn is_set(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Waits until the script must stop; forever without a signal.
    pub(crate) async fn wait(stop: Option<Self>) {
        match stop {
            None => std::future::pending().await,
            // An error is the end of the sender.
            Some(mut stop) => drop(stop.0.wait_for(|must_stop| *must_stop).await),
        }
    }
}
