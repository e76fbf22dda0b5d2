//! OData clients of others: pyodata (Python), OpenUI5 in a browser, Apache Olingo 2 (Java).

use std::path::Path;

use personium_testkit::ProcessUnit;
use serde_json::{Value, json};

use crate::external_programs::{is_installed, run_java, run_node, run_python};

/// The OData collection of the tests.
const LIBRARY: &str = "ours/box/library";
/// The browser of Debian.
const BROWSER: &str = "/usr/bin/chromium";

/// Creates the collection with the entity types `Author` (`name`) and `Book` (`title`, `pages`, `price`, `printed`); an
/// author has many books. Returns the input of a client.
async fn create_library(unit: &ProcessUnit) -> Value {
    unit.create_cell_with_owner("ours").await;
    unit.create_collection(LIBRARY, "odata").await;
    let schema = format!("{LIBRARY}/$metadata");
    for name in ["Author", "Book"] {
        unit.create_entity_type(LIBRARY, name).await;
    }
    for (of, name, edm_type) in [
        ("Author", "name", "Edm.String"),
        ("Book", "title", "Edm.String"),
        ("Book", "pages", "Edm.Int32"),
        ("Book", "price", "Edm.Double"),
        ("Book", "printed", "Edm.DateTime"),
    ] {
        let property = json!({"Name": name, "_EntityType.Name": of, "Type": edm_type});
        let path = format!("{schema}/Property");
        unit.create(&path, &property.to_string()).await;
    }
    relate(unit, &schema).await;
    let service = format!("{}box/library/", unit.cell_url("ours"));
    let token = unit.access_token("ours").await;
    json!({"service": service, "token": token, "browser": BROWSER})
}

async fn relate(unit: &ProcessUnit, schema: &str) {
    for (end, of, multiplicity) in [("books", "Author", "0..1"), ("author", "Book", "*")] {
        let end = json!({"Name": end, "_EntityType.Name": of, "Multiplicity": multiplicity});
        let path = format!("{schema}/AssociationEnd");
        unit.create(&path, &end.to_string()).await;
    }
    let author = "AssociationEnd(Name='books',_EntityType.Name='Author')";
    let book = "AssociationEnd(Name='author',_EntityType.Name='Book')";
    let uri = format!("{}box/library/$metadata/{book}", unit.cell_url("ours"));
    let links = format!("{schema}/{author}/$links/_AssociationEnd");
    unit.post(&links, &json!({"uri": uri}).to_string())
        .await
        .expect(204);
}

#[tokio::test]
async fn pyodata_reads_metadata_changes_entities_queries_and_sends_batches() {
    let unit = crate::unit().start();
    let input = create_library(&unit).await;
    run_python("pyodata_client.py", &input);
}

#[tokio::test]
async fn olingo_reads_metadata_changes_entities_queries_and_sends_batches() {
    if !is_installed("java") {
        return;
    }
    for media_type in ["application/json", "application/atom+xml"] {
        let unit = crate::unit().start();
        let input = create_library(&unit).await;
        let text = |name: &str| input[name].as_str().unwrap().to_owned();
        let arguments = [text("service"), text("token"), media_type.to_owned()];
        run_java("olingo", "OlingoClient.java", &arguments);
    }
}

#[tokio::test]
async fn ui5_works_in_a_browser_with_and_without_batch() {
    if !is_installed("chromium") || !Path::new(BROWSER).exists() {
        return;
    }
    let changed = json!([
        ["Book 1", 111],
        ["Book 2", 222],
        ["Book 4", 400],
        ["Six", null]
    ]);
    for use_batch in [false, true] {
        let unit = crate::unit().start();
        let mut input = create_library(&unit).await;
        input["useBatch"] = use_batch.into();
        let found = run_node("ui5_client.mjs", &input);
        let mut expected = json!({
            "types": ["Author", "Book"],
            "navigation": ["_Book"],
            "created": ["Ann", 201],
            "one": ["Book 1", 100, 1.5, "2020-01-02T03:04:05.000Z"],
            "query": [["Book 3", "Book 2"], "3"],
            "linked": ["Book 1", "Book 2", "Book 3", "Book 4", "Book 5"],
            "expanded": 5,
            "merged": ["Book 1", 111],
            "removed": 404,
            "error": [409, true],
            "changed": changed,
        });
        if use_batch {
            expected["good"] = json!([201, 204, 204]);
            // The change set has one response, and changes nothing.
            expected["bad"] = json!([409]);
            expected["afterBad"] = changed.clone();
        }
        assert_eq!(found, expected, "{use_batch}");
    }
}
