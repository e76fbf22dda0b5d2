//! HTTP: dispatch of requests to resources, their authorization, the format of responses and errors, outgoing requests.
//!
//! [`ApiService::handle`] takes any request of the unit. The steps of a request are in `dispatch.rs`.

mod accept;
mod access;
mod admin;
mod answer;
mod app_state;
mod audit;
mod authorize;
mod body;
mod box_export;
mod box_install;
mod box_root;
mod box_url;
mod browser_request;
mod cell;
mod cell_root;
mod compression;
mod content_policy;
mod dav;
mod describe;
mod discovery;
mod dispatch;
mod error;
mod error_format;
mod error_page;
mod event;
mod event_cause;
mod feed;
mod form;
mod forwarded;
mod full_storage;
mod headers;
mod hrefs;
mod html_proxy;
mod http_client;
mod introspect;
mod jwks;
mod locate;
mod log;
mod loopback;
mod mail_client;
mod maintenance;
pub mod masking;
mod message;
mod message_framing;
mod odata;
mod oidc_plugin;
mod oidc_providers;
mod overrides;
mod password;
mod plugin_host;
mod posting;
mod preflight;
mod propfind_request;
mod quota;
mod request_context;
mod request_key;
mod request_sender;
mod request_target;
mod response;
mod response_headers;
mod role_list;
pub mod route;
mod route_template;
mod rule;
mod scripts;
mod service;
mod sign;
mod status;
mod stream_text;
mod token;
mod topic;
mod transfer;
mod unit;
mod web_socket;

pub use admin::AdminHooks;
pub use body::{Body, BoxError};
/// The numbers of scripts and workers at a moment.
pub use personium_script::ScriptMetrics;
pub use plugin_host::NetworkPluginHost;
pub use request_target::TargetWithFragment;
pub use service::ApiService;

/// The version of the API in `X-Personium-Version`, which is not that of this program.
pub const API_VERSION: &str = "1.8.4";
