//! `$batch`: many requests to a collection in one. Nothing is atomic over parts; each has its own answer.
//!
//! Creations that follow each other are stored by one commit.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use http::{HeaderValue, StatusCode, header};
use personium_model::Permit;
use personium_model::odata::{self, Creation, Entity, NavigationSource, SetRef};
use personium_odata::batch::{
    self, BatchError, BatchLimits, BatchWriter, Changeset, Method, Part, Target,
};
use personium_odata::body::{Intent, Route};
use personium_odata::etag::IfMatch;
use personium_odata::json::{self, JsonWriter, Shape};
use personium_odata::key::{EntityKey, KeyStyle};
use personium_odata::negotiate::BodyFormat;
use personium_odata::query::{EntityQuery, ListKind};
use personium_types::{Code, Error, Result};

use super::SCHEMA_RACES;
use super::service::{Service, etag, shown, version_2};
use super::service_authorizer::AccessKind;
use super::{links, read, write};
use crate::answer::{self, Answer};
use crate::error;

/// Creations that one commit stores at most.
const BULK: usize = 1_000;

/// `POST {collection}/$batch`
pub(super) async fn batch(service: &mut Service) -> Result<Answer> {
    service
        .gate
        .permit_use(&service.root, &service.call.access)?;
    let limits = &service.call.unit.settings().odata;
    let deadline = Instant::now() + Duration::from_millis(limits.batch_timeout_ms);
    let bounds = BatchLimits {
        parts: limits.batch_max,
        top_sum: limits.top_max,
    };
    let max = limits.batch_body_max;
    let content_type = service
        .call
        .header("content-type")
        .unwrap_or_default()
        .to_owned();
    let body = service.call.read_body(max).await?;
    let parts = batch::parse(&content_type, &body, &bounds).map_err(|fault| refused(&fault))?;
    let boundary = boundary_of(&content_type);
    let mut run = Run {
        service,
        writer: BatchWriter::new(boundary),
        deadline,
        given_up: false,
        seen: BTreeMap::new(),
    };
    let mut rest = parts.as_slice();
    while let Some(first) = rest.first() {
        let bulk = rest
            .iter()
            .take(BULK)
            .take_while(|p| kind(p) == kind(first) && is_creation(p))
            .count();
        let (now, later) = rest.split_at(bulk.max(1));
        run.keep_current().await;
        if is_creation(first) {
            run.create(now).await
        } else {
            run.single(first).await
        }
        rest = later;
    }
    let answer = answer::with_body(StatusCode::ACCEPTED, crate::body::empty());
    Ok(version_2(finish(answer, run.writer)))
}

