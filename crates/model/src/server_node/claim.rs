//! Claims: records in the space of the unit that name the server node which does some work.

use std::pin::Pin;

use bytes::Bytes;
use personium_store::{Batch, CommitSeq, Expect, Key, KeyRange, Record, StoreError};
use personium_types::{CellId, Code, Result, ServerNodeId};

use crate::keys::{self, ControlSet, SetKey};
use crate::records::store_error;
use crate::{Unit, entity};

/// The number of claims that are read at once.
const PAGE_RECORDS: usize = 500;
/// The state of a claim that was taken over from a dead server node, whose late batches may not be refused yet.
const TAKEN_OVER: &[u8] = b"t";
/// The number of times that a claim is put before a refusal becomes an error.
const MAX_ATTEMPTS: usize = 5;

/// A claim that is being put.
type ClaimFuture<'a> = Pin<Box<dyn Future<Output = Result<Claim>> + Send + 'a>>;

/// A record that names the server node which does some work. Its key says which work, and for which cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The key of the record, in the space of the unit.
    pub key: Key,
    /// The server node; `None` if nobody does the work.
    pub owner: Option<ServerNodeId>,
    /// Further properties of the work.
    pub state: Bytes,
    /// The version of the record.
    pub version: CommitSeq,
}

impl Claim {
    /// Decodes a record: the 16 bytes of the id of the server node, and the state. Shorter ones, of earlier versions, name no
    /// server node.
    fn decode(key: Key, record: &Record) -> Self {
        let (id, state) = match record.value.split_first_chunk::<16>() {
            Some((id, _)) => (Some(*id), record.value.slice(16..)),
            None => (None, record.value.clone()),
        };
        Self {
            key,
            owner: id.map(ServerNodeId::from_bytes),
            state,
            version: record.version,
        }
    }
}

/// The value of a claim.
pub(super) fn encode(owner: Option<&ServerNodeId>, state: &[u8]) -> Vec<u8> {
    let id = owner.map_or_else(Vec::new, |id| id.as_bytes().to_vec());
    [id, state.to_vec()].concat()
}

impl Unit {
    /// Whether a claim names this process.
    #[must_use]
    pub fn is_own(&self, claim: &Claim) -> bool {
        claim.owner.is_some() && claim.owner == self.node_id()
    }

