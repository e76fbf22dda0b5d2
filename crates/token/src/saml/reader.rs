//! The parser for assertions. It refuses every document that does not have the fixed structure.
//!
//! The structure limits the depth; the size of the document limits the number of elements.

mod tokens;

pub(super) use tokens::{MAX_VALUES, is_xml_text};
use tokens::{ReadResult, TokenReader, fail};

use super::document::{
    ASSERTION_NS, BEARER, CONTEXT_CLASS, Document, ROLES, ROLES_FORMAT, SCOPES, VERSION,
};
use super::error::SamlError;
use super::signature::{DSIG_NS, SignatureFields};
use crate::base64_text::decode_wrapped;

/// The maximum number of transforms that are parsed. Verification accepts fewer.
const MAX_TRANSFORMS: usize = 4;

/// Parses a whole document.
pub(super) fn read(xml: &str) -> ReadResult<(Document, SignatureFields)> {
    // A token never begins with an XML declaration, a byte order mark or white space.
    if !xml.starts_with("<Assertion") {
        return fail("not an assertion");
    }
    let mut reader = TokenReader::new(xml);
    let mut root = reader.start("Assertion")?;
    root.fixed("xmlns", ASSERTION_NS)?;
    root.fixed("Version", VERSION)?;
    let id = root.take("ID")?;
    let issue_instant = root.take("IssueInstant")?;
    root.none_left()?;
    let issuer = reader.leaf("Issuer")?;
    let subject = read_subject(&mut reader)?;
    let audience = read_audience(&mut reader)?;
    let authn_instant = read_authn_statement(&mut reader)?;
    let attributes = read_attributes(&mut reader)?;
    let signature = read_signature(&mut reader)?;
    reader.end()?;
    reader.end_of_document()?;
    let document = Document {
        id,
        issue_instant,
        issuer,
        subject: subject.name,
        not_on_or_after: subject.not_on_or_after,
        recipient: subject.recipient,
        target: audience.target,
        schema: audience.schema,
        authn_instant,
        roles: attributes.roles,
        scopes: attributes.scopes,
    };
    Ok((document, signature))
}

struct Subject {
    name: String,
    not_on_or_after: Option<String>,
    recipient: String,
}

fn read_subject(reader: &mut TokenReader<'_>) -> ReadResult<Subject> {
    reader.plain("Subject")?;
    let name = reader.leaf("NameID")?;
    let mut confirmation = reader.start("SubjectConfirmation")?;
    confirmation.fixed("Method", BEARER)?;
    confirmation.none_left()?;
    let mut data = reader.start("SubjectConfirmationData")?;
    let not_on_or_after = data.find("NotOnOrAfter");
    let recipient = data.take("Recipient")?;
    data.none_left()?;
    reader.end()?;
    reader.end()?;
    reader.end()?;
    Ok(Subject {
        name,
        not_on_or_after,
        recipient,
    })
}

struct Audience {
    target: String,
    schema: String,
}

fn read_audience(reader: &mut TokenReader<'_>) -> ReadResult<Audience> {
    reader.plain("Conditions")?;
    reader.plain("AudienceRestriction")?;
    let target = reader.leaf("Audience")?;
    let schema = reader.leaf("Audience")?;
    reader.end()?;
    reader.end()?;
    Ok(Audience { target, schema })
}

/// Parses the authentication statement and returns its `AuthnInstant`.
fn read_authn_statement(reader: &mut TokenReader<'_>) -> ReadResult<String> {
    let mut statement = reader.start("AuthnStatement")?;
    let authn_instant = statement.take("AuthnInstant")?;
    statement.none_left()?;
    reader.plain("AuthnContext")?;
    if reader.leaf("AuthnContextClassRef")? != CONTEXT_CLASS {
        return fail("an unknown authentication context");
    }
    reader.end()?;
    reader.end()?;
    Ok(authn_instant)
}

struct Attributes {
    roles: Vec<String>,
    scopes: Option<Vec<String>>,
}

fn read_attributes(reader: &mut TokenReader<'_>) -> ReadResult<Attributes> {
    reader.plain("AttributeStatement")?;
    let mut roles_start = reader.start("Attribute")?;
    roles_start.fixed("Name", ROLES)?;
    roles_start.fixed("NameFormat", ROLES_FORMAT)?;
    roles_start.none_left()?;
    let roles = reader.values()?;
    let scopes = match reader.start_or_end("Attribute")? {
        None => None,
        Some(mut scopes_start) => {
            scopes_start.fixed("Name", SCOPES)?;
            scopes_start.none_left()?;
            let scopes = reader.values()?;
            reader.end()?;
            Some(scopes)
        }
    };
    Ok(Attributes { roles, scopes })
}

fn read_signature(reader: &mut TokenReader<'_>) -> ReadResult<SignatureFields> {
    let mut signature = reader.start("Signature")?;
    signature.fixed("xmlns", DSIG_NS)?;
    signature.none_left()?;

    reader.plain("SignedInfo")?;
    let canonicalization = reader.algorithm("CanonicalizationMethod")?;
    let method = reader.algorithm("SignatureMethod")?;
    let mut reference = reader.start("Reference")?;
    let uri = reference.take("URI")?;
    reference.none_left()?;
    let transforms = read_transforms(reader)?;
    let digest_method = reader.algorithm("DigestMethod")?;
    let digest_value = reader.leaf("DigestValue")?;
    reader.end()?;
    reader.end()?;

    let value = reader.leaf("SignatureValue")?;
    let certificate = read_certificate(reader)?;
    reader.end()?;

    let base64 = |text: &str, what| decode_wrapped(text).ok_or(SamlError::Parse { what });
    Ok(SignatureFields {
        canonicalization,
        method,
        uri,
        transforms,
        digest_method,
        digest: base64(&digest_value, "DigestValue is not base64")?,
        digest_value,
        value: base64(&value, "SignatureValue is not base64")?,
        certificate: base64(&certificate, "X509Certificate is not base64")?,
    })
}

fn read_transforms(reader: &mut TokenReader<'_>) -> ReadResult<Vec<String>> {
    reader.plain("Transforms")?;
    let mut transforms = Vec::new();
    while let Some(mut transform) = reader.start_or_end("Transform")? {
        if transforms.len() == MAX_TRANSFORMS {
            return fail("too many transforms");
        }
        transforms.push(transform.take("Algorithm")?);
        transform.none_left()?;
        reader.end()?;
    }
    Ok(transforms)
}

/// Parses `KeyInfo` and returns the text of its certificate.
fn read_certificate(reader: &mut TokenReader<'_>) -> ReadResult<String> {
    reader.plain("KeyInfo")?;
    reader.plain("X509Data")?;
    let mut next = reader.start_any()?;
    if next.name == "X509SubjectName" {
        // The name is not signed and repeats the certificate, so it is ignored.
        next.none_left()?;
        reader.text_to_end()?;
        next = reader.start_any()?;
    }
    if next.name != "X509Certificate" {
        return fail("no certificate in the signature");
    }
    next.none_left()?;
    let certificate = reader.text_to_end()?;
    reader.end()?;
    reader.end()?;
    Ok(certificate)
}
