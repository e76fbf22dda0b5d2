//! Writes the control objects of a box: relations, roles, external roles, rules, and links between them.

use std::collections::{BTreeMap, HashMap};

use personium_archive::json::{
    self, BarExtRole, BarLink, BarLinkEnd, BarRelation, BarRole, BarRule,
};
use personium_archive::paths;
use personium_model::entity::{self, EntityPages, StoredEntity};
use personium_model::keys::{ControlSet, SetKey};
use personium_odata::value::Value;
use personium_types::Result;

use super::Export;

/// The largest number of links of one object.
const MAX_LINKS: usize = 100_000;

/// An external role with the name of its relation.
struct OwnExtRole {
    id: String,
    role: BarExtRole,
}

impl Export<'_> {
    /// Writes the control objects that belong to the box. All are sorted, so that the same objects give the same archive.
    pub(super) async fn write_control_objects(&mut self) -> Result<()> {
        let relations = self.list_named(ControlSet::Relation).await?;
        let roles = self.list_named(ControlSet::Role).await?;
        let ext_roles = self.list_ext_roles(&relations).await?;
        let rules = self.list_rules().await?;
        let links = self.list_links(&relations, &roles, &ext_roles).await?;
        let named = |objects: &HashMap<String, String>| {
            let mut names: Vec<String> = objects.values().cloned().collect();
            names.sort();
            names
        };
        if !relations.is_empty() {
            let relations = named(&relations).into_iter();
            let relations: Vec<_> = relations.map(|name| BarRelation { name }).collect();
            let text = json::print_relations(&relations);
            self.out.file(paths::RELATIONS, text.into()).await?;
        }
        if !roles.is_empty() {
            let roles: Vec<_> = named(&roles)
                .into_iter()
                .map(|name| BarRole { name })
                .collect();
            let text = json::print_roles(&roles);
            self.out.file(paths::ROLES, text.into()).await?;
        }
        if !ext_roles.is_empty() {
            let roles: Vec<_> = ext_roles.into_iter().map(|own| own.role).collect();
            let text = json::print_ext_roles(&roles);
            self.out.file(paths::EXT_ROLES, text.into()).await?;
        }
        if !rules.is_empty() {
            let text = json::print_rules(&rules);
            self.out.file(paths::RULES, text.into()).await?;
        }
        if !links.is_empty() {
            let text = json::print_links(&links);
            self.out.file(paths::LINKS, text.into()).await?;
        }
        Ok(())
    }

    /// Calls `take` with each object of a set.
    async fn each(
        &mut self,
        set: ControlSet,
        mut take: impl FnMut(String, StoredEntity) -> Result<()> + Send,
    ) -> Result<()> {
        let mut pages = EntityPages::of(&self.records, &SetKey::control(set));
        loop {
            let page = pages.next_page().await?;
            if page.is_empty() {
                return Ok(());
            }
            for (id, stored) in page {
                take(id, stored)?;
            }
        }
    }

    /// The names of the objects of a set that belong to the box, by their ids.
    async fn list_named(&mut self, set: ControlSet) -> Result<HashMap<String, String>> {
        let box_id = self.subject.info.id.to_string();
        let mut found = HashMap::new();
        self.each(set, |id, stored| {
            if stored.links.get("Box") == Some(&box_id)
                && let Some(name) = stored.text("Name")
            {
                found.insert(id, name);
            }
            Ok(())
        })
        .await?;
        let bytes = found.iter().map(|(id, name)| 2 * (id.len() + name.len()));
        self.memory.wait_to_hold(bytes.sum()).await?;
        Ok(found)
    }

    async fn list_ext_roles(
        &mut self,
        relations: &HashMap<String, String>,
    ) -> Result<Vec<OwnExtRole>> {
        let mut found = Vec::new();
        self.each(ControlSet::ExtRole, |id, stored| {
            let relation = stored.links.get("Relation");
            let relation = relation.and_then(|relation| relations.get(relation));
            if let (Some(relation), Some(url)) = (relation, stored.text("ExtRole")) {
                let relation = relation.clone();
                let role = BarExtRole { url, relation };
                found.push(OwnExtRole { id, role });
            }
            Ok(())
        })
        .await?;
        found.sort_by(|a, b| {
            let key = |own: &OwnExtRole| (own.role.relation.clone(), own.role.url.clone());
            key(a).cmp(&key(b))
        });
        let bytes = found
            .iter()
            .map(|own| 2 * (own.role.url.len() + own.role.relation.len()));
        self.memory.wait_to_hold(bytes.sum()).await?;
        Ok(found)
    }

    /// The rules of the box without their names, which an installation makes up.
    async fn list_rules(&mut self) -> Result<Vec<BarRule>> {
        let box_id = self.subject.info.id.to_string();
        let mut found = Vec::new();
        self.each(ControlSet::Rule, |_, stored| {
            if stored.links.get("Box") == Some(&box_id)
                && let Some(action) = stored.text("Action")
            {
                found.push(BarRule {
                    event_external: stored.doc.get("EventExternal").and_then(Value::as_bool),
                    event_subject: stored.text("EventSubject"),
                    event_type: stored.text("EventType"),
                    event_object: stored.text("EventObject"),
                    event_info: stored.text("EventInfo"),
                    action,
                    target_url: stored.text("TargetUrl"),
                });
            }
            Ok(())
        })
        .await?;
        found.sort_by_cached_key(|rule| json::print_rules(std::slice::from_ref(rule)));
        let bytes = found.len() * size_of::<BarRule>() * 2;
        self.memory.wait_to_hold(bytes).await?;
        Ok(found)
    }

    /// The links of relations and external roles of the box to its roles.
    async fn list_links(
        &self,
        relations: &HashMap<String, String>,
        roles: &HashMap<String, String>,
        ext_roles: &[OwnExtRole],
    ) -> Result<Vec<BarLink>> {
        let name = |name: &str| BTreeMap::from([("Name".to_owned(), name.to_owned())]);
        let relations = relations
            .iter()
            .map(|(id, relation)| (ControlSet::Relation, id.clone(), name(relation)));
        let ext_roles = ext_roles.iter().map(|own| {
            let mut names = BTreeMap::from([("ExtRole".to_owned(), own.role.url.clone())]);
            names.insert("_Relation.Name".to_owned(), own.role.relation.clone());
            (ControlSet::ExtRole, own.id.clone(), names)
        });
        let mut links = Vec::new();
        let role_set = SetKey::control(ControlSet::Role);
        for (set, id, names) in relations.chain(ext_roles) {
            let from = SetKey::control(set);
            let linked = entity::linked(&self.records, &from, &id, &role_set, MAX_LINKS).await?;
            for role in linked.iter().filter_map(|role| roles.get(role)) {
                links.push(BarLink {
                    from: BarLinkEnd {
                        entity_type: set.name().to_owned(),
                        names: names.clone(),
                    },
                    to: BarLinkEnd {
                        entity_type: ControlSet::Role.name().to_owned(),
                        names: name(role),
                    },
                });
            }
        }
        let key = |link: &BarLink| {
            let (from, to) = (&link.from, &link.to);
            (
                from.entity_type == "ExtRole",
                from.names.clone(),
                to.names.clone(),
            )
        };
        links.sort_by_cached_key(key);
        Ok(links)
    }
}