    /// The claim with this key.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn find_claim(&self, key: &Key) -> Result<Option<Claim>> {
        let records = self.records();
        let found = records.find_records(std::slice::from_ref(key)).await?;
        let found = found.into_iter().next().flatten();
        Ok(found.map(|record| Claim::decode(key.clone(), &record)))
    }

    /// The claims of a range that this process has or may take over, in an order that differs between server nodes: so several
    /// of them begin to take over at different ones.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn list_free_claims(&self, range: &KeyRange) -> Result<Vec<Claim>> {
        let mut range = range.clone();
        let mut claims = Vec::new();
        loop {
            let records = self.records();
            let found = records.list_records(&range, PAGE_RECORDS).await?;
            let decoded = found.iter();
            claims.extend(decoded.map(|(key, record)| Claim::decode(key.clone(), record)));
            match found.last() {
                Some((last, _)) if found.len() == PAGE_RECORDS => range = range.after(last),
                _ => break,
            }
        }
        if claims.is_empty() {
            return Ok(claims);
        }
        // On a store that is not shared, this removes the server nodes of earlier runs.
        let own = self.register_node().await?;
        // Read after the claims: whoever registers later has none of them.
        let alive = self.list_node_versions().await?;
        let is_free = |claim: &Claim| match claim.owner {
            None => true,
            Some(owner) => owner == own || alive.iter().all(|(id, _)| *id != owner),
        };
        claims.retain(is_free);
        let [first, ..] = *own.as_bytes();
        let middle = usize::from(first) % claims.len().max(1);
        claims.rotate_left(middle);
        Ok(claims)
    }

    /// Claims work for this process, whoever claimed it before. Returns the claim.
    ///
    /// # Errors
    /// A failure of the store.
    pub fn put_claim<'a>(&'a self, key: &'a Key, state: &'static [u8]) -> ClaimFuture<'a> {
        // The type of the future is part of those of most requests, whose depth the compiler limits.
        Box::pin(self.try_put_claim(key, state))
    }

    async fn try_put_claim(&self, key: &Key, state: &'static [u8]) -> Result<Claim> {
        for _ in 0..MAX_ATTEMPTS {
            let id = self.register_node().await?;
            let mut batch = Batch::new();
            batch.assert(keys::server_node(&id), Expect::Present);
            batch.put(key.clone(), encode(Some(&id), state));
            match self.records().commit(batch).await {
                Ok(version) => {
                    return Ok(Claim {
                        key: key.clone(),
                        owner: Some(id),
                        state: Bytes::from_static(state),
                        version,
                    });
                }
                Err(StoreError::Conflict) => self.forget_registration(&id),
                Err(other) => return Err(store_error(other)),
            }
        }
        Err(Code::Conflict.into())
    }

    /// Claims work that nobody has claimed, or takes it over. `None` if another server node has it.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn acquire_claim(&self, key: &Key) -> Result<Option<Claim>> {
        let Some(claim) = self.find_claim(key).await? else {
            let id = self.register_node().await?;
            let mut batch = Batch::new();
            batch.assert(key.clone(), Expect::Absent);
            let claim = Claim {
                key: key.clone(),
                owner: Some(id),
                state: Bytes::new(),
                version: 0,
            };
            return self.replace(claim, batch).await;
        };
        self.take_over(&claim).await
    }

    /// Takes over work from a server node that is dead. `None` if it is not, or the claim has changed. A claim of this process
    /// is returned as it is.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn take_over(&self, claim: &Claim) -> Result<Option<Claim>> {
        self.take_over_as(claim, claim.state.clone()).await
    }

    /// As [`Self::take_over`], with another state.
    pub(crate) async fn take_over_as(&self, claim: &Claim, state: Bytes) -> Result<Option<Claim>> {
        let id = self.register_node().await?;
        if claim.owner == Some(id) && claim.state == state {
            return Ok(Some(claim.clone()));
        }
        let mut batch = Batch::new();
        batch.assert(claim.key.clone(), Expect::Version(claim.version));
        if let Some(owner) = claim.owner.filter(|owner| *owner != id) {
            batch.assert(keys::server_node(&owner), Expect::Absent);
        }
        let taken = Claim {
            owner: Some(id),
            state,
            ..claim.clone()
        };
        self.replace(taken, batch).await
    }

    /// Commits a claim of this process together with a batch of assertions. `None` if one does not hold.
    async fn replace(&self, claim: Claim, assertions: Batch) -> Result<Option<Claim>> {
        let mut batch = assertions;
        if let Some(id) = &claim.owner {
            batch.assert(keys::server_node(id), Expect::Present);
        }
        let value = encode(claim.owner.as_ref(), &claim.state);
        batch.put(claim.key.clone(), value);
        match self.records().commit(batch).await {
            Ok(version) => Ok(Some(Claim { version, ..claim })),
            Err(StoreError::Conflict) => Ok(None),
            Err(other) => Err(store_error(other)),
        }
    }

    /// Takes over work in a cell. Batches of the former server node that assert what they read of the cell before
    /// ([`WorkMark`](super::WorkMark)) are refused from then on. If the cell was removed, the claim is, and `None` is returned.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn take_over_in_cell(&self, claim: &Claim, cell: &CellId) -> Result<Option<Claim>> {
        let mut claim = claim.clone();
        if self.is_own(&claim) && claim.state != TAKEN_OVER {
            return Ok(Some(claim));
        }
        let set = SetKey::control(ControlSet::Cell);
        let known = entity::find(&self.records(), &set, &cell.to_string()).await?;
        if known.is_none() {
            if let Some(taken) = self.take_over(&claim).await? {
                self.release_claim(&taken).await?;
            }
            return Ok(None);
        }
        let (records, key) = (self.cell_records(cell), keys::takeover());
        for _ in 0..MAX_ATTEMPTS {
            let before = records.find_version(&key).await?;
            let state = Bytes::from_static(TAKEN_OVER);
            let Some(taken) = self.take_over_as(&claim, state).await? else {
                return Ok(None);
            };
            let mut batch = Batch::new();
            batch.assert(key.clone(), before.map_or(Expect::Absent, Expect::Version));
            batch.put(key.clone(), encode(taken.owner.as_ref(), &[]));
            match records.commit(batch).await {
                Ok(_) => return Ok(Some(taken)),
                // Other work in the cell was taken over at the same time.
                Err(StoreError::Conflict) => claim = taken,
                Err(other) => return Err(store_error(other)),
            }
        }
        Err(Code::Conflict.into())
    }

    /// Whether a claim of this process is still in force.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn holds(&self, claim: &Claim) -> Result<bool> {
        let Some(owner) = &claim.owner else {
            return Ok(false);
        };
        if !self.confirm_node(owner).await? {
            return Ok(false);
        }
        let found = self.find_claim(&claim.key).await?;
        Ok(found.is_some_and(|found| found.owner.as_ref() == Some(owner)))
    }

    /// Gives a claim of this process to another server node, unless it has changed.
    ///
    /// # Errors
    /// A failure of the store.
    pub(crate) async fn hand_over(&self, claim: &Claim, to: &ServerNodeId) -> Result<()> {
        let mut batch = Batch::new();
        batch.assert(claim.key.clone(), Expect::Version(claim.version));
        batch.put(claim.key.clone(), encode(Some(to), &[]));
        match self.records().commit(batch).await {
            Ok(_) | Err(StoreError::Conflict) => Ok(()),
            Err(other) => Err(store_error(other)),
        }
    }

    /// Removes a claim. `false` if it has changed.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn release_claim(&self, claim: &Claim) -> Result<bool> {
        let mut batch = Batch::new();
        batch.assert(claim.key.clone(), Expect::Version(claim.version));
        batch.delete(claim.key.clone());
        match self.records().commit(batch).await {
            Ok(_) => Ok(true),
            Err(StoreError::Conflict) => Ok(false),
            Err(other) => Err(store_error(other)),
        }
    }
}