fn finish(mut answer: Answer, writer: BatchWriter) -> Answer {
    if let Ok(value) = HeaderValue::from_str(&writer.content_type()) {
        answer.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    *answer.body_mut() = crate::body::full(writer.finish());
    answer
}

fn boundary_of(content_type: &str) -> &str {
    let at = content_type
        .find("boundary=")
        .map_or(content_type.len(), |at| at + "boundary=".len());
    let text = content_type.get(at..).unwrap_or_default();
    text.split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .trim_matches('"')
}

fn refused(fault: &BatchError) -> Error {
    match fault {
        BatchError::Framing => Code::BatchBody.into(),
        BatchError::ContentType => Error::new(Code::BatchHeader).with("Content-Type"),
        BatchError::NestedChangeset => Code::BatchNested.into(),
        BatchError::TooManyParts(count) => {
            Error::new(Code::BatchTooMany).with(batch::grouped_digits(*count))
        }
        BatchError::Method(method) => Error::new(Code::BatchMethod).with(method),
        BatchError::Path(line) => Error::new(Code::BatchPath).with(line),
        BatchError::TopSum => Code::BatchTopSum.into(),
    }
}

#[derive(PartialEq, Eq)]
enum Kind {
    Create,
    CreateLinked,
    Other,
}

fn kind(part: &Part<'_>) -> Kind {
    match (part.method, &part.target) {
        (Method::Post, Target::Set(_)) => Kind::Create,
        (Method::Post, Target::Navigation { target: None, .. }) => Kind::CreateLinked,
        _ => Kind::Other,
    }
}

fn is_creation(part: &Part<'_>) -> bool {
    kind(part) != Kind::Other
}

/// The answer to one part.
struct Outcome {
    status: StatusCode,
    headers: Vec<(&'static str, String)>,
    body: Option<String>,
}

impl Outcome {
    fn json(status: StatusCode, body: String) -> Self {
        let headers = vec![("Content-Type", "application/json".to_owned()), version()];
        Self {
            status,
            headers,
            body: Some(body),
        }
    }

    fn no_content() -> Self {
        Self {
            status: StatusCode::NO_CONTENT,
            headers: vec![version()],
            body: None,
        }
    }

    fn with(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }
}

fn version() -> (&'static str, String) {
    ("DataServiceVersion", "2.0".to_owned())
}

struct Run<'s> {
    service: &'s mut Service,
    writer: BatchWriter,
    deadline: Instant,
    /// Whether a write failed for too many concurrent requests: later writes fail at once.
    given_up: bool,
    /// The sets as they were before these creations: their answers show the properties known then.
    seen: BTreeMap<String, SetRef>,
}

impl Run<'_> {
    fn answer(&mut self, changeset: Option<Changeset<'_>>, outcome: Result<Outcome>) {
        let outcome = outcome.unwrap_or_else(|refusal| {
            // The credentials are the batch's: a part can only lack a privilege.
            let refusal = match refusal.code().status() {
                401 => Code::PrivilegeLacking.into(),
                _ => refusal,
            };
            self.given_up |= refusal.code() == Code::Conflict;
            error::log(&refusal, &self.service.call.request_key);
            let status = StatusCode::from_u16(refusal.code().status())
                .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let body = error::body(&refusal, &self.service.call.request_key).to_string();
            let headers = vec![("Content-Type", "application/json".to_owned())];
            Outcome {
                status,
                headers,
                body: Some(body),
            }
        });
        let headers: Vec<(&str, &str)> = outcome
            .headers
            .iter()
            .map(|(n, v)| (*n, v.as_str()))
            .collect();
        self.writer.part(
            changeset,
            outcome.status.as_u16(),
            &headers,
            outcome.body.as_deref(),
        );
    }

    fn check_time(&self, writes: bool) -> Result<()> {
        if Instant::now() > self.deadline {
            return Err(Code::RequestTimeout.into());
        }
        if writes && self.given_up {
            Err(Code::Conflict.into())
        } else {
            Ok(())
        }
    }

    /// Stores consecutive creations together.
    async fn create(&mut self, parts: &[Part<'_>]) {
        self.seen.clear();
        for _ in 0..SCHEMA_RACES {
            let mut slots: Vec<Option<Result<Outcome>>> = Vec::with_capacity(parts.len());
            let mut creations = Vec::new();
            let mut permit = None;
            for part in parts {
                match self.creation(part).await {
                    Ok((allowed, creation)) => {
                        permit.get_or_insert(allowed);
                        creations.push(creation);
                        slots.push(None);
                    }
                    Err(refusal) => slots.push(Some(Err(refusal))),
                }
            }
            let stored = match &permit {
                Some(permit) => odata::create(&self.service.root, permit, &creations).await,
                None => Ok(Vec::new()),
            };
            let stored = match stored {
                Err(refusal) => match self.goes_on(refusal).await {
                    Ok(()) => continue,
                    Err(refusal) => return self.answer_all(parts, refusal.code()),
                },
                Ok(stored) => stored,
            };
            let mut made = creations.into_iter().zip(stored);
            for (part, slot) in parts.iter().zip(slots) {
                let outcome = slot.or_else(|| {
                    let (creation, stored) = made.next()?;
                    Some(stored.map(|entity| self.created(&creation, &entity)))
                });
                self.answer(
                    part.changeset,
                    outcome.unwrap_or_else(|| Err(Code::Unknown.into())),
                );
            }
            return;
        }
        self.answer_all(parts, Code::Conflict);
    }

    fn answer_all(&mut self, parts: &[Part<'_>], code: Code) {
        for part in parts {
            self.answer(part.changeset, Err(code.into()));
        }
    }

    /// Reads the schema anew if it changed, so that later parts see properties that earlier ones or others registered.
    async fn keep_current(&mut self) {
        let outdated = self.service.root.is_stale().await;
        let kept = match outdated {
            Ok(true) => self.service.reload().await,
            Ok(false) => Ok(()),
            Err(failure) => Err(failure),
        };
        if let Err(failure) = kept {
            tracing::warn!("the schema could not be read anew within a batch: {failure}");
        }
    }

    /// Reads the schema anew if that is why something was refused; gives other refusals back.
    async fn goes_on(&mut self, refusal: Error) -> Result<()> {
        if self.service.is_outdated(&refusal).await? {
            self.service.reload().await
        } else {
            Err(refusal)
        }
    }

    async fn creation(&mut self, part: &Part<'_>) -> Result<(Permit, Creation)> {
        self.check_time(true)?;
        let (set, linked, permit, route) = match &part.target {
            Target::Navigation {
                set,
                id,
                navigation,
                ..
            } => {
                let set = self.service.root.set(set)?;
                let association = self
                    .service
                    .root
                    .association(&set, navigation)
                    .ok_or(Code::NoSuchNavigation)?;
                let permit = self.service.both(&association, AccessKind::Writing)?;
                let there = association.target_set.clone();
                let linked = NavigationSource {
                    association,
                    source: EntityKey::single(id.as_str()),
                };
                (there, Some(linked), permit, Route::Navigation)
            }
            Target::Set(name)
            | Target::Entity { set: name, .. }
            | Target::Links { set: name, .. } => {
                let set = self.service.root.set(name)?;
                let permit = self.permit(&set, AccessKind::Writing)?;
                (set, None, permit, Route::Direct)
            }
        };
        self.seen
            .entry(set.name().to_owned())
            .or_insert_with(|| set.clone());
        let accepted = odata::accept(
            &self.service.root,
            &set,
            part.body.as_bytes(),
            Intent::Create,
            route,
        )
        .await?;
        let hidden = BTreeMap::new();
        Ok((
            permit,
            Creation {
                set,
                accepted,
                hidden,
                navigation: linked,
                exists: Code::EntityExists,
            },
        ))
    }

    fn permit(&self, set: &SetRef, doing: AccessKind) -> Result<Permit> {
        self.service
            .gate
            .permit(&self.service.root, &self.service.call.access, set, doing)
    }

    fn created(&self, creation: &Creation, entity: &Entity) -> Outcome {
        let set = self.seen.get(creation.set.name()).unwrap_or(&creation.set);
        let mut body = String::with_capacity(512);
        JsonWriter::new(
            self.service.root.edm(),
            &self.service.base,
            Shape::BatchCreated,
        )
        .push_single(&mut body, &shown(set, entity, Vec::new()));
        let style = if creation.navigation.is_some() {
            KeyStyle::Plain
        } else {
            KeyStyle::Encoded
        };
        let url = json::entity_url(
            &self.service.base,
            &set.entity_type,
            &entity.properties,
            style,
        );
        Outcome::json(StatusCode::CREATED, body)
            .with("Location", url)
            .with("ETag", etag(entity).to_string())
    }

    async fn single(&mut self, part: &Part<'_>) {
        let mut outcome = self.outcome(part).await;
        for _ in 1..SCHEMA_RACES {
            let Err(refusal) = outcome else { break };
            outcome = match self.goes_on(refusal).await {
                Ok(()) => self.outcome(part).await,
                Err(refusal) => Err(refusal),
            };
        }
        self.answer(part.changeset, outcome);
    }

    async fn outcome(&mut self, part: &Part<'_>) -> Result<Outcome> {
        self.check_time(part.method != Method::Get)?;
        let max = self.service.call.unit.settings().odata.answer_max;
        if part.method == Method::Get && self.writer.len() > max {
            return Err(Code::QueryRefused.into());
        }
        match (part.method, &part.target) {
            (Method::Get, Target::Set(name)) => self.list(name, part.query).await,
            (Method::Get, Target::Entity { set, id }) => self.get(set, id).await,
            (Method::Put, Target::Entity { set, id }) => self.replace(part, set, id).await,
            (Method::Delete, Target::Entity { set, id }) => self.delete(part, set, id).await,
            (
                Method::Post,
                Target::Links {
                    set,
                    id,
                    navigation,
                    target: None,
                },
            ) => self.link(part, set, id, navigation).await,
            (
                _,
                Target::Navigation {
                    target: Some(_), ..
                }
                | Target::Links {
                    target: Some(_), ..
                },
            ) if part.method == Method::Post => Err(Code::KeyForNavigation.into()),
            (
                _,
                Target::Navigation {
                    set,
                    navigation,
                    target,
                    ..
                },
            ) => {
                let set = self.service.root.set(set)?;
                self.service
                    .root
                    .association(&set, navigation)
                    .ok_or(Code::NoSuchNavigation)?;
                Err(if target.is_some() {
                    Code::KeyForNavigation
                } else {
                    Code::NotImplementedMethod
                }
                .into())
            }
            _ => Err(Code::NotImplementedMethod.into()),
        }
    }

    async fn list(&self, name: &str, query: &str) -> Result<Outcome> {
        let service = &*self.service;
        let set = service.root.set(name)?;
        self.permit(&set, AccessKind::Reading)?;
        let query = read::list_query(service, query, &set, ListKind::Set)?;
        let page = odata::list(&service.root, &set, &query, None).await?;
        let body = read::render_list(service, &set, &query, &page, BodyFormat::Json).await?;
        Ok(Outcome::json(StatusCode::OK, body))
    }

    async fn get(&self, name: &str, id: &str) -> Result<Outcome> {
        let set = self.service.root.set(name)?;
        self.permit(&set, AccessKind::Reading)?;
        let found = odata::find(&self.service.root, &set, &EntityKey::single(id))
            .await?
            .ok_or(Code::NoSuchEntity)?;
        let (body, _) = read::render_one(
            self.service,
            &set,
            &found,
            &EntityQuery::default(),
            BodyFormat::Json,
        )
        .await?;
        Ok(Outcome::json(StatusCode::OK, body))
    }

    async fn replace(&mut self, part: &Part<'_>, name: &str, id: &str) -> Result<Outcome> {
        let set = self.service.root.set(name)?;
        let permit = self.permit(&set, AccessKind::Writing)?;
        let if_match = if_match(part)?;
        let (key, body) = (EntityKey::single(id), part.body.as_bytes());
        let etag = write::store_change(
            self.service,
            &set,
            &key,
            &permit,
            (body, Intent::Replace, if_match),
        )
        .await?;
        Ok(Outcome::no_content().with("ETag", etag))
    }

    async fn delete(&self, part: &Part<'_>, name: &str, id: &str) -> Result<Outcome> {
        let set = self.service.root.set(name)?;
        let permit = self.permit(&set, AccessKind::Writing)?;
        let key = EntityKey::single(id);
        odata::delete(
            &self.service.root,
            &permit,
            &set,
            &key,
            if_match(part)?,
            &|_| Ok(()),
        )
        .await?;
        Ok(Outcome::no_content())
    }

    async fn link(
        &self,
        part: &Part<'_>,
        name: &str,
        id: &str,
        navigation: &str,
    ) -> Result<Outcome> {
        let set = self.service.root.set(name)?;
        let association = self.service.root.link_association(&set, navigation)?;
        let permit = self.service.both(&association, AccessKind::Writing)?;
        let target = links::target_of(self.service, &association, part.body.as_bytes())?;
        odata::add_link(
            &self.service.root,
            &permit,
            &association,
            &EntityKey::single(id),
            &target,
        )
        .await?;
        Ok(Outcome::no_content())
    }
}

fn if_match(part: &Part<'_>) -> Result<IfMatch> {
    IfMatch::parse(part.header("if-match")).map_err(|_| Code::EntityTagMismatch.into())
}
