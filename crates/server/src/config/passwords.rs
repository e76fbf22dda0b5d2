//! Settings of passwords and of their hashes.

use personium_token::password::{self, HashAlgorithm, ScryptCost};
use personium_types::Secret;
use regex::Regex;

use super::section::section;
use super::value_parser::{Number, OneOf, Optional, Pattern, SecretText};

section! {
    /// Settings of passwords.
    PasswordConfig "Passwords" {
        /// The regular expression that a new password must match. A password of more than 256 characters is refused in
        /// any case.
        pattern: Regex = "security.auth.password.regex", "^[a-zA-Z0-9\\-_!$*=^`{|}~.@]{6,32}$", Pattern;
        /// The salt of password hashes of the algorithm sha-256.
        sha256_salt: Option<Secret<String>> = "security.auth.password.salt", "", Optional(SecretText { min_bytes: 1 });
    }
}

section! {
    /// Settings of password hashes.
    PasswordHashConfig "Password hashes" {
        /// The algorithm of new password hashes. Each account stores the algorithm of its hash; sha-256 is for old data only.
        algorithm: HashAlgorithm = "security.auth.password.hashAlgorithm", "scrypt",
            OneOf(&[("scrypt", HashAlgorithm::Scrypt), ("sha-256", HashAlgorithm::Sha256)]);
        /// The scrypt parameter N, the cost in time and memory: a power of two.
        cpu_cost: u32 = "security.auth.password.scrypt.cpuCost", "16384", Number(2..=1 << 24);
        /// The scrypt parameter r, the block size.
        memory_cost: u32 = "security.auth.password.scrypt.memoryCost", "8", Number(1..=1024);
        /// The scrypt parameter p, the parallelization.
        parallelization: u32 = "security.auth.password.scrypt.parallelization", "1", Number(1..=64);
        /// The length of a hash in bytes.
        hash_bytes: usize = "security.auth.password.scrypt.keyLength", "32", Number(16..=1024);
        /// The length of a salt in bytes.
        salt_bytes: usize = "security.auth.password.scrypt.saltLength", "64", Number(8..=1024);
        /// The number of threads that hash passwords; by default, one for each processor. They run at a lower priority, so
        /// that logins do not slow down other requests.
        threads: Option<usize> = "security.auth.password.hashThreads", "", Optional(Number(1..=1024));
    }
}

impl PasswordHashConfig {
    /// Returns the parameters of password hashing.
    #[must_use]
    pub fn settings(&self, passwords: &PasswordConfig) -> password::HashSettings {
        password::HashSettings {
            algorithm: self.algorithm,
            scrypt: ScryptCost {
                cpu_cost: self.cpu_cost,
                memory_cost: self.memory_cost,
                parallelization: self.parallelization,
                key_length: self.hash_bytes,
                salt_length: self.salt_bytes,
            },
            sha256_salt: passwords
                .sha256_salt
                .as_ref()
                .map(|salt| salt.reveal().clone())
                .unwrap_or_default(),
        }
    }
}
