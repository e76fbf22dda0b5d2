//! Control objects of a cell: each set with each method, and each link between two sets.

use personium_testkit::TestUnit;
use personium_types::{Operation as O, Privilege as P};

use super::cases::{AS_MASTER, Case, case};

/// A set with an existing object and one to create.
pub struct Set {
    pub name: &'static str,
    pub read: O,
    pub write: O,
    /// The key of the existing object, and a text that every response about it contains.
    pub key: &'static str,
    pub shown: &'static str,
    /// An object to create, its key, and a text that every response about it contains.
    pub fresh: &'static str,
    pub fresh_key: &'static str,
    pub fresh_shown: &'static str,
}

/// The sets whose objects are created and changed by OData.
pub const SETS: &[Set] = &[
    Set {
        name: "Account",
        read: O::ReadAccounts,
        write: O::WriteAccounts,
        key: "('old')",
        shown: "\"old\"",
        fresh: r#"{"Name":"fresh"}"#,
        fresh_key: "('fresh')",
        fresh_shown: "\"fresh\"",
    },
    Set {
        name: "Role",
        read: O::ReadRoles,
        write: O::WriteRoles,
        key: "('old')",
        shown: "\"old\"",
        fresh: r#"{"Name":"fresh"}"#,
        fresh_key: "('fresh')",
        fresh_shown: "\"fresh\"",
    },
    Set {
        name: "ExtRole",
        read: O::ReadExtRoles,
        write: O::WriteExtRoles,
        key: "(ExtRole='urn:old',_Relation.Name='old')",
        shown: "\"urn:old\"",
        fresh: r#"{"ExtRole":"urn:fresh","_Relation.Name":"old"}"#,
        fresh_key: "(ExtRole='urn:fresh',_Relation.Name='old')",
        fresh_shown: "\"urn:fresh\"",
    },
    Set {
        name: "Relation",
        read: O::ReadRelations,
        write: O::WriteRelations,
        key: "('free')",
        shown: "\"free\"",
        fresh: r#"{"Name":"fresh"}"#,
        fresh_key: "('fresh')",
        fresh_shown: "\"fresh\"",
    },
    Set {
        name: "ExtCell",
        read: O::ReadExtCells,
        write: O::WriteExtCells,
        key: "('https%3A%2F%2Fold.example%2F')",
        shown: "old.example",
        fresh: r#"{"Url":"https://fresh.example/"}"#,
        fresh_key: "('https%3A%2F%2Ffresh.example%2F')",
        fresh_shown: "fresh.example",
    },
    Set {
        name: "Box",
        read: O::ReadBoxes,
        write: O::WriteBoxes,
        key: "('old')",
        shown: "\"old\"",
        fresh: r#"{"Name":"fresh"}"#,
        fresh_key: "('fresh')",
        fresh_shown: "\"fresh\"",
    },
    Set {
        name: "Rule",
        read: O::ReadRules,
        write: O::WriteRules,
        key: "('old')",
        shown: "\"old\"",
        fresh: r#"{"Name":"fresh","Action":"log","EventType":"never"}"#,
        fresh_key: "('fresh')",
        fresh_shown: "\"fresh\"",
    },
];

/// The sets of messages, which OData only reads and removes.
const MESSAGES: &[(&str, O, O)] = &[
    (
        "ReceivedMessage",
        O::ReadReceivedMessages,
        O::WriteReceivedMessages,
    ),
    ("SentMessage", O::ReadSentMessages, O::WriteSentMessages),
];

/// The associations between sets of a cell: a set, its navigation property, the target set.
pub const ASSOCIATIONS: &[(&str, &str, &str)] = &[
    ("Account", "_Role", "Role"),
    ("Account", "_ReceivedMessageRead", "ReceivedMessage"),
    ("Box", "_Role", "Role"),
    ("Box", "_Relation", "Relation"),
    ("Box", "_ReceivedMessage", "ReceivedMessage"),
    ("Box", "_SentMessage", "SentMessage"),
    ("Box", "_Rule", "Rule"),
    ("ExtCell", "_Role", "Role"),
    ("ExtCell", "_Relation", "Relation"),
    ("ExtRole", "_Role", "Role"),
    ("ExtRole", "_Relation", "Relation"),
    ("Relation", "_Box", "Box"),
    ("Relation", "_ExtCell", "ExtCell"),
    ("Relation", "_ExtRole", "ExtRole"),
    ("Relation", "_Role", "Role"),
    ("Role", "_Account", "Account"),
    ("Role", "_Box", "Box"),
    ("Role", "_ExtCell", "ExtCell"),
    ("Role", "_ExtRole", "ExtRole"),
    ("Role", "_Relation", "Relation"),
    ("Rule", "_Box", "Box"),
    ("ReceivedMessage", "_Box", "Box"),
    ("ReceivedMessage", "_AccountRead", "Account"),
    ("SentMessage", "_Box", "Box"),
];

