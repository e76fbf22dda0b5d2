//! Tests of the API over stores in memory: one folder for each area, one file for each resource.
#![expect(
    clippy::disallowed_methods,
    reason = "a test may use the real clock and randomness"
)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod archive_entries;
mod audit;
mod auth;
mod compression;
mod cors;
mod dav;
mod event;
mod install;
mod library;
mod maintenance;
mod message;
mod nodes;
mod odata;
mod permits;
mod quota;
mod scripts;
mod snapshots;
mod status;
mod streams;
