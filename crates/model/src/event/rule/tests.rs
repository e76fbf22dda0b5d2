use personium_odata::value::Properties;
use personium_types::NodeId;

use super::*;
use crate::event::RuleChain;

const CELL: &str = "https://unit.example/c/";

fn rule(in_box: Option<(&str, Option<&str>)>, members: &[(&str, &str)]) -> Option<EventRule> {
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
    EventRule::of(
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
        chain: RuleChain::default(),
        via: None,
        roles: Vec::new(),
    }
}

fn matches(rule: Option<EventRule>, event: &Event) -> bool {
    let rules = RuleSet::new(rule.into_iter().map(Arc::new).collect());
    !rules.matching(event, 3).is_empty()
}

#[test]
fn rule_matches_only_if_every_condition_does() {
    let none: &[(&str, &str)] = &[];
    assert!(matches(rule(None, none), &event()));
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
        assert!(
            matches(rule(None, &[(name, yes)]), &event()),
            "{name} {yes}"
        );
        assert!(!matches(rule(None, &[(name, no)]), &event()), "{name} {no}");
        assert!(
            !matches(rule(None, &[(name, yes), ("EventInfo", "x")]), &event()),
            "{name} with another one that does not match"
        );
    }
}

#[test]
fn condition_does_not_match_a_missing_value() {
    let without_values = Event {
        schema: None,
        subject: None,
        kind: None,
        object: None,
        info: None,
        ..event()
    };
    assert!(matches(rule(None, &[]), &without_values));
    for name in ["EventSubject", "EventType", "EventObject", "EventInfo"] {
        assert!(
            !matches(rule(None, &[(name, "")]), &without_values),
            "{name}"
        );
    }
    let bound = rule(Some(("b", Some("https://app.example/"))), &[]);
    assert!(!matches(bound, &without_values));
}

#[test]
fn rule_of_a_box_matches_events_of_its_application_only() {
    let of = |schema| rule(Some(("b", schema)), &[]);
    assert!(matches(of(Some("https://app.example/")), &event()));
    assert!(!matches(of(Some("https://other.example/")), &event()));
    assert!(matches(of(None), &event()), "a box without an application");
    let local = Event {
        schema: Some("https://unit.example/app/".to_owned()),
        ..event()
    };
    assert!(matches(of(Some("personium-localunit:app:/")), &local));
}

#[test]
fn urls_relative_to_the_box_are_resolved() {
    let object = |url| {
        let members = [("EventObject", url)];
        matches(rule(Some(("b", None)), &members), &event())
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
fn only_the_log_is_written_beyond_the_hop_limit() {
    let of = |action: &str| {
        let found = rule(
            None,
            &[("Action", action), ("TargetUrl", "http://x.example/")],
        );
        Arc::new(found.unwrap())
    };
    let rules = RuleSet::new(vec![of("log.warn"), of("relay"), of("exec")]);
    for (hops, hops_max, expected) in [(0, 3, 3), (2, 3, 3), (3, 3, 1), (u32::MAX, 3, 1), (0, 0, 0)]
    {
        let event = Event {
            chain: RuleChain::of_length(hops),
            ..event()
        };
        let matching = rules.matching(&event, hops_max);
        assert_eq!(matching.len(), expected, "{hops}");
        let first = matching.first().map(|rule| rule.action);
        let log = (expected > 0).then_some(RuleAction::Log(LogLevel::Warn));
        assert_eq!(first, log, "{hops}");
    }
}

#[test]
fn rule_with_an_unknown_action_is_ignored() {
    assert!(rule(None, &[("Action", "dance")]).is_none());
}
