use std::sync::OnceLock;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use personium_token::jwt::{CellKey, CellKeyError, Jwk, JwkSet, JwtError, VerifyKey, read_kid};

const KID: &str = "0e1c2f3a-0000-4000-8000-000000000001";

fn cell_key() -> &'static CellKey {
    static KEY: OnceLock<CellKey> = OnceLock::new();
    KEY.get_or_init(|| CellKey::generate(KID).unwrap())
}

fn other_key() -> &'static CellKey {
    static KEY: OnceLock<CellKey> = OnceLock::new();
    KEY.get_or_init(|| CellKey::generate("other").unwrap())
}

fn url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Returns a published P-256 key and its key pair.
fn ec() -> (Jwk, EcdsaKeyPair) {
    let rng = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
    let point = pair.public_key().as_ref().to_vec();
    let jwk = Jwk {
        kty: "EC".to_owned(),
        alg: Some("ES256".to_owned()),
        usage: Some("sig".to_owned()),
        kid: Some("ec1".to_owned()),
        n: None,
        e: None,
        crv: Some("P-256".to_owned()),
        x: Some(url(&point[1..33])),
        y: Some(url(&point[33..65])),
    };
    (jwk, pair)
}

#[test]
fn signature_verifies_with_the_published_key() {
    for payload in [&b""[..], b"{\"sub\":\"account1\"}", &[0, 255, 10]] {
        let compact = cell_key().sign(payload).unwrap();
        let key = VerifyKey::from_jwk(&cell_key().jwk()).unwrap();
        assert_eq!(key.verify(&compact).as_deref(), Ok(payload));
        let header = compact.split('.').next().unwrap();
        assert_eq!(
            URL_SAFE_NO_PAD.decode(header).unwrap(),
            format!("{{\"kid\":\"{KID}\",\"alg\":\"RS256\"}}").as_bytes()
        );
        assert_eq!(read_kid(&compact), Ok(Some(KID.to_owned())));
    }
}

#[test]
fn published_key_is_a_jwk() {
    let jwk = cell_key().jwk();
    assert_eq!(jwk.e.as_deref(), Some("AQAB"));
    let json = serde_json::to_string(&jwk).unwrap();
    let n = jwk.n.as_deref().unwrap();
    assert_eq!(
        json,
        format!(
            "{{\"kty\":\"RSA\",\"alg\":\"RS256\",\"kid\":\"{KID}\",\"n\":\"{n}\",\"e\":\"AQAB\"}}"
        )
    );
    assert_eq!(serde_json::from_str::<Jwk>(&json).unwrap(), jwk);
    let modulus = URL_SAFE_NO_PAD.decode(n).unwrap();
    assert_eq!(modulus.len(), 256);
    let public = cell_key().public_der().unwrap();
    assert!(
        public.windows(256).any(|window| window == modulus),
        "SubjectPublicKeyInfo"
    );
}

#[test]
fn stored_keys_are_equal_after_loading() {
    let der = cell_key().to_pkcs8().unwrap();
    let again = CellKey::from_pkcs8(KID, &der).unwrap();
    assert_eq!(again.jwk(), cell_key().jwk());
    assert_eq!(
        again.sign(b"x"),
        cell_key().sign(b"x"),
        "RS256 is deterministic"
    );
    for bad in [&b""[..], b"x", &der[..der.len() - 1]] {
        assert_eq!(CellKey::from_pkcs8(KID, bad).err(), Some(CellKeyError::Key));
    }
    assert!(!format!("{again:?}").contains("pair"));
}

#[test]
fn altered_and_truncated_jws_are_refused() {
    let compact = cell_key().sign(b"{\"sub\":\"account1\"}").unwrap();
    let key = VerifyKey::from_jwk(&cell_key().jwk()).unwrap();
    for at in 0..compact.len() {
        for bit in [0, 3] {
            let mut bytes = compact.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let changed = String::from_utf8(bytes).unwrap();
            assert!(key.verify(&changed).is_err(), "{at}");
        }
    }
    for length in 0..compact.len() {
        assert!(key.verify(&compact[..length]).is_err());
    }
    assert!(key.verify(&format!("{compact}=")).is_err());
    assert!(key.verify(&format!("{compact}.x")).is_err());
}

#[test]
fn algorithm_of_the_header_must_be_that_of_the_key() {
    let key = VerifyKey::from_jwk(&cell_key().jwk()).unwrap();
    let payload = url("{}");
    for alg in [
        "none", "None", "HS256", "RS384", "PS256", "ES256", "rs256", "",
    ] {
        let message = format!("{}.{payload}", url(format!("{{\"alg\":\"{alg}\"}}")));
        let public = cell_key().public_der().unwrap();
        let mac = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, &public),
            message.as_bytes(),
        );
        for signature in [url(mac.as_ref()), String::new()] {
            assert_eq!(
                key.verify(&format!("{message}.{signature}")),
                Err(JwtError::Algorithm),
                "{alg}"
            );
        }
    }
}

