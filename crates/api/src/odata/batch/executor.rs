//! The execution of the parts of a batch that stand alone.

use std::time::Instant;

use bytes::Bytes;
use personium_model::Reservation;
use personium_model::odata::{self, AccessKind};
use personium_odata::batch::{
    BatchMethod, BatchPart, BatchTarget, BatchWriter, ChangeSetFrame, ContentId, ResponsePart,
};
use personium_odata::key::EntityKey;
use personium_types::{Code, Error, Result};

use super::Dispatch;
use super::part_request::{self, PartProtocol};
use super::part_response::PartResponse;
use crate::error;
use crate::error_format::ErrorFormat;
use crate::odata::request::ODataRequest;
use crate::odata::{MAX_SCHEMA_RETRIES, links};

/// Executes the parts of a batch and writes their responses.
pub(super) struct BatchExecutor<'r> {
    pub(super) request: &'r mut ODataRequest,
    dispatch: Dispatch,
    /// The body of the batch, of which the bodies of its parts are slices.
    body: &'r Bytes,
    protocol: PartProtocol,
    writer: BatchWriter,
    /// The memory of the response.
    reservation: Reservation,
    deadline: Instant,
    /// Whether a write failed for too many concurrent requests. Later writes fail at once.
    write_conflict: bool,
}

impl<'r> BatchExecutor<'r> {
    /// An executor that refuses parts after the deadline.
    pub(super) fn new(
        request: &'r mut ODataRequest,
        dispatch: Dispatch,
        body: &'r Bytes,
        writer: BatchWriter,
        deadline: Instant,
    ) -> Self {
        Self {
            protocol: PartProtocol::of_batch(&request.headers),
            request,
            dispatch,
            body,
            writer,
            reservation: Reservation::default(),
            deadline,
            write_conflict: false,
        }
    }

