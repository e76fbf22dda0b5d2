//! Trust between two running units: which assertions are accepted, and which roles they give.

use std::time::Duration;

use personium_testkit::{TestClient, encode_form, escape, text_member};
use serde_json::{Value, json};

use crate::external_programs::NodeServer;
use crate::peer_units::{
    Authorities, create_cell_for_friends, create_ext_cell, exchange, issue_token, link, login,
    outcome, read_outcome,
};

/// Creates the cell `house` of a unit with an account `me` that has the role `member`; returns its URL.
async fn create_foreign_cell(unit: &TestClient) -> String {
    unit.create_cell_with_owner("house").await;
    unit.create_role("house", "member").await;
    unit.link("house", "Account('me')", "_Role", "Role('member')")
        .await;
    unit.cell_url("house")
}

/// The names of the roles that a token of the cell `ours` gives.
async fn roles(unit: &TestClient, token: &str) -> Vec<String> {
    let body = encode_form(&[("token", token)]);
    let introspection = unit.admin().call("POST", "ours/__introspect", &body).await;
    let info = introspection.json();
    assert_eq!(info["active"], true, "{info}");
    let base = format!("{}__role/__/", unit.cell_url("ours"));
    let mut names: Vec<String> = info["p_roles"]
        .as_array()
        .unwrap()
        .iter()
        .map(|url| {
            let url = url.as_str().unwrap();
            url.strip_prefix(&base).unwrap().to_owned()
        })
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn assertion_is_accepted_if_the_authority_of_its_unit_is_trusted() {
    let (a, mut b) = Authorities::new().start("");
    let house = create_foreign_cell(&a).await;
    create_cell_for_friends(&b).await;
    let cell = create_ext_cell(&b, &house).await;
    link(&b, &cell, "Role('friend')").await;
    let ours = b.cell_url("ours");
    let assertion = issue_token(&a, "house", &ours, &[]).await;
    assert_eq!(read_outcome(&b, &assertion).await, "401 PR401-AU-0008");
    let exchanged = exchange(&b, &assertion).await;
    assert_eq!(outcome(&exchanged), "400 PR400-AN-0011");

    // The operator of B adds the authority of A, and removes it again.
    for (roots, direct, exchanged) in [
        ("root.crt root-of-a.crt", "200", "200"),
        ("root.crt", "401 PR401-AU-0008", "400 PR400-AN-0011"),
        // The certificate of A itself may be trusted as well.
        ("root.crt unit-of-a.crt", "200", "200"),
        ("root-of-a.crt", "200", "200"),
    ] {
        b.kill();
        let folder = b.folder();
        let certificate = a.folder().join("unit.crt");
        std::fs::copy(certificate, folder.join("unit-of-a.crt")).unwrap();
        let file = folder.join("unit.properties");
        let settings = std::fs::read_to_string(&file).unwrap();
        let (before, _) = settings.split_once("io.personium.core.x509.root=").unwrap();
        let settings = format!("{before}io.personium.core.x509.root={roots}\n");
        std::fs::write(&file, settings).unwrap();
        b.restart();
        assert_eq!(read_outcome(&b, &assertion).await, direct, "{roots}");
        let response = exchange(&b, &assertion).await;
        assert_eq!(outcome(&response), exchanged, "{roots}");
        if exchanged == "200" {
            let local = text_member(&response.json(), "access_token");
            assert!(local.starts_with("AV~"), "{local}");
            assert_eq!(read_outcome(&b, &local).await, "200");
        }
    }
}

#[tokio::test]
async fn visitor_roles_come_from_links_of_the_visited_cell() {
    let (a, b) = Authorities::new().start("root-of-a.crt");
    let house = create_foreign_cell(&a).await;
    create_cell_for_friends(&b).await;
    for role in ["by-relation", "by-role", "of-others"] {
        b.create_role("ours", role).await;
    }
    let ours = b.cell_url("ours");
    let assertion = issue_token(&a, "house", &ours, &[]).await;
    let local = async || {
        let response = exchange(&b, &assertion).await.expect(200);
        text_member(&response.json(), "access_token")
    };
    // The assertion is accepted, but its cell is unknown.
    assert_eq!(roles(&b, &local().await).await, Vec::<String>::new());
    assert_eq!(read_outcome(&b, &assertion).await, "403 PR403-AU-0002");

    let cell = create_ext_cell(&b, &house).await;
    assert_eq!(roles(&b, &local().await).await, Vec::<String>::new());
    b.create("ours/__ctl/Relation", r#"{"Name":"family"}"#)
        .await;
    link(&b, "Relation('family')", "Role('by-relation')").await;
    link(&b, &cell, "Relation('family')").await;
    assert_eq!(roles(&b, &local().await).await, ["by-relation"]);

    for (class, role) in [("member", "by-role"), ("chief", "of-others")] {
        let class = format!("{house}__role/__/{class}");
        let body = json!({"ExtRole": class, "_Relation.Name": "family"});
        b.create("ours/__ctl/ExtRole", &body.to_string()).await;
        let key = format!(
            "ExtRole(ExtRole='{}',_Relation.Name='family')",
            escape(&class)
        );
        link(&b, &key, &format!("Role('{role}')")).await;
    }
    assert_eq!(roles(&b, &local().await).await, ["by-relation", "by-role"]);
    assert_eq!(read_outcome(&b, &assertion).await, "403 PR403-AU-0002");

    link(&b, &cell, "Role('friend')").await;
    assert_eq!(
        roles(&b, &local().await).await,
        ["by-relation", "by-role", "friend"]
    );
    assert_eq!(read_outcome(&b, &assertion).await, "200");

    // A refresh reads the links again.
    let response = exchange(&b, &assertion).await.json();
    let refresh = text_member(&response, "refresh_token");
    let path = format!("ours/__ctl/{cell}/$links/_Role('friend')");
    b.admin().call("DELETE", &path, "").await;
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh.as_str()),
    ];
    let refreshed = b.request_token("ours", &fields).await.json();
    let refreshed = text_member(&refreshed, "access_token");
    assert_eq!(roles(&b, &refreshed).await, ["by-relation", "by-role"]);
}

