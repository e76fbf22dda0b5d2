//! The memory of all calls together, and the limits of one call.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wasmtime::ResourceLimiter;

/// The largest number of elements of all tables of a call.
const MAX_TABLE_ELEMENTS: usize = 200_000;
/// The largest number of core instances, of tables and of memories of a call.
const MAX_PARTS: usize = 128;

/// The purpose of calls. Those for one cannot take the memory of those for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemoryUse {
    /// Log-ins.
    Logins,
    /// Scripts.
    Scripts,
}

/// The memory that all calls of a process may have together for one use.
#[derive(Debug)]
pub(crate) struct MemoryBudget {
    free_bytes: AtomicUsize,
}

impl MemoryBudget {
    /// A budget of this size.
    pub(crate) fn new(bytes: usize) -> Arc<Self> {
        let free_bytes = AtomicUsize::new(bytes);
        Arc::new(Self { free_bytes })
    }

    fn take(&self, bytes: usize) -> bool {
        let less = |free: usize| free.checked_sub(bytes);
        self.free_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_ok()
    }

    /// The bytes that are left.
    #[cfg(test)]
    pub(crate) fn free_bytes(&self) -> usize {
        self.free_bytes.load(Ordering::Relaxed)
    }

    fn give_back(&self, bytes: usize) {
        self.free_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// The limits of one call. Its memory is given back when it is dropped.
#[derive(Debug)]
pub(crate) struct CallLimits {
    budget: Arc<MemoryBudget>,
    max_bytes: usize,
    used_bytes: usize,
    table_elements: usize,
    /// The calls of this moment together have no memory left.
    is_budget_exhausted: bool,
    /// The call has asked for more than its own limit.
    is_over_limit: bool,
}

impl CallLimits {
    /// The limits of a call that may use so much memory.
    pub(crate) fn new(budget: &Arc<MemoryBudget>, max_bytes: usize) -> Self {
        Self {
            budget: Arc::clone(budget),
            max_bytes,
            used_bytes: 0,
            table_elements: 0,
            is_budget_exhausted: false,
            is_over_limit: false,
        }
    }

    /// Whether the call got no memory because other calls have it.
    pub(crate) fn is_budget_exhausted(&self) -> bool {
        self.is_budget_exhausted
    }

    /// Whether the call has asked for more memory than it may have.
    pub(crate) fn is_over_limit(&self) -> bool {
        self.is_over_limit
    }
}

impl Drop for CallLimits {
    fn drop(&mut self) {
        self.budget.give_back(self.used_bytes);
    }
}

impl ResourceLimiter for CallLimits {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        if self.used_bytes.saturating_add(more) > self.max_bytes {
            self.is_over_limit = true;
            return Ok(false);
        }
        if !self.budget.take(more) {
            self.is_budget_exhausted = true;
            return Ok(false);
        }
        self.used_bytes += more;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        if self.table_elements.saturating_add(more) > MAX_TABLE_ELEMENTS {
            self.is_over_limit = true;
            return Ok(false);
        }
        self.table_elements += more;
        Ok(true)
    }

    fn instances(&self) -> usize {
        MAX_PARTS
    }

    fn tables(&self) -> usize {
        MAX_PARTS
    }

    fn memories(&self) -> usize {
        MAX_PARTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_share_a_budget_and_give_back_what_they_had() {
        let budget = MemoryBudget::new(100);
        let mut first = CallLimits::new(&budget, 80);
        assert!(first.memory_growing(0, 50, None).unwrap());
        assert!(!first.memory_growing(50, 81, None).unwrap());
        assert!(first.is_over_limit() && !first.is_budget_exhausted());
        let mut second = CallLimits::new(&budget, 80);
        assert!(!second.memory_growing(0, 51, None).unwrap());
        assert!(second.is_budget_exhausted() && !second.is_over_limit());
        assert!(second.memory_growing(0, 50, None).unwrap());
        drop(first);
        assert!(second.memory_growing(50, 80, None).unwrap());
        assert!(
            !second
                .table_growing(0, MAX_TABLE_ELEMENTS + 1, None)
                .unwrap()
        );
        drop(second);
        assert!(budget.take(100));
        assert!(!budget.take(1));
    }
}
