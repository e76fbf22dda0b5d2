//! Access control lists in a snapshot.

use std::collections::HashMap;

use personium_model::keys::ControlSet;
use personium_model::{Ace, Acl, Principal, SchemaLevel};
use personium_types::Privilege;
use serde_json::Value;

use super::ImportedObject;

/// The list in a description, with the roles of the new cell. Entries for roles that the snapshot does not have grant nothing
/// and are left out, like privileges that are not known.
pub(super) fn read(list: &Value, objects: &HashMap<String, ImportedObject>) -> Acl {
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
            .filter_map(|ace| read_ace(ace, objects))
            .collect(),
    }
}

fn read_ace(ace: &Value, objects: &HashMap<String, ImportedObject>) -> Option<Ace> {
    let principal = ace.get("D.principal")?;
    let principal = match principal.get("D.href").and_then(Value::as_str) {
        Some(role) => {
            let found = objects
                .get(role)
                .filter(|found| found.set == ControlSet::Role)?;
            Principal::Role(found.id.clone())
        }
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
    use personium_odata::key::EntityKey;
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_are_read_in_all_their_forms() {
        let role = ImportedObject {
            set: ControlSet::Role,
            id: "new".to_owned(),
            key: EntityKey::single("r"),
            name: "r".to_owned(),
            box_name: None,
        };
        let objects = HashMap::from([("old".to_owned(), role)]);
        let one = json!({"@requireSchemaAuthz": "public", "D.ace": {
            "D.principal": {"D.all": null},
            "D.grant": {"D.privilege": {"D.read": null, "p.exec": {}}},
        }});
        let found = read(&one, &objects);
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
        assert_eq!(read(&many, &objects).aces, [Ace { principal, grants }]);
        for nothing in [json!({}), json!(null), json!([1]), json!({"D.ace": "x"})] {
            assert_eq!(read(&nothing, &objects), Acl::default());
        }
    }
}
