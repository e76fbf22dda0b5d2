//! The execution of the parts of a batch.

use std::collections::BTreeMap;
use std::time::Instant;

use http::StatusCode;
use personium_model::Permit;
use personium_model::odata::{
    self, AccessKind, Creation, Entity, EntityRef, NavigationSource, SetRef,
};
use personium_odata::batch::{BatchMethod, BatchPart, BatchTarget, BatchWriter, Changeset};
use personium_odata::body::{Intent, Route};
use personium_odata::entity_view::EntityShape;
use personium_odata::json::{self, JsonWriter};
use personium_odata::key::{EntityKey, KeyStyle};
use personium_odata::negotiate::ResponseFormat;
use personium_odata::query::{EntityQuery, ListKind};
use personium_types::preconditions::ConditionHeaders;
use personium_types::{Code, Error, Preconditions, Result};

use super::part_response::PartResponse;
use crate::error;
use crate::odata::request::ODataRequest;
use crate::odata::response::entity_view;
use crate::odata::{MAX_SCHEMA_RETRIES, links, read, write};

/// Executes the parts of a batch and writes their responses.
pub(super) struct BatchExecutor<'r> {
    request: &'r mut ODataRequest,
    writer: BatchWriter,
    deadline: Instant,
    /// Whether a write failed for too many concurrent requests. Later writes fail at once.
    write_conflict: bool,
    /// The sets before the current creations: the responses show the properties that were known then.
    sets_before: BTreeMap<String, SetRef>,
}

impl<'r> BatchExecutor<'r> {
    /// An executor that refuses parts after the deadline.
    pub(super) fn new(
        request: &'r mut ODataRequest,
        writer: BatchWriter,
        deadline: Instant,
    ) -> Self {
        Self {
            request,
            writer,
            deadline,
            write_conflict: false,
            sets_before: BTreeMap::new(),
        }
    }

    /// The writer with all responses.
    pub(super) fn into_writer(self) -> BatchWriter {
        self.writer
    }

