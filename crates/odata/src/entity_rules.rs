//! Rules across the members of one entity.

use crate::constraint::{
    AllowedValues, Format, MAX_REQUEST_OBJECTS, is_box_url, is_cell_local_url, is_cell_url,
    is_http_url, is_schema_uri, is_unit_local_url, is_uri,
};
use crate::edm::SimpleType;
use crate::value::{MAX_DATE_MS, Properties, Value, parse_value};

/// A member does not fit the other members of its entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value of {member} does not fit the other members")]
pub struct EntityRuleError {
    /// The member, such as `TargetUrl` or `RequestObjects.ClassUrl`.
    pub member: &'static str,
}

const fn invalid(member: &'static str) -> EntityRuleError {
    EntityRuleError { member }
}

/// Checks that event, action and target of a rule fit together.
///
/// `unit_url` is the root URL of this unit. Event subjects and targets on this unit must be `personium-localunit` URLs
/// instead. `None` turns that check off.
///
/// # Errors
/// [`EntityRuleError`] for the first member that does not fit. The checks are in this order: `Action` is present,
/// `EventSubject` and `TargetUrl` are not URLs of this unit, `EventExternal`, `EventType`, `EventObject`, `TargetUrl`.
pub fn check_rule(rule: &Properties, unit_url: Option<&str>) -> Result<(), EntityRuleError> {
    let action = rule.text("Action").ok_or(invalid("Action"))?;
    for name in ["EventSubject", "TargetUrl"] {
        if let (Some(url), Some(unit_url)) = (rule.text(name), unit_url)
            && is_below(url, unit_url)
        {
            return Err(invalid(name));
        }
    }
    let event_type = rule.text("EventType");
    let is_external = rule.value("EventExternal").as_bool().unwrap_or(false);
    let is_timer = matches!(event_type, Some("timer.periodic" | "timer.oneshot"));
    if is_timer && is_external {
        return Err(invalid("EventExternal"));
    }
    let is_data_change = matches!(
        event_type,
        Some("odata.create" | "odata.update" | "odata.patch")
    );
    if action == "relay.data" && !is_data_change {
        return Err(invalid("EventType"));
    }
    let in_box = rule.text("_Box.Name").is_some();
    let object_fits = match rule.text("EventObject") {
        object if is_timer => object.is_some_and(is_timer_setting),
        Some(url) if !is_external => is_event_object(url, in_box),
        _ => true,
    };
    if !object_fits {
        return Err(invalid("EventObject"));
    }
    if is_action_target(rule.text("TargetUrl").unwrap_or(""), action, in_box) {
        Ok(())
    } else {
        Err(invalid("TargetUrl"))
    }
}

/// Returns true if the URL is the root URL of the unit or below it.
fn is_below(url: &str, unit_url: &str) -> bool {
    let root = unit_url.strip_suffix('/').unwrap_or(unit_url);
    url.strip_prefix(root)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Returns true for a number of milliseconds: a time since 1970, or an interval.
fn is_timer_setting(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or(text);
    !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && text
            .parse()
            .is_ok_and(|number: i64| (1..=MAX_DATE_MS).contains(&number))
}

/// Returns true for the URL of an object of internal events. A rule in a box refers to objects of this box, and to control
/// objects of the cell. As at the original the path may lack its slash; no event has such an object.
fn is_event_object(url: &str, in_box: bool) -> bool {
    if in_box {
        is_box_url(url)
            || is_opaque(url, "personium-localbox:")
            || (is_cell_local_url(url) && url.starts_with("personium-localcell:/__"))
    } else {
        is_cell_local_url(url) || is_opaque(url, "personium-localcell:")
    }
}

/// Returns true for a URI (RFC 3986) with this scheme whose path has no slash at its beginning.
fn is_opaque(url: &str, scheme: &str) -> bool {
    let path = url.strip_prefix(scheme);
    path.is_some_and(|path| !path.is_empty() && !path.starts_with('/')) && is_uri(url)
}

fn is_action_target(url: &str, action: &str, in_box: bool) -> bool {
    match action {
        "exec" if in_box => is_box_url(url),
        "exec" => is_cell_local_url(url),
        "relay" | "relay.data" => {
            is_http_url(url)
                || is_unit_local_url(url)
                || is_cell_local_url(url)
                || (in_box && is_box_url(url))
        }
        "relay.event" => is_cell_url(url) || url == "personium-localcell:/",
        _ => true,
    }
}

/// Checks a property of a user schema: `Type` has to be a primitive type, or a complex type of the collection by
/// `has_complex_type`, and `DefaultValue` has to be a value of it. Complex types have no default values.
///
/// # Errors
/// [`EntityRuleError`] for the first member that does not fit, in the order `Type`, `CollectionKind`, `DefaultValue`.
pub fn check_schema_property(
    property: &Properties,
    has_complex_type: &dyn Fn(&str) -> bool,
) -> Result<(), EntityRuleError> {
    let type_name = property.text("Type").unwrap_or("");
    let default = property.text("DefaultValue");
    let Some(simple) = SimpleType::from_name(type_name) else {
        return match default {
            _ if !has_complex_type(type_name) => Err(invalid("Type")),
            Some(_) => Err(invalid("DefaultValue")),
            None => Ok(()),
        };
    };
    let kinds = AllowedValues::CollectionKind.values();
    if property
        .text("CollectionKind")
        .is_some_and(|kind| !kinds.contains(&kind))
    {
        return Err(invalid("CollectionKind"));
    }
    // The time only matters for the value, not for its validity.
    match default {
        Some(text) if parse_value(simple, text, 0).is_err() => Err(invalid("DefaultValue")),
        _ => Ok(()),
    }
}

/// The cell that checks a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageSide {
    /// The sender. A requested rule may have no name yet.
    Sender,
    /// The receiver. The message has the first status of its type.
    Receiver,
}

