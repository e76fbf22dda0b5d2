//! Collections: creating and removing them.

use personium_dav::proppatch::DeadProperty;
use personium_store::Batch;
use personium_types::{Code, ETag, NodeId, Operation, Result};

use crate::commit::Invalidation;
use crate::file::unlink;
use crate::keys::{self, ControlSet, SetKey};
use crate::locate::{self, Target};
use crate::node::{Node, NodeKind, SERVICE_SOURCE};
use crate::properties::check_size;
use crate::records::put_checked;
use crate::resource::{add_member, member_name};
use crate::{Permit, PostCommit, Resource, garbage_collection, service_subject, stream};

/// Checks the creation of a collection, as far as it does not depend on the body of the request, and returns the permit.
///
/// # Errors
/// The refusals of [`Target::permit`]; [`Code::ResourceName`] for an invalid name, [`Code::CollectionExists`],
/// [`Code::NoSuchPath`] or [`Code::MethodNotAllowed`] where no collection can be, [`Code::NoParent`] if a collection of the
/// path is missing, [`Code::DavTagMismatch`] if a condition of the request is false.
pub fn check_create(resource: &Resource, target: &Target) -> Result<Permit> {
    let kind = target.node().value().kind;
    if target.exists() {
        let permit = resource.permit(target, Operation::CreateCollection);
        return Err(match (permit, kind) {
            (Err(refusal), _) => refusal,
            (Ok(_), NodeKind::Collection) => Code::CollectionExists.into(),
            (Ok(_), NodeKind::File) if target.is_in_service_source() => {
                Code::CollectionExists.into()
            }
            (Ok(_), _) => Code::MethodNotAllowed.into(),
        });
    }
    match kind {
        NodeKind::Box | NodeKind::Collection => {}
        NodeKind::Service => return Err(Code::MethodNotAllowed.into()),
        NodeKind::Cell | NodeKind::File | NodeKind::Odata | NodeKind::Stream => {
            return Err(Code::NoSuchPath.into());
        }
    }
    let permit = resource.permit(target, Operation::CreateCollection)?;
    let [name] = target.rest.as_slice() else {
        return Err(resource.no_parent(target));
    };
    if target.is_service_source() || target.is_in_service_source() {
        return Err(Code::CollectionExists.into());
    }
    member_name(name)?;
    resource.check_conditions(target)?;
    Ok(permit)
}

/// Creates a collection and returns its ETag. A service collection gets its source collection.
///
/// # Errors
/// The refusals of [`check_create`]; [`Code::TooDeep`] if it would be nested too deeply, [`Code::TooManyChildren`] if its
/// parent is full.
pub async fn create(resource: &Resource, kind: NodeKind) -> Result<ETag> {
    create_with(resource, kind, &[]).await
}

/// As [`create`], with dead properties.
///
/// # Errors
/// As [`create`]; [`Code::BodyTooLarge`] for too many properties; [`Code::RequestFieldFormat`] for names of queues and topics that no
/// request could use; the code of the missing privilege if properties may not be set, or if a service is to act as an account and the
/// request may not change accounts.
pub async fn create_with(
    resource: &Resource,
    kind: NodeKind,
    properties: &[DeadProperty],
) -> Result<ETag> {
    let target = resource.locate().await?;
    let lock = resource.lock_if_nearly_full(&target).await?;
    // Others that wait for the same lock change the parent first.
    let located = lock.is_none().then_some(target);
    let change = |target: Target| async move {
        let permit = check_create(resource, &target)?;
        if kind == NodeKind::Stream {
            properties.iter().try_for_each(stream::check_names)?;
        }
        if !properties.is_empty() {
            // As if PROPPATCH set them.
            resource.permit(&target, Operation::WriteProperties)?;
        }
        let (batch, etag) = build(permit, resource, &target, (kind, properties)).await?;
        let event = resource.event(kind, "mkcol", 201);
        Ok((batch, PostCommit::none().posting(event), etag))
    };
    resource
        .change_from(located, Invalidation::Cell, change)
        .await
}

