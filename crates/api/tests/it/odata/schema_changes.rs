//! Writes while the schema changes concurrently: no acknowledged change is lost.

use bytes::Bytes;
use futures_util::stream;
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use personium_testkit::{TestUnit, UNIT_URL};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::odata_unit;

/// A request whose body is sent on demand.
struct Slow {
    go: oneshot::Sender<()>,
    status: tokio::task::JoinHandle<u16>,
}

impl Slow {
    /// Sends the head and waits until the body is read, which is after the schema was loaded.
    async fn begin(unit: &TestUnit, method: &str, path: &str, body: Value) -> Self {
        let (go, gone) = oneshot::channel();
        let (begin, begun) = oneshot::channel();
        let body = stream::once(async move {
            let _ = begin.send(());
            let _ = gone.await;
            Ok(Frame::data(Bytes::from(body.to_string())))
        });
        let request = Request::builder()
            .method(method)
            .uri(format!("{UNIT_URL}c/b/od/{path}"))
            .header("authorization", "Bearer master")
            .body(StreamBody::new(body).boxed_unsync())
            .unwrap();
        let service = unit.service.clone();
        let answer = tokio::spawn(async move { service.handle(request, None).await });
        let status = tokio::spawn(async move { answer.await.unwrap().status().as_u16() });
        begun.await.unwrap();
        Self { go, status }
    }

    async fn finish(self) -> u16 {
        self.go.send(()).unwrap();
        self.status.await.unwrap()
    }
}

async fn merge(unit: &TestUnit, path: &str, body: Value) -> u16 {
    let path = format!("c/b/od/{path}");
    let request = unit.admin_request("MERGE", &path).body(body.to_string());
    request.send().await.status.as_u16()
}

async fn entity(unit: &TestUnit, path: &str) -> Value {
    let path = format!("c/b/od/{path}?$format=json");
    let response = unit.admin_request("GET", &path).send().await;
    response.json()["d"]["results"].clone()
}

