//! Messages that a cell sends.

use std::collections::HashSet;

use personium_odata::body::{Intent, Route};
use personium_odata::constraint::urls_in_list;
use personium_odata::control::{BOX_BOUND, BOX_SCHEMA, message_to_send};
use personium_odata::edm::ID;
use personium_odata::entity_rules::{MessageCheck, MessageSide, RULE_MEMBERS, check_message};
use personium_odata::value::{Properties, Value, push_json_value};
use personium_types::{Code, Error, NodeId, Result};

use super::super::link_cursor::linked_ids;
use super::super::load;
use super::super::root::{ServiceRoot, SetRef};
use super::super::validate::validate_as;
use super::find_box_of;
use crate::entity;
use crate::keys::ControlSet;

/// The largest number of recipients of one message.
pub const MAX_RECIPIENTS: usize = 1_000;

/// A message that is ready to be delivered.
#[derive(Debug, Clone)]
pub struct OutgoingMessage {
    pub(super) set: SetRef,
    pub(super) properties: Properties,
    /// The schema that the message is bound to.
    pub(super) schema: Option<String>,
    /// The URLs of the recipient cells in `http(s)` form, at least one, without duplicates.
    pub recipients: Vec<String>,
}

/// Parses and checks a message to be sent. `app` is the application that sends it, if there is one.
///
/// # Errors
/// The codes of [`body_error`](crate::odata::body_error) or [`Code::FieldFormat`] if the body is not valid;
/// [`Code::MessageRelationMissing`] or [`Code::MessageRelationEmpty`]; [`Code::MessageTooMany`] for more than
/// [`MAX_RECIPIENTS`]; [`Code::MessageBoxMissing`] if the message is bound to the box of the application and there is
/// none; failures of the store.
pub async fn prepare(
    root: &ServiceRoot,
    bytes: &[u8],
    app: Option<&str>,
) -> Result<OutgoingMessage> {
    let body = validate_as(
        root,
        message_to_send(),
        bytes,
        Intent::Create,
        Route::Direct,
    );
    let mut properties = body.await?.properties;
    let is_bound = properties.remove(BOX_BOUND) == Some(Value::Bool(true));
    let check = MessageCheck {
        side: MessageSide::Sender,
        in_box: is_bound,
    };
    check_message(&properties, check)
        .map_err(|error| Error::new(Code::FieldFormat).with(error.member))?;
    let recipients = recipients(root, &properties).await?;
    let app = app.filter(|app| !app.is_empty());
    let in_box = match app {
        Some(app) => find_box_of(root, app).await?,
        None => None,
    };
    if is_bound && in_box.is_none() {
        return Err(Error::new(Code::MessageBoxMissing).with(app.unwrap_or_default()));
    }
    let id = NodeId::at(root.unit.now_ms(), root.unit.random()).to_string();
    properties.set(ID, id);
    if let Some(id) = in_box {
        properties.set("_Box.Name", box_name(root, &id).await?);
    }
    Ok(OutgoingMessage {
        set: root.set(ControlSet::SentMessage.name())?,
        properties,
        schema: app.filter(|_| is_bound).map(str::to_owned),
        recipients,
    })
}

/// The name of the box with this id; null if it was deleted.
pub(super) async fn box_name(root: &ServiceRoot, id: &str) -> Result<Value> {
    let boxes = crate::keys::SetKey::control(ControlSet::Box);
    let found = entity::find(&root.records, &boxes, id).await?;
    Ok(found
        .and_then(|found| found.value.text("Name"))
        .map_or(Value::Null, Value::from))
}

/// The members of a request object that are delivered: those that its type has. A rule without a name has that of the message.
fn delivered(request: &Properties, message: &str) -> Properties {
    let kind = request.text("RequestType").unwrap_or_default();
    let is_rule = kind.starts_with("rule.");
    let members: &[&str] = match is_rule {
        true => &RULE_MEMBERS,
        false => &["Name", "ClassUrl", "TargetUrl"],
    };
    let mut out = Properties::new();
    out.set("RequestType", kind);
    for name in members {
        out.set(*name, request.value(name).clone());
    }
    if is_rule && out.value("Name").is_null() {
        out.set("Name", message);
    }
    out
}

