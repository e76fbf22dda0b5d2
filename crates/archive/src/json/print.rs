//! Prints the JSON files of a bar file, with members in the order that other units write them.

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    BarExtRole, BarLink, BarLinkEnd, BarRelation, BarRole, BarRule, EntityLink, EntityRef,
};

/// Prints `00_meta/10_relations.json`.
#[must_use]
pub fn print_relations(relations: &[BarRelation]) -> String {
    let list = relations
        .iter()
        .map(|relation| json!({"Name": relation.name}));
    print_list("Relations", list)
}

/// Prints `00_meta/20_roles.json`.
#[must_use]
pub fn print_roles(roles: &[BarRole]) -> String {
    print_list("Roles", roles.iter().map(|role| json!({"Name": role.name})))
}

/// Prints `00_meta/30_extroles.json`.
#[must_use]
pub fn print_ext_roles(roles: &[BarExtRole]) -> String {
    let print = |role: &BarExtRole| json!({"ExtRole": role.url, "_Relation.Name": role.relation});
    print_list("ExtRoles", roles.iter().map(print))
}

/// Prints `00_meta/50_rules.json`. Members without a value are left out.
#[must_use]
pub fn print_rules(rules: &[BarRule]) -> String {
    print_list("Rules", rules.iter().map(WrittenRule::new))
}

/// Prints `00_meta/70_$links.json`.
#[must_use]
pub fn print_links(links: &[BarLink]) -> String {
    print_list("Links", links.iter().map(WrittenLink::new))
}

/// Appends one link of `10_odatarelations.json`. The list begins with [`ENTITY_LINKS_START`] and ends with
/// [`ENTITY_LINKS_END`]; commas separate the links.
pub fn push_entity_link(out: &mut String, link: &EntityLink) {
    let id = |end: &EntityRef| json!({"__id": end.id});
    let written = WrittenEntityLink {
        from_type: &link.from.entity_type,
        from_id: id(&link.from),
        to_type: &link.to.entity_type,
        to_id: id(&link.to),
    };
    out.push_str(&to_json(&written));
}

/// The begin of `10_odatarelations.json`.
pub const ENTITY_LINKS_START: &str = r#"{"Links":["#;
/// The end of `10_odatarelations.json`.
pub const ENTITY_LINKS_END: &str = "]}";

fn print_list<T: Serialize>(name: &str, items: impl Iterator<Item = T>) -> String {
    let mut out = format!("{{\"{name}\":[");
    for (at, item) in items.enumerate() {
        if at > 0 {
            out.push(',');
        }
        out.push_str(&to_json(&item));
    }
    out.push_str("]}");
    out
}

/// Texts and numbers always have a JSON form.
fn to_json<T: Serialize>(item: &T) -> String {
    serde_json::to_string(item).unwrap_or_default()
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct WrittenRule<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    event_external: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_object: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_info: Option<&'a str>,
    action: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_url: Option<&'a str>,
}

impl<'a> WrittenRule<'a> {
    fn new(rule: &'a BarRule) -> Self {
        Self {
            event_external: rule.event_external,
            event_subject: rule.event_subject.as_deref(),
            event_type: rule.event_type.as_deref(),
            event_object: rule.event_object.as_deref(),
            event_info: rule.event_info.as_deref(),
            action: &rule.action,
            target_url: rule.target_url.as_deref(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct WrittenLink<'a> {
    from_type: &'a str,
    from_name: Value,
    to_type: &'a str,
    to_name: Value,
}

impl<'a> WrittenLink<'a> {
    fn new(link: &'a BarLink) -> Self {
        let end = |end: &BarLinkEnd| json!(end.names);
        Self {
            from_type: &link.from.entity_type,
            from_name: end(&link.from),
            to_type: &link.to.entity_type,
            to_name: end(&link.to),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct WrittenEntityLink<'a> {
    from_type: &'a str,
    from_id: Value,
    to_type: &'a str,
    to_id: Value,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{Listed, entity_links, ext_roles, links, relations, roles, rules};

    fn items<T>(parsed: Vec<Listed<T>>) -> Vec<T> {
        parsed.into_iter().map(|listed| listed.item).collect()
    }

    #[test]
    fn printed_files_are_parsed_as_what_was_printed() {
        let relation = vec![BarRelation {
            name: "a\"b".into(),
        }];
        let role = vec![BarRole { name: "r".into() }];
        let ext_role = vec![BarExtRole {
            url: "http://x/__role/__/r".into(),
            relation: "a".into(),
        }];
        let rule = vec![BarRule {
            event_external: Some(false),
            event_subject: None,
            event_type: Some("t".into()),
            event_object: None,
            event_info: None,
            action: "log".into(),
            target_url: None,
        }];
        let end = |kind: &str| BarLinkEnd {
            entity_type: kind.into(),
            names: [("Name".to_owned(), kind.to_lowercase())].into(),
        };
        let link = vec![BarLink {
            from: end("Relation"),
            to: end("Role"),
        }];
        let as_bytes = |text: String| text.into_bytes();
        assert_eq!(
            items(relations(&as_bytes(print_relations(&relation))).unwrap()),
            relation
        );
        assert_eq!(items(roles(&as_bytes(print_roles(&role))).unwrap()), role);
        assert_eq!(
            items(ext_roles(&as_bytes(print_ext_roles(&ext_role))).unwrap()),
            ext_role
        );
        assert_eq!(items(rules(&as_bytes(print_rules(&rule))).unwrap()), rule);
        assert_eq!(items(links(&as_bytes(print_links(&link))).unwrap()), link);
        assert_eq!(
            print_rules(&rule),
            r#"{"Rules":[{"EventExternal":false,"EventType":"t","Action":"log"}]}"#
        );
        let end = |kind: &str, id: &str| EntityRef {
            entity_type: kind.into(),
            id: id.into(),
        };
        let link = EntityLink {
            from: end("A", "1"),
            to: end("B", "\\"),
        };
        let mut text = ENTITY_LINKS_START.to_owned();
        push_entity_link(&mut text, &link);
        text.push_str(ENTITY_LINKS_END);
        assert_eq!(items(entity_links(text.as_bytes()).unwrap()), [link]);
    }
}
