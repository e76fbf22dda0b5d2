//! Maintenance: modes in which requests do not change the unit, or the cells of one owner.
//!
//! One record of the unit has them. On a shared store it is read for each request that may change something and never cached: what
//! one process changes, every other honours with its next request. A store that is not shared belongs to one process, which
//! reads the record once.

use std::sync::Arc;

use personium_store::Batch;
use personium_types::{Error, Operation, Result};

pub use crate::known_maintenance::Maintenance;
use crate::records::{Versioned, put_checked};
use crate::{Permit, PermitTarget, Unit, keys};

impl Unit {
    /// The modes that are on.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn maintenance(&self) -> Result<Arc<Maintenance>> {
        if let Some(known) = self.known_modes() {
            return Ok(known);
        }
        let begin = self.known_maintenance().changes();
        let found = self.find_maintenance().await?;
        let found = Arc::new(found.map(|found| found.value).unwrap_or_default());
        if !self.store().is_shared() {
            self.known_maintenance().learn(&found, begin);
        }
        Ok(found)
    }

    /// The modes of maintenance as this process knows them; `None` if it has to read them.
    #[must_use]
    pub fn known_modes(&self) -> Option<Arc<Maintenance>> {
        match self.store().is_shared() {
            true => None,
            false => self.known_maintenance().get(),
        }
    }

    /// Changes the modes by a request. The change goes on, also if the caller does not wait for it.
    ///
    /// # Errors
    /// An internal error if the permit is not for modes; a failure of the store.
    pub async fn change_maintenance_by(
        self: &Arc<Self>,
        permit: &Permit,
        change: impl Fn(&mut Maintenance) + Send + Sync + 'static,
    ) -> Result<()> {
        permit.check(Operation::WriteMaintenance, &PermitTarget::Unit)?;
        let unit = Arc::clone(self);
        // A task of its own: what is known of the modes is forgotten after the commit in any case.
        let changing = tokio::spawn(async move { unit.change_maintenance(change).await });
        match changing.await {
            Ok(changed) => changed.map(drop),
            Err(error) => Err(Error::internal(error)),
        }
    }

    /// Changes the modes, for the operator of the process. Returns those of then.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn change_maintenance(
        &self,
        change: impl Fn(&mut Maintenance) + Sync,
    ) -> Result<Maintenance> {
        let change = &change;
        let build = || async move {
            let found = self.find_maintenance().await?;
            let version = found.as_ref().map(|found| found.version);
            let mut changed = found.map(|found| found.value).unwrap_or_default();
            change(&mut changed);
            let mut batch = Batch::new();
            put_checked(&mut batch, keys::maintenance(), version, &changed)?;
            Ok((batch, changed))
        };
        let changed = self.records().transact(build).await;
        self.known_maintenance().forget();
        changed
    }

    async fn find_maintenance(&self) -> Result<Option<Versioned<Maintenance>>> {
        self.records().find(&keys::maintenance()).await
    }
}
