use std::cmp::Ordering;
use std::ops::Bound;

use proptest::prelude::*;

use super::*;
use crate::control;
use crate::value::{NULL, Properties};

fn entity_type() -> EntityType {
    let simple = |name: &'static str, simple| Property::new(name, simple);
    EntityType::user_data(
        "T",
        vec![
            simple("s", SimpleType::String),
            simple("na-me_1", SimpleType::String),
            simple("b", SimpleType::Boolean),
            simple("i", SimpleType::Int32),
            simple("f", SimpleType::Single),
            simple("d", SimpleType::Double),
            simple("t", SimpleType::DateTime),
            simple("sl", SimpleType::String).list(),
            simple("il", SimpleType::Int32).list(),
            Property::complex("c", "C"),
        ],
    )
}

fn check(text: &str) -> Result<Filter<Typed>, FilterError> {
    Filter::parse(text)?.check(&entity_type())
}

fn mismatch(name: &str) -> FilterError {
    FilterError::TypeMismatch(name.into())
}

#[test]
fn malformed_filters_are_syntax_errors() {
    for bad in [
        "",
        " ",
        "and s eq 'a'",
        "or s eq 'a'",
        "s eq 'a' and",
        "s eq 'a' or",
        "s ge",
        "s.x eq 'a'",
        "s~x eq 'a'",
        "/x eq 'a'",
        "1/x eq 'a'",
        "c/any(s)",
        "1 eq i",
        "s eq s",
        "s eq'a'",
        "s eq 'a",
        "s EQ 'a'",
        "s eq 'a' s eq 'b'",
        "s eq 'a')",
        "()",
        "startswith('a'),'a'",
        "startswith()",
        "startswith(null,null)",
        "startswith(s)",
        "substringof('a')",
        "substringof(s)",
        "startswith(s,'a','b')",
        "startswith('a',s)",
        "other(s)",
        "s eq 'a' , s eq 'b'",
        "startswith(s,'a') eq true",
        "s lt null",
        "s ge null",
        "b lt true",
        "b ge false",
        "i gt null",
        "c eq 'a'",
        "t eq datetime'2015-01-07T09:19:16.172+09:00'",
        "t eq datetime'20150107T001916172'",
        "t eq datetimeoffset'20150107T001916172'",
        "t eq datetime'2015-02-30T00:00'",
        "t eq datetime''",
        "t eq other'x'",
        "i eq 1a",
        "f eq 2222.2a",
    ] {
        assert_eq!(check(bad), Err(FilterError::Syntax), "{bad}");
    }
    let deep = |count: usize| format!("{}s eq 'a'{}", "(".repeat(count), ")".repeat(count));
    assert!(check(&deep(MAX_FILTER_DEPTH)).is_ok());
    assert_eq!(check(&deep(MAX_FILTER_DEPTH + 1)), Err(FilterError::Syntax));
    assert_eq!(check(&"not ".repeat(3000)), Err(FilterError::Syntax));
    assert_eq!(
        check(&format!("s eq '{}'", "a".repeat(MAX_FILTER_BYTES))),
        Err(FilterError::Syntax)
    );
    assert!(check(&vec!["i eq 1"; 1000].join(" or ")).is_ok());
}

#[test]
fn unsupported_operators_and_functions_have_their_own_errors() {
    for text in [
        "i add 1 eq 2",
        "i eq 1 sub 1",
        "not (i eq 1)",
        "not i eq 1",
        "(i mul 2) eq 4",
        "s",
        "'a'",
        "true",
    ] {
        assert_eq!(check(text), Err(FilterError::UnsupportedOperator), "{text}");
    }
    for text in [
        "endswith(s,'a')",
        "length(s) eq 1",
        "tolower(s) eq 'a'",
        "concat(s,s) eq 'a'",
        "isof('x')",
        "year(t) eq 1",
    ] {
        assert_eq!(check(text), Err(FilterError::UnsupportedFunction), "{text}");
    }
}

