//! Messages between two units that reach each other by their names, over TLS, and that are stopped and killed.

use std::collections::HashMap;
use std::path::Path;

use personium_testkit::{
    Nginx, ProcessUnit, ProcessUnitBuilder, TestClient, escape, free_port, text_member, wait_until,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::peer_units::{Authorities, key_settings};

/// A proxy for TLS that knows where the servers of some names are. Returns its port.
async fn start_proxy(servers: HashMap<String, u16>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(tunnel(stream, servers.clone()));
        }
    });
    port
}

async fn tunnel(mut client: TcpStream, servers: HashMap<String, u16>) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let name = head.strip_prefix("CONNECT ")?.split(':').next()?;
    let mut server = TcpStream::connect(("127.0.0.1", *servers.get(name)?))
        .await
        .ok()?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok()?;
    copy_bidirectional(&mut client, &mut server).await.ok()?;
    Some(())
}

/// Two units and their web layers.
struct Units {
    a: ProcessUnit,
    b: ProcessUnit,
    _layers: [Nginx; 2],
    /// The file with the authorities of web servers that A trusts.
    web_roots: std::path::PathBuf,
    web_certificate_of_b: std::path::PathBuf,
}

impl Units {
    async fn start() -> Self {
        let Authorities { a, b } = Authorities::new();
        for (from, to) in [(&a, &b), (&b, &a)] {
            std::fs::copy(
                from.path().join("root.crt"),
                to.path().join("root-of-other.crt"),
            )
            .unwrap();
        }
        let (port_a, port_b) = (free_port(), free_port());
        let proxy = HashMap::from([
            ("a.example".to_owned(), port_a),
            ("b.example".to_owned(), port_b),
        ]);
        let proxy = start_proxy(proxy).await;
        let web_roots = a.path().join("web-roots.crt");
        // Another authority than that of the web server of B.
        std::fs::copy(a.path().join("root.crt"), &web_roots).unwrap();
        let settings = format!(
            "{}io.personium.core.proxy.host=localhost\nio.personium.core.proxy.port={proxy}\n\
             io.personium.core.outgoing.privateNetworks.enabled=true\n",
            key_settings("root.crt root-of-other.crt")
        );
        let builder = |host: &str, port: u16| -> ProcessUnitBuilder {
            crate::unit()
                .host(host)
                .behind_proxy(port)
                .settings(&settings)
        };
        let layer = |host: &str, port: u16, unit: &ProcessUnit| {
            Nginx::builder(port).host(host).node(unit.port()).start()
        };
        let a = builder("a.example", port_a)
            .temporary_folder(a)
            .environment("SSL_CERT_FILE", web_roots.to_str().unwrap())
            .start();
        let b = builder("b.example", port_b).temporary_folder(b).start();
        let layers = [
            layer("a.example", port_a, &a),
            layer("b.example", port_b, &b),
        ];
        Self {
            web_certificate_of_b: layers[1].certificate(),
            a,
            b,
            _layers: layers,
            web_roots,
        }
    }
}

async fn send(unit: &TestClient, body: &Value) -> String {
    let sent = unit.post("ours/__message/send", &body.to_string()).await;
    let sent = sent.expect(201).results();
    assert_eq!(sent["Result"][0]["Code"], "202", "{sent}");
    text_member(&sent, "__id")
}

/// The result of a sent message.
async fn result(unit: &TestClient, id: &str) -> Value {
    let path = format!("ours/__ctl/SentMessage('{id}')");
    let found = unit
        .admin_request("GET", &path)
        .header("accept", "application/json");
    found.send().await.expect(200).results()["Result"][0].clone()
}

async fn wait_for_code(unit: &TestClient, id: &str, code: &str) {
    wait_until(&format!("the result {code}"), async || {
        result(unit, id).await["Code"] == code
    })
    .await;
}

async fn received(unit: &TestClient) -> Vec<Value> {
    unit.list_entities("house/__ctl/ReceivedMessage").await
}

fn replace(file: &Path, by: &Path) {
    std::fs::copy(by, file).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_arrive_once_although_units_are_stopped_and_killed() {
    let mut units = Units::start().await;
    units.a.create_cell("ours").await;
    units.b.create_cell("house").await;
    let (ours, house) = (units.a.cell_url("ours"), units.b.cell_url("house"));
    assert!(house.starts_with("https://b.example:"), "{house}");

    // The certificate of B's web server is not trusted.
    let to_house = json!({"To": house, "Title": "one"});
    let one = send(&units.a, &to_house).await;
    let reason = text_member(&result(&units.a, &one).await, "Reason");
    assert!(reason.contains("failed"), "{reason}");
    assert!(received(&units.b).await.is_empty());

    // It is trusted after A was killed and started again.
    units.a.kill();
    replace(&units.web_roots, &units.web_certificate_of_b);
    units.a.restart();
    wait_for_code(&units.a, &one, "201").await;
    assert_eq!(received(&units.b).await.len(), 1);

    // B is away, and A is killed as soon as it has accepted the message.
    units.b.kill();
    let request = json!({
        "To": house, "Type": "request", "Title": "two",
        "RequestObjects": [
            {"RequestType": "relation.add", "Name": "friend", "TargetUrl": ours},
            {"RequestType": "role.add", "Name": "guest", "TargetUrl": ours},
            {"RequestType": "rule.add", "Name": "watch", "Action": "log", "EventType": "davfile."},
        ],
    });
    let two = send(&units.a, &request).await;
    units.a.kill();
    units.b.restart();
    units.a.restart();
    wait_for_code(&units.a, &two, "201").await;
    let mut titles: Vec<String> = received(&units.b)
        .await
        .iter()
        .map(|message| text_member(message, "Title"))
        .collect();
    titles.sort();
    assert_eq!(titles, ["one", "two"]);

    units
        .b
        .create("house/__ctl/Relation", r#"{"Name":"friend"}"#)
        .await;
    units.b.create_role("house", "guest").await;
    let approve = async |id: &str| {
        let path = format!("house/__message/received/{id}");
        let answer = units
            .b
            .admin()
            .call("POST", &path, r#"{"Command":"approved"}"#)
            .await;
        assert_eq!(answer.status, 204, "{}", answer.text());
    };
    approve(&two).await;
    let key = format!("house/__ctl/ExtCell('{}')", escape(&ours));
    let linked = async |set: &str| units.b.list_entities(&format!("{key}/_{set}")).await.len();
    assert_eq!((linked("Relation").await, linked("Role").await), (1, 1));
    assert_eq!(units.b.list_entities("house/__ctl/Rule").await.len(), 1);

    // What was added is removed, by a message that is delivered at once.
    let request = json!({
        "To": house, "Type": "request", "Title": "three",
        "RequestObjects": [
            {"RequestType": "relation.remove", "Name": "friend", "TargetUrl": ours},
            {"RequestType": "role.remove", "Name": "guest", "TargetUrl": ours},
            {"RequestType": "rule.remove", "Name": "watch"},
        ],
    });
    let sent = units
        .a
        .post("ours/__message/send", &request.to_string())
        .await;
    let sent = sent.expect(201).results();
    assert_eq!(sent["Result"][0]["Code"], "201", "{sent}");
    approve(&text_member(&sent, "__id")).await;
    assert_eq!((linked("Relation").await, linked("Role").await), (0, 0));
    assert!(units.b.list_entities("house/__ctl/Rule").await.is_empty());
}
