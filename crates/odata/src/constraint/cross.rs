//! Rules across the members of one entity.

use super::uri::{is_box_url, is_cell_local_url, is_cell_url, is_http_url, is_unit_local_url};
use super::{Format, is_name, is_relation_name};
use crate::value::{MAX_MILLIS, Properties, Value};

/// A member that does not fit the others; the text is what error messages name, such as `RequestObjects.ClassUrl`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrossFault(pub &'static str);

/// Checks a rule: event, action and target have to fit together.
///
/// `unit_url` is the root URL of this unit, under which subjects and targets must be written as
/// `personium-localunit:`; `None` leaves that check out.
///
/// # Errors
/// The first member that does not fit, in the order EventSubject, TargetUrl, EventExternal, EventType,
/// EventObject, Action, TargetUrl.
pub fn check_rule(rule: &Properties, unit_url: Option<&str>) -> Result<(), CrossFault> {
    let action = rule.text("Action").ok_or(CrossFault("Action"))?;
    let bound = rule.text("_Box.Name").is_some();
    for name in ["EventSubject", "TargetUrl"] {
        if rule
            .text(name)
            .is_some_and(|url| unit_url.is_some_and(|unit| is_inside(url, unit)))
        {
            return Err(CrossFault(name));
        }
    }
    let event_type = rule.text("EventType");
    let external = rule.value("EventExternal").as_bool().unwrap_or(false);
    let timer = matches!(event_type, Some("timer.periodic" | "timer.oneshot"));
    if timer && external {
        return Err(CrossFault("EventExternal"));
    }
    if action == "relay.data"
        && !matches!(
            event_type,
            Some("odata.create" | "odata.update" | "odata.patch")
        )
    {
        return Err(CrossFault("EventType"));
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
        return Err(CrossFault("EventObject"));
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
        Err(CrossFault("TargetUrl"))
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
            .is_ok_and(|number: i64| (1..=MAX_MILLIS).contains(&number))
}

/// Checks the request objects of a message; messages of other types pass.
///
/// `schema_url` is the schema that class URLs have to belong to; `None` accepts any cell URL.
///
/// # Errors
/// The first member that does not fit, written `RequestObjects` or `RequestObjects.{member}`.
pub fn check_message(message: &Properties, schema_url: Option<&str>) -> Result<(), CrossFault> {
    if message.text("Type") != Some("request") {
        return match message.text("Status") {
            Some("unread" | "read") | None => Ok(()),
            Some(_) => Err(CrossFault("Status")),
        };
    }
    if matches!(message.text("Status"), Some("unread" | "read")) {
        return Err(CrossFault("Status"));
    }
    let Value::List(requests) = message.value("RequestObjects") else {
        return Err(CrossFault("RequestObjects"));
    };
    if requests.is_empty() {
        return Err(CrossFault("RequestObjects"));
    }
    requests.iter().try_for_each(|request| match request {
        Value::Complex(members) => check_request(members, schema_url),
        _ => Err(CrossFault("RequestObjects")),
    })
}

fn check_request(request: &Properties, schema_url: Option<&str>) -> Result<(), CrossFault> {
    const REQUEST_TYPE: CrossFault = CrossFault("RequestObjects.RequestType");
    let kind = request.text("RequestType").ok_or(REQUEST_TYPE)?;
    let (name, class) = (request.text("Name"), request.text("ClassUrl"));
    match kind {
        "relation.add" | "relation.remove" | "role.add" | "role.remove" => {
            let relation = kind.starts_with("relation");
            match (name, class) {
                (Some(name), None) => {
                    let format = if relation {
                        Format::RelationName
                    } else {
                        Format::Name
                    };
                    format
                        .check(name, &[])
                        .map_err(|_| CrossFault("RequestObjects.Name"))?;
                }
                (None, Some(class)) if is_class_url(class, relation, schema_url) => {}
                (None, Some(_)) => return Err(CrossFault("RequestObjects.ClassUrl")),
                _ => return Err(CrossFault("RequestObjects.Name")),
            }
            match request.text("TargetUrl") {
                Some(target) if is_cell_url(target) => Ok(()),
                _ => Err(CrossFault("RequestObjects.TargetUrl")),
            }
        }
        "rule.add" if request.text("Action").is_none() => Err(CrossFault("RequestObjects.Action")),
        "rule.remove" if name.is_none() => Err(CrossFault("RequestObjects.Name")),
        "rule.add" | "rule.remove" => match name {
            Some(name) => Format::RuleId
                .check(name, &[])
                .map_err(|_| CrossFault("RequestObjects.Name")),
            None => Ok(()),
        },
        _ => Err(REQUEST_TYPE),
    }
}

/// True for `{schema}__relation/__/{name}` or `{schema}__role/__/{name}`, a final slash allowed.
fn is_class_url(url: &str, relation: bool, schema_url: Option<&str>) -> bool {
    let marker = if relation {
        "__relation/__/"
    } else {
        "__role/__/"
    };
    url.split_once(marker).is_some_and(|(schema, name)| {
        let name = name.strip_suffix('/').unwrap_or(name);
        let named = if relation {
            is_relation_name(name)
        } else {
            is_name(name, |_| false, 128)
        };
        named && is_cell_url(schema) && schema_url.is_none_or(|wanted| wanted == schema)
    })
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
            .map(|CrossFault(name)| name)
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

    #[test]
    fn request_objects_name_either_a_name_or_a_class() {
        let message = |members: &[(&str, &str)]| {
            let mut made = rule(&[("Type", "request"), ("Status", "none")]);
            made.set(
                "RequestObjects",
                Value::List(vec![Value::Complex(rule(members))]),
            );
            check_message(&made, None)
                .err()
                .map(|CrossFault(name)| name)
        };
        let add = ("RequestType", "relation.add");
        let target = ("TargetUrl", "http://h/c/");
        assert_eq!(message(&[add, ("Name", "r"), target]), None);
        assert_eq!(
            message(&[add, ("ClassUrl", "http://h/s/__relation/__/r/"), target]),
            None
        );
        assert_eq!(
            message(&[add, ("ClassUrl", "http://h/s/__role/__/r"), target]),
            Some("RequestObjects.ClassUrl")
        );
        assert_eq!(message(&[add, target]), Some("RequestObjects.Name"));
        assert_eq!(
            message(&[add, ("Name", "r")]),
            Some("RequestObjects.TargetUrl")
        );
        assert_eq!(
            message(&[("RequestType", "rule.add")]),
            Some("RequestObjects.Action")
        );
        assert_eq!(
            message(&[("RequestType", "rule.remove")]),
            Some("RequestObjects.Name")
        );
        assert_eq!(
            check_message(&rule(&[("Type", "message"), ("Status", "none")]), None),
            Err(CrossFault("Status"))
        );
    }
}
