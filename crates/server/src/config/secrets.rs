//! Settings of secrets.

use personium_types::Secret;

use super::section::section;
use super::value_parser::{Flag, Optional, SecretText};

section! {
    /// Settings of secrets.
    SecretConfig "Secrets" {
        /// The secret of the unit, 16 bytes or more. It encrypts local tokens, and the key that encrypts the signing keys of cells and
        /// file bodies. Without it, the first start generates one and stores it in data.dir.
        secret: Option<Secret<String>> = "security.secret16", "", Optional(SecretText { min_bytes: 16 });
        /// The secret of the unit before the last change. Tokens encrypted under it stay valid until they expire. The first start
        /// with a new secret needs it: the key that encrypts the signing keys of cells and file bodies is then encrypted under the new one.
        previous_secret: Option<Secret<String>> = "security.secret16.previous", "",
            Optional(SecretText { min_bytes: 16 });
        /// Whether new file bodies are encrypted. Their key is encrypted under the secret of the unit: without that
        /// secret they cannot be read, so back it up, apart from the data.
        encrypt_files: bool = "security.dav.encrypt.enabled", "false", Flag;
    }
}
