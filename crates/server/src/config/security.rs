//! Secrets, passwords and scopes.

use personium_token::password::{self, Algorithm, ScryptCost};
use personium_types::Secret;
use regex::Regex;

use super::rule::{Flag, Maybe, Number, OneOf, Pattern, SecretText, Words};
use super::section::section;

section! {
    /// Secrets of the unit.
    Security "Secrets" {
        /// The secret that tokens of the unit are sealed with, 16 bytes or more; tokens become invalid when it changes.
        /// Without a value, the first start makes one and keeps it in the data folder.
        secret: Option<Secret<String>> = "security.secret16", "", Maybe(SecretText { min_bytes: 16 });
        /// The secret before the last change: tokens sealed with it stay valid until they expire. If file bodies are
        /// encrypted, the first start with a new secret needs it.
        previous_secret: Option<Secret<String>> = "security.secret16.previous", "",
            Maybe(SecretText { min_bytes: 16 });
        /// Whether newly written file bodies are encrypted, under a key that the unit secret locks. Whoever loses that
        /// secret loses those bodies: keep it apart from the data.
        encrypt_files: bool = "security.dav.encrypt.enabled", "false", Flag;
    }
}

section! {
    /// Which passwords are permitted.
    Passwords "Passwords" {
        /// The pattern that a new password must match. Longer ones than 256 characters are never permitted.
        pattern: Regex = "security.auth.password.regex", "^[a-zA-Z0-9\\-_!$*=^`{|}~.@]{6,32}$", Pattern;
        /// The salt of stored hashes of the kind sha-256.
        salt: Option<Secret<String>> = "security.auth.password.salt", "", Maybe(SecretText { min_bytes: 1 });
    }
}

section! {
    /// How passwords are hashed.
    Hashing "Password hashes" {
        /// How new passwords are hashed. Each account remembers its own kind; sha-256 is for old data only.
        algorithm: Algorithm = "security.auth.password.hashAlgorithm", "scrypt",
            OneOf(&[("scrypt", Algorithm::Scrypt), ("sha-256", Algorithm::Sha256)]);
        /// Cost in time and memory; a power of two.
        cpu_cost: u32 = "security.auth.password.scrypt.cpuCost", "16384", Number(2..=1 << 24);
        /// Size of the blocks that are mixed.
        memory_cost: u32 = "security.auth.password.scrypt.memoryCost", "8", Number(1..=1024);
        /// Independent mixings.
        parallelization: u32 = "security.auth.password.scrypt.parallelization", "1", Number(1..=64);
        /// Bytes of the hash.
        key_length: usize = "security.auth.password.scrypt.keyLength", "32", Number(16..=1024);
        /// Bytes of the salt.
        salt_length: usize = "security.auth.password.scrypt.saltLength", "64", Number(8..=1024);
        /// Threads that hash passwords; without a value, as many as processors. They run at a lower priority, so that logins leave room for others.
        threads: Option<usize> = "security.auth.password.threads", "", Maybe(Number(1..=1024));
    }
}

section! {
    /// The scope that a token gets when the client asks for none, by grant.
    TokenScopes "Scopes of tokens" {
        /// For a name and password.
        ropc: Vec<String> = "security.token.defaultScope.ropc", "root", Words;
        /// For a token of another cell.
        assertion: Vec<String> = "security.token.defaultScope.assertion", "root", Words;
        /// For an authorization code.
        grant_code: Vec<String> = "security.token.defaultScope.grant_code", "root", Words;
        /// Whether a change of password, and deactivation, end the tokens that the account was given before.
        revoke_with_account: bool = "security.token.revokeWithAccount", "false", Flag;
        /// Whether a refresh token is good for one use only. A second use ends all that came of the same login.
        rotate_refresh: bool = "security.token.rotateRefresh", "false", Flag;
        /// Whether an authorization code is good for one use only.
        single_use_codes: bool = "security.token.singleUseCode", "false", Flag;
    }
}

impl Hashing {
    /// The same, as the hashing itself takes it.
    #[must_use]
    pub fn settings(&self, passwords: &Passwords) -> password::Settings {
        password::Settings {
            algorithm: self.algorithm,
            scrypt: ScryptCost {
                cpu_cost: self.cpu_cost,
                memory_cost: self.memory_cost,
                parallelization: self.parallelization,
                key_length: self.key_length,
                salt_length: self.salt_length,
            },
            sha256_salt: passwords
                .salt
                .as_ref()
                .map(|salt| salt.reveal().clone())
                .unwrap_or_default(),
        }
    }
}
