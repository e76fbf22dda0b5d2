//! GET of lists and single entities.

use http::{StatusCode, header};
use personium_model::AnswerReservation;
use personium_model::odata::{self, AccessKind, Entity, Expansion, Page, SetRef};
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
use super::response::{Callback, entity_view, version_2};
use super::service_authorizer::ServiceAuthorizer;
use crate::answer::AnswerText;
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
    let visible = filtered.then_some(&visible as &(dyn Fn(&Entity) -> bool + Sync));
    let mut memory = request.take_memory();
    let page = odata::list(&request.root, set, &query, visible, &mut memory).await?;
    let format = negotiate::choose(options.get("$format"), request.header(header::ACCEPT))
        .map_err(errors::format)?;
    let list = ShownList {
        set,
        query: &query,
        next: next_url(request, set.name(), &page),
        page,
        format,
        callback,
    };
    respond_with_page(request, list, memory).await
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
    pub(super) page: Page,
    /// The URL of the next page.
    pub(super) next: Option<String>,
    /// The format of the list.
    pub(super) format: ResponseFormat,
    /// The function of a script that receives the list.
    pub(super) callback: Callback<'a>,
}

/// The writer of the entities of a list.
enum ListWriter<'a> {
    Json(JsonWriter<'a>, Callback<'a>),
    Atom(AtomWriter<'a>),
}

impl<'a> ListWriter<'a> {
    fn new(request: &'a ODataRequest, list: &ShownList<'a>) -> Self {
        let (edm, base, shape) = (request.root.edm(), &request.base, EntityShape::Read);
        let (dialect, select) = (request.dialect(), &list.query.select);
        match list.format {
            ResponseFormat::Json => {
                let writer = JsonWriter::new(edm, base, shape);
                Self::Json(writer.dialect(dialect).select(select), list.callback)
            }
            ResponseFormat::Atom => {
                let writer = AtomWriter::new(edm, base, shape, request.unit.now_ms());
                let query = &request.query;
                Self::Atom(writer.dialect(dialect, query).select(select))
            }
        }
    }

    fn start(&self, out: &mut String, set: &str, end: ListEnd<'_>) {
        match self {
            Self::Json(_, callback) => {
                callback.push_start(out);
                JsonWriter::push_list_start(out);
            }
            Self::Atom(writer) => writer.push_feed_start(out, set, end),
        }
    }

    /// Writes the entity at a position of the page.
    fn entity(&self, out: &mut String, at: usize, entity: &EntityView<'_>) {
        match self {
            Self::Json(writer, _) => {
                if at > 0 {
                    out.push(',');
                }
                writer.push_entity(out, entity);
            }
            Self::Atom(writer) => writer.push_entry(out, entity),
        }
    }

    fn respond(self, mut answer: AnswerText, end: ListEnd<'_>) -> Response {
        match self {
            Self::Json(_, callback) => {
                JsonWriter::push_list_end(&mut answer.out, end);
                callback.respond(answer)
            }
            Self::Atom(_) => {
                AtomWriter::push_feed_end(&mut answer.out, end);
                answer.into_response("application/atom+xml;charset=utf-8")
            }
        }
    }
}

/// The response with a list. Each entity is dropped when it was written.
///
/// # Errors
/// As [`Expander::expand`].
pub(super) async fn respond_with_page(
    request: &ODataRequest,
    list: ShownList<'_>,
    memory: AnswerReservation,
) -> Result<Response> {
    let writer = ListWriter::new(request, &list);
    let ShownList {
        set,
        query,
        page,
        next,
        ..
    } = list;
    let end = ListEnd {
        count: page.count,
        next: next.as_deref(),
    };
    let max = request.unit.settings().odata.expand_list_max;
    let mut expander = Expander::new(request, set, &query.expand, max);
    let mut answer = AnswerText::new(memory, 512 * (page.entities.len() + 1));
    if answer.memory.is_counted() {
        let entities = page.entities.iter();
        answer.memory.keep(entities.map(Entity::memory_bytes).sum());
    }
    writer.start(&mut answer.out, set.name(), end);
    for (at, entity) in page.entities.into_iter().enumerate() {
        let expanded = expander.expand(&entity, &mut answer.memory).await?;
        let view = entity_view(set, &entity, expanded.views(&query.expand));
        writer.entity(&mut answer.out, at, &view);
        drop(view);
        if answer.memory.is_counted() {
            let bytes = entity.memory_bytes() + expanded.memory_bytes();
            answer.memory.free(bytes);
        }
        answer.count()?;
    }
    Ok(version_2(writer.respond(answer, end)))
}

