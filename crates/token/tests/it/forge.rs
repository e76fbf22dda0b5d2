//! Signs any XML text with the key of a unit, as an attacker with a valid key or another implementation could.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{self, RsaEncoding};
use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::support::{TestUnit, token, unit2};

pub const DSIG: &str = "http://www.w3.org/2000/09/xmldsig#";
pub const C14N: &str = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315";
pub const ENVELOPED: &str = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";
pub const RSA_SHA256: &str = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256";
pub const SHA256: &str = "http://www.w3.org/2001/04/xmlenc#sha256";

/// The algorithms that a signature uses and states.
pub struct Profile {
    pub canonicalization: &'static str,
    pub method: &'static str,
    pub uri: String,
    pub transforms: Vec<&'static str>,
    pub digest: &'static str,
    pub references: usize,
    /// The key for HMAC methods.
    pub hmac_key: Vec<u8>,
    /// XML that is inserted into `KeyInfo/X509Data` before the certificate.
    pub before_certificate: String,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            canonicalization: C14N,
            method: RSA_SHA256,
            uri: String::new(),
            transforms: vec![ENVELOPED],
            digest: SHA256,
            references: 1,
            hmac_key: Vec::new(),
            before_certificate: String::new(),
        }
    }
}

/// Returns the XML of a token.
pub fn xml_of(token: &str) -> String {
    String::from_utf8(URL_SAFE_NO_PAD.decode(token).unwrap()).unwrap()
}

/// Returns the token with this XML.
pub fn text_of(xml: &str) -> String {
    URL_SAFE_NO_PAD.encode(xml)
}

/// Returns the XML of the standard test token, the XML without its signature, and the signature.
pub fn genuine() -> (String, String, String) {
    let xml = xml_of(&personium_token::saml::issue(&unit2().key, &token()).unwrap());
    let start = xml.find("<Signature ").unwrap();
    let end = xml.find("</Signature>").unwrap() + "</Signature>".len();
    let without = format!("{}{}", &xml[..start], &xml[end..]);
    let signature = xml[start..end].to_owned();
    (xml, without, signature)
}

/// Returns the canonical form of a document without prefixes whose attributes are in order: only empty elements differ.
pub fn canonical(xml: &str) -> String {
    let mut out = String::new();
    let mut rest = xml;
    while let Some(at) = rest.find("/>") {
        let start = rest[..at].rfind('<').unwrap();
        let name = rest[start + 1..at].split(' ').next().unwrap();
        out.push_str(&rest[..at]);
        out.push_str(&format!("></{name}>"));
        rest = &rest[at + 2..];
    }
    out.push_str(rest);
    out
}

fn digest_of(method: &str, bytes: &[u8]) -> String {
    let algorithm = if method.ends_with("sha1") {
        &digest::SHA1_FOR_LEGACY_USE_ONLY
    } else if method.ends_with("sha384") {
        &digest::SHA384
    } else if method.ends_with("sha512") {
        &digest::SHA512
    } else {
        &digest::SHA256
    };
    STANDARD.encode(digest::digest(algorithm, bytes))
}

/// Returns the signature element for `signed` (canonical bytes) according to the profile.
pub fn signature(unit: &TestUnit, signed: &str, profile: &Profile) -> String {
    let transforms: String = profile
        .transforms
        .iter()
        .map(|t| format!("<Transform Algorithm=\"{t}\"/>"))
        .collect();
    let reference = format!(
        "<Reference URI=\"{}\"><Transforms>{transforms}</Transforms><DigestMethod Algorithm=\"{}\"/><DigestValue>{}</DigestValue></Reference>",
        profile.uri,
        profile.digest,
        digest_of(profile.digest, signed.as_bytes()),
    );
    let info = format!(
        "<SignedInfo><CanonicalizationMethod Algorithm=\"{}\"/><SignatureMethod Algorithm=\"{}\"/>{}</SignedInfo>",
        profile.canonicalization,
        profile.method,
        reference.repeat(profile.references),
    );
    let message =
        canonical(&info).replacen("<SignedInfo>", &format!("<SignedInfo xmlns=\"{DSIG}\">"), 1);
    let value = if profile.method.contains("hmac") {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &profile.hmac_key);
        hmac::sign(&key, message.as_bytes()).as_ref().to_vec()
    } else {
        rsa_sign(unit, profile.method, message.as_bytes())
    };
    format!(
        "<Signature xmlns=\"{DSIG}\">{info}<SignatureValue>{}</SignatureValue><KeyInfo><X509Data>{}<X509Certificate>{}</X509Certificate></X509Data></KeyInfo></Signature>",
        STANDARD.encode(value),
        profile.before_certificate,
        STANDARD.encode(unit.key.certificate_der()),
    )
}

fn rsa_sign(unit: &TestUnit, method: &str, message: &[u8]) -> Vec<u8> {
    let pem = x509_parser::pem::parse_x509_pem(unit.pem.key_pem.as_bytes())
        .unwrap()
        .1;
    let pair = KeyPair::from_pkcs8(&pem.contents).unwrap();
    let mut value = vec![0; pair.public_modulus_len()];
    if method.ends_with("rsa-sha1") {
        // the library does not sign with SHA-1; the tests check that the name alone is refused
        return value;
    }
    let encoding: &'static dyn RsaEncoding = if method.ends_with("sha384") {
        &signature::RSA_PKCS1_SHA384
    } else if method.ends_with("sha512") {
        &signature::RSA_PKCS1_SHA512
    } else {
        &signature::RSA_PKCS1_SHA256
    };
    pair.sign(encoding, &SystemRandom::new(), message, &mut value)
        .unwrap();
    value
}

/// Signs a document without signature according to the profile and returns the token.
pub fn signed(unit: &TestUnit, without: &str, profile: &Profile) -> String {
    let signature = signature(unit, &canonical(without), profile);
    text_of(&without.replacen("</Assertion>", &format!("{signature}</Assertion>"), 1))
}
