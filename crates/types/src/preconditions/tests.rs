use proptest::prelude::*;

use super::*;

const TAG: ETag = ETag {
    version: 3,
    updated_ms: 1_706_692_530_123,
};
/// The second of [`TAG`], as HTTP shows it.
const DATE: &str = "Wed, 31 Jan 2024 09:15:30 GMT";
const EARLIER: &str = "Wed, 31 Jan 2024 09:15:29 GMT";
const FILE: ResourceState = ResourceState::Tagged(TAG, TagForm::Strong);
const ENTITY: ResourceState = ResourceState::Tagged(TAG, TagForm::Weak);
const STATES: [ResourceState; 4] = [FILE, ENTITY, ResourceState::Untagged, ResourceState::Absent];

/// Reads `Name: value` lines.
fn conditions(lines: &[(&str, &str)]) -> Preconditions {
    let find = |wanted: &str| {
        lines
            .iter()
            .find(|(name, _)| *name == wanted)
            .map(|(_, v)| *v)
    };
    Preconditions::parse(&ConditionHeaders {
        if_match: find("If-Match"),
        if_none_match: find("If-None-Match"),
        if_modified_since: find("If-Modified-Since"),
        if_unmodified_since: find("If-Unmodified-Since"),
        if_header: find("If"),
    })
}

fn write(lines: &[(&str, &str)], state: ResourceState) -> bool {
    conditions(lines).evaluate(RequestKind::Write, state) == Outcome::Proceed
}

fn read(lines: &[(&str, &str)], state: ResourceState) -> Outcome {
    conditions(lines).evaluate(RequestKind::Read, state)
}

#[test]
fn if_match_in_lists_allows_only_the_current_state() {
    // The value; whether it is true for a file, an entity, an untagged and an absent resource.
    for (value, expected) in [
        ("*", [true, true, true, true]),
        (" * ", [true, true, true, true]),
        ("\"3-1706692530123\"", [true, false, false, false]),
        ("W/\"3-1706692530123\"", [true, true, false, false]),
        ("\"x\", \"3-1706692530123\"", [true, false, false, false]),
        ("\"x\",W/\"3-1706692530123\"", [true, true, false, false]),
        (
            ", \"a,b\" ,, W/\"3-1706692530123\",",
            [true, true, false, false],
        ),
        ("\"2-1706692530123\"", [false; 4]),
        ("\"3-1706692530124\"", [false; 4]),
        ("\"03-1706692530123\"", [false; 4]),
        ("\"x\", \"y\"", [false; 4]),
        // Malformed: never true, even if the tag is in it.
        ("", [false; 4]),
        (",", [false; 4]),
        ("3-1706692530123", [false; 4]),
        ("W/3-1706692530123", [false; 4]),
        ("w/\"3-1706692530123\"", [false; 4]),
        ("W/W/\"3-1706692530123\"", [false; 4]),
        ("\"3-1706692530123", [false; 4]),
        ("\"3-1706692530123\"dummy", [false; 4]),
        ("\"3-1706692530123\" \"x\"", [false; 4]),
        ("*, \"3-1706692530123\"", [false; 4]),
        ("\"3-1706692530123\", *", [false; 4]),
        ("\"3-1706692530123\", x", [false; 4]),
        ("\"a b\", \"3-1706692530123\"", [false; 4]),
    ] {
        let found = STATES.map(|state| write(&[("If-Match", value)], state));
        assert_eq!(found, expected, "{value}");
        let read = STATES.map(|state| read(&[("If-Match", value)], state) == Outcome::Proceed);
        assert_eq!(read, expected, "GET {value}");
    }
}

#[test]
fn if_none_match_forbids_writes_of_named_states_and_answers_reads_of_the_current_one() {
    use Outcome::{NotModified, Proceed};
    for (value, writes, reads) in [
        ("*", [false, false, false, true], [Proceed; 4]),
        (
            "\"3-1706692530123\"",
            [false, false, true, true],
            [NotModified, NotModified, Proceed, Proceed],
        ),
        (
            "\"x\", W/\"3-1706692530123\"",
            [false, false, true, true],
            [NotModified, NotModified, Proceed, Proceed],
        ),
        ("\"x\", \"y\"", [true; 4], [Proceed; 4]),
        ("", [false; 4], [Proceed; 4]),
        ("abc!", [false; 4], [Proceed; 4]),
        ("\"3-1706692530123\"aa", [false; 4], [Proceed; 4]),
        ("*, *", [false; 4], [Proceed; 4]),
    ] {
        let lines = [("If-None-Match", value)];
        assert_eq!(STATES.map(|state| write(&lines, state)), writes, "{value}");
        assert_eq!(
            STATES.map(|state| read(&lines, state)),
            reads,
            "GET {value}"
        );
    }
}

