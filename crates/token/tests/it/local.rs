use std::collections::BTreeMap;

use personium_token::local::{
    AssertionOrigin, LocalError, LocalKeys, LocalKind, LocalToken, MAX_TEXT_BYTES, SealError,
    SecretError, TokenCookie,
};
use personium_types::SystemRandom;
use proptest::prelude::*;

use crate::support::{Broken, Counter};

const CELL: &str = "https://cell1.unit1.example/";

fn keys() -> LocalKeys {
    LocalKeys::new("0123456789abcdef").unwrap()
}

fn token(kind: LocalKind) -> LocalToken {
    let visitor = matches!(kind, LocalKind::VisitorAccess | LocalKind::VisitorRefresh);
    LocalToken {
        kind,
        issued_at_ms: 1_600_000_000_123,
        lifespan_ms: 3_600_000,
        subject: "account1".to_owned(),
        schema: Some("https://app1.unit1.example/".to_owned()),
        scopes: vec!["auth".to_owned(), "message-read".to_owned()],
        issuer: CELL.to_owned(),
        roles: if visitor {
            vec!["https://cell1.unit1.example/__role/__/role2".to_owned()]
        } else {
            Vec::new()
        },
        origin: (kind == LocalKind::VisitorRefresh).then(|| AssertionOrigin {
            issuer: "https://cell2.unit2.example/".to_owned(),
            assertion_id: "d2b0e0a5-0000-4000-8000-000000000001".to_owned(),
        }),
        extra: BTreeMap::from([("epoch".to_owned(), "3".to_owned())]),
    }
}

fn any_token() -> impl Strategy<Value = LocalToken> {
    let texts = || prop::collection::vec(".{0,20}", 0..4);
    (
        prop::sample::select(LocalKind::ALL.to_vec()),
        any::<(i64, i64)>(),
        ".{0,40}",
        prop::option::of(".{0,40}"),
        texts(),
        ".{0,40}",
        texts(),
        (".{0,20}", ".{0,20}"),
        prop::collection::btree_map(".{0,8}", ".{0,8}", 0..3),
    )
        .prop_map(
            |(
                kind,
                (issued_at, lifespan),
                subject,
                schema,
                scopes,
                issuer,
                roles,
                origin,
                extra,
            )| {
                let visitor = matches!(kind, LocalKind::VisitorAccess | LocalKind::VisitorRefresh);
                LocalToken {
                    kind,
                    issued_at_ms: issued_at,
                    lifespan_ms: lifespan,
                    subject,
                    schema,
                    scopes,
                    issuer,
                    roles: if visitor { roles } else { Vec::new() },
                    origin: (kind == LocalKind::VisitorRefresh).then(|| AssertionOrigin {
                        issuer: origin.0.clone(),
                        assertion_id: origin.1.clone(),
                    }),
                    extra,
                }
            },
        )
}

proptest! {
    #[test]
    fn sealed_tokens_open_to_the_same_token(token in any_token(), seed: u8) {
        let text = keys().seal(&token, &Counter::new(seed)).unwrap();
        prop_assert!(text.starts_with(token.kind.prefix()));
        prop_assert_eq!(keys().open(&text, &token.issuer), Ok(token));
    }

    #[test]
    fn open_never_panics(text in "(A[RVUP]~|RR~|RV~|GC~)?[A-Za-z0-9_=~-]{0,90}") {
        prop_assert!(keys().open(&text, CELL).is_err());
        prop_assert!(keys().open_cookie(&text, "cell1.unit1.example").is_err());
    }
}

#[test]
fn altered_tokens_are_refused() {
    for kind in [LocalKind::ResidentAccess, LocalKind::VisitorRefresh] {
        let text = keys().seal(&token(kind), &Counter::new(1)).unwrap();
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut bytes = text.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let Ok(changed) = String::from_utf8(bytes) else {
                    continue;
                };
                assert!(keys().open(&changed, CELL).is_err(), "byte {at} bit {bit}");
            }
        }
    }
}

#[test]
fn truncated_and_extended_texts_are_refused() {
    let text = keys()
        .seal(&token(LocalKind::ResidentAccess), &Counter::new(1))
        .unwrap();
    for length in 0..text.len() {
        assert!(keys().open(&text[..length], CELL).is_err(), "{length}");
    }
    for tail in ["A", "AAAA", "=", "==", " ", "\n", "~"] {
        assert!(keys().open(&format!("{text}{tail}"), CELL).is_err());
        assert!(keys().open(&format!("{tail}{text}"), CELL).is_err());
    }
}

