//! HTTP in and out: where a request goes, what it may do, how answers and errors look.
//!
//! [`ApiService::handle`] takes any request of the unit. The order of what happens is in `service.rs`.

mod access;
mod authorize;
mod body;
mod box_install;
mod box_root;
mod box_url;
mod cell;
mod cell_root;
mod dav;
mod error;
mod event;
mod forwarded;
mod headers;
mod http_client;
mod introspect;
mod keys;
mod locate;
mod log;
mod loopback;
mod message;
mod odata;
mod password;
mod preflight;
mod relay;
mod request_context;
mod request_sender;
pub mod response;
mod role_list;
pub mod route;
mod rule;
mod service;
mod status;
mod token;
mod unit;

pub use body::{Body, BoxError};
pub use service::ApiService;
pub use status::AdminHooks;

/// The version that `X-Personium-Version` tells: that of the API, not of this program.
pub const API_VERSION: &str = "1.8.4";
