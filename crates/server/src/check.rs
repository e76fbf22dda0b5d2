//! `personium check`: whether a unit could run with these settings, and what an operator should know about it.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use personium_token::trust::CertificateFacts;
use personium_types::{BlobId, Clock, SystemClock};
use serde_json::json;

use crate::config::{Inputs, Loaded};
use crate::wiring::{self, FILES};
use crate::{first_start, keys};

/// A day in milliseconds.
const DAY_MS: i64 = 24 * 3600 * 1000;

/// Days of validity below which a certificate is worth a warning.
const SOON_DAYS: i64 = 30;

/// Free bytes below which a disk is worth a warning.
const LITTLE_SPACE: u64 = 1 << 30;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// As it should be.
    Ok,
    /// Works, but somebody should look.
    Warning,
    /// The unit would not start, or not work.
    Error,
}

/// One line of the report.
#[derive(Debug, Clone)]
pub struct Finding {
    /// What was looked at.
    pub what: &'static str,
    /// How it is.
    pub outcome: Outcome,
    /// What was found.
    pub detail: String,
}

/// All findings.
#[derive(Debug, Default)]
pub struct Report(pub Vec<Finding>);

impl Report {
    /// Whether nothing is an error.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.0
            .iter()
            .all(|finding| finding.outcome < Outcome::Error)
    }

    fn add(&mut self, what: &'static str, outcome: Outcome, detail: impl Into<String>) {
        self.0.push(Finding {
            what,
            outcome,
            detail: detail.into(),
        });
    }

    /// The report for people.
    #[must_use]
    pub fn text(&self) -> String {
        let line = |finding: &Finding| {
            let mark = match finding.outcome {
                Outcome::Ok => "ok     ",
                Outcome::Warning => "WARNING",
                Outcome::Error => "ERROR  ",
            };
            format!("{mark} {:<22} {}\n", finding.what, finding.detail)
        };
        self.0.iter().map(line).collect()
    }

    /// The report for programs.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let one = |finding: &Finding| {
            let outcome = match finding.outcome {
                Outcome::Ok => "ok",
                Outcome::Warning => "warning",
                Outcome::Error => "error",
            };
            json!({"check": finding.what, "outcome": outcome, "detail": finding.detail})
        };
        json!({"ok": self.is_good(), "checks": self.0.iter().map(one).collect::<Vec<_>>()})
    }
}

/// Looks at everything. Writes nothing but a file that is removed again.
#[must_use]
pub fn check(inputs: &Inputs) -> Report {
    let mut report = Report::default();
    report.add(
        "version",
        Outcome::Ok,
        format!("{} (API {})", crate::VERSION, personium_api::API_VERSION),
    );
    let loaded = match Loaded::from(inputs) {
        Ok(loaded) => loaded,
        Err(error) => {
            for problem in error.0 {
                report.add("settings", Outcome::Error, problem);
            }
            return report;
        }
    };
    for (key, origin, value) in &loaded.given {
        report.add(
            "setting",
            Outcome::Ok,
            format!("{key} = {value} ({origin})"),
        );
    }
    for warning in &loaded.warnings {
        report.add("settings", Outcome::Warning, warning);
    }
    unit(&mut report, &loaded);
    certificates(&mut report, &loaded);
    administration(&mut report, &loaded);
    encryption(&mut report, &loaded);
    stores(&mut report, &loaded);
    report
}

fn unit(report: &mut Report, loaded: &Loaded) {
    match wiring::urls(loaded) {
        Ok(urls) => {
            let form = if urls.path_based() {
                "cells are paths"
            } else {
                "cells are hosts of their own"
            };
            let outcome = if urls.scheme() == "https" || wiring::is_local(loaded) {
                Outcome::Ok
            } else {
                Outcome::Warning
            };
            report.add("unit URL", outcome, format!("{}, {form}", urls.unit()));
        }
        Err(error) => report.add("unit URL", Outcome::Error, error.to_string()),
    }
    let address = loaded.config.listen.address;
    match std::net::TcpListener::bind(address) {
        Ok(_) => report.add("listen", Outcome::Ok, format!("{address} is free")),
        Err(error) => report.add("listen", Outcome::Warning, format!("{address}: {error}")),
    }
}