#[test]
fn dates_are_compared_by_seconds_and_ignored_if_malformed_or_not_applicable() {
    for (date, unmodified, outcome) in [
        (DATE, true, Outcome::NotModified),
        ("Thu, 01 Feb 2024 00:00:00 GMT", true, Outcome::NotModified),
        (EARLIER, false, Outcome::Proceed),
        ("Wednesday, 31-Jan-24 09:15:29 GMT", false, Outcome::Proceed),
        ("Wed Jan 31 09:15:29 2024", false, Outcome::Proceed),
        ("2024-01-31T09:15:29Z", true, Outcome::Proceed),
        ("", true, Outcome::Proceed),
        ("0", true, Outcome::Proceed),
    ] {
        for state in [FILE, ENTITY] {
            assert_eq!(
                write(&[("If-Unmodified-Since", date)], state),
                unmodified,
                "{date}"
            );
            assert_eq!(
                read(&[("If-Modified-Since", date)], state),
                outcome,
                "{date}"
            );
        }
        for state in [ResourceState::Absent, ResourceState::Untagged] {
            assert!(write(&[("If-Unmodified-Since", date)], state), "{date}");
            assert_eq!(
                read(&[("If-Modified-Since", date)], state),
                Outcome::Proceed,
                "{date}"
            );
        }
        // Not a condition of a write.
        assert!(write(&[("If-Modified-Since", date)], FILE), "{date}");
    }
}

#[test]
fn conditions_are_evaluated_in_the_order_of_rfc_9110() {
    let (current, stale) = ("\"3-1706692530123\"", "\"2-1\"");
    // If-Unmodified-Since is not evaluated beside If-Match, nor If-Modified-Since beside If-None-Match.
    assert!(write(
        &[("If-Match", current), ("If-Unmodified-Since", EARLIER)],
        FILE
    ));
    assert!(!write(
        &[("If-Match", stale), ("If-Unmodified-Since", DATE)],
        FILE
    ));
    assert_eq!(
        read(
            &[("If-None-Match", stale), ("If-Modified-Since", DATE)],
            FILE
        ),
        Outcome::Proceed
    );
    assert_eq!(
        read(
            &[("If-None-Match", "garbage"), ("If-Modified-Since", DATE)],
            FILE
        ),
        Outcome::Proceed
    );
    // 412 comes before 304.
    assert_eq!(
        read(&[("If-Match", stale), ("If-None-Match", current)], FILE),
        Outcome::Failed
    );
    assert_eq!(
        read(
            &[("If-Unmodified-Since", EARLIER), ("If-None-Match", current)],
            FILE
        ),
        Outcome::Failed
    );
    assert_eq!(
        read(&[("If-Match", current), ("If-None-Match", current)], FILE),
        Outcome::NotModified
    );
    assert!(!write(&[("If-Match", "*"), ("If-None-Match", "*")], FILE));
    assert!(write(
        &[("If-Match", "*"), ("If-None-Match", "*")],
        ResourceState::Absent
    ));
}

#[test]
fn if_header_is_true_if_all_conditions_of_a_list_are() {
    for (value, file, absent) in [
        ("([\"3-1706692530123\"])", true, false),
        ("([W/\"3-1706692530123\"])", true, false),
        ("([\"2-1\"])", false, false),
        ("(Not [\"2-1\"])", true, true),
        ("(not [\"3-1706692530123\"])", false, true),
        ("([\"2-1\"]) ([\"3-1706692530123\"])", true, false),
        ("([\"3-1706692530123\"] [\"2-1\"])", false, false),
        // No resource is locked, so no token matches, and DAV:no-lock never does.
        ("(<urn:uuid:1>)", false, false),
        ("(Not <urn:uuid:1>)", true, true),
        ("(<DAV:no-lock>)", false, false),
        ("(Not <DAV:no-lock>)", true, true),
        ("(<urn:uuid:1> [\"3-1706692530123\"])", false, false),
        ("(Not <DAV:no-lock> [\"3-1706692530123\"])", true, false),
        ("(<urn:uuid:1>) (Not <DAV:no-lock>)", true, true),
        // Tagged lists; only the ones of the target are known.
        ("<http://h/f> ([\"3-1706692530123\"])", true, false),
        ("<http://h/other> ([\"3-1706692530123\"])", false, false),
        ("<http://h/other> (Not [\"x\"])", false, false),
        (
            "<http://h/other> (<urn:uuid:1>) <http://h/f>(<urn:uuid:1>)([\"3-1706692530123\"])",
            true,
            false,
        ),
        (
            "<http://h/f> ([\"2-1\"]) <http://h/other> (Not [\"x\"])",
            false,
            false,
        ),
    ] {
        let parsed = conditions(&[("If", value)]).for_target(|url| url == "http://h/f");
        let outcome = |state| parsed.evaluate(RequestKind::Write, state) == Outcome::Proceed;
        assert_eq!(
            (outcome(FILE), outcome(ResourceState::Absent)),
            (file, absent),
            "{value}"
        );
    }
}