#[test]
fn invalid_headers_are_refused() {
    let key = VerifyKey::from_jwk(&cell_key().jwk()).unwrap();
    let refusal = |header: &str| {
        key.verify(&format!("{}.{}.{}", url(header), url("{}"), url([0; 256])))
            .unwrap_err()
    };
    assert_eq!(
        refusal("{\"alg\":\"RS256\",\"crit\":[\"b64\"],\"b64\":false}"),
        JwtError::Critical
    );
    assert_eq!(
        refusal("{\"alg\":\"RS256\",\"crit\":[]}"),
        JwtError::Critical
    );
    assert_eq!(
        refusal("{\"alg\":\"RS256\",\"kid\":\"x\"}"),
        JwtError::UnknownKey
    );
    assert_eq!(refusal("{\"alg\":\"RS256\"}"), JwtError::Signature);
    for header in [
        "{\"alg\":\"RS256\",\"alg\":\"RS256\"}",
        "{\"kid\":\"x\"}",
        "{\"alg\":1}",
        "[]",
        "RS256",
        "",
    ] {
        assert_eq!(refusal(header), JwtError::Malformed, "{header}");
    }
    for compact in ["", ".", "..", "a.b", "....", &"A".repeat(100_000)] {
        assert_eq!(key.verify(compact), Err(JwtError::Malformed));
    }
}

#[test]
fn es256_signatures_are_verified() {
    let (jwk, pair) = ec();
    let key = VerifyKey::from_jwk(&jwk).unwrap();
    let message = format!(
        "{}.{}",
        url("{\"alg\":\"ES256\",\"kid\":\"ec1\"}"),
        url("{\"a\":1}")
    );
    let signature = pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
    let compact = format!("{message}.{}", url(signature.as_ref()));
    assert_eq!(key.verify(&compact).as_deref(), Ok(&b"{\"a\":1}"[..]));
    let zero = format!("{message}.{}", url([0; 64]));
    assert_eq!(key.verify(&zero), Err(JwtError::Signature));
    let empty = format!("{message}.");
    assert_eq!(key.verify(&empty), Err(JwtError::Signature));
}

#[test]
fn unsupported_keys_are_refused() {
    let (ec, _) = ec();
    let rsa = cell_key().jwk();
    let change = |from: &Jwk, change: fn(&mut Jwk)| {
        let mut jwk = from.clone();
        change(&mut jwk);
        VerifyKey::from_jwk(&jwk).err()
    };
    let refused = Some(JwtError::Key);
    assert_eq!(change(&rsa, |k| k.alg = None), None);
    assert_eq!(change(&rsa, |k| k.usage = Some("sig".into())), None);
    assert_eq!(change(&rsa, |k| k.usage = Some("enc".into())), refused);
    assert_eq!(change(&rsa, |k| k.alg = Some("HS256".into())), refused);
    assert_eq!(change(&rsa, |k| k.alg = Some("PS256".into())), refused);
    assert_eq!(change(&rsa, |k| k.n = None), refused);
    assert_eq!(change(&rsa, |k| k.n = Some("!".into())), refused);
    assert_eq!(change(&rsa, |k| k.e = Some(String::new())), refused);
    assert_eq!(change(&rsa, |k| k.kty = "oct".into()), refused);
    assert_eq!(change(&ec, |k| k.crv = Some("P-521".into())), refused);
    assert_eq!(change(&ec, |k| k.crv = None), refused);
    assert_eq!(change(&ec, |k| k.alg = Some("RS256".into())), refused);
    assert_eq!(change(&ec, |k| k.x = Some("AAAA".into())), refused);
    assert_eq!(
        change(&ec, |k| k.y = k.x.clone()),
        refused,
        "not on the curve"
    );
}

#[test]
fn short_rsa_keys_are_refused() {
    let mut jwk = cell_key().jwk();
    let mut modulus = vec![0xff; 128];
    modulus[127] = 0xfd;
    jwk.n = Some(url(modulus));
    let compact = cell_key().sign(b"{}").unwrap();
    match VerifyKey::from_jwk(&jwk) {
        Ok(key) => assert_eq!(key.verify(&compact), Err(JwtError::Signature)),
        Err(error) => assert_eq!(error, JwtError::Key),
    }
}

#[test]
fn key_set_selects_the_key_by_id() {
    let (ec, _) = ec();
    let json = serde_json::json!({"keys": [
        {"kty": "oct", "k": "AAAA", "kid": KID},
        {"kty": 1},
        "x",
        ec,
        cell_key().jwk(),
        {"kty": "RSA", "use": "enc", "kid": "other", "n": other_key().jwk().n, "e": "AQAB"},
    ]});
    let set = JwkSet::from_json(&json.to_string()).unwrap();
    let ours = cell_key().sign(b"1").unwrap();
    assert_eq!(set.verify(&ours).as_deref(), Ok(&b"1"[..]));
    let other = other_key().sign(b"1").unwrap();
    assert_eq!(set.verify(&other), Err(JwtError::UnknownKey));
    // a header without id is ambiguous in a set of two
    let (_, rest) = ours.split_once('.').unwrap();
    let nameless = format!("{}.{rest}", url("{\"alg\":\"RS256\"}"));
    assert_eq!(set.verify(&nameless), Err(JwtError::UnknownKey));

    assert_eq!(JwkSet::default().verify(&ours), Err(JwtError::UnknownKey));
    assert_eq!(JwkSet::from_json("[]").err(), Some(JwtError::Key));
    assert_eq!(JwkSet::from_json("").err(), Some(JwtError::Key));
}
