//! A request to an OData service root.

use std::borrow::Cow;
use std::mem;
use std::ops::{Deref, DerefMut};

use bytes::Bytes;
use http::header;
use parking_lot::Mutex;
use personium_model::odata::{AccessKind, Association, Entity, RootScope, ServiceRoot, SetRef};
use personium_model::{AnswerReservation, Permit};
use personium_odata::body::without_annotations;
use personium_odata::dialect::{Dialect, DialectHints};
use personium_odata::key::KeyStyle;
use personium_types::{Code, Error, Result};

use super::service_authorizer::ServiceAuthorizer;
use crate::headers;
use crate::request_context::RequestContext;

/// A request to an OData service root. It dereferences to its [`RequestContext`].
pub(crate) struct ODataRequest {
    pub(crate) request: Box<RequestContext>,
    pub(crate) root: ServiceRoot,
    /// The URL of the root, with its final slash.
    pub(crate) base: String,
    pub(super) authorizer: ServiceAuthorizer,
    /// The body, once it was read.
    body: Option<Bytes>,
    /// The memory for the answer, until it is taken.
    memory: Mutex<AnswerReservation>,
}

/// The query of a request as its events show it. The secret of a cookie is for nobody else.
fn shown_query(query: &str) -> Option<&str> {
    let mut names = url::form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name);
    (!query.is_empty() && !names.any(|name| name == "p_cookie_peer")).then_some(query)
}

impl Deref for ODataRequest {
    type Target = RequestContext;

    fn deref(&self) -> &RequestContext {
        &self.request
    }
}

impl DerefMut for ODataRequest {
    fn deref_mut(&mut self) -> &mut RequestContext {
        &mut self.request
    }
}

impl ODataRequest {
    /// The URL as the events of the request show it, with the query.
    pub(super) fn shown_url(&self) -> String {
        match shown_query(&self.query) {
            Some(query) => format!("{}?{query}", self.url),
            None => self.url.clone(),
        }
    }

    pub(super) fn new(
        request: Box<RequestContext>,
        root: ServiceRoot,
        base: String,
        authorizer: ServiceAuthorizer,
    ) -> Self {
        let root = root.asked_with(shown_query(&request.query));
        Self {
            memory: Mutex::new(root.answer_share().reservation()),
            request,
            root,
            base,
            authorizer,
            body: None,
        }
    }

    /// The memory for the answer: what was reserved for it, or nothing yet.
    pub(super) fn take_memory(&self) -> AnswerReservation {
        let mut memory = self.memory.lock();
        let empty = memory.share().reservation();
        mem::replace(&mut memory, empty)
    }

    /// Waits for the memory that the answer lacked.
    ///
    /// # Errors
    /// The given error if there is another reason, or [`Code::ServerBusy`].
    pub(super) async fn reserve_missing_memory(&mut self, refusal: Error) -> Result<()> {
        let share = self.root.answer_share();
        *self.memory.get_mut() = share.reserve_missing(refusal).await?;
        Ok(())
    }

    /// Whether the request was refused because the schema of the root is out of date.
    ///
    /// # Errors
    /// The error of the store, if the schema cannot be read.
    pub(super) async fn is_stale(&self, refusal: &Error) -> Result<bool> {
        Ok(refusal.code() == Code::Conflict && self.root.is_stale().await?)
    }

    /// Replaces the root by one with the current schema.
    ///
    /// # Errors
    /// The error of the store, if the schema cannot be read.
    pub(super) async fn refresh_schema(&mut self) -> Result<()> {
        self.root = self.root.reloaded().await?;
        Ok(())
    }

    /// Returns the permit to read or write a set.
    ///
    /// # Errors
    /// The refusal of the access check.
    pub(super) fn permit(&self, set: &SetRef, kind: AccessKind) -> Result<Permit> {
        self.authorizer.permit(&self.root, &self.access, set, kind)
    }

