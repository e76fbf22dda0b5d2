//! A network of its own for booted systems: a bridge that this machine cannot reach but by entering it.

use std::process::{Child, Command, Stdio};

use crate::booted_debian::{expect, wait_until};

/// The name of the bridge.
pub const BRIDGE: &str = "br0";

/// The network. Dropping it ends it, once the systems on it have ended.
pub struct TestNetwork {
    /// A process that does nothing but keep the network.
    keeper: Child,
}

impl TestNetwork {
    /// A network with these addresses of its gateway, such as `172.16.0.1/24`. Needs to be root.
    pub fn new(gateways: &[&str]) -> Self {
        let mut command = Command::new("unshare");
        command.args(["--net", "sleep", "infinity"]);
        let keeper = command.stdin(Stdio::null()).spawn().unwrap();
        let network = Self { keeper };
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        let path = network.path();
        wait_until("the network is separate", || {
            std::fs::read_link(&path).is_ok_and(|link| link != own)
        });
        network.ip(&["link", "set", "lo", "up"]);
        network.ip(&["link", "add", BRIDGE, "type", "bridge"]);
        for gateway in gateways {
            network.ip(&["address", "add", gateway, "dev", BRIDGE]);
        }
        network.ip(&["link", "set", BRIDGE, "up"]);
        let forwarding = "echo 1 > /proc/sys/net/ipv4/ip_forward";
        expect(network.command("sh").args(["-c", forwarding]));
        network
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.keeper.id())
    }

    fn ip(&self, arguments: &[&str]) {
        expect(self.command("ip").args(arguments));
    }

    /// A program of this machine that uses this network.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.path()))
            .arg("--")
            .arg(program.as_ref())
            .stdin(Stdio::null());
        command
    }
}

impl Drop for TestNetwork {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}
