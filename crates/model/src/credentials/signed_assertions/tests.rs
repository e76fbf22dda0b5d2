use personium_types::Result;

use super::*;
use crate::credentials::UnitKeys;

const NOW_MS: i64 = 1_700_000_000_000;
const HOUR_MS: i64 = 3_600_000;

fn token() -> TransCellToken {
    let text = str::to_owned;
    TransCellToken {
        id: text("1"),
        issued_at_ms: NOW_MS,
        lifespan_ms: HOUR_MS,
        issuer: text("https://u.example/c/"),
        subject: text("https://u.example/c/#me"),
        target: text("https://v.example/d/"),
        schema: None,
        roles: vec![text("https://u.example/c/__role/__/r")],
        scopes: vec![text("event")],
    }
}

fn certificates() -> Arc<UnitCertificates> {
    let keys = UnitKeys::self_signed("u.example", "a secret of these tests", NOW_MS);
    keys.unwrap().certificates()
}

/// The id in the text that a cache returns for a token.
fn id(
    cache: &SignedAssertionCache,
    token: &TransCellToken,
    with: &Arc<UnitCertificates>,
) -> String {
    let text: Result<String> = cache.get_or_sign(token, with, || Ok(token.id.clone()));
    text.unwrap()
}

#[test]
fn token_is_sent_again_only_if_everything_but_id_and_time_is_the_same() {
    let (cache, keys) = (SignedAssertionCache::default(), certificates());
    assert_eq!(id(&cache, &token(), &keys), "1");
    let later = TransCellToken {
        id: "2".to_owned(),
        issued_at_ms: NOW_MS + 1,
        ..token()
    };
    assert_eq!(id(&cache, &later, &keys), "1");
    let changes: [fn(&mut TransCellToken); 9] = [
        |token| token.lifespan_ms += 1,
        |token| token.issuer.push('x'),
        |token| token.subject.push('x'),
        |token| token.target.push('x'),
        |token| token.schema = Some("https://app.example/".to_owned()),
        |token| token.roles.clear(),
        |token| {
            token
                .roles
                .push("https://u.example/c/__role/__/s".to_owned())
        },
        |token| token.scopes.clear(),
        // The same texts in other fields.
        |token| {
            token.scopes.insert(0, token.roles.remove(0));
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut other = later.clone();
        change(&mut other);
        assert_eq!(id(&cache, &other, &keys), "2", "{number}");
    }
    assert_eq!(id(&cache, &later, &keys), "1");
}

#[test]
fn token_is_signed_anew_with_a_new_key() {
    let (cache, keys) = (SignedAssertionCache::default(), certificates());
    assert_eq!(id(&cache, &token(), &keys), "1");
    let next = TransCellToken {
        id: "2".to_owned(),
        ..token()
    };
    assert_eq!(id(&cache, &next, &certificates()), "2");
}

#[test]
fn short_lived_and_large_tokens_and_failures_are_not_kept() {
    let (cache, keys) = (SignedAssertionCache::default(), certificates());
    let short = |id: &str| TransCellToken {
        id: id.to_owned(),
        lifespan_ms: LIFESPAN_MIN_MS - 1,
        ..token()
    };
    assert_eq!(id(&cache, &short("1"), &keys), "1");
    assert_eq!(id(&cache, &short("2"), &keys), "2");
    let large = |id: char| TransCellToken {
        id: id.to_string().repeat(TEXT_MAX_BYTES + 1),
        ..token()
    };
    assert!(id(&cache, &large('1'), &keys).starts_with('1'));
    assert!(id(&cache, &large('2'), &keys).starts_with('2'));
    let failed = cache.get_or_sign(&token(), &keys, || Err("no key"));
    assert_eq!(failed, Err("no key"));
    assert_eq!(id(&cache, &token(), &keys), "1");
}
