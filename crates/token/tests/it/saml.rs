use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use personium_token::saml::{
    IssueError, SamlError, TEXT_PREFIX, TransCellToken, issue, parse, verify,
};
use personium_token::trust::{CertificateError, TrustRoots};
use proptest::prelude::*;

use crate::forge::{self, Profile, text_of, xml_of};
use crate::support::{ISSUED, NOW, token, unit2, untrusted_unit};

/// The issue time of an assertion of the reference implementation, plus one second.
const VECTOR: &str = include_str!("data/assertion.txt");
const VECTOR_NOW: i64 = 1_600_000_001_000;
const VECTOR_CERTIFICATE: &str = "e4e0807a7cde3db9d67c7039351a41fbf7497983de43803653b151bec6ab84f6";

fn vector() -> &'static str {
    VECTOR.trim()
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    text.split_once(start).unwrap().1.split_once(end).unwrap().0
}

fn vector_certificate() -> Vec<u8> {
    let xml = xml_of(vector());
    let base64 = between(&xml, "<X509Certificate>", "<").replace("&#13;\n", "");
    STANDARD.decode(base64).unwrap()
}

fn vector_roots() -> TrustRoots {
    TrustRoots::load(&[&vector_certificate()], VECTOR_NOW).unwrap()
}

/// Signs XML without signature with a trusted key and verifies the token.
fn verify_signed(without: &str) -> Result<TransCellToken, SamlError> {
    let text = forge::signed(unit2(), without, &Profile::default());
    verify(&text, NOW, &unit2().roots())
}

fn is_parse<T>(result: Result<T, SamlError>) -> bool {
    matches!(result, Err(SamlError::Parse { .. }))
}

fn is_signature<T>(result: Result<T, SamlError>) -> bool {
    matches!(result, Err(SamlError::Signature { .. }))
}

#[test]
fn assertion_of_the_reference_implementation_is_accepted() {
    let certificate = vector_certificate();
    let hash: String = digest::digest(&digest::SHA256, &certificate)
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(hash, VECTOR_CERTIFICATE);
    let token = verify(vector(), VECTOR_NOW, &vector_roots()).unwrap();
    assert_eq!(token, crate::support::token());
    assert!(!token.is_expired_at(VECTOR_NOW));
    assert!(!token.is_expired_at(ISSUED + 3_600_000));
    assert!(token.is_expired_at(ISSUED + 3_600_001));
}

#[test]
fn both_base64_alphabets_and_padding_are_accepted() {
    let roots = vector_roots();
    let standard = vector().replace('-', "+").replace('_', "/");
    assert!(verify(&standard, VECTOR_NOW, &roots).is_ok());
    let padded = format!("{}{}", vector(), "=".repeat((4 - vector().len() % 4) % 4));
    assert!(verify(&padded, VECTOR_NOW, &roots).is_ok());
}

#[test]
fn issued_document_equals_that_of_the_reference_implementation() {
    let ours = xml_of(&issue(&unit2().key, &token()).unwrap());
    let theirs = xml_of(vector());
    let cut = "<SignatureValue>";
    assert_eq!(
        ours.split_once(cut).unwrap().0,
        theirs.split_once(cut).unwrap().0,
        "with it the DigestValue"
    );
    assert!(
        ours.contains("<DigestValue>6C5RwUN9wMc3d8LI48fNReuhjd/RVrlaxMwtHLosnqc=</DigestValue>")
    );
    // the form of the rest: lines of 76 columns, CR as a reference
    let lines = |xml: &str| -> Vec<usize> {
        between(xml, cut, "</SignatureValue>")
            .split("&#13;\n")
            .map(str::len)
            .collect()
    };
    assert_eq!(lines(&ours), lines(&theirs));
    assert_eq!(
        between(&ours, "<X509SubjectName>", "<"),
        between(&theirs, "<X509SubjectName>", "<")
    );
    assert!(
        issue(&unit2().key, &token())
            .unwrap()
            .starts_with(TEXT_PREFIX)
    );
}

