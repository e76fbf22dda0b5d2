//! POST, PUT, MERGE and DELETE of entities.

use std::collections::BTreeMap;

use http::{StatusCode, header};
use personium_model::cell::OWNER;
use personium_model::keys::ControlSet;
use personium_model::odata::{self, Change, Creation, Entity, SetRef};
use personium_model::{Identity, Permit};
use personium_odata::atom::AtomWriter;
use personium_odata::body::{Intent, Route};
use personium_odata::etag::IfMatch;
use personium_odata::json::{self, JsonWriter, Shape};
use personium_odata::key::{EntityKey, KeyStyle};
use personium_odata::negotiate::{self, BodyFormat};
use personium_odata::query::Options;
use personium_types::{Code, Result};

use super::account::credential;
use super::faults;
use super::service::{self, Service, no_content, shown, version_2};
use super::service_authorizer::AccessKind;
use crate::answer::{self, Answer, WithHeader};

/// `POST {Set}`
pub(super) async fn create(service: &mut Service, set: &SetRef) -> Result<Answer> {
    let permit = service.gate.permit(
        &service.root,
        &service.call.access,
        set,
        AccessKind::Writing,
    )?;
    let bytes = service.body().await?;
    let entity = store_new(service, set, &permit, &bytes).await?;
    created(service, set, &entity, KeyStyle::Encoded)
}

async fn store_new(
    service: &Service,
    set: &SetRef,
    permit: &Permit,
    bytes: &[u8],
) -> Result<Entity> {
    let accepted = odata::accept(&service.root, set, bytes, Intent::Create, Route::Direct).await?;
    let creation = Creation {
        set: set.clone(),
        accepted,
        hidden: hidden_values(service, set).await?,
        navigation: None,
        exists: Code::EntityExists,
    };
    let mut made = odata::create(&service.root, permit, &[creation]).await?;
    made.pop().unwrap_or_else(|| Err(Code::Unknown.into()))
}

/// What is kept with a new entity without being shown.
async fn hidden_values(service: &Service, set: &SetRef) -> Result<BTreeMap<String, String>> {
    if set.control == Some(ControlSet::Cell)
        && let Identity::UnitUser { subject, .. } = &service.call.access.identity
    {
        let urls = service.call.unit.urls();
        let owner = urls.localize(subject).unwrap_or_else(|| subject.clone());
        return Ok(BTreeMap::from([(OWNER.to_owned(), owner)]));
    }
    credential(service, set).await
}

/// The answer to a creation.
pub(crate) fn created(
    service: &Service,
    set: &SetRef,
    entity: &Entity,
    location: KeyStyle,
) -> Result<Answer> {
    let options = Options::parse(&service.call.query);
    let format = negotiate::choose_for_created(options.get("$format")).map_err(faults::format)?;
    let url = json::entity_url(
        &service.base,
        &set.entity_type,
        &entity.properties,
        location,
    );
    let entity_shown = shown(set, entity, Vec::new());
    let mut out = String::with_capacity(1024);
    let media_type = match format {
        BodyFormat::Json => {
            JsonWriter::new(service.root.edm(), &service.base, Shape::Created)
                .push_single(&mut out, &entity_shown);
            "application/json"
        }
        BodyFormat::Atom => {
            let now = service.call.unit.now_ms();
            out = AtomWriter::new(service.root.edm(), &service.base, Shape::Created, now)
                .entry(&entity_shown);
            "application/atom+xml"
        }
    };
    Ok(
        version_2(answer::content(StatusCode::CREATED, media_type, out))
            .with(header::LOCATION, &url)
            .with(header::ETAG, &service::etag(entity).to_string()),
    )
}

/// `PUT {Set}({key})`
pub(super) async fn replace(
    service: &mut Service,
    set: &SetRef,
    key: &EntityKey,
) -> Result<Answer> {
    change(service, set, key, Intent::Replace).await
}

/// `MERGE {Set}({key})`
pub(super) async fn merge(service: &mut Service, set: &SetRef, key: &EntityKey) -> Result<Answer> {
    change(service, set, key, Intent::Merge).await
}

async fn change(
    service: &mut Service,
    set: &SetRef,
    key: &EntityKey,
    intent: Intent,
) -> Result<Answer> {
    let permit = service.gate.permit(
        &service.root,
        &service.call.access,
        set,
        AccessKind::Writing,
    )?;
    let bytes = service.body().await?;
    // A faulty precondition is told after a faulty body.
    let if_match = service.if_match();
    if if_match.is_err() {
        odata::accept(&service.root, set, &bytes, intent, Route::Direct).await?;
    }
    let etag = store_change(service, set, key, &permit, (&bytes, intent, if_match?)).await?;
    Ok(no_content(Some(&etag)))
}

/// Changes an entity as a body says; gives its new ETag.
pub(super) async fn store_change(
    service: &Service,
    set: &SetRef,
    key: &EntityKey,
    permit: &Permit,
    (bytes, intent, if_match): (&[u8], Intent, IfMatch),
) -> Result<String> {
    let accepted = odata::accept(&service.root, set, bytes, intent, Route::Direct).await?;
    let cannot_merge = matches!(
        set.control,
        Some(ControlSet::Property | ControlSet::ComplexType | ControlSet::ComplexTypeProperty)
    );
    if intent == Intent::Merge && cannot_merge {
        return Err(Code::NotImplementedMethod.into());
    }
    let change = Change {
        accepted,
        intent,
        hidden: credential(service, set).await?,
        if_match,
    };
    let check = |entity: &Entity| {
        service
            .gate
            .check_owner(&service.root, &service.call.access, entity)
    };
    let done = odata::update(&service.root, permit, set, key, &change, &check).await?;
    Ok(done.etag())
}

/// `DELETE {Set}({key})`
pub(super) async fn delete(service: &Service, set: &SetRef, key: &EntityKey) -> Result<Answer> {
    let permit = service.gate.permit(
        &service.root,
        &service.call.access,
        set,
        AccessKind::Writing,
    )?;
    let check = |entity: &Entity| {
        service
            .gate
            .check_owner(&service.root, &service.call.access, entity)
    };
    let if_match = service.if_match();
    if set.control != Some(ControlSet::Cell) {
        odata::delete(&service.root, &permit, set, key, if_match?, &check).await?;
        return Ok(no_content(None));
    }
    // Of a cell, existence, owner and emptiness come before the precondition.
    let (wanted, fault) = match if_match {
        Ok(wanted) => (wanted, None),
        Err(fault) => (personium_odata::etag::IfMatch::Any, Some(fault)),
    };
    if let Some(fault) = fault {
        let found = odata::find(&service.root, set, key)
            .await?
            .ok_or(Code::NoSuchEntity)?;
        check(&found)?;
        return Err(fault);
    }
    odata::delete(&service.root, &permit, set, key, wanted, &check).await?;
    Ok(no_content(None))
}
