//! The number of failed attempts, and the metrics of the certificate of the TLS port.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;

use crate::tls::ServerCertificates;

/// The number of attempts that failed since the last success.
#[derive(Debug, Default)]
pub(crate) struct AcmeFailures(AtomicU32);

impl AcmeFailures {
    pub(super) fn set(&self, failures: u32) {
        self.0.store(failures, Ordering::Relaxed);
    }

    fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The metrics of the certificate of the TLS port.
#[derive(Debug)]
pub(crate) struct AcmeCollector {
    pub(crate) certificates: Arc<ServerCertificates>,
    /// With an authority only.
    pub(crate) failures: Option<Arc<AcmeFailures>>,
}

impl Collector for AcmeCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let expiry = self.certificates.current();
        let expiry = expiry.map(|found| found.details.info.not_after_ms.div_euclid(1000));
        let failures = self.failures.as_ref();
        let failures = failures.map(|failures| failures.get().into());
        for (name, help, value) in [
            (
                "personium_tls_certificate_expiry_timestamp_seconds",
                "The time at which the certificate of the TLS port expires",
                expiry,
            ),
            (
                "personium_acme_failures",
                "Attempts to get a certificate that failed since the last success",
                failures,
            ),
        ] {
            let Some(value) = value else { continue };
            let gauge = ConstGauge::<i64>::new(value);
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        Ok(())
    }
}
