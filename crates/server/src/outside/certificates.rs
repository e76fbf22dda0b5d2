//! The certificates that servers have shown.

use parking_lot::Mutex;
use personium_token::trust::CertificateDetails;
use rustls::pki_types::CertificateDer;

/// The number of different certificates that are remembered.
const MAX_SEEN: usize = 16;

/// A certificate that a server has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenCertificate {
    /// The certificate.
    pub details: CertificateDetails,
    /// The certificates of intermediate authorities that came with it.
    pub intermediates: Vec<CertificateDetails>,
    /// Why it is not trusted for the name.
    pub refusal: Option<String>,
}

/// The certificates that were seen since the start.
#[derive(Debug, Default)]
pub(super) struct SeenCertificates(Mutex<Vec<SeenCertificate>>);

impl SeenCertificates {
    /// Remembers a certificate and those that came with it, in DER.
    pub(super) fn add(&self, der: &[u8], more: &[CertificateDer<'_>], refusal: Option<String>) {
        let Some(details) = CertificateDetails::from_der(der) else {
            return;
        };
        let more = more.iter().take(MAX_SEEN);
        let intermediates = more.filter_map(|der| CertificateDetails::from_der(der));
        let certificate = SeenCertificate {
            details,
            intermediates: intermediates.collect(),
            refusal,
        };
        let mut list = self.0.lock();
        if list.len() < MAX_SEEN && !list.contains(&certificate) {
            list.push(certificate);
        }
    }

    /// Returns them in the order in which they were seen.
    pub(super) fn list(&self) -> Vec<SeenCertificate> {
        self.0.lock().clone()
    }
}
