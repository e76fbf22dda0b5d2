//! `$count`: the number of entities as text.

use http::{Method, StatusCode};
use personium_model::odata::{self, AccessKind, Association, Entity, SetRef};
use personium_odata::key::EntityKey;
use personium_odata::query::{InlineCount, ListKind, NextLink, QueryOptions, TypedListQuery};
use personium_types::{Code, Result};

use super::read;
use super::request::ODataRequest;
use super::response::version_2;
use super::service_authorizer::ServiceAuthorizer;
use crate::preflight;
use crate::response::{self, Response};

/// A request to `{Set}/$count`.
///
/// # Errors
/// The refusal of the request.
pub(super) async fn of_set(request: &ODataRequest, set: &SetRef) -> Result<Response> {
    if request.method == Method::OPTIONS {
        request.permit(set, AccessKind::Read)?;
        return Ok(preflight::allow("OPTIONS, GET"));
    }
    request.permit(set, AccessKind::Read)?;
    check_method(request)?;
    request.check_conditions()?;
    let query = CountQuery::read(request, set, ListKind::Set)?;
    let visible = |entity: &Entity| request.can_see(entity);
    let filtered = matches!(request.authorizer, ServiceAuthorizer::Unit);
    let visible = filtered.then_some(&visible as &(dyn Fn(&Entity) -> bool + Sync));
    let mut memory = request.take_memory();
    let page = odata::list(&request.root, set, &query.list, visible, &mut memory).await?;
    Ok(query.respond(page.count))
}

/// A request to `{Set}({key})/{navigation}/$count`.
///
/// # Errors
/// The refusal of the request.
pub(super) async fn of_navigation(
    request: &ODataRequest,
    association: &Association,
    key: &EntityKey,
) -> Result<Response> {
    if request.method == Method::OPTIONS {
        request.permit_link_options()?;
        return Ok(preflight::allow("OPTIONS, GET"));
    }
    request.permit_association(association, AccessKind::Read)?;
    check_method(request)?;
    request.check_conditions()?;
    let query = CountQuery::read(request, &association.target.set, ListKind::Navigation)?;
    let source = odata::find(&request.root, &association.source.set, key)
        .await?
        .ok_or(Code::NoSuchEntity)?;
    let (root, mut memory) = (&request.root, request.take_memory());
    let page = odata::navigate(root, association, &source, &query.list, &mut memory).await?;
    Ok(query.respond(page.count))
}

fn check_method(request: &ODataRequest) -> Result<()> {
    match request.method {
        Method::GET => Ok(()),
        _ => Err(request.method_not_allowed()),
    }
}

/// A query whose matches are counted. `$skip` and `$top` limit the number if they are given.
struct CountQuery {
    list: TypedListQuery,
    skip: u64,
    top: Option<u64>,
}

impl CountQuery {
    fn read(request: &ODataRequest, set: &SetRef, kind: ListKind) -> Result<Self> {
        let mut list = read::list_query(request, &request.query, set, kind)?;
        let has_top = QueryOptions::parse(&request.query).get("$top").is_some();
        let (skip, top) = (list.paging.skip.into(), list.paging.top.into());
        list.count = InlineCount::AllPages;
        list.next_link = NextLink::Never;
        list.after = None;
        (list.paging.skip, list.paging.top) = (0, 0);
        Ok(Self {
            list,
            skip,
            top: has_top.then_some(top),
        })
    }

    fn respond(&self, count: Option<u64>) -> Response {
        let count = count.unwrap_or(0).saturating_sub(self.skip);
        let count = self.top.map_or(count, |top| count.min(top));
        version_2(response::content(
            StatusCode::OK,
            "text/plain;charset=utf-8",
            count.to_string(),
        ))
    }
}
