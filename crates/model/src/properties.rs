//! Dead properties and access control lists of cells, boxes, collections and files.

use personium_dav::proppatch::{DeadProperty, PropPatch, PropertyChange};
use personium_store::Batch;
use personium_types::{Code, ETag, Error, Operation, Preconditions, Result};

use crate::commit::Invalidation;
use crate::event::{EventCause, EventSource};
use crate::keys;
use crate::locate::{Located, Target};
use crate::node::{Node, NodeKind};
use crate::records::put_checked;
use crate::resource::check_node;
use crate::url::LOCAL_CELL;
use crate::{
    Access, Acl, CellContext, Permit, PermitTarget, PostCommit, Resource, Unit, service_subject,
    stream,
};

/// Changes dead properties of a box, collection or file in the order of the request, and returns its ETag. A request with a
/// protected property changes nothing.
///
/// # Errors
/// The refusals of [`Target::permit`]; [`Code::NoSuchResource`] if the resource does not exist, [`Code::MethodNotAllowed`] for
/// the source collection of a service, [`Code::BodyTooLarge`] if the resource would have too many properties; the code of the missing
/// privilege if a service is to act as another account and the request may not change accounts.
pub async fn patch(resource: &Resource, patch: &PropPatch) -> Result<ETag> {
    let change = |target: Target| async move {
        let permit = permit(resource, &target, Operation::WriteProperties)?;
        resource.check_conditions(&target)?;
        let mut batch = Batch::new();
        target.assert_ancestors(&mut batch);
        let mut node = target.node().value().clone();
        let permit_target = target.permit_target();
        let mut post_commit = PostCommit::none();
        if apply(&permit, &permit_target, &mut node, patch, &resource.unit)? {
            let before = Some(target.node().value());
            service_subject::check(resource, &target, before, &node)?;
            put_node(&mut batch, target.node(), &node)?;
            post_commit = post_commit.posting(resource.event_about(&target, "proppatch", 207));
        }
        Ok((batch, post_commit, node.etag()))
    };
    resource.change_with(Invalidation::None, change).await
}

/// Replaces the access control list of a box, collection or file, and returns its ETag.
///
/// # Errors
/// The refusals of [`Target::permit`]; [`Code::NoSuchResource`] if the resource does not exist, [`Code::MethodNotAllowed`] or
/// [`Code::CollectionExists`] for the sources of a service.
pub async fn set_acl(resource: &Resource, acl: &Acl) -> Result<ETag> {
    let change = |target: Target| async move {
        let permit = permit(resource, &target, Operation::WriteAcl)?;
        if target.is_in_service_source() {
            return Err(Code::CollectionExists.into());
        }
        resource.check_conditions(&target)?;
        let mut batch = Batch::new();
        target.assert_ancestors(&mut batch);
        let mut node = target.node().value().clone();
        let etag = replace_acl(&permit, &target.permit_target(), &mut node, acl)?;
        put_node(&mut batch, target.node(), &node)?;
        let event = resource.event_about(&target, "acl", 200);
        Ok((batch, PostCommit::none().posting(event), etag))
    };
    resource.change_with(Invalidation::None, change).await
}

/// Sets the properties and the access control list of a box, collection or file that an archive describes. Unlike
/// [`patch`] and [`set_acl`] this includes the sources of services.
///
/// # Errors
/// The refusals of [`Target::permit`]; [`Code::NoSuchResource`] if the resource does not exist; [`Code::BodyTooLarge`] if it
/// would have too many properties.
pub async fn set_described(
    resource: &Resource,
    acl: Option<&Acl>,
    properties: &[DeadProperty],
) -> Result<()> {
    let change = |target: Target| async move {
        let mut batch = Batch::new();
        target.assert_ancestors(&mut batch);
        let mut node = target.node().value().clone();
        if !target.exists() {
            return Err(resource.not_found());
        }
        if let Some(acl) = acl {
            let permit = resource.permit(&target, Operation::WriteAcl)?;
            replace_acl(&permit, &target.permit_target(), &mut node, acl)?;
        }
        if !properties.is_empty() {
            resource.permit(&target, Operation::WriteProperties)?;
            add_properties(&mut node, properties, &resource.unit)?;
        }
        put_node(&mut batch, target.node(), &node)?;
        Ok((batch, ()))
    };
    resource.change(Invalidation::None, change).await
}

fn add_properties(node: &mut Node, properties: &[DeadProperty], unit: &Unit) -> Result<()> {
    for property in properties {
        node.properties
            .insert(property.key.clone(), property.xml.clone());
    }
    check_size(node, unit)?;
    node.version += 1;
    node.updated = unit.now_ms();
    Ok(())
}

/// A request to change a cell itself.
#[derive(Clone, Copy)]
pub struct CellChange<'a> {
    /// The access of the request.
    pub access: &'a Access,
    /// Its conditions.
    pub conditions: &'a Preconditions,
    /// The cause of the events that it posts; `None` if nobody listens.
    pub events: Option<&'a EventCause>,
}

/// Changes dead properties of a cell as [`patch`] does, and returns its ETag. Only a unit user who manages the cell may do so.
///
/// # Errors
/// The refusals of [`Access::permit_manage`]; [`Code::BodyTooLarge`] if the cell would have too many properties.
pub async fn patch_cell(
    unit: &Unit,
    context: &CellContext,
    change: &CellChange<'_>,
    patch: &PropPatch,
) -> Result<ETag> {
    let CellChange {
        access,
        conditions,
        events,
    } = *change;
    let change = || async {
        let permit =
            access.permit_manage(unit.urls(), context.cell(), Operation::WriteCellProperties)?;
        let mut batch = Batch::new();
        let (mut node, version) = current_cell_node(context).await?;
        check_node(conditions, Some(node.etag()))?;
        let mut post_commit = invalidated(context);
        let before = node.clone();
        if apply(&permit, &cell_target(context), &mut node, patch, unit)? {
            node.count_put(Some(&before), &mut batch);
            put_checked(&mut batch, keys::cell_node(), version, &node)?;
            let added = add_event(unit, context, &mut batch, events, ("cell.proppatch", "207"));
            post_commit = post_commit.and(added.await?);
        }
        Ok((batch, post_commit, node.etag()))
    };
    unit.transact_with(context.records(), change).await
}

