//! The secret of a unit that has records: never made anew, and compared with what it has encrypted.

use personium_model::records::Records;
use personium_model::{keys, unit_mark};
use personium_types::Result;
use personium_types::error::chain;

use super::{KeyFileError, PreparedKeys, SECRET_FILE, exists, local_keys, read_secret};
use crate::config::Config;

/// Refuses a generated secret if the unit has cells, or a key that its lost secret has encrypted.
///
/// # Errors
/// [`KeyFileError::MissingSecret`], or [`KeyFileError::Records`] if the records cannot be read.
pub async fn refuse_new(
    prepared: &PreparedKeys,
    records: &Records,
) -> std::result::Result<(), KeyFileError> {
    let Some(path) = prepared.new_secret() else {
        return Ok(());
    };
    match needs_secret(records).await.map_err(KeyFileError::Records)? {
        true => Err(KeyFileError::MissingSecret {
            path: path.to_owned(),
        }),
        false => Ok(()),
    }
}

/// Whether the unit has cells, or a key that its secret has encrypted.
async fn needs_secret(records: &Records) -> Result<bool> {
    if records.find_version(&keys::body_key()).await?.is_some() {
        return Ok(true);
    }
    Ok(!unit_mark::list_cells(records).await?.is_empty())
}

/// Checks that the secret of these settings opens the key that the records of the unit have. Nothing is written.
///
/// # Errors
/// A text for the operator: the secret is missing or another one, or the records cannot be read.
pub async fn check(config: &Config, records: &Records) -> std::result::Result<(), String> {
    let path = config.store.data_dir.join(SECRET_FILE);
    let (secret, subject) = match &config.secrets.secret {
        Some(secret) => (secret.clone(), "security.secret16".to_owned()),
        None => match exists(&path).map_err(|error| chain(&error))? {
            true => {
                let secret = read_secret(&path).map_err(|error| chain(&error))?;
                (secret, path.display().to_string())
            }
            false => {
                let is_lost = needs_secret(records).await;
                let is_lost = is_lost.map_err(|error| chain(&error))?;
                return match is_lost {
                    true => Err(chain(&KeyFileError::MissingSecret { path })),
                    false => Ok(()),
                };
            }
        },
    };
    let keys = local_keys(config, &secret).map_err(|error| chain(&error))?;
    let stored = records.find::<String>(&keys::body_key()).await;
    let stored = stored.map_err(|error| format!("the keys of the unit: {}", chain(&error)))?;
    let Some(stored) = stored else {
        return Ok(());
    };
    match keys.open_body_key(&stored.value) {
        Ok(_) => Ok(()),
        Err(_) => Err(format!(
            "{subject} is not the secret under which the keys and file bodies of this unit are encrypted: restore that one \
             from a back-up of the unit"
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use personium_model::records;
    use personium_store::memory::MemoryRecords;
    use personium_store::{Batch, Space};
    use personium_token::at_rest::BodyKey;

    use super::super::tests::config;
    use super::super::{KeyFileError, prepare};
    use super::*;
    use crate::system;

    const NOW_MS: i64 = 1_800_000_000_000;

    #[tokio::test]
    async fn secret_of_a_unit_with_records_is_neither_made_again_nor_replaced_by_another() {
        let folder = tempfile::tempdir().unwrap();
        let (config, random) = (config(folder.path(), &[]), system::random());
        let records = Records::new(Arc::new(MemoryRecords::new()), Space::Unit);
        check(&config, &records).await.unwrap();
        let prepared = prepare(&config, "unit.example", NOW_MS, &random).unwrap();
        refuse_new(&prepared, &records).await.unwrap();
        prepared.write_files().unwrap();
        let body_key = BodyKey::generate(&random).unwrap();
        let sealed = prepared.keys.local_tokens.seal_body_key(&body_key, &random);
        let mut batch = Batch::new();
        records::put(&mut batch, keys::body_key(), &sealed.unwrap()).unwrap();
        records.commit(batch).await.unwrap();
        let found = records.find::<String>(&keys::body_key()).await;
        assert!(found.unwrap().is_some());
        check(&config, &records).await.unwrap();
        let path = folder.path().join(SECRET_FILE);
        fs::remove_file(&path).unwrap();
        let missing = check(&config, &records).await.unwrap_err();
        assert!(missing.contains("unit.secret is missing"), "{missing}");
        let again = prepare(&config, "unit.example", NOW_MS, &random).unwrap();
        let refused = refuse_new(&again, &records).await.unwrap_err();
        assert!(matches!(refused, KeyFileError::MissingSecret { .. }));
        fs::write(&path, "x".repeat(32)).unwrap();
        let wrong = check(&config, &records).await.unwrap_err();
        assert!(wrong.contains("is not the secret"), "{wrong}");
    }
}
