//! `docs/personium.d.ts` and `docs/scripts-api.md` name the members that the library has, and no others.

use std::collections::{BTreeMap, BTreeSet};

use super::ScriptUnit;

type Members = BTreeMap<String, BTreeSet<String>>;

const DEFINITIONS: &str = include_str!("../../../../../docs/personium.d.ts");
const REFERENCE: &str = include_str!("../../../../../docs/scripts-api.md");

/// The interfaces of arguments and results, which the library does not define, and those that only describe others.
const OTHERS: [&str; 16] = [
    "AccessControlList",
    "ClassOf",
    "Classes",
    "FederationToken",
    "FileArgument",
    "HttpClientOptions",
    "HttpResult",
    "Mail",
    "MailAddress",
    "PersoniumException",
    "PersoniumInputStream",
    "SchemaAuthentication",
    "ScriptResponse",
    "SessionToken",
    "Tokens",
    "Principal",
];

/// Lists the members of one object of each class, with those that it inherits; of the classes themselves what is missing then.
const LIST: &str = "
    function names(object) {
      var found = {};
      Object.keys(object).forEach(function (n) { found[n] = 1; });
      for (var p = Object.getPrototypeOf(object); p && p !== Object.prototype; p = Object.getPrototypeOf(p)) {
        Object.getOwnPropertyNames(p).forEach(function (n) { if (n !== 'constructor' && n !== 'core') found[n] = 1; });
      }
      return Object.keys(found).sort();
    }
    var out = {};
    function look(object) { out[object.constructor.name] = names(object); }
    box.mkOData('od'); var od = box.odata('od'), s = od.schema, c = cell.ctl;
    var made = [c.account.create({Name:'a'}, 'password9'), c.role.create({Name:'r'}), c.relation.create({Name:'x'}), c.extCell.create({Url:'http://far.example/y/'}),
      c.extRole.create({ExtRole:'http://far.example/y/__role/__/z','_Relation.Name':'x'}), s.entityType.create({Name:'E'}),
      s.associationEnd.create({Name:'e','_EntityType.Name':'E',Multiplicity:'*'}), s.complexType.create({Name:'C'}),
      s.property.create({Name:'p','_EntityType.Name':'E',Type:'Edm.String'}), s.complexTypeProperty.create({Name:'q','_ComplexType.Name':'C',Type:'Edm.String'})];
    var client = _p.as('client'), unit = client.unit(), set = od.entitySet('E');
    [client, unit, unit.ctl, unit.ctl.cell, cell, c, c.box, c.account, c.role, c.relation, c.extCell, c.extRole, s, s.entityType, s.associationEnd, s.complexType,
     s.property, s.complexTypeProperty, box, box.ctl, box.acl, box.col('x'), od, set, set.query(), box.service('svc'), box.service('svc').call('nosuch'),
     cell.event, cell.currentLog, cell.archiveLog, made[0].role, new _p.extension.HttpClient(), new _p.extension.Slack(),
     new _p.extension.MailSender(), new _p.extension.AWSSecurityTokenService(), request.input]
      .concat(made).forEach(look);
    cell.event.post({Type:'t'}); look(cell.currentLog.getString('default.log'));
    out.OwnerAccessor = names(_p.as({accessToken:pjvm.getClientToken()}).asCellOwner());
    out.Library = Object.getOwnPropertyNames(_p).sort();
    out.Utilities = Object.keys(_p.util); out.Context = Object.keys(pjvm); out.Extensions = Object.keys(_p.extension); out.ScriptRequest = Object.getOwnPropertyNames(request);
    Object.getOwnPropertyNames(_p).forEach(function (n) {
      if (/^[A-Z]/.test(n) && n !== 'PersoniumException' && !out[n]) out[n] = names(_p[n].prototype.core ? {} : Object.create(_p[n].prototype)); });
    return out;";

/// The interfaces of the definitions, with the members that they inherit.
fn defined() -> Members {
    let mut own: BTreeMap<&str, (Option<&str>, BTreeSet<String>)> = BTreeMap::new();
    let mut current = None;
    for line in DEFINITIONS.lines() {
        if let Some(head) = line.strip_prefix("  interface ") {
            let mut words = head
                .trim_end_matches("{}")
                .trim_end_matches('{')
                .split_whitespace();
            let name = words.next().unwrap().split('<').next().unwrap();
            let parent = words.nth(1).filter(|parent| *parent != "Error");
            own.insert(name, (parent, BTreeSet::new()));
            current = Some(name).filter(|_| !line.ends_with("{}"));
        } else if line == "  }" {
            current = None;
        } else if let (Some(name), Some(member)) = (current, line.strip_prefix("    ")) {
            let member = member.strip_prefix("readonly ").unwrap_or(member);
            let end = member.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '$');
            let member = &member[..end.unwrap_or(member.len())];
            if member != "new" && !member.is_empty() {
                own.get_mut(name).unwrap().1.insert(member.to_owned());
            }
        }
    }
    let inherited = |name: &str| {
        let mut members = BTreeSet::new();
        let mut next = Some(name);
        while let Some(name) = next {
            let (parent, found) = &own[name];
            members.extend(found.iter().cloned());
            next = *parent;
        }
        members
    };
    own.keys()
        .map(|name| ((*name).to_owned(), inherited(name)))
        .collect()
}

#[tokio::test]
async fn definitions_name_the_members_of_the_library_and_no_others() {
    let unit = ScriptUnit::new().await;
    let library: Members = serde_json::from_value(unit.value(LIST).await).unwrap();
    let mut defined = defined();
    for other in OTHERS {
        assert!(defined.remove(other).is_some(), "{other}");
    }
    for (name, members) in &library {
        let expected = defined.get(name).cloned().unwrap_or_default();
        let missing: Vec<_> = members.difference(&expected).collect();
        let unknown: Vec<_> = expected.difference(members).collect();
        assert!(
            missing.is_empty() && unknown.is_empty(),
            "{name}: missing {missing:?}, unknown {unknown:?}"
        );
    }
    let found: Vec<_> = library.keys().collect();
    let expected: Vec<_> = defined.keys().collect();
    assert_eq!(expected, found);
}

#[test]
fn reference_names_every_member() {
    for (name, members) in defined() {
        if OTHERS.contains(&name.as_str()) {
            continue;
        }
        for member in members {
            let is_named = REFERENCE.contains(&format!("`{member}`"))
                || REFERENCE.contains(&format!("`{member}("))
                || REFERENCE.contains(&format!(".{member}("))
                || REFERENCE.contains(&format!(".{member}`"));
            assert!(is_named, "{name}.{member}");
        }
    }
}
