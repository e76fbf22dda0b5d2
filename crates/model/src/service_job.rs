//! Jobs of services: requests whose scripts run after the response, and whose outcome is read from a progress document.
//!
//! A job is claimed in the space of the unit by the server node that accepts it, then stored in the space of its cell: its state, and
//! its request until it has ended. Every change of it asserts the state that was read. When the server node is dead, another one
//! takes over the claim: a job that waits runs there; one that was running has failed, since nobody knows what its script has done
//! already. What has ended is removed by an index by time, or with its service
//! ([0092](../../../docs/decisions/0092-jobs-of-services.md)).

mod conclusion;
mod document;
mod execution;
mod expiry;
mod request;
mod resumption;
mod submission;

pub use self::conclusion::{JobOutcome, finish};
pub use self::document::{JobDocument, JobStatus, find, remove};
pub use self::execution::{QueuedJob, begin, find_request, is_in_progress};
pub use self::expiry::remove_expired;
pub use self::request::JobRequest;
pub use self::resumption::list_idle;
pub use self::submission::submit;
pub use crate::job_records::JobResponse;
