//! The control objects of a cell: each set by each method, and each link between two sets.

use personium_types::{Operation as O, Privilege as P};

use super::cases::{AS_MASTER, Case, case};
use crate::harness::World;

/// A set with an object that exists and one that could.
pub struct Set {
    pub name: &'static str,
    pub read: O,
    pub write: O,
    /// The key of the object that exists, as in URLs, and what every answer about it has.
    pub key: &'static str,
    pub shown: &'static str,
    /// An object to create, its key, and what every answer about it has.
    pub fresh: &'static str,
    pub fresh_key: &'static str,
    pub fresh_shown: &'static str,
}

/// The sets whose objects are made and changed by OData.
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
        fresh: r#"{"Name":"fresh","Action":"log"}"#,
        fresh_key: "('fresh')",
        fresh_shown: "\"fresh\"",
    },
];

/// The sets of messages, which come by other ways than OData, and are only read and removed by it.
const MESSAGES: &[(&str, O, O)] = &[
    (
        "ReceivedMessage",
        O::ReadReceivedMessages,
        O::WriteReceivedMessages,
    ),
    ("SentMessage", O::ReadSentMessages, O::WriteSentMessages),
];

/// The associations between sets of a cell: a set, its navigation property, the set that this leads to.
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

/// The id of the messages that cases are about; there is one of those received.
const ID: &str = "('00000000000000000000000000000001')";

/// Makes the objects that exist.
pub async fn make(world: &World) {
    world.account("c", r#"{"Name":"old"}"#).await;
    for (set, body) in [
        ("Role", r#"{"Name":"old"}"#),
        ("Relation", r#"{"Name":"old"}"#),
        ("Relation", r#"{"Name":"free"}"#),
        ("ExtRole", r#"{"ExtRole":"urn:old","_Relation.Name":"old"}"#),
        ("ExtCell", r#"{"Url":"https://old.example/"}"#),
        ("Box", r#"{"Name":"old"}"#),
        ("Rule", r#"{"Name":"old","Action":"log"}"#),
    ] {
        world.make(&format!("c/__ctl/{set}"), body).await;
    }
    super::elsewhere::make_messages(world).await;
    super::elsewhere::make_rule(world).await;
}

fn set_cases(set: &Set) -> Vec<Case> {
    let all = format!("c/__ctl/{}", set.name);
    let old = format!("{all}{}", set.key);
    let fresh = format!("{all}{}", set.fresh_key);
    let changes = |method| {
        case(set.write, method, &old)
            .with("if-match", "*")
            .text(set.fresh)
            .gives(204, "")
            .then("GET", &fresh, 200, set.fresh_shown)
    };
    let mut out = vec![
        case(set.read, "GET", &all)
            .with("accept", "application/json")
            .gives(200, set.shown),
        case(set.read, "GET", &old)
            .with("accept", "application/json")
            .gives(200, set.shown),
        case(set.read, "OPTIONS", &all).gives(200, ""),
        case(set.read, "OPTIONS", &old).gives(200, ""),
        case(set.write, "POST", &all)
            .text(set.fresh)
            .gives(201, set.fresh_shown)
            .then("GET", &fresh, 200, set.fresh_shown),
        changes("PUT"),
        case(set.write, "DELETE", &old)
            .with("if-match", "*")
            .gives(204, "")
            .then("GET", &old, 404, "PR404-OD-0002"),
    ];
    if set.name != "Rule" {
        out.push(changes("MERGE"));
    }
    out
}

fn message_cases() -> Vec<Case> {
    let mut out = Vec::new();
    for &(set, read, write) in MESSAGES {
        let all = format!("c/__ctl/{set}");
        let one = format!("{all}{ID}");
        let list = case(read, "GET", &all).with("accept", "application/json");
        let get = case(read, "GET", &one).with("accept", "application/json");
        let delete = case(write, "DELETE", &one);
        out.extend([
            case(read, "OPTIONS", &all).gives(200, ""),
            case(read, "OPTIONS", &one).gives(200, ""),
        ]);
        out.extend(if set == "ReceivedMessage" {
            [
                list.gives(200, ID),
                get.gives(200, ID),
                delete
                    .gives(204, "")
                    .then("GET", &one, 404, "PR404-OD-0002"),
            ]
        } else {
            [
                list.gives(200, "\"results\":[]"),
                get.gives(404, "PR404-OD-0002"),
                delete.gives(404, "PR404-OD-0002"),
            ]
        });
    }
    out
}

/// What a set is called in URLs, with the key of an object that exists, and what reading and writing it is.
fn known(set: &str) -> (String, O, O) {
    if let Some(known) = SETS.iter().find(|s| s.name == set) {
        return (format!("{set}{}", known.key), known.read, known.write);
    }
    let (_, read, write) = MESSAGES.iter().find(|m| m.0 == set).unwrap();
    (format!("{set}{ID}"), *read, *write)
}

/// Which of two sets' privileges a link between them needs: both, but only that of messages to see or mark who read one.
fn link_needs(here: &str, there: &str) -> (bool, bool) {
    match (here, there) {
        ("Account", "ReceivedMessage") => (false, true),
        ("ReceivedMessage", "Account") => (true, false),
        _ => (true, true),
    }
}

/// Each way over an association, once for each privilege that it needs.
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
                    .text(body)
                    .with("if-match", "*")
                    .gives(AS_MASTER, "");
                match other.filter(|other| !other.includes(operation.privilege().unwrap())) {
                    Some(other) => made.also(other),
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
        // What is made through a link needs the privilege of its own set in any case.
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
            .gives(200, "<atom:title>Account</atom:title>"),
        case(O::DescribeCellControl, "OPTIONS", "c/__ctl").gives(200, ""),
        case(O::DescribeCellControl, "OPTIONS", "c/__ctl/$metadata").gives(200, ""),
        case(O::OptionsCellLinks, "OPTIONS", links).gives(200, ""),
        case(
            O::OptionsCellLinks,
            "OPTIONS",
            "c/__ctl/Account('old')/_Role",
        )
        .gives(200, ""),
        case(O::WriteRoles, "POST", links)
            .text("{\"uri\":\"http://unit.example/c/__ctl/Role('old')\"}")
            .gives(204, "")
            .then("GET", links, 200, "Name='old'"),
        case(O::WriteBoxes, "POST", "c/__ctl/Role('old')/$links/_Box")
            .also(P::Auth)
            .text("{\"uri\":\"http://unit.example/c/__ctl/Box('old')\"}")
            .gives(204, "")
            .then(
                "GET",
                "c/__ctl/Role(Name='old',_Box.Name='old')",
                200,
                "\"old\"",
            ),
        case(O::ReadRoles, "GET", "c/__ctl/Account('exact')/_Role").gives(200, "\"exact\""),
        case(
            O::ReadBoxes,
            "GET",
            "c/__ctl/Role?$expand=_Box&$format=json",
        )
        .also(P::AuthRead)
        .gives(200, "\"results\""),
    ]);
    out
}
