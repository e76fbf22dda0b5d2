//! Numbers on their way in and out: every digit is kept, or the number is refused.

use personium_testkit::{TestUnit, refused, success};
use serde_json::json;

use super::{create_all, declare_property, get_json, ids, odata_unit, typed_unit};

/// The text of a member of an entity, as the response has it.
async fn member(unit: &TestUnit, path: &str, name: &str) -> String {
    let text = get_json(unit, path).await.expect(200).text();
    let start = format!("\"{name}\":");
    assert!(text.contains(&start), "{name} in {text}");
    let (_, value) = text.split_once(&start).unwrap();
    let end = value.find([',', '}', ']']).unwrap();
    value[..end].to_owned()
}

async fn merge(unit: &TestUnit, path: &str, body: &str) -> u16 {
    let request = unit.admin_request("MERGE", &format!("c/b/od/{path}"));
    request.body(body).send().await.status.as_u16()
}

/// Numbers as sent and as they come back.
const KEPT: &[(&str, &str)] = &[
    ("0", "0"),
    ("-0", "-0.0"),
    ("-0.0", "-0.0"),
    ("1.0", "1"),
    ("0.1", "0.1"),
    ("1e3", "1000"),
    ("9007199254740991", "9.007199254740991E15"),
    ("9007199254740992", "9.007199254740992E15"),
    ("9007199254740993", "9007199254740993"),
    ("-9007199254740993", "-9007199254740993"),
    ("123456789012345678", "123456789012345678"),
    ("9223372036854775807", "9223372036854775807.0"),
    ("18446744073709551616", "18446744073709551616.0"),
    ("18446744073709551617", "18446744073709551617.0"),
    ("0.12345678901234567890", "0.12345678901234567890"),
    ("12345678901234.56789", "12345678901234.56789"),
    ("1.00000000000000000001e5", "1.00000000000000000001e5"),
    ("1.79e308", "1.79E308"),
    ("2.23e-308", "2.23E-308"),
];

