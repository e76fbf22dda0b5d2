//! The check of ports that only the layers of a unit should reach.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::check::CheckReport;

const CHECK: &str = "open ports";

/// The time in which a port must accept a connection to count as open.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Ports of the layers, as the documents and examples have them.
pub(super) const INNER_PORTS: [(u16, &str); 8] = [
    (5432, "PostgreSQL"),
    (6432, "PgBouncer"),
    (9092, "Kafka"),
    (9997, "administration of the unit"),
    (9998, "the unit without its web layer"),
    (11211, "memcached"),
    (61613, "message broker (STOMP)"),
    (61616, "message broker"),
];

/// Tries the inner ports of the machine at an address, except that of the URL. Those of this machine itself are not tried.
pub(super) async fn check(
    report: &mut CheckReport,
    address: IpAddr,
    own: u16,
    ports: &[(u16, &'static str)],
) {
    let ports: Vec<_> = ports.iter().filter(|(port, _)| *port != own).collect();
    let names: Vec<String> = ports.iter().map(|(port, _)| port.to_string()).collect();
    let mut tries = JoinSet::new();
    for (port, name) in ports {
        let (place, name) = (SocketAddr::new(address, *port), *name);
        tries.spawn(async move {
            let connected = timeout(TIMEOUT, TcpStream::connect(place)).await;
            matches!(connected, Ok(Ok(_))).then_some((place, name))
        });
    }
    let mut open: Vec<_> = tries.join_all().await.into_iter().flatten().collect();
    open.sort_unstable();
    if open.is_empty() {
        let names = names.join(", ");
        return report.ok(
            CHECK,
            format!("none of the inner ports {names} at {address}"),
        );
    }
    for (place, name) in open {
        report.warning(
            CHECK,
            format!("{place} accepts connections ({name}): only the layers should reach it, see the firewall"),
        );
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::check::CheckOutcome;

    #[tokio::test]
    async fn inner_port_that_is_open_is_a_warning_unless_it_is_that_of_the_url() {
        let address = IpAddr::from([127, 0, 0, 1]);
        let listener = TcpListener::bind((address, 0)).unwrap();
        let open = listener.local_addr().unwrap().port();
        for (own, expected) in [(1, CheckOutcome::Warning), (open, CheckOutcome::Ok)] {
            let mut report = CheckReport::default();
            check(&mut report, address, own, &[(open, "database")]).await;
            assert_eq!(report.0.len(), 1);
            assert_eq!(report.0[0].outcome, expected, "{}", report.text());
        }
        drop(listener);
        let mut report = CheckReport::default();
        check(&mut report, address, 1, &[(open, "database")]).await;
        assert_eq!(report.0[0].outcome, CheckOutcome::Ok, "{}", report.text());
    }
}
