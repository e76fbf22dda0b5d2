//! `$links`: links as such.

use http::{Method, StatusCode};
use personium_model::keys::ControlSet;
use personium_model::odata::{self, Association, SetRef};
use personium_odata::body::{LinkBodyError, read_link};
use personium_odata::json;
use personium_odata::key::{EntityKey, KeyStyle, KeyText};
use personium_odata::path::parse_link_uri;
use personium_odata::query::{Options, Page};
use personium_types::{Code, Error, Result};

use super::service::{Service, no_content, version_2};
use super::service_authorizer::AccessKind;
use super::{faults, read};
use crate::answer::{self, Answer};
use crate::preflight;

/// A request to `{Set}({key})/$links/{navigation}` or `.../{navigation}({target})`.
pub(super) async fn links(
    service: &mut Service,
    set: &SetRef,
    key: &EntityKey,
    navigation: &str,
    target: Option<KeyText>,
) -> Result<Answer> {
    let method = service.call.method.clone();
    if method == Method::OPTIONS {
        service
            .gate
            .permit_link_options(&service.root, &service.call.access)?;
        return Ok(preflight::allow("OPTIONS, GET, DELETE, PUT, POST"));
    }
    let Some(association) = service.root.association(set, navigation) else {
        let doing = if method == Method::GET {
            AccessKind::Reading
        } else {
            AccessKind::Writing
        };
        service
            .gate
            .permit(&service.root, &service.call.access, set, doing)?;
        return Err(unknown(service, navigation, &method).await?);
    };
    match (method, target) {
        (Method::GET, None) => list(service, &association, key).await,
        (Method::GET, Some(_)) => {
            service.both(&association, AccessKind::Reading)?;
            Err(Code::KeyForNavigation.into())
        }
        (Method::POST, None) => add(service, &association, key).await,
        (Method::POST, Some(_)) => {
            service.both(&association, AccessKind::Writing)?;
            Err(Code::KeyForNavigation.into())
        }
        (Method::DELETE, Some(target)) => remove(service, &association, key, &target).await,
        (Method::PUT | Method::DELETE, None) => {
            service.both(&association, AccessKind::Writing)?;
            Err(Code::KeyForLinksMissing.into())
        }
        (Method::PUT, Some(_)) => {
            service.both(&association, AccessKind::Writing)?;
            Err(Code::NotImplementedMethod.into())
        }
        _ => Err(Code::MethodNotAllowed.into()),
    }
}

/// An unknown navigation property. The body of a POST is looked at first: its set cannot fit the property, unless
/// that is named after a set without association.
async fn unknown(service: &mut Service, navigation: &str, method: &Method) -> Result<Error> {
    if method == Method::POST {
        let bytes = service.body().await?;
        let named = navigation
            .strip_prefix('_')
            .and_then(|name| service.root.set(name).ok());
        match named {
            Some(set) => target_in(service, &set, &bytes)?,
            None => return Ok(Error::new(Code::FieldFormat).with("uri")),
        };
    }
    Ok(Code::NoSuchAssociation.into())
}

/// Whether a pair of sets is linked by keys alone.
fn is_fixed(association: &Association) -> bool {
    use ControlSet::{
        AssociationEnd, ComplexType, ComplexTypeProperty, EntityType, ExtRole, Property, Relation,
    };
    let pair = (
        association.source_set.control,
        association.target_set.control,
    );
    [
        (ExtRole, Relation),
        (EntityType, AssociationEnd),
        (EntityType, Property),
        (ComplexType, ComplexTypeProperty),
    ]
    .iter()
    .any(|&(a, b)| pair == (Some(a), Some(b)) || pair == (Some(b), Some(a)))
}

async fn list(service: &Service, association: &Association, key: &EntityKey) -> Result<Answer> {
    service.both(association, AccessKind::Reading)?;
    let options = Options::parse(&service.call.query);
    let limits = read::limits(&service.call.unit.settings().odata);
    let page = Page::parse(&options, &limits).map_err(|f| faults::query(&f))?;
    let source = odata::find(&service.root, &association.source_set, key)
        .await?
        .ok_or(Code::NoSuchEntity)?;
    let (skip, top) = (page.skip as usize, page.top as usize);
    let found = odata::list_links(&service.root, association, &source, skip, top).await?;
    let urls: Vec<String> = found
        .iter()
        .map(|e| {
            json::entity_url(
                &service.base,
                &association.target_set.entity_type,
                &e.properties,
                KeyStyle::Plain,
            )
        })
        .collect();
    let mut out = String::new();
    json::push_links(&mut out, urls.iter().map(String::as_str));
    Ok(version_2(match options.get("$callback") {
        Some(name) => answer::content(
            StatusCode::OK,
            "text/javascript;charset=utf-8",
            json::with_callback(name, &out),
        ),
        None => answer::content(StatusCode::OK, "application/json;charset=utf-8", out),
    }))
}

async fn add(service: &mut Service, association: &Association, key: &EntityKey) -> Result<Answer> {
    let permit = service.both(association, AccessKind::Writing)?;
    if is_fixed(association) {
        return Err(Code::NoSuchAssociation.into());
    }
    let bytes = service.body().await?;
    let target = target_of(service, association, &bytes)?;
    odata::add_link(&service.root, &permit, association, key, &target).await?;
    Ok(no_content(None))
}

/// The key of the entity that a link body names.
pub(super) fn target_of(
    service: &Service,
    association: &Association,
    bytes: &[u8],
) -> Result<EntityKey> {
    target_in(service, &association.target_set, bytes)
}

/// The key of the entity of a set that a link body names.
fn target_in(service: &Service, there: &SetRef, bytes: &[u8]) -> Result<EntityKey> {
    let bad = || Error::new(Code::FieldFormat).with("uri");
    let uri = read_link(bytes).map_err(|fault| match fault {
        LinkBodyError::Parse => Error::new(Code::JsonParse),
        LinkBodyError::Uri => bad(),
    })?;
    let (set, key) = parse_link_uri(&service.base, &uri).map_err(|_| bad())?;
    if set != there.name() {
        return Err(bad());
    }
    key.resolve(&there.entity_type).map_err(|_| bad())
}

async fn remove(
    service: &Service,
    association: &Association,
    key: &EntityKey,
    target: &KeyText,
) -> Result<Answer> {
    let permit = service.both(association, AccessKind::Writing)?;
    if is_fixed(association) {
        return Err(Code::NoSuchAssociation.into());
    }
    let target = target
        .resolve(&association.target_set.entity_type)
        .map_err(|_| Code::LinkKeyParse)?;
    odata::remove_link(&service.root, &permit, association, key, &target).await?;
    Ok(no_content(None))
}
