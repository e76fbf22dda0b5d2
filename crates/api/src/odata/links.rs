//! `$links`: links between entities.

use http::Method;
use personium_model::keys::ControlSet;
use personium_model::odata::{self, AccessKind, Association, Cardinality, SetRef};
use personium_odata::body::{LinkBodyError, read_link};
use personium_odata::dialect::Dialect;
use personium_odata::json;
use personium_odata::key::{EntityKey, KeyPredicate};
use personium_odata::path::parse_link_uri;
use personium_odata::query::{Paging, QueryOptions};
use personium_types::{Code, Error, Result};

use super::request::ODataRequest;
use super::response::{Callback, no_content, version_2};
use super::{errors, read};
use crate::answer::AnswerText;
use crate::preflight;
use crate::response::Response;

/// A request to `{Set}({key})/$links/{navigation}` or `.../{navigation}({target})`.
///
/// # Errors
/// The refusal of the request.
pub(super) async fn links(
    request: &mut ODataRequest,
    set: &SetRef,
    key: &EntityKey,
    navigation: &str,
    target: Option<KeyPredicate>,
) -> Result<Response> {
    let method = request.method.clone();
    if method == Method::OPTIONS {
        request.permit_link_options()?;
        return Ok(preflight::allow("OPTIONS, GET, DELETE, PUT, POST"));
    }
    let Some(association) = request.root.association(set, navigation) else {
        let kind = if method == Method::GET {
            AccessKind::Read
        } else {
            AccessKind::Write
        };
        request.permit(set, kind)?;
        return Err(unknown_navigation(request, navigation, &method).await?);
    };
    match (method, target) {
        (Method::GET, None) => list(request, &association, key).await,
        (Method::GET, Some(_)) => {
            request.permit_association(&association, AccessKind::Read)?;
            Err(Code::KeyForNavigation.into())
        }
        (Method::POST, None) => add(request, &association, key).await,
        (Method::POST, Some(_)) => {
            request.permit_association(&association, AccessKind::Write)?;
            Err(Code::KeyForNavigation.into())
        }
        (Method::DELETE, Some(target)) => remove(request, &association, key, &target).await,
        (Method::PUT | Method::DELETE, None) => {
            request.permit_association(&association, AccessKind::Write)?;
            Err(Code::KeyForLinksMissing.into())
        }
        (Method::PUT, Some(_)) => {
            request.permit_association(&association, AccessKind::Write)?;
            Err(Code::NotImplementedMethod.into())
        }
        _ => Err(Code::MethodNotAllowed.into()),
    }
}

/// The error for an unknown navigation property. The body of a POST is checked first: the set in it cannot be the one of the
/// property, unless the property has the name of a set without association.
async fn unknown_navigation(
    request: &mut ODataRequest,
    navigation: &str,
    method: &Method,
) -> Result<Error> {
    if method == Method::POST {
        let bytes = request.body().await?;
        let named = navigation
            .strip_prefix('_')
            .and_then(|name| request.root.set(name).ok());
        match named {
            Some(set) => target_in(request, &set, &bytes)?,
            None => return Ok(Error::new(Code::FieldFormat).with("uri")),
        };
    }
    Ok(Code::NoSuchAssociation.into())
}

/// Whether the links of an association are parts of keys, so that they cannot be added or removed.
fn is_part_of_key(association: &Association) -> bool {
    use ControlSet::{
        AssociationEnd, ComplexType, ComplexTypeProperty, EntityType, ExtRole, Property, Relation,
    };
    let pair = (
        association.source.set.control,
        association.target.set.control,
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

async fn list(
    request: &ODataRequest,
    association: &Association,
    key: &EntityKey,
) -> Result<Response> {
    request.permit_association(association, AccessKind::Read)?;
    request.check_conditions()?;
    let options = QueryOptions::parse(&request.query);
    let callback = Callback::read(&options)?;
    let limits = read::limits(&request.unit.settings().odata);
    let page = Paging::parse(&options, &limits).map_err(|f| errors::query(&f))?;
    let source = odata::find(&request.root, &association.source.set, key)
        .await?
        .ok_or(Code::NoSuchEntity)?;
    let (skip, top) = (page.skip as usize, page.top as usize);
    let (root, wanted) = (&request.root, skip..skip + top);
    let mut memory = request.take_memory();
    let found = odata::list_links(root, association, &source, wanted, &mut memory).await?;
    let mut urls = found.iter().map(|e| {
        json::entity_url(
            &request.base,
            &association.target.set.entity_type,
            &e.properties,
            request.link_style(),
        )
    });
    let mut answer = AnswerText::new(memory, 0);
    callback.push_start(&mut answer.out);
    let is_one = association.target.cardinality == Cardinality::One;
    if request.dialect() == Dialect::Standard && is_one {
        json::push_link(&mut answer.out, &urls.next().ok_or(Code::NoSuchEntity)?);
    } else {
        json::push_links(&mut answer.out, urls);
    }
    answer.count()?;
    Ok(version_2(callback.respond(answer)))
}

async fn add(
    request: &mut ODataRequest,
    association: &Association,
    key: &EntityKey,
) -> Result<Response> {
    let permit = request.permit_association(association, AccessKind::Write)?;
    if is_part_of_key(association) {
        return Err(Code::NoSuchAssociation.into());
    }
    request.check_conditions()?;
    let bytes = request.body().await?;
    let target = target_of(request, association, &bytes)?;
    odata::add_link(&request.root, &permit, association, key, &target).await?;
    Ok(no_content(None))
}

/// The key of the entity that a link body names.
///
/// # Errors
/// [`Code::JsonParse`], or [`Code::FieldFormat`] unless the URI is one of the set.
pub(super) fn target_of(
    request: &ODataRequest,
    association: &Association,
    bytes: &[u8],
) -> Result<EntityKey> {
    target_in(request, &association.target.set, bytes)
}

/// The key of the entity of a set that a link body names.
fn target_in(request: &ODataRequest, there: &SetRef, bytes: &[u8]) -> Result<EntityKey> {
    let bad = || Error::new(Code::FieldFormat).with("uri");
    let uri = read_link(bytes).map_err(|error| match error {
        LinkBodyError::Malformed => Error::new(Code::JsonParse),
        LinkBodyError::InvalidUri => bad(),
    })?;
    let (set, key) = parse_link_uri(&request.base, &uri).map_err(|_| bad())?;
    if set != there.name() {
        return Err(bad());
    }
    key.resolve(&there.entity_type).map_err(|_| bad())
}

async fn remove(
    request: &ODataRequest,
    association: &Association,
    key: &EntityKey,
    target: &KeyPredicate,
) -> Result<Response> {
    let permit = request.permit_association(association, AccessKind::Write)?;
    if is_part_of_key(association) {
        return Err(Code::NoSuchAssociation.into());
    }
    request.check_conditions()?;
    let target = target
        .resolve(&association.target.set.entity_type)
        .map_err(|_| Code::LinkKeyParse)?;
    odata::remove_link(&request.root, &permit, association, key, &target).await?;
    Ok(no_content(None))
}
