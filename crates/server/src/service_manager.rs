//! The state of the process, told to the service manager that started it (systemd, `sd_notify(3)`; others do not ask for it).

use sd_notify::NotifyState;

/// Says that the unit answers requests.
pub(crate) fn notify_ready() {
    notify(&[
        NotifyState::Ready,
        NotifyState::Status("answering requests"),
    ]);
}

/// Says that the unit is finishing the requests in hand and ends.
pub(crate) fn notify_stopping() {
    notify(&[
        NotifyState::Stopping,
        NotifyState::Status("finishing requests"),
    ]);
}

/// Without a service manager, nothing is sent.
fn notify(state: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager was not told the state of the unit");
    }
}
