//! Starts units for tests, and talks to them as a client does.
//!
//! ```no_run
//! # async fn test() {
//! let unit = personium_testkit::TestUnit::start().await;
//! let answer = unit.request("POST", "/__ctl/Cell").admin().json(&serde_json::json!({"Name": "alice"})).send().await;
//! answer.expect(201);
//! # }
//! ```
//!
//! Everything here panics where something is not as the test needs it.
#![expect(
    clippy::disallowed_methods,
    reason = "a test may use the real clock and randomness"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test fails by panicking"
)]

mod answer;
mod fixture;
mod process;
mod request;
mod unit;

pub use answer::Answer;
pub use fixture::{CellFixture, acl};
pub use process::ProcessUnit;
pub use request::Request;
pub use unit::{MASTER_TOKEN, TestUnit};
