//! POST, PUT, MERGE and DELETE of entities.

use std::collections::BTreeMap;

use http::{StatusCode, header};
use personium_model::auth::unit_user;
use personium_model::cell::OWNER;
use personium_model::keys::ControlSet;
use personium_model::odata::{self, AccessKind, Change, Creation, Entity, EntityRef, SetRef};
use personium_model::timer_index::{self, TimerPlan, is_timer};
use personium_model::{AnswerReservation, Identity, Permit};
use personium_odata::atom::AtomWriter;
use personium_odata::body::{Intent, Route};
use personium_odata::entity_view::EntityShape;
use personium_odata::json::{self, JsonWriter};
use personium_odata::key::{EntityKey, KeyStyle};
use personium_odata::negotiate::{self, ResponseFormat};
use personium_odata::query::QueryOptions;
use personium_odata::value::Properties;
use personium_types::{Code, ETag, Error, Preconditions, Result};

use super::credential::hash_credential;
use super::errors;
use super::request::ODataRequest;
use super::response::{entity_view, no_content, version_2};
use crate::answer;
use crate::headers::refuse_erasure;
use crate::response::{Response, WithHeader};

/// `POST {Set}`
///
/// # Errors
/// The refusal of the request.
pub(super) async fn create(request: &mut ODataRequest, set: &SetRef) -> Result<Response> {
    let permit = request.permit(set, AccessKind::Write)?;
    request.check_conditions()?;
    let bytes = request.body().await?;
    let memory = memory_for_created(request, &bytes)?;
    let entity = store_new(request, set, &permit, &bytes).await?;
    created(request, set, &entity, KeyStyle::Encoded, memory)
}

/// The memory for the entity that a body describes and for the answer with it, before anything is stored.
///
/// # Errors
/// As [`AnswerReservation::hold`].
pub(super) fn memory_for_created(request: &ODataRequest, body: &[u8]) -> Result<AnswerReservation> {
    let mut memory = request.take_memory();
    memory.hold(body.len().saturating_mul(2))?;
    Ok(memory)
}

async fn store_new(
    request: &ODataRequest,
    set: &SetRef,
    permit: &Permit,
    bytes: &[u8],
) -> Result<Entity> {
    let body = odata::validate(&request.root, set, bytes, Intent::Create, Route::Direct).await?;
    check_timer(request, set, &body.properties)?;
    check_cell_name(request, set, body.properties.text("Name")).await?;
    let creation = Creation {
        set: set.clone(),
        body,
        hidden: hidden_values(request, set).await?,
        navigation: None,
        exists: Code::EntityExists,
        history: None,
    };
    let mut created = odata::create(&request.root, permit, &[creation]).await?;
    created.pop().unwrap_or_else(|| Err(Code::Unknown.into()))
}

/// Refuses a new rule for a time that is over, or for a timer where no process fires any: it would never fire.
///
/// # Errors
/// [`Code::FieldFormat`]
pub(super) fn check_timer(
    request: &ODataRequest,
    set: &SetRef,
    properties: &Properties,
) -> Result<()> {
    let text = |name| properties.text(name).unwrap_or_default();
    let (kind, object) = (text("EventType"), text("EventObject"));
    if set.control != Some(ControlSet::Rule) || !is_timer(kind) {
        return Ok(());
    }
    if !timer_index::can_fire(&request.unit) {
        return Err(Error::new(Code::FieldFormat).with("EventType"));
    }
    match TimerPlan::of(kind, object, request.unit.now_ms()) {
        Some(_) => Ok(()),
        None => Err(Error::new(Code::FieldFormat).with("EventObject")),
    }
}

/// Checks the new name of a cell.
async fn check_cell_name(request: &ODataRequest, set: &SetRef, name: Option<&str>) -> Result<()> {
    match name {
        Some(name)
            if set.control == Some(ControlSet::Cell)
                && !request.access.may_name_issuers()
                && unit_user::is_issuer_name(&request.unit, name).await? =>
        {
            Err(Error::new(Code::IssuerName).with(name))
        }
        _ => Ok(()),
    }
}

/// The values that are stored with a new entity but not shown.
async fn hidden_values(request: &ODataRequest, set: &SetRef) -> Result<BTreeMap<String, String>> {
    if set.control == Some(ControlSet::Cell)
        && let Identity::UnitUser { subject, .. } = &request.access.identity
    {
        let urls = request.unit.urls();
        let owner = urls.localize(subject).unwrap_or_else(|| subject.clone());
        return Ok(BTreeMap::from([(OWNER.to_owned(), owner)]));
    }
    hash_credential(request, set).await
}

