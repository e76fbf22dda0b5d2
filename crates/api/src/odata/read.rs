//! GET of lists and single entities.

use http::{StatusCode, header};
use personium_model::odata::{self, AccessKind, Entity, Page, SetRef};
use personium_model::settings::ODataSettings;
use personium_odata::atom::AtomWriter;
use personium_odata::entity_view::{EntityShape, EntityView, ExpandedNavigation, ListEnd};
use personium_odata::json::JsonWriter;
use personium_odata::key::EntityKey;
use personium_odata::negotiate::{self, ResponseFormat};
use personium_odata::query::{
    EntityQuery, Expand, ListKind, ParsedListQuery, QueryLimits, QueryOptions, TypedListQuery,
    next_page_query,
};
use personium_types::preconditions::{Outcome, RequestKind, ResourceState};
use personium_types::{Code, ETag, Result};

use super::errors;
use super::request::ODataRequest;
use super::response::{Callback, entity_view, json_or_script, version_2};
use super::service_authorizer::ServiceAuthorizer;
use crate::response::{self, Response, WithHeader};

/// The limits of queries in the form of the query parser.
pub(super) fn limits(limits: &ODataSettings) -> QueryLimits {
    QueryLimits {
        default_top: limits.top_default,
        max_top: limits.top_max,
        max_skip: limits.skip_max,
        max_top_with_expand: limits.expand_top_max,
        max_list_expands: limits.expand_list_properties_max,
        max_entity_expands: limits.expand_retrieve_properties_max,
    }
}

/// Reads and checks the query of a list.
///
/// # Errors
/// The code for the first option that is not valid.
pub(super) fn list_query(
    request: &ODataRequest,
    raw: &str,
    set: &SetRef,
    kind: ListKind,
) -> Result<TypedListQuery> {
    let options = QueryOptions::parse(raw);
    let limits = limits(&request.unit.settings().odata);
    let parsed = ParsedListQuery::parse(&options, &limits, kind, request.dialect());
    parsed
        .map_err(|f| errors::query(&f))?
        .check(&set.entity_type)
        .map_err(|f| errors::query(&f))
}

/// `GET {Set}`
///
/// # Errors
/// The refusal of the request.
pub(super) async fn list(request: &ODataRequest, set: &SetRef) -> Result<Response> {
    request.permit(set, AccessKind::Read)?;
    request.check_conditions()?;
    let options = QueryOptions::parse(&request.query);
    let callback = Callback::read(&options)?;
    let query = list_query(request, &request.query, set, ListKind::Set)?;
    let visible = |entity: &Entity| request.can_see(entity);
    let filtered = matches!(request.authorizer, ServiceAuthorizer::Unit);
    let page = odata::list(&request.root, set, &query, filtered.then_some(&visible)).await?;
    let format = negotiate::choose(options.get("$format"), request.header("accept"))
        .map_err(errors::format)?;
    let next = next_url(request, set.name(), &page);
    let list = ShownList {
        set,
        query: &query,
        page: &page,
        next: next.as_deref(),
    };
    let body = render_page(request, &list, format).await?;
    Ok(list_response(body, format, callback))
}

/// The URL of the page after this one. `path` is that of the list below the root.
pub(super) fn next_url(request: &ODataRequest, path: &str, page: &Page) -> Option<String> {
    let query = next_page_query(&request.query, page.next.as_ref()?);
    Some(format!("{}{path}?{query}", request.base))
}

/// A list for a response.
pub(super) struct ShownList<'a> {
    /// The set of the entities.
    pub(super) set: &'a SetRef,
    /// The query.
    pub(super) query: &'a TypedListQuery,
    /// The entities.
    pub(super) page: &'a Page,
    /// The URL of the next page.
    pub(super) next: Option<&'a str>,
}

/// The body of a list.
///
/// # Errors
/// As [`expand_all`].
pub(super) async fn render_page(
    request: &ODataRequest,
    list: &ShownList<'_>,
    format: ResponseFormat,
) -> Result<String> {
    let ShownList {
        set, query, page, ..
    } = *list;
    let max = request.unit.settings().odata.expand_list_max;
    let expanded = expand_all(request, set, &page.entities, &query.expand, max).await?;
    let entities: Vec<EntityView<'_>> = page
        .entities
        .iter()
        .zip(&expanded)
        .map(|(e, x)| entity_view(set, e, x.views(&query.expand)))
        .collect();
    let end = ListEnd {
        count: page.count,
        next: list.next,
    };
    let dialect = request.dialect();
    let mut out = String::with_capacity(512 * (entities.len() + 1));
    match format {
        ResponseFormat::Json => {
            JsonWriter::new(request.root.edm(), &request.base, EntityShape::Read)
                .dialect(dialect)
                .select(&query.select)
                .push_list(&mut out, &entities, end)
        }
        ResponseFormat::Atom => {
            let now = request.unit.now_ms();
            out = AtomWriter::new(request.root.edm(), &request.base, EntityShape::Read, now)
                .dialect(dialect, &request.query)
                .select(&query.select)
                .feed(set.name(), &entities, end);
        }
    }
    Ok(out)
}

