//! The certificates that servers have shown.

use parking_lot::Mutex;
use personium_token::trust::CertificateDetails;

/// The number of different certificates that are remembered.
const MAX_SEEN: usize = 16;

/// A certificate that a server has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenCertificate {
    /// The certificate.
    pub details: CertificateDetails,
    /// Why it is not trusted for the name.
    pub refusal: Option<String>,
}

/// The certificates that were seen since the start.
#[derive(Debug, Default)]
pub(super) struct SeenCertificates(Mutex<Vec<SeenCertificate>>);

impl SeenCertificates {
    /// Remembers a certificate in DER.
    pub(super) fn add(&self, der: &[u8], refusal: Option<String>) {
        let Some(details) = CertificateDetails::from_der(der) else {
            return;
        };
        let certificate = SeenCertificate { details, refusal };
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
