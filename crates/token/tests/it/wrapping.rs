//! Attacks on the parser for signed XML: wrapping, entities, algorithm confusion.

use personium_token::saml::{SamlError, parse, verify};

use crate::forge::{self, C14N, ENVELOPED, Profile, genuine, signed, text_of};
use crate::support::{NOW, token, unit2};

fn refused(xml: &str, what: &str) {
    let result = verify(&text_of(xml), NOW, &unit2().roots());
    assert!(result.is_err(), "{what}: {result:?}");
}

fn parse_refused(xml: &str, what: &str) {
    let result = parse(&text_of(xml));
    assert!(matches!(result, Err(SamlError::Parse { .. })), "{what}");
}

/// Asserts that the signature is refused because of its stated algorithms.
fn signature_refused(profile: &Profile, case: &str, what: &'static str) {
    let (_, without, _) = genuine();
    let result = verify(&signed(unit2(), &without, profile), NOW, &unit2().roots());
    assert_eq!(result, Err(SamlError::Signature { what }), "{case}");
}

/// The document of the attacker: another subject and another id.
fn evil(without: &str) -> String {
    without
        .replace("#me", "#admin")
        .replace("5e2e1f0c-0000", "ffffffff-0000")
}

fn insert_before_end(xml: &str, part: &str) -> String {
    let at = xml.rfind("</Assertion>").unwrap();
    format!("{}{part}{}", &xml[..at], &xml[at..])
}

fn insert_after_start(xml: &str, part: &str) -> String {
    let at = xml.find('>').unwrap() + 1;
    format!("{}{part}{}", &xml[..at], &xml[at..])
}

#[test]
fn forged_token_without_changes_is_accepted() {
    let (_, without, _) = genuine();
    for profile in [
        Profile::default(),
        Profile {
            transforms: vec![ENVELOPED, C14N],
            ..Profile::default()
        },
        Profile {
            method: "http://www.w3.org/2001/04/xmldsig-more#rsa-sha384",
            digest: "http://www.w3.org/2001/04/xmldsig-more#sha384",
            ..Profile::default()
        },
        Profile {
            method: "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512",
            digest: "http://www.w3.org/2001/04/xmlenc#sha512",
            ..Profile::default()
        },
    ] {
        let text = signed(unit2(), &without, &profile);
        assert_eq!(verify(&text, NOW, &unit2().roots()), Ok(token()));
    }
}

#[test]
fn eight_wrapping_attacks_are_refused() {
    let (original, without, signature) = genuine();
    let bad = evil(&without);
    // the signature as it is, and one that names the inner element by id, made with the good key
    let by_id = forge::signature(
        unit2(),
        &forge::canonical(&without),
        &Profile {
            uri: "#5e2e1f0c-0000-4000-8000-0000000000aa".to_owned(),
            ..Profile::default()
        },
    );
    for signature in [signature, by_id] {
        let good = insert_before_end(&without, &signature);
        let object = |inner: &str| {
            signature.replace(
                "</Signature>",
                &format!("<Object>{inner}</Object></Signature>"),
            )
        };
        let within =
            |inner: &str| signature.replace("</Signature>", &format!("{inner}</Signature>"));
        for (shape, xml) in [
            // 1: evil root; its signature holds the signed document
            ("1", insert_before_end(&bad, &within(&without))),
            // 2: evil root; signature and the signed document beside it
            (
                "2",
                insert_before_end(&bad, &format!("{without}{signature}")),
            ),
            // 3: evil before the signed one, below a new root
            (
                "3",
                format!(
                    "<Assertion xmlns=\"urn:oasis:names:tc:SAML:2.0:assertion\">{bad}{good}</Assertion>"
                ),
            ),
            // 4: the signed one inside of the evil one
            ("4", insert_before_end(&bad, &good)),
            ("4, first", insert_after_start(&bad, &good)),
            // 5: the evil one takes the signature, the signed one goes behind it
            (
                "5",
                insert_before_end(&bad, &format!("{signature}{without}")),
            ),
            (
                "5, outside",
                format!("{}{without}", insert_before_end(&bad, &signature)),
            ),
            // 6: evil > signature > signed
            ("6", insert_after_start(&bad, &within(&without))),
            // 7: evil in an extension
            (
                "7",
                insert_after_start(&good, &format!("<Extensions>{bad}</Extensions>")),
            ),
            (
                "7, last",
                insert_before_end(&good, &format!("<Extensions>{bad}</Extensions>")),
            ),
            // 8: the signed one in an Object of the signature
            ("8", insert_before_end(&bad, &object(&without))),
            ("8, evil", insert_before_end(&without, &object(&bad))),
        ] {
            refused(&xml, shape);
            parse_refused(&xml, shape);
        }
    }
    // and the evil one with the good one's signature
    refused(&insert_before_end(&bad, &genuine().2), "signature moved");
    assert!(verify(&text_of(&original), NOW, &unit2().roots()).is_ok());
}