#[tokio::test]
async fn undeclared_numbers_keep_every_digit() {
    let unit = odata_unit(|_| {}).await;
    for (at, (sent, kept)) in KEPT.iter().enumerate() {
        let body = format!(r#"{{"__id":"{at}","n":{sent}}}"#);
        let created = unit.post("c/b/od/A", &body).await.expect(201).text();
        assert!(
            created.contains(&format!("\"n\":{kept}")),
            "{sent}: {created}"
        );
        let path = format!("A('{at}')");
        assert_eq!(member(&unit, &path, "n").await, *kept, "{sent}");
        let text = format!(r#"{{"n":"{sent}"}}"#);
        assert_eq!(merge(&unit, &path, &text).await, 204, "{sent}");
        assert_eq!(member(&unit, &path, "n").await, *kept, "{sent}");
    }
}

#[tokio::test]
async fn numbers_that_cannot_be_kept_are_refused() {
    let unit = odata_unit(|_| {}).await;
    declare_property(&unit, "A", "d", "Edm.Double").await;
    for number in [
        "1e309".to_owned(),
        "-1e400".to_owned(),
        "1e-400".to_owned(),
        "1e99999999999999999999".to_owned(),
        "1".repeat(500),
        format!("0.{}", "3".repeat(500)),
    ] {
        for name in ["d", "n"] {
            let body = format!(r#"{{"{name}":{number}}}"#);
            let found = unit.post("c/b/od/A", &body).await.outcome();
            assert_eq!(found, refused(400, "OD-0006"), "{name} {number}");
        }
    }
    assert!(ids(&unit, "A").await.is_empty());
}

#[tokio::test]
async fn numbers_in_lists_and_complex_properties_keep_every_digit() {
    let unit = typed_unit().await;
    let list = json!({"Name": "dl", "_EntityType.Name": "T", "Type": "Edm.Double", "CollectionKind": "List"});
    super::declare(&unit, list).await;
    let double = json!({"Name": "area", "_ComplexType.Name": "Place", "Type": "Edm.Double"});
    unit.create("c/b/od/$metadata/ComplexTypeProperty", &double.to_string())
        .await;
    let body = r#"{"__id":"1","d":9007199254740993,"dl":[9007199254740993,0.1,null],
        "c":{"city":9007199254740993,"area":0.12345678901234567890},"s":1.10}"#;
    unit.create("c/b/od/T", body).await;
    let expect = async || {
        let text = get_json(&unit, "T('1')").await.text();
        for part in [
            r#""d":9007199254740993"#,
            r#""dl":[9007199254740993,0.1,null]"#,
            r#""area":0.12345678901234567890"#,
            r#""city":"9007199254740993""#,
            r#""s":"1.10""#,
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    };
    expect().await;
    assert_eq!(
        merge(&unit, "T('1')", r#"{"b":true,"c":{"zip":5}}"#).await,
        204
    );
    expect().await;
    let atom = unit
        .admin_request("GET", "c/b/od/T('1')")
        .send()
        .await
        .text();
    for part in [
        "<d:d m:type=\"Edm.Double\">9007199254740993.0</d:d>",
        "<d:element>9007199254740993.0</d:element>",
    ] {
        assert!(atom.contains(part), "{part} in {atom}");
    }
}

#[tokio::test]
async fn numbers_are_filtered_and_ordered_by_all_digits() {
    for is_declared in [true, false] {
        let unit = odata_unit(|_| {}).await;
        if is_declared {
            declare_property(&unit, "A", "n", "Edm.Double").await;
        }
        for (id, number) in [
            ("c", "9007199254740993"),
            ("a", "9007199254740992"),
            ("d", "9007199254740994"),
            ("b", "9007199254740992.5"),
            ("e", "-0"),
            ("f", "9007199254740991.6"),
        ] {
            let body = format!(r#"{{"__id":"{id}","n":{number}}}"#);
            unit.create("c/b/od/A", &body).await;
        }
        for (query, expected) in [
            ("$filter=n eq 9007199254740993", &["c"][..]),
            ("$filter=n eq 9007199254740993L", &["c"]),
            ("$filter=n eq 9007199254740992", &["a"]),
            ("$filter=n eq 9007199254740992.0", &["a"]),
            ("$filter=n eq 9007199254740992.50", &["b"]),
            ("$filter=n gt 9007199254740992&$orderby=n", &["b", "c", "d"]),
            ("$filter=n ge 9007199254740993&$orderby=n", &["c", "d"]),
            (
                "$filter=n lt 9007199254740993&$orderby=n",
                &["e", "f", "a", "b"],
            ),
            ("$filter=n eq 0", &["e"]),
            ("$filter=n eq -0.0", &["e"]),
            ("$orderby=n", &["e", "f", "a", "b", "c", "d"]),
            ("$orderby=n desc", &["d", "c", "b", "a", "f", "e"]),
            ("$orderby=n desc&$top=2", &["d", "c"]),
            ("$orderby=n&$top=2", &["e", "f"]),
            ("$orderby=n&$skip=1&$top=1", &["f"]),
            (
                "$filter=n ge 9007199254740992&$orderby=n&$top=2",
                &["a", "b"],
            ),
            ("$filter=n le 9007199254740991.7&$orderby=n", &["e", "f"]),
            ("q=9007199254740993", &["c"]),
        ] {
            assert_eq!(ids(&unit, &format!("A?{query}")).await, expected, "{query}");
            let counted = get_json(&unit, &format!("A?{query}&$inlinecount=allpages")).await;
            if !query.contains("$top") && !query.contains("$skip") {
                let count = counted.json()["d"]["__count"].as_str().unwrap().to_owned();
                assert_eq!(count, expected.len().to_string(), "{query}");
            }
        }
        assert_eq!(merge(&unit, "A('c')", r#"{"n":5}"#).await, 204);
        assert_eq!(ids(&unit, "A?$filter=n eq 9007199254740993").await, [""; 0]);
        assert_eq!(ids(&unit, "A?$filter=n eq 5").await, ["c"]);
        assert_eq!(
            unit.admin_outcome("DELETE", "c/b/od/A('b')").await,
            success(204)
        );
        assert_eq!(ids(&unit, "A?$orderby=n").await, ["e", "c", "f", "a", "d"]);
    }
}

#[tokio::test]
async fn numbers_with_type_suffixes_are_compared() {
    let unit = typed_unit().await;
    create_all(
        &unit,
        "T",
        json!([{"__id": "1", "i": 5, "f": 1.5, "d": 1.5, "n": 1.5}, {"__id": "2", "i": 6, "f": 2, "d": 2, "n": 2}]),
    )
    .await;
    let count = async |filter: &str, version: Option<&str>| {
        let path = format!(
            "c/b/od/T?$format=json&$filter={}",
            filter.replace(' ', "%20")
        );
        let mut request = unit.admin_request("GET", &path);
        if let Some(version) = version {
            request = request.header("maxdataserviceversion", version);
        }
        let response = request.send().await;
        match response.status.as_u16() {
            200 => Ok(response.results().as_array().unwrap().len()),
            _ => Err(response.outcome()),
        }
    };
    let mismatch = || Err(refused(400, "OD-0046"));
    for (filter, original, standard) in [
        ("d eq 1.5d", Ok(1), Ok(1)),
        ("d eq 1.5D", Ok(1), Ok(1)),
        ("n eq 2d", Ok(1), Ok(1)),
        ("n gt 15e-1d", Ok(1), Ok(1)),
        ("f eq 1.5d", Ok(1), Ok(1)),
        ("d ge 2L", Ok(1), Ok(1)),
        ("n ge 2l", Ok(1), Ok(1)),
        ("f ge 2L", Ok(1), Ok(1)),
        ("i eq 5L", Ok(1), Ok(1)),
        ("i eq 5l", Ok(1), Ok(1)),
        // The recorded answers of the original unit refuse these.
        ("d eq 1.5f", mismatch(), Ok(1)),
        ("d eq 1.5F", mismatch(), Ok(1)),
        ("n eq 1.5m", mismatch(), Ok(1)),
        ("n eq 2M", mismatch(), Ok(1)),
        ("f eq 1.5f", mismatch(), Ok(1)),
        ("i eq 5.0", mismatch(), Ok(1)),
        ("i eq 5m", mismatch(), Ok(1)),
        ("i lt 5.5d", mismatch(), Ok(1)),
        ("i ge 5f", mismatch(), Ok(2)),
        // Never numbers.
        ("s eq 1.5d", mismatch(), mismatch()),
        ("b eq 1m", mismatch(), mismatch()),
        ("t eq 1.5d", mismatch(), mismatch()),
        ("d eq '1.5'", mismatch(), mismatch()),
    ] {
        assert_eq!(count(filter, None).await, original, "{filter}");
        assert_eq!(count(filter, Some("2.0")).await, standard, "{filter}");
    }
}

#[tokio::test]
async fn numbers_for_texts_of_control_objects_are_kept_as_sent() {
    let unit = odata_unit(|_| {}).await;
    let body = r#"{"Name":"a","Cell":12345678901234567890.10}"#;
    unit.create("c/__ctl/Account", body).await;
    let found = unit.admin_request("GET", "c/__ctl/Account('a')?$format=json");
    let found = found.send().await.results();
    assert_eq!(found["Cell"], "12345678901234567890.10");
    let default = r#"{"Name":"big","_EntityType.Name":"A","Type":"Edm.Double","DefaultValue":9007199254740993}"#;
    unit.create("c/b/od/$metadata/Property", default).await;
    unit.create("c/b/od/A", r#"{"__id":"1"}"#).await;
    assert_eq!(member(&unit, "A('1')", "big").await, "9007199254740993");
}

#[tokio::test]
async fn search_finds_integers_of_a_property_that_became_a_double() {
    let unit = odata_unit(|_| {}).await;
    declare_property(&unit, "A", "i", "Edm.Int32").await;
    create_all(
        &unit,
        "A",
        json!([{"__id": "x", "i": 5}, {"__id": "y", "i": 123_456_789}]),
    )
    .await;
    let changed = json!({"Name": "i", "_EntityType.Name": "A", "Type": "Edm.Double"});
    let put = unit.admin_request(
        "PUT",
        "c/b/od/$metadata/Property(Name='i',_EntityType.Name='A')",
    );
    assert_eq!(put.json(&changed).send().await.status, 204);
    for (query, id) in [
        ("q=5", "x"),
        ("q=123456789", "y"),
        ("$filter=i eq 5.0", "x"),
    ] {
        assert_eq!(ids(&unit, &format!("A?{query}")).await, [id], "{query}");
    }
}