fn certificates(report: &mut Report, loaded: &Loaded) {
    let (config, now) = (&loaded.config, SystemClock.now_ms());
    let (key, certificate) = keys::files(config);
    if config.x509.key.is_none() && !key.exists() && !certificate.exists() {
        report.add(
            "unit certificate",
            Outcome::Ok,
            "will be made at the first start",
        );
        return;
    }
    let keys = match keys::load(config, now) {
        Ok(keys) => keys,
        Err(error) => return report.add("keys", Outcome::Error, error.to_string()),
    };
    report.add("unit key", Outcome::Ok, "belongs to the certificate");
    let facts = keys.signing.facts();
    let (outcome, detail) = describe(facts, now);
    report.add("unit certificate", outcome, detail);
    if let Ok(urls) = wiring::urls(loaded) {
        let named = facts
            .common_name
            .as_deref()
            .is_some_and(|name| name.eq_ignore_ascii_case(urls.host()));
        let name = facts.common_name.as_deref().unwrap_or("nothing");
        let outcome = if named { Outcome::Ok } else { Outcome::Warning };
        report.add(
            "certificate name",
            outcome,
            format!("names {name}, the unit is {}", urls.host()),
        );
    }
    for root in keys.trust_roots.facts() {
        let (outcome, detail) = describe(root, now);
        report.add("trusted root", outcome, detail);
    }
}

fn describe(facts: &CertificateFacts, now: i64) -> (Outcome, String) {
    let days = (facts.not_after - now).div_euclid(DAY_MS);
    let outcome = match facts.valid_at(now) {
        false => Outcome::Error,
        true if days < SOON_DAYS => Outcome::Warning,
        true => Outcome::Ok,
    };
    (
        outcome,
        format!(
            "{}, issued by {}, {days} days left",
            facts.subject, facts.issuer
        ),
    )
}

fn administration(report: &mut Report, loaded: &Loaded) {
    let config = &loaded.config;
    match config.unit.master_token {
        Some(_) => report.add(
            "master token",
            Outcome::Warning,
            "ENABLED: whoever has it owns the unit",
        ),
        None => report.add("master token", Outcome::Ok, "disabled"),
    }
    let data = &config.store.data_dir;
    let made = first_start::issuer(data);
    let issuers = if config.unit.issuers.is_empty() {
        made.clone().unwrap_or_else(|| "none".to_owned())
    } else {
        config.unit.issuers.join(" ")
    };
    report.add("unit users come from", Outcome::Ok, issuers);
    match made {
        Some(_) => report.add(
            "administrator",
            Outcome::Ok,
            format!("cell {} was made here", first_start::NAME),
        ),
        None if first_start::is_due(data) => {
            report.add("administrator", Outcome::Ok, "the unit is new")
        }
        None => report.add("administrator", Outcome::Ok, "not made by a first start"),
    }
}

fn encryption(report: &mut Report, loaded: &Loaded) {
    let security = &loaded.config.security;
    let (outcome, detail) = match (security.encrypt_files, &security.secret) {
        (false, _) => (Outcome::Ok, "new ones are stored as they are"),
        (true, Some(_)) => (Outcome::Ok, "new ones are stored encrypted"),
        (true, None) => (
            Outcome::Warning,
            "new ones are stored encrypted, but the secret lies in the data folder with them: set security.secret16",
        ),
    };
    report.add("file bodies", outcome, detail);
}

