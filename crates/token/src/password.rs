//! Stored password hashes.
//!
//! | Algorithm | Stored text | HashAttributes |
//! |---|---|---|
//! | `scrypt` (RFC 7914) | `$params$salt$derived`: hexadecimal of `log2(N)·65536 + r·256 + p`, then standard Base64 twice | `{"keyLength":32}` |
//! | `sha-256` | hexadecimal of SHA-256 over password and the unit's salt | none |
//!
//! Costs and lengths are read from the stored values, so hashes of both algorithms and of previous settings remain valid.
//! Hashing is slow by design: do not call it on request threads.

use aws_lc_rs::digest;
use scrypt::Params;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::base64_text::{decode_standard, encode_standard};
use personium_types::{Random, RandomError, hex};

/// The maximum memory of a scrypt computation (128·N·r) in bytes.
pub const MAX_SCRYPT_MEMORY_BYTES: u64 = 256 * 1024 * 1024;
/// The maximum work of a scrypt computation (128·N·r·p) in bytes.
pub const MAX_SCRYPT_WORK_BYTES: u64 = 1024 * 1024 * 1024;
/// The accepted lengths of derived key and salt in bytes.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 16..=1024;
const SALT_BYTES: std::ops::RangeInclusive<usize> = 8..=1024;
/// The maximum length of a stored hash in bytes.
const MAX_STORED_BYTES: usize = 4096;
/// The key length in bytes if the attributes have none.
const DEFAULT_KEY_BYTES: usize = 32;

/// The name of scrypt in stored values.
const SCRYPT: &str = "scrypt";
/// The name of SHA-256 in stored values. It is the algorithm of hashes without a name.
const SHA_256: &str = "sha-256";

/// The algorithm of new hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashAlgorithm {
    /// The default; memory-hard.
    Scrypt,
    /// One round with a salt of the unit. For compatibility only.
    Sha256,
}

/// The cost parameters of scrypt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScryptCost {
    /// N: a power of two, 2 to 2^31.
    pub cpu_cost: u32,
    /// r: 1 to 255.
    pub memory_cost: u32,
    /// p: 1 to 255.
    pub parallelization: u32,
    /// The length of the derived key: 16 to 1024 bytes.
    pub key_length: usize,
    /// The length of a new salt: 8 to 1024 bytes.
    pub salt_length: usize,
}

impl Default for ScryptCost {
    fn default() -> Self {
        Self {
            cpu_cost: 16_384,
            memory_cost: 8,
            parallelization: 1,
            key_length: 32,
            salt_length: 64,
        }
    }
}

/// The settings of a unit for password hashes. [`HashSettings::check`] validates them.
#[derive(Clone, PartialEq, Eq)]
pub struct HashSettings {
    /// The algorithm of new hashes.
    pub algorithm: HashAlgorithm,
    /// The costs of new scrypt hashes.
    pub scrypt: ScryptCost,
    /// The text that `sha-256` appends to each password, for new and for stored hashes.
    pub sha256_salt: String,
}

impl Default for HashSettings {
    fn default() -> Self {
        Self {
            algorithm: HashAlgorithm::Scrypt,
            scrypt: ScryptCost::default(),
            sha256_salt: String::new(),
        }
    }
}

impl std::fmt::Debug for HashSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HashSettings")
            .field("algorithm", &self.algorithm)
            .field("scrypt", &self.scrypt)
            .field("sha256_salt", &"***")
            .finish()
    }
}

/// A hash as an account stores it. The three values are stored together.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredHash {
    /// The property `HashedCredential`.
    pub hashed: String,
    /// The property `HashAlgorithm`; `None` means `sha-256`.
    pub algorithm: Option<String>,
    /// The property `HashAttributes`: a JSON object.
    pub attributes: Option<String>,
}

impl std::fmt::Debug for StoredHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredHash")
            .field("hashed", &"***")
            .field("algorithm", &self.algorithm)
            .field("attributes", &self.attributes)
            .finish()
    }
}

/// An error while a password is hashed or verified. A wrong password is not an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// The stored values have an unknown form.
    #[error("the stored password hash cannot be parsed")]
    Stored,
    /// The costs are out of the range of scrypt or above the limits of this module.
    #[error("the scrypt costs are out of range")]
    Cost,
    /// The source of randomness failed.
    #[error("cannot generate a salt")]
    Random(#[from] RandomError),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HashAttributes {
    key_length: usize,
}