    /// Returns the permit to read or write the links of an association.
    ///
    /// # Errors
    /// The refusal of the access check.
    pub(super) fn permit_association(
        &self,
        association: &Association,
        kind: AccessKind,
    ) -> Result<Permit> {
        self.authorizer
            .permit_association(&self.root, &self.access, association, kind)
    }

    /// Permits to read the documents that describe the service.
    ///
    /// # Errors
    /// The refusal of the access check.
    pub(super) fn permit_description(&self) -> Result<Permit> {
        self.authorizer.permit_description(&self.root, &self.access)
    }

    /// Permits to use the data of a collection, by reading or by writing.
    ///
    /// # Errors
    /// The refusal of the access check.
    pub(super) fn permit_use(&self) -> Result<Permit> {
        self.authorizer.permit_use(&self.root, &self.access)
    }

    /// Permits to ask for the methods of links.
    ///
    /// # Errors
    /// The refusal of the access check.
    pub(super) fn permit_link_options(&self) -> Result<Permit> {
        self.authorizer
            .permit_link_options(&self.root, &self.access)
    }

    /// Whether the requester may see an entity: of the catalogue of cells, a unit user sees only own ones.
    pub(super) fn can_see(&self, entity: &Entity) -> bool {
        self.authorizer.can_see(&self.root, &self.access, entity)
    }

    /// Refuses a cell of the catalogue that belongs to another unit user.
    ///
    /// # Errors
    /// [`Code::NotCellOwner`]
    pub(super) fn check_owner(&self, entity: &Entity) -> Result<()> {
        if self.can_see(entity) {
            Ok(())
        } else {
            Err(Code::NotCellOwner.into())
        }
    }

    /// The form of the protocol that the client expects.
    pub(super) fn dialect(&self) -> Dialect {
        let hints = DialectHints {
            version: self.header(&headers::ODATA_VERSION),
            max_version: self.header(&headers::ODATA_MAX_VERSION),
            accept: self.header(header::ACCEPT),
        };
        hints.dialect(self.unit.settings().odata.dialect)
    }

    /// The encoding of keys in URLs that lead to linked entities. Those of control objects leave slashes as they are.
    pub(super) fn link_style(&self) -> KeyStyle {
        match self.root.scope() {
            RootScope::Data(_) => KeyStyle::Encoded,
            _ => KeyStyle::InPath,
        }
    }

    /// Checks the conditions of a request to a set, to links or to the entities that one leads to: they have no entity tags.
    ///
    /// # Errors
    /// [`Code::EntityTagMismatch`] if a condition is false.
    pub(super) fn check_conditions(&self) -> Result<()> {
        self.check_untagged(Code::EntityTagMismatch)
    }

    /// Whether the client expects what the documents of OData 2.0 say, and not what the original unit did.
    pub(super) fn speaks_odata_2(&self) -> bool {
        self.dialect() == Dialect::Standard
    }

    /// Replaces the body.
    pub(super) fn set_body(&mut self, body: Bytes) {
        self.body = Some(self.without_annotations(body));
    }

    /// A body without what clients of OData 2.0 send back from a response and is no property.
    fn without_annotations(&self, body: Bytes) -> Bytes {
        if !self.speaks_odata_2() {
            return body;
        }
        match without_annotations(&body) {
            Cow::Borrowed(_) => body,
            Cow::Owned(rest) => rest.into(),
        }
    }

    /// The whole body. It is read once and kept.
    ///
    /// # Errors
    /// As [`RequestContext::read_body`].
    pub(super) async fn body(&mut self) -> Result<Bytes> {
        if let Some(body) = &self.body {
            return Ok(body.clone());
        }
        let max_bytes = self.unit.settings().odata.body_max_bytes;
        let body = self.read_body(max_bytes).await?;
        let body = self.without_annotations(body);
        Ok(self.body.insert(body).clone())
    }
}
