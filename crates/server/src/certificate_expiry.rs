//! Warns of certificates that expire soon: in the log and in the metrics.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use personium_model::credentials::UnitKeys;
use personium_token::trust::CertificateInfo;
use personium_types::Clock;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;

use crate::tls::ServerCertificates;

/// The number of days before its expiry from which on a certificate causes a warning.
pub(crate) const EXPIRY_WARNING_DAYS: i64 = 30;

const DAY_MS: i64 = 24 * 3600 * 1000;

/// The time between two warnings.
const WARNING_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// The number of whole days until a certificate expires; negative once it has expired.
pub(crate) fn days_left(certificate: &CertificateInfo, now_ms: i64) -> i64 {
    (certificate.not_after_ms - now_ms).div_euclid(DAY_MS)
}

/// The days until a certificate expires, or since it has, as words of a sentence.
pub(crate) fn expiry_text(days: i64) -> String {
    match days {
        0.. => format!("expires in {days} days"),
        -1 => "has expired today".to_owned(),
        _ => format!("has expired {} days ago", -1 - days),
    }
}

/// The subjects of the certificates in use that expire soon, each with the days that are left.
fn expiring(keys: &UnitKeys, now_ms: i64) -> Vec<(String, i64)> {
    let certificates = keys.certificates();
    let roots = certificates.trust_roots.root_infos();
    let own = std::iter::once(certificates.signing.certificate_info());
    let mut found: Vec<(String, i64)> = own
        .chain(roots)
        .map(|certificate| (certificate.subject.clone(), days_left(certificate, now_ms)))
        .filter(|(_, days)| *days < EXPIRY_WARNING_DAYS)
        .collect();
    found.dedup();
    found
}

/// Logs a warning for each certificate that expires soon, at the start and each day.
pub(crate) async fn warn_daily(keys: Arc<UnitKeys>, clock: Arc<dyn Clock>) {
    loop {
        for (subject, days) in expiring(&keys, clock.now_ms()) {
            tracing::warn!(
                certificate = subject,
                days,
                "certificate expires soon or has expired: renew it"
            );
        }
        tokio::time::sleep(WARNING_INTERVAL).await;
    }
}

/// Logs a warning if the certificate of the TLS port expires soon, at the start and each day.
pub(crate) async fn warn_of_server_daily(
    certificates: Arc<ServerCertificates>,
    clock: Arc<dyn Clock>,
) {
    loop {
        if let Some(current) = certificates.current() {
            let info = &current.details.info;
            let days = days_left(info, clock.now_ms());
            if days < EXPIRY_WARNING_DAYS {
                tracing::warn!(
                    certificate = info.subject,
                    days,
                    "certificate of the TLS port expires soon or has expired: renew it"
                );
            }
        }
        tokio::time::sleep(WARNING_INTERVAL).await;
    }
}

/// The metric with the expiry of the unit's certificate.
#[derive(Debug)]
pub(crate) struct ExpiryCollector(pub(crate) Arc<UnitKeys>);

impl Collector for ExpiryCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let certificates = self.0.certificates();
        let own = certificates.signing.certificate_info();
        let roots = certificates.trust_roots.root_infos();
        let first = roots.map(|root| root.not_after_ms).min();
        for (name, help, at_ms) in [
            (
                "personium_certificate_expiry_timestamp_seconds",
                "The time at which the certificate of the unit expires",
                Some(own.not_after_ms),
            ),
            (
                "personium_trusted_root_expiry_timestamp_seconds",
                "The time at which the first trusted root certificate expires",
                first,
            ),
        ] {
            let Some(at_ms) = at_ms else { continue };
            let gauge = ConstGauge::new(at_ms.div_euclid(1000));
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::system;

    #[test]
    fn certificates_are_named_from_the_thirtieth_day_before_their_expiry() {
        const NOW_MS: i64 = 1_800_000_000_000;
        let keys = UnitKeys::self_signed("unit.example", "a secret of this test", NOW_MS).unwrap();
        let end_ms = keys.certificates().signing.certificate_info().not_after_ms;
        for (now_ms, days) in [
            (NOW_MS, None),
            (end_ms - 31 * DAY_MS, None),
            (end_ms - 29 * DAY_MS, Some(29)),
            (end_ms + DAY_MS, Some(-1)),
        ] {
            let found = expiring(&keys, now_ms);
            assert_eq!(found.first().map(|(_, days)| *days), days, "{now_ms}");
        }
    }

    #[test]
    fn metrics_are_the_times_at_which_the_certificates_expire() {
        for now_ms in [1_800_000_000_000, 1_900_000_000_000] {
            let keys = UnitKeys::self_signed("unit.example", "a secret of this test", now_ms);
            let keys = Arc::new(keys.unwrap());
            let end_ms = keys.certificates().signing.certificate_info().not_after_ms;
            let roots = keys.certificates();
            let root_ms = roots.trust_roots.root_infos().map(|r| r.not_after_ms).min();
            let metrics = Metrics::new(system::clock())
                .with_collector(Box::new(ExpiryCollector(Arc::clone(&keys))));
            let text = metrics.encode().unwrap();
            for (name, at_ms) in [
                ("personium_certificate_expiry", end_ms),
                ("personium_trusted_root_expiry", root_ms.unwrap()),
            ] {
                let line = format!("\n{name}_timestamp_seconds {}\n", at_ms / 1000);
                assert!(text.contains(&line), "{line} in\n{text}");
            }
        }
    }
}