#[tokio::test]
async fn change_made_with_a_stale_schema_keeps_new_properties() {
    let unit = odata_unit(|_| {}).await;
    unit.create("c/b/od/B", r#"{"__id":"1"}"#).await;
    unit.create("c/b/od/A", r#"{"__id":"1"}"#).await;
    let link = json!({"uri": format!("{UNIT_URL}c/b/od/A('1')")});
    let changes = [
        ("MERGE", "B('1')", json!({"later": 1})),
        ("POST", "B('1')/$links/_A", link),
        ("MERGE", "B('1')", json!({"more": true})),
    ];
    for (n, (method, path, body)) in changes.into_iter().enumerate() {
        let slow = Slow::begin(&unit, method, path, body).await;
        let new = json!({format!("new{n}"): n});
        assert_eq!(merge(&unit, "B('1')", new).await, 204);
        assert_eq!(slow.finish().await, 204, "{method} {path}");
    }
    let found = entity(&unit, "B('1')").await;
    for (name, value) in [("new0", 0.0), ("new1", 1.0), ("new2", 2.0), ("later", 1.0)] {
        assert_eq!(found[name].as_f64(), Some(value), "{name} in {found}");
    }
    assert_eq!(found["more"], true);
    let linked = unit.list_entities("c/b/od/B('1')/$links/_A").await;
    assert_eq!(linked.len(), 1);
}

#[tokio::test]
async fn declared_property_indexes_entities_created_concurrently() {
    let unit = odata_unit(|_| {}).await;
    let slow = Slow::begin(&unit, "POST", "A", json!({"__id": "1", "p": "v"})).await;
    let body = json!({"Name": "p", "_EntityType.Name": "A", "Type": "Edm.String"}).to_string();
    unit.create("c/b/od/$metadata/Property", &body).await;
    assert_eq!(slow.finish().await, 201);
    let path = "c/b/od/A?$filter=p%20eq%20'v'&$inlinecount=allpages&$format=json";
    let found = unit.admin_request("GET", path).send().await.json();
    assert_eq!(found["d"]["__count"], "1", "{found}");
}

#[tokio::test]
async fn property_of_a_failed_batch_operation_is_registered_by_a_later_one() {
    let unit = odata_unit(|s| s.odata.properties_max = 3).await;
    let part = |body: &str| {
        format!(
            "--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\nContent-Type: application/http\n\n\
             POST A HTTP/1.1\nContent-Length: {}\n\n{body}\n--c--\n",
            body.len()
        )
    };
    let parts = part(r#"{"a":1,"b":2,"c":3,"d":4}"#) + &part(r#"{"__id":"1","a":1}"#);
    let batch = unit
        .admin_request("POST", "c/b/od/$batch")
        .header("content-type", "multipart/mixed; boundary=b")
        .body(format!("{parts}--b--"))
        .send()
        .await
        .text();
    assert!(
        batch.contains("OD-0032") && batch.contains("HTTP/1.1 201"),
        "{batch}"
    );
    assert_eq!(
        entity(&unit, "A('1')").await["a"].as_f64(),
        Some(1.0),
        "{batch}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_merges_lose_no_acknowledged_change() {
    let unit = odata_unit(|_| {}).await;
    unit.create("c/b/od/A", r#"{"__id":"1"}"#).await;
    let changes = (0..24).map(|n| {
        let unit = unit.clone();
        tokio::spawn(async move {
            let status = merge(&unit, "A('1')", json!({format!("p{n}"): n})).await;
            (n, status)
        })
    });
    let mut done = Vec::new();
    for change in changes.collect::<Vec<_>>() {
        let (n, status) = change.await.unwrap();
        match status {
            204 => done.push(n),
            other => assert_eq!(other, 503),
        }
    }
    assert!(!done.is_empty());
    let found = entity(&unit, "A('1')").await;
    for n in done {
        assert_eq!(
            found[format!("p{n}")].as_f64(),
            Some(f64::from(n)),
            "{found}"
        );
    }
}

#[tokio::test]
async fn undeclared_properties_are_removed_with_their_entity_type() {
    let unit = odata_unit(|_| {}).await;
    unit.create("c/b/od/$metadata/EntityType", r#"{"Name":"T"}"#)
        .await;
    unit.create("c/b/od/T", r#"{"__id":"1","x":1}"#).await;
    assert_eq!(
        unit.list_entities("c/b/od/$metadata/Property").await.len(),
        1
    );
    assert_eq!(unit.admin_outcome("DELETE", "c/b/od/T('1')").await.0, 204);
    assert_eq!(
        unit.admin_outcome("DELETE", "c/b/od/$metadata/EntityType('T')")
            .await
            .0,
        204
    );
    let left = unit.list_entities("c/b/od/$metadata/Property").await;
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn links_of_a_removed_association_do_not_reappear() {
    let unit = odata_unit(|_| {}).await;
    let make = async |path: &str, body: Value| {
        unit.create(&format!("c/b/od/{path}"), &body.to_string())
            .await
    };
    make("$metadata/EntityType", json!({"Name": "C"})).await;
    let end = json!({"Name": "c", "_EntityType.Name": "C", "Multiplicity": "*"});
    make("$metadata/AssociationEnd", end).await;
    make("A", json!({"__id": "1"})).await;
    make("A('1')/_B", json!({"__id": "7"})).await;
    make("C", json!({"__id": "7"})).await;
    let a = "c/b/od/$metadata/AssociationEnd(Name='one-A-B',_EntityType.Name='A')/$links/_AssociationEnd";
    let unlink = format!("{a}(Name='other-A-B',_EntityType.Name='B')");
    let relink = |end: &str, of: &str| {
        let uri = format!(
            "{UNIT_URL}c/b/od/$metadata/AssociationEnd(Name='{end}',_EntityType.Name='{of}')"
        );
        let body = json!({"uri": uri}).to_string();
        let unit = unit.clone();
        async move {
            unit.admin_request("POST", a)
                .body(&body)
                .send()
                .await
                .status
        }
    };
    assert_eq!(unit.admin_outcome("DELETE", &unlink).await.0, 204);
    assert_eq!(relink("c", "C").await, 204);
    assert_eq!(unit.list_entities("c/b/od/A('1')/_C").await.len(), 0);
    // Entity 7 of C can be linked, and the old link does not reappear with the recreated association.
    let link = json!({"uri": format!("{UNIT_URL}c/b/od/A('1')")}).to_string();
    let linked = unit
        .admin_request("POST", "c/b/od/C('7')/$links/_A")
        .body(&link)
        .send()
        .await;
    assert_eq!(linked.status, 204, "{}", linked.text());
    let unlink = format!("{a}(Name='c',_EntityType.Name='C')");
    assert_eq!(unit.admin_outcome("DELETE", &unlink).await.0, 204);
    assert_eq!(relink("other-A-B", "B").await, 204);
    assert_eq!(unit.list_entities("c/b/od/A('1')/_B").await.len(), 0);
    make("A('1')/_B", json!({"__id": "8"})).await;
    assert_eq!(unit.list_entities("c/b/od/A('1')/_B").await.len(), 1);
}
