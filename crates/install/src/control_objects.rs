//! Creates the control objects of the archive: relations, roles, external roles, rules, and links between them. All of
//! them belong to the box.

use personium_archive::json::{
    self, BarExtRole, BarJsonError, BarLink, BarLinkEnd, BarRelation, BarRole, BarRule, Listed,
};
use personium_archive::{BarEntry, paths};
use personium_model::keys::ControlSet;
use personium_model::odata::{self, ServiceRoot, SetRef};
use personium_model::timer_index::is_timer;
use personium_odata::key::{EntityKey, KeyPredicate};
use personium_types::{Code, Error, Result};
use serde_json::{Value, json};

use crate::error::{InEntry, InstallError, InstallReason, InstallResult};
use crate::installer::{Installer, create_entity, members};

/// Parses the objects of an entry.
type Parse<T> = fn(&[u8]) -> std::result::Result<Vec<Listed<T>>, BarJsonError>;

impl Installer {
    /// Creates the control objects of the archive.
    pub(crate) async fn install_control_objects(&self) -> InstallResult {
        self.create_objects(
            paths::RELATIONS,
            json::relations,
            ControlSet::Relation,
            relation_body,
        )
        .await?;
        self.create_objects(paths::ROLES, json::roles, ControlSet::Role, role_body)
            .await?;
        self.create_objects(
            paths::EXT_ROLES,
            json::ext_roles,
            ControlSet::ExtRole,
            ext_role_body,
        )
        .await?;
        let rule_body = match self.target.may_write_rules {
            true => rule_body,
            false => rule_body_without_account,
        };
        self.create_objects(paths::RULES, json::rules, ControlSet::Rule, rule_body)
            .await?;
        self.create_links().await
    }

    /// Creates the objects of one entry, if the archive has it. `body` makes the body of an object from the name of the
    /// box.
    async fn create_objects<T: Send + 'static>(
        &self,
        path: &str,
        parse: Parse<T>,
        set: ControlSet,
        body: fn(&T, &str) -> String,
    ) -> InstallResult {
        let Some((entry, objects)) = self.read_objects(path, parse).await? else {
            return Ok(());
        };
        for object in objects {
            let body = |name: &str| body(&object, name);
            let created = self.create_object(set, body).await;
            created.at_line(&entry, Some(object.line))?;
        }
        self.end_entry(&entry).await;
        Ok(())
    }

    /// Starts an entry and parses its objects, if the archive has it.
    async fn read_objects<T: Send + 'static>(
        &self,
        path: &str,
        parse: Parse<T>,
    ) -> InstallResult<Option<(BarEntry, Vec<Listed<T>>)>> {
        let Some(entry) = self.package.find(path) else {
            return Ok(None);
        };
        self.start_entry(&entry).await;
        let parsed = self.package.read_as(&entry, move |bytes| parse(&bytes));
        let objects = parsed
            .await?
            .map_err(|error| syntax_error(&entry, &error))?;
        Ok(Some((entry, objects)))
    }

    /// Creates an object. Retries if the box was changed meanwhile, because its name is part of the body.
    async fn create_object(&self, set: ControlSet, body: impl Fn(&str) -> String) -> Result<()> {
        loop {
            let (root, name) = self.cell_root().await?;
            let body = body(&name);
            let created = create_entity(&root, set, body.as_bytes(), &self.authority).await;
            if !is_stale(&root, &created).await? {
                return created.map(drop);
            }
        }
    }

    async fn create_links(&self) -> InstallResult {
        let Some((entry, links)) = self.read_objects(paths::LINKS, json::links).await? else {
            return Ok(());
        };
        for link in links {
            let created = self.create_link(&link).await;
            created.at_line(&entry, Some(link.line))?;
        }
        self.end_entry(&entry).await;
        Ok(())
    }

    /// Creates a link. Retries if the box was changed meanwhile, because its name is part of the keys.
    async fn create_link(&self, link: &BarLink) -> Result<()> {
        loop {
            let (root, name) = self.cell_root().await?;
            let created = self.add_link(&root, &name, link).await;
            if !is_stale(&root, &created).await? {
                return created;
            }
        }
    }

    async fn add_link(&self, root: &ServiceRoot, box_name: &str, link: &BarLink) -> Result<()> {
        let set = root.set(linkable_set(&link.from)?.name())?;
        let navigation = format!("_{}", linkable_set(&link.to)?.name());
        let association = root
            .association(&set, &navigation)
            .ok_or(Code::NoSuchAssociation)?;
        let source = key(&association.source.set, &link.from, box_name)?;
        let target = key(&association.target.set, &link.to, box_name)?;
        let permit = self.authority.permit_link(root, &association);
        odata::add_link(root, &permit, &association, &source, &target).await
    }
}

