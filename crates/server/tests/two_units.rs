//! Trust between two running units: whose word counts where, and what it gives.
#![expect(
    clippy::disallowed_methods,
    reason = "a test may use the real clock and randomness"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends with the first surprise"
)]

#[path = "real_unit/clients.rs"]
mod clients;
#[path = "real_unit/neighbours.rs"]
mod neighbours;
#[path = "real_unit/process.rs"]
mod process;

use std::time::Duration;

use clients::Server;
use neighbours::{
    Authorities, SAML, form, issued, known, link, outcome, reading, token, with_friends,
};
use process::Unit;
use serde_json::json;

/// The cell `house` of a unit with an account `me` that has the role `member`. Gives its URL.
fn foreign_cell(unit: &Unit) -> String {
    unit.cell_with_owner("house");
    let mut admin = unit.admin();
    admin.made("POST", "/house/__ctl/Role", "{\"Name\":\"member\"}");
    let role = json!({"uri": format!("{}/house/__ctl/Role('member')", unit.url())});
    admin.made(
        "POST",
        "/house/__ctl/Account('me')/$links/_Role",
        &role.to_string(),
    );
    format!("{}/house/", unit.url())
}

fn exchanged(unit: &Unit, assertion: &str) -> process::Answer {
    token(
        unit,
        "ours",
        &[("grant_type", SAML), ("assertion", assertion)],
    )
}

/// Names of the roles that a token of the cell `ours` gives.
fn roles(unit: &Unit, text: &str) -> Vec<String> {
    let body = form(&[("token", text)]);
    let told = unit
        .admin()
        .made("POST", "/ours/__introspect", &body)
        .json();
    assert_eq!(told["active"], true, "{told}");
    let base = format!("{}/ours/__role/__/", unit.url());
    let mut names: Vec<String> = told["p_roles"]
        .as_array()
        .unwrap()
        .iter()
        .map(|url| {
            url.as_str()
                .unwrap()
                .strip_prefix(&base)
                .unwrap()
                .to_owned()
        })
        .collect();
    names.sort();
    names
}

#[test]
fn the_word_of_a_unit_counts_where_its_authority_is_trusted() {
    let (a, mut b) = Authorities::new().start("");
    let home = foreign_cell(&a);
    with_friends(&b);
    let cell = known(&b, &home);
    link(&b, &cell, "Role('friend')");
    let ours = format!("{}/ours/", b.url());
    let assertion = issued(&a, "house", &ours, &[]);
    assert_eq!(reading(&b, &assertion), "401 PR401-AU-0008");
    assert_eq!(outcome(&exchanged(&b, &assertion)), "400 PR400-AN-0011");

    // The operator of B adds the authority of A, and takes it away again.
    for (roots, direct, exchange) in [
        ("root.crt root-of-a.crt", "200", "200"),
        ("root.crt", "401 PR401-AU-0008", "400 PR400-AN-0011"),
        // A's own certificate is not A's authority, but may be trusted as well.
        ("root.crt unit-of-a.crt", "200", "200"),
        ("root-of-a.crt", "200", "200"),
    ] {
        b.kill();
        let folder = b.scratch.path();
        std::fs::copy(
            a.scratch.path().join("unit.crt"),
            folder.join("unit-of-a.crt"),
        )
        .unwrap();
        let file = folder.join("unit.properties");
        let settings = std::fs::read_to_string(&file).unwrap();
        let (before, _) = settings.split_once("io.personium.core.x509.root=").unwrap();
        let settings = format!("{before}io.personium.core.x509.root={roots}\n");
        std::fs::write(&file, settings).unwrap();
        b.restart();
        assert_eq!(reading(&b, &assertion), direct, "{roots}");
        let answer = exchanged(&b, &assertion);
        assert_eq!(outcome(&answer), exchange, "{roots}");
        if exchange == "200" {
            let local = answer.json()["access_token"].as_str().unwrap().to_owned();
            assert!(local.starts_with("AV~"), "{local}");
            assert_eq!(reading(&b, &local), "200");
        }
    }
}

#[test]
fn roles_come_from_what_the_cell_says_about_the_other() {
    let (a, b) = Authorities::new().start("root-of-a.crt");
    let home = foreign_cell(&a);
    let mut admin = with_friends(&b);
    for role in ["by-relation", "by-role", "of-others"] {
        admin.made(
            "POST",
            "/ours/__ctl/Role",
            &json!({"Name": role}).to_string(),
        );
    }
    let ours = format!("{}/ours/", b.url());
    let assertion = issued(&a, "house", &ours, &[]);
    let local = || {
        let answer = exchanged(&b, &assertion);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["access_token"].as_str().unwrap().to_owned()
    };
    // Believed, but a stranger.
    assert_eq!(roles(&b, &local()), Vec::<String>::new());
    assert_eq!(reading(&b, &assertion), "403 PR403-AU-0002");

    let cell = known(&b, &home);
    assert_eq!(roles(&b, &local()), Vec::<String>::new());
    admin.made("POST", "/ours/__ctl/Relation", "{\"Name\":\"family\"}");
    link(&b, "Relation('family')", "Role('by-relation')");
    link(&b, &cell, "Relation('family')");
    assert_eq!(roles(&b, &local()), ["by-relation"]);

    for (class, role) in [("member", "by-role"), ("chief", "of-others")] {
        let class = format!("{home}__role/__/{class}");
        let body = json!({"ExtRole": class, "_Relation.Name": "family"});
        admin.made("POST", "/ours/__ctl/ExtRole", &body.to_string());
        let key = format!(
            "ExtRole(ExtRole='{}',_Relation.Name='family')",
            neighbours::escaped(&class)
        );
        link(&b, &key, &format!("Role('{role}')"));
    }
    assert_eq!(roles(&b, &local()), ["by-relation", "by-role"]);
    assert_eq!(reading(&b, &assertion), "403 PR403-AU-0002");

    link(&b, &cell, "Role('friend')");
    assert_eq!(roles(&b, &local()), ["by-relation", "by-role", "friend"]);
    assert_eq!(reading(&b, &assertion), "200");

    // Refreshing looks again; what the cell no longer says is no longer given.
    let answer = exchanged(&b, &assertion).json();
    let refresh = answer["refresh_token"].as_str().unwrap();
    admin.made(
        "DELETE",
        &format!("/ours/__ctl/{cell}/$links/_Role('friend')"),
        "",
    );
    let fields = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
    let again = token(&b, "ours", &fields);
    let again = again.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(roles(&b, &again), ["by-relation", "by-role"]);
}