/// The parameters of the check of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageCheck {
    /// The cell that checks the message.
    pub side: MessageSide,
    /// Whether the message belongs to a box. Requested rules belong to the same box.
    pub in_box: bool,
}

/// Checks that status and request objects of a message fit its type.
///
/// # Errors
/// [`EntityRuleError`] for the first member that does not fit: `Status`, `RequestObjects` or
/// `RequestObjects.{member}`.
pub fn check_message(message: &Properties, check: MessageCheck) -> Result<(), EntityRuleError> {
    let is_request = message.text("Type") == Some("request");
    let first_status = if is_request { "none" } else { "unread" };
    if check.side == MessageSide::Receiver && message.text("Status") != Some(first_status) {
        return Err(invalid("Status"));
    }
    if is_request {
        check_requests(message, check)
    } else {
        Ok(())
    }
}

/// Checks the request objects of a message of type `request`: there have to be 1 to [`MAX_REQUEST_OBJECTS`]. The status is
/// not checked.
///
/// # Errors
/// [`EntityRuleError`] for the first member that does not fit: `RequestObjects` or `RequestObjects.{member}`.
pub fn check_requests(message: &Properties, check: MessageCheck) -> Result<(), EntityRuleError> {
    let Value::List(requests) = message.value("RequestObjects") else {
        return Err(invalid("RequestObjects"));
    };
    if !(1..=MAX_REQUEST_OBJECTS).contains(&requests.len()) {
        return Err(invalid("RequestObjects"));
    }
    requests.iter().try_for_each(|request| match request {
        Value::Complex(members) => check_request(members, check),
        _ => Err(invalid("RequestObjects")),
    })
}

fn check_request(request: &Properties, check: MessageCheck) -> Result<(), EntityRuleError> {
    const REQUEST_TYPE: EntityRuleError = invalid("RequestObjects.RequestType");
    const NAME: EntityRuleError = invalid("RequestObjects.Name");
    let kind = request.text("RequestType").ok_or(REQUEST_TYPE)?;
    let name = request.text("Name");
    match kind {
        "relation.add" | "relation.remove" | "role.add" | "role.remove" => {
            check_link_request(request, ClassKind::of(kind))
        }
        "rule.add" | "rule.remove" => {
            match name {
                Some(name) => Format::RuleName.check(name, &[]).map_err(|_| NAME)?,
                None if kind == "rule.add" && check.side == MessageSide::Sender => {}
                None => return Err(NAME),
            }
            if kind == "rule.remove" {
                return Ok(());
            }
            let rule = requested_rule(request, check.in_box.then_some("box"));
            check_rule(&rule, None).map_err(|error| in_request(error.member))
        }
        _ => Err(REQUEST_TYPE),
    }
}

/// Checks a request to link a cell: either the name or the class URL of a relation or role, and the URL of the cell.
fn check_link_request(request: &Properties, kind: ClassKind) -> Result<(), EntityRuleError> {
    let format = kind.format();
    match (request.text("Name"), request.text("ClassUrl")) {
        (Some(name), None) => format
            .check(name, &[])
            .map_err(|_| invalid("RequestObjects.Name"))?,
        (None, Some(class)) => {
            let is_valid = split_class_url(class, kind)
                .is_some_and(|(_, name)| format.check(name, &[]).is_ok());
            if !is_valid {
                return Err(invalid("RequestObjects.ClassUrl"));
            }
        }
        _ => {
            return Err(invalid("RequestObjects.Name,RequestObjects.ClassUrl"));
        }
    }
    match request.text("TargetUrl") {
        Some(target) if is_cell_url(target) => Ok(()),
        _ => Err(invalid("RequestObjects.TargetUrl")),
    }
}

