use personium_token::password::{
    HashAlgorithm, HashSettings, PasswordError, ScryptCost, StoredHash, dummy_verify, hash,
    needs_rehash, verify,
};
use proptest::prelude::*;

use crate::support::{Broken, Counter};

/// The lowest allowed costs, because the tests examine the format.
fn cheap() -> HashSettings {
    HashSettings {
        scrypt: ScryptCost {
            cpu_cost: 2,
            memory_cost: 1,
            parallelization: 1,
            key_length: 16,
            salt_length: 8,
        },
        ..HashSettings::default()
    }
}

fn sha256_settings() -> HashSettings {
    HashSettings {
        algorithm: HashAlgorithm::Sha256,
        sha256_salt: "saltijkl".to_owned(),
        ..HashSettings::default()
    }
}

fn stored(hashed: &str, algorithm: Option<&str>, attributes: Option<&str>) -> StoredHash {
    StoredHash {
        hashed: hashed.to_owned(),
        algorithm: algorithm.map(str::to_owned),
        attributes: attributes.map(str::to_owned),
    }
}

const SCRYPT_SAMPLE: &str = "$e0801$AHGTKpipx9uY7xgt8ZisFBEgdcH7vjrmXeIVYirxpOfEEusUwekC0v8j/3lyB7vmkZDjY3iTSW95afnBUJO8OQ==$YeiFHaeqnK+NEpE7khZG+my/5ACUb1g8ptMu/GxX4zA=";
const SHA256_SAMPLE: &str = "8d66dee71b1f17b5ed8bb0e3fe05f240a49191b7787dfcc6b2cf0f5e95277728";

#[test]
fn hashes_of_the_reference_implementation_are_accepted() {
    let scrypt = stored(SCRYPT_SAMPLE, Some("scrypt"), Some("{\"keyLength\":32}"));
    assert_eq!(
        verify(&HashSettings::default(), &scrypt, "password1"),
        Ok(true)
    );
    assert_eq!(
        verify(&HashSettings::default(), &scrypt, "password2"),
        Ok(false)
    );
    assert!(!needs_rehash(&HashSettings::default(), &scrypt));
    assert!(needs_rehash(&sha256_settings(), &scrypt));

    for algorithm in [None, Some("sha-256")] {
        let sha256 = stored(SHA256_SAMPLE, algorithm, None);
        assert_eq!(verify(&sha256_settings(), &sha256, "password1"), Ok(true));
        assert_eq!(verify(&sha256_settings(), &sha256, "password2"), Ok(false));
        assert_eq!(
            verify(&HashSettings::default(), &sha256, "password1"),
            Ok(false)
        );
        assert!(needs_rehash(&HashSettings::default(), &sha256));
        assert!(!needs_rehash(&sha256_settings(), &sha256));
    }
}

