//! Locks that serialize login attempts per account.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use personium_types::{Code, Result};

/// The largest number of attempts that wait for the lock of one account.
const MAX_WAITING_PER_ACCOUNT: usize = 1_024;

/// Locks for login attempts, one per account. A lock exists only while an attempt has it or waits for it.
#[derive(Default)]
pub struct AccountLocks(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

/// The lock of one account, released when it is dropped.
pub(crate) struct AccountLock<'a> {
    locks: &'a AccountLocks,
    key: String,
    guard: Option<tokio::sync::OwnedMutexGuard<()>>,
}

impl AccountLocks {
    /// Waits for the lock of an account.
    ///
    /// # Errors
    /// [`Code::ServerBusy`] if too many attempts wait for it already.
    pub(crate) async fn lock(&self, key: String) -> Result<AccountLock<'_>> {
        let mutex = {
            let mut locks = self.0.lock();
            let mutex = locks.entry(key.clone()).or_default();
            if Arc::strong_count(mutex) > MAX_WAITING_PER_ACCOUNT {
                return Err(Code::ServerBusy.into());
            }
            Arc::clone(mutex)
        };
        // Made before the wait, so that a caller that gives up while it waits cleans up as well.
        let mut lock = AccountLock {
            locks: self,
            key,
            guard: None,
        };
        lock.guard = Some(mutex.lock_owned().await);
        Ok(lock)
    }
}

impl Drop for AccountLock<'_> {
    fn drop(&mut self) {
        self.guard = None;
        let mut locks = self.locks.0.lock();
        if locks
            .get(&self.key)
            .is_some_and(|mutex| Arc::strong_count(mutex) == 1)
        {
            locks.remove(&self.key);
        }
    }
}