/// The members of a request object about a rule: properties of the rule.
pub const RULE_MEMBERS: [&str; 7] = [
    "Name",
    "EventSubject",
    "EventType",
    "EventObject",
    "EventInfo",
    "Action",
    "TargetUrl",
];

/// The rule that a request object of the type `rule.add` asks for, in the box with this name.
#[must_use]
pub fn requested_rule(request: &Properties, box_name: Option<&str>) -> Properties {
    let mut rule = Properties::with_capacity(9);
    for name in RULE_MEMBERS {
        rule.set(name, request.value(name).clone());
    }
    rule.set("EventExternal", false);
    rule.set("_Box.Name", box_name.map_or(Value::Null, Value::from));
    rule
}

/// The error of a requested rule as an error of the message.
fn in_request(member: &str) -> EntityRuleError {
    invalid(match member {
        "Action" => "RequestObjects.Action",
        "EventType" => "RequestObjects.EventType",
        "EventObject" => "RequestObjects.EventObject",
        "TargetUrl" => "RequestObjects.TargetUrl",
        _ => "RequestObjects",
    })
}

/// The kind of object that a request object of the types `relation.*` and `role.*` links a cell to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassKind {
    /// A relation.
    Relation,
    /// A role.
    Role,
}

impl ClassKind {
    /// The kind for the type of a request object.
    #[must_use]
    pub fn of(request_type: &str) -> Self {
        if request_type.starts_with("relation") {
            Self::Relation
        } else {
            Self::Role
        }
    }

    fn format(self) -> Format {
        match self {
            Self::Relation => Format::RelationName,
            Self::Role => Format::Name,
        }
    }

    /// The text between schema and name in the class URLs of this kind.
    fn marker(self) -> &'static str {
        match self {
            Self::Relation => "__relation/__/",
            Self::Role => "__role/__/",
        }
    }
}

