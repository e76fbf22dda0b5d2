//! The content of files, some of which the original encrypts.

use std::path::Path;

use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, DecryptionContext, StreamingDecryptingKey, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use bytes::Bytes;
use personium_types::{Result, Secret};
use tokio::fs::{self, File};
use tokio::io::AsyncReadExt;

use crate::snapshot_package::invalid;

/// The size of the chunks.
const CHUNK_BYTES: usize = 256 << 10;
/// The size of a block of the cipher.
const BLOCK_BYTES: usize = 16;
/// The text from which the first bytes of the cipher follow, with the id of the cell.
const SEED: &str = "123456789abcdefg";

/// Reads the content of a file.
pub(crate) struct BodyReader {
    path: String,
    file: File,
    cipher: Option<StreamingDecryptingKey>,
    /// The length that the content should have.
    expected: Option<u64>,
    length: u64,
    is_finished: bool,
}

/// How a file is encrypted.
pub(crate) struct BodyEncryption<'e> {
    /// The secret of the unit.
    pub secret: &'e Secret<String>,
    /// The id of the cell.
    pub cell: &'e str,
}

impl BodyReader {
    /// Opens a file; `None` if there is none. `path` is how messages call it.
    ///
    /// # Errors
    /// [`Code::SnapshotEntry`](personium_types::Code::SnapshotEntry) if it is no file, cannot be read, or the secret is none of the
    /// cipher.
    pub async fn open(
        (path, file): (&str, &Path),
        expected: Option<u64>,
        encryption: Option<BodyEncryption<'_>>,
    ) -> Result<Option<Self>> {
        match fs::symlink_metadata(file).await {
            Ok(found) if found.is_file() => {}
            Ok(_) => return Err(invalid(path, "its content is no file")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(invalid(path, error)),
        }
        let cipher = match encryption {
            None => None,
            Some(encryption) => {
                let cipher = encryption.cipher();
                Some(cipher.ok_or_else(|| {
                    invalid(
                        path,
                        "security.secret16 is no key that it can be encrypted with",
                    )
                })?)
            }
        };
        let opened = File::open(file).await;
        Ok(Some(Self {
            path: path.to_owned(),
            file: opened.map_err(|error| invalid(path, error))?,
            cipher,
            expected,
            length: 0,
            is_finished: false,
        }))
    }

    /// The next bytes; none at the end.
    ///
    /// # Errors
    /// [`Code::SnapshotEntry`](personium_types::Code::SnapshotEntry) if the file cannot be read or decrypted, or has another length.
    pub async fn next_chunk(&mut self) -> Result<Bytes> {
        while !self.is_finished {
            let mut chunk = Vec::with_capacity(CHUNK_BYTES);
            let read = (&mut self.file).take(CHUNK_BYTES as u64);
            let read = {
                let mut read = read;
                read.read_to_end(&mut chunk).await
            };
            read.map_err(|error| invalid(&self.path, error))?;
            let chunk = match chunk.is_empty() {
                true => self.finish()?,
                false => self.decrypt(chunk)?,
            };
            self.length += chunk.len() as u64;
            if self.is_finished {
                self.check_length()?;
            }
            if !chunk.is_empty() {
                return Ok(Bytes::from(chunk));
            }
        }
        Ok(Bytes::new())
    }

    fn decrypt(&mut self, chunk: Vec<u8>) -> Result<Vec<u8>> {
        let Some(cipher) = &mut self.cipher else {
            return Ok(chunk);
        };
        let mut out = vec![0; chunk.len() + BLOCK_BYTES];
        let written = match cipher.update(&chunk, &mut out) {
            Ok(update) => update.written().len(),
            Err(_) => return Err(undecryptable(&self.path)),
        };
        out.truncate(written);
        Ok(out)
    }

    fn finish(&mut self) -> Result<Vec<u8>> {
        self.is_finished = true;
        let Some(cipher) = self.cipher.take() else {
            return Ok(Vec::new());
        };
        let mut out = vec![0; BLOCK_BYTES];
        let written = match cipher.finish(&mut out) {
            Ok(update) => update.written().len(),
            Err(_) => return Err(undecryptable(&self.path)),
        };
        out.truncate(written);
        Ok(out)
    }

    fn check_length(&self) -> Result<()> {
        match self.expected {
            Some(expected) if expected != self.length => Err(invalid(
                &self.path,
                format!(
                    "its content has {} bytes, and should have {expected}",
                    self.length
                ),
            )),
            _ => Ok(()),
        }
    }
}

fn undecryptable(path: &str) -> personium_types::Error {
    invalid(path, "its content cannot be decrypted by security.secret16")
}

impl BodyEncryption<'_> {
    /// AES in CBC mode, with padding.
    fn cipher(&self) -> Option<StreamingDecryptingKey> {
        let secret = self.secret.reveal().as_bytes();
        let algorithm = match secret.len() {
            16 => &AES_128,
            24 => &AES_192,
            32 => &AES_256,
            _ => return None,
        };
        let text: Vec<u8> = SEED.bytes().chain(self.cell.bytes()).rev().collect();
        let first: [u8; BLOCK_BYTES] = text.get(..BLOCK_BYTES)?.try_into().ok()?;
        let key = UnboundCipherKey::new(algorithm, secret).ok()?;
        let context = DecryptionContext::Iv128(FixedLength::from(first));
        StreamingDecryptingKey::cbc_pkcs7(key, context).ok()
    }
}
