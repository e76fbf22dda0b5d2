//! `personium check`: checks whether the unit can run with the given settings.

mod clock;
mod items;
mod limits;
mod nodes;
mod outside;
mod paths;
mod plugins;
mod ports;
mod report;
mod stored_data;
mod tls;
mod traces;

use std::fs::TryLockError;
use std::net::SocketAddr;
use std::path::Path;

use personium_model::credentials::UnitCertificates;
use personium_token::trust::{CertificateDetails, CertificateInfo};
use personium_types::error::chain;

pub use outside::check_from_outside;
use ports::check_port;
pub use report::{CheckOutcome, CheckReport, Finding};

use crate::certificate_expiry::{EXPIRY_WARNING_DAYS, days_left, expiry_text};
use crate::config::{Config, ConfigSources, LoadedConfig};
use crate::data_folder::RECORDS_DIR;
use crate::file_descriptors::DescriptorBudget;
use crate::free_space::{DiskSpace, FreeSpaceLimit};
use crate::layers::{self, LayerNeed, LayerProblem};
use crate::unit_url::{is_local, unit_urls};
use crate::{administrator_file, file_system, first_start, folders, key_files, passwords, system};

/// The free space of a disk below which it causes a warning.
const FREE_SPACE_WARNING_BYTES: u64 = 1 << 30;

/// The number of free inodes of a disk below which it causes a warning.
const FREE_INODES_WARNING: u64 = 50_000;

/// Runs all checks. They write nothing but a temporary file.
#[must_use]
pub fn check(sources: &ConfigSources) -> CheckReport {
    let mut report = CheckReport::default();
    report.ok(
        "version",
        format!("{} (API {})", crate::VERSION, personium_api::API_VERSION),
    );
    let loaded = match LoadedConfig::load(sources) {
        Ok(loaded) => loaded,
        Err(error) => return CheckReport::of_settings(error),
    };
    for setting in &loaded.given {
        let detail = format!("{} = {} ({})", setting.name, setting.value, setting.origin);
        report.ok("setting", detail);
    }
    for warning in &loaded.warnings {
        report.warning("settings", warning);
    }
    check_unit_url(&mut report, &loaded);
    check_listen(&mut report, &loaded);
    tls::check(&mut report, &loaded, is_in_use(&loaded.config));
    check_descriptors(&mut report, &loaded);
    limits::check(&mut report, &loaded);
    clock::check(&mut report);
    check_certificates(&mut report, &loaded);
    check_encryption(&mut report, &loaded);
    check_folders(&mut report, &loaded);
    paths::check(&mut report, &loaded);
    plugins::check(&mut report, &loaded);
    check_layers(&mut report, &loaded);
    traces::check(&mut report, &loaded);
    let administrators = stored_data::check(&mut report, &loaded);
    let administrators =
        administrators.unwrap_or_else(|| administrator_file::read(&loaded.config.store.data_dir));
    check_administration(&mut report, &loaded, &administrators);
    report
}

fn check_unit_url(report: &mut CheckReport, loaded: &LoadedConfig) {
    let urls = match unit_urls(loaded) {
        Ok(urls) => urls,
        Err(error) => return report.error("unit URL", chain(&error)),
    };
    let cells = if urls.path_based() {
        "the URL of a cell is a path"
    } else {
        "the URL of a cell is a host"
    };
    let is_encrypted = urls.scheme() == "https" || is_local(loaded);
    let outcome = if is_encrypted {
        CheckOutcome::Ok
    } else {
        CheckOutcome::Warning
    };
    report.add("unit URL", outcome, format!("{}; {cells}", urls.unit()));
}

fn check_listen(report: &mut CheckReport, loaded: &LoadedConfig) {
    let listen = &loaded.config.listen;
    let address = listen.address;
    check_port(report, ("listen", address), is_in_use(&loaded.config));
    // If the port is in use, the unit takes another one.
    let any_port = SocketAddr::new(listen.admin_address.ip(), 0);
    if let Err(error) = std::net::TcpListener::bind(any_port) {
        report.error("admin.listen", format!("{any_port}: {error}"));
    }
}

