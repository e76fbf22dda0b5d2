//! The target of a request below a box, which is located again for each attempt of a change.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use personium_store::Batch;
use personium_types::name::MemberName;
use personium_types::preconditions::{Outcome, RequestKind, ResourceState};
use personium_types::{Code, ETag, Error, NodeId, Operation, Preconditions, Result};
use tokio::sync::OwnedMutexGuard;

use crate::commit::Invalidation;
use crate::event::{EventCause, EventSource};
use crate::keys;
use crate::locate::{self, Prefetch, Target};
use crate::node::NodeKind;
use crate::records::counter_of;
use crate::url::LOCAL_CELL;
use crate::{Access, CellContext, Permit, PostCommit, PostedEvent, Unit};

/// A path below a box, with the access of the request.
#[derive(Clone)]
pub struct Resource {
    /// The unit.
    pub unit: Arc<Unit>,
    /// The cell.
    pub context: Arc<CellContext>,
    /// The access of the request.
    pub access: Access,
    /// The name of the box in the path.
    pub box_name: String,
    /// The id of the box, if it is to be found by id instead of by name.
    pub box_id: Option<NodeId>,
    /// The decoded segments below the box.
    pub segments: Vec<String>,
    /// The URL of the request, for messages.
    pub url: String,
    /// The conditions of the request for its target.
    pub conditions: Preconditions,
    /// The record that is read together with each of its nodes.
    pub prefetch: Prefetch,
    /// The cause of the events that the request posts; `None` if nobody listens.
    pub events: Option<Arc<EventCause>>,
}

impl Resource {
    /// The event of the unit about an action on a node of this kind at the path, if somebody may listen to it. There are none of
    /// the sources of services.
    #[must_use]
    pub fn event(&self, kind: NodeKind, action: &str, status: u16) -> Option<PostedEvent> {
        let cause = self.events.as_deref()?;
        let name = match kind {
            NodeKind::Cell | NodeKind::Box => "box",
            NodeKind::Collection => "webdavcol",
            NodeKind::Odata => "odatacol",
            NodeKind::Service => "servicecol",
            NodeKind::Stream => "streamcol",
            NodeKind::File => "davfile",
        };
        let object = || {
            let mut object = format!("{LOCAL_CELL}/{}", self.box_name);
            for segment in &self.segments {
                object.push('/');
                object.push_str(segment);
            }
            object
        };
        cause.event(format!("{name}.{action}"), object, || status.to_string())
    }