/// The related entities of one entity that `$expand` includes.
pub(super) struct Expanded(Vec<(odata::Association, Vec<Entity>)>);

impl Expanded {
    fn memory_bytes(&self) -> usize {
        let entities = self.0.iter().flat_map(|(_, entities)| entities);
        entities.map(Entity::memory_bytes).sum()
    }

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

/// Reads the related entities of the entities of one response.
pub(super) struct Expander<'a> {
    request: &'a ODataRequest,
    set: &'a SetRef,
    expand: &'a Expand,
    /// The largest number of related entities for each navigation property.
    max: usize,
    /// The size of the values so far.
    bytes: usize,
}

impl<'a> Expander<'a> {
    pub(super) fn new(
        request: &'a ODataRequest,
        set: &'a SetRef,
        expand: &'a Expand,
        max: usize,
    ) -> Self {
        Self {
            request,
            set,
            expand,
            max,
            bytes: 0,
        }
    }

    /// The related entities of an entity. `memory` holds them.
    ///
    /// # Errors
    /// The refusal of the access check for a related set; [`Code::QueryRefused`] if the response would be too large; as
    /// [`AnswerReservation::hold`].
    pub(super) async fn expand(
        &mut self,
        entity: &Entity,
        memory: &mut AnswerReservation,
    ) -> Result<Expanded> {
        self.count(entity.properties.size_bytes())?;
        if self.expand.is_empty() {
            return Ok(Expanded(Vec::new()));
        }
        let root = &self.request.root;
        for name in self.expand.names() {
            if let Some(association) = root.association(self.set, name) {
                self.request
                    .permit_association(&association, AccessKind::Read)?;
            }
        }
        let expansion = Expansion {
            navigations: self.expand.names(),
            max: self.max,
        };
        let expanding = odata::expand(root, self.set, entity, expansion, memory);
        let found = Box::pin(expanding).await?;
        let related = found.iter().flat_map(|(_, entities)| entities);
        self.count(related.map(|e| e.properties.size_bytes()).sum())?;
        Ok(Expanded(found))
    }

    fn count(&mut self, bytes: usize) -> Result<()> {
        self.bytes += bytes;
        match self.bytes > self.request.unit.settings().odata.response_max_bytes {
            true => Err(Code::QueryRefused.into()),
            false => Ok(()),
        }
    }
}

/// `GET {Set}({key})`
///
/// # Errors
/// The refusal of the request.
pub(super) async fn get(request: &ODataRequest, set: &SetRef, key: &EntityKey) -> Result<Response> {
    request.permit(set, AccessKind::Read)?;
    let options = QueryOptions::parse(&request.query);
    let format = negotiate::choose(options.get("$format"), request.header(header::ACCEPT))
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
    let response = respond_with_one(request, set, entity, &query, format).await?;
    Ok(version_2(response).with_header(header::ETAG, &tag.weak().to_string()))
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

/// The response with one entity.
///
/// # Errors
/// As [`Expander::expand`].
pub(super) async fn respond_with_one(
    request: &ODataRequest,
    set: &SetRef,
    entity: Entity,
    query: &EntityQuery,
    format: ResponseFormat,
) -> Result<Response> {
    let max = request.unit.settings().odata.expand_retrieve_max;
    let mut memory = request.take_memory();
    memory.hold(entity.memory_bytes())?;
    let mut expander = Expander::new(request, set, &query.expand, max);
    let expanded = expander.expand(&entity, &mut memory).await?;
    let entity = entity_view(set, &entity, expanded.views(&query.expand));
    let mut answer = AnswerText::new(memory, 1024);
    let (edm, base, shape) = (request.root.edm(), &request.base, EntityShape::Read);
    let media_type = match format {
        ResponseFormat::Json => {
            JsonWriter::new(edm, base, shape)
                .dialect(request.dialect())
                .select(&query.select)
                .push_single(&mut answer.out, &entity);
            "application/json"
        }
        ResponseFormat::Atom => {
            answer.out = AtomWriter::new(edm, base, shape, request.unit.now_ms())
                .dialect(request.dialect(), &request.query)
                .select(&query.select)
                .entry(&entity);
            "application/atom+xml"
        }
    };
    answer.count()?;
    Ok(answer.into_response(media_type))
}