fn any_token() -> impl Strategy<Value = TransCellToken> {
    let text = || "[^\u{0}-\u{1f}\u{7f}-\u{9f}\u{fffe}\u{ffff}]{1,20}";
    let value = || "(?s)[\t\n\r -\u{d7ff}\u{e000}-\u{fffd}\u{10000}-\u{10ffff}]{1,20}";
    (
        (value(), text(), text()),
        (0i64..253_402_300_000_000, 0i64..100_000_000),
        prop::option::of(text()),
        prop::collection::vec(text(), 0..3),
        prop::collection::vec(value(), 0..3),
    )
        .prop_map(
            |((id, subject, target), (issued_at, lifespan), schema, roles, scopes)| {
                TransCellToken {
                    id,
                    issued_at_ms: issued_at - 100_000_000_000,
                    lifespan_ms: lifespan,
                    issuer: "https://cell2.unit2.example/".to_owned(),
                    subject,
                    target,
                    schema,
                    roles: roles
                        .into_iter()
                        .map(|role| format!("https://x/__role/__/{role}"))
                        .collect(),
                    scopes,
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn issued_tokens_verify_to_the_same_token(token in any_token()) {
        let text = issue(&unit2().key, &token).unwrap();
        prop_assert_eq!(verify(&text, NOW, &unit2().roots()), Ok(token));
    }

    #[test]
    fn parse_never_panics(middle in "(<[A-Za-z/!?]{0,9}( ?[A-Z]{0,4}=?\"?){0,2}/?>|&[a-z#0-9]{0,4};?|[ -~]){0,12}", at in 0usize..3000) {
        let (xml, _, _) = forge::genuine();
        let at = at.min(xml.len());
        let broken = format!("{}{middle}{}", &xml[..at], &xml[at..]);
        let result = verify(&text_of(&broken), NOW, &unit2().roots());
        prop_assert!(result.is_err() || result == Ok(token()));
        prop_assert!(parse(&text_of(&middle)).is_err());
    }
}

#[test]
fn altered_tokens_are_refused() {
    let roots = vector_roots();
    let genuine = verify(vector(), VECTOR_NOW, &roots).unwrap();
    let mut refused = 0;
    for at in 0..vector().len() {
        let mut bytes = vector().as_bytes().to_vec();
        bytes[at] ^= 1 << (at % 7);
        let Ok(changed) = String::from_utf8(bytes) else {
            continue;
        };
        match verify(&changed, VECTOR_NOW, &roots) {
            // the certificate's name is said a second time, unsigned and unread
            Ok(token) => assert_eq!(token, genuine, "byte {at}"),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > vector().len() - 60, "{refused}");
}

#[test]
fn truncated_texts_are_parse_errors() {
    for length in (0..vector().len()).step_by(7) {
        assert!(is_parse(parse(&vector()[..length])), "{length}");
    }
    for tail in ["A", "AAAA", " ", "\n", "%3D"] {
        assert!(is_parse(parse(&format!("{}{tail}", vector()))));
    }
}

#[test]
fn altered_content_is_a_signature_error() {
    let (xml, _, _) = forge::genuine();
    for (from, to) in [
        ("cell2.unit2.example/#me", "cell2.unit2.example/#admin"),
        ("role1<", "role9<"),
        (">root<", ">root2<"),
        ("IssueInstant=\"2020", "IssueInstant=\"2021"),
        ("NotOnOrAfter=\"2020", "NotOnOrAfter=\"2030"),
        ("<AttributeValue>root</AttributeValue>", ""),
        ("https://app1.unit1.example/</Audience>", "</Audience>"),
        ("5e2e1f0c", "5e2e1f0d"),
    ] {
        let changed = xml.replace(from, to);
        assert_ne!(changed, xml);
        let result = verify(&text_of(&changed), NOW, &unit2().roots());
        assert!(is_signature(result), "{from}");
    }
}

#[test]
fn altered_signature_is_a_signature_error() {
    let (xml, _, _) = forge::genuine();
    let digest = between(&xml, "<DigestValue>", "<").to_owned();
    for wrong in ["", "AAAA", "&#32;"] {
        let changed = xml.replace(&digest, wrong);
        assert!(is_signature(verify(
            &text_of(&changed),
            NOW,
            &unit2().roots()
        )));
    }
    let value = between(&xml, "<SignatureValue>", "<").to_owned();
    for wrong in ["", "AAAA"] {
        let changed = xml.replace(&value, wrong);
        assert!(is_signature(verify(
            &text_of(&changed),
            NOW,
            &unit2().roots()
        )));
    }
}

#[test]
fn untrusted_certificate_is_refused() {
    let text = issue(&untrusted_unit().key, &token()).unwrap();
    assert_eq!(
        verify(&text, NOW, &unit2().roots()),
        Err(SamlError::Certificate {
            source: CertificateError::NotSignedByRoot
        })
    );
    assert_eq!(
        verify(&text, NOW, &TrustRoots::none()),
        Err(SamlError::Certificate {
            source: CertificateError::NoRoots
        })
    );
    assert!(verify(&text, NOW, &untrusted_unit().roots()).is_ok());
}

#[test]
fn trusted_certificate_with_another_key_is_refused() {
    // signed by the untrusted_unit, carrying the trusted certificate
    let (_, without, _) = forge::genuine();
    let theirs = forge::signed(untrusted_unit(), &without, &Profile::default());
    let xml = xml_of(&theirs).replace(
        &STANDARD.encode(untrusted_unit().key.certificate_der()),
        &STANDARD.encode(unit2().key.certificate_der()),
    );
    assert!(is_signature(verify(&text_of(&xml), NOW, &unit2().roots())));
}

#[test]
fn zone_offsets_and_attribute_orders_are_accepted() {
    let (_, without, _) = forge::genuine();
    for (instant, expected) in [
        ("2020-09-13T21:26:40.123+09:00", ISSUED),
        ("2020-09-13T07:56:40.123-04:30", ISSUED),
        ("2020-09-13T12:26:40Z", ISSUED - 123),
        ("2020-09-13T12:26:40.1Z", ISSUED - 23),
        ("2020-09-13T12:26:40.123456Z", ISSUED),
    ] {
        let xml = without.replace("2020-09-13T12:26:40.123Z", instant);
        assert_eq!(
            verify_signed(&xml).unwrap().issued_at_ms,
            expected,
            "{instant}"
        );
    }
    for instant in [
        "",
        "2020-09-13",
        "2020-09-13T12:26:40",
        "2020-09-13 12:26:40Z",
        "1600000000123",
        "2020-09-13T12:26:40Z[UTC]",
        "2020-13-13T12:26:40Z",
    ] {
        let xml = without.replace(
            "IssueInstant=\"2020-09-13T12:26:40.123Z\"",
            &format!("IssueInstant=\"{instant}\""),
        );
        assert!(is_parse(verify_signed(&xml)), "{instant}");
    }
    let (xml, _, _) = forge::genuine();
    let start = "xmlns=\"urn:oasis:names:tc:SAML:2.0:assertion\" ID=\"5e2e1f0c-0000-4000-8000-0000000000aa\" IssueInstant=\"2020-09-13T12:26:40.123Z\" Version=\"2.0\"";
    assert!(xml.contains(start));
    let mut parts: Vec<&str> = start.split(' ').collect();
    parts.reverse();
    let reordered = xml.replace(start, &parts.join("\n  "));
    assert_eq!(
        verify(&text_of(&reordered), NOW, &unit2().roots()),
        Ok(token())
    );
    let quoted = xml.replace("Version=\"2.0\"", "Version='2.0'");
    assert_eq!(
        verify(&text_of(&quoted), NOW, &unit2().roots()),
        Ok(token())
    );
}

#[test]
fn optional_parts_may_be_absent() {
    let (_, without, _) = forge::genuine();
    let endless = without.replace(" NotOnOrAfter=\"2020-09-13T13:26:40.123Z\"", "");
    assert_eq!(verify_signed(&endless).unwrap().lifespan_ms, 3_600_000);

    let scopes = "<Attribute Name=\"Scopes\"><AttributeValue>root</AttributeValue></Attribute>";
    let no_scopes = verify_signed(&without.replace(scopes, "")).unwrap();
    assert_eq!(no_scopes.scopes, Vec::<String>::new());
    let empty_scopes =
        verify_signed(&without.replace(scopes, "<Attribute Name=\"Scopes\"/>")).unwrap();
    assert_eq!(empty_scopes, no_scopes);

    let no_schema = without.replace(
        "<Audience>https://app1.unit1.example/</Audience>",
        "<Audience/>",
    );
    assert_eq!(verify_signed(&no_schema).unwrap().schema, None);

    let mut bare = token();
    bare.schema = None;
    bare.roles.clear();
    bare.scopes.clear();
    let text = issue(&unit2().key, &bare).unwrap();
    assert!(xml_of(&text).contains("<Audience/>"));
    assert!(
        xml_of(&text).contains("<Attribute Name=\"Roles\" NameFormat=\"urn:x-personium:xmlns\"/>")
    );
    assert_eq!(verify(&text, NOW, &unit2().roots()), Ok(bare));
}

#[test]
fn missing_and_duplicate_elements_are_refused() {
    let (_, without, _) = forge::genuine();
    for element in [
        "<Issuer>https://cell2.unit2.example/</Issuer>",
        "<NameID>https://cell2.unit2.example/#me</NameID>",
        "<Audience>https://cell1.unit1.example/</Audience>",
        "<AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport</AuthnContextClassRef>",
        "<Attribute Name=\"Scopes\"><AttributeValue>root</AttributeValue></Attribute>",
    ] {
        assert!(without.contains(element));
        assert!(
            is_parse(verify_signed(&without.replace(element, &element.repeat(2)))),
            "{element}"
        );
        if !element.contains("Scopes") {
            assert!(
                is_parse(verify_signed(&without.replace(element, ""))),
                "{element}"
            );
        }
    }
    for (from, to) in [
        (" ID=\"5e2e1f0c-0000-4000-8000-0000000000aa\"", ""),
        ("ID=\"5e2e1f0c-0000-4000-8000-0000000000aa\"", "ID=\"\""),
        (" ID=", " ID=\"a\" ID="),
        (" Version=\"2.0\"", ""),
        ("Version=\"2.0\"", "Version=\"1.1\""),
        ("cm:bearer", "cm:holder-of-key"),
        ("Recipient=\"https://cell1", "Recipient=\"https://cell9"),
        ("/__token\"", "/__token/x\""),
        ("<Issuer>", "<Issuer Format=\"x\">"),
        ("<Issuer>https://cell2.unit2.example/<", "<Issuer><"),
        ("/__role/__/role1", "/__role/box1/role1"),
        ("https://app1.unit1.example/__role/__/role1", "role1"),
        ("Name=\"Roles\"", "Name=\"roles\""),
        ("<Subject>", " <Subject>"),
        ("<Subject>", "x<Subject>"),
        ("</Assertion>", "<Advice/></Assertion>"),
        ("tc:SAML:2.0:assertion", "tc:SAML:1.0:assertion"),
    ] {
        let changed = without.replacen(from, to, 1);
        assert_ne!(changed, without, "{from}");
        assert!(is_parse(verify_signed(&changed)), "{from} -> {to}");
    }
}

#[test]
fn missing_signature_is_a_parse_error() {
    let (_, without, _) = forge::genuine();
    assert!(is_parse(parse(&text_of(&without))));
}

#[test]
fn control_character_in_url_is_a_parse_error() {
    let (xml, _, _) = forge::genuine();
    for url in [
        "https://cell2.unit2.example/</Issuer>",
        "https://cell2.unit2.example/#me",
        "https://app1.unit1.example/</Audience>",
    ] {
        for control in ["\n", "\t", "&#13;", "\u{85}"] {
            let changed = xml.replacen(
                url,
                &url.replace(".example", &format!(".example{control}")),
                1,
            );
            assert_ne!(changed, xml, "{url}");
            assert!(is_parse(parse(&text_of(&changed))), "{url} {control:?}");
        }
    }
}

#[test]
fn invalid_fields_are_not_issued() {
    let change = |change: fn(&mut TransCellToken)| {
        let mut token = token();
        change(&mut token);
        issue(&unit2().key, &token)
    };
    let field = |field| Err(IssueError::Field { field });
    assert_eq!(change(|t| t.issuer += "\n"), field("issuer"));
    assert_eq!(change(|t| t.subject += "\t"), field("subject"));
    assert_eq!(change(|t| t.target = "a\r".into()), field("target"));
    assert_eq!(
        change(|t| t.schema = Some("\u{85}".into())),
        field("schema")
    );
    assert_eq!(change(|t| t.issuer.clear()), field("issuer"));
    assert_eq!(change(|t| t.subject = "a\u{0}".into()), field("subject"));
    assert_eq!(change(|t| t.target = "a\u{b}".into()), field("target"));
    assert_eq!(
        change(|t| t.schema = Some("\u{ffff}".into())),
        field("schema")
    );
    assert_eq!(change(|t| t.roles.push("role1".into())), field("roles"));
    assert_eq!(change(|t| t.scopes.push("\u{1}".into())), field("scopes"));
    assert_eq!(change(|t| t.issued_at_ms = i64::MAX), field("issued_at"));
    assert_eq!(change(|t| t.lifespan_ms = i64::MAX), field("lifespan"));
    assert_eq!(
        change(|t| t.subject = "x".repeat(1024 * 1024)),
        Err(IssueError::TooLarge)
    );
    assert_eq!(
        change(|t| t.scopes = vec!["x".into(); 5000]),
        Err(IssueError::TooLarge)
    );
}

#[test]
fn debug_output_hides_an_unverified_token() {
    assert_eq!(format!("{:?}", parse(vector()).unwrap()), "Unverified(..)");
}
