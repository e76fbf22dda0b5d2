//! Creates the control objects of the archive: relations, roles, external roles, rules, and links between them. All of
//! them belong to the box.

use personium_archive::json::{
    self, BarExtRole, BarJsonError, BarLink, BarLinkEnd, BarRelation, BarRole, BarRule, Listed,
};
use personium_archive::{BarEntry, paths};
use personium_model::keys::ControlSet;
use personium_model::odata::{self, Creation, Entity, NewLink, ServiceRoot, SetRef};
use personium_model::timer_index::is_timer;
use personium_odata::key::{EntityKey, KeyPredicate};
use personium_types::{Code, Error, Result};
use serde_json::{Value, json};

use crate::error::{InEntry, InstallError, InstallReason, InstallResult};
use crate::installer::{Installer, LINKS_PER_COMMIT, creation, members};

/// The number of objects of one commit.
const OBJECTS_PER_COMMIT: usize = 100;

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
    async fn create_objects<T: Send + Sync + 'static>(
        &self,
        path: &str,
        parse: Parse<T>,
        set: ControlSet,
        body: fn(&T, &str) -> String,
    ) -> InstallResult {
        let Some((entry, objects)) = self.read_objects(path, parse).await? else {
            return Ok(());
        };
        for group in objects.chunks(OBJECTS_PER_COMMIT) {
            Box::pin(self.create_group(&entry, group, set, body)).await?;
        }
        self.end_entry(&entry).await;
        Ok(())
    }

    /// Creates objects by one commit. Retries if the box was changed meanwhile, because its name is part of the bodies.
    async fn create_group<T: Sync>(
        &self,
        entry: &BarEntry,
        group: &[Listed<T>],
        set: ControlSet,
        body: fn(&T, &str) -> String,
    ) -> InstallResult {
        let first = group.first().map(|object| object.line);
        loop {
            let (root, name) = self.cell_root().await.at_line(entry, first)?;
            let (mut creations, mut refused) = (Vec::with_capacity(group.len()), None);
            for object in group {
                match creation(&root, set, body(object, &name).as_bytes()).await {
                    Ok(creation) => creations.push(creation),
                    Err(error) => {
                        refused = Some(error);
                        break;
                    }
                }
            }
            let created = self.create_all(&root, &creations).await;
            if is_stale(&root, &created).await.at_line(entry, first)? {
                continue;
            }
            let created = created.at_line(entry, first)?;
            return first_refusal(entry, group, created, refused).1;
        }
    }

    /// Creates objects of one set.
    async fn create_all(
        &self,
        root: &ServiceRoot,
        creations: &[Creation],
    ) -> Result<Vec<Result<Entity>>> {
        let Some(first) = creations.first() else {
            return Ok(Vec::new());
        };
        let permit = self.authority.permit_write(root, &first.set);
        odata::create(root, &permit, creations).await
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

    async fn create_links(&self) -> InstallResult {
        let Some((entry, links)) = self.read_objects(paths::LINKS, json::links).await? else {
            return Ok(());
        };
        for group in links.chunks(LINKS_PER_COMMIT) {
            Box::pin(self.create_link_group(&entry, group)).await?;
        }
        self.end_entry(&entry).await;
        Ok(())
    }

    /// Creates links by one commit. Retries if the box was changed meanwhile, because its name is part of the keys.
    async fn create_link_group(
        &self,
        entry: &BarEntry,
        group: &[Listed<BarLink>],
    ) -> InstallResult {
        let first = group.first().map(|link| link.line);
        loop {
            let (root, name) = self.cell_root().await.at_line(entry, first)?;
            let (links, refused) =
                new_links(group, |link| self.new_object_link(&root, &name, link));
            let added = odata::add_links(&root, &links).await;
            if is_stale(&root, &added).await.at_line(entry, first)? {
                continue;
            }
            let added = added.at_line(entry, first)?;
            return first_refusal(entry, group, added, refused).1;
        }
    }

    fn new_object_link(
        &self,
        root: &ServiceRoot,
        box_name: &str,
        link: &BarLink,
    ) -> Result<NewLink> {
        let set = root.set(linkable_set(&link.from)?.name())?;
        let navigation = format!("_{}", linkable_set(&link.to)?.name());
        let association = root
            .association(&set, &navigation)
            .ok_or(Code::NoSuchAssociation)?;
        Ok(NewLink {
            source: key(&association.source.set, &link.from, box_name)?,
            target: key(&association.target.set, &link.to, box_name)?,
            permit: self.authority.permit_link(root, &association),
            association,
        })
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

/// The new links of a group, up to the first one that cannot be made, and the reason for that.
pub(crate) fn new_links<T>(
    group: &[Listed<T>],
    new: impl Fn(&T) -> Result<NewLink>,
) -> (Vec<NewLink>, Option<Error>) {
    let mut links = Vec::with_capacity(group.len());
    for listed in group {
        match new(listed) {
            Ok(link) => links.push(link),
            Err(error) => return (links, Some(error)),
        }
    }
    (links, None)
}

/// The number of objects of a group before the first one that was refused, and that refusal with its line. `made` has the outcomes of
/// the first ones; `refused` is that of the next one.
pub(crate) fn first_refusal<T, M>(
    entry: &BarEntry,
    group: &[Listed<T>],
    made: Vec<Result<M>>,
    refused: Option<Error>,
) -> (usize, InstallResult) {
    let outcomes = made.into_iter().map(|made| made.map(drop));
    let outcomes = outcomes.chain(refused.map(Err));
    for (number, (listed, outcome)) in group.iter().zip(outcomes).enumerate() {
        if outcome.is_err() {
            return (number, outcome.at_line(entry, Some(listed.line)));
        }
    }
    (group.len(), Ok(()))
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