impl HashSettings {
    /// Validates the settings.
    ///
    /// # Errors
    /// [`PasswordError::Cost`] if hashes cannot be computed with these settings.
    pub fn check(&self) -> Result<(), PasswordError> {
        match self.algorithm {
            HashAlgorithm::Sha256 => Ok(()),
            HashAlgorithm::Scrypt => {
                self.scrypt.params()?;
                if KEY_BYTES.contains(&self.scrypt.key_length)
                    && SALT_BYTES.contains(&self.scrypt.salt_length)
                {
                    Ok(())
                } else {
                    Err(PasswordError::Cost)
                }
            }
        }
    }
}

impl ScryptCost {
    fn params(&self) -> Result<Params, PasswordError> {
        if !self.cpu_cost.is_power_of_two() {
            return Err(PasswordError::Cost);
        }
        checked_params(
            self.cpu_cost.trailing_zeros(),
            self.memory_cost,
            self.parallelization,
        )
    }

    /// The costs as one number, as in the first part of a stored hash.
    fn packed(&self) -> u32 {
        (self.cpu_cost.trailing_zeros() << 16) | (self.memory_cost << 8) | self.parallelization
    }
}

/// Converts costs to parameters, if memory and work are within the limits.
fn checked_params(log_n: u32, r: u32, p: u32) -> Result<Params, PasswordError> {
    let in_range = (1..=31).contains(&log_n) && (1..=255).contains(&r) && (1..=255).contains(&p);
    if !in_range {
        return Err(PasswordError::Cost);
    }
    let memory = 128 * (1u64 << log_n) * u64::from(r);
    if memory > MAX_SCRYPT_MEMORY_BYTES || memory * u64::from(p) > MAX_SCRYPT_WORK_BYTES {
        return Err(PasswordError::Cost);
    }
    let log_n = u8::try_from(log_n).map_err(|_| PasswordError::Cost)?;
    Params::new(log_n, r, p).map_err(|_| PasswordError::Cost)
}

/// Hashes a password, with a new random salt (scrypt) or the salt of the unit (sha-256).
///
/// # Errors
/// [`PasswordError::Cost`], [`PasswordError::Random`].
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use personium_token::password::{HashSettings, hash, verify};
/// # use personium_types::SystemRandom;
///
/// let settings = HashSettings::default();
/// let stored = hash(&settings, "a password", &SystemRandom::new())?;
/// assert!(verify(&settings, &stored, "a password")?);
/// assert!(!verify(&settings, &stored, "another")?);
/// # Ok(())
/// # }
/// ```
pub fn hash(
    settings: &HashSettings,
    password: &str,
    random: &dyn Random,
) -> Result<StoredHash, PasswordError> {
    settings.check()?;
    match settings.algorithm {
        HashAlgorithm::Sha256 => Ok(StoredHash {
            hashed: sha256_hex(password, &settings.sha256_salt),
            algorithm: Some(SHA_256.to_owned()),
            attributes: None,
        }),
        HashAlgorithm::Scrypt => {
            let cost = &settings.scrypt;
            let mut salt = vec![0; cost.salt_length];
            random.fill(&mut salt)?;
            let derived = derive(password, &salt, &cost.params()?, cost.key_length)?;
            Ok(StoredHash {
                hashed: format!(
                    "${:x}${}${}",
                    cost.packed(),
                    encode_standard(&salt),
                    encode_standard(&derived)
                ),
                algorithm: Some(SCRYPT.to_owned()),
                attributes: Some(format!("{{\"keyLength\":{}}}", cost.key_length)),
            })
        }
    }
}

/// Whether a password matches a stored hash. The comparison of the hashes takes constant time.
///
/// Of the settings, only the `sha-256` salt is used.
///
/// # Errors
/// [`PasswordError::Stored`], [`PasswordError::Cost`].
pub fn verify(
    settings: &HashSettings,
    stored: &StoredHash,
    password: &str,
) -> Result<bool, PasswordError> {
    match parse(stored)? {
        ParsedHash::Sha256(hashed) => {
            let given = sha256_hex(password, &settings.sha256_salt);
            Ok(given.as_bytes().ct_eq(hashed.as_bytes()).into())
        }
        ParsedHash::Scrypt(scrypt) => {
            let given = derive(
                password,
                &scrypt.salt,
                &checked_params(scrypt.log_n, scrypt.r, scrypt.p)?,
                scrypt.derived.len(),
            )?;
            Ok(given.ct_eq(&scrypt.derived).into())
        }
    }
}