/// The response with a list.
pub(super) fn list_response(
    body: String,
    format: ResponseFormat,
    callback: Callback<'_>,
) -> Response {
    version_2(match format {
        ResponseFormat::Json => json_or_script(body, callback),
        ResponseFormat::Atom => {
            response::content(StatusCode::OK, "application/atom+xml;charset=utf-8", body)
        }
    })
}

/// The related entities of one entity that `$expand` includes.
pub(super) struct Expanded(Vec<(odata::Association, Vec<Entity>)>);

impl Expanded {
    /// The entities for the writers. `expand` gives the names.
    pub(super) fn views<'a>(&'a self, expand: &'a Expand) -> Vec<ExpandedNavigation<'a>> {
        self.0
            .iter()
            .zip(expand.names())
            .map(|((association, entities), name)| ExpandedNavigation {
                navigation: name,
                entities: entities
                    .iter()
                    .map(|e| entity_view(&association.target.set, e, Vec::new()))
                    .collect(),
            })
            .collect()
    }
}

/// The related entities of each entity.
///
/// # Errors
/// The refusal of the access check for a related set; [`Code::QueryRefused`] if the response would be too large.
pub(super) async fn expand_all(
    request: &ODataRequest,
    set: &SetRef,
    entities: &[Entity],
    expand: &Expand,
    max: usize,
) -> Result<Vec<Expanded>> {
    let mut out = Vec::with_capacity(entities.len());
    let mut bytes: usize = entities.iter().map(|e| e.properties.size_bytes()).sum();
    for entity in entities {
        let found = if expand.is_empty() {
            Vec::new()
        } else {
            for name in expand.names() {
                if let Some(association) = request.root.association(set, name) {
                    request.permit_association(&association, AccessKind::Read)?;
                }
            }
            odata::expand(&request.root, set, entity, expand.names(), max).await?
        };
        let related = found.iter().flat_map(|(_, entities)| entities);
        bytes += related.map(|e| e.properties.size_bytes()).sum::<usize>();
        if bytes > request.unit.settings().odata.response_max_bytes {
            return Err(Code::QueryRefused.into());
        }
        out.push(Expanded(found));
    }
    Ok(out)
}

/// `GET {Set}({key})`
///
/// # Errors
/// The refusal of the request.
pub(super) async fn get(request: &ODataRequest, set: &SetRef, key: &EntityKey) -> Result<Response> {
    request.permit(set, AccessKind::Read)?;
    let options = QueryOptions::parse(&request.query);
    let format = negotiate::choose(options.get("$format"), request.header("accept"))
        .map_err(errors::format)?;
    let query = EntityQuery::parse(&options, &limits(&request.unit.settings().odata));
    let query = query.map_err(|f| errors::query(&f))?;
    query
        .expand
        .check(&set.entity_type)
        .map_err(|f| errors::query(&f))?;
    let entity = odata::find(&request.root, set, key)
        .await?
        .ok_or(Code::NoSuchEntity)?;
    request.check_owner(&entity)?;
    let tag = entity.stored.etag();
    if let Some(response) = not_modified(request, tag)? {
        return Ok(response);
    }
    let (body, media_type) = render_one(request, set, &entity, &query, format).await?;
    Ok(
        version_2(response::content(StatusCode::OK, media_type, body))
            .with_header(header::ETAG, &tag.weak().to_string()),
    )
}

/// The response for a client that has the current state of an entity already.
///
/// # Errors
/// [`Code::EntityTagMismatch`] if a condition of the request is false.
pub(super) fn not_modified(request: &ODataRequest, tag: ETag) -> Result<Option<Response>> {
    let state = ResourceState::of_entity(tag);
    match request.preconditions().evaluate(RequestKind::Read, state) {
        Outcome::Proceed => Ok(None),
        // Without the tag, as recorded.
        Outcome::NotModified => Ok(Some(version_2(response::status(StatusCode::NOT_MODIFIED)))),
        Outcome::Failed => Err(Code::EntityTagMismatch.into()),
    }
}

/// The body of one entity, with its media type.
///
/// # Errors
/// As [`expand_all`].
pub(super) async fn render_one(
    request: &ODataRequest,
    set: &SetRef,
    entity: &Entity,
    query: &EntityQuery,
    format: ResponseFormat,
) -> Result<(String, &'static str)> {
    let max = request.unit.settings().odata.expand_retrieve_max;
    let expanded = expand_all(
        request,
        set,
        std::slice::from_ref(entity),
        &query.expand,
        max,
    )
    .await?;
    let expanded = expanded
        .first()
        .map(|x| x.views(&query.expand))
        .unwrap_or_default();
    let entity = entity_view(set, entity, expanded);
    let mut out = String::with_capacity(1024);
    Ok(match format {
        ResponseFormat::Json => {
            JsonWriter::new(request.root.edm(), &request.base, EntityShape::Read)
                .dialect(request.dialect())
                .select(&query.select)
                .push_single(&mut out, &entity);
            (out, "application/json")
        }
        ResponseFormat::Atom => {
            let now = request.unit.now_ms();
            let writer = AtomWriter::new(request.root.edm(), &request.base, EntityShape::Read, now)
                .dialect(request.dialect(), &request.query)
                .select(&query.select);
            (writer.entry(&entity), "application/atom+xml")
        }
    })
}