#[test]
fn malformed_if_headers_are_false() {
    let many = format!("({})", "Not <urn:x>".repeat(257));
    for value in [
        "",
        " ",
        "()",
        "(",
        ")",
        "([\"3-1706692530123\"]",
        "([\"3-1706692530123\")",
        "[\"3-1706692530123\"]",
        "\"3-1706692530123\"",
        "(\"3-1706692530123\")",
        "([\"3-1706692530123\"]) x",
        "([\"3-1706692530123\"]) <http://h/f> ([\"3-1706692530123\"])",
        "<http://h/f>",
        "<http://h/f> <http://h/f> ([\"3-1706692530123\"])",
        "<> ([\"3-1706692530123\"])",
        "(<>)",
        "(Not)",
        "(Not Not [\"x\"])",
        "*",
        &many,
    ] {
        for state in STATES {
            assert!(!write(&[("If", value)], state), "{value}");
        }
    }
}

#[test]
fn if_range_needs_the_strong_tag_or_the_exact_date() {
    for (value, expected) in [
        (None, true),
        (Some("\"3-1706692530123\""), true),
        (Some(" \"3-1706692530123\" "), true),
        (Some(DATE), true),
        (Some("W/\"3-1706692530123\""), false),
        (Some("\"2-1706692530123\""), false),
        (Some("\"x\", \"3-1706692530123\""), false),
        (Some("*"), false),
        (Some(EARLIER), false),
        (Some("Thu, 01 Feb 2024 00:00:00 GMT"), false),
        (Some(""), false),
    ] {
        assert_eq!(if_range_allows_part(value, TAG), expected, "{value:?}");
    }
}

proptest! {
    #[test]
    fn no_condition_without_the_current_tag_lets_a_write_replace_a_file(text in "[ ,W/\"0-9xNot()<>\\[\\]*é-]{0,40}") {
        prop_assume!(!text.contains("3-1706692530123") && text.trim() != "*");
        prop_assert!(!write(&[("If-Match", &text)], FILE));
    }

    #[test]
    fn garbage_around_the_current_tag_never_matches(before in "[a-z*()]{1,3}", after in "[a-z*()]{0,3}") {
        let value = format!("{before}\"3-1706692530123\"{after}");
        prop_assert!(!write(&[("If-Match", &value)], FILE));
        prop_assert!(!write(&[("If", &value)], FILE));
    }

    #[test]
    fn parsing_never_panics(text in "\\PC*") {
        for name in ["If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If"] {
            for state in STATES {
                let _ = (write(&[(name, &text)], state), read(&[(name, &text)], state));
            }
        }
        let _ = if_range_allows_part(Some(&text), TAG);
    }
}

#[test]
fn resource_with_a_date_and_without_a_tag_has_no_state_that_a_tag_names() {
    let dated = ResourceState::Dated(1_706_692_530_123);
    for (lines, writes, reads) in [
        (("If-Match", "\"3-1706692530123\""), false, Outcome::Failed),
        (
            ("If-None-Match", "\"3-1706692530123\""),
            true,
            Outcome::Proceed,
        ),
        (("If-None-Match", "*"), false, Outcome::Proceed),
        (("If-Unmodified-Since", DATE), true, Outcome::Proceed),
        (("If-Unmodified-Since", EARLIER), false, Outcome::Failed),
        (("If-Modified-Since", DATE), true, Outcome::NotModified),
        (("If-Modified-Since", EARLIER), true, Outcome::Proceed),
    ] {
        assert_eq!(write(&[lines], dated), writes, "{lines:?}");
        assert_eq!(read(&[lines], dated), reads, "GET {lines:?}");
    }
}