#[tokio::test]
async fn assertion_is_limited_to_its_lifetime_and_target() {
    let (a, b) = Authorities::new().start("root-of-a.crt");
    let house = create_foreign_cell(&a).await;
    create_cell_for_friends(&b).await;
    let cell = create_ext_cell(&b, &house).await;
    link(&b, &cell, "Role('friend')").await;
    let ours = b.cell_url("ours");
    let brief = issue_token(&a, "house", &ours, &[("expires_in", "1")]).await;
    let lasting = issue_token(&a, "house", &ours, &[]).await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(read_outcome(&b, &brief).await, "401 PR401-AU-0002");
    let exchanged = exchange(&b, &brief).await;
    assert_eq!(outcome(&exchanged), "400 PR400-AN-0010");
    assert_eq!(read_outcome(&b, &lasting).await, "200");

    b.create_cell_with_owner("theirs").await;
    for target in [b.cell_url("theirs"), b.url().to_owned(), house] {
        let assertion = issue_token(&a, "house", &target, &[]).await;
        let direct = read_outcome(&b, &assertion).await;
        assert_eq!(direct, "401 PR401-AU-0006", "{target}");
        let exchanged = exchange(&b, &assertion).await;
        assert_eq!(outcome(&exchanged), "400 PR400-AN-0012", "{target}");
    }
    // A local token of A is unreadable for B, though both have the same secret.
    let own = login(&a, "house").await;
    let access = text_member(&own, "access_token");
    assert_eq!(read_outcome(&b, &access).await, "401 PR401-AU-0006");
    let refresh = text_member(&own, "refresh_token");
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh.as_str()),
    ];
    let refreshed = b.request_token("ours", &fields).await;
    assert_eq!(outcome(&refreshed), "400 PR400-AN-0009");
}

/// Starts a proxy that resolves `b.example`.
fn start_proxy() -> NodeServer {
    let input = json!({"name": "b.example", "user": "unit", "password": "word"});
    NodeServer::start("proxy.mjs", &input)
}

/// The settings of a unit that uses a proxy.
fn proxy_settings(proxy: &NodeServer) -> String {
    format!(
        "io.personium.core.proxy.host=localhost\nio.personium.core.proxy.port={}\n\
         io.personium.core.proxy.user=unit\nio.personium.core.proxy.pswd=word\n\
         io.personium.core.outgoing.privateNetworks.enabled=true\n",
        proxy.port("port")
    )
}

/// Sends a message from the cell `house` of A to the cell `ours` of B; returns the code of its delivery.
async fn send_message(a: &TestClient, b: &TestClient, message: &Value) -> String {
    let mut message = message.clone();
    message["To"] = json!(b.cell_url("ours"));
    let path = "house/__message/send";
    let response = a.admin().call("POST", path, &message.to_string()).await;
    text_member(&response.results()["Result"][0], "Code")
}

/// The messages that the cell `ours` received.
async fn received_messages(b: &TestClient) -> Vec<Value> {
    b.list_entities("ours/__ctl/ReceivedMessage").await
}

#[tokio::test]
async fn role_requested_by_message_from_another_unit_is_granted_on_approval() {
    let proxy = start_proxy();
    let (a, b) = Authorities::new().start_with(&proxy_settings(&proxy), "root-of-a.crt");
    let house = create_foreign_cell(&a).await;
    create_cell_for_friends(&b).await;
    let ours = b.cell_url("ours");
    let assertion = issue_token(&a, "house", &ours, &[]).await;
    assert_eq!(read_outcome(&b, &assertion).await, "403 PR403-AU-0002");

    let request = json!({"Type": "request", "Title": "Let me in", "RequestObjects": [
        {"RequestType": "role.add", "Name": "friend", "TargetUrl": house}]});
    assert_eq!(send_message(&a, &b, &request).await, "201");
    let received = received_messages(&b).await;
    assert_eq!(received.len(), 1);
    assert_eq!(received[0]["From"], json!(house));
    assert_eq!(received[0]["Title"], "Let me in");
    let before = read_outcome(&b, &assertion).await;
    assert_eq!(before, "403 PR403-AU-0002", "before the approval");

    let id = text_member(&received[0], "__id");
    let path = format!("ours/__message/received/{id}");
    let approval = json!({"Command": "approved"}).to_string();
    b.admin().call("POST", &path, &approval).await;
    assert_eq!(read_outcome(&b, &assertion).await, "200");
}

#[tokio::test]
async fn message_from_an_untrusted_unit_is_refused() {
    let proxy = start_proxy();
    let (a, b) = Authorities::new().start_with(&proxy_settings(&proxy), "");
    create_foreign_cell(&a).await;
    b.create_cell_with_owner("ours").await;
    let message = json!({"Title": "Hello"});
    assert_eq!(send_message(&a, &b, &message).await, "401");
    assert_eq!(received_messages(&b).await, Vec::<Value>::new());
}
