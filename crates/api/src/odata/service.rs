//! One service root: dispatch by path and method.

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use personium_model::keys::ControlSet;
use personium_model::odata::{Association, Entity, RootScope, ServiceRoot, SetRef};
use personium_odata::etag::{ETag, IfMatch};
use personium_odata::json;
use personium_odata::key::{EntityKey, KeyText};
use personium_odata::path::{PathError, Resource};
use personium_types::{Code, Error, Result};

use super::service_authorizer::{AccessKind, ServiceAuthorizer};
use super::{batch, faults, links, metadata, navigation, read, write};
use crate::answer::{self, Answer, WithHeader};
use crate::preflight;
use crate::request_context::RequestContext;

/// A request to a service root.
pub(crate) struct Service {
    pub(crate) call: RequestContext,
    pub(crate) root: ServiceRoot,
    /// The URL of the root, with its final slash.
    pub(crate) base: String,
    pub(crate) gate: ServiceAuthorizer,
    /// The body, once it was read.
    body: Option<Bytes>,
}

impl Service {
    pub(super) fn new(
        call: RequestContext,
        root: ServiceRoot,
        base: String,
        gate: ServiceAuthorizer,
    ) -> Self {
        Self {
            call,
            root,
            base,
            gate,
            body: None,
        }
    }

    /// Whether a request was refused because the schema is not that of the root any more.
    pub(super) async fn is_outdated(&self, refusal: &Error) -> Result<bool> {
        Ok(refusal.code() == Code::Conflict && self.root.is_stale().await?)
    }

    /// Goes on with the schema as it is now.
    pub(super) async fn reload(&mut self) -> Result<()> {
        self.root = self.root.reloaded().await?;
        Ok(())
    }

    /// Answers the request; `path` is what stands below the root, still encoded.
    pub(crate) async fn handle(&mut self, path: &str) -> Result<Answer> {
        let resource = match Resource::parse(path) {
            Ok(resource) => resource,
            Err(fault) => return self.told(Err(self.path_error(&fault))),
        };
        match resource {
            Resource::Root => self.root_document().await,
            Resource::Metadata => metadata::metadata(self),
            Resource::Batch => match (&self.call.method, self.root.scope()) {
                (&Method::POST, RootScope::Data(_)) => batch::batch(self).await,
                _ => Err(self.call.method_not_allowed()),
            },
            Resource::Set(set) => {
                let set = self.told(self.root.set(&set))?;
                self.on_set(set).await
            }
            Resource::Entity { set, key } => {
                let set = self.told(self.root.set(&set))?;
                let key = self.told(self.key(&set, &key))?;
                self.on_entity(set, key).await
            }
            Resource::Links {
                set,
                key,
                navigation,
                target,
            } => {
                let set = self.told(self.root.set(&set))?;
                let key = self.told(self.key(&set, &key))?;
                links::links(self, &set, &key, &navigation, target).await
            }
            Resource::Navigation {
                set,
                key,
                navigation,
                target,
            } => {
                let set = self.told(self.root.set(&set))?;
                let key = self.told(self.key(&set, &key))?;
                let association = self.root.association(&set, &navigation);
                let association = self.told(association.ok_or(Code::NoSuchNavigation.into()))?;
                if target.is_some() {
                    return self.told(Err(Code::KeyForNavigation.into()));
                }
                navigation::navigation(self, &association, &key).await
            }
        }
    }

    /// What may be told only to those who may use the data: which sets there are, and of what form.
    fn told<T>(&self, found: Result<T>) -> Result<T> {
        if found.is_err() && matches!(self.root.scope(), RootScope::Data(_)) {
            self.gate.permit_use(&self.root, &self.call.access)?;
        }
        found
    }

    fn path_error(&self, fault: &PathError) -> Error {
        match fault {
            PathError::Key { set } => match self.root.set(set) {
                Ok(_) => faults::path(fault),
                Err(unknown) => unknown,
            },
            _ => faults::path(fault),
        }
    }

    /// The key of an entity of a set.
    pub(crate) fn key(&self, set: &SetRef, text: &KeyText) -> Result<EntityKey> {
        text.resolve(&set.entity_type)
            .map_err(|_| Code::KeyParse.into())
    }