/// Whether a running unit uses the data folder.
fn is_in_use(config: &Config) -> bool {
    let lock = config.store.data_dir.join(RECORDS_DIR).join("lock");
    let file = std::fs::File::open(lock);
    file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

fn check_descriptors(report: &mut CheckReport, loaded: &LoadedConfig) {
    let (budget, warning) = DescriptorBudget::of(&loaded.config).within_limit();
    match warning {
        Some(warning) => report.warning("open files", warning),
        None => report.ok(
            "open files",
            format!(
                "{} connections and {} database files at the same time",
                budget.connections_max, budget.database_files_max
            ),
        ),
    }
}

fn check_certificates(report: &mut CheckReport, loaded: &LoadedConfig) {
    let (config, now_ms) = (&loaded.config, system::clock().now_ms());
    let prepared = unit_urls(loaded)
        .and_then(|urls| key_files::prepare(config, urls.host(), now_ms, &system::random()));
    let prepared = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return report.error("keys", chain(&error)),
    };
    let is_new = first_start::is_due(config);
    for path in prepared.missing_files() {
        let shown = path.display();
        if is_new || path.ends_with(key_files::CERTIFICATE_FILE) {
            report.ok("keys", format!("the start writes {shown}"));
        } else if path.ends_with(key_files::KEY_FILE) {
            let text = "the units that trust this one must be given its certificate; better restore the key from a back-up";
            report.warning(
                "keys",
                format!("{shown} is missing, and the start makes a new key: {text}"),
            );
        }
        // The check of the records reports a lost secret.
    }
    for note in &prepared.notes {
        report.warning("unit certificate", note);
    }
    let certificates = prepared.keys.certificates();
    let own = certificates.signing.certificate_info();
    check_certificate(report, "unit certificate", own, now_ms);
    if let Some(details) = CertificateDetails::from_der(certificates.signing.certificate_der()) {
        let names = match details.alternative_names.is_empty() {
            true => "without alternative names".to_owned(),
            false => format!("for {}", details.alternative_names.join(" ")),
        };
        let detail = format!("{}, {names}, SHA-256 {}", details.key, details.sha256);
        report.ok("unit certificate", detail);
    }
    check_issuer(report, &certificates);
    for root in certificates.trust_roots.root_infos() {
        check_certificate(report, "trusted root", root, now_ms);
    }
}

/// The issuer of the certificate of the unit. It belongs to the roots itself if none of them has signed it.
fn check_issuer(report: &mut CheckReport, certificates: &UnitCertificates) {
    const CHECK: &str = "unit certificate";
    let own = certificates.signing.certificate_info();
    let issuer = &own.issuer;
    let mut roots = certificates.trust_roots.root_infos();
    if certificates.signing.is_self_signed() {
        report.ok(
            CHECK,
            "self-signed: other units trust it once it is among their x509.root",
        );
    } else if roots.any(|root| root == own) {
        report.warning(
            CHECK,
            format!("no certificate of x509.root has signed it: add that of {issuer}, which other units of the same issuer need too"),
        );
    } else {
        report.ok(CHECK, format!("signed by the trusted root {issuer}"));
    }
}

fn check_certificate(
    report: &mut CheckReport,
    check: &'static str,
    facts: &CertificateInfo,
    now_ms: i64,
) {
    let (subject, issuer) = (&facts.subject, &facts.issuer);
    let days = days_left(facts, now_ms);
    let detail = format!("{subject}, issued by {issuer}, {}", expiry_text(days));
    if days < EXPIRY_WARNING_DAYS {
        report.warning(check, format!("{detail}: renew it"));
    } else {
        report.ok(check, detail);
    }
}

