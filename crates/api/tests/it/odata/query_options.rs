//! Query options of lists: `$filter`, `$orderby`, `$top`, `$skip`, `$inlinecount`, `$select`, `q`, `$callback`.

use personium_testkit::{TestUnit, refused};
use serde_json::{Value, json};

use super::{create_all, get_json, ids, odata_unit, typed_unit, unit_with_entities};

/// Checks that a list below the collection has these ids in any order.
async fn expect_ids(unit: &TestUnit, query: &str, expected: &[&str]) {
    let mut found = ids(unit, query).await;
    found.sort();
    assert_eq!(found, expected, "{query}");
}

#[tokio::test]
async fn filter_selects_by_typed_comparison() {
    let unit = typed_unit().await;
    create_all(
        &unit,
        "T",
        json!([
            {"__id": "1", "s": "apple pie", "b": true, "i": 1, "f": 1.5, "d": -2.5, "t": "/Date(1000)/", "l": ["x", "y"], "n": 1},
            {"__id": "2", "s": "Banana", "b": false, "i": 20, "f": 0, "d": 1e20, "t": "/Date(2000)/", "l": ["y"], "n": 2},
            {"__id": "3", "s": "", "i": -3, "l": []},
            {"__id": "4"},
        ]),
    )
    .await;
    for (filter, expected) in [
        ("s eq 'Banana'", &["2"][..]),
        ("s eq 'banana'", &[]),
        ("s eq ''", &["3"]),
        ("s eq null", &["4"]),
        ("s ne null", &["1", "2", "3"]),
        ("s ne 'Banana'", &["1", "3", "4"]),
        ("s gt 'B'", &["1", "2"]),
        ("startswith(s,'app')", &["1"]),
        ("startswith(s,'App')", &[]),
        ("startswith(s,'')", &["1", "2", "3"]),
        ("substringof('PIE',s)", &["1"]),
        ("substringof('pi',s)", &[]),
        ("b eq true", &["1"]),
        ("b ne true", &["2", "3", "4"]),
        ("i gt 1", &["2"]),
        ("i ge 1", &["1", "2"]),
        ("i lt 1", &["3"]),
        ("i le 1", &["1", "3"]),
        ("i eq 20L", &["2"]),
        ("f eq 1.5", &["1"]),
        ("d lt 0", &["1"]),
        ("d gt 1e19", &["2"]),
        ("t eq 1000", &["1"]),
        ("t gt datetime'1970-01-01T00:00:01'", &["2"]),
        ("t le datetimeoffset'1970-01-01T00:00:02Z'", &["1", "2"]),
        ("l eq 'y'", &["1", "2"]),
        ("l eq null", &["3", "4"]),
        ("l ne 'x'", &["2", "3", "4"]),
        ("n eq 2", &["2"]),
        ("i eq 1 or i eq 20 and b eq true", &["1"]),
        ("(i eq 1 or i eq 20) and b eq false", &["2"]),
        ("__id eq '3'", &["3"]),
        ("__published gt 0", &["1", "2", "3", "4"]),
    ] {
        expect_ids(&unit, &format!("T?$filter={filter}"), expected).await;
    }
    // A quote in a literal is doubled.
    create_all(&unit, "T", json!([{"__id": "5", "s": "it's"}])).await;
    expect_ids(&unit, "T?$filter=s eq 'it''s'", &["5"]).await;
}

