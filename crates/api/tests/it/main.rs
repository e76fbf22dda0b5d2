//! The API as a whole, in process and over stores in memory. The folders mirror the URLs.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod auth;
mod bounds;
mod dav;
mod event;
mod harness;
mod install;
mod message;
mod permits;
mod schema;
mod status;