/// `cells` are those whose accounts can administrate the unit, unless the settings name others.
fn check_administration(report: &mut CheckReport, loaded: &LoadedConfig, cells: &[String]) {
    let config = &loaded.config;
    if config.unit.master_token.is_some() {
        report.warning(
            "master token",
            "ENABLED: it grants all privileges on the unit",
        );
    } else {
        report.ok("master token", "disabled");
    }
    let issuers = first_start::issuers(config, cells);
    report.ok(
        "unit user issuers",
        if issuers.is_empty() {
            "none".to_owned()
        } else {
            issuers.join(" ")
        },
    );
    let is_new = first_start::is_due(config);
    let is_default = |issuer: &String| is_of_first_start(loaded, issuer);
    if !is_local(loaded) && issuers.iter().any(is_default) {
        report.warning(
            "administrator",
            format!(
                "the cell {} has the name that the first start gives it, which is easily guessed; `personium admin rename` gives \
                 it and its account others",
                first_start::ADMIN_NAME
            ),
        );
    }
    let note = first_start::administration_note(config, is_new, !cells.is_empty());
    let is_created = config.unit.master_token.is_none() && config.unit.issuers.is_empty() && is_new;
    match note {
        Some(note) => report.warning("administrator", note),
        None if is_created => {
            let generated = passwords::generate(&config.passwords.pattern, &system::random());
            match generated {
                Ok(_) => report.ok("administrator", "the first start makes it"),
                Err(error) => report.error("administrator", chain(&error)),
            }
        }
        None => report.ok("administrator", "in the cells of the issuers"),
    }
}

/// Whether an issuer is the cell that the first start makes.
fn is_of_first_start(loaded: &LoadedConfig, issuer: &str) -> bool {
    let Ok(urls) = unit_urls(loaded) else {
        return false;
    };
    let url = urls.resolve(issuer).unwrap_or_default();
    urls.split(&url)
        .is_some_and(|(name, _)| name == first_start::ADMIN_NAME)
}

fn check_encryption(report: &mut CheckReport, loaded: &LoadedConfig) {
    let secrets = &loaded.config.secrets;
    match (secrets.encrypt_files, &secrets.secret) {
        (false, _) => report.ok("file bodies", "new ones are stored unencrypted"),
        (true, Some(_)) => report.ok("file bodies", "new ones are stored encrypted"),
        (true, None) => report.warning(
            "file bodies",
            "new ones are stored encrypted, but the secret is in the same data folder: set security.secret16",
        ),
    }
}

/// Looks at the layers outside of the process.
fn check_layers(report: &mut CheckReport, loaded: &LoadedConfig) {
    const CHECK: &str = "layer";
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return report.error(CHECK, error.to_string()),
    };
    let wait_secs = loaded.config.listen.start_wait_secs;
    let clock = system::clock();
    for layer in layers::layers(&loaded.config) {
        let name = layer.name;
        let start = clock.monotonic();
        let state = runtime.block_on(layer.state());
        let elapsed = clock.monotonic().saturating_duration_since(start);
        let millis = elapsed.as_millis();
        match (state, layer.need) {
            (Ok(version), _) => {
                let version = version.map(|version| format!(": {version}"));
                let version = version.unwrap_or_default();
                report.ok(
                    CHECK,
                    format!("the {name} can be used{version}; it answered in {millis} ms"),
                );
            }
            (Err(reason), LayerNeed::Optional) => {
                report.warning(CHECK, format!("the {name} cannot be used: {reason}"));
            }
            (Err(reason), LayerNeed::Required) => {
                let waits = match &reason {
                    LayerProblem::Absent(_) => {
                        format!("; a start waits for it for {wait_secs} s")
                    }
                    LayerProblem::Unfit(_) => String::new(),
                };
                report.error(CHECK, format!("the {name} cannot be used: {reason}{waits}"));
            }
        }
    }
}

fn check_folders(report: &mut CheckReport, loaded: &LoadedConfig) {
    for folder in folders::used(&loaded.config) {
        let (check, path) = (folder.setting, folder.path.display());
        match folder.try_write() {
            Ok(_) if !folder.exists() => report.ok(check, format!("the start creates {path}")),
            Ok(elapsed) => {
                let micros = elapsed.as_micros();
                report.ok(
                    check,
                    format!("{path}: write, sync and rename took {micros} µs"),
                );
            }
            Err(error) if error.is_full() => report.warning(check, chain(&error)),
            Err(error) => report.error(check, chain(&error)),
        }
        check_free_space(
            report,
            &folder.path,
            FreeSpaceLimit::new(&loaded.config.store),
        );
    }
}

