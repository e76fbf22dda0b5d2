//! Rules across the members of one entity.

use crate::constraint::{
    Format, MAX_REQUEST_OBJECTS, is_box_url, is_cell_local_url, is_cell_url, is_http_url,
    is_schema_uri, is_unit_local_url,
};
use crate::value::{MAX_DATE_MS, Properties, Value};

/// A member that does not fit the others; the text is what error messages name, such as `RequestObjects.ClassUrl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value of {member} does not fit the other members")]
pub struct EntityRuleError {
    /// The member as error messages name it, such as `RequestObjects.ClassUrl`.
    pub member: &'static str,
}

const fn error(member: &'static str) -> EntityRuleError {
    EntityRuleError { member }
}

/// Checks a rule: event, action and target have to fit together.
///
/// `unit_url` is the root URL of this unit, under which subjects and targets must be written as
/// `personium-localunit:`; `None` leaves that check out.
///
/// # Errors
/// The first member that does not fit, in the order EventSubject, TargetUrl, EventExternal, EventType,
/// EventObject, Action, TargetUrl.
pub fn check_rule(rule: &Properties, unit_url: Option<&str>) -> Result<(), EntityRuleError> {
    let action = rule.text("Action").ok_or(error("Action"))?;
    let bound = rule.text("_Box.Name").is_some();
    for name in ["EventSubject", "TargetUrl"] {
        if rule
            .text(name)
            .is_some_and(|url| unit_url.is_some_and(|unit| is_inside(url, unit)))
        {
            return Err(error(name));
        }
    }
    let event_type = rule.text("EventType");
    let external = rule.value("EventExternal").as_bool().unwrap_or(false);
    let timer = matches!(event_type, Some("timer.periodic" | "timer.oneshot"));
    if timer && external {
        return Err(error("EventExternal"));
    }
    if action == "relay.data"
        && !matches!(
            event_type,
            Some("odata.create" | "odata.update" | "odata.patch")
        )
    {
        return Err(error("EventType"));
    }
    let object = rule.text("EventObject");
    let object_fits = match object {
        _ if timer => object.is_some_and(is_timer),
        Some(url) if !external && bound => {
            is_box_url(url)
                || (is_cell_local_url(url) && url.starts_with("personium-localcell:/__"))
        }
        Some(url) if !external => is_cell_local_url(url),
        _ => true,
    };
    if !object_fits {
        return Err(error("EventObject"));
    }
    let target = rule.text("TargetUrl").unwrap_or("");
    let target_fits = match action {
        "exec" if bound => is_box_url(target),
        "exec" => is_cell_local_url(target),
        "relay" | "relay.data" => {
            is_http_url(target)
                || is_unit_local_url(target)
                || is_cell_local_url(target)
                || (bound && is_box_url(target))
        }
        "relay.event" => is_cell_url(target) || target == "personium-localcell:/",
        _ => true,
    };
    if target_fits {
        Ok(())
    } else {
        Err(error("TargetUrl"))
    }
}

fn is_inside(url: &str, unit_url: &str) -> bool {
    let root = unit_url.strip_suffix('/').unwrap_or(unit_url);
    url.strip_prefix(root)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn is_timer(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && text
            .parse()
            .is_ok_and(|number: i64| (1..=MAX_DATE_MS).contains(&number))
}

/// Which end of a delivery a message is checked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageSide {
    /// The cell that sends it. A rule that it asks for may go without a name.
    Sender,
    /// The cell that gets it.
    Receiver,
}

/// What a message is checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageCheck {
    /// At which end.
    pub side: MessageSide,
    /// Whether it belongs to a box, as the rules that it asks for then do.
    pub in_box: bool,
}

/// Checks that status and request objects of a message fit its type.
///
/// # Errors
/// The first member that does not fit, written `Status`, `RequestObjects` or `RequestObjects.{member}`.
pub fn check_message(message: &Properties, check: MessageCheck) -> Result<(), EntityRuleError> {
    let asks = message.text("Type") == Some("request");
    let fresh = if asks { "none" } else { "unread" };
    if check.side == MessageSide::Receiver && message.text("Status") != Some(fresh) {
        return Err(error("Status"));
    }
    if asks {
        check_requests(message, check)
    } else {
        Ok(())
    }
}