#[test]
fn token_of_another_issuer_is_refused() {
    let text = keys()
        .seal(&token(LocalKind::ResidentAccess), &Counter::new(1))
        .unwrap();
    for other in [
        "https://cell2.unit1.example/",
        "https://cell1.unit1.example",
        "http://cell1.unit1.example/",
        "",
    ] {
        assert_eq!(keys().open(&text, other), Err(LocalError::NotOurs));
    }
}

#[test]
fn token_of_another_kind_is_refused() {
    for kind in LocalKind::ALL {
        let text = keys().seal(&token(kind), &Counter::new(1)).unwrap();
        assert_eq!(LocalKind::of(&text), Some(kind));
        assert_eq!(keys().open_as(&text, CELL, kind), Ok(token(kind)));
        let body = text.strip_prefix(kind.prefix()).unwrap();
        for other in LocalKind::ALL.into_iter().filter(|other| *other != kind) {
            assert_eq!(
                keys().open_as(&text, CELL, other),
                Err(LocalError::WrongKind)
            );
            let renamed = format!("{}{body}", other.prefix());
            assert_eq!(keys().open(&renamed, CELL), Err(LocalError::NotOurs));
        }
    }
}

#[test]
fn previous_secrets_open_tokens() {
    let old = keys();
    let text = old
        .seal(&token(LocalKind::GrantCode), &Counter::new(1))
        .unwrap();
    let new = LocalKeys::new("another secret of the unit").unwrap();
    assert_eq!(new.open(&text, CELL), Err(LocalError::NotOurs));
    let both = new.with_previous("0123456789abcdef").unwrap();
    assert_eq!(both.open(&text, CELL), Ok(token(LocalKind::GrantCode)));
    let newer = both
        .seal(&token(LocalKind::GrantCode), &Counter::new(1))
        .unwrap();
    assert_eq!(old.open(&newer, CELL), Err(LocalError::NotOurs));
}

#[test]
fn tokens_of_the_reference_implementation_are_refused() {
    // AES-CBC without authentication, made with the same secret
    let original = "AR~BuTacrNdaMMmvjtN1MolaZpADf9ZtGl8csn_8VsRznbOhikO1ugLQRvD2Y3dqtOSskdQUrC15bKcL4KvK-8fiFImeZbTlygPBCqrAbj_BmY";
    assert!(keys().open(original, CELL).is_err());
}

#[test]
fn two_seals_of_a_token_differ() {
    let a = keys()
        .seal(&token(LocalKind::GrantCode), &SystemRandom::new())
        .unwrap();
    let b = keys()
        .seal(&token(LocalKind::GrantCode), &SystemRandom::new())
        .unwrap();
    assert_ne!(a, b);
}

#[test]
fn claims_must_match_the_kind() {
    let mut resident = token(LocalKind::ResidentAccess);
    resident.roles.push("x".to_owned());
    assert_eq!(
        keys().seal(&resident, &Counter::new(1)),
        Err(SealError::Claims)
    );
    let mut visitor = token(LocalKind::VisitorRefresh);
    visitor.origin = None;
    assert_eq!(
        keys().seal(&visitor, &Counter::new(1)),
        Err(SealError::Claims)
    );
}

#[test]
fn tokens_that_are_too_large_are_not_sealed() {
    let mut large = token(LocalKind::VisitorAccess);
    for length in [40_000, 48_900, 49_200, 70_000] {
        large.subject = "x".repeat(length);
        match keys().seal(&large, &Counter::new(1)) {
            Ok(text) => assert_eq!(keys().open(&text, CELL).as_ref(), Ok(&large)),
            Err(error) => assert_eq!(error, SealError::TooLarge),
        }
    }
    assert_eq!(
        keys().seal(&large, &Counter::new(1)),
        Err(SealError::TooLarge)
    );
    let long = format!("AR~{}", "A".repeat(MAX_TEXT_BYTES + 1));
    assert_eq!(keys().open(&long, CELL), Err(LocalError::Malformed));
}

#[test]
fn seal_fails_without_randomness() {
    let error = keys().seal(&token(LocalKind::GrantCode), &Broken);
    assert!(matches!(error, Err(SealError::Random(_))));
}

