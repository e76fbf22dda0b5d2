//! GET of lists and single entities.

use http::{StatusCode, header};
use personium_model::odata::{self, Entity, Page, SetRef};
use personium_model::settings::OdataLimits;
use personium_odata::atom::AtomWriter;
use personium_odata::etag;
use personium_odata::json::{self, JsonWriter, Shape};
use personium_odata::key::EntityKey;
use personium_odata::negotiate::{self, BodyFormat};
use personium_odata::query::{
    EntityQuery, Expand, Limits, ListKind, Options, ParsedListQuery, TypedListQuery,
};
use personium_types::{Code, Result};

use super::faults;
use super::service::{self, Service, shown, version_2};
use super::service_authorizer::AccessKind;
use crate::answer::{self, Answer, WithHeader};

/// The limits of queries as the language crate wants them.
pub(super) fn limits(limits: &OdataLimits) -> Limits {
    Limits {
        top_default: limits.top_default,
        top_max: limits.top_max,
        skip_max: limits.skip_max,
        expand_top_max: limits.expand_top_max,
        expand_list_max: limits.expand_list_properties,
        expand_one_max: limits.expand_retrieve_properties,
    }
}

/// Reads and checks the query of a list.
pub(super) fn list_query(
    service: &Service,
    raw: &str,
    set: &SetRef,
    kind: ListKind,
) -> Result<TypedListQuery> {
    let options = Options::parse(raw);
    let limits = limits(&service.call.unit.settings().odata);
    let parsed = ParsedListQuery::parse(&options, &limits, kind).map_err(|f| faults::query(&f))?;
    parsed
        .check(&set.entity_type)
        .map_err(|f| faults::query(&f))
}

/// `GET {Set}`
pub(super) async fn list(service: &Service, set: &SetRef) -> Result<Answer> {
    service.gate.permit(
        &service.root,
        &service.call.access,
        set,
        AccessKind::Reading,
    )?;
    let query = list_query(service, &service.call.query, set, ListKind::Set)?;
    let visible = |entity: &Entity| {
        service
            .gate
            .shows(&service.root, &service.call.access, entity)
    };
    let filtered = matches!(
        service.gate,
        super::service_authorizer::ServiceAuthorizer::Unit
    );
    let page = odata::list(&service.root, set, &query, filtered.then_some(&visible)).await?;
    let options = Options::parse(&service.call.query);
    let format = negotiate::choose(options.get("$format"), service.call.header("accept"))
        .map_err(faults::format)?;
    let body = render_list(service, set, &query, &page, format).await?;
    Ok(list_answer(body, format, options.get("$callback")))
}

/// The body of a list.
pub(super) async fn render_list(
    service: &Service,
    set: &SetRef,
    query: &TypedListQuery,
    page: &Page,
    format: BodyFormat,
) -> Result<String> {
    let max = service.call.unit.settings().odata.expand_list_max;
    let expanded = expand_all(service, set, &page.entities, &query.expand, max).await?;
    let entities: Vec<json::Entity<'_>> = page
        .entities
        .iter()
        .zip(&expanded)
        .map(|(e, x)| shown(set, e, x.shown(&query.expand)))
        .collect();
    let mut out = String::with_capacity(512 * (entities.len() + 1));
    match format {
        BodyFormat::Json => JsonWriter::new(service.root.edm(), &service.base, Shape::Read)
            .select(&query.select)
            .push_list(&mut out, &entities, page.count),
        BodyFormat::Atom => {
            let now = service.call.unit.now_ms();
            out = AtomWriter::new(service.root.edm(), &service.base, Shape::Read, now)
                .select(&query.select)
                .feed(set.name(), &entities, page.count);
        }
    }
    Ok(out)
}

/// The answer with a list.
pub(super) fn list_answer(body: String, format: BodyFormat, callback: Option<&str>) -> Answer {
    version_2(match (format, callback) {
        (BodyFormat::Json, Some(name)) => answer::content(
            StatusCode::OK,
            "text/javascript;charset=utf-8",
            json::with_callback(name, &body),
        ),
        (BodyFormat::Json, None) => {
            answer::content(StatusCode::OK, "application/json;charset=utf-8", body)
        }
        (BodyFormat::Atom, _) => {
            answer::content(StatusCode::OK, "application/atom+xml;charset=utf-8", body)
        }
    })
}