/// Replaces the access control list of a cell, and returns its ETag.
///
/// # Errors
/// The refusals of [`Access::permit_cell`]; a failure of the store.
pub async fn set_cell_acl(
    unit: &Unit,
    context: &CellContext,
    change: &CellChange<'_>,
    acl: &Acl,
) -> Result<ETag> {
    let CellChange {
        access,
        conditions,
        events,
    } = *change;
    let change = || async {
        let mut batch = Batch::new();
        let (mut node, version) = current_cell_node(context).await?;
        let permit = access.permit_cell(
            unit.urls(),
            context.cell(),
            &node.acl,
            Operation::WriteCellAcl,
        )?;
        check_node(conditions, Some(node.etag()))?;
        let before = node.clone();
        let etag = replace_acl(&permit, &cell_target(context), &mut node, acl)?;
        node.count_put(Some(&before), &mut batch);
        put_checked(&mut batch, keys::cell_node(), version, &node)?;
        let added = add_event(unit, context, &mut batch, events, ("cell.acl", "200"));
        let post_commit = invalidated(context).and(added.await?);
        Ok((batch, post_commit, etag))
    };
    unit.transact_with(context.records(), change).await
}

/// The post-commit actions of a change of the node of a cell.
fn invalidated(context: &CellContext) -> PostCommit {
    PostCommit::invalidating(context.cell(), Invalidation::Cell)
}

/// Adds to a batch the consequences of an event about the cell itself, given by its type and status.
async fn add_event(
    unit: &Unit,
    context: &CellContext,
    batch: &mut Batch,
    cause: Option<&EventCause>,
    (kind, status): (&'static str, &str),
) -> Result<PostCommit> {
    let Some(cause) = cause else {
        return Ok(PostCommit::none());
    };
    let event = cause.event(kind, || format!("{LOCAL_CELL}/"), || status.to_owned());
    let source = EventSource {
        unit,
        context,
        records: context.records(),
        cause,
    };
    match event {
        Some(event) => Box::pin(source.add(batch, vec![event])).await,
        None => Ok(PostCommit::none()),
    }
}

/// Checks that a request may do an operation to an existing resource.
fn permit(resource: &Resource, target: &Target, operation: Operation) -> Result<Permit> {
    let permit = resource.permit(target, operation)?;
    if !target.exists() {
        return Err(resource.not_found());
    }
    if target.is_service_source() {
        return Err(Code::MethodNotAllowed.into());
    }
    Ok(permit)
}

/// The node of a cell as it is stored, not as it is cached.
async fn current_cell_node(context: &CellContext) -> Result<(Node, Option<u64>)> {
    match context.records().find::<Node>(&keys::cell_node()).await? {
        Some(found) => Ok((found.value, Some(found.version))),
        None => Ok((context.cell_node().await?.value.clone(), None)),
    }
}

fn put_node(batch: &mut Batch, found: &Located, node: &Node) -> Result<()> {
    node.count_put(Some(found.value()), batch);
    put_checked(batch, found.key.clone(), found.record_version(), node)
}

fn cell_target(context: &CellContext) -> PermitTarget {
    PermitTarget::Cell(context.cell().id)
}

fn replace_acl(permit: &Permit, target: &PermitTarget, node: &mut Node, acl: &Acl) -> Result<ETag> {
    let operation = match target {
        PermitTarget::Cell(_) => Operation::WriteCellAcl,
        _ => Operation::WriteAcl,
    };
    permit.check(operation, target)?;
    node.acl = acl.clone();
    node.version += 1;
    Ok(node.etag())
}

/// Changes the properties of a node. Returns whether it was changed: not if the request has a protected property.
fn apply(
    permit: &Permit,
    target: &PermitTarget,
    node: &mut Node,
    patch: &PropPatch,
    unit: &Unit,
) -> Result<bool> {
    let operation = match target {
        PermitTarget::Cell(_) => Operation::WriteCellProperties,
        _ => Operation::WriteProperties,
    };
    permit.check(operation, target)?;
    if !patch.protected.is_empty() {
        return Ok(false);
    }
    let mut is_larger = false;
    for change in &patch.changes {
        match change {
            PropertyChange::Set(set) => {
                if node.kind == NodeKind::Stream {
                    stream::check_names(set)?;
                }
                node.properties.insert(set.key.clone(), set.xml.clone());
                is_larger = true;
            }
            PropertyChange::Remove(removed) => {
                node.properties.remove(&removed.key);
            }
        }
    }
    if is_larger {
        check_size(node, unit)?;
    }
    node.version += 1;
    node.updated = unit.now_ms();
    Ok(true)
}

/// Refuses a node with too many properties.
///
/// # Errors
/// [`Code::BodyTooLarge`]
pub fn check_size(node: &Node, unit: &Unit) -> Result<()> {
    let max = unit.settings().dav.properties_max_bytes;
    let properties = node.properties.iter();
    let size: usize = properties.map(|(key, xml)| key.len() + xml.len()).sum();
    if size > max {
        return Err(Error::new(Code::BodyTooLarge).with(max.to_string()));
    }
    Ok(())
}