#[test]
fn literals_are_checked_against_the_property_type() {
    for (name, text) in [
        ("s", "s eq 1111"),
        ("s", "s ne 1.5"),
        ("s", "s eq true"),
        ("s", "s gt 1"),
        ("b", "b eq 'true'"),
        ("b", "b ne 1111"),
        ("b", "b eq 1111.11f"),
        ("i", "i eq '1'"),
        ("i", "i eq 1.0"),
        ("i", "i ge '1'"),
        ("i", "i eq true"),
        ("f", "f eq '1'"),
        ("f", "f eq 1111.11f"),
        ("f", "f eq 1111.11m"),
        ("f", "f eq true"),
        ("d", "d le '1'"),
        ("d", "d eq 1.0f"),
        ("d", "d eq 1.0m"),
        ("d", "d eq guid'1'"),
        ("t", "t eq '/Date(1)/'"),
        ("t", "t eq 1.5"),
        ("t", "t eq true"),
        ("t", "t eq time'1'"),
        ("il", "il eq 'a'"),
        ("il", "il lt 'a'"),
        ("i", "startswith(i,1)"),
        ("d", "startswith(d,1.1)"),
        ("s", "startswith(s,true)"),
        ("s", "startswith(s,s)"),
        ("i", "startswith(i,'1')"),
        ("s", "substringof(null,s)"),
        ("s", "substringof(1,s)"),
        ("s", "substringof(s,s)"),
    ] {
        assert_eq!(check(text), Err(mismatch(name)), "{text}");
    }
    for (name, text) in [
        ("i", "i eq 2147483648"),
        ("i", "i ne -2147483649"),
        ("i", "i eq 99999999999999999999"),
        ("f", "f eq 11111.111111"),
        ("f", "f eq 111111.11111"),
        ("f", "f eq 100000"),
        ("t", "t eq -6847804800001"),
        ("t", "t ne 253402300800000"),
        ("t", "t eq datetime'1752-12-31T23:59:59.999'"),
        ("t", "t eq datetimeoffset'1753-01-01T00:00:00.000+00:01'"),
        (
            "__published",
            "__published gt datetimeoffset'9999-12-31T23:59:59.999-00:01'",
        ),
    ] {
        assert_eq!(
            check(text),
            Err(FilterError::OutOfRange(name.into())),
            "{text}"
        );
    }
    for text in [
        "x ge null",
        "__metadata eq 'a'",
        "_Nav ne 'a'",
        "startswith(__metadata,'a')",
        "x eq 1.5",
        "c/x eq 'a'",
        "c/x gt 1",
        "startswith(c/x,'a')",
    ] {
        assert!(
            matches!(check(text), Err(FilterError::UnknownProperty(_))),
            "{text}"
        );
    }
    assert_eq!(
        check("s eq 'a\\u001_'"),
        Err(FilterError::MalformedEscape("a\\u001_".into()))
    );
    assert_eq!(
        check(&format!("startswith(s,'{}')", "a".repeat(1001))),
        Err(FilterError::PrefixTooLong)
    );
    assert!(check(&format!("startswith(s,'{}')", "a".repeat(1000))).is_ok());
}

fn entity(members: &[(&str, Value)]) -> Properties {
    members
        .iter()
        .map(|(name, value)| ((*name).into(), value.clone()))
        .collect()
}

fn holds(text: &str, entity: &Properties) -> bool {
    check(text)
        .unwrap_or_else(|fault| panic!("{text}: {fault:?}"))
        .matches(&|property| entity.get(&property.name).unwrap_or(&NULL))
}

fn sample() -> Properties {
    entity(&[
        ("__id", "userdata006".into()),
        ("s", "It's a Test value".into()),
        ("na-me_1", "".into()),
        ("b", true.into()),
        ("i", Value::Int32(-5)),
        ("f", Value::Single(11111.11111)),
        ("d", Value::Double(5.1)),
        ("t", Value::DateTime(1_420_589_956_172)),
        ("sl", Value::List(vec!["a".into(), "c".into()])),
        ("il", Value::List(vec![])),
    ])
}

