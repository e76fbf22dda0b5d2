//! The members of a collection that is written, page by page within the memory for answers.

use personium_model::AnswerReservation;
use personium_model::listing::{Member, Members};
use personium_types::Result;

/// The members of a collection that are not written yet.
pub(crate) struct MemberPages {
    members: Members,
    page: std::vec::IntoIter<Member>,
    page_bytes: usize,
}

impl MemberPages {
    /// All these members.
    pub(crate) fn new(members: Members) -> Self {
        Self {
            members,
            page: Vec::new().into_iter(),
            page_bytes: 0,
        }
    }

    /// The next member; `None` after the last one. `memory` holds what was read and not returned.
    ///
    /// # Errors
    /// A failure of the store; a refusal of the memory.
    pub(crate) async fn next(&mut self, memory: &mut AnswerReservation) -> Result<Option<Member>> {
        loop {
            if let Some(member) = self.page.next() {
                return Ok(Some(member));
            }
            memory.free(std::mem::take(&mut self.page_bytes));
            if self.members.is_finished() {
                return Ok(None);
            }
            let page = self.members.next_page().await?;
            let bytes = page
                .iter()
                .map(|m| m.name.len() + 2 * m.node.memory_bytes());
            self.page_bytes = bytes.sum();
            memory.wait_to_hold(self.page_bytes).await?;
            self.page = page.into_iter();
        }
    }
}