#[test]
fn duplicate_assertions_signatures_and_ids_are_refused() {
    let (original, without, signature) = genuine();
    parse_refused(&original.repeat(2), "two roots");
    parse_refused(&insert_before_end(&original, &signature), "two signatures");
    parse_refused(
        &insert_after_start(&original, &signature),
        "a second signature first",
    );
    parse_refused(
        &insert_after_start(&without, &signature),
        "signature not last",
    );
    parse_refused(
        &original.replace(
            "<Issuer>",
            "<Issuer ID=\"5e2e1f0c-0000-4000-8000-0000000000aa\">",
        ),
        "duplicate id",
    );
    parse_refused(
        &original.replace("<Signature ", "<Signature Id=\"x\" "),
        "id on the signature",
    );
}

#[test]
fn references_to_less_than_the_document_are_refused() {
    for uri in [
        "#5e2e1f0c-0000-4000-8000-0000000000aa",
        "#",
        "#xpointer(/)",
        "http://evil.example/",
        " ",
    ] {
        signature_refused(
            &Profile {
                uri: uri.to_owned(),
                ..Profile::default()
            },
            uri,
            "the reference is not the whole document",
        );
    }
    let (_, without, _) = genuine();
    for references in [0, 2, 3] {
        let text = signed(
            unit2(),
            &without,
            &Profile {
                references,
                ..Profile::default()
            },
        );
        assert!(
            matches!(parse(&text), Err(SamlError::Parse { .. })),
            "{references} references"
        );
    }
    // without URI at all
    let (original, _, _) = genuine();
    parse_refused(&original.replace(" URI=\"\"", ""), "no URI");
}

#[test]
fn other_transforms_are_refused() {
    for transforms in [
        vec![],
        vec![C14N],
        vec![C14N, ENVELOPED],
        vec![ENVELOPED, ENVELOPED],
        vec![ENVELOPED, "http://www.w3.org/2001/10/xml-exc-c14n#"],
        vec![
            ENVELOPED,
            "http://www.w3.org/TR/2001/REC-xml-c14n-20010315#WithComments",
        ],
        vec![ENVELOPED, "http://www.w3.org/TR/1999/REC-xpath-19991116"],
        vec![ENVELOPED, "http://www.w3.org/TR/1999/REC-xslt-19991116"],
        vec!["http://www.w3.org/2000/09/xmldsig#base64"],
    ] {
        let what = format!("{transforms:?}");
        signature_refused(
            &Profile {
                transforms,
                ..Profile::default()
            },
            &what,
            "unsupported transforms",
        );
    }
    let (_, without, _) = genuine();
    let many = signed(
        unit2(),
        &without,
        &Profile {
            transforms: vec![ENVELOPED; 100],
            ..Profile::default()
        },
    );
    assert!(parse(&many).is_err());
    // parameters inside of a transform
    let (original, _, _) = genuine();
    let inside = format!("<Transform Algorithm=\"{ENVELOPED}\"><XPath>x</XPath></Transform>");
    let plain = format!("<Transform Algorithm=\"{ENVELOPED}\"/>");
    assert!(original.contains(&plain));
    parse_refused(&original.replace(&plain, &inside), "transform parameters");
}

