//! The unit as a program: settings, wiring, start and stop, checks, log, figures.

pub mod admin;
pub mod check;
pub mod cli;
pub mod config;
pub mod figures;
pub mod first_start;
pub mod keys;
mod limits;
pub mod listen;
pub mod logging;
mod patience;
mod request_body;
pub mod serve;
pub mod status;
pub mod wiring;

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