#[tokio::test]
async fn invalid_filters_are_refused() {
    let unit = typed_unit().await;
    for (filter, code) in [
        ("", "OD-0003"),
        ("s", "OD-0043"),
        ("s eq", "OD-0003"),
        ("eq eq eq", "OD-0045"),
        ("'a' eq s", "OD-0003"),
        ("s eq s", "OD-0003"),
        ("s EQ 'a'", "OD-0003"),
        ("s eq 'a", "OD-0003"),
        ("s eq 'a' and", "OD-0003"),
        ("c eq null", "OD-0003"),
        ("c/city eq 'a'", "OD-0045"),
        ("a.b eq 'a'", "OD-0003"),
        ("none eq 'a'", "OD-0045"),
        ("_B eq 'a'", "OD-0045"),
        ("i add 1 eq 2", "OD-0043"),
        ("not (i eq 1)", "OD-0043"),
        ("endswith(s,'a')", "OD-0044"),
        ("tolower(s) eq 'a'", "OD-0044"),
        ("fly(s)", "OD-0003"),
        ("startswith(s)", "OD-0003"),
        ("startswith(i,'a')", "OD-0046"),
        ("startswith(s,1)", "OD-0046"),
        ("s eq 1", "OD-0046"),
        ("b eq 'true'", "OD-0046"),
        ("i eq 'a'", "OD-0046"),
        ("i eq 1.0", "OD-0046"),
        ("i eq 99999999999", "OD-0047"),
        ("f eq 123456", "OD-0047"),
        ("t eq 'a'", "OD-0046"),
        ("t eq datetime'x'", "OD-0003"),
        ("i gt null", "OD-0003"),
        ("b lt true", "OD-0003"),
        ("s eq '%5Cu00'", "OD-0048"),
        ("%00", "OD-0003"),
    ] {
        let response = get_json(&unit, &format!("T?$filter={filter}")).await;
        assert_eq!(response.outcome(), refused(400, code), "{filter}");
    }
}

#[tokio::test]
async fn orderby_sorts_nulls_last_in_both_directions() {
    let unit = typed_unit().await;
    create_all(
        &unit,
        "T",
        json!([
            {"__id": "1", "i": 10, "s": "a"}, {"__id": "2", "i": 9, "s": "B"}, {"__id": "3", "s": "b"},
            {"__id": "4", "i": 9},
        ]),
    )
    .await;
    for (orderby, expected) in [
        ("i,__id desc", ["4", "2", "1", "3"]),
        ("i desc,__id", ["1", "2", "4", "3"]),
        ("s asc", ["2", "1", "3", "4"]),
        ("s desc", ["3", "1", "2", "4"]),
        ("__id desc", ["4", "3", "2", "1"]),
        ("unknown,__id", ["1", "2", "3", "4"]),
    ] {
        let found = ids(&unit, &format!("T?$orderby={orderby}")).await;
        assert_eq!(found, expected, "{orderby}");
    }
    for (orderby, code) in [
        ("", "OD-0015"),
        ("i ASC", "OD-0015"),
        ("i sideways", "OD-0015"),
        ("i,", "OD-0015"),
        (",", "OD-0015"),
        ("'i'", "OD-0003"),
        ("l", "OD-0040"),
    ] {
        let response = get_json(&unit, &format!("T?$orderby={orderby}")).await;
        assert_eq!(response.outcome(), refused(400, code), "{orderby}");
    }
}

#[tokio::test]
async fn top_skip_and_inlinecount_page_through_a_list() {
    let unit = odata_unit(|_| {}).await;
    for number in 0..30 {
        create_all(&unit, "A", json!([{"__id": format!("{number:02}")}])).await;
    }
    let page = async |query: &str| {
        let response = get_json(&unit, &format!("A?$orderby=__id&{query}")).await;
        let body = response.expect(200).json();
        let list = body["d"]["results"].as_array().unwrap().clone();
        let first = list.first().map(|e| e["__id"].clone());
        (list.len(), first, body["d"]["__count"].clone())
    };
    for (query, length, first, count) in [
        ("", 25, Some("00"), Value::Null),
        ("$top=3&$skip=5", 3, Some("05"), Value::Null),
        ("$top=100", 30, Some("00"), Value::Null),
        ("$skip=28&$inlinecount=allpages", 2, Some("28"), json!("30")),
        ("$top=0&$inlinecount=allpages", 0, None, json!("30")),
        (
            "$top=5&$top=x&$inlinecount=none",
            5,
            Some("00"),
            Value::Null,
        ),
        ("$skip=100000&$inlinecount=allpages", 0, None, json!("30")),
        ("$skiptoken=x&other=1", 25, Some("00"), Value::Null),
    ] {
        let expected = (length, first.map(Value::from), count);
        assert_eq!(page(query).await, expected, "{query}");
    }
    for (query, code) in [
        ("$top=-1", "OD-0029"),
        ("$top=10001", "OD-0029"),
        ("$top=x", "OD-0036"),
        ("$top=", "OD-0036"),
        ("$top=1.0", "OD-0036"),
        ("$top=99999999999999999999", "OD-0036"),
        ("$skip=-1", "OD-0029"),
        ("$skip=100001", "OD-0029"),
        ("$skip=x", "OD-0036"),
        ("$inlinecount=", "OD-0013"),
        ("$inlinecount=all", "OD-0013"),
    ] {
        let response = get_json(&unit, &format!("A?{query}")).await;
        assert_eq!(response.outcome(), refused(400, code), "{query}");
    }
}