#[test]
fn token_expires_one_millisecond_after_its_lifespan() {
    let token = token(LocalKind::ResidentAccess);
    assert!(!token.is_expired_at(1_600_003_600_123));
    assert!(token.is_expired_at(1_600_003_600_124));
    let mut endless = token;
    endless.lifespan_ms = i64::MAX;
    assert!(!endless.is_expired_at(i64::MAX));
}

#[test]
fn short_secrets_are_refused_and_debug_hides_secrets() {
    assert_eq!(
        LocalKeys::new("0123456789abcde").err(),
        Some(SecretError::TooShort)
    );
    assert!(!format!("{:?}", keys()).contains("0123"));
}

#[test]
fn cookies_open_only_for_their_host() {
    let cookie = TokenCookie {
        peer: "11111111-2222-4333-8444-555555555555".to_owned(),
        token: "AR~x".to_owned(),
    };
    let value = keys()
        .seal_cookie("cell1.unit1.example", &cookie, &Counter::new(9))
        .unwrap();
    assert_eq!(
        keys().open_cookie(&value, "Cell1.Unit1.example"),
        Ok(cookie.clone())
    );
    assert!(cookie.has_peer("11111111-2222-4333-8444-555555555555"));
    assert!(!cookie.has_peer("11111111-2222-4333-8444-555555555556"));
    assert!(!cookie.has_peer(""));
    for other in ["cell2.unit1.example", "c#ll1.unit1.example", ""] {
        assert_eq!(keys().open_cookie(&value, other), Err(LocalError::NotOurs));
    }
    for at in 0..value.len() {
        let mut bytes = value.clone().into_bytes();
        bytes[at] ^= 1;
        let changed = String::from_utf8(bytes).unwrap();
        assert!(keys().open_cookie(&changed, "cell1.unit1.example").is_err());
    }
    // keys are apart: a cookie is no token and a token no cookie, even with equal context bytes
    assert!(
        keys()
            .open(&format!("AR~{value}"), "cell1.unit1.example")
            .is_err()
    );
}

#[test]
fn key_of_cache_names_is_the_same_on_all_nodes_and_differs_between_units() {
    let key = |secret: &str, unit: &str| LocalKeys::new(secret).unwrap().cache_name_key(unit);
    let one = key("0123456789abcdef", "https://unit.example/");
    assert_eq!(one, key("0123456789abcdef", "https://unit.example/"));
    assert_ne!(one, key("0123456789abcdef", "https://other.example/"));
    assert_ne!(one, key("0123456789abcdeg", "https://unit.example/"));
}

#[test]
fn digest_of_a_setting_is_the_same_on_all_nodes_and_differs_by_name_value_and_secret() {
    let digest = |secret: &str, name: &str, value: &str| {
        LocalKeys::new(secret).unwrap().setting_digest(name, value)
    };
    let one = digest("0123456789abcdef", "ab", "c");
    assert_eq!(one, digest("0123456789abcdef", "ab", "c"));
    assert_eq!(one.len(), 16);
    assert_ne!(one, digest("0123456789abcdef", "a", "bc"));
    assert_ne!(one, digest("0123456789abcdef", "ab", "d"));
    assert_ne!(one, digest("0123456789abcdeg", "ab", "c"));
}

#[test]
fn proof_about_rules_is_valid_for_its_cell_text_and_secret_only() {
    let keys = |secret: &str| LocalKeys::new(secret).unwrap();
    let own = keys("0123456789abcdef");
    let proof = own.rule_chain_proof("cell", "1.2");
    assert_eq!(proof.len(), 43);
    let replaced = keys("0123456789abcdeg").with_previous("0123456789abcdef");
    let replaced = replaced.unwrap();
    for (keys, cell, text, proof, expected) in [
        (&own, "cell", "1.2", proof.as_str(), true),
        (&replaced, "cell", "1.2", &proof, true),
        (&keys("0123456789abcdeg"), "cell", "1.2", &proof, false),
        (&own, "cel", "l1.2", &proof, false),
        (&own, "cell", "1.3", &proof, false),
        (&own, "cell", "1.2", &proof[..42], false),
        (&own, "cell", "1.2", "", false),
        (&own, "cell", "1.2", "not base64", false),
    ] {
        let found = keys.is_rule_chain_proof(cell, text, proof);
        assert_eq!(found, expected, "{cell} {text} {proof}");
    }
}