    /// Reads the schema again if it changed, so that the next parts see properties that were registered meanwhile.
    pub(super) async fn refresh_schema_if_stale(&mut self) {
        let refreshed = match self.request.root.is_stale().await {
            Ok(true) => self.request.refresh_schema().await,
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = refreshed {
            tracing::warn!(
                request.key = self.request.request_key,
                error = %error,
                "failed to refresh the schema within a batch"
            );
        }
    }

    /// Reads the schema again if that is the reason of a refusal; returns other refusals.
    async fn retry_if_schema_changed(&mut self, refusal: Error) -> Result<()> {
        if self.request.is_stale(&refusal).await? {
            self.request.refresh_schema().await
        } else {
            Err(refusal)
        }
    }

    fn write_response(&mut self, changeset: Option<Changeset<'_>>, outcome: Result<PartResponse>) {
        let response = outcome.unwrap_or_else(|refusal| {
            // The credentials are those of the batch: a part can only lack a privilege.
            let refusal = match refusal.code().status() {
                401 => Code::PrivilegeLacking.into(),
                _ => refusal,
            };
            self.write_conflict |= refusal.code() == Code::Conflict;
            error::log(&refusal, &self.request.request_key);
            PartResponse::refused(&refusal, &self.request.request_key)
        });
        let headers = response.headers.iter();
        let headers: Vec<(&str, &str)> = headers.map(|(n, v)| (*n, v.as_str())).collect();
        let status = response.status.as_u16();
        self.writer
            .push_part(changeset, status, &headers, response.body.as_deref());
    }

    fn refuse_all(&mut self, parts: &[BatchPart<'_>], code: Code) {
        for part in parts {
            self.write_response(part.changeset, Err(code.into()));
        }
    }

    fn check_time(&self, kind: AccessKind) -> Result<()> {
        if self.request.unit.clock().monotonic() > self.deadline {
            return Err(Code::RequestTimeout.into());
        }
        if kind == AccessKind::Write && self.write_conflict {
            return Err(Code::Conflict.into());
        }
        Ok(())
    }

    /// Stores consecutive creations together.
    pub(super) async fn create(&mut self, parts: &[BatchPart<'_>]) {
        self.sets_before.clear();
        for _ in 0..MAX_SCHEMA_RETRIES {
            match self.try_create(parts).await {
                Ok(outcomes) => {
                    for (part, outcome) in parts.iter().zip(outcomes) {
                        self.write_response(part.changeset, outcome);
                    }
                    return;
                }
                Err(refusal) => {
                    if let Err(refusal) = self.retry_if_schema_changed(refusal).await {
                        return self.refuse_all(parts, refusal.code());
                    }
                }
            }
        }
        self.refuse_all(parts, Code::Conflict);
    }

    /// The outcome of each creation.
    ///
    /// # Errors
    /// The refusal of the commit, which is one for all.
    async fn try_create(&mut self, parts: &[BatchPart<'_>]) -> Result<Vec<Result<PartResponse>>> {
        let mut refusals: Vec<Option<Error>> = Vec::with_capacity(parts.len());
        let mut creations = Vec::new();
        let mut permit = None;
        for part in parts {
            match self.read_creation(part).await {
                Ok((allowed, creation)) => {
                    permit.get_or_insert(allowed);
                    creations.push(creation);
                    refusals.push(None);
                }
                Err(refusal) => refusals.push(Some(refusal)),
            }
        }
        let stored = match &permit {
            Some(permit) => odata::create(&self.request.root, permit, &creations).await?,
            None => Vec::new(),
        };
        let mut created = creations.iter().zip(stored);
        let outcomes = refusals.into_iter().map(|refusal| match refusal {
            Some(refusal) => Err(refusal),
            None => {
                let (creation, stored) = created.next().ok_or(Code::Unknown)?;
                stored.map(|entity| self.created(creation, &entity))
            }
        });
        Ok(outcomes.collect())
    }

    async fn read_creation(&mut self, part: &BatchPart<'_>) -> Result<(Permit, Creation)> {
        self.check_time(AccessKind::Write)?;
        let root = &self.request.root;
        let (set, linked, permit, route) = match &part.target {
            BatchTarget::Navigation {
                set,
                id,
                navigation,
                ..
            } => {
                let association = root.association(&root.set(set)?, navigation);
                let association = association.ok_or(Code::NoSuchNavigation)?;
                let permit = self
                    .request
                    .permit_association(&association, AccessKind::Write)?;
                let there = association.target.set.clone();
                let linked = NavigationSource {
                    association,
                    source: EntityKey::single(id.as_str()),
                };
                (there, Some(linked), permit, Route::Navigation)
            }
            BatchTarget::Set(name)
            | BatchTarget::Entity { set: name, .. }
            | BatchTarget::Links { set: name, .. } => {
                let set = root.set(name)?;
                let permit = self.request.permit(&set, AccessKind::Write)?;
                (set, None, permit, Route::Direct)
            }
        };
        self.sets_before
            .entry(set.name().to_owned())
            .or_insert_with(|| set.clone());
        let body = part.body.as_bytes();
        let body = odata::validate(root, &set, body, Intent::Create, route).await?;
        let creation = Creation {
            set,
            body,
            hidden: BTreeMap::new(),
            navigation: linked,
            exists: Code::EntityExists,
        };
        Ok((permit, creation))
    }

    fn created(&self, creation: &Creation, entity: &Entity) -> PartResponse {
        let (edm, base) = (self.request.root.edm(), &self.request.base);
        let before = self.sets_before.get(creation.set.name());
        let set = before.unwrap_or(&creation.set);
        let mut body = String::with_capacity(512);
        JsonWriter::new(edm, base, EntityShape::BatchCreated)
            .push_single(&mut body, &entity_view(set, entity, Vec::new()));
        let style = match creation.navigation {
            Some(_) => KeyStyle::Plain,
            None => KeyStyle::Encoded,
        };
        let url = json::entity_url(base, &set.entity_type, &entity.properties, style);
        PartResponse::json(StatusCode::CREATED, body)
            .with_header("Location", url)
            .with_header("ETag", entity.stored.etag().weak().to_string())
    }

    /// Executes a part that creates no entity.
    pub(super) async fn execute(&mut self, part: &BatchPart<'_>) {
        let mut outcome = self.try_execute(part).await;
        for _ in 1..MAX_SCHEMA_RETRIES {
            let Err(refusal) = outcome else { break };
            outcome = match self.retry_if_schema_changed(refusal).await {
                Ok(()) => self.try_execute(part).await,
                Err(refusal) => Err(refusal),
            };
        }
        self.write_response(part.changeset, outcome);
    }

    async fn try_execute(&mut self, part: &BatchPart<'_>) -> Result<PartResponse> {
        self.check_time(match part.method {
            BatchMethod::Get => AccessKind::Read,
            _ => AccessKind::Write,
        })?;
        let max_bytes = self.request.unit.settings().odata.response_max_bytes;
        if part.method == BatchMethod::Get && self.writer.len() > max_bytes {
            return Err(Code::QueryRefused.into());
        }
        match (part.method, &part.target) {
            (BatchMethod::Get, BatchTarget::Set(name)) => self.list(name, part.query).await,
            (BatchMethod::Get, BatchTarget::Entity { set, id }) => self.get(set, id).await,
            (BatchMethod::Put, BatchTarget::Entity { set, id }) => {
                self.replace(part, set, id).await
            }
            (BatchMethod::Delete, BatchTarget::Entity { set, id }) => {
                self.delete(part, set, id).await
            }
            (BatchMethod::Post, BatchTarget::Links { target: None, .. }) => self.link(part).await,
            (
                BatchMethod::Post,
                BatchTarget::Navigation {
                    target: Some(_), ..
                }
                | BatchTarget::Links {
                    target: Some(_), ..
                },
            ) => Err(Code::KeyForNavigation.into()),
            (
                _,
                BatchTarget::Navigation {
                    set,
                    navigation,
                    target,
                    ..
                },
            ) => {
                let set = self.request.root.set(set)?;
                let association = self.request.root.association(&set, navigation);
                association.ok_or(Code::NoSuchNavigation)?;
                Err(match target {
                    Some(_) => Code::KeyForNavigation.into(),
                    None => Code::NotImplementedMethod.into(),
                })
            }
            _ => Err(Code::NotImplementedMethod.into()),
        }
    }

    async fn list(&self, name: &str, query: &str) -> Result<PartResponse> {
        let request = &*self.request;
        let set = request.root.set(name)?;
        request.permit(&set, AccessKind::Read)?;
        let query = read::list_query(request, query, &set, ListKind::Set)?;
        let page = odata::list(&request.root, &set, &query, None).await?;
        let body = read::render_list(request, &set, &query, &page, ResponseFormat::Json).await?;
        Ok(PartResponse::json(StatusCode::OK, body))
    }

    async fn get(&self, name: &str, id: &str) -> Result<PartResponse> {
        let request = &*self.request;
        let set = request.root.set(name)?;
        request.permit(&set, AccessKind::Read)?;
        let found = odata::find(&request.root, &set, &EntityKey::single(id)).await?;
        let found = found.ok_or(Code::NoSuchEntity)?;
        let query = EntityQuery::default();
        let (body, _) =
            read::render_one(request, &set, &found, &query, ResponseFormat::Json).await?;
        Ok(PartResponse::json(StatusCode::OK, body))
    }

    async fn replace(&self, part: &BatchPart<'_>, name: &str, id: &str) -> Result<PartResponse> {
        let set = self.request.root.set(name)?;
        let permit = self.request.permit(&set, AccessKind::Write)?;
        let edit = write::EntityEdit {
            body: part.body.as_bytes(),
            intent: Intent::Replace,
            conditions: conditions(part),
        };
        let key = EntityKey::single(id);
        let etag = write::store_change(self.request, &set, &key, &permit, edit).await?;
        Ok(PartResponse::no_content().with_header("ETag", etag.weak().to_string()))
    }

    async fn delete(&self, part: &BatchPart<'_>, name: &str, id: &str) -> Result<PartResponse> {
        let root = &self.request.root;
        let set = root.set(name)?;
        let permit = self.request.permit(&set, AccessKind::Write)?;
        let key = EntityKey::single(id);
        odata::delete(
            root,
            &permit,
            EntityRef {
                set: &set,
                key: &key,
            },
            &conditions(part),
            &|_| Ok(()),
        )
        .await?;
        Ok(PartResponse::no_content())
    }

    async fn link(&self, part: &BatchPart<'_>) -> Result<PartResponse> {
        let BatchTarget::Links {
            set,
            id,
            navigation,
            ..
        } = &part.target
        else {
            return Err(Code::NotImplementedMethod.into());
        };
        let root = &self.request.root;
        let association = root.link_association(&root.set(set)?, navigation)?;
        let permit = self
            .request
            .permit_association(&association, AccessKind::Write)?;
        let target = links::target_of(self.request, &association, part.body.as_bytes())?;
        let source = EntityKey::single(id.as_str());
        odata::add_link(root, &permit, &association, &source, &target).await?;
        Ok(PartResponse::no_content())
    }
}

/// The conditions of a part that changes an entity.
fn conditions(part: &BatchPart<'_>) -> Preconditions {
    Preconditions::parse(&ConditionHeaders {
        if_match: part.header("if-match"),
        if_none_match: part.header("if-none-match"),
        if_unmodified_since: part.header("if-unmodified-since"),
        ..ConditionHeaders::default()
    })
}
