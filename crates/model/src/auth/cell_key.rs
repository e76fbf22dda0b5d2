//! The key with which a cell signs ID tokens and payloads. It is created when it is first needed.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use personium_store::{Batch, Expect, StoreError};
use personium_token::jwt::CellKey;
use personium_types::{Code, Error, Result};
use serde::{Deserialize, Serialize};

use crate::keys;
use crate::records::{self, store_error};
use crate::{CellContext, Unit};

/// A cell's key as it is stored.
#[derive(Serialize, Deserialize)]
struct StoredKey {
    /// Its id.
    #[serde(rename = "k")]
    kid: String,
    /// PKCS#8 DER in Base64.
    #[serde(rename = "p")]
    pkcs8: String,
}

/// Returns the key of a cell, and creates it if there is none.
///
/// # Errors
/// [`Code::ServerBusy`] if a key must be generated and the hashing queue is full; failures of the store.
pub async fn get_or_create(unit: &Unit, context: &CellContext) -> Result<Arc<CellKey>> {
    const CACHE_KEY: &str = "cell-key";
    if let Some(cached) = context.get_cached::<CellKey>(CACHE_KEY) {
        return Ok(cached);
    }
    let key = match find(context).await? {
        Some(found) => found,
        None => create(unit, context).await?,
    };
    Ok(context.insert_cached(CACHE_KEY.to_owned(), key))
}

async fn find(context: &CellContext) -> Result<Option<CellKey>> {
    let Some(stored) = context
        .records()
        .find::<StoredKey>(&keys::signing_key())
        .await?
    else {
        return Ok(None);
    };
    let corrupt =
        |e: Box<dyn std::error::Error + Send + Sync>| Error::new(Code::StoreCorrupt).with_source(e);
    let der = STANDARD
        .decode(&stored.value.pkcs8)
        .map_err(|e| corrupt(e.into()))?;
    CellKey::from_pkcs8(&stored.value.kid, &der)
        .map(Some)
        .map_err(|e| corrupt(e.into()))
}

/// Adds the key of a cell that is taken over from another unit to a batch. `der` is the private key in PKCS#8.
///
/// # Errors
/// [`Code::StoreCorrupt`] if it is no such key.
pub fn put(batch: &mut Batch, kid: &str, der: &[u8]) -> Result<()> {
    let key = CellKey::from_pkcs8(kid, der);
    key.map_err(|error| Error::new(Code::StoreCorrupt).with_source(error))?;
    let stored = StoredKey {
        kid: kid.to_owned(),
        pkcs8: STANDARD.encode(der),
    };
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
    let stored = StoredKey {
        kid: key.kid().to_owned(),
        pkcs8: STANDARD.encode(key.to_pkcs8().map_err(Error::internal)?),
    };
    let mut batch = Batch::new();
    batch.assert(keys::signing_key(), Expect::Absent);
    records::put(&mut batch, keys::signing_key(), &stored)?;
    match context.records().commit(batch).await {
        Ok(_) => Ok(key),
        Err(StoreError::Conflict) => find(context).await?.ok_or_else(|| Code::Conflict.into()),
        Err(other) => Err(store_error(other)),
    }
}
