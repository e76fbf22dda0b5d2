//! Change sets: several changes that are stored as a whole or not at all.

use std::collections::HashMap;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use personium_model::Reservation;
use personium_model::odata::{ChangeSet, ChangeSetCommit, SetRef};
use personium_odata::batch::{self, BatchMethod, BatchPart, BatchTarget};
use personium_odata::body::read_link;
use personium_types::{Code, Error, Result};
use serde::Deserialize;
use serde_json::json;

use super::CreationKind;
use super::executor::BatchExecutor;
use super::part_response::PartResponse;

/// The number of times that a change set is made before conflicts with other requests become an error.
const MAX_ATTEMPTS: u32 = 16;
/// The pause before another attempt, times the number of attempts so far.
const BACKOFF: Duration = Duration::from_millis(2);

/// The first part of a change set that failed, and its refusal.
struct FailedPart {
    index: usize,
    refusal: Error,
}

impl BatchExecutor<'_> {
    /// Executes a change set. If one of its parts fails, nothing is changed, and the one response is that of this part.
    pub(super) async fn execute_change_set(&mut self, parts: &[BatchPart<'_>]) {
        match self.try_change_set(parts).await {
            Ok(responses) => {
                for (part, response) in parts.iter().zip(responses) {
                    self.write_response(part, Ok(response));
                }
            }
            Err(FailedPart { index, refusal }) => {
                if let Some(part) = parts.get(index) {
                    self.write_response(part, Err(refusal));
                }
            }
        }
    }

    async fn try_change_set(
        &mut self,
        parts: &[BatchPart<'_>],
    ) -> Result<Vec<PartResponse>, FailedPart> {
        let of_first = |refusal| FailedPart { index: 0, refusal };
        for attempt in 1..=MAX_ATTEMPTS {
            let (change_set, staged) = ChangeSet::begin(&self.request.root).map_err(of_first)?;
            let stored = std::mem::replace(&mut self.request.root, staged);
            let outcome = self.make_changes(parts, &change_set).await;
            self.request.root = stored;
            match outcome {
                Err(failed) if failed.refusal.code() != Code::Conflict => return Err(failed),
                Err(_) => {}
                Ok(responses) => {
                    let committed = change_set.commit().await.map_err(of_first)?;
                    if committed == ChangeSetCommit::Committed {
                        return Ok(responses);
                    }
                }
            }
            tokio::time::sleep(BACKOFF * attempt).await;
            self.refresh_schema_if_stale().await;
        }
        Err(of_first(Code::Conflict.into()))
    }

    /// Makes the changes of all parts, each over those before it.
    async fn make_changes(
        &mut self,
        parts: &[BatchPart<'_>],
        change_set: &ChangeSet,
    ) -> Result<Vec<PartResponse>, FailedPart> {
        let of_first = |refusal| FailedPart { index: 0, refusal };
        let ids = self.ids_of_creations(parts);
        change_set.read_ids(&ids).await.map_err(of_first)?;
        let mut responses = Vec::with_capacity(parts.len());
        let mut entities = Entities::default();
        let mut reservation = Reservation::default();
        for (index, part) in parts.iter().enumerate() {
            let change = async {
                let part = entities.resolve(part, &self.request.base)?;
                let response = self.make_change(&part).await?;
                self.check_size(change_set, &mut reservation)?;
                entities.add(&part, &response);
                Ok(response)
            };
            let made: Result<PartResponse> = change.await;
            responses.push(made.map_err(|refusal| FailedPart { index, refusal })?);
        }
        Ok(responses)
    }

    /// The ids that creations name in their bodies, with their sets. What cannot be read is refused later.
    fn ids_of_creations(&self, parts: &[BatchPart<'_>]) -> Vec<(SetRef, String)> {
        let creations = parts
            .iter()
            .filter(|part| CreationKind::of(part) == Some(CreationKind::Plain));
        let ids = creations.filter_map(|part| {
            let BatchTarget::Set(name) = &part.target else {
                return None;
            };
            let set = self.request.root.set(name).ok()?;
            let body: NewEntity = serde_json::from_str(&part.body).ok()?;
            Some((set, body.id?))
        });
        ids.collect()
    }

    async fn make_change(&mut self, part: &BatchPart<'_>) -> Result<PartResponse> {
        if part.method == BatchMethod::Get {
            return Err(Error::new(Code::BatchMethod).with(part.method.name()));
        }
        if CreationKind::of(part).is_none() {
            return self.execute_with_retries(part).await;
        }
        let created = self.create_with_retries(std::slice::from_ref(part)).await?;
        let created = created.into_iter().next();
        created.unwrap_or_else(|| Err(Code::Unknown.into()))
    }

    /// Refuses a change set whose changed records are larger together than the body of a batch may be.
    fn check_size(&self, change_set: &ChangeSet, reservation: &mut Reservation) -> Result<()> {
        let unit = &self.request.unit;
        let max = unit.settings().odata.batch_body_max_bytes;
        let bytes = change_set.size_bytes();
        if bytes > max {
            return Err(Error::new(Code::BodyTooLarge).with(max.to_string()));
        }
        unit.limits().body_memory.grow(reservation, bytes)
    }
}

/// The part of the body of a creation that names the entity.
#[derive(Deserialize)]
struct NewEntity {
    #[serde(rename = "__id")]
    id: Option<String>,
}

/// The paths of the entities of the parts so far, by `Content-ID`.
#[derive(Default)]
struct Entities(HashMap<String, String>);

impl Entities {
    fn add(&mut self, part: &BatchPart<'_>, response: &PartResponse) {
        let Some(id) = part.content_id else { return };
        let path = match &part.target {
            BatchTarget::Entity { set, id } => Some(encoded_key(set, id)),
            _ => response.entity.clone(),
        };
        if let Some(path) = path {
            self.0.insert(id.value.to_owned(), path);
        }
    }

    /// The part with the path of an entity where it refers to one, in its path or in the body of a link.
    ///
    /// # Errors
    /// [`Code::BatchPath`] if the path is not supported with the method, or the earlier part has no entity.
    fn resolve<'a>(&self, part: &BatchPart<'a>, base: &str) -> Result<BatchPart<'a>> {
        let mut part = part.clone();
        if let BatchTarget::Reference { content_id } = &part.target {
            let unsupported = || Error::new(Code::BatchPath).with(part.path.as_ref());
            let entity = self.0.get(content_id).ok_or_else(unsupported)?;
            let below = part.path.split_once('/').map(|(_, below)| below);
            let path = match below {
                Some(below) => format!("{entity}/{below}"),
                None => entity.clone(),
            };
            part.target = batch::target_of(part.method, &path).ok_or_else(unsupported)?;
            part.path = path.into();
        }
        if let BatchTarget::Links { .. } = &part.target
            && let Ok(uri) = read_link(part.body.as_bytes())
            && let Some(entity) = uri.strip_prefix('$').and_then(|id| self.0.get(id))
        {
            part.body = json!({"uri": format!("{base}{entity}")}).to_string().into();
        }
        Ok(part)
    }
}

/// The path of an entity below the service root.
pub(super) fn encoded_key(set: &str, id: &str) -> String {
    let id = id.replace('\'', "''");
    format!("{set}('{}')", utf8_percent_encode(&id, NON_ALPHANUMERIC))
}