fn check_free_space(report: &mut CheckReport, folder: &Path, limit: FreeSpaceLimit) {
    let outcome = |is_enough| match is_enough {
        true => CheckOutcome::Ok,
        false => CheckOutcome::Warning,
    };
    let Ok(stat) = rustix::fs::statvfs(folder) else {
        return;
    };
    let path = folder.display();
    if let Some(free_bytes) = stat.f_bavail.checked_mul(stat.f_frsize) {
        let kind = file_system::kind_of(folder);
        let kind = kind.map(|kind| format!(", file system {kind}"));
        let low = DiskSpace::of(folder).filter(|disk| limit.is_low(*disk, false));
        let low = low.map(|disk| {
            let limit = limit.bytes_of(disk) >> 20;
            format!(", less than the limit of {limit} MiB (store.minFreeInMiB)")
        });
        let is_enough = low.is_none() && free_bytes >= FREE_SPACE_WARNING_BYTES;
        let detail = format!(
            "{} MiB at {path}{}{}",
            free_bytes >> 20,
            kind.unwrap_or_default(),
            low.unwrap_or_default()
        );
        report.add("free space", outcome(is_enough), detail);
    }
    // Some file systems have no fixed number.
    if stat.f_files > 0 {
        let detail = format!("{} at {path}", stat.f_favail);
        let is_enough = stat.f_favail >= FREE_INODES_WARNING;
        report.add("free inodes", outcome(is_enough), detail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(options: &[(&str, &str)]) -> ConfigSources {
        ConfigSources {
            options: options
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            ..ConfigSources::default()
        }
    }

    fn report(options: &[(&str, &str)]) -> CheckReport {
        check(&sources(options))
    }

    /// Returns the worst outcome of a check.
    fn outcome(report: &CheckReport, check: &str) -> Option<CheckOutcome> {
        report
            .0
            .iter()
            .filter(|finding| finding.check == check)
            .map(|finding| finding.outcome)
            .max()
    }

    #[test]
    fn new_unit_has_no_errors_and_check_creates_no_files() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let report = report(&[
            ("data.dir", data.to_str().unwrap()),
            ("listen", "127.0.0.1:0"),
        ]);
        assert!(!report.has_errors(), "{}", report.text());
        assert!(!data.exists());
        assert_eq!(report.json()["ok"], true);
    }

    #[test]
    fn problems_are_reported_without_secrets() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().to_str().unwrap();
        let found = report(&[
            ("data.dir", data),
            ("x509.key", "none"),
            ("x509.crt", "none"),
            ("masterToken", "hidden"),
        ]);
        assert_eq!(outcome(&found, "keys"), Some(CheckOutcome::Error));
        assert_eq!(outcome(&found, "master token"), Some(CheckOutcome::Warning));
        assert_eq!(outcome(&found, "data.dir"), Some(CheckOutcome::Ok));
        assert!(
            found.has_errors() && !found.text().contains("hidden"),
            "{}",
            found.text()
        );
        let found = report(&[("unitPort", "x"), ("no.such", "1")]);
        assert_eq!(outcome(&found, "settings"), Some(CheckOutcome::Error));
        assert_eq!(found.json()["ok"], false);
        assert_eq!(
            outcome(&report(&[("no.such", "1"), ("data.dir", data)]), "settings"),
            Some(CheckOutcome::Warning)
        );
    }

    #[test]
    fn own_certificate_for_another_name_is_issued_again_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().to_str().unwrap();
        let options = [
            ("data.dir", data),
            ("unitFqdn", "unit.example"),
            ("listen", "127.0.0.1:0"),
        ];
        let config = LoadedConfig::load(&sources(&options)).unwrap().config;
        let (now_ms, random) = (system::clock().now_ms(), system::random());
        let prepared = key_files::prepare(&config, "other.example", now_ms, &random).unwrap();
        prepared.write_files().unwrap();
        let report = report(&options);
        assert_eq!(
            outcome(&report, "unit certificate"),
            Some(CheckOutcome::Warning),
            "{}",
            report.text()
        );
        assert!(!report.has_errors());
    }
}
