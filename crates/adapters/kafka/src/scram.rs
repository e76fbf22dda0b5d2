//! The proof of a password by SCRAM (RFC 5802), with SHA-256 or SHA-512 (RFC 7677), without channel binding.

use std::num::NonZeroU32;

use aws_lc_rs::{constant_time, digest, hmac, pbkdf2};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The fewest and most rounds that a server may ask for: no thread works for a server that asks for more. Kafka itself stores at most 16,384.
const ROUNDS: std::ops::RangeInclusive<u32> = 4_096..=100_000;

/// The algorithms of a mechanism.
#[derive(Clone, Copy)]
pub(crate) struct ScramHash {
    digest: &'static digest::Algorithm,
    hmac: hmac::Algorithm,
    pbkdf2: pbkdf2::Algorithm,
}

impl ScramHash {
    pub(crate) fn sha256() -> Self {
        Self {
            digest: &digest::SHA256,
            hmac: hmac::HMAC_SHA256,
            pbkdf2: pbkdf2::PBKDF2_HMAC_SHA256,
        }
    }

    pub(crate) fn sha512() -> Self {
        Self {
            digest: &digest::SHA512,
            hmac: hmac::HMAC_SHA512,
            pbkdf2: pbkdf2::PBKDF2_HMAC_SHA512,
        }
    }
}

/// A conversation after the first message of the client.
pub(crate) struct ScramClient {
    hash: ScramHash,
    /// The first message without its beginning.
    first: String,
    nonce: String,
}

impl ScramClient {
    /// Begins with a nonce of printable ASCII without commas.
    pub(crate) fn new(hash: ScramHash, user: &str, nonce: &str) -> Self {
        let user = user.replace('=', "=3D").replace(',', "=2C");
        Self {
            hash,
            first: format!("n={user},r={nonce}"),
            nonce: nonce.to_owned(),
        }
    }

    pub(crate) fn first_message(&self) -> String {
        format!("n,,{}", self.first)
    }

    /// The answer to the first message of the server, and what the server must say then; `None` if that message is not acceptable.
    pub(crate) fn proof(&self, server_first: &str, password: &str) -> Option<(String, Vec<u8>)> {
        let field = |name: &str| server_first.split(',').find_map(|it| it.strip_prefix(name));
        let nonce = field("r=")?;
        let is_longer = nonce.len() > self.nonce.len() && nonce.starts_with(&self.nonce);
        let salt = STANDARD.decode(field("s=")?).ok()?;
        let rounds: u32 = field("i=")?.parse().ok()?;
        if !is_longer || !ROUNDS.contains(&rounds) {
            return None;
        }
        let mut salted = vec![0; self.hash.digest.output_len()];
        let rounds = NonZeroU32::new(rounds)?;
        pbkdf2::derive(
            self.hash.pbkdf2,
            rounds,
            &salt,
            password.as_bytes(),
            &mut salted,
        );
        let client_key = self.sign(&salted, b"Client Key");
        let stored_key = digest::digest(self.hash.digest, &client_key);
        // "biws" is the beginning of the first message, "n,,".
        let last = format!("c=biws,r={nonce}");
        let message = format!("{},{server_first},{last}", self.first);
        let signature = self.sign(stored_key.as_ref(), message.as_bytes());
        let proof: Vec<u8> = client_key
            .iter()
            .zip(&signature)
            .map(|(a, b)| a ^ b)
            .collect();
        let server_key = self.sign(&salted, b"Server Key");
        let expected = self.sign(&server_key, message.as_bytes());
        Some((format!("{last},p={}", STANDARD.encode(proof)), expected))
    }

    fn sign(&self, key: &[u8], text: &[u8]) -> Vec<u8> {
        let key = hmac::Key::new(self.hash.hmac, key);
        hmac::sign(&key, text).as_ref().to_vec()
    }
}

/// Whether the last message of a server proves that it knows the password too.
pub(crate) fn is_proof(server_last: &str, expected: &[u8]) -> bool {
    let signature = server_last.strip_prefix("v=");
    let signature = signature.and_then(|it| STANDARD.decode(it.split(',').next()?).ok());
    signature.is_some_and(|it| constant_time::verify_slices_are_equal(&it, expected).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3.
    #[test]
    fn conversation_is_that_of_rfc_7677() {
        let nonce = "rOprNGfwEbeRWgbNEkqO";
        let client = ScramClient::new(ScramHash::sha256(), "user", nonce);
        assert_eq!(client.first_message(), format!("n,,n=user,r={nonce}"));
        let first = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let (last, expected) = client.proof(first, "pencil").unwrap();
        assert_eq!(
            last,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        let right = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        assert!(is_proof(right, &expected));
        assert!(!is_proof("v=6rri", &expected));
        assert!(!is_proof("e=other-error", &expected));
        for wrong in [
            "",
            "r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "r=rOprNGfwEbeRWgbNEkqO%h,s=*,i=4096",
            "r=rOprNGfwEbeRWgbNEkqO%h,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=1",
            "r=rOprNGfwEbeRWgbNEkqO%h,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=100001",
            "r=rOprNGfwEbeRWgbNEkqO%h,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4000000000",
        ] {
            assert!(client.proof(wrong, "pencil").is_none(), "{wrong}");
        }
    }
}