    /// The writer with all responses, and the memory that is reserved for them.
    pub(super) fn finish(self) -> (BatchWriter, Reservation) {
        (self.writer, self.reservation)
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
    pub(super) async fn retry_if_schema_changed(&mut self, refusal: Error) -> Result<()> {
        if self.request.is_stale(&refusal).await? {
            self.request.refresh_schema().await
        } else {
            Err(refusal)
        }
    }

    /// Writes the response to a part in its change set.
    pub(super) fn write_response(&mut self, part: &BatchPart<'_>, outcome: Result<PartResponse>) {
        // The one response to a change set of one request that failed stands alone, as that of a larger one.
        let frame = part.change_set.filter(|_| outcome.is_ok());
        self.write(frame, part, outcome);
    }

    fn write(
        &mut self,
        frame: Option<ChangeSetFrame<'_>>,
        part: &BatchPart<'_>,
        outcome: Result<PartResponse>,
    ) {
        let response = outcome
            .and_then(|response| self.admit(part, response))
            .unwrap_or_else(|refusal| self.refuse(part, refusal));
        let headers = response.headers.iter();
        let headers: Vec<(&str, &str)> = headers.map(|(n, v)| (&**n, v.as_str())).collect();
        let content_id: Option<ContentId<'_>> = part.content_id;
        let written = ResponsePart {
            status: response.status.as_u16(),
            reason: response.status.canonical_reason().unwrap_or_default(),
            headers: &headers,
            body: response.body.as_deref(),
            content_id,
        };
        self.writer.push_part(frame, &written);
    }

    fn refuse(&mut self, part: &BatchPart<'_>, refusal: Error) -> PartResponse {
        // The credentials are those of the batch: a part can only lack a privilege.
        let refusal = match refusal.code().status() {
            401 => Code::PrivilegeLacking.into(),
            _ => refusal,
        };
        self.write_conflict |= refusal.code() == Code::Conflict;
        error::log(&refusal, &self.request.request_key);
        let dialect = self.request.unit.settings().odata.dialect;
        let format = ErrorFormat::of(&self.protocol.headers_of(part), dialect);
        PartResponse::refused(&refusal, &self.request.request_key, format)
    }

    /// Reserves memory for the response to a read. The response to a change is written in any case: it is about as large as
    /// the request.
    fn admit(&mut self, part: &BatchPart<'_>, response: PartResponse) -> Result<PartResponse> {
        let bytes = self.writer.len() + response.body.as_ref().map_or(0, Bytes::len);
        let reserved = self
            .request
            .unit
            .limits()
            .body_memory
            .grow(&mut self.reservation, bytes);
        match part.method {
            BatchMethod::Get => reserved.map(|()| response),
            _ => Ok(response),
        }
    }

    /// Refuses parts, at least one of which stores something, while the unit is only read and deleted from. Writes so many responses.
    /// Returns whether it did.
    pub(super) fn refuse_in_maintenance(
        &mut self,
        parts: &[BatchPart<'_>],
        responses: usize,
    ) -> bool {
        let stores =
            |part: &BatchPart<'_>| !matches!(part.method, BatchMethod::Get | BatchMethod::Delete);
        if !self.request.maintenance.is_read_delete_only || !parts.iter().any(stores) {
            return false;
        }
        for part in parts.iter().take(responses) {
            self.write_response(part, Err(Code::ReadDeleteOnly.into()));
        }
        true
    }

    pub(super) fn check_time(&self, kind: AccessKind) -> Result<()> {
        if self.request.unit.clock().monotonic() > self.deadline {
            return Err(Code::RequestTimeout.into());
        }
        if kind == AccessKind::Write && self.write_conflict {
            return Err(Code::Conflict.into());
        }
        Ok(())
    }

    /// Makes the request of the batch that of a part.
    pub(super) fn enter(&mut self, part: &BatchPart<'_>) {
        let headers = self.protocol.headers_of(part);
        part_request::enter(self.request, part, headers, self.body);
    }

    /// Executes a part that creates no entity.
    pub(super) async fn execute(&mut self, part: &BatchPart<'_>) {
        let outcome = self.execute_with_retries(part).await;
        self.write_response(part, outcome);
    }

    pub(super) async fn execute_with_retries(
        &mut self,
        part: &BatchPart<'_>,
    ) -> Result<PartResponse> {
        let mut outcome = self.try_execute(part).await;
        for _ in 1..MAX_SCHEMA_RETRIES {
            let Err(refusal) = outcome else { break };
            outcome = match self.retry_if_schema_changed(refusal).await {
                Ok(()) => self.try_execute(part).await,
                Err(refusal) => Err(refusal),
            };
        }
        outcome
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
        self.enter(part);
        match (part.method, &part.target) {
            (_, BatchTarget::Reference { .. }) => {
                Err(Error::new(Code::BatchPath).with(part.path.as_ref()))
            }
            (
                _,
                BatchTarget::Navigation {
                    set,
                    navigation,
                    target: Some(_),
                    ..
                },
            ) if part.method != BatchMethod::Post => {
                let set = self.request.root.set(set)?;
                let association = self.request.root.association(&set, navigation);
                association.ok_or(Code::NoSuchNavigation)?;
                Err(Code::KeyForNavigation.into())
            }
            (BatchMethod::Post, BatchTarget::Links { target: None, .. }) => self.link(part).await,
            (BatchMethod::Post, BatchTarget::Navigation { .. } | BatchTarget::Links { .. }) => {
                Err(Code::KeyForNavigation.into())
            }
            _ if !self.is_served(part) => Err(Code::NotImplementedMethod.into()),
            _ => self.dispatch(part).await,
        }
    }

    /// Whether the first Personium units serve such a part, or it is in the protocol of OData 2.0.
    fn is_served(&self, part: &BatchPart<'_>) -> bool {
        match (&part.target, part.method) {
            (BatchTarget::Navigation { .. } | BatchTarget::Links { .. }, BatchMethod::Get) => {
                part.has_http_version || self.request.speaks_odata_2()
            }
            (BatchTarget::Navigation { .. } | BatchTarget::Links { .. }, _) => {
                self.request.speaks_odata_2()
            }
            _ => true,
        }
    }

    async fn dispatch(&mut self, part: &BatchPart<'_>) -> Result<PartResponse> {
        let max_bytes = self.request.unit.settings().odata.response_max_bytes;
        let response = (self.dispatch)(self.request, &part.path).await?;
        let response = PartResponse::of(response, max_bytes).await?;
        Ok(match part.method {
            // The original unit sends no tag with what is read.
            BatchMethod::Get if !self.request.speaks_odata_2() => response.without_header("ETag"),
            _ => response,
        })
    }

    async fn link(&mut self, part: &BatchPart<'_>) -> Result<PartResponse> {
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
        self.request.check_conditions()?;
        let target = links::target_of(self.request, &association, part.body.as_bytes())?;
        let source = EntityKey::single(id.as_str());
        odata::add_link(root, &permit, &association, &source, &target).await?;
        Ok(PartResponse::no_content())
    }
}
