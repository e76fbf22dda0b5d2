//! Signatures of HTTP requests (RFC 9421) with the key of a cell, and digests of their bodies (RFC 9530).
//!
//! A receiver verifies them with the public key of the cell, which `{cell}__certs` shows.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::jwt::{CellKey, CellKeyError};

/// The label of a signature in the headers `Signature-Input` and `Signature`.
pub const LABEL: &str = "personium";
/// The algorithm (RFC 9421, section 3.3.2).
const ALGORITHM: &str = "rsa-v1_5-sha256";
/// The purpose of a signature, by which receivers tell it from others of the same key.
const TAG: &str = "personium-relay";

/// The parts of a request that a signature covers.
#[derive(Debug, Clone, Copy)]
pub struct SignedParts<'a> {
    /// The method.
    pub method: &'a str,
    /// The absolute URL, as the request is sent to it.
    pub target_uri: &'a str,
    /// Headers in their order: names in lower case, values without surrounding blanks.
    pub headers: &'a [(&'a str, &'a str)],
}

/// The parameters of a signature (RFC 9421, section 2.3).
#[derive(Debug, Clone, Copy)]
pub struct SignatureParameters<'a> {
    /// When it is made, seconds since 1970.
    pub created_secs: i64,
    /// When it ends, seconds since 1970.
    pub expires_secs: i64,
    /// A text that no other signature has.
    pub nonce: &'a str,
    /// The name of the key.
    pub key_id: &'a str,
}

/// The values of the headers of a signed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureHeaders {
    /// `Signature-Input`.
    pub input: String,
    /// `Signature`.
    pub signature: String,
}

/// The value of the header `Content-Digest` of a body.
#[must_use]
pub fn content_digest(body: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(digest(&SHA256, body)))
}

/// Signs a request.
///
/// # Errors
/// [`CellKeyError::Library`].
pub fn sign(
    key: &CellKey,
    parts: SignedParts<'_>,
    parameters: SignatureParameters<'_>,
) -> Result<SignatureHeaders, CellKeyError> {
    let (base, parameters) = signature_base(parts, parameters);
    let signature = STANDARD.encode(key.sign_bytes(base.as_bytes())?);
    Ok(SignatureHeaders {
        input: format!("{LABEL}={parameters}"),
        signature: format!("{LABEL}=:{signature}:"),
    })
}

/// The text that is signed (RFC 9421, section 2.5), and the parameters, which are its end.
fn signature_base(
    SignedParts {
        method,
        target_uri,
        headers,
    }: SignedParts<'_>,
    parameters: SignatureParameters<'_>,
) -> (String, String) {
    let derived = [("@method", method), ("@target-uri", target_uri)];
    let mut base = String::new();
    let mut names = Vec::new();
    for (name, value) in derived.into_iter().chain(headers.iter().copied()) {
        base.push_str(&format!("\"{name}\": {value}\n"));
        names.push(format!("\"{name}\""));
    }
    let parameters = format!(
        "({});created={};expires={};nonce={};keyid={};alg=\"{ALGORITHM}\";tag=\"{TAG}\"",
        names.join(" "),
        parameters.created_secs,
        parameters.expires_secs,
        quoted(parameters.nonce),
        quoted(parameters.key_id),
    );
    base.push_str(&format!("\"@signature-params\": {parameters}"));
    (base, parameters)
}

/// A string of structured fields (RFC 9651, section 3.3.3).
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for char in text.chars() {
        if matches!(char, '"' | '\\') {
            out.push('\\');
        }
        out.push(char);
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    use super::*;

    const PARAMETERS: SignatureParameters<'_> = SignatureParameters {
        created_secs: 1_618_884_473,
        expires_secs: 1_618_884_773,
        nonce: "n\"",
        key_id: "https://u.example/c/__certs#k",
    };

    fn parts() -> SignedParts<'static> {
        SignedParts {
            method: "POST",
            target_uri: "https://far.example/x?y=1",
            headers: &[
                ("content-type", "application/json"),
                ("x-personium-eventid", "e"),
            ],
        }
    }

    #[test]
    fn digest_is_that_of_the_example_of_rfc_9530() {
        // Section B.1.
        let expected = "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:";
        assert_eq!(content_digest(b"{\"hello\": \"world\"}\n"), expected);
    }

    #[test]
    fn base_has_a_line_for_each_part_and_the_parameters() {
        let (base, parameters) = signature_base(parts(), PARAMETERS);
        let expected = concat!(
            r#"("@method" "@target-uri" "content-type" "x-personium-eventid");created=1618884473;expires=1618884773;"#,
            r#"nonce="n\"";keyid="https://u.example/c/__certs#k";alg="rsa-v1_5-sha256";tag="personium-relay""#
        );
        assert_eq!(parameters, expected);
        let lines: Vec<&str> = base.split('\n').collect();
        assert_eq!(
            lines,
            [
                "\"@method\": POST",
                "\"@target-uri\": https://far.example/x?y=1",
                "\"content-type\": application/json",
                "\"x-personium-eventid\": e",
                &format!("\"@signature-params\": {expected}"),
            ]
        );
    }

    #[test]
    fn signature_is_valid_for_the_base_alone() {
        let key = CellKey::generate("k").unwrap();
        let headers = sign(&key, parts(), PARAMETERS).unwrap();
        let (base, parameters) = signature_base(parts(), PARAMETERS);
        assert_eq!(headers.input, format!("personium={parameters}"));
        let text = headers.signature.strip_prefix("personium=:").unwrap();
        let signature = STANDARD.decode(text.strip_suffix(':').unwrap()).unwrap();
        let der = key.public_der().unwrap();
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der);
        assert!(public.verify(base.as_bytes(), &signature).is_ok());
        let other = base.replace("POST", "PUT");
        assert!(public.verify(other.as_bytes(), &signature).is_err());
    }
}