/// The response to a creation. `memory` is what was reserved for it.
///
/// # Errors
/// [`Code::FormatUnknown`]
pub(crate) fn created(
    request: &ODataRequest,
    set: &SetRef,
    entity: &Entity,
    location: KeyStyle,
    memory: AnswerReservation,
) -> Result<Response> {
    let options = QueryOptions::parse(&request.query);
    let format = negotiate::choose_for_created(options.get("$format")).map_err(errors::format)?;
    let url = json::entity_url(
        &request.base,
        &set.entity_type,
        &entity.properties,
        location,
    );
    let entity_shown = entity_view(set, entity, Vec::new());
    let mut out = String::with_capacity(1024);
    let media_type = match format {
        ResponseFormat::Json => {
            JsonWriter::new(request.root.edm(), &request.base, EntityShape::Created)
                .dialect(request.dialect())
                .push_single(&mut out, &entity_shown);
            "application/json"
        }
        ResponseFormat::Atom => {
            let now = request.unit.now_ms();
            out = AtomWriter::new(request.root.edm(), &request.base, EntityShape::Created, now)
                .dialect(request.dialect(), &request.query)
                .entry(&entity_shown);
            "application/atom+xml"
        }
    };
    let response = answer::bytes(StatusCode::CREATED, media_type, out, memory);
    Ok(version_2(response)
        .with_header(header::LOCATION, &url)
        .with_header(header::ETAG, &entity.stored.etag().weak().to_string()))
}

/// `PUT {Set}({key})`
///
/// # Errors
/// The refusal of the request.
pub(super) async fn replace(
    request: &mut ODataRequest,
    set: &SetRef,
    key: &EntityKey,
) -> Result<Response> {
    change(request, set, key, Intent::Replace).await
}

/// `MERGE {Set}({key})`
///
/// # Errors
/// The refusal of the request.
pub(super) async fn merge(
    request: &mut ODataRequest,
    set: &SetRef,
    key: &EntityKey,
) -> Result<Response> {
    change(request, set, key, Intent::Merge).await
}

async fn change(
    request: &mut ODataRequest,
    set: &SetRef,
    key: &EntityKey,
    intent: Intent,
) -> Result<Response> {
    let permit = request.permit(set, AccessKind::Write)?;
    let bytes = request.body().await?;
    let edit = EntityEdit {
        body: &bytes,
        intent,
        conditions: request.preconditions(),
    };
    let etag = store_change(request, set, key, &permit, edit).await?;
    Ok(no_content(Some(etag)))
}

/// A change of an entity as a client sends it.
pub(super) struct EntityEdit<'a> {
    /// The JSON document.
    pub(super) body: &'a [u8],
    /// Whether it replaces the entity or is merged into it.
    pub(super) intent: Intent,
    /// The conditions.
    pub(super) conditions: Preconditions,
}

/// Stores a change of an entity. Returns its new ETag.
///
/// # Errors
/// The refusal of the change.
pub(super) async fn store_change(
    request: &ODataRequest,
    set: &SetRef,
    key: &EntityKey,
    permit: &Permit,
    edit: EntityEdit<'_>,
) -> Result<ETag> {
    let intent = edit.intent;
    let body = odata::validate(&request.root, set, edit.body, intent, Route::Direct).await?;
    let cannot_merge = matches!(
        set.control,
        Some(ControlSet::Property | ControlSet::ComplexType | ControlSet::ComplexTypeProperty)
    );
    if intent == Intent::Merge && cannot_merge {
        return Err(Code::NotImplementedMethod.into());
    }
    let new_name = body.properties.text("Name");
    check_cell_name(request, set, new_name.filter(|new| *new != key.name())).await?;
    let change = Change {
        body,
        intent,
        hidden: hash_credential(request, set).await?,
        conditions: edit.conditions,
    };
    let check = |entity: &Entity| request.check_owner(entity);
    let with_links = permit_repointed_links(request, set)?;
    let updated = odata::update(
        &request.root,
        with_links.as_ref().unwrap_or(permit),
        EntityRef { set, key },
        &change,
        &check,
    )
    .await?;
    Ok(updated.etag())
}

/// The permit to change an entity of a set and the links whose meaning changes with its key; `None` if there are none, or the
/// requester may not change them.
fn permit_repointed_links(request: &ODataRequest, set: &SetRef) -> Result<Option<Permit>> {
    let Some(links) = odata::repointed_links(&request.root, set) else {
        return Ok(None);
    };
    match request.permit_association(&links, AccessKind::Write) {
        Ok(permit) => permit
            .and(request.permit(set, AccessKind::Write)?)
            .map(Some),
        Err(_) => Ok(None),
    }
}

/// `DELETE {Set}({key})`
///
/// # Errors
/// The refusal of the request; [`Code::HeaderIllegal`] if it asks for the erasure of a cell, which is done at the cell itself.
pub(super) async fn delete(
    request: &ODataRequest,
    set: &SetRef,
    key: &EntityKey,
) -> Result<Response> {
    let permit = request.permit(set, AccessKind::Write)?;
    refuse_erasure(&request.headers)?;
    let check = |entity: &Entity| request.check_owner(entity);
    odata::delete(
        &request.root,
        &permit,
        EntityRef { set, key },
        &request.preconditions(),
        &check,
    )
    .await?;
    Ok(no_content(None))
}
