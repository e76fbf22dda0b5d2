//! Server nodes: the running processes of a unit, which share its stores.
//!
//! Each has a record in the space of the unit. On a shared store it is renewed every two seconds, which changes its version. A
//! server node whose record another one saw unchanged for six seconds, by the monotonic clock of that other one, is dead; no
//! clocks are compared. Between two looks at most two seconds count: while the store is away, nobody can renew, and nobody dies. Its record is removed first, with the assertion that it is unchanged. So one that was only slow finds
//! its renewal refused: it gives up its work and registers under a new id.
//!
//! Work is claimed by records that name a server node ([`Claim`]). They are not renewed. A claim may be taken over when the
//! record of its server node is absent.

mod agreement;
mod claim;
mod maintenance;
mod overview;
mod registration;
mod work;

use std::time::Duration;

use personium_types::ServerNodeId;

pub use self::agreement::{DATA_VERSION, JoinError, SECRET_SETTING};
pub use self::claim::Claim;
pub use self::maintenance::maintain;
pub use self::overview::{ListedNode, list};
pub use self::work::WorkMark;
pub use crate::server_node_state::{KeyInUse, NodeCounts, ServerNodeInfo};

/// The time between two renewals.
pub const RENEWAL_INTERVAL: Duration = Duration::from_secs(2);
/// The time without a renewal after which a server node is dead.
pub const DEAD_AFTER: Duration = Duration::from_secs(6);
/// The time after a renewal in which no other server node can have found this one dead. Two seconds are left for the step that
/// follows.
const RENEWAL_HOLDS: Duration = Duration::from_secs(4);

/// The value of a claim of this server node, or of none.
pub(crate) fn encode_claim(owner: Option<&ServerNodeId>) -> Vec<u8> {
    claim::encode(owner, &[])
}