/// The key of the messages that cases use; it exists among the received messages.
const ID: &str = "('00000000000000000000000000000001')";

/// Creates the existing objects.
pub async fn make(unit: &TestUnit) {
    unit.create_account("c", r#"{"Name":"old"}"#).await;
    for (set, body) in [
        ("Role", r#"{"Name":"old"}"#),
        ("Relation", r#"{"Name":"old"}"#),
        ("Relation", r#"{"Name":"free"}"#),
        ("ExtRole", r#"{"ExtRole":"urn:old","_Relation.Name":"old"}"#),
        ("ExtCell", r#"{"Url":"https://old.example/"}"#),
        ("Box", r#"{"Name":"old"}"#),
        (
            "Rule",
            r#"{"Name":"old","Action":"log","EventType":"never"}"#,
        ),
    ] {
        unit.create(&format!("c/__ctl/{set}"), body).await;
    }
    super::cell_endpoints::make_messages(unit).await;
    super::cell_endpoints::make_rule(unit).await;
    super::cell_endpoints::make_snapshot(unit).await;
}

fn set_cases(set: &Set) -> Vec<Case> {
    let all = format!("c/__ctl/{}", set.name);
    let old = format!("{all}{}", set.key);
    let fresh = format!("{all}{}", set.fresh_key);
    let changes = |method| {
        case(set.write, method, &old)
            .header("if-match", "*")
            .body_text(set.fresh)
            .expect(204, "")
            .then("GET", &fresh, 200, set.fresh_shown)
    };
    let mut out = vec![
        case(set.read, "GET", &all)
            .header("accept", "application/json")
            .expect(200, set.shown),
        case(set.read, "GET", &old)
            .header("accept", "application/json")
            .expect(200, set.shown),
        case(set.read, "OPTIONS", &all).expect(200, ""),
        case(set.read, "OPTIONS", &old).expect(200, ""),
        case(set.write, "POST", &all)
            .body_text(set.fresh)
            .expect(201, set.fresh_shown)
            .then("GET", &fresh, 200, set.fresh_shown),
        changes("PUT"),
        case(set.write, "DELETE", &old)
            .header("if-match", "*")
            .expect(204, "")
            .then("GET", &old, 404, "PR404-OD-0002"),
    ];
    if set.name != "Rule" {
        out.push(changes("MERGE"));
        out.push(changes("PATCH"));
    }
    out
}

fn message_cases() -> Vec<Case> {
    let mut out = Vec::new();
    for &(set, read, write) in MESSAGES {
        let all = format!("c/__ctl/{set}");
        let one = format!("{all}{ID}");
        let list = case(read, "GET", &all).header("accept", "application/json");
        let get = case(read, "GET", &one).header("accept", "application/json");
        let delete = case(write, "DELETE", &one);
        out.extend([
            case(read, "OPTIONS", &all).expect(200, ""),
            case(read, "OPTIONS", &one).expect(200, ""),
        ]);
        out.extend(if set == "ReceivedMessage" {
            [
                list.expect(200, ID),
                get.expect(200, ID),
                delete
                    .expect(204, "")
                    .then("GET", &one, 404, "PR404-OD-0002"),
            ]
        } else {
            [
                list.expect(200, "\"results\":[]"),
                get.expect(404, "PR404-OD-0002"),
                delete.expect(404, "PR404-OD-0002"),
            ]
        });
    }
    out
}

/// Returns a set with the key of its existing object, and the operations that read and write it.
fn known(set: &str) -> (String, O, O) {
    if let Some(known) = SETS.iter().find(|s| s.name == set) {
        return (format!("{set}{}", known.key), known.read, known.write);
    }
    let (_, read, write) = MESSAGES.iter().find(|m| m.0 == set).unwrap();
    (format!("{set}{ID}"), *read, *write)
}

/// Returns whether a link needs the privilege of the one and of the other set: both, but only that of messages for read marks.
fn link_needs(here: &str, there: &str) -> (bool, bool) {
    match (here, there) {
        ("Account", "ReceivedMessage") => (false, true),
        ("ReceivedMessage", "Account") => (true, false),
        _ => (true, true),
    }
}

/// Returns the requests over each association, once for each privilege that they need.
pub fn link_cases() -> Vec<Case> {
    let mut out = Vec::new();
    for &(here, navigation, there) in ASSOCIATIONS {
        let (source, read, write) = known(here);
        let (target, read_there, write_there) = known(there);
        let links = format!("c/__ctl/{source}/$links/{navigation}");
        let key = &target[there.len()..];
        let uri = format!("{{\"uri\":\"http://unit.example/c/__ctl/{target}\"}}");
        let fresh = SETS
            .iter()
            .find(|s| s.name == there)
            .map_or("{}", |s| s.fresh);
        let through = format!("c/__ctl/{source}/{navigation}");
        for path in [&links, &format!("{links}{key}"), &through] {
            out.push(case(O::OptionsCellLinks, "OPTIONS", path));
        }
        let needs = link_needs(here, there);
        let mut add = |method, path: &str, body: &str, (a, b): (O, O), needs: (bool, bool)| {
            let (pa, pb) = (a.privilege().unwrap(), b.privilege().unwrap());
            let base = |operation: O, other: Option<P>| {
                let made = case(operation, method, path)
                    .body_text(body)
                    .header("if-match", "*")
                    .expect(AS_MASTER, "");
                match other.filter(|other| !other.includes(operation.privilege().unwrap())) {
                    Some(other) => made.also_needs(other),
                    None => made,
                }
            };
            if needs.0 {
                out.push(base(a, needs.1.then_some(pb)));
            }
            if needs.1 && !(needs.0 && pa == pb) {
                out.push(base(b, needs.0.then_some(pa)));
            }
        };
        add("GET", &links, "", (read, read_there), needs);
        add("GET", &through, "", (read, read_there), needs);
        add("POST", &links, &uri, (write, write_there), needs);
        add(
            "GET",
            &format!("{links}{key}"),
            "",
            (read, read_there),
            needs,
        );
        for (method, path) in [
            ("DELETE", format!("{links}{key}")),
            ("PUT", format!("{links}{key}")),
            ("POST", format!("{links}{key}")),
            ("DELETE", links.clone()),
            ("PUT", links.clone()),
        ] {
            add(method, &path, &uri, (write, write_there), needs);
        }
        // An object created through a link always needs the privilege of its own set.
        add(
            "POST",
            &through,
            fresh,
            (write, write_there),
            (needs.0, true),
        );
    }
    out
}

pub fn cases() -> Vec<Case> {
    let mut out: Vec<Case> = SETS.iter().flat_map(set_cases).collect();
    out.extend(message_cases());
    let links = "c/__ctl/Account('old')/$links/_Role";
    out.extend([
        case(O::DescribeCellControl, "GET", "c/__ctl")
            .expect(200, "<atom:title>Account</atom:title>"),
        case(O::DescribeCellControl, "OPTIONS", "c/__ctl").expect(200, ""),
        case(O::DescribeCellControl, "OPTIONS", "c/__ctl/$metadata").expect(200, ""),
        case(O::OptionsCellLinks, "OPTIONS", links).expect(200, ""),
        case(
            O::OptionsCellLinks,
            "OPTIONS",
            "c/__ctl/Account('old')/_Role",
        )
        .expect(200, ""),
        case(O::WriteRoles, "POST", links)
            .body_text("{\"uri\":\"http://unit.example/c/__ctl/Role('old')\"}")
            .expect(204, "")
            .then("GET", links, 200, "Name='old'"),
        case(O::WriteBoxes, "POST", "c/__ctl/Role('old')/$links/_Box")
            .also_needs(P::Auth)
            .body_text("{\"uri\":\"http://unit.example/c/__ctl/Box('old')\"}")
            .expect(204, "")
            .then(
                "GET",
                "c/__ctl/Role(Name='old',_Box.Name='old')",
                200,
                "\"old\"",
            ),
        case(O::ReadRoles, "GET", "c/__ctl/Account('exact')/_Role").expect(200, "\"exact\""),
        case(
            O::ReadBoxes,
            "GET",
            "c/__ctl/Role?$expand=_Box&$format=json",
        )
        .also_needs(P::AuthRead)
        .expect(200, "\"results\""),
    ]);
    out
}