    async fn root_document(&self) -> Result<Answer> {
        match self.call.method {
            Method::GET => metadata::service_document(self),
            Method::OPTIONS => {
                self.gate
                    .permit_description(&self.root, &self.call.access)?;
                Ok(preflight::allow("OPTIONS, GET"))
            }
            _ => Err(self.call.method_not_allowed()),
        }
    }

    async fn on_set(&mut self, set: SetRef) -> Result<Answer> {
        let method = self.call.method.clone();
        if is_message(&set) && is_write(&method) {
            return Err(self.call.method_not_allowed());
        }
        match method {
            Method::GET => read::list(self, &set).await,
            Method::POST => write::create(self, &set).await,
            Method::OPTIONS => self.options(&set, "OPTIONS, GET, POST"),
            _ => self.told(Err(self.call.method_not_allowed())),
        }
    }

    async fn on_entity(&mut self, set: SetRef, key: EntityKey) -> Result<Answer> {
        let method = self.call.method.clone();
        let is_merge = method.as_str() == "MERGE";
        if is_message(&set) && is_write(&method)
            || is_merge && set.control == Some(ControlSet::Rule)
        {
            return Err(self.call.method_not_allowed());
        }
        match method {
            Method::GET => read::get(self, &set, &key).await,
            Method::PUT => write::replace(self, &set, &key).await,
            Method::DELETE => write::delete(self, &set, &key).await,
            Method::OPTIONS => self.options(&set, "OPTIONS, GET, PUT, MERGE, DELETE"),
            _ if is_merge => write::merge(self, &set, &key).await,
            _ => self.told(Err(self.call.method_not_allowed())),
        }
    }

    fn options(&self, set: &SetRef, methods: &str) -> Result<Answer> {
        self.gate
            .permit(&self.root, &self.call.access, set, AccessKind::Reading)?;
        Ok(preflight::allow(methods))
    }

    /// The precondition of the request.
    pub(crate) fn if_match(&self) -> Result<IfMatch> {
        let header = self.call.header("if-match");
        IfMatch::parse(header).map_err(|_| Code::EntityTagMismatch.into())
    }

    /// The whole body.
    pub(crate) async fn body(&mut self) -> Result<Bytes> {
        if let Some(body) = &self.body {
            return Ok(body.clone());
        }
        let limit = self.call.unit.settings().odata.body_max;
        let body = self.call.read_body(limit).await?;
        Ok(self.body.insert(body).clone())
    }

    /// Checks that the source of a link may be used.
    pub(crate) fn both(
        &self,
        association: &Association,
        doing: AccessKind,
    ) -> Result<personium_model::Permit> {
        let sets = (&association.source_set, &association.target_set);
        self.gate
            .permit_both(&self.root, &self.call.access, sets, doing)
    }
}

fn is_message(set: &SetRef) -> bool {
    matches!(
        set.control,
        Some(ControlSet::ReceivedMessage | ControlSet::SentMessage)
    )
}

fn is_write(method: &Method) -> bool {
    matches!(method.as_str(), "POST" | "PUT" | "MERGE")
}

/// The ETag of an entity.
pub(crate) fn etag(entity: &Entity) -> ETag {
    ETag {
        version: entity.stored.version,
        updated: entity.stored.updated,
    }
}

/// An entity for the JSON and Atom writers.
pub(crate) fn shown<'a>(
    set: &'a SetRef,
    entity: &'a Entity,
    expanded: Vec<json::Expanded<'a>>,
) -> json::Entity<'a> {
    json::Entity {
        entity_type: &set.entity_type,
        etag: etag(entity),
        published: entity.stored.published,
        properties: &entity.properties,
        expanded,
    }
}

/// Adds the protocol version that all successful answers of version 2.0 carry.
pub(crate) fn version_2(answer: Answer) -> Answer {
    with_version(answer, HeaderValue::from_static("2.0"))
}

/// Adds the protocol version of descriptions.
pub(crate) fn version_1(answer: Answer) -> Answer {
    with_version(answer, HeaderValue::from_static("1.0"))
}

fn with_version(mut answer: Answer, version: HeaderValue) -> Answer {
    answer.headers_mut().insert("dataserviceversion", version);
    answer
}

/// 204, with an ETag if there is one.
pub(crate) fn no_content(etag: Option<&str>) -> Answer {
    let answer = version_2(answer::status(StatusCode::NO_CONTENT));
    match etag {
        Some(etag) => answer.with(header::ETAG, etag),
        None => answer,
    }
}
