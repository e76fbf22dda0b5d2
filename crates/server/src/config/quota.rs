//! Quotas of what has none of its own.

use super::section::section;
use super::value_parser::{Number, Optional};

section! {
    /// Quotas where `personium admin quota` has set none.
    QuotaConfig "Quotas" {
        /// The bytes that a cell may store: its files with its snapshots, its entities, the messages of its queues and topics, and its event log; by default, there is no limit.
        cell_max_bytes: Option<u64> = "quota.cell.maxBytes", "", Optional(Number(0..=u64::MAX));
        /// The bytes that all cells of a unit user may store together; by default, there is no limit.
        unit_user_max_bytes: Option<u64> = "quota.unitUser.maxBytes", "", Optional(Number(0..=u64::MAX));
    }
}
