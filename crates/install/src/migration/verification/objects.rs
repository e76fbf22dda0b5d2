//! Finds the objects here that those of the original became.

use personium_archive::snapshot::Document;
use personium_model::entity;
use personium_model::keys::{self, ControlSet, SetKey};
use personium_model::odata::{self, ServiceRoot};
use personium_odata::edm::ID;
use personium_types::Result;

use super::Comparison;
use crate::original::NoteKind;

/// An object of the original as it is noted: its set, its id here, its name.
pub(super) type NotedObject = (String, String, String);

impl Comparison<'_> {
    /// Notes which object here a control object or an object of a schema became. One that is missing is a difference.
    pub(super) async fn note_object(
        &mut self,
        root: &ServiceRoot,
        (set, key): (ControlSet, &SetKey),
        document: &Document,
    ) -> Result<()> {
        let name = name(root, set, document);
        match self.find_object((set, key), document, &name).await? {
            Some(id) => {
                let noted: NotedObject = (set.name().to_owned(), id, name);
                let id = document.id.as_bytes();
                self.notes.put(NoteKind::Object, id, &noted).await
            }
            None if self.is_refused(set.name(), &document.id) => Ok(()),
            None => {
                let set = set.name();
                self.found.differ(format!("the {set} {name} is missing"));
                Ok(())
            }
        }
    }

    async fn find_object(
        &self,
        (set, key): (ControlSet, &SetKey),
        document: &Document,
        name: &str,
    ) -> Result<Option<String>> {
        if matches!(set, ControlSet::SentMessage | ControlSet::ReceivedMessage) {
            let found = entity::find(&self.records, key, name).await?;
            return Ok(found.map(|_| name.to_owned()));
        }
        let unique = match odata::parent_of(set) {
            None => keys::unique(key, 0, &[Some(name)]),
            Some((parent, _)) => {
                let links = document.source.links.as_ref();
                let parent = match links.and_then(|links| links.get(parent.name())) {
                    None => None,
                    Some(there) => match self.noted_object(there).await? {
                        None => return Ok(None),
                        Some((_, id, _)) => Some(id),
                    },
                };
                keys::unique(key, 0, &[Some(name), parent.as_deref()])
            }
        };
        entity::find_id(&self.records, &unique).await
    }

    /// The object here that the one with this id there became.
    pub(super) async fn noted_object(&self, there: &str) -> Result<Option<NotedObject>> {
        self.notes.find(NoteKind::Object, there.as_bytes()).await
    }
}

/// The name of an object: the first part of its key.
fn name(root: &ServiceRoot, set: ControlSet, document: &Document) -> String {
    let described = root.set(set.name()).ok();
    let member = described.and_then(|set| set.entity_type.key.first().map(ToString::to_string));
    let member = member.unwrap_or_else(|| "Name".to_owned());
    let properties = document.source.properties.as_ref();
    let value = properties.and_then(|properties| properties.get(&member)?.as_str());
    match value {
        None if member == ID => document.id.clone(),
        value => value.unwrap_or_default().to_owned(),
    }
}
