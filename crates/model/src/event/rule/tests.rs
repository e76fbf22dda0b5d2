use personium_odata::value::Properties;
use personium_types::NodeId;

use super::*;

const CELL: &str = "https://unit.example/c/";

fn rule(in_box: Option<(&str, Option<&str>)>, members: &[(&str, &str)]) -> Option<Rule> {
    let urls = UnitUrls::new("https", "unit.example", None, true);
    let mut doc = Properties::new();
    doc.set("Action", "log");
    for &(name, value) in members {
        if name == "EventExternal" {
            doc.set(name, value == "true");
        } else {
            doc.set(name, value);
        }
    }
    let in_box = in_box.map(|(name, schema)| {
        Arc::new(BoxInfo {
            id: NodeId::from_bytes([7; 16]),
            name: name.to_owned(),
            schema: schema.map(str::to_owned),
            published: 0,
        })
    });
    Rule::of(
        &urls,
        CELL,
        "r".to_owned(),
        StoredEntity::new(doc, 0),
        in_box,
    )
}

fn event() -> Event {
    let text = |text: &str| Some(text.to_owned());
    Event {
        external: false,
        schema: text("https://app.example/"),
        subject: text("https://unit.example/c/#me"),
        account: None,
        kind: text("davfile.create"),
        object: text("personium-localcell:/b/dir/file"),
        info: text("201"),
        request_key: text("key"),
        id: None,
        hops: Some(0),
        via: None,
        roles: Vec::new(),
    }
}

fn hits(rule: Option<Rule>, event: &Event) -> bool {
    let rules = Rules(rule.into_iter().map(Arc::new).collect());
    !rules.hit_by(event, 3).is_empty()
}

#[test]
fn every_condition_must_hold() {
    let none: &[(&str, &str)] = &[];
    assert!(hits(rule(None, none), &event()));
    for (name, yes, no) in [
        ("EventExternal", "false", "true"),
        (
            "EventSubject",
            "personium-localunit:c:/#me",
            "personium-localunit:c:/#m",
        ),
        (
            "EventSubject",
            "https://unit.example/c/#me",
            "https://unit.example/c/",
        ),
        ("EventType", "davfile", "file"),
        ("EventType", ".create", ".creat"),
        ("EventType", "davfile.create", "davfile.create.x"),
        (
            "EventObject",
            "personium-localcell:/b/dir",
            "personium-localcell:/dir",
        ),
        ("EventInfo", "2", "01"),
    ] {
        assert!(hits(rule(None, &[(name, yes)]), &event()), "{name} {yes}");
        assert!(!hits(rule(None, &[(name, no)]), &event()), "{name} {no}");
        assert!(
            !hits(rule(None, &[(name, yes), ("EventInfo", "x")]), &event()),
            "{name} with another one that does not hold"
        );
    }
}

#[test]
fn what_an_event_lacks_fulfils_no_condition() {
    let lacking = Event {
        schema: None,
        subject: None,
        kind: None,
        object: None,
        info: None,
        ..event()
    };
    assert!(hits(rule(None, &[]), &lacking));
    for name in ["EventSubject", "EventType", "EventObject", "EventInfo"] {
        assert!(!hits(rule(None, &[(name, "")]), &lacking), "{name}");
    }
    let bound = rule(Some(("b", Some("https://app.example/"))), &[]);
    assert!(!hits(bound, &lacking));
}

#[test]
fn a_rule_of_a_box_hears_of_its_app_only() {
    let of = |schema| rule(Some(("b", schema)), &[]);
    assert!(hits(of(Some("https://app.example/")), &event()));
    assert!(!hits(of(Some("https://other.example/")), &event()));
    assert!(hits(of(None), &event()), "a box without an app");
    let local = Event {
        schema: Some("https://unit.example/app/".to_owned()),
        ..event()
    };
    assert!(hits(of(Some("personium-localunit:app:/")), &local));
}

#[test]
fn urls_relative_to_the_box_are_understood() {
    let object = |url| {
        let members = [("EventObject", url)];
        hits(rule(Some(("b", None)), &members), &event())
    };
    assert!(object("personium-localbox:/dir"));
    assert!(!object("personium-localbox:/b"));
    for (target, absolute) in [
        ("personium-localbox:/s/x", "https://unit.example/c/b/s/x"),
        ("personium-localcell:/b/s/x", "https://unit.example/c/b/s/x"),
        ("personium-localcell:/", "https://unit.example/c/"),
        ("personium-localunit:d:/x", "https://unit.example/d/x"),
        ("personium-localunit:/d/x", "https://unit.example/d/x"),
        ("https://other.example/x", "https://other.example/x"),
    ] {
        let found = rule(
            Some(("b", None)),
            &[("Action", "relay"), ("TargetUrl", target)],
        );
        assert_eq!(found.unwrap().target.unwrap(), absolute);
    }
}

#[test]
fn rules_do_not_go_on_for_ever() {
    let rules = Rules(rule(None, &[]).into_iter().map(Arc::new).collect());
    for (hops, most, hit) in [
        (Some(0), 3, true),
        (Some(2), 3, true),
        (Some(3), 3, false),
        (Some(u32::MAX), 3, false),
        (Some(0), 0, false),
        (None, 3, false),
    ] {
        let event = Event { hops, ..event() };
        assert_eq!(!rules.hit_by(&event, most).is_empty(), hit, "{hops:?}");
    }
}

#[test]
fn unknown_actions_do_nothing() {
    assert!(rule(None, &[("Action", "dance")]).is_none());
}
