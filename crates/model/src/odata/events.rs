//! The events of the unit about entities and links.

use personium_odata::body::Intent;
use personium_odata::key::{EntityKey, KeyStyle};
use personium_store::Batch;
use personium_types::Result;

use super::association::Association;
use super::creation::Creation;
use super::link_writer::LinkChange;
use super::load::Entity;
use super::root::{RootScope, ServiceRoot, SetRef};
use super::update::Update;
use crate::event::EventSource;
use crate::keys::ControlSet;
use crate::url::LOCAL_CELL;
use crate::{PostCommit, PostedEvent};

/// The kind of a request that reads something below a service root.
#[derive(Debug, Clone)]
pub enum ReadKind {
    /// The entities of a set.
    List(SetRef),
    /// One entity.
    Get(SetRef, EntityKey),
    /// The links of an entity along a navigation property.
    Links(Association, EntityKey),
    /// The entities that an entity is linked to along a navigation property.
    Navigation(Association, EntityKey),
}

impl ServiceRoot {
    /// Adds to a batch the consequences of the events that it causes.
    ///
    /// # Errors
    /// A failure of the store.
    pub(super) async fn add_events(
        &self,
        batch: &mut Batch,
        events: Vec<PostedEvent>,
    ) -> Result<PostCommit> {
        let (Some(reporter), Some(context)) = (&self.reporter, &self.context) else {
            return Ok(PostCommit::none());
        };
        let source = EventSource {
            unit: &self.unit,
            context,
            records: &self.records,
            cause: &reporter.cause,
        };
        source.add(batch, events).await
    }

    /// The event about something below this root.
    fn event(
        &self,
        kind: impl FnOnce() -> String,
        path: impl FnOnce() -> String,
        info: impl FnOnce() -> String,
    ) -> Option<PostedEvent> {
        let reporter = self.reporter.as_ref()?;
        let object = || format!("{}/{}", reporter.base, path());
        reporter.cause.event(kind(), object, info)
    }

    /// The beginning of the types of events about these sets: entities of user data are not told apart.
    fn subject(&self, sets: impl FnOnce() -> String) -> String {
        match self.scope {
            RootScope::Data(_) => "odata".to_owned(),
            RootScope::Schema(_) => format!("odata.{}", sets()),
            RootScope::Unit | RootScope::Cell => format!("cellctl.{}", sets()),
        }
    }

    /// As [`Self::subject`] with a word that says what was done along an association.
    fn linked(&self, word: &str, first: &str, second: &str) -> String {
        match self.scope {
            RootScope::Data(_) => format!("odata.{word}"),
            _ => self.subject(|| format!("{first}.{word}.{second}")),
        }
    }

    /// The details of a creation with a POST to a path below this root.
    fn created_at(&self, path: &str) -> String {
        let object = self.reporter.as_ref().map(|reporter| {
            let object = format!("{}/{path}", reporter.base);
            let url = reporter.cause.url_of(&object);
            match &reporter.query {
                Some(query) => format!("{url}?{query}"),
                None => url,
            }
        });
        format!("201,{}", object.unwrap_or_default())
    }

    /// The event about a new entity.
    pub(super) fn creation_event(
        &self,
        creation: &Creation,
        entity: &Entity,
    ) -> Option<PostedEvent> {
        self.reporter.as_ref()?;
        let set = &creation.set;
        let created = entity_path(set, &entity.key(set), KeyStyle::Encoded);
        if let Some(navigation) = &creation.navigation {
            let source = &navigation.association.source.set;
            let from = entity_path(source, &navigation.source, KeyStyle::Plain);
            return self.event(
                || self.linked("navprop", source.name(), set.name()) + ".create",
                || format!("{from}/_{created}"),
                || match &navigation.url {
                    Some(url) => format!("201,{url}"),
                    None => self.created_at(&format!("{from}/_{}", set.name())),
                },
            );
        }
        let message = match set.control {
            Some(ControlSet::SentMessage) => Some("message.send"),
            Some(ControlSet::ReceivedMessage) => Some("message.receive"),
            _ => None,
        };
        match message {
            Some(kind) => self.event(|| kind.to_owned(), || created, || "201".to_owned()),
            None => self.event(
                || self.subject(|| set.name().to_owned()) + ".create",
                || created,
                || self.created_at(set.name()),
            ),
        }
    }