#[tokio::test]
async fn select_limits_the_properties() {
    let unit = typed_unit().await;
    create_all(
        &unit,
        "T",
        json!([{"__id": "1", "s": "a", "i": 1, "c": {"city": "x"}}]),
    )
    .await;
    let always = ["__id", "__published", "__updated"];
    for (select, selected) in [
        ("s", &["s"][..]),
        ("s,i", &["i", "s"]),
        ("unknown", &[]),
        ("__id", &[]),
    ] {
        for path in ["T", "T('1')"] {
            let response = get_json(&unit, &format!("{path}?$select={select}")).await;
            let results = response.expect(200).results();
            let entity = results.get(0).unwrap_or(&results);
            let mut names: Vec<&str> = entity
                .as_object()
                .unwrap()
                .keys()
                .map(String::as_str)
                .filter(|name| *name != "__metadata" && !always.contains(name))
                .collect();
            names.sort_unstable();
            assert_eq!(names, selected, "{path} {select}");
            assert!(always.iter().all(|name| entity.get(name).is_some()));
        }
    }
    let all = get_json(&unit, "T('1')?$select=*").await.results();
    assert_eq!(all, get_json(&unit, "T('1')").await.results());
    for select in ["", ",", "s,,i", "'s'"] {
        let response = get_json(&unit, &format!("T?$select={select}")).await;
        assert_eq!(response.outcome(), refused(400, "OD-0017"), "{select}");
    }
}

#[tokio::test]
async fn full_text_query_matches_whole_words() {
    let unit = typed_unit().await;
    create_all(
        &unit,
        "T",
        json!([
            {"__id": "1", "s": "A fine day", "i": 42}, {"__id": "2", "c": {"city": "Fine Town"}},
            {"__id": "3", "l": ["東京都", "x"]},
        ]),
    )
    .await;
    for (query, expected) in [
        ("fine", &["1", "2"][..]),
        ("fine day", &["1"]),
        ("fin", &[]),
        ("42", &["1"]),
        ("京都", &["3"]),
        ("fine&$filter=i eq 42", &["1"]),
        ("-", &[]),
    ] {
        expect_ids(&unit, &format!("T?q={query}"), expected).await;
    }
    for query in ["", &"x".repeat(256)] {
        let response = get_json(&unit, &format!("T?q={query}")).await;
        assert_eq!(response.outcome(), refused(400, "OD-0029"), "{query}");
    }
}

#[tokio::test]
async fn callback_wraps_a_list() {
    let unit = unit_with_entities(json!([{"__id": "1"}])).await;
    let response = get_json(&unit, "A?$callback=f").await.expect(200);
    let content_type = response.header("content-type");
    assert_eq!(content_type, Some("text/javascript;charset=utf-8"));
    let text = response.text();
    assert!(
        text.starts_with("/**/f({\"d\":") && text.ends_with(");"),
        "{text}"
    );
}

#[tokio::test]
async fn callback_that_is_no_function_name_is_refused() {
    let unit = unit_with_entities(json!([{"__id": "1"}])).await;
    for bad in [
        "",
        "alert(1)//",
        "a%20b",
        "a.",
        "%3Cscript%3E",
        "a%5B0%5D",
        "this",
        &"x".repeat(129),
    ] {
        let response = get_json(&unit, &format!("A?$callback={bad}")).await;
        assert_eq!(
            response.outcome(),
            personium_testkit::refused(400, "OD-0052"),
            "{bad}"
        );
    }
    for path in [
        "__ctl/Cell?$callback=a(",
        "c/__ctl/Role?$callback=a(",
        "c/__ctl/Account('x')/_Role?$callback=a(",
        "c/__ctl/Account('x')/$links/_Role?$callback=a(",
    ] {
        let outcome = unit.admin_outcome("GET", path).await;
        assert_eq!(
            outcome,
            personium_testkit::refused(400, "OD-0052"),
            "{path}"
        );
    }
}
