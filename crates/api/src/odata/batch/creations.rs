//! Parts of a batch that create entities.

use std::collections::{BTreeMap, HashMap};

use http::StatusCode;
use personium_model::Permit;
use personium_model::odata::{
    self, AccessKind, Association, Creation, Entity, NavigationSource, SetRef,
};
use personium_odata::batch::{BatchPart, BatchTarget};
use personium_odata::body::{Intent, Route};
use personium_odata::entity_view::EntityShape;
use personium_odata::json::{self, JsonWriter};
use personium_odata::key::{EntityKey, KeyStyle};
use personium_types::{Code, Error, Result};

use super::change_set::encoded_key;
use super::executor::BatchExecutor;
use super::part_response::PartResponse;
use crate::odata::response::entity_view;
use crate::odata::{MAX_SCHEMA_RETRIES, write};

/// The sets before the creations, by name: the responses to first Personium units' clients show the properties that were
/// known then.
type SetsBefore = HashMap<String, SetRef>;

impl BatchExecutor<'_> {
    /// Stores creations together that do not depend on each other.
    pub(super) async fn create(&mut self, parts: &[BatchPart<'_>]) {
        match self.create_with_retries(parts).await {
            Ok(outcomes) => {
                for (part, outcome) in parts.iter().zip(outcomes) {
                    self.write_response(part, outcome);
                }
            }
            Err(refusal) => {
                for part in parts {
                    self.write_response(part, Err(refusal.code().into()));
                }
            }
        }
    }

    /// The outcome of each creation.
    ///
    /// # Errors
    /// The refusal of the commit, which is one for all.
    pub(super) async fn create_with_retries(
        &mut self,
        parts: &[BatchPart<'_>],
    ) -> Result<Vec<Result<PartResponse>>> {
        let mut before = SetsBefore::new();
        for _ in 0..MAX_SCHEMA_RETRIES {
            match self.try_create(parts, &mut before).await {
                Err(refusal) => self.retry_if_schema_changed(refusal).await?,
                outcomes => return outcomes,
            }
        }
        Err(Code::Conflict.into())
    }

    async fn try_create(
        &mut self,
        parts: &[BatchPart<'_>],
        before: &mut SetsBefore,
    ) -> Result<Vec<Result<PartResponse>>> {
        let mut refusals: Vec<Option<Error>> = Vec::with_capacity(parts.len());
        let mut creations = Vec::new();
        let mut permit = None;
        for part in parts {
            match self.read_creation(part, before).await {
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
        let mut outcomes = Vec::with_capacity(parts.len());
        for (part, refusal) in parts.iter().zip(refusals) {
            let outcome = match refusal {
                Some(refusal) => Err(refusal),
                None => {
                    let (creation, stored) = created.next().ok_or(Code::Unknown)?;
                    match stored {
                        Ok(entity) => self.created(part, creation, &entity, before).await,
                        Err(refusal) => Err(refusal),
                    }
                }
            };
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }

    async fn read_creation(
        &mut self,
        part: &BatchPart<'_>,
        before: &mut SetsBefore,
    ) -> Result<(Permit, Creation)> {
        self.check_time(AccessKind::Write)?;
        self.enter(part);
        let bytes = self.request.body().await?;
        let root = &self.request.root;
        let (set, linked, permit, route) = match &part.target {
            BatchTarget::Navigation {
                set,
                id,
                navigation,
                ..
            } => {
                let association = root.association(&root.set(set)?, navigation);
                let association: Association = association.ok_or(Code::NoSuchNavigation)?;
                let permit = self
                    .request
                    .permit_association(&association, AccessKind::Write)?;
                let there = association.target.set.clone();
                let linked = NavigationSource {
                    association,
                    source: EntityKey::single(id.as_str()),
                    url: None,
                };
                (there, Some(linked), permit, Route::Navigation)
            }
            BatchTarget::Set(name) => {
                let set = root.set(name)?;
                let permit = self.request.permit(&set, AccessKind::Write)?;
                (set, None, permit, Route::Direct)
            }
            _ => return Err(Code::Unknown.into()),
        };
        self.request.check_conditions()?;
        before
            .entry(set.name().to_owned())
            .or_insert_with(|| set.clone());
        let body = odata::validate(root, &set, &bytes, Intent::Create, route).await?;
        let creation = Creation {
            set,
            body,
            hidden: BTreeMap::new(),
            navigation: linked,
            exists: Code::EntityExists,
            history: None,
        };
        Ok((permit, creation))
    }

    /// The response to a creation.
    async fn created(
        &mut self,
        part: &BatchPart<'_>,
        creation: &Creation,
        entity: &Entity,
        before: &SetsBefore,
    ) -> Result<PartResponse> {
        let style = match creation.navigation {
            Some(_) => KeyStyle::Plain,
            None => KeyStyle::Encoded,
        };
        let path = encoded_key(creation.set.name(), &entity.id);
        self.enter(part);
        if self.request.speaks_odata_2() {
            let max_bytes = self.request.unit.settings().odata.response_max_bytes;
            let memory = self.request.take_memory();
            let response = write::created(self.request, &creation.set, entity, style, memory)?;
            let response = PartResponse::of(response, max_bytes).await?;
            return Ok(response.with_entity(path));
        }
        let (edm, base) = (self.request.root.edm(), &self.request.base);
        let set = before.get(creation.set.name()).unwrap_or(&creation.set);
        let mut body = String::with_capacity(512);
        JsonWriter::new(edm, base, EntityShape::BatchCreated)
            .push_single(&mut body, &entity_view(set, entity, Vec::new()));
        let url = json::entity_url(base, &set.entity_type, &entity.properties, style);
        Ok(PartResponse::json(StatusCode::CREATED, body)
            .with_header("Location", url)
            .with_header("ETag", entity.stored.etag().weak().to_string())
            .with_entity(path))
    }
}