#[test]
fn weak_and_confused_algorithms_are_refused() {
    for method in [
        "http://www.w3.org/2000/09/xmldsig#rsa-sha1",
        "http://www.w3.org/2000/09/xmldsig#dsa-sha1",
        "http://www.w3.org/2009/xmldsig11#dsa-sha256",
        "http://www.w3.org/2001/04/xmldsig-more#rsa-sha224",
        "http://www.w3.org/2001/04/xmldsig-more#rsa-md5",
        "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256",
        "http://www.w3.org/2007/05/xmldsig-more#sha256-rsa-MGF1",
        "",
    ] {
        signature_refused(
            &Profile {
                method,
                ..Profile::default()
            },
            method,
            "unsupported signature method",
        );
    }
    for digest in [
        "http://www.w3.org/2000/09/xmldsig#sha1",
        "http://www.w3.org/2001/04/xmldsig-more#md5",
        "http://www.w3.org/2001/04/xmldsig-more#sha224",
        "",
    ] {
        signature_refused(
            &Profile {
                digest,
                ..Profile::default()
            },
            digest,
            "unsupported digest method",
        );
    }
    for canonicalization in [
        "http://www.w3.org/2001/10/xml-exc-c14n#",
        "http://www.w3.org/TR/2001/REC-xml-c14n-20010315#WithComments",
        "http://www.w3.org/2006/12/xml-c14n11",
        "",
    ] {
        signature_refused(
            &Profile {
                canonicalization,
                ..Profile::default()
            },
            canonicalization,
            "unsupported canonicalization method",
        );
    }
}

#[test]
fn public_key_is_not_used_as_hmac_secret() {
    let certificate = unit2().key.certificate_der().to_vec();
    let pem = unit2().pem.certificate_pem.clone().into_bytes();
    for hmac_key in [certificate, pem, Vec::new()] {
        for method in [
            "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256",
            "http://www.w3.org/2000/09/xmldsig#hmac-sha1",
        ] {
            signature_refused(
                &Profile {
                    method,
                    hmac_key: hmac_key.clone(),
                    ..Profile::default()
                },
                method,
                "unsupported signature method",
            );
        }
    }
}

#[test]
fn empty_digest_is_refused() {
    let (_, without, _) = genuine();
    let signature = forge::signature(unit2(), "", &Profile::default());
    let xml = insert_before_end(&without, &signature);
    let result = verify(&text_of(&xml), NOW, &unit2().roots());
    assert!(matches!(result, Err(SamlError::Signature { .. })));
}

#[test]
fn key_info_must_contain_one_certificate() {
    let (_, without, _) = genuine();
    for before_certificate in [
        "<X509Certificate>AAAA</X509Certificate>".to_owned(),
        "<X509IssuerSerial/>".to_owned(),
        "<X509SubjectName/><X509SubjectName/>".to_owned(),
    ] {
        let profile = Profile {
            before_certificate,
            ..Profile::default()
        };
        let text = signed(unit2(), &without, &profile);
        assert!(matches!(parse(&text), Err(SamlError::Parse { .. })));
    }
    let (original, _, _) = genuine();
    for (from, to) in [
        ("<KeyInfo>", "<KeyInfo><KeyName>x</KeyName>"),
        (
            "<KeyInfo>",
            "<KeyInfo><KeyValue><RSAKeyValue><Modulus>AA</Modulus><Exponent>AQAB</Exponent></RSAKeyValue></KeyValue>",
        ),
        ("</KeyInfo>", "<KeyValue/></KeyInfo>"),
        ("</X509Data>", "</X509Data><X509Data/>"),
        ("</X509Data>", "<X509CRL/></X509Data>"),
    ] {
        let changed = original.replace(from, to);
        assert_ne!(changed, original);
        parse_refused(&changed, to);
    }
}