/// Checks the request objects of a message of type `request`, whatever its status: 1 to [`MAX_REQUESTS`].
///
/// # Errors
/// The first member that does not fit, written `RequestObjects` or `RequestObjects.{member}`.
pub fn check_requests(message: &Properties, check: MessageCheck) -> Result<(), EntityRuleError> {
    let Value::List(requests) = message.value("RequestObjects") else {
        return Err(error("RequestObjects"));
    };
    if !(1..=MAX_REQUEST_OBJECTS).contains(&requests.len()) {
        return Err(error("RequestObjects"));
    }
    requests.iter().try_for_each(|request| match request {
        Value::Complex(members) => check_request(members, check),
        _ => Err(error("RequestObjects")),
    })
}

fn check_request(request: &Properties, check: MessageCheck) -> Result<(), EntityRuleError> {
    const REQUEST_TYPE: EntityRuleError = error("RequestObjects.RequestType");
    const NAME: EntityRuleError = error("RequestObjects.Name");
    let kind = request.text("RequestType").ok_or(REQUEST_TYPE)?;
    let name = request.text("Name");
    match kind {
        "relation.add" | "relation.remove" | "role.add" | "role.remove" => {
            check_class(request, ClassKind::of(kind))
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

/// A relation or role is named by its name or by its class, and the cell to link it to is named.
fn check_class(request: &Properties, kind: ClassKind) -> Result<(), EntityRuleError> {
    let format = kind.format();
    match (request.text("Name"), request.text("ClassUrl")) {
        (Some(name), None) => format
            .check(name, &[])
            .map_err(|_| error("RequestObjects.Name"))?,
        (None, Some(class)) => {
            let named = split_class_url(class, kind)
                .is_some_and(|(_, name)| format.check(name, &[]).is_ok());
            if !named {
                return Err(error("RequestObjects.ClassUrl"));
            }
        }
        _ => {
            return Err(error("RequestObjects.Name,RequestObjects.ClassUrl"));
        }
    }
    match request.text("TargetUrl") {
        Some(target) if is_cell_url(target) => Ok(()),
        _ => Err(error("RequestObjects.TargetUrl")),
    }
}

/// The rule that a request object of the kind `rule.add` asks for, in the box of this name.
#[must_use]
pub fn requested_rule(request: &Properties, box_name: Option<&str>) -> Properties {
    let mut rule = Properties::with_capacity(9);
    let names = [
        "Name",
        "EventSubject",
        "EventType",
        "EventObject",
        "EventInfo",
        "Action",
        "TargetUrl",
    ];
    for name in names {
        rule.set(name, request.value(name).clone());
    }
    rule.set("EventExternal", false);
    rule.set("_Box.Name", box_name.map_or(Value::Null, Value::from));
    rule
}

fn in_request(member: &str) -> EntityRuleError {
    error(match member {
        "Action" => "RequestObjects.Action",
        "EventType" => "RequestObjects.EventType",
        "EventObject" => "RequestObjects.EventObject",
        "TargetUrl" => "RequestObjects.TargetUrl",
        _ => "RequestObjects",
    })
}

/// What a request object of the kinds `relation.*` and `role.*` links cells to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassKind {
    /// A relation.
    Relation,
    /// A role.
    Role,
}

impl ClassKind {
    /// By the type of the request object.
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

    /// What stands between schema and name in its class URLs.
    fn marker(self) -> &'static str {
        match self {
            Self::Relation => "__relation/__/",
            Self::Role => "__role/__/",
        }
    }
}

/// Schema and name in a class URL: `{schema}__relation/__/{name}` or `{schema}__role/__/{name}`, a final slash
/// allowed. The name is not checked.
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

    fn faulty(members: &[(&str, &str)]) -> Option<&'static str> {
        check_rule(&rule(members), Some("http://unit/"))
            .err()
            .map(|error| error.member)
    }

    #[test]
    fn rules_report_the_first_member_that_does_not_fit() {
        assert_eq!(faulty(&[("Action", "log")]), None);
        assert_eq!(faulty(&[]), Some("Action"));
        assert_eq!(
            faulty(&[("Action", "log"), ("EventSubject", "http://unit/c")]),
            Some("EventSubject")
        );
        assert_eq!(
            faulty(&[("Action", "log"), ("EventSubject", "http://unitx/c")]),
            None
        );
        let timer = [("Action", "log"), ("EventType", "timer.oneshot")];
        assert_eq!(faulty(&timer), Some("EventObject"));
        assert_eq!(
            faulty(&[timer[0], timer[1], ("EventExternal", "true")]),
            Some("EventExternal")
        );
        for (object, fault) in [
            ("1", None),
            ("0", Some("EventObject")),
            ("253402300800000", Some("EventObject")),
            ("+1", Some("EventObject")),
        ] {
            assert_eq!(
                faulty(&[timer[0], timer[1], ("EventObject", object)]),
                fault,
                "{object}"
            );
        }
        assert_eq!(
            faulty(&[("Action", "relay.data"), ("EventType", "odata.delete")]),
            Some("EventType")
        );
    }

    #[test]
    fn targets_depend_on_action_and_box() {
        for (action, target, unboxed, boxed) in [
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
            assert_eq!(faulty(&members).is_none(), unboxed, "{action} {target}");
            let bound = [members[0], members[1], ("_Box.Name", "b")];
            assert_eq!(
                faulty(&bound).is_none(),
                boxed,
                "{action} {target} in a box"
            );
        }
        assert_eq!(faulty(&[("Action", "exec")]), Some("TargetUrl"));
    }

    const SENDER: MessageCheck = MessageCheck {
        side: MessageSide::Sender,
        in_box: false,
    };
    const RECEIVER: MessageCheck = MessageCheck {
        side: MessageSide::Receiver,
        in_box: false,
    };

    fn request_fault(members: &[(&str, &str)], check: MessageCheck) -> Option<&'static str> {
        let mut made = rule(&[("Type", "request"), ("Status", "none")]);
        made.set(
            "RequestObjects",
            Value::List(vec![Value::Complex(rule(members))]),
        );
        check_message(&made, check).err().map(|error| error.member)
    }

    #[test]
    fn request_objects_name_either_a_name_or_a_class() {
        let message = |members: &[(&str, &str)]| request_fault(members, RECEIVER);
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
    fn requested_rules_are_checked_as_rules() {
        let add = ("RequestType", "rule.add");
        let name = ("Name", "r");
        let fault = |members: &[(&str, &str)]| request_fault(members, RECEIVER);
        assert_eq!(fault(&[add, name]), Some("RequestObjects.Action"));
        assert_eq!(fault(&[add, name, ("Action", "log")]), None);
        let exec = [
            add,
            name,
            ("Action", "exec"),
            ("TargetUrl", "personium-localbox:/s/x"),
        ];
        assert_eq!(fault(&exec), Some("RequestObjects.TargetUrl"));
        let boxed = MessageCheck {
            in_box: true,
            ..RECEIVER
        };
        assert_eq!(request_fault(&exec, boxed), None);
        let nameless = [add, ("Action", "log")];
        assert_eq!(fault(&nameless), Some("RequestObjects.Name"));
        assert_eq!(request_fault(&nameless, SENDER), None);
        let remove = [("RequestType", "rule.remove")];
        assert_eq!(request_fault(&remove, SENDER), Some("RequestObjects.Name"));
    }

    #[test]
    fn messages_arrive_with_the_first_status_of_their_type() {
        let fault = |kind, status| {
            check_message(&rule(&[("Type", kind), ("Status", status)]), RECEIVER)
                .err()
                .map(|error| error.member)
        };
        assert_eq!(fault("message", "unread"), None);
        assert_eq!(fault("message", "read"), Some("Status"));
        assert_eq!(fault("message", "none"), Some("Status"));
        assert_eq!(fault("request", "approved"), Some("Status"));
        assert_eq!(fault("request", "none"), Some("RequestObjects"));
    }
}
