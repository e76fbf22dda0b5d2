//! Requests of the unit to other servers.

use super::rule::Flag;
use super::section::section;

section! {
    /// Requests of the unit to other servers.
    Outgoing "Outgoing connections" {
        /// Whether messages may go to, and pages of cells may come from, servers with private addresses: other units
        /// in the same network, and servers whose names only the outgoing proxy knows. Whoever owns a cell can then make the unit
        /// ask any server there.
        private_networks: bool = "outgoing.privateNetworks.enabled", "false", Flag;
    }
}
