//! The records of a running unit for other processes of its user: a socket in the data folder, over which they can be read.
//!
//! Database files that a unit uses are locked by its process. `personium verify` and `personium backup` read them through this
//! socket. Only the user of the unit and root can open it; who can do that can read the files too. Nothing can be changed over it, but that an
//! entry of the audit log says that a cell was removed from back-ups.
//!
//! Each request and each response is a message: its length in four bytes, little-endian, then its bytes. A connection has one request at
//! a time, and at most one snapshot.

mod client;
mod message;
mod server;

use std::path::{Path, PathBuf};

pub(crate) use self::client::RemoteRecords;
pub(crate) use self::message::ChangeMark;
pub(crate) use self::server::{RecordSocket, serve};

/// The name of the socket in the data folder.
const SOCKET_FILE: &str = "records.sock";

/// The path of the socket of the unit with this data folder.
fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(SOCKET_FILE)
}
