//! The record of this process, its renewal, and the observation of the others.

use std::collections::hash_map::Entry;
use std::pin::Pin;
use std::time::{Duration, Instant};

use personium_store::{Batch, CommitSeq, Expect, Record, StoreError};
use personium_types::{Code, Error, Result, ServerNodeId};

use super::agreement::{self, JoinError};
use super::overview::{self, NODES_MAX};
use super::{DEAD_AFTER, RENEWAL_HOLDS, RENEWAL_INTERVAL};
use crate::records::{self, store_error};
use crate::server_node_state::{Observation, Registration, ServerNodeInfo};
use crate::{Unit, keys};

/// The number of attempts to register while others do.
const REGISTRATION_ATTEMPTS: usize = 20;

/// The future of a registration.
type RegistrationFuture<'a> =
    Pin<Box<dyn Future<Output = std::result::Result<ServerNodeId, JoinError>> + Send + 'a>>;

impl Unit {
    /// Sets what operators see of this process. To be called before it registers.
    pub fn set_node_info(&self, info: ServerNodeInfo) {
        *self.server_node().info.lock() = info;
    }

    /// The id under which this process is registered; `None` if it is not.
    #[must_use]
    pub fn node_id(&self) -> Option<ServerNodeId> {
        let registration = *self.server_node().registration.lock();
        registration.map(|registered| registered.id)
    }

    /// Registers this process, unless it is, and returns its id. If the store is not shared, all other server nodes are removed:
    /// they do not run any more.
    ///
    /// # Errors
    /// A failure of the store; an internal error after [`Self::leave`], or if this process differs from server nodes that run
    /// in what all must have in common.
    pub async fn register_node(&self) -> Result<ServerNodeId> {
        self.try_register_node().await.map_err(Error::from)
    }

    /// As [`Self::register_node`].
    pub(super) async fn try_register_node(&self) -> std::result::Result<ServerNodeId, JoinError> {
        let has_left = self.server_node().changing.lock().await;
        // The type of the future is part of those of most requests, whose depth the compiler limits.
        let registering: RegistrationFuture<'_> = Box::pin(self.register(*has_left));
        registering.await
    }

    async fn register(&self, has_left: bool) -> std::result::Result<ServerNodeId, JoinError> {
        if let Some(id) = self.node_id() {
            return Ok(id);
        }
        if has_left {
            return Err(Error::internal("the server node has left the unit").into());
        }
        for _ in 0..REGISTRATION_ATTEMPTS {
            let id = ServerNodeId::random(self.random());
            let info = self.node_info();
            let mut batch = Batch::new();
            self.agree(&mut batch, &info).await?;
            if !self.store().is_shared() {
                for (other, _) in self.list_node_versions().await? {
                    batch.delete(keys::server_node(&other));
                }
            }
            records::put(&mut batch, keys::server_node(&id), &info)?;
            let renewed_at = self.monotonic();
            match self.records().commit(batch).await {
                Ok(_) => {
                    *self.server_node().registration.lock() = Some(Registration { id, renewed_at });
                    return Ok(id);
                }
                // Another one has registered meanwhile.
                Err(StoreError::Conflict) => {}
                Err(other) => return Err(store_error(other).into()),
            }
        }
        Err(Error::from(Code::Conflict).into())
    }

