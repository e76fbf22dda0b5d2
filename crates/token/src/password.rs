//! Stored password hashes.
//!
//! | Algorithm | Stored text | Attributes |
//! |---|---|---|
//! | `scrypt` (RFC 7914) | `$params$salt$derived`: hexadecimal of `log2(N)·65536 + r·256 + p`, then standard Base64 twice | `{"keyLength":32}` |
//! | `sha-256` | hexadecimal of SHA-256 over password and the unit's salt | none |
//!
//! Cost and length are read from the stored values, so hashes of either algorithm and of any
//! former setting keep working. Hashing is slow on purpose: call it away from request threads.

use aws_lc_rs::digest;
use scrypt::Params;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::base64_text::{decode_standard, encode_standard};
use crate::hex;
use personium_types::{Random, RandomError};

/// Most memory that one scrypt computation may take (128·N·r), in bytes.
pub const MAX_SCRYPT_MEMORY_BYTES: u64 = 256 * 1024 * 1024;
/// Most work of one scrypt computation (128·N·r·p), in bytes mixed.
pub const MAX_SCRYPT_WORK_BYTES: u64 = 1024 * 1024 * 1024;
/// Lengths of derived key and salt that are accepted, in bytes.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 16..=1024;
const SALT_BYTES: std::ops::RangeInclusive<usize> = 8..=1024;
/// Longest stored text that is looked at, in bytes.
const MAX_STORED_BYTES: usize = 4096;
/// Key length when the attributes do not tell.
const DEFAULT_KEY_BYTES: usize = 32;

/// Name of the algorithm in stored values.
const SCRYPT: &str = "scrypt";
/// Name of the older algorithm; also meant where no name is stored.
const SHA_256: &str = "sha-256";

/// Which algorithm new hashes are made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashAlgorithm {
    /// Memory-hard; the default.
    Scrypt,
    /// One round with a salt common to the unit. For compatibility only.
    Sha256,
}

/// Costs of scrypt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScryptCost {
    /// N: a power of two, 2 to 2^31.
    pub cpu_cost: u32,
    /// r: 1 to 255.
    pub memory_cost: u32,
    /// p: 1 to 255.
    pub parallelization: u32,
    /// Length of the derived key, 16 to 1024 bytes.
    pub key_length: usize,
    /// Length of a new salt, 8 to 1024 bytes.
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

/// How passwords are hashed in a unit. [`Settings::check`] tells whether they can work.
#[derive(Clone, PartialEq, Eq)]
pub struct HashSettings {
    /// For new hashes.
    pub algorithm: HashAlgorithm,
    /// For new scrypt hashes.
    pub scrypt: ScryptCost,
    /// Appended to each password by `sha-256`, for new and for stored hashes.
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
        f.debug_struct("Settings")
            .field("algorithm", &self.algorithm)
            .field("scrypt", &self.scrypt)
            .field("sha256_salt", &"***")
            .finish()
    }
}

/// A hash as an account stores it. The three belong together: always store all of them.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredHash {
    /// `HashedCredential`.
    pub hashed: String,
    /// `HashAlgorithm`; `None` means `sha-256`.
    pub algorithm: Option<String>,
    /// `HashAttributes`: a JSON object.
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

/// Why a password could not be hashed or compared. A wrong password is not an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// The stored values are not of a known form.
    #[error("the stored password hash is not readable")]
    Stored,
    /// Costs outside of what scrypt allows or of what is safe to compute.
    #[error("the scrypt costs are not usable")]
    Cost,
    /// No randomness for a salt.
    #[error("cannot choose a salt")]
    Random(#[from] RandomError),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attributes {
    key_length: usize,
}

impl HashSettings {
    /// Fails with [`PasswordError::Cost`] if no hash could be made with these settings.
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

    /// The number that stands in front of a stored hash.
    fn packed(&self) -> u32 {
        (self.cpu_cost.trailing_zeros() << 16) | (self.memory_cost << 8) | self.parallelization
    }
}

/// Parameters whose memory and work stay within the limits.
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

/// Hashes a password for storing, with a new random salt (scrypt) or the unit's salt (sha-256).
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

/// True if the password is the stored one. The comparison takes the same time for any wrong hash.
///
/// Of the settings only the `sha-256` salt is used.
pub fn verify(
    settings: &HashSettings,
    stored: &StoredHash,
    password: &str,
) -> Result<bool, PasswordError> {
    match read(stored)? {
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

/// Spends the time that [`verify`] takes for a hash made with these settings. For accounts that do
/// not exist, so that an answer's time does not tell.
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

/// True if a stored hash differs from what [`hash`] would make now in algorithm, cost or lengths,
/// or cannot be read. Ask after a successful login, while the password is at hand.
pub fn needs_rehash(settings: &HashSettings, stored: &StoredHash) -> bool {
    match (settings.algorithm, read(stored)) {
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

fn read(stored: &StoredHash) -> Result<ParsedHash<'_>, PasswordError> {
    if stored.hashed.len() > MAX_STORED_BYTES {
        return Err(PasswordError::Stored);
    }
    match stored.algorithm.as_deref() {
        None | Some(SHA_256) => Ok(ParsedHash::Sha256(&stored.hashed)),
        Some(SCRYPT) => {
            let found = read_scrypt(&stored.hashed).ok_or(PasswordError::Stored)?;
            let key_length = match stored.attributes.as_deref() {
                None | Some("") => DEFAULT_KEY_BYTES,
                Some(json) => {
                    serde_json::from_str::<Attributes>(json)
                        .map_err(|_| PasswordError::Stored)?
                        .key_length
                }
            };
            // an empty or shortened derived part would fit any password
            if found.derived.len() != key_length || !KEY_BYTES.contains(&key_length) {
                return Err(PasswordError::Stored);
            }
            Ok(ParsedHash::Scrypt(found))
        }
        Some(_) => Err(PasswordError::Stored),
    }
}

fn read_scrypt(text: &str) -> Option<ParsedScrypt> {
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
