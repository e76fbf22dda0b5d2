//! The check of the ports that a unit listens on.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::report::CheckReport;
use crate::port_advice::port_advice;

/// The time within which a running unit accepts a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Reports whether a unit can listen on an address, or does. `is_running` says whether one uses the data folder.
pub(super) fn check_port(
    report: &mut CheckReport,
    (check, address): (&'static str, SocketAddr),
    is_running: bool,
) {
    match TcpListener::bind(address) {
        Ok(_) => report.ok(check, format!("{address} is free")),
        Err(error) if is_running && is_taken(&error) && accepts(address) => report.ok(
            check,
            format!("{address} is open; a unit runs on this data folder"),
        ),
        Err(error) => report.error(check, format!("{address}: {error}{}", port_advice(&error))),
    }
}

/// Whether a port of this machine cannot be had. Without the right to it, the system does not say whether it is in use.
fn is_taken(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied
    )
}

/// Whether somebody listens on an address of this machine.
fn accepts(mut address: SocketAddr) -> bool {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_is_free_used_by_the_unit_or_used_by_another_program() {
        let open = TcpListener::bind("0.0.0.0:0").unwrap();
        let used = open.local_addr().unwrap();
        let found = |address: SocketAddr, is_running: bool| {
            let mut report = CheckReport::default();
            check_port(&mut report, ("listen", address), is_running);
            (report.has_errors(), report.text())
        };
        let (has_errors, text) = found(used, true);
        assert!(!has_errors && text.contains("is open"), "{text}");
        let (has_errors, text) = found(used, false);
        assert!(has_errors && text.contains("ss -ltnp"), "{text}");
        drop(open);
        for is_running in [false, true] {
            let (has_errors, text) = found(used, is_running);
            assert!(!has_errors && text.contains("is free"), "{text}");
        }
        // An address for documentation (RFC 5737).
        let (has_errors, text) = found("192.0.2.1:80".parse().unwrap(), true);
        assert!(has_errors && text.contains("no such address"), "{text}");
    }
}
