//! Pages of lists for clients that follow the OData 2.0 documents.

use personium_model::Settings;
use personium_testkit::{TestUnit, refused, success};
use serde_json::{Value, json};

use super::standard::{get, get_url};
use super::{create_all, declare_property, get_json, odata_unit};

/// The values of a property on this and all following pages; at most `max` pages.
async fn follow(unit: &TestUnit, path: &str, name: &str, max: usize) -> Vec<Value> {
    let mut found = Vec::new();
    let mut path = format!("c/b/od/{}", path.replace(' ', "%20"));
    for _ in 0..max {
        let page = get_url(unit, &path).await.expect(200).json();
        let results = page["d"]["results"].as_array().unwrap();
        found.extend(results.iter().map(|entity| entity[name].clone()));
        let Some(next) = page["d"]["__next"].as_str() else {
            return found;
        };
        next.strip_prefix("http://unit.example/")
            .unwrap()
            .clone_into(&mut path);
    }
    found.push(Value::from("more pages"));
    found
}

/// A unit with pages of three entities.
fn small_pages(settings: &mut Settings) {
    settings.odata.top_default = 3;
}

#[tokio::test]
async fn full_page_links_to_the_next_one() {
    let unit = odata_unit(small_pages).await;
    declare_property(&unit, "A", "p", "Edm.String").await;
    declare_property(&unit, "A", "d", "Edm.Double").await;
    unit.create("c/b/od/A", r#"{"__id":"source"}"#).await;
    for n in 0..8 {
        let text = if n % 2 == 0 {
            Value::Null
        } else {
            json!(format!("v'&{}", n / 4))
        };
        let entity = json!({"__id": format!("e {n}"), "n": n, "p": text, "d": n % 3, "g": "x"});
        unit.create("c/b/od/A", &entity.to_string()).await;
        unit.create(
            "c/b/od/A('source')/_B",
            &json!({"__id": format!("b{n}"), "n": n}).to_string(),
        )
        .await;
    }
    let all: Vec<Value> = (0..8).map(Value::from).collect();
    let filter = "$filter=g eq 'x'";
    let number = |list: &[i32]| -> Vec<Value> { list.iter().map(|n| Value::from(*n)).collect() };
    for (query, expected) in [
        (format!("A?{filter}"), all.clone()),
        (
            format!("A?{filter}&$inlinecount=allpages&$expand=_B"),
            all.clone(),
        ),
        (
            format!("A?{filter}&$orderby=n desc"),
            number(&[7, 6, 5, 4, 3, 2, 1, 0]),
        ),
        (
            format!("A?{filter}&$orderby=p"),
            number(&[1, 3, 5, 7, 0, 2, 4, 6]),
        ),
        (
            format!("A?{filter}&$orderby=p desc,n desc"),
            number(&[7, 5, 3, 1, 6, 4, 2, 0]),
        ),
        (
            format!("A?{filter}&$orderby=d"),
            number(&[0, 3, 6, 1, 4, 7, 2, 5]),
        ),
        (format!("A?{filter}&$skip=2"), number(&[2, 3, 4, 5, 6, 7])),
        ("A?$filter=d ge 1".to_owned(), number(&[1, 2, 4, 5, 7])),
        ("A?$filter=d eq 1".to_owned(), number(&[1, 4, 7])),
        ("A?q=x".to_owned(), all.clone()),
        ("A('source')/_B".to_owned(), all.clone()),
        (
            "A('source')/_B?$orderby=n desc&$filter=n lt 7".to_owned(),
            number(&[6, 5, 4, 3, 2, 1, 0]),
        ),
    ] {
        assert_eq!(follow(&unit, &query, "n", 4).await, expected, "{query}");
    }
    let counted = get(&unit, &format!("A?{filter}&$inlinecount=allpages"))
        .await
        .json();
    assert_eq!(counted["d"]["__count"], "8");
    let next = counted["d"]["__next"].as_str().unwrap().to_owned();
    let second = get_url(&unit, next.strip_prefix("http://unit.example/").unwrap())
        .await
        .json();
    assert_eq!(second["d"]["__count"], "8", "{second}");
}

#[tokio::test]
async fn page_without_more_entities_has_no_link() {
    let unit = odata_unit(small_pages).await;
    create_all(
        &unit,
        "A",
        json!([{"__id": "1"}, {"__id": "2"}, {"__id": "3"}]),
    )
    .await;
    for query in [
        "A",
        "A?$top=2",
        "A?$top=0",
        "A?$skip=1",
        "A?$filter=__id eq '1'",
    ] {
        let page = get(&unit, query).await.json();
        assert_eq!(page["d"].get("__next"), None, "{query} {page}");
    }
    create_all(&unit, "A", json!([{"__id": "4"}])).await;
    let page = get(&unit, "A").await.json();
    assert!(page["d"]["__next"].is_string(), "{page}");
    // The original unit never has one, and ignores other values of the option.
    let original = get_json(&unit, "A?$skiptoken=13S35K")
        .await
        .expect(200)
        .json();
    assert_eq!(original["d"].get("__next"), None);
    for query in ["A?$skiptoken=13S35K", "A?$skiptoken="] {
        assert_eq!(
            get(&unit, query).await.outcome(),
            refused(400, "OD-0029"),
            "{query}"
        );
    }
}

#[tokio::test]
async fn pages_stay_complete_while_entities_are_inserted_and_deleted() {
    let unit = odata_unit(small_pages).await;
    for n in [10, 20, 30, 40, 50, 60, 70] {
        create_all(&unit, "A", json!([{"__id": n.to_string(), "n": n}])).await;
    }
    for query in ["A", "A?$orderby=n", "A?$orderby=n&$filter=n gt 0"] {
        let first = get(&unit, query).await.json();
        let next = first["d"]["__next"].as_str().unwrap().to_owned();
        // Before the position, after it, and the entity at the position itself.
        create_all(
            &unit,
            "A",
            json!([{"__id": "05", "n": 5}, {"__id": "45", "n": 45}]),
        )
        .await;
        for id in ["10", "30"] {
            let path = format!("c/b/od/A('{id}')");
            assert_eq!(unit.admin_outcome("DELETE", &path).await, success(204));
        }
        let rest = next.strip_prefix("http://unit.example/c/b/od/").unwrap();
        let rest = follow(&unit, rest, "n", 4).await;
        assert_eq!(rest, [40, 45, 50, 60, 70].map(Value::from), "{query}");
        for id in ["05", "45"] {
            let path = format!("c/b/od/A('{id}')");
            assert_eq!(unit.admin_outcome("DELETE", &path).await, success(204));
        }
        create_all(
            &unit,
            "A",
            json!([{"__id": "10", "n": 10}, {"__id": "30", "n": 30}]),
        )
        .await;
    }
}

#[tokio::test]
async fn long_values_leave_the_link_short() {
    let unit = odata_unit(small_pages).await;
    for n in 0..5 {
        let text = format!("{}{n}", "x".repeat(3_000));
        create_all(
            &unit,
            "A",
            json!([{"__id": n.to_string(), "n": n, "t": text}]),
        )
        .await;
    }
    let expected: Vec<Value> = [4, 3, 2, 1, 0].map(Value::from).to_vec();
    assert_eq!(follow(&unit, "A?$orderby=t desc", "n", 2).await, expected);
    let page = get(&unit, "A?$orderby=t").await.json();
    assert!(page["d"]["__next"].as_str().unwrap().len() < 200);
}

#[tokio::test]
async fn atom_has_entity_tags_and_links_to_pages() {
    let unit = odata_unit(small_pages).await;
    for n in 0..4 {
        create_all(&unit, "A", json!([{"__id": n.to_string()}])).await;
    }
    let atom = async |version: &str| {
        let request = unit.admin_request("GET", "c/b/od/A?$orderby=__id");
        let request = request.header("accept", "application/atom+xml");
        request
            .header("dataserviceversion", version)
            .send()
            .await
            .expect(200)
            .text()
    };
    let standard = atom("2.0").await;
    assert_eq!(
        standard.matches("<entry m:etag=\"W/&quot;1-").count(),
        3,
        "{standard}"
    );
    assert!(standard.contains("href=\"A?$orderby=__id\""), "{standard}");
    let (_, next) = standard.split_once("<link rel=\"next\" href=\"").unwrap();
    let next = next.split_once('"').unwrap().0.replace("&amp;", "&");
    let page = get_url(&unit, next.strip_prefix("http://unit.example/").unwrap())
        .await
        .json();
    assert_eq!(page["d"]["results"][0]["__id"], "3", "{page}");
    let original = atom("").await;
    assert!(
        !original.contains("m:etag") && !original.contains("rel=\"next\""),
        "{original}"
    );
}
