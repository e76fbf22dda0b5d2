//! Entities through a navigation property.

use std::collections::BTreeMap;

use http::{Method, header};
use personium_model::odata::{
    self, AccessKind, Association, Cardinality, Creation, NavigationSource, Page, SetRef,
};
use personium_odata::body::{Intent, Route};
use personium_odata::dialect::Dialect;
use personium_odata::key::{EntityKey, KeyStyle};
use personium_odata::negotiate::{self, ResponseFormat};
use personium_odata::query::{EntityQuery, ListKind, QueryOptions, TypedListQuery};
use personium_types::{Code, Error, Result};

use super::request::ODataRequest;
use super::response::{Callback, version_2};
use super::{read, write};
use crate::preflight;
use crate::response::{Response, WithHeader};

/// A request to `{Set}({key})/{navigation}`.
///
/// # Errors
/// The refusal of the request.
pub(super) async fn navigation(
    request: &mut ODataRequest,
    association: &Association,
    key: &EntityKey,
    name: &str,
) -> Result<Response> {
    match request.method {
        Method::GET => list(request, association, key, name).await,
        Method::POST => create(request, association, key).await,
        Method::OPTIONS => {
            request.permit_link_options()?;
            Ok(preflight::allow("OPTIONS, GET, POST"))
        }
        _ => Err(request.method_not_allowed()),
    }
}

async fn list(
    request: &ODataRequest,
    association: &Association,
    key: &EntityKey,
    name: &str,
) -> Result<Response> {
    request.permit_association(association, AccessKind::Read)?;
    request.check_conditions()?;
    let accept = request.header("accept");
    if !negotiate::accepts_navigation_response(accept) {
        return Err(Error::new(Code::NotAcceptable).with(accept.unwrap_or_default()));
    }
    let options = QueryOptions::parse(&request.query);
    let callback = Callback::read(&options)?;
    let there = &association.target.set;
    let query = read::list_query(request, &request.query, there, ListKind::Navigation)?;
    let source = odata::find(&request.root, &association.source.set, key)
        .await?
        .ok_or(Code::NoSuchEntity)?;
    let mut memory = request.take_memory();
    memory.hold(source.memory_bytes())?;
    let page = odata::navigate(&request.root, association, &source, &query, &mut memory).await?;
    if request.dialect() == Dialect::Standard && association.target.cardinality == Cardinality::One
    {
        return one(request, there, &query, page).await;
    }
    let set = &association.source.set;
    let key = key.print(&set.entity_type, KeyStyle::Encoded);
    let path = format!("{}{key}/{name}", set.name());
    drop(source);
    let list = read::ShownList {
        set: there,
        query: &query,
        next: read::next_url(request, &path, &page),
        page,
        format: ResponseFormat::Json,
        callback,
    };
    read::respond_with_page(request, list, memory).await
}

/// The only target, as an entity.
async fn one(
    request: &ODataRequest,
    set: &SetRef,
    query: &TypedListQuery,
    page: Page,
) -> Result<Response> {
    let entity = page.entities.into_iter().next();
    let entity = entity.ok_or(Code::NoSuchEntity)?;
    let query = EntityQuery {
        select: query.select.clone(),
        expand: query.expand.clone(),
    };
    let tag = entity.stored.etag().weak().to_string();
    let format = ResponseFormat::Json;
    let response = read::respond_with_one(request, set, entity, &query, format).await?;
    Ok(version_2(response).with_header(header::ETAG, &tag))
}

async fn create(
    request: &mut ODataRequest,
    association: &Association,
    key: &EntityKey,
) -> Result<Response> {
    let link = request.permit_association(association, AccessKind::Write)?;
    let set = association.target.set.clone();
    let permit = link.and(request.permit(&set, AccessKind::Write)?)?;
    request.check_conditions()?;
    let bytes = request.body().await?;
    let memory = write::memory_for_created(request, &bytes)?;
    let (root, route) = (&request.root, Route::Navigation);
    let body = odata::validate(root, &set, &bytes, Intent::Create, route).await?;
    write::check_timer(request, &set, &body.properties)?;
    let linked = NavigationSource {
        association: association.clone(),
        source: key.clone(),
        url: Some(request.shown_url()),
    };
    let creation = Creation {
        set: set.clone(),
        body,
        hidden: BTreeMap::new(),
        navigation: Some(linked),
        exists: Code::LinkExists,
        history: None,
    };
    let mut created = odata::create(root, &permit, &[creation]).await?;
    let entity = created.pop().unwrap_or_else(|| Err(Code::Unknown.into()))?;
    write::created(request, &set, &entity, request.link_style(), memory)
}
