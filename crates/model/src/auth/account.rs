//! Accounts as far as logging in is concerned.

use std::collections::BTreeMap;
use std::sync::Arc;

use personium_odata::body::{Intent, Route};
use personium_odata::conditions::IfMatch;
use personium_odata::key::EntityKey;
use personium_store::Batch;
use personium_token::password::{self, StoredHash};
use personium_token::random::SystemRandom;
use personium_types::{Code, Error, Operation, Result};

use crate::access::{Permit, PermitTarget};
use crate::entity::{self, StoredEntity};
use crate::keys::{self, ControlSet, SetKey};
use crate::odata::{self, Change, ServiceRoot};
use crate::records;
use crate::{Cell, CellContext, Unit};

/// The hidden value that holds the hash of the password.
const HASHED_CREDENTIAL: &str = "HashedCredential";
/// The hidden value that names the algorithm of the hash.
const HASH_ALGORITHM: &str = "HashAlgorithm";
/// The hidden value that holds what the algorithm needs to know.
const HASH_ATTRIBUTES: &str = "HashAttributes";
/// The hidden value that changes whenever tokens given before shall end.
pub const STORED_TOKEN_GENERATION: &str = "TokenEpoch";

/// Whether an account may log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountStatus {
    /// It may.
    Active,
    /// It may not.
    Deactivated,
    /// Only to change its password.
    PasswordChangeRequired,
}

/// What an account says about logging in.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its entity id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The kinds of authentication that it may log in with.
    pub types: Vec<String>,
    /// Whether it may log in.
    pub status: AccountStatus,
    /// From where it may log in; `None` is from everywhere.
    pub ip_range: Option<String>,
    /// The hash of its password, if it has one.
    pub hash: Option<StoredHash>,
    /// Which of its tokens still count; see [`EPOCH`].
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
            token_generation: hidden(STORED_TOKEN_GENERATION),
        })
    }

    /// Whether it may log in with this kind of authentication.
    #[must_use]
    pub fn has_type(&self, wanted: &str) -> bool {
        self.types.iter().any(|t| t == wanted)
    }
}

/// The account of this name, as it is stored now.
pub async fn find(context: &CellContext, name: &str) -> Result<Option<Account>> {
    let set = SetKey::control(ControlSet::Account);
    let found = entity::find_unique(context.records(), &set, 0, &[Some(name)]).await?;
    Ok(found.and_then(|(id, entity)| Account::from_entity(id, &entity.value)))
}

/// The hidden values of an account with this password, to be stored together.
///
/// # Errors
/// 400 if the password has not 1 to 256 characters or breaks the unit's rule; 503 if too much is being hashed.
pub async fn hash_password(
    unit: &Unit,
    cell: &Cell,
    password: String,
) -> Result<BTreeMap<String, String>> {
    unit.settings().auth.password_rule.check(&password)?;
    let keys = Arc::clone(unit.keys());
    let hash = unit
        .hashing()
        .run(cell.id, move || {
            password::hash(&keys.password_hashing, &password, &mut SystemRandom)
        })
        .await?
        .map_err(Error::internal)?;
    let mut hidden = hidden_values(hash);
    hidden.insert(
        STORED_TOKEN_GENERATION.to_owned(),
        uuid::Uuid::new_v4().simple().to_string(),
    );
    Ok(hidden)
}

fn hidden_values(hash: StoredHash) -> BTreeMap<String, String> {
    [
        (HASHED_CREDENTIAL, Some(hash.hashed)),
        (HASH_ALGORITHM, hash.algorithm),
        (HASH_ATTRIBUTES, hash.attributes),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.unwrap_or_default()))
    .collect()
}

/// Gives an account a new password; one that had to change it becomes active.
///
/// # Errors
/// [`Code::PrivilegeLacking`] if there is no such account; see [`hash_password`]. An internal error if the permit is not for
/// this account.
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
    let accepted = odata::accept(&root, &set, body, Intent::Merge, Route::Direct).await?;
    let change = Change {
        accepted,
        intent: Intent::Merge,
        hidden,
        if_match: IfMatch::Any,
    };
    let key = EntityKey::single(name);
    odata::store_change(&root, &set, &key, &change, &|_| Ok(())).await?;
    Ok(())
}

/// Hashes the password of an account again with the settings of today. Nothing happens if the stored hash is not
/// `old` any more.
///
/// # Errors
/// 503 if too much is being hashed; failures of the store.
pub async fn rehash(
    unit: &Unit,
    context: &CellContext,
    account: &Account,
    old: &StoredHash,
    password: String,
) -> Result<()> {
    let keys = Arc::clone(unit.keys());
    let hash = unit
        .hashing()
        .run(context.cell().id, move || {
            password::hash(&keys.password_hashing, &password, &mut SystemRandom)
        })
        .await?
        .map_err(Error::internal)?;
    let values = hidden_values(hash);
    let key = keys::entity(&SetKey::control(ControlSet::Account), &account.id);
    context
        .records()
        .transact(|| async {
            let mut batch = Batch::new();
            if let Some(mut found) = context.records().find::<StoredEntity>(&key).await?
                && found.value.hidden.get(HASHED_CREDENTIAL) == Some(&old.hashed)
            {
                found.value.hidden.extend(values.clone());
                records::put_checked(&mut batch, key.clone(), Some(found.version), &found.value)?;
            }
            Ok((batch, ()))
        })
        .await
}