async fn build(
    permit: Permit,
    resource: &Resource,
    target: &Target,
    (kind, properties): (NodeKind, &[DeadProperty]),
) -> Result<(Batch, ETag)> {
    permit.check(Operation::CreateCollection, &target.permit_target())?;
    let limits = &resource.unit.settings().dav;
    let name = target.rest.first().ok_or(Code::CollectionExists)?;
    let name = member_name(name)?;
    // The root of the box is among the found nodes, so their number is the level of the new collection.
    if target.found().len() > limits.depth_max {
        return Err(Code::TooDeep.into());
    }
    let parent = target.node().value().id;
    let mut batch = Batch::new();
    target.assert_found(&mut batch);
    add_member(target, &parent, limits.children_max, &mut batch).await?;
    let now = resource.unit.now_ms();
    let mut node = Node::new(NodeId::random(resource.unit.random()), kind, now);
    let properties = properties.iter().cloned();
    node.properties = properties.map(|p| (p.key, p.xml)).collect();
    check_size(&node, &resource.unit)?;
    service_subject::check(resource, target, None, &node)?;
    node.count_put(None, &mut batch);
    if kind == NodeKind::Service {
        let source = Node::new(
            NodeId::random(resource.unit.random()),
            NodeKind::Collection,
            now,
        );
        let key = keys::node(&node.id, SERVICE_SOURCE);
        put_checked(&mut batch, key, None, &source)?;
        batch.add(keys::child_count(&node.id), 1);
    }
    put_checked(&mut batch, keys::node(&parent, name.as_str()), None, &node)?;
    Ok((batch, node.etag()))
}

/// Removes a collection. With `recursive` its content is removed too: unlinked at once, collected in the background.
///
/// # Errors
/// The refusals of [`Target::permit`]; [`Code::NoSuchResource`] if there is none, [`Code::MethodNotAllowed`] if it cannot be
/// removed, [`Code::CollectionNotEmpty`] if it has content and `recursive` is not set, [`Code::DavTagMismatch`] if a
/// condition of the request is false.
pub async fn remove(resource: &Resource, recursive: bool) -> Result<()> {
    let located = resource.locate().await?;
    check_remove(resource, &located)?;
    // The messages of a stream collection are removed with it, and do not keep it.
    let has_messages = located.node().value().kind == NodeKind::Stream;
    let mark = match recursive || has_messages {
        true => Some(garbage_collection::mark_pending(&resource.unit, &resource.context).await?),
        false => None,
    };
    let mark = mark.as_ref();
    let change = |target: Target| async move {
        let permit = check_remove(resource, &target)?;
        let found = target.node();
        let mut batch = Batch::new();
        target.assert_ancestors(&mut batch);
        unlink(&permit, &mut batch, &target)?;
        let event = resource.event_about(&target, "delete", 204);
        let mut post_commit = PostCommit::none().posting(event);
        if let Some(mark) = mark {
            mark.assert_in(&mut batch);
            garbage_collection::add_record(&mut batch, found.value())?;
            post_commit = post_commit.collect_garbage(target.context.cell().id, mark);
        } else {
            remove_empty(&target, &mut batch).await?;
        }
        Ok((batch, post_commit, ()))
    };
    resource.change_with(Invalidation::Cell, change).await
}

fn check_remove(resource: &Resource, target: &Target) -> Result<Permit> {
    let permit = resource.permit(target, Operation::Remove)?;
    if !target.exists() {
        return Err(resource.not_found());
    }
    let removable = matches!(
        target.node().value().kind,
        NodeKind::Collection | NodeKind::Odata | NodeKind::Service | NodeKind::Stream
    );
    if !removable || target.is_service_source() {
        return Err(Code::MethodNotAllowed.into());
    }
    resource.check_conditions(target)?;
    Ok(permit)
}

/// Adds to a batch that a collection is empty, and the removal of the other records of an empty collection.
pub(crate) async fn remove_empty(target: &Target, batch: &mut Batch) -> Result<()> {
    let records = target.context.records();
    let node = target.node().value();
    let mut empty = vec![keys::children(&node.id)];
    match node.kind {
        NodeKind::Odata => {
            for set in [ControlSet::EntityType, ControlSet::ComplexType] {
                empty.push(keys::entities(&SetKey::schema(&node.id, set)));
            }
            batch.delete(keys::schema_version(&node.id));
        }
        NodeKind::Service => {
            empty.clear();
            let source = locate::child(&target.context, &node.id, SERVICE_SOURCE).await?;
            if let Some(source) = source {
                let id = source.value().id;
                empty.push(keys::children(&id));
                source.value().count_removal(batch);
                batch.delete(source.key.clone());
                batch.delete(keys::child_count(&id));
            }
        }
        _ => {}
    }
    for range in empty {
        if !records.is_empty(&range).await? {
            return Err(Code::CollectionNotEmpty.into());
        }
        batch.assert_empty(range);
    }
    batch.delete(keys::child_count(&node.id));
    Ok(())
}
