use proptest::prelude::*;

use super::*;
use crate::edm::Property;

const NOW: i64 = 1_420_589_956_172;

fn parse(simple: SimpleType, text: &str) -> Option<Value> {
    parse_value(simple, text, NOW).ok()
}

fn print(value: &Value) -> String {
    let mut out = String::new();
    push_json_value(&mut out, value);
    out
}

#[test]
fn text_is_parsed_by_declared_type() {
    use SimpleType::{Boolean, DateTime, Double, Int32, Single, String};
    for (simple, good) in [
        (
            String,
            vec!["", "5", "SYSUTCDATETIME()", &"a".repeat(51_200)],
        ),
        (Boolean, vec!["true", "false"]),
        (Int32, vec!["5", "-5", "+5", "2147483647", "-2147483648"]),
        (Single, vec!["0", "-1.5", "12345.12345", "1234567", "1e3"]),
        (
            Double,
            vec![
                "0",
                "0.0",
                "2.23e-308",
                "-1.79E308",
                "12345.123456789",
                "1.5d",
                "1f",
            ],
        ),
        (
            DateTime,
            vec![
                "/Date(0)/",
                "/Date(-6847804800000)/",
                "/Date(253402300799999)/",
                "SYSUTCDATETIME()",
            ],
        ),
    ] {
        for text in good {
            assert!(parse(simple, text).is_some(), "{simple:?} {text}");
        }
    }
    for (simple, bad) in [
        (String, vec!["あ".repeat(17_067)]),
        (Boolean, vec!["".into(), "True".into(), "1".into()]),
        (
            Int32,
            ["", "1.0", "1e3", "2147483648", "-2147483649", "a", " 1"]
                .map(Into::into)
                .to_vec(),
        ),
        (
            Single,
            [
                "", "123456.1", "1.123456", ".5", "5.", "NaN", "1e39", "0x1p3",
            ]
            .map(Into::into)
            .to_vec(),
        ),
        (
            Double,
            [
                "",
                "1.80E308",
                "2.22e-308",
                "-1.8e308",
                "NaN",
                "Infinity",
                "a",
                "1,5",
            ]
            .map(Into::into)
            .to_vec(),
        ),
        (
            DateTime,
            [
                "",
                "0",
                "/Date()/",
                "/Date(-)/",
                "/Date(+1)/",
                "Date(0)",
                "/Date(0)",
                "/Date(253402300800000)/",
                "/Date(-6847804800001)/",
                "2015-01-07T00:19:16",
            ]
            .map(Into::into)
            .to_vec(),
        ),
    ] {
        for text in bad {
            assert_eq!(parse(simple, &text), None, "{simple:?} {text}");
        }
    }
    assert_eq!(
        parse(DateTime, "SYSUTCDATETIME()"),
        Some(Value::DateTime(NOW))
    );
}

#[test]
fn numbers_are_printed_without_loss_of_precision() {
    for (number, text) in [
        (0.0, "0"),
        (-0.0, "-0.0"),
        (0.1, "0.1"),
        (1_234_567.0, "1234567"),
        (123_456_789_012_345.0, "123456789012345"),
        (1e15, "1.0E15"),
        (-1.5e16, "-1.5E16"),
        (12_345.123_456_789, "12345.123456789"),
        (1.79e308, "1.79E308"),
        (2.23e-308, "2.23E-308"),
        (1e-14, "0.00000000000001"),
        (1e-15, "1.0E-15"),
        (0.123_456_789_012_345_66, "0.12345678901234566"),
        (1e20, "1.0E20"),
    ] {
        assert_eq!(print(&Value::Double(number)), text);
    }
    for (number, text) in [
        (0.0, "0"),
        (1111.11, "1111.11"),
        (12345.12345, "12345.12345"),
        (1e20, "100000000000000000000"),
    ] {
        assert_eq!(print(&Value::Single(number)), text);
    }
    assert_eq!(print(&Value::Int32(i32::MIN)), "-2147483648");
    assert_eq!(print(&Value::DateTime(-1)), "\"\\/Date(-1)\\/\"");
}

#[test]
fn json_strings_are_escaped() {
    assert_eq!(
        print(&"a/b\"c\\d\u{8}\u{c}\n\r\t\u{1}\u{7f}日".into()),
        "\"a\\/b\\\"c\\\\d\\b\\f\\n\\r\\t\\u0001\\u007f日\""
    );
    assert_eq!(
        print(&Value::List(vec![Value::Null, true.into()])),
        "[null,true]"
    );
}

