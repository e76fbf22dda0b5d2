//! Trust between units by X.509: the unit's own key, and the roots whose certificates it believes.
//!
//! A trans-cell token is believed when the certificate inside it is one of the roots, or is signed
//! directly by one of them (no intermediate certificates, no revocation lists); when both are valid
//! at that moment; and when it names the host of the token's issuer.

mod certificate;
mod host;
mod self_signed;
mod unit_key;

pub use certificate::CertificateInfo;
pub use self_signed::{GenerateError, SelfSigned, generate_self_signed};
pub use unit_key::{KeyError, UnitKey};

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;
use aws_lc_rs::signature::{
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512,
};

use certificate::{Certificate, SignedBy};

/// How many checked certificates are remembered.
const CERTIFICATE_CACHE_CAPACITY: usize = 1024;

/// A list of roots that cannot be used. Positions count certificates from 0 over all given files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootConfigError {
    /// Neither a PEM file with certificates nor one DER certificate.
    #[error("root file {file} holds no readable certificate")]
    Unreadable {
        /// Position of the file in the list.
        file: usize,
    },
    /// Not valid at the moment of loading: expired, or not valid yet.
    #[error("root certificate {subject} is not valid now")]
    NotValidNow {
        /// Its subject name.
        subject: String,
    },
    /// Two roots have one subject name.
    #[error("more than one root certificate is named {subject}")]
    DuplicateName {
        /// That name.
        subject: String,
    },
    /// It limits what it may be used for in a way that is not understood here (name constraints,
    /// unknown critical extensions).
    #[error("root certificate {subject} has limits that are not supported")]
    Unsupported {
        /// Its subject name.
        subject: String,
    },
}

/// Why a certificate is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// No root is configured: nothing is believed.
    #[error("no trusted roots are configured")]
    NoRoots,
    /// Not a certificate, or it uses what is not supported (key type or size, critical extensions).
    #[error("the certificate is not readable or not supported")]
    Unreadable,
    /// None of the roots has the name of its issuer.
    #[error("the certificate comes from no trusted root")]
    UnknownRoot,
    /// The root of that name did not sign it, or may not sign certificates.
    #[error("the certificate is not signed by the trusted root it names")]
    NotSignedByRoot,
    /// Expired, or not valid yet.
    #[error("the certificate is not valid now")]
    NotValidNow,
    /// The root expired since it was loaded.
    #[error("the trusted root is not valid now")]
    RootNotValidNow,
    /// It does not name the host of the token's issuer.
    #[error("the certificate does not name the issuer's host")]
    OtherHost,
}

/// Digest of an RSA signature with PKCS#1 v1.5 padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RsaDigest {
    Sha256,
    Sha384,
    Sha512,
}

/// A certificate that is signed by a root. Validity in time and the host are checked at each use.
pub(crate) struct VerifiedKey {
    info: CertificateInfo,
    names: Vec<String>,
    root: usize,
    sha256: ParsedPublicKey,
    sha384: ParsedPublicKey,
    sha512: ParsedPublicKey,
}

impl VerifiedKey {
    /// True if `signature` over `message` is by this key.
    pub(crate) fn verifies(&self, digest: RsaDigest, message: &[u8], signature: &[u8]) -> bool {
        let key = match digest {
            RsaDigest::Sha256 => &self.sha256,
            RsaDigest::Sha384 => &self.sha384,
            RsaDigest::Sha512 => &self.sha512,
        };
        key.verify_sig(message, signature).is_ok()
    }
}

/// The certificates a unit trusts. The empty list trusts nobody.
///
/// Remembers up to 1024 certificates that a root key for; time and host are checked anew at
/// each use.
pub struct TrustRoots {
    roots: Vec<Certificate>,
    by_name: HashMap<Vec<u8>, usize>,
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
    /// Reads root files, each PEM with one or more certificates, or one certificate in DER.
    ///
    /// `now` in epoch milliseconds. One bad root fails the whole list: a unit that silently trusts
    /// less than configured is as hard to notice as one that trusts more.
    pub fn load(files: &[&[u8]], now: i64) -> Result<Self, RootConfigError> {
        let mut roots = Vec::new();
        let mut by_name = HashMap::new();
        for (file, bytes) in files.iter().enumerate() {
            let ders = certificate::ders_of_file(bytes)
                .filter(|list| !list.is_empty())
                .ok_or(RootConfigError::Unreadable { file })?;
            for der in ders {
                let root =
                    Certificate::from_der(&der).ok_or(RootConfigError::Unreadable { file })?;
                let subject = root.info.subject.clone();
                if !root.info.is_valid_at(now) {
                    return Err(RootConfigError::NotValidNow { subject });
                }
                if root.has_name_constraints || root.has_unknown_critical {
                    return Err(RootConfigError::Unsupported { subject });
                }
                if by_name
                    .insert(root.subject_der.clone(), roots.len())
                    .is_some()
                {
                    return Err(RootConfigError::DuplicateName { subject });
                }
                roots.push(root);
            }
        }
        Ok(Self {
            roots,
            by_name,
            verified_keys: Mutex::default(),
        })
    }

