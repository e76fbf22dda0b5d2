//! Trust between units by X.509: the key of the unit, and its trusted root certificates.
//!
//! A trans-cell token is trusted if the certificate in it is a root or is signed directly by a root (there are no
//! intermediate certificates and no revocation lists), if both are valid at that time, and if the certificate is for the
//! host of the issuer.

mod certificate;
mod challenge_certificate;
mod details;
mod error;
mod host;
mod issue;
mod self_signed;
mod unit_key;

pub use certificate::CertificateInfo;
pub use challenge_certificate::ChallengeCertificate;
pub use details::CertificateDetails;
pub use error::{CertificateError, RootConfigError};
pub use issue::{
    Authority, CertificatePurpose, CertificateSpec, IssuanceError, RequestedSubject, RsaBits,
    certificate_request, generate_rsa_key, self_signed_certificate,
};
pub use self_signed::{GenerateError, SelfSigned, generate_self_signed, reissue_self_signed};
pub use unit_key::{KeyError, UnitKey};

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;
use aws_lc_rs::signature::{
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512,
};

use certificate::{Certificate, SignedBy};

/// The capacity of the cache for verified certificates.
const CERTIFICATE_CACHE_CAPACITY: usize = 1024;

/// The digest of an RSA signature with PKCS#1 v1.5 padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RsaDigest {
    Sha256,
    Sha384,
    Sha512,
}

/// The key of a certificate that is a root or signed by one. Validity period and host are checked at each use.
pub(crate) struct VerifiedKey {
    info: CertificateInfo,
    names: Vec<String>,
    /// The roots that it is or is signed by.
    roots: Vec<usize>,
    sha256: ParsedPublicKey,
    sha384: ParsedPublicKey,
    sha512: ParsedPublicKey,
}

impl VerifiedKey {
    /// Whether `signature` is a signature of `message` with this key.
    pub(crate) fn verifies(&self, digest: RsaDigest, message: &[u8], signature: &[u8]) -> bool {
        let key = match digest {
            RsaDigest::Sha256 => &self.sha256,
            RsaDigest::Sha384 => &self.sha384,
            RsaDigest::Sha512 => &self.sha512,
        };
        key.verify_sig(message, signature).is_ok()
    }
}

/// The trusted root certificates of a unit. Without roots, no certificate is trusted.
///
/// Several roots can have one subject name: that of a key or certificate and of the next one. A certificate is trusted if one of them is or
/// has signed it. The keys of up to 1024 verified certificates are cached. Validity period and host are checked at each use.
pub struct TrustRoots {
    roots: Vec<Certificate>,
    by_name: HashMap<Vec<u8>, Vec<usize>>,
    verified_keys: Mutex<HashMap<[u8; 32], Arc<VerifiedKey>>>,
}

impl std::fmt::Debug for TrustRoots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TrustRoots")
            .field("roots", &self.root_infos().collect::<Vec<_>>())
            .finish()
    }
}

impl TrustRoots {
    /// Parses root files: PEM with one or more certificates, or one certificate in DER.
    ///
    /// A root whose validity is over or has not begun is used only beside another one with its subject name that is valid at `now_ms`: it
    /// is the one before, or the next one. Its validity is checked at each use.
    ///
    /// # Errors
    /// [`RootConfigError`] if one root is not usable. The whole list is then refused, because a unit that trusts less than
    /// configured is hard to notice.
    pub fn load(files: &[&[u8]], now_ms: i64) -> Result<Self, RootConfigError> {
        Self::parse(files)?.checked(now_ms)
    }