/// Splits a class URL `{schema}__relation/__/{name}` or `{schema}__role/__/{name}` into schema and name. A final slash is
/// allowed. The name is not checked. `None` for any other text.
#[must_use]
pub fn split_class_url(url: &str, kind: ClassKind) -> Option<(&str, &str)> {
    let (schema, name) = url.split_once(kind.marker())?;
    let name = name.strip_suffix('/').unwrap_or(name);
    is_schema_uri(schema).then_some((schema, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(members: &[(&str, &str)]) -> Properties {
        members
            .iter()
            .map(|(name, text)| {
                let value = if *name == "EventExternal" {
                    Value::Bool(*text == "true")
                } else {
                    Value::from(*text)
                };
                ((*name).into(), value)
            })
            .collect()
    }

    fn invalid_rule_member(members: &[(&str, &str)]) -> Option<&'static str> {
        check_rule(&rule(members), Some("http://unit/"))
            .err()
            .map(|error| error.member)
    }

    #[test]
    fn rule_check_reports_the_first_member_that_does_not_fit() {
        assert_eq!(invalid_rule_member(&[("Action", "log")]), None);
        assert_eq!(invalid_rule_member(&[]), Some("Action"));
        assert_eq!(
            invalid_rule_member(&[("Action", "log"), ("EventSubject", "http://unit/c")]),
            Some("EventSubject")
        );
        assert_eq!(
            invalid_rule_member(&[("Action", "log"), ("EventSubject", "http://unitx/c")]),
            None
        );
        let timer = [("Action", "log"), ("EventType", "timer.oneshot")];
        assert_eq!(invalid_rule_member(&timer), Some("EventObject"));
        assert_eq!(
            invalid_rule_member(&[timer[0], timer[1], ("EventExternal", "true")]),
            Some("EventExternal")
        );
        for (object, expected) in [
            ("1", None),
            ("0", Some("EventObject")),
            ("253402300800000", Some("EventObject")),
            ("+1", None),
            ("+", Some("EventObject")),
            ("++1", Some("EventObject")),
        ] {
            assert_eq!(
                invalid_rule_member(&[timer[0], timer[1], ("EventObject", object)]),
                expected,
                "{object}"
            );
        }
        assert_eq!(
            invalid_rule_member(&[("Action", "relay.data"), ("EventType", "odata.delete")]),
            Some("EventType")
        );
    }

    #[test]
    fn rule_target_depends_on_action_and_box() {
        for (action, target, valid_without_box, valid_in_box) in [
            ("exec", "personium-localcell:/b/c", true, false),
            ("exec", "personium-localbox:/c", false, true),
            ("exec", "http://h/", false, false),
            ("relay", "http://h/a", true, true),
            ("relay", "personium-localunit:/c/", true, true),
            ("relay", "personium-localbox:/c", false, true),
            ("relay.event", "http://h/c/", true, true),
            ("relay.event", "http://h/c", false, false),
            ("relay.event", "personium-localcell:/", true, true),
            ("log.info", "anything", true, true),
        ] {
            let members = [("Action", action), ("TargetUrl", target)];
            assert_eq!(
                invalid_rule_member(&members).is_none(),
                valid_without_box,
                "{action} {target}"
            );
            let in_box = [members[0], members[1], ("_Box.Name", "b")];
            assert_eq!(
                invalid_rule_member(&in_box).is_none(),
                valid_in_box,
                "{action} {target} in a box"
            );
        }
        assert_eq!(
            invalid_rule_member(&[("Action", "exec")]),
            Some("TargetUrl")
        );
    }

    const SENDER: MessageCheck = MessageCheck {
        side: MessageSide::Sender,
        in_box: false,
    };
    const RECEIVER: MessageCheck = MessageCheck {
        side: MessageSide::Receiver,
        in_box: false,
    };

    fn invalid_request_member(
        members: &[(&str, &str)],
        check: MessageCheck,
    ) -> Option<&'static str> {
        let mut message = rule(&[("Type", "request"), ("Status", "none")]);
        message.set(
            "RequestObjects",
            Value::List(vec![Value::Complex(rule(members))]),
        );
        check_message(&message, check)
            .err()
            .map(|error| error.member)
    }

    #[test]
    fn link_request_has_either_a_name_or_a_class_url() {
        let message = |members: &[(&str, &str)]| invalid_request_member(members, RECEIVER);
        let add = ("RequestType", "relation.add");
        let target = ("TargetUrl", "http://h/c/");
        let class = ("ClassUrl", "http://h/s/__relation/__/r/");
        assert_eq!(message(&[add, ("Name", "r"), target]), None);
        assert_eq!(message(&[add, class, target]), None);
        let urn = ("ClassUrl", "urn:x:app__relation/__/r");
        assert_eq!(message(&[add, urn, target]), None);
        for url in [
            "http://h/s/__role/__/r",
            "http://h/s/__relation/__/_r",
            "http://h/s__relation/__/r",
        ] {
            assert_eq!(
                message(&[add, ("ClassUrl", url), target]),
                Some("RequestObjects.ClassUrl"),
                "{url}"
            );
        }
        let either = Some("RequestObjects.Name,RequestObjects.ClassUrl");
        assert_eq!(message(&[add, target]), either);
        assert_eq!(message(&[add, ("Name", "r"), class, target]), either);
        assert_eq!(
            message(&[add, ("Name", "r")]),
            Some("RequestObjects.TargetUrl")
        );
        assert_eq!(
            message(&[("RequestType", "role.grant")]),
            Some("RequestObjects.RequestType")
        );
    }

    #[test]
    fn requested_rule_is_checked_as_a_rule() {
        let add = ("RequestType", "rule.add");
        let name = ("Name", "r");
        let invalid_member = |members: &[(&str, &str)]| invalid_request_member(members, RECEIVER);
        assert_eq!(invalid_member(&[add, name]), Some("RequestObjects.Action"));
        assert_eq!(invalid_member(&[add, name, ("Action", "log")]), None);
        let exec = [
            add,
            name,
            ("Action", "exec"),
            ("TargetUrl", "personium-localbox:/s/x"),
        ];
        assert_eq!(invalid_member(&exec), Some("RequestObjects.TargetUrl"));
        let in_box = MessageCheck {
            in_box: true,
            ..RECEIVER
        };
        assert_eq!(invalid_request_member(&exec, in_box), None);
        let nameless = [add, ("Action", "log")];
        assert_eq!(invalid_member(&nameless), Some("RequestObjects.Name"));
        assert_eq!(invalid_request_member(&nameless, SENDER), None);
        let remove = [("RequestType", "rule.remove")];
        assert_eq!(
            invalid_request_member(&remove, SENDER),
            Some("RequestObjects.Name")
        );
    }

    #[test]
    fn received_message_has_the_first_status_of_its_type() {
        let invalid_member = |kind, status| {
            check_message(&rule(&[("Type", kind), ("Status", status)]), RECEIVER)
                .err()
                .map(|error| error.member)
        };
        assert_eq!(invalid_member("message", "unread"), None);
        assert_eq!(invalid_member("message", "read"), Some("Status"));
        assert_eq!(invalid_member("message", "none"), Some("Status"));
        assert_eq!(invalid_member("request", "approved"), Some("Status"));
        assert_eq!(invalid_member("request", "none"), Some("RequestObjects"));
    }
}