/// The recipients of a message: the cells that it names, and those of the relation that it names.
async fn recipients(root: &ServiceRoot, properties: &Properties) -> Result<Vec<String>> {
    let (to, relation) = (properties.text("To"), properties.text("ToRelation"));
    if to.is_none() && relation.is_none() {
        return Err(Error::new(Code::FieldFormat).with("To,ToRelation"));
    }
    let mut named: Vec<String> = to
        .into_iter()
        .flat_map(urls_in_list)
        .map(str::to_owned)
        .collect();
    if let Some(relation) = relation {
        named.extend(related(root, relation).await?);
    }
    let mut seen = HashSet::new();
    let mut out = Vec::new();
    for url in named {
        let malformed = || Error::new(Code::FieldFormat).with(url.as_str());
        let url = root.unit.urls().resolve(&url).ok_or_else(malformed)?;
        if seen.insert(url.clone()) {
            out.push(url);
        }
    }
    if out.len() > MAX_RECIPIENTS {
        return Err(Error::new(Code::MessageTooMany).with(MAX_RECIPIENTS.to_string()));
    }
    Ok(out)
}

/// The URLs of the cells of a relation that belongs to no box: at least one, and at most one more than allowed.
async fn related(root: &ServiceRoot, name: &str) -> Result<Vec<String>> {
    let missing = || Error::new(Code::MessageRelationMissing).with(name);
    let set = root.set(ControlSet::Relation.name())?;
    let key = load::unique(&set, name, None);
    let id = entity::find_id(&root.records, &key)
        .await?
        .ok_or_else(missing)?;
    let relation = load::find_by_id(root, &set, &id)
        .await?
        .ok_or_else(missing)?;
    let association = root
        .association(&set, "_ExtCell")
        .ok_or(Code::OdataInconsistent)?;
    let mut out = Vec::new();
    for id in linked_ids(root, &association, &relation, MAX_RECIPIENTS + 1).await? {
        let cell = load::find_by_id(root, &association.target.set, &id).await?;
        out.extend(cell.and_then(|cell| cell.properties.text("Url").map(str::to_owned)));
    }
    if out.is_empty() {
        return Err(Error::new(Code::MessageRelationEmpty).with(name));
    }
    Ok(out)
}

impl OutgoingMessage {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.properties.text(ID).unwrap_or_default()
    }

    /// The JSON body of the delivery to one of the recipients. `from` is the URL of the sending cell.
    #[must_use]
    pub fn delivery_body(&self, from: &str, to: &str) -> String {
        let others: Vec<&str> = self
            .recipients
            .iter()
            .map(String::as_str)
            .filter(|url| *url != to)
            .collect();
        let is_request = self.properties.text("Type") == Some("request");
        let mut body = Properties::new();
        for name in [ID, "InReplyTo", "Type", "Title", "Body", "Priority"] {
            body.set(name, self.properties.value(name).clone());
        }
        if is_request && let Value::List(requests) = self.properties.value("RequestObjects") {
            let delivered = requests.iter().map(|request| match request {
                Value::Complex(members) => Value::Complex(delivered(members, self.id())),
                other => other.clone(),
            });
            body.set("RequestObjects", Value::List(delivered.collect()));
        }
        body.set("From", from);
        body.set("Status", if is_request { "none" } else { "unread" });
        if !others.is_empty() {
            body.set("MulticastTo", others.join(","));
        }
        if let Some(schema) = &self.schema {
            body.set(BOX_SCHEMA, schema.as_str());
        }
        let mut out = String::new();
        push_json_value(&mut out, &Value::Complex(body));
        out
    }
}