#[test]
fn a_token_counts_for_its_time_and_its_target() {
    let (a, b) = Authorities::new().start("root-of-a.crt");
    let home = foreign_cell(&a);
    with_friends(&b);
    let cell = known(&b, &home);
    link(&b, &cell, "Role('friend')");
    let ours = format!("{}/ours/", b.url());
    let brief = issued(&a, "house", &ours, &[("expires_in", "1")]);
    let lasting = issued(&a, "house", &ours, &[]);
    std::thread::sleep(Duration::from_millis(1_200));
    assert_eq!(reading(&b, &brief), "401 PR401-AU-0002");
    assert_eq!(outcome(&exchanged(&b, &brief)), "400 PR400-AN-0010");
    assert_eq!(reading(&b, &lasting), "200");

    b.cell_with_owner("theirs");
    for target in [
        format!("{}/theirs/", b.url()),
        format!("{}/", b.url()),
        home,
    ] {
        let elsewhere = issued(&a, "house", &target, &[]);
        assert_eq!(reading(&b, &elsewhere), "401 PR401-AU-0006", "{target}");
        assert_eq!(
            outcome(&exchanged(&b, &elsewhere)),
            "400 PR400-AN-0012",
            "{target}"
        );
    }
    // What A seals for itself is nothing to B, though the secrets of both are equal.
    let own = token(
        &a,
        "house",
        &[
            ("grant_type", "password"),
            ("username", "me"),
            ("password", "password1"),
        ],
    );
    let own = own.json();
    assert_eq!(
        reading(&b, own["access_token"].as_str().unwrap()),
        "401 PR401-AU-0006"
    );
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", own["refresh_token"].as_str().unwrap()),
    ];
    assert_eq!(outcome(&token(&b, "ours", &fields)), "400 PR400-AN-0009");
}

/// The settings of a unit that reaches `b.example` by a proxy.
fn by(proxy: &Server) -> String {
    format!(
        "io.personium.core.proxy.host=localhost\nio.personium.core.proxy.port={}\n\
         io.personium.core.proxy.user=unit\nio.personium.core.proxy.pswd=word\n\
         io.personium.core.outgoing.privateNetworks.enabled=true\n",
        proxy.told["port"]
    )
}

/// Sends a message from the cell `house` of A to the cell `ours` of B. Gives the code that the delivery had.
fn sent(a: &Unit, b: &Unit, message: &serde_json::Value) -> String {
    let mut message = message.clone();
    message["To"] = json!(format!("{}/ours/", b.url()));
    let answer = a
        .admin()
        .made("POST", "/house/__message/send", &message.to_string());
    let result = &answer.json()["d"]["results"]["Result"][0];
    result["Code"].as_str().unwrap().to_owned()
}

/// The messages that the cell `ours` got.
fn received(b: &Unit) -> Vec<serde_json::Value> {
    let list = b.admin().made("GET", "/ours/__ctl/ReceivedMessage", "");
    list.json()["d"]["results"].as_array().unwrap().clone()
}

#[test]
fn a_person_of_another_unit_asks_for_a_role_by_message_and_gets_it() {
    let proxy = Server::start(
        "proxy.mjs",
        &json!({"name": "b.example", "user": "unit", "password": "word"}),
    );
    let (a, b) = Authorities::new().start_with(&by(&proxy), "root-of-a.crt");
    let home = foreign_cell(&a);
    with_friends(&b);
    let ours = format!("{}/ours/", b.url());
    let assertion = issued(&a, "house", &ours, &[]);
    assert_eq!(reading(&b, &assertion), "403 PR403-AU-0002");

    let wish = json!({"Type": "request", "Title": "Let me in", "RequestObjects": [
        {"RequestType": "role.add", "Name": "friend", "TargetUrl": home}]});
    assert_eq!(sent(&a, &b, &wish), "201");
    let got = received(&b);
    assert_eq!(got.len(), 1);
    assert_eq!(got[0]["From"], json!(home));
    assert_eq!(got[0]["Title"], "Let me in");
    assert_eq!(reading(&b, &assertion), "403 PR403-AU-0002", "only asked");

    let id = got[0]["__id"].as_str().unwrap();
    let approved = json!({"Command": "approved"}).to_string();
    b.admin()
        .made("POST", &format!("/ours/__message/received/{id}"), &approved);
    assert_eq!(reading(&b, &assertion), "200");
}

#[test]
fn a_unit_takes_no_message_from_one_that_it_does_not_trust() {
    let proxy = Server::start(
        "proxy.mjs",
        &json!({"name": "b.example", "user": "unit", "password": "word"}),
    );
    let (a, b) = Authorities::new().start_with(&by(&proxy), "");
    foreign_cell(&a);
    b.cell_with_owner("ours");
    assert_eq!(sent(&a, &b, &json!({"Title": "Hello"})), "401");
    assert_eq!(received(&b), Vec::<serde_json::Value>::new());
}
