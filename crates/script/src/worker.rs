//! Worker processes: scripts run in processes of their own, which have no file system and no network.
//!
//! The unit starts workers as it needs them and talks to each over a socket. A worker runs one script after the other; whatever the
//! script wants, it asks the unit for, which answers with the [`ScriptHost`](crate::ScriptHost) of the request. So a worker can do
//! no more than a script may, even if a script takes it over. A worker that does not end its script in time is killed.

mod connection;
mod conversation;
mod frame;
mod link;
mod message;
mod pool;
mod process;
mod remote_host;
mod sandbox;

pub(crate) use pool::WorkerPool;
pub use process::run as run_worker;

/// The argument by which the program runs a worker.
pub const WORKER_ARGUMENT: &str = "script-worker";