#[test]
fn new_hashes_have_the_form_of_the_reference_implementation() {
    let made = hash(&HashSettings::default(), "password1", &Counter::new(1)).unwrap();
    assert!(made.hashed.starts_with("$e0801$"));
    assert_eq!(made.hashed.len(), SCRYPT_SAMPLE.len());
    assert_eq!(made.algorithm.as_deref(), Some("scrypt"));
    assert_eq!(made.attributes.as_deref(), Some("{\"keyLength\":32}"));
    assert_eq!(
        verify(&HashSettings::default(), &made, "password1"),
        Ok(true)
    );

    let made = hash(&sha256_settings(), "password1", &Counter::new(1)).unwrap();
    assert_eq!(made.hashed, SHA256_SAMPLE);
    assert_eq!(made.algorithm.as_deref(), Some("sha-256"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn verify_accepts_only_the_hashed_password(password in ".{0,40}", other in ".{0,40}", seed: u8) {
        let made = hash(&cheap(), &password, &Counter::new(seed)).unwrap();
        prop_assert_eq!(verify(&cheap(), &made, &password), Ok(true));
        if other != password {
            prop_assert_eq!(verify(&cheap(), &made, &other), Ok(false));
        }
    }
}

#[test]
fn needs_rehash_if_a_cost_differs() {
    let made = hash(&cheap(), "x", &Counter::new(1)).unwrap();
    assert!(!needs_rehash(&cheap(), &made));
    for change in [
        |cost: &mut ScryptCost| cost.cpu_cost = 4,
        |cost: &mut ScryptCost| cost.memory_cost = 2,
        |cost: &mut ScryptCost| cost.parallelization = 2,
        |cost: &mut ScryptCost| cost.key_length = 17,
        |cost: &mut ScryptCost| cost.salt_length = 9,
    ] {
        let mut other = cheap();
        change(&mut other.scrypt);
        assert!(needs_rehash(&other, &made));
        assert_eq!(
            verify(&other, &made, "x"),
            Ok(true),
            "costs are the stored ones"
        );
    }
}

#[test]
fn stored_costs_above_the_limits_are_refused() {
    let tail = "$AHGTKpipx9uY7xgt8ZisFA==$YeiFHaeqnK+NEpE7khZG+my/5ACUb1g8ptMu/GxX4zA=";
    // N = 2^22 with r = 1: 512 MiB; N = 2^14, r = 255: 510 MiB; p too high; N = 2^63
    for packed in ["160101", "eff01", "e08ff", "3f0101", "ffff0101"] {
        let found = stored(&format!("${packed}{tail}"), Some("scrypt"), None);
        assert_eq!(
            verify(&HashSettings::default(), &found, "x"),
            Err(PasswordError::Cost),
            "{packed}"
        );
    }
    // zero is no cost either
    for packed in ["801", "e0001", "e0800", "0"] {
        let found = stored(&format!("${packed}{tail}"), Some("scrypt"), None);
        assert_eq!(
            verify(&HashSettings::default(), &found, "x"),
            Err(PasswordError::Cost)
        );
    }
}

#[test]
fn malformed_stored_values_are_errors() {
    let attributes = Some("{\"keyLength\":32}");
    for hashed in [
        "",
        "$",
        "$$$",
        "e0801$AAAA$AAAA",
        "$e0801$AAAA",
        "$e0801$AAAA$",
        "$e0801$AAAA$AAAA",
        "$e0801$AAAA$AAAA$AAAA",
        "$+e0801$AHGTKpipx9uY7xgt8ZisFA==$YeiFHaeqnK+NEpE7khZG+my/5ACUb1g8ptMu/GxX4zA=",
        "$zz$AHGTKpipx9uY7xgt8ZisFA==$YeiFHaeqnK+NEpE7khZG+my/5ACUb1g8ptMu/GxX4zA=",
        "$e0801$!$YeiFHaeqnK+NEpE7khZG+my/5ACUb1g8ptMu/GxX4zA=",
    ] {
        let found = stored(hashed, Some("scrypt"), attributes);
        assert_eq!(
            verify(&HashSettings::default(), &found, ""),
            Err(PasswordError::Stored),
            "{hashed}"
        );
        assert!(needs_rehash(&HashSettings::default(), &found));
    }
    for (algorithm, attributes) in [
        ("scrypt", "{\"keyLength\":31}"),
        ("scrypt", "{\"keyLength\":-1}"),
        ("scrypt", "{}"),
        ("scrypt", "["),
        ("SCRYPT", "{\"keyLength\":32}"),
        ("bcrypt", "{\"keyLength\":32}"),
    ] {
        let found = stored(SCRYPT_SAMPLE, Some(algorithm), Some(attributes));
        assert_eq!(
            verify(&HashSettings::default(), &found, "password1"),
            Err(PasswordError::Stored)
        );
    }
    let empty = stored("", None, None);
    assert_eq!(verify(&sha256_settings(), &empty, ""), Ok(false));
}

#[test]
fn invalid_settings_are_refused() {
    let mut settings = HashSettings::default();
    assert_eq!(settings.check(), Ok(()));
    for change in [
        |cost: &mut ScryptCost| cost.cpu_cost = 0,
        |cost: &mut ScryptCost| cost.cpu_cost = 1,
        |cost: &mut ScryptCost| cost.cpu_cost = 1000,
        |cost: &mut ScryptCost| cost.cpu_cost = 1 << 30,
        |cost: &mut ScryptCost| cost.memory_cost = 0,
        |cost: &mut ScryptCost| cost.memory_cost = 256,
        |cost: &mut ScryptCost| cost.parallelization = 0,
        |cost: &mut ScryptCost| cost.key_length = 0,
        |cost: &mut ScryptCost| cost.salt_length = 0,
    ] {
        settings.scrypt = ScryptCost::default();
        change(&mut settings.scrypt);
        assert_eq!(settings.check(), Err(PasswordError::Cost));
        assert_eq!(
            hash(&settings, "x", &Counter::new(1)),
            Err(PasswordError::Cost)
        );
        dummy_verify(&settings, "x");
    }
    assert!(matches!(
        hash(&HashSettings::default(), "x", &Broken),
        Err(PasswordError::Random(_))
    ));
}

#[test]
fn debug_output_hides_secrets() {
    let made = hash(&sha256_settings(), "password1", &Counter::new(1)).unwrap();
    assert!(!format!("{made:?}").contains(SHA256_SAMPLE));
    assert!(!format!("{:?}", sha256_settings()).contains("saltijkl"));
}