#[test]
fn comments_instructions_cdata_and_prefixes_are_refused() {
    let (original, _, _) = genuine();
    for (from, to) in [
        ("/#me<", "/#me<!-- -->.evil<"),
        ("/#me<", "/#<!---->me<"),
        ("/#me<", "/#<![CDATA[me]]><"),
        ("/#me<", "/#me<?x y?><"),
        ("<Issuer>", "<!-- x --><Issuer>"),
        ("<Issuer>", "<?xml version=\"1.0\"?><Issuer>"),
        (
            "<Issuer>",
            "<s:Issuer xmlns:s=\"urn:oasis:names:tc:SAML:2.0:assertion\">",
        ),
        ("<Assertion ", "<Assertion xmlns:x=\"urn:x\" "),
        ("<Assertion ", "<Assertion xml:lang=\"en\" "),
        (
            "<Issuer>",
            "<Issuer xmlns=\"urn:oasis:names:tc:SAML:2.0:assertion\">",
        ),
        ("<SignedInfo>", "<SignedInfo xmlns:x=\"urn:x\">"),
    ] {
        let changed = original.replacen(from, to, 1);
        assert_ne!(changed, original);
        parse_refused(&changed, to);
    }
    for (front, back) in [
        ("<?xml version=\"1.0\" encoding=\"UTF-8\"?>", ""),
        ("\u{feff}", ""),
        (" ", ""),
        ("", " "),
        ("", "<!-- -->"),
        ("", "<?x?>"),
        ("", "\u{0}"),
    ] {
        parse_refused(&format!("{front}{original}{back}"), "around the document");
    }
}

#[test]
fn document_types_and_entities_are_refused() {
    let (original, _, _) = genuine();
    for doctype in [
        "<!DOCTYPE Assertion>",
        "<!DOCTYPE Assertion SYSTEM \"file:///etc/passwd\">",
        "<!DOCTYPE a [<!ENTITY x \"y\"><!ENTITY z \"&x;&x;&x;&x;\">]>",
    ] {
        parse_refused(&format!("{doctype}{original}"), doctype);
        let inner = original.replacen("<Issuer>", &format!("{doctype}<Issuer>"), 1);
        parse_refused(&inner, doctype);
    }
    for reference in [
        "&x;",
        "&nbsp;",
        "&#0;",
        "&#1;",
        "&#xD800;",
        "&#x110000;",
        "&#xFFFF;",
        "&",
        "&amp",
        "&#;",
    ] {
        let inner = original.replacen("/#me<", &format!("/#me{reference}<"), 1);
        parse_refused(&inner, reference);
        let attribute = original.replacen("ID=\"", &format!("ID=\"{reference}"), 1);
        parse_refused(&attribute, reference);
    }
    // references to plain characters are the same document
    let written = original.replacen("/#me<", "/&#35;&#x6D;e<", 1);
    assert_eq!(
        verify(&text_of(&written), NOW, &unit2().roots()),
        Ok(token())
    );
}

#[test]
fn depth_and_size_are_limited() {
    let (original, _, _) = genuine();
    let deep = original.replacen("<Issuer>", &"<Issuer>".repeat(100_000), 1);
    parse_refused(&deep, "deep");
    let deep_empty = format!(
        "{}{}",
        "<Assertion>".repeat(50_000),
        "</Assertion>".repeat(50_000)
    );
    parse_refused(&deep_empty, "deep");
    let long = original.replacen("/#me<", &format!("/#me{}<", "x".repeat(1024 * 1024)), 1);
    parse_refused(&long, "long");
    let value = "<AttributeValue>root</AttributeValue>";
    parse_refused(
        &original.replacen(value, &value.repeat(5000), 1),
        "many values",
    );
    let text = "A".repeat(3 * 1024 * 1024);
    assert!(matches!(parse(&text), Err(SamlError::Parse { .. })));
    assert!(matches!(parse(""), Err(SamlError::Parse { .. })));
    assert!(matches!(parse("PEFz\u{e9}"), Err(SamlError::Parse { .. })));
}
