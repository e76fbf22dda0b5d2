//! A part of the memory of answers.

use std::mem;

use personium_types::{Code, Error, Result};

use super::{AnswerMemoryShort, AnswerShare, UNCOUNTED_ANSWER_BYTES, rounded};

/// The memory that may stay reserved without being held, so that not every change is passed on.
const SLACK_BYTES: usize = 1 << 20;

/// A reserved part of [`super::AnswerMemory`]. It is released when it is dropped.
///
/// It holds what its owner says that is in memory for the answer. Up to [`UNCOUNTED_ANSWER_BYTES`] nothing is reserved.
#[derive(Debug)]
pub struct AnswerReservation {
    share: AnswerShare,
    /// The reserved bytes.
    granted: usize,
    /// The bytes that are in memory.
    held: usize,
}

impl AnswerReservation {
    pub(super) fn new(share: AnswerShare) -> Self {
        Self::granted(share, 0)
    }

    /// A reservation of bytes that were taken from the budget.
    pub(super) fn granted(share: AnswerShare, granted: usize) -> Self {
        Self {
            share,
            granted,
            held: 0,
        }
    }

    /// The budget that it is a part of.
    #[must_use]
    pub fn share(&self) -> &AnswerShare {
        &self.share
    }

    /// Whether something is reserved. If not, there is so little in memory that it need not be counted.
    #[must_use]
    pub fn is_counted(&self) -> bool {
        self.granted > 0
    }

    /// Holds more bytes.
    ///
    /// # Errors
    /// [`Code::ServerBusy`], caused by [`AnswerMemoryShort`], if the memory is not free; [`Code::QueryRefused`] if the answer
    /// needs more than there is for all. Nothing changes then.
    pub fn hold(&mut self, bytes: usize) -> Result<()> {
        let held = self.held.saturating_add(bytes);
        if held > self.granted.max(UNCOUNTED_ANSWER_BYTES) {
            self.extend(held)?;
        }
        self.held = held;
        Ok(())
    }

    /// As [`Self::hold`], but waits for the memory, 5 seconds at most.
    ///
    /// # Errors
    /// [`Code::ServerBusy`]
    pub async fn wait_to_hold(&mut self, bytes: usize) -> Result<()> {
        if self.hold(bytes).is_err() {
            let wanted = rounded(self.held.saturating_add(bytes));
            let missing = wanted.saturating_sub(self.granted);
            let mut more = self.share.wait(missing).await?;
            self.granted += mem::take(&mut more.granted);
            self.held = self.held.saturating_add(bytes);
        }
        Ok(())
    }

    /// Holds more bytes even if they are not free, because they are in memory already.
    pub fn hold_anyway(&mut self, bytes: usize) {
        self.held = self.held.saturating_add(bytes);
        if self.held > self.granted.max(UNCOUNTED_ANSWER_BYTES) {
            let wanted = rounded(self.held);
            let mut state = self.share.budget.state.lock();
            state.add(self.share.space, wanted - self.granted);
            self.granted = wanted;
        }
    }

    /// Holds fewer bytes. They may stay reserved for what follows.
    pub fn free(&mut self, bytes: usize) {
        self.held = self.held.saturating_sub(bytes);
        if self.granted > rounded(self.held) + SLACK_BYTES {
            self.shrink(rounded(self.held) + SLACK_BYTES);
        }
    }

    /// Corrects what it holds: `actual` bytes where `expected` were counted.
    pub fn correct(&mut self, expected: usize, actual: usize) {
        match actual.checked_sub(expected) {
            Some(more) => self.hold_anyway(more),
            None => self.free(expected - actual),
        }
    }

    /// Holds just so many bytes, and releases all others.
    pub fn keep(&mut self, bytes: usize) {
        self.held = 0;
        self.hold_anyway(bytes);
        let kept = match bytes {
            0..=UNCOUNTED_ANSWER_BYTES => 0,
            counted => rounded(counted),
        };
        self.shrink(kept);
    }

    /// Separates a part that is released on its own.
    #[must_use]
    pub fn split(&mut self, bytes: usize) -> Self {
        let granted = bytes.min(self.granted);
        self.granted -= granted;
        self.held = self.held.saturating_sub(bytes);
        Self {
            share: self.share.clone(),
            granted,
            held: bytes,
        }
    }

    /// Reserves `wanted` bytes altogether.
    pub(super) fn extend(&mut self, wanted: usize) -> Result<()> {
        let budget = &self.share.budget;
        let bytes = rounded(wanted);
        if bytes > budget.max_bytes {
            return Err(Code::QueryRefused.into());
        }
        let more = bytes.saturating_sub(self.granted);
        let mut state = budget.state.lock();
        if !state.fits(budget, self.share.space, self.granted, more) {
            let short = AnswerMemoryShort {
                wanted_bytes: wanted,
            };
            return Err(Error::new(Code::ServerBusy).with_source(short));
        }
        state.add(self.share.space, more);
        drop(state);
        self.granted += more;
        Ok(())
    }

    fn shrink(&mut self, granted: usize) {
        let surplus = self.granted.saturating_sub(granted);
        if surplus > 0 {
            self.granted -= surplus;
            self.share.budget.release(self.share.space, surplus);
        }
    }
}

impl Drop for AnswerReservation {
    fn drop(&mut self) {
        self.shrink(0);
    }
}
