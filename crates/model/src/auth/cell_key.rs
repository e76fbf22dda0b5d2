//! The key with which a cell signs ID tokens and payloads. It is created when it is first needed, and stored encrypted with the key of
//! the unit for bodies.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use personium_store::{Batch, Expect, StoreError};
use personium_token::at_rest::{BodyCipher, new_salt};
use personium_token::jwt::CellKey;
use personium_types::{Code, Error, Result};
use serde::{Deserialize, Serialize};

use crate::keys;
use crate::records::{self, Records, Versioned, store_error};
use crate::{CellContext, Unit};

/// The beginning of the owner for which a key is encrypted, before its id. Bodies are encrypted for ids of cells, which are shorter.
const OWNER: &str = "signing key ";

/// A cell's key as it is stored.
#[derive(Serialize, Deserialize)]
struct StoredKey {
    /// Its id.
    #[serde(rename = "k")]
    kid: String,
    /// PKCS#8 DER, encrypted if there is a salt, in Base64.
    #[serde(rename = "p")]
    pkcs8: String,
    /// The salt of the encryption. Former versions stored keys without it.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    salt: Option<String>,
}

/// Returns the key of a cell, and creates it if there is none.
///
/// # Errors
/// [`Code::ServerBusy`] if a key must be generated and the hashing queue is full; [`Code::StoreCorrupt`] if the stored key cannot be
/// decrypted; failures of the store.
pub async fn get_or_create(unit: &Unit, context: &CellContext) -> Result<Arc<CellKey>> {
    const CACHE_KEY: &str = "cell-key";
    if let Some(cached) = context.get_cached::<CellKey>(CACHE_KEY) {
        return Ok(cached);
    }
    let key = match find(unit, context).await? {
        Some(found) => found,
        None => create(unit, context).await?,
    };
    Ok(context.insert_cached(CACHE_KEY.to_owned(), key))
}

/// The id of the key of a cell, whose records these are; `None` if it has none yet.
///
/// # Errors
/// Failures of the store.
pub async fn find_id(records: &Records) -> Result<Option<String>> {
    let found = records.find::<StoredKey>(&keys::signing_key()).await?;
    Ok(found.map(|found| found.value.kid))
}

async fn find(unit: &Unit, context: &CellContext) -> Result<Option<CellKey>> {
    let key = keys::signing_key();
    let found = context.records().find::<StoredKey>(&key).await?;
    let Some(Versioned { value, version, .. }) = found else {
        return Ok(None);
    };
    let der = STANDARD.decode(&value.pkcs8).map_err(corrupt)?;
    let der = match &value.salt {
        Some(salt) => {
            let cipher = cipher(unit, &value.kid, salt).await?;
            cipher.open(der).map_err(corrupt)?
        }
        None => der,
    };
    let key = CellKey::from_pkcs8(&value.kid, &der).map_err(corrupt)?;
    if value.salt.is_none() {
        let sealed = seal(unit, &value.kid, &der).await?;
        let mut batch = Batch::new();
        batch.assert(keys::signing_key(), Expect::Version(version));
        records::put(&mut batch, keys::signing_key(), &sealed)?;
        // The next process that needs the key tries again.
        if let Err(error) = context.records().commit(batch).await {
            tracing::debug!(cell.id = %context.cell().id, %error, "a signing key is still stored without encryption");
        }
    }
    Ok(Some(key))
}

fn corrupt(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(Code::StoreCorrupt).with_source(error)
}

/// The cipher of a stored key. It is bound to the id of the key, which goes with it if the cell is replaced.
async fn cipher(unit: &Unit, kid: &str, salt: &str) -> Result<BodyCipher> {
    let owner = format!("{OWNER}{kid}");
    unit.owned_cipher(salt, owner.as_bytes()).await
}

async fn seal(unit: &Unit, kid: &str, der: &[u8]) -> Result<StoredKey> {
    let salt = new_salt(unit.random()).map_err(Error::internal)?;
    let sealed = cipher(unit, kid, &salt).await?.seal(der);
    Ok(StoredKey {
        kid: kid.to_owned(),
        pkcs8: STANDARD.encode(sealed.map_err(Error::internal)?),
        salt: Some(salt),
    })
}

/// Adds the key of a cell that is taken over from another unit to a batch. `der` is the private key in PKCS#8.
///
/// # Errors
/// [`Code::StoreCorrupt`] if it is no such key; failures of the store.
pub async fn put(unit: &Unit, batch: &mut Batch, (kid, der): (&str, &[u8])) -> Result<()> {
    CellKey::from_pkcs8(kid, der).map_err(corrupt)?;
    let stored = seal(unit, kid, der).await?;
    records::put(batch, keys::signing_key(), &stored)
}

/// Generates and stores a key. If another request was faster, its key is returned.
async fn create(unit: &Unit, context: &CellContext) -> Result<CellKey> {
    let kid = unit.random().uuid().to_string();
    let key = unit
        .credentials()
        .hashing
        .run(context.cell().id, move || CellKey::generate(&kid))
        .await?
        .map_err(Error::internal)?;
    let der = key.to_pkcs8().map_err(Error::internal)?;
    let stored = seal(unit, key.kid(), &der).await?;
    let mut batch = Batch::new();
    batch.assert(keys::signing_key(), Expect::Absent);
    records::put(&mut batch, keys::signing_key(), &stored)?;
    match context.records().commit(batch).await {
        Ok(_) => Ok(key),
        Err(StoreError::Conflict) => {
            let found = find(unit, context).await?;
            found.ok_or_else(|| Code::Conflict.into())
        }
        Err(other) => Err(store_error(other)),
    }
}