    /// As [`Self::event`], about the deepest node of the target.
    pub(crate) fn event_about(
        &self,
        target: &Target,
        action: &str,
        status: u16,
    ) -> Option<PostedEvent> {
        if self.events.is_none() || target.is_service_source() || target.is_in_service_source() {
            return None;
        }
        self.event(target.node().value().kind, action, status)
    }
    /// Locates the target of the path.
    ///
    /// # Errors
    /// [`Code::NoSuchBox`] if the box does not exist; a failure of the store.
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
        locate::locate_with(context, &found, segments, self.prefetch).await
    }

    /// Checks that no other process has changed the structure of the cell before the request began. To be called before anything
    /// that cannot be done again.
    ///
    /// # Errors
    /// [`Code::ServerBusy`] if one has: the request must begin again. A failure of the store.
    pub async fn check_current(&self) -> Result<()> {
        match self.unit.is_current(&self.context).await? {
            true => Ok(()),
            false => Err(Code::ServerBusy.into()),
        }
    }

    /// Locates the target, builds a batch from it and commits that. After a conflict all of this is repeated from the
    /// records of then, including the access check in `build`.
    ///
    /// The context of the cell is invalidated if `invalidation` says so, or if the path leads to anything but a file.
    pub(crate) async fn change<T, F, Fut>(&self, invalidation: Invalidation, build: F) -> Result<T>
    where
        F: Fn(Target) -> Fut,
        Fut: Future<Output = Result<(Batch, T)>>,
    {
        let without_actions = |target| {
            let built = build(target);
            async move {
                let (batch, out) = built.await?;
                Ok((batch, PostCommit::none(), out))
            }
        };
        self.change_from(None, invalidation, without_actions).await
    }

    /// As [`Self::change_with`]. The first attempt begins with a target that was just located.
    pub(crate) async fn change_from<T, F, Fut>(
        &self,
        located: Option<Target>,
        invalidation: Invalidation,
        build: F,
    ) -> Result<T>
    where
        F: Fn(Target) -> Fut,
        Fut: Future<Output = Result<(Batch, PostCommit, T)>>,
    {
        let located = Mutex::new(located);
        let is_retry = AtomicBool::new(false);
        let attempt = || async {
            let context = match is_retry.swap(true, Ordering::AcqRel) {
                true => self.reload_context().await?,
                false => Arc::clone(&self.context),
            };
            let located = located.lock().take();
            let target = match located {
                Some(target) => target,
                None => self.locate_in(&context, &self.segments).await?,
            };
            let invalidation = match target.exists() && target.node().value().kind != NodeKind::File
            {
                true => Invalidation::Cell,
                false => invalidation,
            };
            let (mut batch, actions, out) = build(target).await?;
            let actions = self.add_events(&context, &mut batch, actions).await?;
            Ok((
                batch,
                PostCommit::invalidating(context.cell(), invalidation).and(actions),
                out,
            ))
        };
        let records = self.context.records();
        self.unit.transact_with(records, attempt).await
    }

    /// As [`Self::change`], with post-commit actions and events; see [`Unit::transact_with`].
    pub(crate) async fn change_with<T, F, Fut>(
        &self,
        invalidation: Invalidation,
        build: F,
    ) -> Result<T>
    where
        F: Fn(Target) -> Fut,
        Fut: Future<Output = Result<(Batch, PostCommit, T)>>,
    {
        self.change_from(None, invalidation, build).await
    }

    /// Adds to a batch the consequences of the events that it causes.
    async fn add_events(
        &self,
        context: &CellContext,
        batch: &mut Batch,
        mut actions: PostCommit,
    ) -> Result<PostCommit> {
        let events = actions.take_events();
        let (Some(cause), false) = (self.events.as_deref(), events.is_empty()) else {
            return Ok(actions);
        };
        let source = EventSource {
            unit: &self.unit,
            context,
            records: context.records(),
            cause,
        };
        // Boxed, because few changes have events.
        let consequences = Box::pin(source.add(batch, events)).await?;
        Ok(actions.and(consequences))
    }

    async fn reload_context(&self) -> Result<Arc<CellContext>> {
        let cell = self.context.cell();
        self.unit.invalidate_cell(cell);
        let found = self.unit.find_cell_by_id(&cell.id).await?;
        found.ok_or_else(|| Code::NoSuchCell.into())
    }

    /// Locks a collection that gets a member, if it is nearly full: then concurrent changes would conflict.
    pub(crate) async fn lock_if_nearly_full(
        &self,
        target: &Target,
    ) -> Result<Option<OwnedMutexGuard<()>>> {
        let parent = target.node().value().id;
        let max = self.unit.settings().dav.children_max;
        let count_key = keys::child_count(&parent);
        let count = match target.prefetched(&count_key) {
            Some(record) => counter_of(record).0,
            None => target.context.records().counter(&count_key).await?,
        };
        if count < exact_from(max) {
            return Ok(None);
        }
        Ok(self.unit.limits().node_locks.lock(&parent).await)
    }

    /// Checks that the request may do an operation to the target, and returns the permit.
    ///
    /// # Errors
    /// See [`Target::permit`].
    pub fn permit(&self, target: &Target, operation: Operation) -> Result<Permit> {
        target.permit(self.unit.urls(), &self.access, operation)
    }

    /// Checks the conditions of a request that changes something, against the current state of its target: the deepest node
    /// if the whole path was found.
    ///
    /// # Errors
    /// [`Code::DavTagMismatch`] if a condition is false.
    pub fn check_conditions(&self, target: &Target) -> Result<()> {
        let tag = target.exists().then(|| target.node().value().etag());
        check_node(&self.conditions, tag)
    }

    /// [`Code::NoSuchResource`] for this resource.
    #[must_use]
    pub fn not_found(&self) -> Error {
        Error::new(Code::NoSuchResource).with(&self.url)
    }

    /// [`Code::NoParent`] with the URL of the first collection of the path that is missing.
    #[must_use]
    pub fn no_parent(&self, target: &Target) -> Error {
        let found = self.segments.len().saturating_sub(target.rest.len());
        let up_to_missing = self.segments.get(..=found).unwrap_or(&self.segments);
        let mut url = self.unit.urls().cell(&self.context.cell().name) + &self.box_name;
        for segment in up_to_missing {
            url.push('/');
            url.push_str(segment);
        }
        Error::new(Code::NoParent).with(url)
    }
}

/// Checks the conditions of a request that changes a node, or makes one where there is none.
///
/// # Errors
/// [`Code::DavTagMismatch`] if a condition is false.
pub(crate) fn check_node(conditions: &Preconditions, tag: Option<ETag>) -> Result<()> {
    match conditions.evaluate(RequestKind::Write, ResourceState::of_node(tag)) {
        Outcome::Failed => Err(Code::DavTagMismatch.into()),
        Outcome::Proceed | Outcome::NotModified => Ok(()),
    }
}

/// The name of a new member of a collection, from a decoded path segment.
///
/// # Errors
/// [`Code::ResourceName`]
pub(crate) fn member_name(segment: &str) -> Result<MemberName> {
    segment.parse().map_err(|_| Code::ResourceName.into())
}

/// The largest number of members that concurrent requests may add to a collection.
const CONCURRENT_ADDITIONS_MAX: i64 = 512;

/// The number of members from which on batches assert the count, so that the limit is exact. It is less than the limit by the
/// largest number of members that concurrent requests may add.
fn exact_from(max: i64) -> i64 {
    max.saturating_sub(CONCURRENT_ADDITIONS_MAX)
}

/// Adds to a batch that a collection gets one more member. Returns whether the batch asserts the number of members.
///
/// # Errors
/// [`Code::TooManyChildren`] if the collection is full; a failure of the store.
pub(crate) async fn add_member(
    target: &Target,
    parent: &NodeId,
    max: i64,
    batch: &mut Batch,
) -> Result<bool> {
    let key = keys::child_count(parent);
    let (count, state) = match target.prefetched(&key) {
        Some(record) => counter_of(record),
        None => target.context.records().counter_state(&key).await?,
    };
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
