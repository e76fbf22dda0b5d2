//! Access control lists in a snapshot.

use personium_model::{Ace, Acl, Principal, SchemaLevel};
use personium_types::Privilege;
use serde_json::Value;

/// The list in a description, with the roles of the new cell, which `role` gives by their ids in the source. Entries for roles that the
/// source does not have grant nothing and are left out, like privileges that are not known.
pub(crate) fn read(list: &Value, role: impl Fn(&str) -> Option<String>) -> Acl {
    let level = ["@p.requireSchemaAuthz", "@requireSchemaAuthz"];
    let level = level.iter().find_map(|name| list.get(name)?.as_str());
    let levels = [
        SchemaLevel::None,
        SchemaLevel::Public,
        SchemaLevel::Confidential,
    ];
    Acl {
        schema_level: levels
            .into_iter()
            .find(|known| Some(known.as_str()) == level),
        aces: items(list.get("D.ace"))
            .filter_map(|ace| read_ace(ace, &role))
            .collect(),
    }
}

/// The ids of the roles in a list, in the source.
pub(crate) fn roles(list: &Value) -> impl Iterator<Item = &str> {
    let aces = items(list.get("D.ace"));
    aces.filter_map(|ace| ace.get("D.principal")?.get("D.href")?.as_str())
}

fn read_ace(ace: &Value, role: impl Fn(&str) -> Option<String>) -> Option<Ace> {
    let principal = ace.get("D.principal")?;
    let principal = match principal.get("D.href").and_then(Value::as_str) {
        Some(id) => Principal::Role(role(id)?),
        None => principal.get("D.all").map(|_| Principal::All)?,
    };
    let privileges = ace.get("D.grant")?.get("D.privilege");
    let names = items(privileges).filter_map(Value::as_object);
    let names = names.flat_map(|privilege| privilege.keys());
    Some(Ace {
        principal,
        grants: names.filter_map(|name| privilege(name)).collect(),
    })
}

/// One value, or those of an array.
fn items(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    let found: &[Value] = match value {
        None => &[],
        Some(Value::Array(items)) => items,
        Some(one) => std::slice::from_ref(one),
    };
    found.iter()
}

/// The privilege of a name such as `D.read`.
fn privilege(name: &str) -> Option<Privilege> {
    let (prefix, local) = name.split_once('.')?;
    let found = Privilege::ALL.iter().copied();
    let mut found = found.filter(|known| known.local_name() == local);
    found.find(|known| known.namespace().prefix() == prefix)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_are_read_in_all_their_forms() {
        let role = |id: &str| (id == "old").then(|| "new".to_owned());
        let one = json!({"@requireSchemaAuthz": "public", "D.ace": {
            "D.principal": {"D.all": null},
            "D.grant": {"D.privilege": {"D.read": null, "p.exec": {}}},
        }});
        let found = read(&one, role);
        assert_eq!(found.schema_level, Some(SchemaLevel::Public));
        let grants = vec![Privilege::Read, Privilege::Exec];
        assert_eq!(
            found.aces,
            [Ace {
                principal: Principal::All,
                grants
            }]
        );
        let many = json!({"D.ace": [
            {"D.principal": {"D.href": "old"}, "D.grant": {"D.privilege": [{"D.write": {}}, {"D.fly": {}}]}},
            {"D.principal": {"D.href": "unknown"}, "D.grant": {"D.privilege": [{"D.read": {}}]}},
            {"D.principal": {}}, 5,
        ]});
        let principal = Principal::Role("new".to_owned());
        let grants = vec![Privilege::Write];
        assert_eq!(read(&many, role).aces, [Ace { principal, grants }]);
        assert_eq!(roles(&many).collect::<Vec<_>>(), ["old", "unknown"]);
        for nothing in [json!({}), json!(null), json!([1]), json!({"D.ace": "x"})] {
            assert_eq!(read(&nothing, role), Acl::default());
        }
    }
}
