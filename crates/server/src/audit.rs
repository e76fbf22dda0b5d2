//! `personium audit`: reads the audit log of a unit, and verifies that nothing in it was changed.

use std::io;
use std::sync::Arc;

use personium_model::audit::{self, AuditFilter, AuditFinding, AuditVerification, NotedEntry};
use personium_model::records::Records;
use personium_store::Space;
use personium_types::error::chain;
use serde_json::json;

use crate::config::Config;
use crate::unit_reader::UnitReader;

/// Passes the entries between two times to `write`, a line of JSON each.
///
/// # Errors
/// A text for the operator if there is no whole unit, an entry cannot be read, or the output cannot be written.
pub async fn export(
    config: &Config,
    filter: &AuditFilter,
    write: impl Fn(&str) -> io::Result<()>,
) -> Result<(), String> {
    let reader = Box::pin(UnitReader::open(config)).await?;
    let records = Records::new(Arc::clone(&reader.records), Space::Unit);
    let exported = audit::export(&records, filter, |line| write(&format!("{line}\n"))).await;
    reader.close().await;
    let written = exported
        .map_err(|error| format!("{}; `personium audit verify` says more", chain(&error)))?;
    written.map_err(|error| format!("the entries could not be written: {error}"))
}

/// Verifies the audit log, and that it has a noted entry. Returns whether nothing is wrong.
///
/// # Errors
/// A text for the operator if there is no whole unit, or the output cannot be written.
pub async fn verify(
    config: &Config,
    noted: Option<&NotedEntry>,
    as_json: bool,
    write: impl Fn(&str) -> io::Result<()>,
) -> Result<bool, String> {
    let reader = Box::pin(UnitReader::open(config)).await?;
    let records = Records::new(Arc::clone(&reader.records), Space::Unit);
    let verified = audit::verify(&records, noted).await;
    reader.close().await;
    let verified = verified.map_err(|error| chain(&error))?;
    let text = match as_json {
        true => json_of(&verified),
        false => text_of(&verified),
    };
    write(&text).map_err(|error| format!("the report could not be written: {error}"))?;
    Ok(verified.findings.is_empty())
}

fn json_of(verified: &AuditVerification) -> String {
    let findings = verified.findings.iter().map(AuditFinding::to_string);
    let findings: Vec<String> = findings.collect();
    let report = json!({
        "ok": findings.is_empty(), "first": verified.first, "last": verified.last, "hash": verified.last_hash,
        "findings": findings, "notedEntryRemoved": verified.is_noted_entry_removed,
    });
    format!("{report}\n")
}

fn text_of(verified: &AuditVerification) -> String {
    let AuditVerification {
        first,
        last,
        last_hash,
        findings,
        is_noted_entry_removed,
    } = verified;
    let mut text = String::new();
    for finding in findings {
        text.push_str(&format!("{finding}\n"));
    }
    if *is_noted_entry_removed {
        text.push_str("The noted entry was removed because it was too old.\n");
    }
    let count = (last + 1).saturating_sub(*first);
    match findings.len() {
        0 => text.push_str(&format!(
            "Verified: {count} entries, nothing was changed.\n"
        )),
        wrong => text.push_str(&format!("Verified: {count} entries, {wrong} findings.\n")),
    }
    if count > 0 {
        text.push_str(&format!("Last entry: {last}:{last_hash}\n"));
    }
    text
}