    /// Renews the registration of this process on a shared store. If another server node has found it dead, it registers anew:
    /// then nothing that it claimed belongs to it any more.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn renew_node(&self) -> Result<()> {
        let has_left = self.server_node().changing.lock().await;
        let registered = self.node_id().filter(|_| self.store().is_shared());
        let Some(id) = registered else {
            return Ok(self.register(*has_left).await.map(drop)?);
        };
        let key = keys::server_node(&id);
        let mut batch = Batch::new();
        batch.assert(key.clone(), Expect::Present);
        records::put(&mut batch, key, &self.node_info())?;
        let renewed_at = self.monotonic();
        match self.records().commit(batch).await {
            Ok(_) => {
                *self.server_node().registration.lock() = Some(Registration { id, renewed_at });
                Ok(())
            }
            Err(StoreError::Conflict) => {
                self.forget_registration(&id);
                Ok(self.register(*has_left).await.map(drop)?)
            }
            Err(other) => Err(store_error(other)),
        }
    }

    /// Forgets the registration under an id whose record is gone.
    pub(super) fn forget_registration(&self, id: &ServerNodeId) {
        let mut registration = self.server_node().registration.lock();
        if registration.take_if(|held| held.id == *id).is_some() {
            tracing::warn!(
                server_node.id = %id,
                "other server nodes found this one dead, its work was given up"
            );
        }
    }

    /// Whether this process is registered under this id, and no other server node can have found it dead yet: work that was
    /// claimed under the id may go on.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn confirm_node(&self, id: &ServerNodeId) -> Result<bool> {
        let registered = *self.server_node().registration.lock();
        let Some(held) = registered.filter(|held| held.id == *id) else {
            return Ok(false);
        };
        let age = self.monotonic().saturating_duration_since(held.renewed_at);
        if self.store().is_shared() && age >= RENEWAL_HOLDS {
            let renewing: Pin<Box<dyn Future<Output = Result<()>> + Send + '_>> =
                Box::pin(self.renew_node());
            renewing.await?;
        }
        Ok(self.node_id() == Some(*id))
    }

    /// Looks at the other server nodes, removes the records of those that are dead, and returns their ids.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn remove_dead_nodes(&self) -> Result<Vec<ServerNodeId>> {
        let before = self.monotonic();
        let found = self.list_node_records().await?;
        agreement::report_new(self, &found)?;
        agreement::report_clocks(self, &found)?;
        agreement::report_plugins(self, &found)?;
        overview::count(self, &found)?;
        let versions: Vec<_> = found.iter().map(|(id, r)| (*id, r.version)).collect();
        let mut dead = Vec::new();
        for (id, version) in self.observe(&versions, before) {
            let key = keys::server_node(&id);
            let mut batch = Batch::new();
            batch.assert(key.clone(), Expect::Version(version));
            batch.delete(key);
            match self.records().commit(batch).await {
                Ok(_) => {
                    tracing::warn!(server_node.id = %id, "server node is dead, its work is taken over");
                    dead.push(id);
                }
                // It was renewed, or another server node was faster.
                Err(StoreError::Conflict) => {}
                Err(other) => return Err(store_error(other)),
            }
        }
        Ok(dead)
    }

    /// Notes the versions that were found by a read that began at `before`. Returns those that have not changed for too long.
    fn observe(
        &self,
        found: &[(ServerNodeId, CommitSeq)],
        before: Instant,
    ) -> Vec<(ServerNodeId, CommitSeq)> {
        let (own, now) = (self.node_id(), self.monotonic());
        let last_look = self.server_node().last_look.lock().replace(now);
        let gap = last_look.map_or(Duration::ZERO, |last| {
            before.saturating_duration_since(last)
        });
        // While this process could not look, the others could not renew either, for instance because the store was away.
        let gap = gap.min(RENEWAL_INTERVAL);
        let mut observed = self.server_node().observed.lock();
        observed.retain(|id, _| found.iter().any(|(known, _)| known == id));
        let mut unchanged = Vec::new();
        for &(id, version) in found.iter().filter(|(id, _)| Some(*id) != own) {
            let first = Observation {
                version,
                unchanged: Duration::ZERO,
                is_clock_reported: false,
                renewals_with_other_plugins: 0,
            };
            let seen = match observed.entry(id) {
                Entry::Vacant(new) => {
                    new.insert(first);
                    continue;
                }
                Entry::Occupied(known) => known.into_mut(),
            };
            if seen.version != version {
                (seen.version, seen.unchanged) = (version, Duration::ZERO);
                continue;
            }
            seen.unchanged += gap;
            if seen.unchanged >= DEAD_AFTER {
                unchanged.push((id, version));
            }
        }
        unchanged
    }

    /// The server nodes that run, or were not found dead yet, with the versions of their records.
    pub(super) async fn list_node_versions(&self) -> Result<Vec<(ServerNodeId, CommitSeq)>> {
        let found = self.list_node_records().await?.into_iter();
        Ok(found.map(|(id, record)| (id, record.version)).collect())
    }

    async fn list_node_records(&self) -> Result<Vec<(ServerNodeId, Record)>> {
        let records = self.records();
        let range = keys::server_nodes();
        let found = records.list_records(&range, NODES_MAX).await?.into_iter();
        let ids = found.filter_map(|(key, record)| Some((keys::id_of_server_node(&key)?, record)));
        Ok(ids.collect())
    }

    /// The server nodes that run, or were not found dead yet.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn list_nodes(&self) -> Result<Vec<(ServerNodeId, ServerNodeInfo)>> {
        let found = self.list_node_records().await?.into_iter();
        found
            .map(|(id, record)| Ok((id, records::decode(&record.value)?)))
            .collect()
    }

    /// Whether a server node runs, or was not found dead yet.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn is_node_alive(&self, id: &ServerNodeId) -> Result<bool> {
        if !self.store().is_shared() {
            return Ok(self.node_id() == Some(*id));
        }
        let version = self.records().find_version(&keys::server_node(id)).await?;
        Ok(version.is_some())
    }

    /// Removes the record of this process: everything that it claimed can be taken over at once. To be called when its tasks
    /// have ended and its commits are done.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn leave(&self) -> Result<()> {
        let mut has_left = self.server_node().changing.lock().await;
        *has_left = true;
        let left = self.server_node().registration.lock().take();
        let Some(registered) = left else {
            return Ok(());
        };
        let mut batch = Batch::new();
        batch.delete(keys::server_node(&registered.id));
        self.records().commit(batch).await.map_err(store_error)?;
        Ok(())
    }
}
