//! Advice about ports that cannot be listened on.

use std::io;

/// The advice, to be put behind the error; empty if there is none.
pub(crate) fn port_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; ports below 1024 need CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrInUse => {
            "; `ss -ltnp` shows the program that listens there: end it, or choose another port"
        }
        io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
        _ => "",
    }
}
