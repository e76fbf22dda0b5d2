//! The check of the TLS port: its ports, its certificate, and the authority that gives it.

use personium_types::error::chain;

use super::ports::check_port;
use super::report::{CheckOutcome, CheckReport};
use crate::acme;
use crate::certificate_expiry::{EXPIRY_WARNING_DAYS, days_left, expiry_text};
use crate::config::LoadedConfig;
use crate::tls::ServerCertificate;
use crate::unit_url::unit_urls;

const CHECK: &str = "tls.listen";
const ACME_CHECK: &str = "tls.acme.directory";

/// Reports on the TLS port, if there is one. `is_running` says whether a unit uses the data folder.
pub(super) fn check(report: &mut CheckReport, loaded: &LoadedConfig, is_running: bool) {
    let tls = &loaded.config.tls;
    let Some(address) = tls.listen else {
        return;
    };
    check_port(report, (CHECK, address), is_running);
    if let Some(redirect) = tls.redirect {
        check_port(report, ("tls.redirect.listen", redirect), is_running);
    }
    match ServerCertificate::of_settings(&loaded.config) {
        Err(error) => report.error(CHECK, chain(&error)),
        Ok(Some(certificate)) => {
            check_certificate(report, loaded, &certificate);
            let days = days(&certificate);
            if days < EXPIRY_WARNING_DAYS {
                report.warning(
                    CHECK,
                    format!("the certificate {}: renew it", expiry_text(days)),
                );
            }
        }
        Ok(None) => check_authority(report, loaded),
    }
}

fn days(certificate: &ServerCertificate) -> i64 {
    days_left(&certificate.details.info, crate::system::clock().now_ms())
}

/// The facts of a certificate, and whether its names are those of the unit and its cells.
fn check_certificate(
    report: &mut CheckReport,
    loaded: &LoadedConfig,
    certificate: &ServerCertificate,
) {
    let (details, info) = (&certificate.details, &certificate.details.info);
    let names = details.alternative_names.join(" ");
    report.ok(
        CHECK,
        format!(
            "certificate for {names}, issued by {}, {}, {}, SHA-256 {}",
            info.issuer,
            details.key,
            expiry_text(days(certificate)),
            details.sha256
        ),
    );
    let Ok(urls) = unit_urls(loaded) else {
        return;
    };
    let mut wanted = vec![urls.host().to_owned()];
    if !urls.path_based() {
        wanted.push(format!("*.{}", urls.host()));
    }
    for name in wanted.iter().filter(|name| !certificate.is_for(name)) {
        report.warning(CHECK, format!("the certificate is not for {name}"));
    }
}

fn check_authority(report: &mut CheckReport, loaded: &LoadedConfig) {
    let found = match acme::report(loaded) {
        Ok(found) => found,
        Err(problem) => return report.error(ACME_CHECK, problem),
    };
    let names = found.settings.names.join(" ");
    match &found.certificate {
        Ok(Some(certificate)) => check_certificate(report, loaded, certificate),
        Ok(None) => report.ok(CHECK, format!("the unit gets a certificate for {names}")),
        Err(problem) => report.warning(CHECK, format!("{problem}; the unit gets another one")),
    }
    let text = format!(
        "{} by {} for {names}; next attempt {}",
        found.settings.directory,
        found.settings.challenge.as_str(),
        found.next()
    );
    let (outcome, text) = match (found.state.failures, &found.state.last_error) {
        (0, _) => (CheckOutcome::Ok, text),
        (failures, error) => (
            CheckOutcome::Warning,
            format!(
                "{text}; {failures} failures, the last: {}",
                error.as_deref().unwrap_or("interrupted")
            ),
        ),
    };
    report.add(ACME_CHECK, outcome, text);
}