/// What `$expand` found for one entity.
pub(super) struct Expanded(Vec<(odata::Association, Vec<Entity>)>);

impl Expanded {
    /// For the writers. `expand` gives the names.
    pub(super) fn shown<'a>(&'a self, expand: &'a Expand) -> Vec<json::Expanded<'a>> {
        self.0
            .iter()
            .zip(expand.names())
            .map(|((association, entities), name)| json::Expanded {
                navigation: name,
                entities: entities
                    .iter()
                    .map(|e| shown(&association.target_set, e, Vec::new()))
                    .collect(),
            })
            .collect()
    }
}

/// What `$expand` finds for each of the entities.
///
/// # Errors
/// 403 without the privilege for what is expanded, 400 if all of it is too large for an answer.
pub(super) async fn expand_all(
    service: &Service,
    set: &SetRef,
    entities: &[Entity],
    expand: &Expand,
    max: usize,
) -> Result<Vec<Expanded>> {
    let mut out = Vec::with_capacity(entities.len());
    let mut bytes: usize = entities.iter().map(|e| e.properties.weight()).sum();
    for entity in entities {
        let found = if expand.is_empty() {
            Vec::new()
        } else {
            for name in expand.names() {
                if let Some(association) = service.root.association(set, name) {
                    service.both(&association, AccessKind::Reading)?;
                }
            }
            odata::expand(&service.root, set, entity, expand.names(), max).await?
        };
        let shown = found.iter().flat_map(|(_, entities)| entities);
        bytes += shown.map(|e| e.properties.weight()).sum::<usize>();
        if bytes > service.call.unit.settings().odata.answer_max {
            return Err(Code::QueryRefused.into());
        }
        out.push(Expanded(found));
    }
    Ok(out)
}

/// `GET {Set}({key})`
pub(super) async fn get(service: &Service, set: &SetRef, key: &EntityKey) -> Result<Answer> {
    service.gate.permit(
        &service.root,
        &service.call.access,
        set,
        AccessKind::Reading,
    )?;
    let options = Options::parse(&service.call.query);
    let format = negotiate::choose(options.get("$format"), service.call.header("accept"))
        .map_err(faults::format)?;
    let query = EntityQuery::parse(&options, &limits(&service.call.unit.settings().odata));
    let query = query.map_err(|f| faults::query(&f))?;
    query
        .expand
        .check(&set.entity_type)
        .map_err(|f| faults::query(&f))?;
    let entity = odata::find(&service.root, set, key)
        .await?
        .ok_or(Code::NoSuchEntity)?;
    service
        .gate
        .check_owner(&service.root, &service.call.access, &entity)?;
    let tag = service::etag(&entity);
    if etag::is_not_modified(service.call.header("if-none-match"), tag) {
        return Ok(version_2(answer::status(StatusCode::NOT_MODIFIED)));
    }
    let (body, media_type) = render_one(service, set, &entity, &query, format).await?;
    Ok(version_2(answer::content(StatusCode::OK, media_type, body))
        .with(header::ETAG, &tag.to_string()))
}

/// The body of one entity, with its media type.
pub(super) async fn render_one(
    service: &Service,
    set: &SetRef,
    entity: &Entity,
    query: &EntityQuery,
    format: BodyFormat,
) -> Result<(String, &'static str)> {
    let max = service.call.unit.settings().odata.expand_retrieve_max;
    let expanded = expand_all(
        service,
        set,
        std::slice::from_ref(entity),
        &query.expand,
        max,
    )
    .await?;
    let expanded = expanded
        .first()
        .map(|x| x.shown(&query.expand))
        .unwrap_or_default();
    let entity = shown(set, entity, expanded);
    let mut out = String::with_capacity(1024);
    Ok(match format {
        BodyFormat::Json => {
            JsonWriter::new(service.root.edm(), &service.base, Shape::Read)
                .select(&query.select)
                .push_single(&mut out, &entity);
            (out, "application/json")
        }
        BodyFormat::Atom => {
            let now = service.call.unit.now_ms();
            let writer = AtomWriter::new(service.root.edm(), &service.base, Shape::Read, now)
                .select(&query.select);
            (writer.entry(&entity), "application/atom+xml")
        }
    })
}