fn stores(report: &mut Report, loaded: &Loaded) {
    let config = &loaded.config;
    let data = config.store.data_dir.as_path();
    let files = config
        .files
        .root
        .clone()
        .unwrap_or_else(|| data.join(FILES));
    if !data.exists() {
        report.add(
            "data folder",
            Outcome::Ok,
            format!("{} will be made", data.display()),
        );
        return;
    }
    for (what, folder) in [("data folder", data), ("files folder", files.as_path())] {
        if !folder.exists() {
            report.add(
                what,
                Outcome::Ok,
                format!("{} will be made", folder.display()),
            );
            continue;
        }
        match try_writing(folder) {
            Ok(micros) => {
                report.add(
                    what,
                    Outcome::Ok,
                    format!("{}: write, sync, rename in {micros} µs", folder.display()),
                );
            }
            Err(error) => report.add(
                what,
                Outcome::Error,
                format!("{}: {error}", folder.display()),
            ),
        }
        if let Some(free) = free_bytes(folder) {
            let outcome = if free < LITTLE_SPACE {
                Outcome::Warning
            } else {
                Outcome::Ok
            };
            report.add(
                "free space",
                outcome,
                format!("{} MiB at {}", free >> 20, folder.display()),
            );
        }
    }
}

/// Writes, syncs and renames a file; how many microseconds that took.
fn try_writing(folder: &Path) -> std::io::Result<u128> {
    let (first, second) = (
        folder.join(BlobId::random().to_string()),
        folder.join(BlobId::random().to_string()),
    );
    let start = Instant::now();
    let mut file = std::fs::File::create_new(&first)?;
    file.write_all(b"check")?;
    file.sync_all()?;
    std::fs::rename(&first, &second)?;
    let micros = start.elapsed().as_micros();
    std::fs::remove_file(&second)?;
    Ok(micros)
}

fn free_bytes(folder: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    stat.f_bavail.checked_mul(stat.f_frsize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(options: &[(&str, &str)]) -> Report {
        let options = options
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        check(&Inputs {
            options,
            ..Inputs::default()
        })
    }

    fn outcome(report: &Report, what: &str) -> Option<Outcome> {
        report
            .0
            .iter()
            .filter(|finding| finding.what == what)
            .map(|finding| finding.outcome)
            .max()
    }

    #[test]
    fn a_new_unit_is_good() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let report = report(&[
            ("data.dir", data.to_str().unwrap()),
            ("listen", "127.0.0.1:0"),
        ]);
        assert!(report.is_good(), "{}", report.text());
        assert!(!data.exists(), "checking makes nothing");
        assert_eq!(report.json()["ok"], true);
    }

    #[test]
    fn what_is_wrong_is_told_without_secrets() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().to_str().unwrap();
        let found = report(&[
            ("data.dir", data),
            ("x509.key", "none"),
            ("x509.crt", "none"),
            ("masterToken", "hidden"),
        ]);
        assert_eq!(outcome(&found, "keys"), Some(Outcome::Error));
        assert_eq!(outcome(&found, "master token"), Some(Outcome::Warning));
        assert_eq!(outcome(&found, "data folder"), Some(Outcome::Ok));
        assert!(
            !found.is_good() && !found.text().contains("hidden"),
            "{}",
            found.text()
        );
        let found = report(&[("unitPort", "x"), ("no.such", "1")]);
        assert_eq!(outcome(&found, "settings"), Some(Outcome::Error));
        assert_eq!(found.json()["ok"], false);
        assert_eq!(
            outcome(&report(&[("no.such", "1"), ("data.dir", data)]), "settings"),
            Some(Outcome::Warning)
        );
    }

    #[test]
    fn a_certificate_of_another_name_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().to_str().unwrap();
        let options = [("data.dir", data), ("unitFqdn", "unit.example")];
        let inputs = Inputs {
            options: options
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            ..Inputs::default()
        };
        let config = Loaded::from(&inputs).unwrap().config;
        keys::make_missing(&config, "other.example", SystemClock.now_ms()).unwrap();
        let report = check(&inputs);
        assert_eq!(
            outcome(&report, "certificate name"),
            Some(Outcome::Warning),
            "{}",
            report.text()
        );
        assert!(report.is_good());
    }
}