#[test]
fn each_character_is_escaped_at_each_place_of_a_long_string() {
    for length in [1, 31, 32, 33, 64, 95] {
        for at in 0..length {
            let mut text = "x".repeat(length);
            text.replace_range(at..=at, "/");
            let mut expected = format!("\"{text}\"");
            expected.insert(at + 1, '\\');
            assert_eq!(print(&text.as_str().into()), expected);
        }
    }
}

#[test]
fn renamed_and_widened_properties_keep_their_values() {
    let mut renamed = Property::new("New", SimpleType::Double);
    renamed.alias = Some("Old".into());
    let entity_type =
        EntityType::user_data("T", vec![Property::new("A", SimpleType::String), renamed]);
    let schema = Schema::new("UserData");
    let wire: Properties = [("New", Value::Double(1.5)), ("A", "a".into())]
        .map(|(name, value)| (name.into(), value))
        .into_iter()
        .collect();
    let stored = wire.into_stored_names(&schema, &entity_type);
    assert_eq!(stored.get("Old"), Some(&Value::Double(1.5)));
    assert_eq!(stored.get("New"), None);
    let mut old = stored;
    old.set("Old", Value::Int32(7));
    old.set("Gone", true);
    let read = old.into_wire_names(&schema, &entity_type);
    let names: Vec<_> = read
        .iter()
        .map(|(name, value)| (&**name, value.clone()))
        .collect();
    assert_eq!(names, [("A", "a".into()), ("New", Value::Double(7.0))]);
}

#[test]
fn bytes_that_are_not_stored_properties_are_refused() {
    for bad in [
        "",
        "[]",
        "{\"a\":99999999999}",
        "{\"a\":{\"@d\":\"x\"}}",
        "{\"a\":{\"@d\":1,\"b\":2}}",
    ] {
        assert!(Properties::from_stored(bad.as_bytes()).is_err(), "{bad}");
    }
}

fn scalar() -> impl Strategy<Value = Value> {
    let double = prop::num::f64::NORMAL | prop::num::f64::ZERO;
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i32>().prop_map(Value::Int32),
        double.prop_map(Value::Double),
        double.prop_map(Value::Single),
        any::<String>().prop_map(Value::String),
        any::<i64>().prop_map(Value::DateTime),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            prop::collection::btree_map("[a-zA-Z0-9_]{1,5}", inner, 0..4).prop_map(|members| {
                Value::Complex(
                    members
                        .into_iter()
                        .map(|(name, value)| (name.into(), value))
                        .collect(),
                )
            }),
        ]
    })
}

proptest! {
    #[test]
    fn stored_properties_round_trip(values in prop::collection::btree_map("[a-zA-Z0-9_]{1,5}", value(), 0..5)) {
        let properties: Properties = values.into_iter().map(|(name, value)| (name.into(), value)).collect();
        prop_assert_eq!(Properties::from_stored(&properties.to_stored()).unwrap(), properties);
    }

    #[test]
    fn printed_numbers_parse_to_the_same_number(number in prop::num::f64::NORMAL, integer in any::<i64>()) {
        prop_assert_eq!(print(&Value::Double(number)).parse(), Ok(number));
        prop_assert_eq!(print(&Value::Single(number)).parse(), Ok(number));
        let mut text = String::new();
        push_int(&mut text, integer);
        prop_assert_eq!(text, integer.to_string());
    }

    #[test]
    fn printed_values_are_valid_json(value in value()) {
        prop_assert!(serde_json::from_str::<serde_json::Value>(&print(&value)).is_ok());
    }

    #[test]
    fn printed_strings_round_trip(text in any::<String>()) {
        let printed = print(&Value::String(text.clone()));
        prop_assert_eq!(serde_json::from_str::<String>(&printed).unwrap(), text);
    }

    #[test]
    fn arbitrary_input_does_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), text in "\\PC*") {
        let _ = Properties::from_stored(&bytes);
        for simple in [SimpleType::Single, SimpleType::Double, SimpleType::DateTime, SimpleType::Int32] {
            let _ = parse(simple, &text);
        }
    }
}