#[test]
fn comparisons_are_evaluated_by_type() {
    for (text, expected) in [
        ("s eq 'It''s a Test value'", true),
        ("s eq 'it''s a test value'", false),
        ("s eq '\\u0049t''s a Test value'", true),
        ("na-me_1 eq ''", true),
        ("na-me_1 eq null", false),
        ("s gt 'It' and s lt 'Iu'", true),
        ("b eq true and b ne false", true),
        ("i eq -5L", true),
        ("i lt -4 and i ge -5", true),
        ("i gt -5", false),
        ("f eq 11111.11111", true),
        ("d eq 5.1 and d gt 5 and d lt 5.2e0", true),
        ("d lt 1e+1", true),
        ("t eq 1420589956172", true),
        ("t eq datetime'2015-01-07T00:19:16.172'", true),
        ("t eq datetimeoffset'2015-01-07T09:19:16.172+09:00'", true),
        (
            "t ge datetime'2015-01-07T00:19:16' and t gt datetimeoffset'2015-01-07T00:19'",
            true,
        ),
        ("t eq datetimeoffset'2015-01-07T00:19:16.172Z'", true),
        ("i eq 1 or i eq -5 and b eq false", false),
        ("(i eq 1 or i eq -5) and b eq true", true),
        ("s eq 'x' or (b eq true or i eq 9", true),
    ] {
        assert_eq!(holds(text, &sample()), expected, "{text}");
    }
}

#[test]
fn null_absent_and_empty_values_are_equal_to_null() {
    let empty = Properties::new();
    for text in [
        "s eq null",
        "i eq null",
        "il eq null",
        "s ne 'a'",
        "i ne 1",
        "t ne 1",
        "sl ne 'a'",
    ] {
        assert!(holds(text, &empty), "{text}");
    }
    for text in [
        "s ne null",
        "s eq ''",
        "s ge 'a'",
        "i lt 1",
        "startswith(s,'')",
        "substringof('a',s)",
    ] {
        assert!(!holds(text, &empty), "{text}");
    }
    let long = entity(&[("s", "a".repeat(4097).into())]);
    assert!(holds("s ne 'a'", &long) && holds("s ne null", &long) && !holds("s gt 'a'", &long));
    assert!(holds("startswith(s,'aa')", &long));
}

#[test]
fn functions_and_lists_are_evaluated() {
    for (text, expected) in [
        ("startswith(s,'It''s')", true),
        ("startswith(s,'it')", false),
        ("startswith(s,'')", true),
        ("substringof('test VALUE',s)", true),
        ("substringof('Tes',s)", false),
        ("substringof('',s)", false),
        ("substringof('userdata006',__id)", true),
        ("substringof('userdata',__id)", false),
        ("sl eq 'a'", true),
        ("sl eq 'b'", false),
        ("sl ne 'b'", true),
        ("sl ne 'c'", false),
        ("sl gt 'b'", true),
        ("startswith(sl,'c')", true),
        ("il eq null", true),
        ("sl eq null", false),
    ] {
        assert_eq!(holds(text, &sample()), expected, "{text}");
    }
    let account = control::cell().entity_type("Account").unwrap();
    let filter = Filter::parse("substringof('a',Name)")
        .unwrap()
        .check(account)
        .unwrap();
    let named = |name: &str| entity(&[("Name", name.into())]);
    let (exact, other) = (named("a"), named("a b"));
    assert!(filter.matches(&|property| exact.value(&property.name)));
    assert!(!filter.matches(&|property| other.value(&property.name)));
    assert!(matches!(
        Filter::parse("_Box.Name eq 'b'"),
        Err(FilterError::Syntax)
    ));
}

fn ranges_of(text: &str) -> Vec<(String, ValueRange)> {
    check(text)
        .unwrap()
        .necessary_ranges()
        .into_iter()
        .map(|term| (term.property.name.to_string(), term.range))
        .collect()
}

#[test]
fn necessary_ranges_are_joined_per_property() {
    let int = Value::Int32;
    assert_eq!(
        ranges_of("i ge 1 and (i lt 9 and i gt 1) and i le 9 and s eq 'a' and b ne true"),
        [
            (
                "i".into(),
                ValueRange::Between(Bound::Excluded(int(1)), Bound::Excluded(int(9)))
            ),
            ("s".into(), ValueRange::Equal("a".into())),
        ]
    );
    assert_eq!(ranges_of("i eq 1 or s eq 'a'"), []);
    assert_eq!(
        ranges_of("startswith(s,'a') and t eq null"),
        [
            ("s".into(), ValueRange::Prefix("a".into())),
            ("t".into(), ValueRange::Null)
        ]
    );
    assert_eq!(ranges_of("il gt 1 and il lt 3").len(), 2);
}

