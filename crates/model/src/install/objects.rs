//! The control objects of an archive: relations, roles, external roles, rules, and links between them.

use personium_archive::json::{self, ExtRole, JsonError, Link, LinkEnd, Relation, Role, Rule};
use personium_odata::key::{EntityKey, KeyText};
use personium_types::{Code, Error, Result};
use serde_json::{Value, json};

use super::failure::{At, Failure, Fault, Outcome};
use super::package::Entry;
use super::{Installer, create_entity, members};
use crate::Access;
use crate::keys::ControlSet;
use crate::odata::{self, Root, SetRef};

impl Installer {
    /// Makes the control objects of the archive. All belong to the box.
    pub(super) async fn install_objects(&self) -> Outcome {
        let name = self.box_name.as_str();
        let named = |it: &str| json!({"Name": it, "_Box.Name": name}).to_string();
        let relation = |it: Relation| named(&it.name);
        self.each(
            "10_relations.json",
            json::relations,
            ControlSet::Relation,
            relation,
        )
        .await?;
        let role = |it: Role| named(&it.name);
        self.each("20_roles.json", json::roles, ControlSet::Role, role)
            .await?;
        let ext_role = |it: ExtRole| {
            json!({
                "ExtRole": it.url, "_Relation.Name": it.relation, "_Relation._Box.Name": name,
            })
            .to_string()
        };
        self.each(
            "30_extroles.json",
            json::ext_roles,
            ControlSet::ExtRole,
            ext_role,
        )
        .await?;
        let rule = |it: Rule| {
            let mut body = members([
                ("EventSubject", it.event_subject.as_deref()),
                ("EventType", it.event_type.as_deref()),
                ("EventObject", it.event_object.as_deref()),
                ("EventInfo", it.event_info.as_deref()),
                ("Action", Some(it.action.as_str())),
                ("TargetUrl", it.target_url.as_deref()),
                ("_Box.Name", Some(name)),
            ]);
            if let Some(external) = it.event_external {
                body.insert("EventExternal".to_owned(), external.into());
            }
            Value::Object(body).to_string()
        };
        self.each("50_rules.json", json::rules, ControlSet::Rule, rule)
            .await?;
        self.links().await
    }

    /// Makes the objects of one entry, if it is there.
    async fn each<T: Send + 'static>(
        &self,
        file: &str,
        parse: fn(&[u8]) -> std::result::Result<Vec<T>, JsonError>,
        set: ControlSet,
        body: impl Fn(T) -> String,
    ) -> Outcome {
        let Some((entry, objects)) = self.listed(file, parse).await? else {
            return Ok(());
        };
        for object in objects {
            let root = self.root().await.at(&entry)?;
            let permit = Access::server_permit();
            create_entity(&root, set, body(object).as_bytes(), &permit)
                .await
                .at(&entry)?;
        }
        self.end_entry(&entry).await;
        Ok(())
    }

    /// What one entry of the description lists, if it is there.
    async fn listed<T: Send + 'static>(
        &self,
        file: &str,
        parse: fn(&[u8]) -> std::result::Result<Vec<T>, JsonError>,
    ) -> Outcome<Option<(Entry, Vec<T>)>> {
        let Some(entry) = self.package.find(&format!("00_meta/{file}")) else {
            return Ok(None);
        };
        self.begin_entry(&entry).await;
        let parsed = self.package.read_as(&entry, move |bytes| parse(&bytes));
        let objects = parsed
            .await?
            .map_err(|fault| Failure::new(Fault::Syntax, entry.name(), fault))?;
        Ok(Some((entry, objects)))
    }

    async fn links(&self) -> Outcome {
        let Some((entry, links)) = self.listed("70_$links.json", json::links).await? else {
            return Ok(());
        };
        for link in links {
            let root = self.root().await.at(&entry)?;
            self.link(&root, &link).await.at(&entry)?;
        }
        self.end_entry(&entry).await;
        Ok(())
    }

    async fn link(&self, root: &Root, link: &Link) -> Result<()> {
        let set = root.set(linkable(&link.from)?.name())?;
        let navigation = format!("_{}", linkable(&link.to)?.name());
        let association = root
            .association(&set, &navigation)
            .ok_or(Code::NoSuchAssociation)?;
        let source = self.key(&association.here, &link.from)?;
        let target = self.key(&association.there, &link.to)?;
        let permit = Access::server_permit();
        odata::add_link(root, &permit, &association, &source, &target).await
    }

    /// The key of an object of the box.
    fn key(&self, set: &SetRef, end: &LinkEnd) -> Result<EntityKey> {
        let of_box = match set.control {
            Some(ControlSet::ExtRole) => "_Relation._Box.Name",
            _ => "_Box.Name",
        };
        let named = end
            .names
            .iter()
            .map(|(name, value)| (name.clone(), Some(value.clone())));
        let of_box = (of_box.to_owned(), Some(self.box_name.clone()));
        let parts = KeyText::Named(named.chain([of_box]).collect());
        let key = parts.resolve(&set.entity_type);
        key.map_err(|_| Code::KeyParse.into())
    }
}

/// The sets whose objects an archive may link.
fn linkable(end: &LinkEnd) -> Result<ControlSet> {
    match ControlSet::named(&end.entity_type) {
        Some(set @ (ControlSet::Relation | ControlSet::Role | ControlSet::ExtRole)) => Ok(set),
        _ => Err(Error::new(Code::FieldFormat).with(&end.entity_type)),
    }
}
