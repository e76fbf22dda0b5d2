use personium_token::saml::{SamlError, issue, verify};
use personium_token::trust::{
    CertificateError, GenerateError, KeyError, RootConfigError, TrustRoots, UnitKey,
    generate_self_signed,
};
use rcgen::{CertificateParams, IsCa, KeyUsagePurpose, SanType};

use crate::support::{
    FROM, NOW, TestUnit, UNTIL, authority, chained, chained_key, params, rsa, token_of, unit2,
    untrusted_unit,
};

fn root_pem(root: &CertificateParams) -> String {
    root.self_signed(rsa(0)).unwrap().pem()
}

fn roots(pems: &[&str]) -> TrustRoots {
    let files: Vec<&[u8]> = pems.iter().map(|pem| pem.as_bytes()).collect();
    TrustRoots::load(&files, NOW).unwrap()
}

/// Verifies a token issued below `host` and signed with a certificate `leaf` of `root`.
fn verify_signed(
    leaf: &CertificateParams,
    root: &CertificateParams,
    host: &str,
    now: i64,
) -> Result<(), CertificateError> {
    let text = issue(&chained_key(&chained(leaf, root)), &token_of(host)).unwrap();
    match verify(&text, now, &roots(&[&root_pem(root)])) {
        Ok(_) => Ok(()),
        Err(SamlError::Certificate { source }) => Err(source),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn certificate_signed_by_a_root_is_trusted() {
    let root = authority("Root 1");
    assert_eq!(
        verify_signed(&params("unit2.example"), &root, "unit2.example", NOW),
        Ok(())
    );
    // several roots, in one file and in two
    let text = issue(
        &chained_key(&chained(&params("unit2.example"), &root)),
        &token_of("unit2.example"),
    )
    .unwrap();
    let (first, second) = (root_pem(&authority("Root 0")), root_pem(&root));
    assert!(verify(&text, NOW, &roots(&[&first, &second])).is_ok());
    assert!(verify(&text, NOW, &roots(&[&format!("{first}{second}")])).is_ok());
}

#[test]
fn certificate_must_cover_the_host() {
    let root = authority("Root 1");
    let other = Err(CertificateError::OtherHost);
    // issuers are https://cell2.{host}/
    assert_eq!(
        verify_signed(&params("b.example"), &root, "b.example", NOW),
        Ok(())
    );
    assert_eq!(
        verify_signed(&params("b.example"), &root, "evilb.example", NOW),
        other
    );
    assert_eq!(
        verify_signed(&params("b.example"), &root, "b.example.evil.example", NOW),
        other
    );
    assert_eq!(
        verify_signed(&params("cell9.b.example"), &root, "b.example", NOW),
        other
    );
    assert_eq!(
        verify_signed(&params("cell2.b.example"), &root, "b.example", NOW),
        Ok(())
    );
    assert_eq!(verify_signed(&params(""), &root, "b.example", NOW), other);

    let mut two_names = params("b.example");
    two_names
        .distinguished_name
        .push(rcgen::DnType::OrganizationName, "Example");
    assert_eq!(verify_signed(&two_names, &root, "b.example", NOW), Ok(()));
}

#[test]
fn alternative_names_cover_hosts_too() {
    let root = authority("Root 1");
    let mut leaf = params("something else");
    leaf.subject_alt_names = vec![
        SanType::DnsName("c.example".try_into().unwrap()),
        SanType::DnsName("*.b.example".try_into().unwrap()),
        SanType::Rfc822Name("d.example".try_into().unwrap()),
    ];
    for (host, expected) in [
        ("b.example", Ok(())),
        ("c.example", Ok(())),
        ("x.b.example", Err(CertificateError::OtherHost)),
        ("evilc.example", Err(CertificateError::OtherHost)),
        ("d.example", Err(CertificateError::OtherHost)),
    ] {
        assert_eq!(verify_signed(&leaf, &root, host, NOW), expected, "{host}");
    }
}

#[test]
fn validity_period_is_checked_at_each_use() {
    let root = authority("Root 1");
    let mut leaf = params("b.example");
    leaf.not_before = rcgen::date_time_ymd(2020, 9, 13);
    leaf.not_after = rcgen::date_time_ymd(2020, 9, 14);
    let day = 86_400_000;
    assert_eq!(verify_signed(&leaf, &root, "b.example", NOW), Ok(()));
    for now in [NOW - day, NOW + day] {
        assert_eq!(
            verify_signed(&leaf, &root, "b.example", now),
            Err(CertificateError::NotValidNow)
        );
    }
    // one list of roots, certificate already remembered
    let text = issue(&chained_key(&chained(&leaf, &root)), &token_of("b.example")).unwrap();
    let list = roots(&[&root_pem(&root)]);
    assert!(verify(&text, NOW, &list).is_ok());
    assert!(verify(&text, NOW + day, &list).is_err());
    assert!(verify(&text, NOW, &list).is_ok());

    let mut short = authority("Root 1");
    short.not_after = rcgen::date_time_ymd(2020, 9, 14);
    assert_eq!(
        verify_signed(&params("b.example"), &short, "b.example", NOW + day),
        Err(CertificateError::RootNotValidNow)
    );
}

#[test]
fn root_must_be_a_certificate_authority() {
    let leaf = params("b.example");
    let not_signed = Err(CertificateError::NotSignedByRoot);
    assert_eq!(
        verify_signed(&leaf, &params("Root 1"), "b.example", NOW),
        not_signed
    );
    let mut no_ca = params("Root 1");
    no_ca.is_ca = IsCa::ExplicitNoCa;
    assert_eq!(verify_signed(&leaf, &no_ca, "b.example", NOW), not_signed);
    let mut no_signing = authority("Root 1");
    no_signing.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    assert_eq!(
        verify_signed(&leaf, &no_signing, "b.example", NOW),
        not_signed
    );
    let mut signing = authority("Root 1");
    signing.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    assert_eq!(verify_signed(&leaf, &signing, "b.example", NOW), Ok(()));
    let mut encrypting = params("b.example");
    encrypting.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
    assert_eq!(
        verify_signed(&encrypting, &signing, "b.example", NOW),
        not_signed
    );
}

#[test]
fn self_signed_certificate_is_trusted_only_as_a_root() {
    let text = issue(&unit2().key, &token_of("unit2.example")).unwrap();
    assert!(verify(&text, NOW, &unit2().roots()).is_ok());
    // a root of the same name, another key
    assert_eq!(
        verify(&text, NOW, &untrusted_unit().roots()),
        Err(SamlError::Certificate {
            source: CertificateError::NotSignedByRoot
        })
    );
    assert_eq!(
        verify(&text, NOW, &roots(&[&root_pem(&authority("Root 1"))])),
        Err(SamlError::Certificate {
            source: CertificateError::UnknownRoot
        })
    );
    // A root that is not a CA is trusted, but cannot sign certificates.
    let plain = params("unit2.example").self_signed(rsa(1)).unwrap().pem();
    let text = issue(&chained_key(&plain), &token_of("unit2.example")).unwrap();
    assert!(verify(&text, NOW, &roots(&[&plain])).is_ok());
}

#[test]
fn roots_of_one_name_are_trusted_beside_each_other() {
    // A unit signs with a key, and then with another one.
    let token_by = |unit: &TestUnit| issue(&unit.key, &token_of("unit2.example")).unwrap();
    let (before, after) = (unit2(), untrusted_unit());
    let both = roots(&[&before.pem.certificate_pem, &after.pem.certificate_pem]);
    for unit in [before, after] {
        assert!(verify(&token_by(unit), NOW, &both).is_ok());
    }
    assert!(verify(&token_by(before), NOW, &after.roots()).is_err());
    let with_own =
        TrustRoots::load_with_own(&[before.pem.certificate_pem.as_bytes()], &after.key, NOW)
            .unwrap();
    assert!(verify(&token_by(before), NOW, &with_own).is_ok());
    assert_eq!(with_own.root_infos().count(), 2);

    // An authority has another key. A third one of its name has signed nothing.
    let root = authority("Root 1");
    let by = |key: usize| {
        let issuer = rcgen::Issuer::from_params(&root, rsa(key));
        let leaf = params("b.example").signed_by(rsa(1), &issuer);
        issue(&chained_key(&leaf.unwrap().pem()), &token_of("b.example")).unwrap()
    };
    let [first, second] = [0, 1].map(|key| root.self_signed(rsa(key)).unwrap().pem());
    let both = roots(&[&first, &second]);
    for key in [0, 1] {
        assert!(verify(&by(key), NOW, &both).is_ok());
    }
    assert_eq!(
        verify(&by(1), NOW, &roots(&[&first])),
        Err(SamlError::Certificate {
            source: CertificateError::NotSignedByRoot
        })
    );
}

#[test]
fn root_that_has_expired_is_kept_beside_a_valid_one_of_its_name_and_trusted_no_more() {
    let long = authority("Root 1");
    let mut short = long.clone();
    short.not_after = rcgen::date_time_ymd(2020, 9, 13);
    let expired = root_pem(&short);
    let load = |other: &str| TrustRoots::load(&[expired.as_bytes(), other.as_bytes()], NOW);
    assert_eq!(
        load(&root_pem(&authority("Root 2"))).err(),
        Some(RootConfigError::NotValidNow {
            subject: "CN=Root 1".to_owned()
        })
    );
    let leaf = chained(&params("b.example"), &short);
    let text = issue(&chained_key(&leaf), &token_of("b.example")).unwrap();
    // The renewed one has the same key, so that it has signed what the one before has.
    assert!(verify(&text, NOW, &load(&root_pem(&long)).unwrap()).is_ok());
    let other_key = long.self_signed(rsa(1)).unwrap().pem();
    assert_eq!(
        verify(&text, NOW, &load(&other_key).unwrap()),
        Err(SamlError::Certificate {
            source: CertificateError::RootNotValidNow
        })
    );
}

#[test]
fn intermediate_certificates_are_refused() {
    // root -> middle (key 1) -> leaf would need the middle to be listed
    let middle = authority("Middle");
    let leaf = params("b.example");
    let by_middle = leaf
        .signed_by(rsa(1), &rcgen::Issuer::from_params(&middle, rsa(1)))
        .unwrap()
        .pem();
    let text = issue(&chained_key(&by_middle), &token_of("b.example")).unwrap();
    assert_eq!(
        verify(&text, NOW, &roots(&[&root_pem(&authority("Root 1"))])),
        Err(SamlError::Certificate {
            source: CertificateError::UnknownRoot
        })
    );
}

#[test]
fn invalid_root_lists_are_refused() {
    let root = root_pem(&authority("Root 1"));
    let load = |files: &[&[u8]], now| TrustRoots::load(files, now).err();
    assert_eq!(load(&[], NOW), None);
    // The same certificate twice is one root.
    assert_eq!(load(&[root.as_bytes(), root.as_bytes()], NOW), None);
    for now in [FROM - 1, UNTIL + 1000] {
        assert_eq!(
            load(&[root.as_bytes()], now),
            Some(RootConfigError::NotValidNow {
                subject: "CN=Root 1".to_owned()
            })
        );
    }
    assert_eq!(load(&[root.as_bytes()], FROM), None);
    assert_eq!(load(&[root.as_bytes()], UNTIL + 999), None);
    for bad in [
        &b""[..],
        b"x",
        b"-----BEGIN CERTIFICATE-----",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        unit2().pem.key_pem.as_bytes(),
    ] {
        assert_eq!(
            load(&[root.as_bytes(), bad], NOW),
            Some(RootConfigError::Unreadable { file: 1 })
        );
    }
    let mut limited = authority("Root 2");
    limited.name_constraints = Some(rcgen::NameConstraints {
        permitted_subtrees: vec![rcgen::GeneralSubtree::DnsName("b.example".to_owned())],
        excluded_subtrees: Vec::new(),
    });
    assert!(matches!(
        load(&[root_pem(&limited).as_bytes()], NOW),
        Some(RootConfigError::Unsupported { .. })
    ));
}

#[test]
fn unknown_critical_extensions_are_refused() {
    let mut leaf = params("b.example");
    let mut extension =
        rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
    leaf.custom_extensions = vec![extension.clone()];
    assert_eq!(
        verify_signed(&leaf, &authority("Root 1"), "b.example", NOW),
        Ok(())
    );
    extension.set_criticality(true);
    leaf.custom_extensions = vec![extension];
    assert_eq!(
        verify_signed(&leaf, &authority("Root 1"), "b.example", NOW),
        Err(CertificateError::Unreadable)
    );
}

#[test]
fn keys_are_parsed_from_pem_and_der() {
    let pem = &unit2().pem;
    let certificate = pem.certificate_pem.as_bytes();
    let pkcs8 = x509_parser::pem::parse_x509_pem(pem.key_pem.as_bytes())
        .unwrap()
        .1
        .contents;
    let certificate_der = unit2().key.certificate_der();
    assert!(UnitKey::load(pem.key_pem.as_bytes(), certificate).is_ok());
    assert!(UnitKey::load(&pkcs8, certificate_der).is_ok());
    assert!(UnitKey::load(pem.key_pem.replace('\n', "\r\n").as_bytes(), certificate).is_ok());

    // PKCS#1 is the octet string at the end of PKCS#8
    let at = pkcs8
        .windows(4)
        .skip(4)
        .position(|w| w[0] == 0x30 && w[1] == 0x82 && w != &pkcs8[..4])
        .unwrap()
        + 4;
    let pkcs1 = &pkcs8[at..];
    assert!(UnitKey::load(pkcs1, certificate).is_ok());
    use base64::Engine;
    let body = base64::engine::general_purpose::STANDARD.encode(pkcs1);
    let lines: Vec<&str> = body
        .as_bytes()
        .chunks(64)
        .map(|c| std::str::from_utf8(c).unwrap())
        .collect();
    let pkcs1_pem = format!(
        "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----\n",
        lines.join("\n")
    );
    assert!(UnitKey::load(pkcs1_pem.as_bytes(), certificate).is_ok());

    assert_eq!(
        UnitKey::load(
            pem.key_pem.as_bytes(),
            untrusted_unit().pem.certificate_pem.as_bytes()
        )
        .err(),
        Some(KeyError::Mismatch)
    );
    assert_eq!(UnitKey::load(b"", certificate).err(), Some(KeyError::Key));
    assert_eq!(
        UnitKey::load(certificate, certificate).err(),
        Some(KeyError::Key)
    );
    assert_eq!(
        UnitKey::load(pem.key_pem.as_bytes(), b"x").err(),
        Some(KeyError::Certificate)
    );
    assert!(!format!("{:?}", unit2().key).contains("PRIVATE"));
    assert!(!format!("{:?}", unit2().pem).contains("BEGIN PRIVATE"));
}

#[test]
fn generated_certificate_covers_the_host() {
    let facts = unit2().key.certificate_info();
    assert_eq!(facts.common_name.as_deref(), Some("unit2.example"));
    assert_eq!(
        (facts.subject.as_str(), facts.issuer.as_str()),
        ("CN=unit2.example", "CN=unit2.example")
    );
    assert_eq!(
        (facts.not_before_ms, facts.not_after_ms),
        (FROM, UNTIL + 999)
    );
    assert!(facts.is_authority);
    assert_eq!(unit2().roots().root_infos().next(), Some(facts));

    let generate = |host: &str, from, until| generate_self_signed(host, from, until).err();
    for host in ["", "a b", "a/b", "user@a", "a:80", "*.a", "a..b"] {
        assert_eq!(
            generate(host, FROM, UNTIL),
            Some(GenerateError::Name),
            "{host}"
        );
    }
    for (from, until) in [
        (FROM, FROM),
        (UNTIL, FROM),
        (i64::MIN, FROM),
        (FROM, i64::MAX),
    ] {
        assert_eq!(generate("a", from, until), Some(GenerateError::Validity));
    }
}

#[test]
fn names_are_printed_as_in_rfc_2253() {
    let mut two = params("unit.example");
    two.distinguished_name
        .push(rcgen::DnType::OrganizationName, "A, B");
    two.distinguished_name
        .push(rcgen::DnType::CountryName, "JP");
    let pem = two.self_signed(rsa(1)).unwrap().pem();
    assert_eq!(
        chained_key(&pem).certificate_info().subject,
        "C=JP,O=A\\, B,CN=unit.example"
    );
}