fn comparison() -> impl Strategy<Value = String> {
    let op = prop::sample::select(vec!["eq", "ne", "gt", "lt", "ge", "le"]);
    prop_oneof![
        (op.clone(), -3..3i32).prop_map(|(op, number)| format!("i {op} {number}")),
        (op.clone(), "[ab']{0,2}")
            .prop_map(|(op, text)| format!("s {op} '{}'", text.replace('\'', "''"))),
        (op, -3..3i32).prop_map(|(op, number)| format!("il {op} {number}")),
        "[ab]{0,2}".prop_map(|text| format!("startswith(s,'{text}')")),
        Just("s eq null".to_owned()),
        Just("i ne null".to_owned()),
    ]
}

fn expression() -> impl Strategy<Value = String> {
    comparison().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4)
                .prop_map(|parts| format!("({})", parts.join(" and "))),
            prop::collection::vec(inner, 1..4)
                .prop_map(|parts| format!("({})", parts.join(" or "))),
        ]
    })
}

fn is_in_range(term: &PropertyRange, value: &Value) -> bool {
    let item_fits = |item: &Value| match &term.range {
        ValueRange::Null => false,
        ValueRange::Equal(expected) => compare_values(item, expected) == Some(Ordering::Equal),
        ValueRange::Prefix(prefix) => item.as_str().is_some_and(|text| text.starts_with(prefix)),
        ValueRange::Between(low, high) => {
            let above = match low {
                Bound::Unbounded => true,
                Bound::Included(low) => compare_values(item, low).is_some_and(Ordering::is_ge),
                Bound::Excluded(low) => compare_values(item, low).is_some_and(Ordering::is_gt),
            };
            let below = match high {
                Bound::Unbounded => true,
                Bound::Included(high) => compare_values(item, high).is_some_and(Ordering::is_le),
                Bound::Excluded(high) => compare_values(item, high).is_some_and(Ordering::is_lt),
            };
            above && below && !item.is_null()
        }
    };
    match value {
        Value::List(items) if items.is_empty() => term.range == ValueRange::Null,
        Value::List(items) => items.iter().any(item_fits),
        Value::Null => term.range == ValueRange::Null,
        single => item_fits(single),
    }
}

proptest! {
    #[test]
    fn matching_entities_are_in_every_necessary_range(
        text in expression(),
        i in prop::option::of(-3..3i32),
        s in prop::option::of("[ab']{0,2}"),
        il in prop::collection::vec(-3..3i32, 0..3),
    ) {
        let values = entity(&[
            ("i", i.map_or(Value::Null, Value::Int32)),
            ("s", s.map_or(Value::Null, Value::String)),
            ("il", Value::List(il.into_iter().map(Value::Int32).collect())),
        ]);
        let filter = check(&text).unwrap();
        if filter.matches(&|property| values.value(&property.name)) {
            for term in filter.necessary_ranges() {
                prop_assert!(is_in_range(&term, values.value(&term.property.name)), "{} {:?}", text, term);
            }
        }
    }

    #[test]
    fn arbitrary_text_does_not_panic(text in "\\PC*", near in "(s|i|t|eq|ne|and|or|not|startswith|[(),' 0-9.\\\\u+L-]|datetime)*") {
        let _ = check(&text);
        let _ = check(&near);
    }

    #[test]
    fn string_literals_round_trip(text in "[^\\\\]*") {
        let filter = format!("s eq '{}'", text.replace('\'', "''"));
        prop_assume!(filter.len() < MAX_FILTER_BYTES);
        let typed = check(&filter).unwrap();
        match typed.condition() {
            Condition::Compare(_, CompareOp::Eq, Value::String(read)) => prop_assert_eq!(read, &text),
            other => prop_assert!(false, "{:?}", other),
        }
    }
}
