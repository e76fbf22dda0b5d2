//! Encryption of file bodies: the key of the unit, writing and reading.

use async_trait::async_trait;
use bytes::Bytes;
use personium_store::{Batch, BlobReader, BlobWriter, ErrorDetail, Space, StoreError};
use personium_token::at_rest::{
    BodyCipher, BodyKey, BodySealer, CipherError, new_salt, sealed_len, sealed_range,
};
use personium_token::local::OpenedBodyKey;
use personium_types::{Code, Error, Result};

use crate::keys;
use crate::records::put_checked;
use crate::unit::Unit;

impl Unit {
    /// Checks that the key of file bodies can be opened, if there is one.
    ///
    /// # Errors
    /// [`Code::DavContent`] if the key was sealed with another unit secret: then no encrypted body can be read. A failure of
    /// the store.
    pub async fn check_body_key(&self) -> Result<()> {
        if self
            .records()
            .find_version(&keys::body_key())
            .await?
            .is_some()
        {
            self.body_key().await?;
        }
        Ok(())
    }

    /// Checks the key of encrypted file bodies as [`check_body_key`](Self::check_body_key) does, and generates it if there is none.
    /// From then on, only processes with the secret of the unit pass the check.
    ///
    /// # Errors
    /// If the key cannot be decrypted, or a failure of the store.
    pub async fn create_body_key(&self) -> Result<()> {
        self.body_key().await.map(|_| ())
    }

    async fn body_key(&self) -> Result<&BodyKey> {
        let records = self.records();
        self.credentials()
            .body_key
            .0
            .get_or_try_init(|| records.transact(|| self.find_or_generate()))
            .await
    }

    async fn find_or_generate(&self) -> Result<(Batch, BodyKey)> {
        let keys = &self.keys().local_tokens;
        let mut batch = Batch::new();
        let found = self.records().find::<String>(&keys::body_key()).await?;
        let OpenedBodyKey { key, is_current } = match &found {
            Some(stored) => keys
                .open_body_key(&stored.value)
                .map_err(|e| Error::new(Code::DavContent).with_source(e))?,
            None => OpenedBodyKey {
                key: BodyKey::generate(self.random()).map_err(Error::internal)?,
                is_current: false,
            },
        };
        if !is_current {
            let text = keys
                .seal_body_key(&key, self.random())
                .map_err(Error::internal)?;
            put_checked(
                &mut batch,
                keys::body_key(),
                found.map(|f| f.version),
                &text,
            )?;
        }
        Ok((batch, key))
    }

    /// The cipher of a body that was encrypted with this salt.
    pub(crate) async fn body_cipher(&self, space: &Space, salt: &str) -> Result<BodyCipher> {
        let owner = match space {
            Space::Unit => Vec::new(),
            Space::Cell(id) => id.as_bytes().to_vec(),
        };
        self.owned_cipher(salt, &owner).await
    }

    /// The cipher of what was encrypted with this salt for an owner.
    pub(crate) async fn owned_cipher(&self, salt: &str, owner: &[u8]) -> Result<BodyCipher> {
        let key = self.body_key().await?;
        key.cipher(salt, owner).map_err(Error::internal)
    }

    /// The salt and the cipher of a new body; `None` if new bodies are not encrypted.
    pub(super) async fn new_cipher(&self, space: &Space) -> Result<Option<(String, BodyCipher)>> {
        if !self.settings().dav.encrypt_files {
            return Ok(None);
        }
        let salt = new_salt(self.random()).map_err(Error::internal)?;
        let cipher = self.body_cipher(space, &salt).await?;
        Ok(Some((salt, cipher)))
    }
}

/// Converts an error of encryption or decryption.
fn corrupt(error: CipherError) -> StoreError {
    StoreError::Corrupt(
        ErrorDetail::new("failed to encrypt or decrypt a file body").with_source(error),
    )
}

/// A writer that encrypts.
pub struct SealedWriter {
    inner: Box<dyn BlobWriter>,
    sealing: BodySealer,
}

impl SealedWriter {
    /// A writer of a body to `inner`.
    #[must_use]
    pub fn new(inner: Box<dyn BlobWriter>, cipher: BodyCipher) -> Self {
        Self {
            inner,
            sealing: BodySealer::new(cipher),
        }
    }
}

#[async_trait]
impl BlobWriter for SealedWriter {
    async fn write(&mut self, chunk: Bytes) -> personium_store::Result<()> {
        let sealed = self.sealing.push(&chunk).map_err(corrupt)?;
        if sealed.is_empty() {
            return Ok(());
        }
        self.inner.write(sealed.into()).await
    }

    async fn finish(mut self: Box<Self>) -> personium_store::Result<personium_types::BlobId> {
        let rest = self.sealing.finish().map_err(corrupt)?;
        self.inner.write(rest.into()).await?;
        self.inner.finish().await
    }
}

/// A reader that decrypts.
pub struct SealedReader {
    inner: Box<dyn BlobReader>,
    cipher: BodyCipher,
    len: u64,
}

impl SealedReader {
    /// A reader of a body of `len` bytes; `None` if the stored body has not the length that this needs.
    #[must_use]
    pub fn new(inner: Box<dyn BlobReader>, cipher: BodyCipher, len: u64) -> Option<Self> {
        (inner.len() == sealed_len(len)).then_some(Self { inner, cipher, len })
    }
}

#[async_trait]
impl BlobReader for SealedReader {
    fn len(&self) -> u64 {
        self.len
    }

    async fn read_at(&mut self, offset: u64, max: usize) -> personium_store::Result<Bytes> {
        let left = self.len.saturating_sub(offset);
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(max);
        // An empty body has a chunk too, whose authentication is all that tells that nobody has altered it.
        if wanted == 0 && self.len > 0 {
            return Ok(Bytes::new());
        }
        let offset = offset.min(self.len);
        let part = sealed_range(self.len, offset, wanted);
        let bytes = usize::try_from(part.end - part.start).map_err(|error| {
            let detail = ErrorDetail::new("a chunk is too large").with_source(error);
            StoreError::Busy(detail)
        })?;
        let sealed = self.inner.read_at(part.start, bytes).await?;
        let opened = self
            .cipher
            .open_range(self.len, offset, wanted, sealed.into());
        opened.map(Bytes::from).map_err(corrupt)
    }
}
