//! The login data of accounts.

use std::collections::BTreeMap;
use std::sync::Arc;

use personium_odata::body::{Intent, Route};
use personium_odata::key::EntityKey;
use personium_store::Batch;
use personium_token::password::{self, StoredHash};
use personium_types::{Code, Error, Operation, Preconditions, Result};

use crate::access::{Permit, PermitTarget};
use crate::cell_context::TOKEN_GENERATION;
use crate::entity::{self, StoredEntity};
use crate::keys::{self, ControlSet, SetKey};
use crate::odata::{self, Change, EntityRef, ServiceRoot};
use crate::records;
use crate::{Cell, CellContext, Unit};

/// The hidden value with the hash of the password.
const HASHED_CREDENTIAL: &str = "HashedCredential";
/// The hidden value with the algorithm of the hash.
const HASH_ALGORITHM: &str = "HashAlgorithm";
/// The hidden value with the parameters of the algorithm.
const HASH_ATTRIBUTES: &str = "HashAttributes";

/// The status of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountStatus {
    /// It may log in.
    Active,
    /// It may not log in.
    Deactivated,
    /// It may only log in to change its password.
    PasswordChangeRequired,
}

/// The login data of an account.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its entity id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The types of authentication that it may log in with.
    pub types: Vec<String>,
    /// Its status.
    pub status: AccountStatus,
    /// The client addresses from which it may log in; see [`super::ip_range`]. `None` allows all.
    pub ip_range: Option<String>,
    /// The hash of its password, if it has one.
    pub hash: Option<StoredHash>,
    /// The token generation; see [`TOKEN_GENERATION`].
    pub token_generation: Option<String>,
}

impl Account {
    fn from_entity(id: String, entity: &StoredEntity) -> Option<Self> {
        let hidden = |name: &str| entity.hidden.get(name).filter(|v| !v.is_empty()).cloned();
        Some(Self {
            id,
            name: entity.text("Name")?,
            types: entity
                .text("Type")
                .unwrap_or_else(|| "basic".to_owned())
                .split(' ')
                .map(str::to_owned)
                .collect(),
            status: match entity.text("Status").as_deref() {
                Some("deactivated") => AccountStatus::Deactivated,
                Some("passwordChangeRequired") => AccountStatus::PasswordChangeRequired,
                _ => AccountStatus::Active,
            },
            ip_range: entity.text("IPAddressRange"),
            hash: hidden(HASHED_CREDENTIAL).map(|hashed| StoredHash {
                hashed,
                algorithm: hidden(HASH_ALGORITHM),
                attributes: hidden(HASH_ATTRIBUTES),
            }),
            token_generation: hidden(TOKEN_GENERATION),
        })
    }

    /// Whether it may log in with this type of authentication.
    #[must_use]
    pub fn has_type(&self, wanted: &str) -> bool {
        self.types.iter().any(|t| t == wanted)
    }
}

/// Finds an account by its name, as it is stored now (not cached).
///
/// # Errors
/// Failures of the store.
pub async fn find(context: &CellContext, name: &str) -> Result<Option<Account>> {
    let set = SetKey::control(ControlSet::Account);
    let found = entity::find_unique(context.records(), &set, 0, &[Some(name)]).await?;
    Ok(found.and_then(|(id, entity)| Account::from_entity(id, &entity.value)))
}

/// Hashes a new password. Returns the hidden values of the account that are stored together, with a new token
/// generation.
///
/// # Errors
/// [`Code::PasswordFormat`] if the password breaks the unit's rule; [`Code::ServerBusy`] if the hashing queue is full.
pub async fn hash_password(
    unit: &Unit,
    cell: &Cell,
    password: String,
) -> Result<BTreeMap<String, String>> {
    unit.settings().auth.password_rule.check(&password)?;
    let mut hidden = hash(unit, cell, password).await?;
    hidden.insert(
        TOKEN_GENERATION.to_owned(),
        unit.random().uuid().simple().to_string(),
    );
    Ok(hidden)
}

/// Hashes a password in the thread pool. Returns the hidden values of the hash.
async fn hash(unit: &Unit, cell: &Cell, password: String) -> Result<BTreeMap<String, String>> {
    let (keys, random) = (Arc::clone(unit.keys()), Arc::clone(unit.random()));
    let hash = unit
        .credentials()
        .hashing
        .run(cell.id, move || {
            password::hash(&keys.password_hashing, &password, &random)
        })
        .await?
        .map_err(Error::internal)?;
    let values = [
        (HASHED_CREDENTIAL, Some(hash.hashed)),
        (HASH_ALGORITHM, hash.algorithm),
        (HASH_ATTRIBUTES, hash.attributes),
    ];
    Ok(values
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.unwrap_or_default()))
        .collect())
}

/// Sets a new password. An account that had to change its password becomes active.
///
/// # Errors
/// [`Code::PrivilegeLacking`] if there is no such account; [`Code::Unknown`] if the permit is not for this account;
/// otherwise as [`hash_password`].
pub async fn change_password(
    unit: &Arc<Unit>,
    context: &Arc<CellContext>,
    permit: &Permit,
    name: &str,
    password: &str,
) -> Result<()> {
    let target = PermitTarget::Account {
        cell: context.cell().id,
        name: name.to_owned(),
    };
    permit.check(Operation::ChangeOwnPassword, &target)?;
    let hidden = hash_password(unit, context.cell(), password.to_owned()).await?;
    let account = find(context, name).await?.ok_or(Code::PrivilegeLacking)?;
    let root = ServiceRoot::of_cell(Arc::clone(unit), Arc::clone(context));
    let set = root.set(ControlSet::Account.name())?;
    let body: &[u8] = if account.status == AccountStatus::PasswordChangeRequired {
        b"{\"Status\":\"active\"}"
    } else {
        b"{}"
    };
    let body = odata::validate(&root, &set, body, Intent::Merge, Route::Direct).await?;
    let change = Change {
        body,
        intent: Intent::Merge,
        hidden,
        conditions: Preconditions::default(),
    };
    let key = EntityKey::single(name);
    odata::store_change(
        &root,
        EntityRef {
            set: &set,
            key: &key,
        },
        &change,
        &|_| Ok(()),
    )
    .await?;
    Ok(())
}

/// Hashes the password of an account again with the current settings. Does nothing if the stored hash is not `old`
/// any more.
///
/// # Errors
/// [`Code::ServerBusy`] if the hashing queue is full; failures of the store.
pub async fn rehash(
    unit: &Unit,
    context: &CellContext,
    account: &Account,
    old: &StoredHash,
    password: String,
) -> Result<()> {
    let values = hash(unit, context.cell(), password).await?;
    let key = keys::entity(&SetKey::control(ControlSet::Account), &account.id);
    // A login does not fail because of a quota.
    context
        .records()
        .without_limit()
        .transact(|| async {
            let mut batch = Batch::new();
            if let Some(mut found) = context.records().find::<StoredEntity>(&key).await?
                && found.value.hidden.get(HASHED_CREDENTIAL) == Some(&old.hashed)
            {
                found.value.hidden.extend(values.clone());
                let read = Some((found.version, found.bytes));
                records::put_entity_checked(&mut batch, key.clone(), read, &found.value)?;
            }
            Ok((batch, ()))
        })
        .await
}