    /// The event about a changed entity.
    pub(super) fn update_event(
        &self,
        set: &SetRef,
        update: &Update,
        intent: Intent,
    ) -> Option<PostedEvent> {
        self.reporter.as_ref()?;
        let action = match intent {
            Intent::Merge => "patch",
            Intent::Create | Intent::Replace => "update",
        };
        let after = || {
            let key = update.after.key(set);
            key.print(&set.entity_type, KeyStyle::Plain)
        };
        self.event(
            || format!("{}.{action}", self.subject(|| set.name().to_owned())),
            || entity_path(set, &update.before.key(set), KeyStyle::Plain),
            || format!("204,{}", after()),
        )
    }

    /// The event about a removed entity.
    pub(super) fn deletion_event(&self, set: &SetRef, found: &Entity) -> Option<PostedEvent> {
        self.event(
            || self.subject(|| set.name().to_owned()) + ".delete",
            || entity_path(set, &found.key(set), KeyStyle::Plain),
            || "204".to_owned(),
        )
    }

    /// The event about a box that was removed with everything in it.
    pub(super) fn box_deletion_event(&self, found: &Entity) -> Option<PostedEvent> {
        let cause = &self.reporter.as_ref()?.cause;
        let name = found.properties.text("Name").unwrap_or_default();
        let object = || format!("{LOCAL_CELL}/{name}");
        cause.event("box.delete", object, || "204".to_owned())
    }

    /// The event about a link that was added or removed.
    pub(super) fn link_event(
        &self,
        association: &Association,
        (source, target): (&Entity, &Entity),
        change: LinkChange,
    ) -> Option<PostedEvent> {
        self.reporter.as_ref()?;
        let (source_set, target_set) = (&association.source.set, &association.target.set);
        let (action, name) = match change {
            LinkChange::Add => ("create", target_set.name()),
            LinkChange::Remove => ("delete", navigation_name(association)),
        };
        let mut names = [source_set.name(), name];
        names.sort_unstable();
        let [first, second] = names;
        let key = target.key(target_set);
        let key = key.print(&target_set.entity_type, KeyStyle::Plain);
        self.event(
            || format!("{}.{action}", self.linked("links", first, second)),
            || {
                let source = source.key(source_set);
                let source = entity_path(source_set, &source, KeyStyle::Plain);
                format!("{source}/$links/_{name}{key}")
            },
            || "204".to_owned(),
        )
    }

    /// The event about a new status of a received message.
    pub(super) fn status_event(
        &self,
        set: &SetRef,
        message: &Entity,
        kind: &'static str,
    ) -> Option<PostedEvent> {
        self.event(
            || kind.to_owned(),
            || entity_path(set, &message.key(set), KeyStyle::Plain),
            || "204".to_owned(),
        )
    }

    /// The event about a change that an approved message requested.
    pub(super) fn approved_event(
        &self,
        kind: String,
        path: impl FnOnce() -> String,
        message: &Entity,
    ) -> Option<PostedEvent> {
        let info = || format!("approved for message {}", message.id);
        self.event(|| format!("cellctl.{kind}"), path, info)
    }

    /// The event about a request that has read something. `url` is the URL of the request with its query.
    #[must_use]
    pub fn read_event(&self, read: &ReadKind, url: &str) -> Option<PostedEvent> {
        self.reporter.as_ref()?;
        let (kind, path) = match read {
            ReadKind::List(set) => (
                self.subject(|| set.name().to_owned()) + ".list",
                set.name().to_owned(),
            ),
            ReadKind::Get(set, key) => (
                self.subject(|| set.name().to_owned()) + ".get",
                entity_path(set, key, KeyStyle::Plain),
            ),
            ReadKind::Links(association, key) | ReadKind::Navigation(association, key) => {
                let source = &association.source.set;
                let name = navigation_name(association);
                let from = entity_path(source, key, KeyStyle::Plain);
                match read {
                    ReadKind::Links(..) => (
                        self.linked("links", source.name(), name) + ".list",
                        format!("{from}/$links/_{name}"),
                    ),
                    _ => (
                        self.linked("navprop", source.name(), name) + ".list",
                        format!("{from}/_{name}"),
                    ),
                }
            }
        };
        self.event(|| kind, || path, || format!("200,{url}"))
    }
}

/// The path of an entity below its service root.
pub(super) fn entity_path(set: &SetRef, key: &EntityKey, style: KeyStyle) -> String {
    format!("{}{}", set.name(), key.print(&set.entity_type, style))
}

/// The name of the navigation property, without the underscore. Between messages and accounts it is not that of the set.
fn navigation_name(association: &Association) -> &str {
    let sets = (
        association.source.set.control,
        association.target.set.control,
    );
    match sets {
        (Some(ControlSet::ReceivedMessage), Some(ControlSet::Account)) => "AccountRead",
        (Some(ControlSet::Account), Some(ControlSet::ReceivedMessage)) => "ReceivedMessageRead",
        _ => association.target.set.name(),
    }
}