/// Takes as long as [`verify`] with a hash of these settings. Called for accounts that do not exist, so that the response
/// time does not reveal their absence.
pub fn dummy_verify(settings: &HashSettings, password: &str) {
    let digest = match settings.algorithm {
        HashAlgorithm::Sha256 => sha256_hex(password, &settings.sha256_salt).into_bytes(),
        HashAlgorithm::Scrypt => settings
            .scrypt
            .params()
            .and_then(|params| {
                let salt = vec![0; settings.scrypt.salt_length.min(*SALT_BYTES.end())];
                derive(password, &salt, &params, settings.scrypt.key_length)
            })
            .unwrap_or_default(),
    };
    std::hint::black_box(digest);
}

/// Whether a stored hash has another algorithm, cost or length than the settings, or cannot be parsed. The caller then
/// hashes the password again after a successful login.
pub fn needs_rehash(settings: &HashSettings, stored: &StoredHash) -> bool {
    match (settings.algorithm, parse(stored)) {
        (HashAlgorithm::Sha256, Ok(ParsedHash::Sha256(_))) => false,
        (HashAlgorithm::Scrypt, Ok(ParsedHash::Scrypt(found))) => {
            let cost = &settings.scrypt;
            (found.log_n, found.r, found.p)
                != (
                    cost.cpu_cost.trailing_zeros(),
                    cost.memory_cost,
                    cost.parallelization,
                )
                || found.derived.len() != cost.key_length
                || found.salt.len() != cost.salt_length
        }
        _ => true,
    }
}

enum ParsedHash<'a> {
    Sha256(&'a str),
    Scrypt(ParsedScrypt),
}

struct ParsedScrypt {
    log_n: u32,
    r: u32,
    p: u32,
    salt: Vec<u8>,
    derived: Vec<u8>,
}

fn parse(stored: &StoredHash) -> Result<ParsedHash<'_>, PasswordError> {
    if stored.hashed.len() > MAX_STORED_BYTES {
        return Err(PasswordError::Stored);
    }
    match stored.algorithm.as_deref() {
        None | Some(SHA_256) => Ok(ParsedHash::Sha256(&stored.hashed)),
        Some(SCRYPT) => {
            let found = parse_scrypt(&stored.hashed).ok_or(PasswordError::Stored)?;
            let key_length = match stored.attributes.as_deref() {
                None | Some("") => DEFAULT_KEY_BYTES,
                Some(json) => {
                    serde_json::from_str::<HashAttributes>(json)
                        .map_err(|_| PasswordError::Stored)?
                        .key_length
                }
            };
            // An empty or truncated derived key would match any password.
            if found.derived.len() != key_length || !KEY_BYTES.contains(&key_length) {
                return Err(PasswordError::Stored);
            }
            Ok(ParsedHash::Scrypt(found))
        }
        Some(_) => Err(PasswordError::Stored),
    }
}

fn parse_scrypt(text: &str) -> Option<ParsedScrypt> {
    let mut parts = text.strip_prefix('$')?.split('$');
    let (packed, salt, derived) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || !packed.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let packed = u32::from_str_radix(packed, 16).ok()?;
    Some(ParsedScrypt {
        log_n: packed >> 16,
        r: (packed >> 8) & 0xff,
        p: packed & 0xff,
        salt: decode_standard(salt)?,
        derived: decode_standard(derived)?,
    })
}

fn derive(
    password: &str,
    salt: &[u8],
    params: &Params,
    length: usize,
) -> Result<Vec<u8>, PasswordError> {
    let mut derived = vec![0; length];
    scrypt::scrypt(password.as_bytes(), salt, params, &mut derived)
        .map_err(|_| PasswordError::Cost)?;
    Ok(derived)
}

fn sha256_hex(password: &str, salt: &str) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(password.as_bytes());
    context.update(salt.as_bytes());
    hex::encode(context.finish().as_ref())
}
