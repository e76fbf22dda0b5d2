//! Benchmarks the verification of tokens against the bare cryptography on the same bytes. Prints nanoseconds as a line of JSON.
#![expect(
    clippy::disallowed_methods,
    reason = "a test may use the real clock and randomness"
)]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{
    KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use personium_token::local::{LocalKeys, LocalKind, LocalToken};
use personium_token::saml::{self, TransCellToken};
use personium_token::trust::{TrustRoots, UnitKey};

const NOW: i64 = 1_800_000_000_000;
const HOUR: i64 = 3_600_000;
/// The number of alternating measurements of each side. The result is their median.
const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_millis(100);

/// Measures the nanoseconds of one call.
fn once(work: &mut dyn FnMut()) -> f64 {
    let (began, mut calls) = (Instant::now(), 0_u32);
    while began.elapsed() < ROUND {
        // Several calls for each look at the clock, which has a cost too.
        for _ in 0..16 {
            work();
        }
        calls += 16;
    }
    began.elapsed().as_secs_f64() * 1e9 / f64::from(calls)
}

/// Measures the nanoseconds of one call of each, alternating.
fn beside(ours: &mut dyn FnMut(), bare: &mut dyn FnMut()) -> (f64, f64) {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        a.push(once(ours));
        b.push(once(bare));
    }
    a.sort_by(f64::total_cmp);
    b.sort_by(f64::total_cmp);
    (a[ROUNDS / 2], b[ROUNDS / 2])
}

fn text(what: &str) -> String {
    format!("https://unit.example/{what}/")
}

/// Verification of a local token, and decryption of as many bytes.
fn local() -> (f64, f64) {
    let keys = LocalKeys::new("a secret of sixteen bytes or more").unwrap();
    let issuer = text("cell");
    let token = LocalToken {
        kind: LocalKind::ResidentAccess,
        issued_at_ms: NOW,
        lifespan_ms: HOUR,
        subject: "me".to_owned(),
        schema: Some(text("app")),
        scopes: vec!["root".to_owned()],
        issuer: issuer.clone(),
        roles: Vec::new(),
        origin: None,
        extra: BTreeMap::new(),
    };
    let sealed = keys
        .seal(&token, &personium_types::SystemRandom::new())
        .unwrap();
    let bytes = URL_SAFE_NO_PAD.decode(&sealed[3..]).unwrap();
    // Key id and nonce precede the ciphertext, the tag follows it.
    let mut plain = vec![7_u8; bytes.len() - 1 - 12 - 16];
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, &[9; 32]).unwrap());
    let nonce = || Nonce::assume_unique_for_key([5; 12]);
    key.seal_in_place_append_tag(nonce(), Aad::from(issuer.as_bytes()), &mut plain)
        .unwrap();
    beside(
        &mut || {
            let opened = keys.open(black_box(&sealed), &issuer).unwrap();
            assert!(!black_box(opened).is_expired_at(NOW));
        },
        &mut || {
            let mut copy = black_box(&plain).clone();
            let aad = Aad::from(issuer.as_bytes());
            black_box(key.open_in_place(nonce(), aad, &mut copy).unwrap());
        },
    )
}

/// Returns the key of a unit whose certificate a CA signed, and the CA certificate.
fn unit_key() -> (UnitKey, TrustRoots) {
    let authority_key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let mut authority = rcgen::CertificateParams::default();
    let name = |text: &str| {
        let mut name = rcgen::DistinguishedName::new();
        name.push(rcgen::DnType::CommonName, text);
        name
    };
    authority.distinguished_name = name("Authority");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = authority.self_signed(&authority_key).unwrap();
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let mut leaf = rcgen::CertificateParams::default();
    leaf.distinguished_name = name("unit.example");
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    let unit = UnitKey::load(key.serialize_pem().as_bytes(), leaf.pem().as_bytes()).unwrap();
    let roots = TrustRoots::load(&[root.pem().as_bytes()], NOW).unwrap();
    (unit, roots)
}

/// Verification of an assertion with ten roles and a cached certificate, and the bare digest of as many bytes with the bare
/// verification of one signature.
fn trans_cell() -> (f64, f64) {
    let (unit, roots) = unit_key();
    let tokens: Vec<String> = (0..64)
        .map(|number| {
            let token = TransCellToken {
                id: format!("00000000-0000-4000-8000-{number:012}"),
                issued_at_ms: NOW,
                lifespan_ms: HOUR,
                issuer: text("cell"),
                subject: format!("{}#me", text("cell")),
                target: "https://other.example/cell/".to_owned(),
                schema: Some(text("app")),
                roles: (0..10)
                    .map(|role| format!("{}__role/__/role{role}", text("cell")))
                    .collect(),
                scopes: vec!["root".to_owned()],
            };
            saml::issue(&unit, &token).unwrap()
        })
        .collect();
    let document = URL_SAFE_NO_PAD.decode(&tokens[0]).unwrap();
    let pair = KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let mut signature = vec![0; pair.public_modulus_len()];
    let signed = &document[..600];
    let random = SystemRandom::new();
    pair.sign(&RSA_PKCS1_SHA256, &random, signed, &mut signature)
        .unwrap();
    let public =
        ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref()).unwrap();
    let mut next = tokens.iter().cycle();
    beside(
        &mut || {
            let token = saml::verify(black_box(next.next().unwrap()), NOW, &roots).unwrap();
            assert!(!black_box(token).is_expired_at(NOW));
        },
        &mut || {
            black_box(digest(&SHA256, black_box(&document)));
            public.verify_sig(black_box(signed), &signature).unwrap();
        },
    )
}

fn main() {
    let (local_check, aead_open) = local();
    let (trans_cell_check, rsa_and_digest) = trans_cell();
    println!(
        "{{\"local_check\":{local_check},\"aead_open\":{aead_open},\"trans_cell_check\":{trans_cell_check},\"rsa_and_digest\":{rsa_and_digest}}}"
    );
}