    /// The same with the certificate of the unit itself, unless that is a root or signed by one.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_with_own(
        files: &[&[u8]],
        own: &UnitKey,
        now_ms: i64,
    ) -> Result<Self, RootConfigError> {
        let mut roots = Self::parse(files)?;
        let der = own.certificate_der();
        if roots.verify_chain(der).is_err() {
            let own = Certificate::from_der(der).ok_or(RootConfigError::Unreadable { file: 0 })?;
            roots.add(own);
        }
        roots.checked(now_ms)
    }

    fn parse(files: &[&[u8]]) -> Result<Self, RootConfigError> {
        let mut roots = Self::none();
        for (file, bytes) in files.iter().enumerate() {
            let ders = certificate::ders_of_file(bytes)
                .filter(|list| !list.is_empty())
                .ok_or(RootConfigError::Unreadable { file })?;
            for der in ders {
                let root = Certificate::from_der(&der);
                roots.add(root.ok_or(RootConfigError::Unreadable { file })?);
            }
        }
        Ok(roots)
    }

    /// Adds a root, unless it is there already.
    fn add(&mut self, root: Certificate) {
        if self.roots.iter().any(|known| known.der == root.der) {
            return;
        }
        let name = root.subject_der.clone();
        self.by_name.entry(name).or_default().push(self.roots.len());
        self.roots.push(root);
    }

    /// The roots with the subject name of a certificate.
    fn of_name(&self, name: &[u8]) -> impl Iterator<Item = (usize, &Certificate)> {
        let found = self.by_name.get(name).into_iter().flatten();
        found.filter_map(|at| Some((*at, self.roots.get(*at)?)))
    }

    fn checked(self, now_ms: i64) -> Result<Self, RootConfigError> {
        for root in &self.roots {
            let subject = || root.info.subject.clone();
            if root.has_name_constraints || root.has_unknown_critical {
                return Err(RootConfigError::Unsupported { subject: subject() });
            }
            let mut same_name = self.of_name(&root.subject_der);
            if !same_name.any(|(_, other)| other.info.is_valid_at(now_ms)) {
                return Err(RootConfigError::NotValidNow { subject: subject() });
            }
        }
        Ok(self)
    }

    /// Returns an empty list, which trusts no certificate.
    pub fn none() -> Self {
        Self {
            roots: Vec::new(),
            by_name: HashMap::new(),
            verified_keys: Mutex::default(),
        }
    }

    /// The public data of each root, in the order of the files.
    pub fn root_infos(&self) -> impl Iterator<Item = &CertificateInfo> {
        self.roots.iter().map(|root| &root.info)
    }

    /// Verifies a certificate at `now_ms` for the host of the URL `issuer`, and returns its key.
    pub(crate) fn verify_certificate(
        &self,
        der: &[u8],
        issuer: &str,
        now_ms: i64,
    ) -> Result<Arc<VerifiedKey>, CertificateError> {
        if self.roots.is_empty() {
            return Err(CertificateError::NoRoots);
        }
        let key = self.verified_key(der)?;
        if !key.info.is_valid_at(now_ms) {
            return Err(CertificateError::NotValidNow);
        }
        let mut roots = key.roots.iter().filter_map(|at| self.roots.get(*at));
        if !roots.any(|root| root.info.is_valid_at(now_ms)) {
            return Err(CertificateError::RootNotValidNow);
        }
        let host = host::of_url(issuer).ok_or(CertificateError::OtherHost)?;
        if !key.names.iter().any(|name| host::covers(name, &host)) {
            return Err(CertificateError::OtherHost);
        }
        Ok(key)
    }

    fn verified_key(&self, der: &[u8]) -> Result<Arc<VerifiedKey>, CertificateError> {
        let mut fingerprint = [0u8; 32];
        fingerprint.copy_from_slice(digest::digest(&digest::SHA256, der).as_ref());
        if let Some(known) = self.cache().get(&fingerprint) {
            return Ok(Arc::clone(known));
        }
        let key = Arc::new(self.verify_chain(der)?);
        let mut cache = self.cache();
        if cache.len() >= CERTIFICATE_CACHE_CAPACITY
            && let Some(any) = cache.keys().next().copied()
        {
            cache.remove(&any);
        }
        cache.insert(fingerprint, Arc::clone(&key));
        Ok(key)
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], Arc<VerifiedKey>>> {
        // A panic of another thread cannot leave a partial entry.
        self.verified_keys
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn verify_chain(&self, der: &[u8]) -> Result<VerifiedKey, CertificateError> {
        let leaf = Certificate::from_der(der).ok_or(CertificateError::Unreadable)?;
        if leaf.has_unknown_critical {
            return Err(CertificateError::Unreadable);
        }
        let roots = self.roots_of(&leaf)?;
        let key = leaf.rsa_key.ok_or(CertificateError::Unreadable)?;
        let parsed = |algorithm| {
            ParsedPublicKey::new(algorithm, &key).map_err(|_| CertificateError::Unreadable)
        };
        Ok(VerifiedKey {
            roots,
            names: leaf.names,
            info: leaf.info,
            sha256: parsed(&RSA_PKCS1_2048_8192_SHA256)?,
            sha384: parsed(&RSA_PKCS1_2048_8192_SHA384)?,
            sha512: parsed(&RSA_PKCS1_2048_8192_SHA512)?,
        })
    }

    /// The roots that a certificate is, or is signed by. There is one at least.
    fn roots_of(&self, leaf: &Certificate) -> Result<Vec<usize>, CertificateError> {
        if let Some(at) = self.roots.iter().position(|root| root.der == leaf.der) {
            return Ok(vec![at]);
        }
        let mut issuers = self.of_name(&leaf.issuer_der).peekable();
        if issuers.peek().is_none() {
            return Err(CertificateError::UnknownRoot);
        }
        let has_signed = |root: &Certificate| {
            leaf.may_sign_messages
                && root.may_sign_certificates
                && leaf.signed_by(root) == SignedBy::Yes
        };
        let signers = issuers.filter(|(_, root)| has_signed(root));
        let signers: Vec<usize> = signers.map(|(at, _)| at).collect();
        match signers.is_empty() {
            true => Err(CertificateError::NotSignedByRoot),
            false => Ok(signers),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CERTIFICATE_CACHE_CAPACITY, TrustRoots};
    use rcgen::{
        BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256,
        PKCS_RSA_SHA256,
    };

    const NOW: i64 = 1_600_000_000_000;

    /// The root has an elliptic key, so the test also covers such roots.
    #[test]
    fn certificate_cache_is_bounded() {
        let root_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let leaf_key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        let mut root = CertificateParams::default();
        root.distinguished_name.push(DnType::CommonName, "Root");
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root_der = root.self_signed(&root_key).unwrap().der().to_vec();
        let issuer = Issuer::from_params(&root, &root_key);
        let roots = TrustRoots::load(&[&root_der], NOW).unwrap();

        let mut leaf = CertificateParams::default();
        leaf.distinguished_name
            .push(DnType::CommonName, "unit.example");
        for serial in 0..=(CERTIFICATE_CACHE_CAPACITY + 8) {
            leaf.serial_number = Some(serial.to_be_bytes().to_vec().into());
            let der = leaf.signed_by(&leaf_key, &issuer).unwrap().der().to_vec();
            for _ in 0..2 {
                assert!(
                    roots
                        .verify_certificate(&der, "https://unit.example/", NOW)
                        .is_ok()
                );
            }
            assert!(roots.cache().len() <= CERTIFICATE_CACHE_CAPACITY);
        }
        assert_eq!(roots.cache().len(), CERTIFICATE_CACHE_CAPACITY);
    }

    #[test]
    fn untrusted_certificates_are_not_cached() {
        let roots = TrustRoots::none();
        assert!(
            roots
                .verify_certificate(b"x", "https://unit.example/", NOW)
                .is_err()
        );
        let root_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let der = CertificateParams::default()
            .self_signed(&root_key)
            .unwrap()
            .der()
            .to_vec();
        let roots = TrustRoots::load(&[&der], NOW).unwrap();
        for bad in [&b""[..], b"x", der.get(1..).unwrap(), &der] {
            assert!(
                roots
                    .verify_certificate(bad, "https://unit.example/", NOW)
                    .is_err()
            );
        }
        assert!(roots.cache().is_empty());
    }
}
