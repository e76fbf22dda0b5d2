//! What a request below a box is about: found when it comes, and found anew whenever a change has to be tried again.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use personium_store::Batch;
use personium_types::{Code, Error, NodeId, Operation, Result};
use tokio::sync::OwnedMutexGuard;

use crate::keys;
use crate::locate::{self, Target};
use crate::node::Kind;
use crate::unit::Invalidation;
use crate::{Access, CellContext, Permit, PostCommit, Unit};

/// A path below a box, and who asks for it.
#[derive(Clone)]
pub struct Resource {
    /// The unit.
    pub unit: Arc<Unit>,
    /// The cell.
    pub context: Arc<CellContext>,
    /// Who asks.
    pub access: Access,
    /// The box, as the path names it.
    pub box_name: String,
    /// Where the box must be this one, whatever has its name.
    pub box_id: Option<NodeId>,
    /// The decoded segments below the box.
    pub segments: Vec<String>,
    /// The URL of the request, for messages.
    pub url: String,
}

impl Resource {
    /// Finds what the path leads to.
    ///
    /// # Errors
    /// 404 if the box does not exist.
    pub async fn locate(&self) -> Result<Target> {
        self.locate_in(&self.context, &self.segments).await
    }

    pub(crate) async fn locate_in(
        &self,
        context: &Arc<CellContext>,
        segments: &[String],
    ) -> Result<Target> {
        let found = match &self.box_id {
            Some(id) => context.find_box_by_id(id).await?,
            None => context.find_box(&self.box_name).await?,
        };
        let Some(found) = found else {
            let cell = self.unit.urls().cell(&context.cell().name);
            return Err(Error::new(Code::NoSuchBox).with(cell + &self.box_name));
        };
        locate::locate(context, &found, segments).await
    }

    /// Finds what the path leads to, builds a batch from it and commits that; on a conflict does it all again from
    /// what is stored then, the access check in `build` included.
    ///
    /// What is cached about the cell is dropped if `invalidation` says so, or if the path leads to anything but a file.
    pub(crate) async fn change<T, F, Fut>(&self, invalidation: Invalidation, build: F) -> Result<T>
    where
        F: Fn(Target) -> Fut,
        Fut: Future<Output = Result<(Batch, T)>>,
    {
        let nothing_more = |target| {
            let built = build(target);
            async move {
                let (batch, out) = built.await?;
                Ok((batch, PostCommit::none(), out))
            }
        };
        self.change_with(invalidation, nothing_more).await
    }

    /// As [`Self::change`], with more that follows; see [`Unit::transact_with`].
    pub(crate) async fn change_with<T, F, Fut>(
        &self,
        invalidation: Invalidation,
        build: F,
    ) -> Result<T>
    where
        F: Fn(Target) -> Fut,
        Fut: Future<Output = Result<(Batch, PostCommit, T)>>,
    {
        let again = AtomicBool::new(false);
        let attempt = || async {
            let context = self
                .current_view(again.swap(true, Ordering::AcqRel))
                .await?;
            let target = self.locate_in(&context, &self.segments).await?;
            let invalidation = match target.exists() && target.node().value().kind != Kind::File {
                true => Invalidation::Cell,
                false => invalidation,
            };
            let (batch, more, out) = build(target).await?;
            Ok((
                batch,
                PostCommit::invalidating(context.cell(), invalidation).and(more),
                out,
            ))
        };
        let records = self.context.records();
        self.unit.transact_with(records, attempt).await
    }

    async fn current_view(&self, again: bool) -> Result<Arc<CellContext>> {
        if !again {
            return Ok(Arc::clone(&self.context));
        }
        let cell = self.context.cell();
        self.unit.invalidate_cell(cell);
        let found = self.unit.find_cell_by_id(&cell.id).await?;
        found.ok_or_else(|| Code::NoSuchCell.into())
    }

    /// Waits for the turn to add a member to a collection that is nearly full; `None` if it is not.
    pub(crate) async fn turn(&self, target: &Target) -> Result<Option<OwnedMutexGuard<()>>> {
        let parent = target.node().value().id;
        let max = self.unit.settings().dav.children_max;
        let count = target
            .context
            .records()
            .counter(&keys::child_count(&parent))
            .await?;
        if count < exact_from(max) {
            return Ok(None);
        }
        Ok(self.unit.node_locks().wait(&parent).await)
    }

    /// Checks that the request may do an operation to what the path leads to, and gives the permit.
    ///
    /// # Errors
    /// See [`Target::permit`].
    pub fn permit(&self, target: &Target, operation: Operation) -> Result<Permit> {
        target.permit(self.unit.urls(), &self.access, operation)
    }

    /// 404 for this resource.
    #[must_use]
    pub fn not_found(&self) -> Error {
        Error::new(Code::NoSuchResource).with(&self.url)
    }

    /// 409 for a path whose collection after the found ones is missing.
    #[must_use]
    pub fn no_parent(&self, target: &Target) -> Error {
        let used = self.segments.len().saturating_sub(target.rest.len());
        let known = self.segments.get(..=used).unwrap_or(&self.segments);
        let mut url = self.unit.urls().cell(&self.context.cell().name) + &self.box_name;
        for segment in known {
            url.push('/');
            url.push_str(segment);
        }
        Error::new(Code::NoParent).with(url)
    }
}

/// The number of members from which on the count is asserted, so that the limit is exact: as far below it as requests
/// may be adding members at one time.
fn exact_from(max: i64) -> i64 {
    max.saturating_sub(512)
}

/// Adds to a batch that a collection gets one more member; `true` if the batch depends on how many there are.
///
/// # Errors
/// 400 if it has as many as it may have.
pub(crate) async fn add_member(
    target: &Target,
    parent: &NodeId,
    max: i64,
    batch: &mut Batch,
) -> Result<bool> {
    let key = keys::child_count(parent);
    let (count, state) = target.context.records().counter_state(&key).await?;
    if count >= max {
        return Err(Code::TooManyChildren.into());
    }
    let exact = count >= exact_from(max);
    if exact {
        batch.assert(key.clone(), state);
    }
    batch.add(key, 1);
    Ok(exact)
}
