//! Units, certificates and times that the tests share.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::Relaxed;

use personium_token::saml::TransCellToken;
use personium_token::trust::{SelfSigned, TrustRoots, UnitKey, generate_self_signed};
use personium_types::{Random, RandomError};
use rcgen::{CertificateParams, DnType, Issuer, KeyPair};
use uuid::Uuid;

/// One second after the issue time of the test tokens.
pub const NOW: i64 = 1_600_000_001_123;
pub const ISSUED: i64 = 1_600_000_000_123;
/// 2020-01-01 and 2120-01-01.
pub const FROM: i64 = 1_577_836_800_000;
pub const UNTIL: i64 = 4_733_510_400_000;

/// Predictable bytes, different at each call.
#[derive(Debug)]
pub struct Counter(AtomicU8);

impl Counter {
    pub const fn new(seed: u8) -> Self {
        Self(AtomicU8::new(seed))
    }
}

impl Random for Counter {
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomError> {
        for byte in out {
            let next = self.0.load(Relaxed).wrapping_mul(13).wrapping_add(7);
            self.0.store(next, Relaxed);
            *byte = next;
        }
        Ok(())
    }

    fn uuid(&self) -> Uuid {
        let mut bytes = [0; 16];
        self.fill(&mut bytes).unwrap();
        Uuid::from_bytes(bytes)
    }
}

/// A source that always fails.
#[derive(Debug)]
pub struct Broken;

impl Random for Broken {
    fn fill(&self, _: &mut [u8]) -> Result<(), RandomError> {
        Err(RandomError)
    }

    fn uuid(&self) -> Uuid {
        Uuid::nil()
    }
}

/// A unit with a self-signed certificate.
pub struct TestUnit {
    pub pem: SelfSigned,
    pub key: UnitKey,
}

impl TestUnit {
    pub fn new(host: &str) -> Self {
        let pem = generate_self_signed(host, FROM, UNTIL).unwrap();
        let key = UnitKey::load(pem.key_pem.as_bytes(), pem.certificate_pem.as_bytes()).unwrap();
        Self { pem, key }
    }

    pub fn roots(&self) -> TrustRoots {
        TrustRoots::load(&[self.pem.certificate_pem.as_bytes()], NOW).unwrap()
    }
}

/// The unit that issues most test tokens.
pub fn unit2() -> &'static TestUnit {
    static UNIT: OnceLock<TestUnit> = OnceLock::new();
    UNIT.get_or_init(|| TestUnit::new("unit2.example"))
}

/// A unit that is not trusted.
pub fn untrusted_unit() -> &'static TestUnit {
    static UNIT: OnceLock<TestUnit> = OnceLock::new();
    UNIT.get_or_init(|| TestUnit::new("unit2.example"))
}

/// An RSA key pair for the certificates of tests.
pub fn rsa(which: usize) -> &'static KeyPair {
    static KEYS: [OnceLock<KeyPair>; 2] = [OnceLock::new(), OnceLock::new()];
    KEYS[which].get_or_init(|| KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap())
}

/// Parameters of a certificate valid from 2020 to 2120.
pub fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2120, 1, 1);
    params
}

/// Parameters of a certificate authority.
pub fn authority(common_name: &str) -> CertificateParams {
    let mut params = params(common_name);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params
}

/// PEM of a certificate for key 1, signed by an authority with key 0.
pub fn chained(leaf: &CertificateParams, root: &CertificateParams) -> String {
    let issuer = Issuer::from_params(root, rsa(0));
    leaf.signed_by(rsa(1), &issuer).unwrap().pem()
}

/// The unit key of key 1 with that certificate.
pub fn chained_key(certificate_pem: &str) -> UnitKey {
    UnitKey::load(
        rsa(1).serialize_pem().as_bytes(),
        certificate_pem.as_bytes(),
    )
    .unwrap()
}

/// A token with every field set, issued below `host`.
pub fn token_of(host: &str) -> TransCellToken {
    TransCellToken {
        id: "5e2e1f0c-0000-4000-8000-0000000000aa".to_owned(),
        issued_at_ms: ISSUED,
        lifespan_ms: 3_600_000,
        issuer: format!("https://cell2.{host}/"),
        subject: format!("https://cell2.{host}/#me"),
        target: "https://cell1.unit1.example/".to_owned(),
        schema: Some("https://app1.unit1.example/".to_owned()),
        roles: vec![
            "https://app1.unit1.example/__role/__/role1".to_owned(),
            format!("https://cell2.{host}/__role/__/role2"),
        ],
        scopes: vec!["root".to_owned()],
    }
}

pub fn token() -> TransCellToken {
    token_of("unit2.example")
}
