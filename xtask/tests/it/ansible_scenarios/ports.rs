//! Ports that the machines of a unit can reach of each other, and that a stranger can reach of them.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;

use crate::booted_debian::{BootedDebian, text, wait_until};
use crate::test_network::TestNetwork;

/// A machine with its groups and its address.
pub struct Machine<'s> {
    pub name: &'s str,
    pub groups: &'s [&'s str],
    pub address: &'s str,
    pub system: &'s BootedDebian,
}

/// Ports at which the test listens for both protocols where nobody else does: those of the layers, and of what machines often have.
const LISTENED: [u16; 14] = [
    53, 80, 111, 443, 2049, 3128, 5432, 8080, 8980, 8981, 9997, 9998, 11212, 61614,
];

/// Listens at ports, as far as they are free, and writes `PROTOCOL PORT SENDER` for each datagram and connection. Connections are
/// accepted and closed.
const LISTENER: &str = "
import selectors, socket, sys
selector = selectors.DefaultSelector()
for port in sys.argv[1:]:
    for kind, name in ((socket.SOCK_STREAM, 'tcp'), (socket.SOCK_DGRAM, 'udp')):
        s = socket.socket(socket.AF_INET, kind)
        if name == 'tcp':
            # Connections that have ended keep nobody from listening.
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(('0.0.0.0', int(port)))
        except OSError:
            continue
        if name == 'tcp':
            s.listen(64)
        selector.register(s, selectors.EVENT_READ, (name, port))
open('/run/listens', 'w').close()
log = open('/run/heard', 'a')
while True:
    for key, _ in selector.select():
        name, port = key.data
        if name == 'tcp':
            connection, sender = key.fileobj.accept()
            connection.close()
        else:
            _, sender = key.fileobj.recvfrom(100)
        log.write(f'{name} {port} {sender[0]}\\n')
        log.flush()
";

/// Connects to `ADDRESS:PORT` of each argument, and sends a datagram to it. Prints those to which there was a connection.
const SWEEP: &str = "
import concurrent.futures, socket, sys
def probe(target):
    address, port = target.split(':')
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        s.sendto(b'probe', (address, int(port)))
    except OSError:
        pass
    try:
        socket.create_connection((address, int(port)), 6).close()
        return target
    except OSError:
        return None
with concurrent.futures.ThreadPoolExecutor(300) as pool:
    for found in pool.map(probe, sys.argv[1:]):
        if found:
            print(found)
";

/// The ports of a protocol at which something listens, be it for the machine itself alone.
fn listening(system: &BootedDebian, protocol: &str) -> BTreeSet<u16> {
    let sockets = system.expect(&format!("ss -Hln --{protocol}"));
    let ports = sockets.lines().filter_map(|line| {
        let local = line.split_whitespace().nth(3)?;
        local.rsplit_once(':')?.1.parse().ok()
    });
    ports.collect()
}

/// The TCP ports that a machine lets somebody reach, by the groups of both: those of operator.md 1.4 and 1.5. Without groups, somebody
/// is a stranger.
fn open_ports(to: &[&str], from: &[&str]) -> BTreeSet<u16> {
    let mut ports = BTreeSet::from([22]);
    let is_from = |groups: &[&str]| groups.iter().any(|group| from.contains(group));
    for (group, others, open) in [
        ("ap", ["web"].as_slice(), 9998),
        ("db", &["ap", "db"], 5432),
        ("cache", &["ap"], 11212),
        ("broker", &["ap"], 61614),
    ] {
        if to.contains(&group) && is_from(others) {
            ports.insert(open);
        }
    }
    if to.contains(&"web") {
        ports.extend([80, 443]);
    }
    ports
}

/// Sweeps the ports of all machines from each of them and from outside, for TCP and UDP, and panics if another port is open or closed than
/// should be. `reader` is the address outside from
/// which events may be read at the broker.
pub fn check(network: &TestNetwork, machines: &[Machine<'_>], reader: &str) {
    let mut swept: BTreeMap<&str, BTreeSet<u16>> = BTreeMap::new();
    for machine in machines {
        let system = machine.system;
        let ports = LISTENED.map(|port| port.to_string()).join(" ");
        system.expect(&format!(
            "rm -f /run/heard /run/listens; cat > /run/listener.py <<'END'\n{LISTENER}\nEND\n\
             systemd-run -q --unit=listener python3 /run/listener.py {ports}"
        ));
        wait_until("somebody listens", || system.run("test -e /run/listens").0);
        let mut ports = listening(system, "tcp");
        assert!(ports.is_superset(&BTreeSet::from(LISTENED)), "{ports:?}");
        ports.extend(listening(system, "udp"));
        swept.insert(machine.name, ports);
    }
    let targets: Vec<String> = machines
        .iter()
        .flat_map(|machine| {
            let ports = swept[machine.name].iter();
            ports.map(|port| format!("{}:{port}", machine.address))
        })
        .collect();
    let targets = targets.join(" ");
    let sweep = format!("python3 -c \"{SWEEP}\" {targets}");
    let mut seen: Vec<(&str, &[&str], String)> = machines
        .iter()
        .map(|machine| {
            (
                machine.address,
                machine.groups,
                machine.system.expect(&sweep),
            )
        })
        .collect();
    let mut outside = network.command("sh");
    let output = outside.args(["-c", &sweep]).stdin(Stdio::null()).output();
    seen.push((reader, &[], text(&output.unwrap())));
    for (source, from, found) in &seen {
        for machine in machines.iter().filter(|machine| machine.address != *source) {
            let start = format!("{}:", machine.address);
            let open: BTreeSet<u16> = found
                .lines()
                .filter_map(|line| line.strip_prefix(&start)?.parse().ok())
                .collect();
            let mut expected = open_ports(machine.groups, from);
            if from.is_empty() && machine.groups.contains(&"broker") {
                expected.insert(61614);
            }
            assert_eq!(open, expected, "{} from {source} {from:?}", machine.name);
        }
    }
    for machine in machines {
        let system = machine.system;
        // It hears itself, and of others nothing by UDP.
        let heard = || system.expect("cat /run/heard");
        let own = format!("udp 53 {}", machine.address);
        wait_until("a machine hears itself", || heard().contains(&own));
        let foreign: Vec<String> = heard()
            .lines()
            .filter(|line| line.starts_with("udp ") && !line.ends_with(machine.address))
            .map(str::to_owned)
            .collect();
        assert_eq!(foreign, Vec::<String>::new(), "{}", machine.name);
        system.expect("systemctl stop listener; rm -f /run/heard /run/listens /run/listener.py");
    }
}
