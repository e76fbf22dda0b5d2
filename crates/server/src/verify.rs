//! `personium verify`: looks for damage in all that a unit stores.

use std::io;

use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use personium_model::records::Records;
use personium_model::verification::{
    CatalogueEntry, Finding, FindingKind, FindingSink, VerifiedCounts, VerifiedSpace,
    VerifiedStores, verify_catalogue, verify_space,
};
use personium_store::Space;
use personium_types::error::chain;
use serde_json::json;

use crate::config::Config;
use crate::key_files::{self, KeyFileError, unit_secret};
use crate::unit_reader::UnitReader;

/// The outcome of a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerifyOutcome {
    /// All was looked at, and nothing is damaged.
    Whole,
    /// Something is damaged.
    Damaged,
    /// Nothing damaged was found, but not all could be looked at.
    Unknown,
}

/// Writes the findings, each when it is found.
pub struct VerifyReport<W> {
    as_json: bool,
    write: W,
    damages: u64,
    orphans: u64,
    unverified: u64,
    repaired: u64,
    written: io::Result<()>,
}

impl<W: Fn(&str) -> io::Result<()> + Send> VerifyReport<W> {
    /// A report in lines of text, or in lines of JSON.
    pub fn new(as_json: bool, write: W) -> Self {
        Self {
            as_json,
            write,
            damages: 0,
            orphans: 0,
            unverified: 0,
            repaired: 0,
            written: Ok(()),
        }
    }

    fn outcome(&self) -> VerifyOutcome {
        match (self.damages, self.unverified) {
            (0, 0) => VerifyOutcome::Whole,
            (0, _) => VerifyOutcome::Unknown,
            _ => VerifyOutcome::Damaged,
        }
    }

    fn put(&mut self, line: &str) {
        if self.written.is_ok() {
            self.written = (self.write)(&format!("{line}\n"));
        }
    }

    fn end(mut self, cells: usize, counts: &VerifiedCounts) -> Result<VerifyOutcome, String> {
        let outcome = self.outcome();
        let VerifiedCounts {
            records,
            bodies,
            body_bytes,
        } = counts;
        let (damages, orphans, unverified) = (self.damages, self.orphans, self.unverified);
        let line = if self.as_json {
            let is_whole = outcome == VerifyOutcome::Whole;
            json!({
                "ok": is_whole, "cells": cells, "records": records, "bodies": bodies, "bodyBytes": body_bytes,
                "damages": damages, "orphans": orphans, "unverified": unverified,
            })
            .to_string()
        } else {
            format!(
                "Verified: {cells} cells, {records} records, {bodies} file bodies ({body_bytes} bytes): \
                 {damages} damaged, {orphans} orphaned, {unverified} not verified"
            )
        };
        self.put(&line);
        let written = self.written;
        written.map_err(|error| format!("the report could not be written: {error}"))?;
        Ok(outcome)
    }
}

impl<W: Fn(&str) -> io::Result<()> + Send> FindingSink for VerifyReport<W> {
    fn add(&mut self, finding: Finding) {
        let count = match finding.kind {
            FindingKind::Damage => &mut self.damages,
            FindingKind::Orphan => &mut self.orphans,
            FindingKind::Unverified => &mut self.unverified,
            FindingKind::Repaired => &mut self.repaired,
        };
        *count += 1;
        let Finding {
            kind,
            space,
            cell,
            resource,
            problem,
        } = finding;
        let id = match space {
            Space::Unit => None,
            Space::Cell(id) => Some(id.to_string()),
        };
        let line = if self.as_json {
            json!({
                "finding": kind.name(), "cell": cell, "cellId": id, "resource": resource, "problem": problem,
            })
            .to_string()
        } else {
            let place = match (&cell, &id) {
                (_, None) => "the unit".to_owned(),
                (Some(name), Some(id)) => format!("cell {name} ({id})"),
                (None, Some(id)) => format!("cell {id}"),
            };
            format!("{}: {place}: {resource}: {problem}", kind.name())
        };
        self.put(&line);
    }
}

/// The sink of the cells that are looked at at the same time.
struct SharedSink<'a, S>(&'a Mutex<S>);

impl<S: FindingSink> FindingSink for SharedSink<'_, &mut S> {
    fn add(&mut self, finding: Finding) {
        self.0.lock().add(finding);
    }
}

/// Verifies the unit of these settings, or only the cell with this name.
///
/// # Errors
/// A text for the operator if there is no whole unit, or no such cell.
pub async fn run<W: Fn(&str) -> io::Result<()> + Send>(
    config: &Config,
    cell: Option<&str>,
    mut report: VerifyReport<W>,
) -> Result<VerifyOutcome, String> {
    let reader = Box::pin(UnitReader::open(config)).await?;
    if cell.is_none() {
        add_secret(config, &reader, &mut report).await;
        add_signing_key(config, &mut report);
    }
    let stores = VerifiedStores {
        records: std::sync::Arc::clone(&reader.records),
        bodies: std::sync::Arc::clone(&reader.bodies),
    };
    let done = Box::pin(verify(&stores, (cell, reader.verified_at_once()), report)).await;
    reader.close().await;
    done
}

/// Adds a secret that does not open the keys of the unit.
pub(crate) async fn add_secret(
    config: &Config,
    reader: &UnitReader,
    findings: &mut impl FindingSink,
) {
    let records = Records::new(std::sync::Arc::clone(&reader.records), Space::Unit);
    if let Err(problem) = unit_secret::check(config, &records).await {
        findings.add(Finding {
            kind: FindingKind::Damage,
            space: Space::Unit,
            cell: None,
            resource: "the secret".to_owned(),
            problem,
        });
    }
}

/// Adds a private key or certificate that was changed.
fn add_signing_key(config: &Config, findings: &mut impl FindingSink) {
    if let Err(error) = key_files::check_signing_key(config) {
        findings.add(Finding {
            kind: match error {
                KeyFileError::Content { .. } => FindingKind::Damage,
                _ => FindingKind::Unverified,
            },
            space: Space::Unit,
            cell: None,
            resource: "the key and the certificate".to_owned(),
            problem: chain(&error),
        });
    }
}

/// Verifies the unit in these stores, or only the cell with this name; so many cells at the same time.
///
/// # Errors
/// A text for the operator if there is no such cell, or the report cannot be written.
pub(crate) async fn verify<W: Fn(&str) -> io::Result<()> + Send>(
    stores: &VerifiedStores,
    (cell, cells_at_once): (Option<&str>, usize),
    mut report: VerifyReport<W>,
) -> Result<VerifyOutcome, String> {
    let mut counts = VerifiedCounts::default();
    if cell.is_none() {
        let unit = VerifiedSpace {
            space: Space::Unit,
            name: None,
        };
        let found = Box::pin(verify_space(stores, &unit, &mut report)).await;
        counts.add(&found);
    }
    let mut cells = verify_catalogue(stores, &mut report).await;
    if let Some(name) = cell {
        cells.retain(|cell| cell.name == name);
        if cells.is_empty() {
            return Err(format!("the unit has no cell {name}"));
        }
    }
    let shared = Mutex::new(&mut report);
    let verified = cells.iter().map(|CatalogueEntry { id, name }| {
        let cell = VerifiedSpace::cell(*id, name.clone());
        let mut findings = SharedSink(&shared);
        async move { verify_space(stores, &cell, &mut findings).await }
    });
    let mut verified = Box::pin(stream::iter(verified).buffer_unordered(cells_at_once));
    while let Some(found) = verified.next().await {
        counts.add(&found);
    }
    drop(verified);
    report.end(cells.len(), &counts)
}