/// The error for a JSON file that cannot be parsed.
pub(crate) fn syntax_error(entry: &BarEntry, error: &BarJsonError) -> InstallError {
    let reason = InstallReason::Syntax;
    InstallError::new(reason, entry.name(), error).at_line(Some(error.line))
}

fn relation_body(relation: &BarRelation, box_name: &str) -> String {
    json!({"Name": relation.name, "_Box.Name": box_name}).to_string()
}

fn role_body(role: &BarRole, box_name: &str) -> String {
    json!({"Name": role.name, "_Box.Name": box_name}).to_string()
}

fn ext_role_body(role: &BarExtRole, box_name: &str) -> String {
    json!({
        "ExtRole": role.url,
        "_Relation.Name": role.relation,
        "_Relation._Box.Name": box_name,
    })
    .to_string()
}

fn rule_body(rule: &BarRule, box_name: &str) -> String {
    let mut body = members([
        ("EventSubject", rule.event_subject.as_deref()),
        ("EventType", rule.event_type.as_deref()),
        ("EventObject", rule.event_object.as_deref()),
        ("EventInfo", rule.event_info.as_deref()),
        ("Action", Some(rule.action.as_str())),
        ("TargetUrl", rule.target_url.as_deref()),
        ("_Box.Name", Some(box_name)),
    ]);
    if let Some(external) = rule.event_external {
        body.insert("EventExternal".to_owned(), external.into());
    }
    Value::Object(body).to_string()
}

/// The body of a rule whose timer acts as nobody: to act as an account of the cell needs the privilege of rules.
fn rule_body_without_account(rule: &BarRule, box_name: &str) -> String {
    if !rule.event_type.as_deref().is_some_and(is_timer) {
        return rule_body(rule, box_name);
    }
    let anonymous = BarRule {
        event_subject: None,
        ..rule.clone()
    };
    rule_body(&anonymous, box_name)
}

/// Whether a step was refused because the box was changed meanwhile.
async fn is_stale<T: Sync>(root: &ServiceRoot, result: &Result<T>) -> Result<bool> {
    let is_conflict = matches!(result, Err(refusal) if refusal.code() == Code::Conflict);
    Ok(is_conflict && root.is_stale().await?)
}

/// The key of an object of the box.
fn key(set: &SetRef, end: &BarLinkEnd, box_name: &str) -> Result<EntityKey> {
    let box_member = match set.control {
        Some(ControlSet::ExtRole) => "_Relation._Box.Name",
        _ => "_Box.Name",
    };
    let names = end
        .names
        .iter()
        .map(|(name, value)| (name.clone(), Some(value.clone())));
    let box_name = (box_member.to_owned(), Some(box_name.to_owned()));
    let predicate = KeyPredicate::Named(names.chain([box_name]).collect());
    let key = predicate.resolve(&set.entity_type);
    key.map_err(|_| Code::KeyParse.into())
}

/// The set of an end of a link, if an archive may link its objects.
fn linkable_set(end: &BarLinkEnd) -> Result<ControlSet> {
    match ControlSet::named(&end.entity_type) {
        Some(set @ (ControlSet::Relation | ControlSet::Role | ControlSet::ExtRole)) => Ok(set),
        _ => Err(Error::new(Code::FieldFormat).with(&end.entity_type)),
    }
}
