//! The signature of an assertion: one profile of W3C XML Signature.
//!
//! It has one reference to the whole document with the enveloped-signature transform and optionally Canonical XML 1.0,
//! SHA-2 digests, and RSA with PKCS#1 v1.5 padding. All supported methods verify with the RSA key of the certificate, so
//! the key cannot be misused as an HMAC key.

use aws_lc_rs::digest;
use subtle::ConstantTimeEq;

use super::document::{Document, XmlForm, XmlWriter};
use super::error::{IssueError, SamlError};
use crate::base64_text::encode_standard;
use crate::trust::{RsaDigest, UnitKey, VerifiedKey};

/// The XML namespace of the signature.
pub(super) const DSIG_NS: &str = "http://www.w3.org/2000/09/xmldsig#";
const CANONICAL: &str = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315";
const ENVELOPED: &str = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";
const RSA_SHA256: &str = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256";
const RSA_SHA384: &str = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha384";
const RSA_SHA512: &str = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512";
const SHA256: &str = "http://www.w3.org/2001/04/xmlenc#sha256";
const SHA384: &str = "http://www.w3.org/2001/04/xmldsig-more#sha384";
const SHA512: &str = "http://www.w3.org/2001/04/xmlenc#sha512";
/// The length of a base64 line in `SignatureValue` and `X509Certificate`.
const BASE64_LINE_COLUMNS: usize = 76;

/// The fields of a signature, with entities resolved.
pub(super) struct SignatureFields {
    pub(super) canonicalization: String,
    pub(super) method: String,
    pub(super) uri: String,
    pub(super) transforms: Vec<String>,
    pub(super) digest_method: String,
    pub(super) digest: Vec<u8>,
    /// The digest as base64 text, which is part of the signed data.
    pub(super) digest_value: String,
    pub(super) value: Vec<u8>,
    /// The certificate in DER.
    pub(super) certificate: Vec<u8>,
}

/// The algorithms of a supported signature.
#[derive(Clone, Copy)]
pub(super) struct SignatureAlgorithms {
    rsa: RsaDigest,
    digest: &'static digest::Algorithm,
}

impl SignatureFields {
    /// Returns the algorithms if all of them are supported.
    pub(super) fn algorithms(&self) -> Result<SignatureAlgorithms, SamlError> {
        let fail = |what| Err(SamlError::Signature { what });
        if self.canonicalization != CANONICAL {
            return fail("unsupported canonicalization method");
        }
        if !self.uri.is_empty() {
            return fail("the reference is not the whole document");
        }
        let transforms: Vec<&str> = self.transforms.iter().map(String::as_str).collect();
        if !matches!(transforms.as_slice(), [ENVELOPED] | [ENVELOPED, CANONICAL]) {
            return fail("unsupported transforms");
        }
        let rsa = match self.method.as_str() {
            RSA_SHA256 => RsaDigest::Sha256,
            RSA_SHA384 => RsaDigest::Sha384,
            RSA_SHA512 => RsaDigest::Sha512,
            _ => return fail("unsupported signature method"),
        };
        let digest = match self.digest_method.as_str() {
            SHA256 => &digest::SHA256,
            SHA384 => &digest::SHA384,
            SHA512 => &digest::SHA512,
            _ => return fail("unsupported digest method"),
        };
        Ok(SignatureAlgorithms { rsa, digest })
    }

    /// Verifies digest and signature of the canonical document without its signature.
    pub(super) fn verify(
        &self,
        canonical: &str,
        algorithms: SignatureAlgorithms,
        key: &VerifiedKey,
    ) -> Result<(), SamlError> {
        let digest = digest::digest(algorithms.digest, canonical.as_bytes());
        if !bool::from(digest.as_ref().ct_eq(&self.digest)) {
            return Err(SamlError::Signature {
                what: "the digest does not match the content",
            });
        }
        let transforms: Vec<&str> = self.transforms.iter().map(String::as_str).collect();
        let mut signed = String::with_capacity(1024);
        signed_info(
            &mut XmlWriter {
                form: XmlForm::Canonical,
                out: &mut signed,
            },
            &[("xmlns", DSIG_NS)],
            &SignedInfo {
                method: &self.method,
                transforms: &transforms,
                digest_method: &self.digest_method,
                digest_value: &self.digest_value,
            },
        );
        if key.verifies(algorithms.rsa, signed.as_bytes(), &self.value) {
            Ok(())
        } else {
            Err(SamlError::Signature {
                what: "not signed with the key of the certificate",
            })
        }
    }
}

struct SignedInfo<'a> {
    method: &'a str,
    transforms: &'a [&'a str],
    digest_method: &'a str,
    digest_value: &'a str,
}

/// Writes `SignedInfo`. The canonical form declares the namespace on this element, the sent form on its parent.
fn signed_info(xml: &mut XmlWriter<'_>, namespace: &[(&str, &str)], info: &SignedInfo<'_>) {
    xml.start("SignedInfo", namespace);
    xml.leaf("CanonicalizationMethod", &[("Algorithm", CANONICAL)], "");
    xml.leaf("SignatureMethod", &[("Algorithm", info.method)], "");
    xml.start("Reference", &[("URI", "")]);
    xml.start("Transforms", &[]);
    for transform in info.transforms {
        xml.leaf("Transform", &[("Algorithm", transform)], "");
    }
    xml.end("Transforms");
    xml.leaf("DigestMethod", &[("Algorithm", info.digest_method)], "");
    xml.leaf("DigestValue", &[], info.digest_value);
    xml.end("Reference");
    xml.end("SignedInfo");
}

/// Signs a document and writes the signature in its sent form.
pub(super) fn write(
    key: &UnitKey,
    document: &Document,
    out: &mut String,
) -> Result<(), IssueError> {
    let digest = digest::digest(&digest::SHA256, document.canonical().as_bytes());
    let info = SignedInfo {
        method: RSA_SHA256,
        transforms: &[ENVELOPED],
        digest_method: SHA256,
        digest_value: &encode_standard(digest.as_ref()),
    };
    let mut signed = String::with_capacity(1024);
    signed_info(
        &mut XmlWriter {
            form: XmlForm::Canonical,
            out: &mut signed,
        },
        &[("xmlns", DSIG_NS)],
        &info,
    );
    let value = key.sign_sha256(signed.as_bytes())?;

    let mut xml = XmlWriter {
        form: XmlForm::Wire,
        out,
    };
    xml.start("Signature", &[("xmlns", DSIG_NS)]);
    signed_info(&mut xml, &[], &info);
    xml.leaf("SignatureValue", &[], &wrapped(&value));
    xml.start("KeyInfo", &[]);
    xml.start("X509Data", &[]);
    xml.leaf("X509SubjectName", &[], &key.certificate_info().subject);
    xml.leaf("X509Certificate", &[], &wrapped(key.certificate_der()));
    xml.end("X509Data");
    xml.end("KeyInfo");
    xml.end("Signature");
    Ok(())
}

/// Encodes as base64 in lines that are separated by CR LF.
fn wrapped(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 3 / 2);
    for (at, c) in encode_standard(bytes).chars().enumerate() {
        if at > 0 && at % BASE64_LINE_COLUMNS == 0 {
            out.push_str("\r\n");
        }
        out.push(c);
    }
    out
}