    /// Trusts nobody.
    pub fn none() -> Self {
        Self {
            roots: Vec::new(),
            by_name: HashMap::new(),
            verified_keys: Mutex::default(),
        }
    }

    /// Public facts of each root, in the order given.
    pub fn root_infos(&self) -> impl Iterator<Item = &CertificateInfo> {
        self.roots.iter().map(|root| &root.info)
    }

    /// The key of a certificate that is believed at `now` for the host of the URL `issuer`.
    pub(crate) fn verify_certificate(
        &self,
        der: &[u8],
        issuer: &str,
        now: i64,
    ) -> Result<Arc<VerifiedKey>, CertificateError> {
        if self.roots.is_empty() {
            return Err(CertificateError::NoRoots);
        }
        let key = self.verified_key(der)?;
        if !key.info.is_valid_at(now) {
            return Err(CertificateError::NotValidNow);
        }
        let root = self
            .roots
            .get(key.root)
            .ok_or(CertificateError::UnknownRoot)?;
        if !root.info.is_valid_at(now) {
            return Err(CertificateError::RootNotValidNow);
        }
        let host = host::of_url(issuer).ok_or(CertificateError::OtherHost)?;
        if !key.names.iter().any(|name| host::covers(name, &host)) {
            return Err(CertificateError::OtherHost);
        }
        Ok(key)
    }

    fn verified_key(&self, der: &[u8]) -> Result<Arc<VerifiedKey>, CertificateError> {
        let mut name = [0u8; 32];
        name.copy_from_slice(digest::digest(&digest::SHA256, der).as_ref());
        if let Some(known) = self.cache().get(&name) {
            return Ok(Arc::clone(known));
        }
        let made = Arc::new(self.verify_chain(der)?);
        let mut memory = self.cache();
        if memory.len() >= CERTIFICATE_CACHE_CAPACITY
            && let Some(any) = memory.keys().next().copied()
        {
            memory.remove(&any);
        }
        memory.insert(name, Arc::clone(&made));
        Ok(made)
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], Arc<VerifiedKey>>> {
        // entries are inserted whole, so a panic elsewhere leaves the map sound
        self.verified_keys
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn verify_chain(&self, der: &[u8]) -> Result<VerifiedKey, CertificateError> {
        let leaf = Certificate::from_der(der).ok_or(CertificateError::Unreadable)?;
        if leaf.has_unknown_critical {
            return Err(CertificateError::Unreadable);
        }
        let root = match self.roots.iter().position(|root| root.der == leaf.der) {
            Some(itself) => itself,
            None => {
                let at = self
                    .by_name
                    .get(&leaf.issuer_der)
                    .copied()
                    .ok_or(CertificateError::UnknownRoot)?;
                let root = self.roots.get(at).ok_or(CertificateError::UnknownRoot)?;
                if !leaf.may_sign_messages
                    || !root.may_sign_certificates
                    || leaf.signed_by(root) != SignedBy::Yes
                {
                    return Err(CertificateError::NotSignedByRoot);
                }
                at
            }
        };
        let key = leaf.rsa_key.ok_or(CertificateError::Unreadable)?;
        let parsed = |algorithm| {
            ParsedPublicKey::new(algorithm, &key).map_err(|_| CertificateError::Unreadable)
        };
        Ok(VerifiedKey {
            root,
            names: leaf.names,
            info: leaf.info,
            sha256: parsed(&RSA_PKCS1_2048_8192_SHA256)?,
            sha384: parsed(&RSA_PKCS1_2048_8192_SHA384)?,
            sha512: parsed(&RSA_PKCS1_2048_8192_SHA512)?,
        })
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

    /// Elliptic keys for the root: also shows that such roots may vouch.
    #[test]
    fn remembers_a_bounded_number_of_certificates() {
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
    fn what_is_not_believed_is_not_remembered() {
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
