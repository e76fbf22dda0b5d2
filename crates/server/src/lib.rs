//! The unit server as a program: settings, start and shutdown, checks, log and metrics.

pub mod access_log;
pub mod admin;
pub mod administration;
pub mod administrator_file;
mod background;
pub mod cache;
mod cache_servers;
pub mod cert;
mod certificate_expiry;
pub mod check;
pub mod cli;
pub mod components;
pub mod config;
pub mod config_report;
mod copy;
pub mod data_folder;
mod file_descriptors;
pub mod first_start;
mod folders;
mod graceful_end;
mod header_names;
pub mod http_server;
pub mod key_files;
pub mod layers;
mod lingering_close;
pub mod local_api;
pub mod logging;
pub mod metrics;
mod min_rate_timeout;
pub mod model_settings;
mod node_settings;
pub mod outside;
mod passwords;
pub mod record_engine;
mod request_body;
mod request_lines;
pub mod running_settings;
mod script_metrics;
pub mod selftest;
pub mod serve;
pub mod storage_watch;
pub mod system;
pub mod unit_url;
mod write_timeout;

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
