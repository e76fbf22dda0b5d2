//! The control objects of an archive: relations, roles, external roles, rules, and links between them.

use personium_archive::json::{
    self, BarExtRole, BarJsonError, BarLink, BarLinkEnd, BarRelation, BarRole, BarRule,
};
use personium_odata::key::{EntityKey, KeyPredicate};
use personium_types::{Code, Error, Result};
use serde_json::{Value, json};

use super::failure::{At, Failure, Fault, Outcome};
use super::package::BarEntry;
use super::{Installer, create_entity, members};
use crate::keys::ControlSet;
use crate::odata::{self, ServiceRoot, SetRef};

impl Installer {
    /// Makes the control objects of the archive. All belong to the box.
    pub(super) async fn install_objects(&self) -> Outcome {
        let named = |it: &str, name: &str| json!({"Name": it, "_Box.Name": name}).to_string();
        let relation = |it: &BarRelation, name: &str| named(&it.name, name);
        self.each(
            "10_relations.json",
            json::relations,
            ControlSet::Relation,
            relation,
        )
        .await?;
        let role = |it: &BarRole, name: &str| named(&it.name, name);
        self.each("20_roles.json", json::roles, ControlSet::Role, role)
            .await?;
        let ext_role = |it: &BarExtRole, name: &str| {
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
        let rule = |it: &BarRule, name: &str| {
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
        parse: fn(&[u8]) -> std::result::Result<Vec<T>, BarJsonError>,
        set: ControlSet,
        body: impl Fn(&T, &str) -> String,
    ) -> Outcome {
        let Some((entry, objects)) = self.listed(file, parse).await? else {
            return Ok(());
        };
        for object in objects {
            let body = |name: &str| body(&object, name);
            self.make(set, body).await.at(&entry)?;
        }
        self.end_entry(&entry).await;
        Ok(())
    }

    /// What one entry of the description lists, if it is there.
    async fn listed<T: Send + 'static>(
        &self,
        file: &str,
        parse: fn(&[u8]) -> std::result::Result<Vec<T>, BarJsonError>,
    ) -> Outcome<Option<(BarEntry, Vec<T>)>> {
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
            self.link(&link).await.at(&entry)?;
        }
        self.end_entry(&entry).await;
        Ok(())
    }

    /// Makes an object of the box.
    async fn make(&self, set: ControlSet, body: impl Fn(&str) -> String) -> Result<()> {
        loop {
            let (root, name) = self.root().await?;
            let body = body(&name);
            let made = create_entity(&root, set, body.as_bytes(), &self.authority).await;
            if !is_to_be_repeated(&root, &made).await? {
                return made.map(drop);
            }
        }
    }

    async fn link(&self, link: &BarLink) -> Result<()> {
        loop {
            let (root, name) = self.root().await?;
            let linked = self.link_by(&root, &name, link).await;
            if !is_to_be_repeated(&root, &linked).await? {
                return linked;
            }
        }
    }

    async fn link_by(&self, root: &ServiceRoot, name: &str, link: &BarLink) -> Result<()> {
        let set = root.set(linkable(&link.from)?.name())?;
        let navigation = format!("_{}", linkable(&link.to)?.name());
        let association = root
            .association(&set, &navigation)
            .ok_or(Code::NoSuchAssociation)?;
        let source = key(&association.source.set, &link.from, name)?;
        let target = key(&association.target.set, &link.to, name)?;
        let permit = self.authority.permit_link(root, &association);
        odata::add_link(root, &permit, &association, &source, &target).await
    }
}

/// Whether a step was refused only because the box changed meanwhile, its name perhaps.
async fn is_to_be_repeated<T: Sync>(root: &ServiceRoot, done: &Result<T>) -> Result<bool> {
    Ok(matches!(done, Err(refusal) if refusal.code() == Code::Conflict) && root.is_stale().await?)
}

/// The key of an object of the box.
fn key(set: &SetRef, end: &BarLinkEnd, box_name: &str) -> Result<EntityKey> {
    let of_box = match set.control {
        Some(ControlSet::ExtRole) => "_Relation._Box.Name",
        _ => "_Box.Name",
    };
    let named = end
        .names
        .iter()
        .map(|(name, value)| (name.clone(), Some(value.clone())));
    let of_box = (of_box.to_owned(), Some(box_name.to_owned()));
    let parts = KeyPredicate::Named(named.chain([of_box]).collect());
    let key = parts.resolve(&set.entity_type);
    key.map_err(|_| Code::KeyParse.into())
}

/// The sets whose objects an archive may link.
fn linkable(end: &BarLinkEnd) -> Result<ControlSet> {
    match ControlSet::named(&end.entity_type) {
        Some(set @ (ControlSet::Relation | ControlSet::Role | ControlSet::ExtRole)) => Ok(set),
        _ => Err(Error::new(Code::FieldFormat).with(&end.entity_type)),
    }
}
