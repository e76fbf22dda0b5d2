//! The audit log: what administrators have done, in a chain of entries that none can be changed in or taken from unnoticed.
//!
//! The entries are records of the unit. Each carries its number and the hash of the entry before it; the record of the head has the
//! number and the hash of the last one. All server nodes append to the same chain: a batch asserts the head.
//!
//! A request has an entry before it is carried out, and one with its outcome before it is answered
//! (`docs/decisions/0082-audit-log-of-the-unit.md`).

mod append;
mod chain;
mod noted_state;
mod reader;
mod retention;

pub use self::append::append;
pub use self::chain::AuditStamp;
pub use self::noted_state::{NotedPart, NotedState};
pub use self::reader::{
    AuditFilter, AuditFinding, AuditVerification, NotedEntry, export, last_entry, verify,
};
pub use self::retention::AuditRetention;
pub use crate::audit_event::{AuditActor, AuditEvent, AuditEventKind};
