//! Signatures of the requests of rules, verified by programs and packages of others: those of `docs/examples`.

use personium_testkit::StubServer;
use serde_json::json;

use crate::external_programs::run_example;

const PROGRAMS: [&str; 3] = ["verify_relay.py", "verify_relay.mjs", "VerifyRelay.java"];

#[tokio::test]
async fn signed_relay_is_verified_in_three_languages_and_a_changed_one_is_refused() {
    let unit = crate::unit()
        .setting("io.personium.core.outgoing.privateNetworks.enabled", "true")
        .start();
    unit.create_cell("c").await;
    unit.create_cell("d").await;
    let server = StubServer::start().await;
    let target = format!("{}far/x?y=1", server.url());
    let rule = json!({
        "Name": "r", "EventExternal": true, "EventType": "t", "Action": "relay", "TargetUrl": target,
    });
    unit.create("c/__ctl/Rule", &rule.to_string()).await;
    let event = json!({"Type": "t", "Object": "\u{e9}", "Info": "i"}).to_string();
    let mut nonces = Vec::new();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for name in ["first", "second"] {
        unit.post("c/__event", &event).await.expect(200);
        let received = server.receive("200 OK", "").await;
        let input = received.header("signature-input").unwrap();
        let (_, nonce) = input.split_once(";nonce=").unwrap();
        nonces.push(nonce.split(';').next().unwrap().to_owned());
        let request = format!("{}\r\n\r\n{}", received.head, received.text);
        std::fs::write(path(name), &request).unwrap();
        std::fs::write(
            path("changed"),
            request.replace("\"Info\":\"i\"", "\"Info\":\"j\""),
        )
        .unwrap();
    }
    assert_ne!(nonces[0], nonces[1]);
    let certs = unit.request("GET", "c/__certs").send().await.expect(200);
    std::fs::write(path("certs"), certs.text()).unwrap();
    let (c, d) = (unit.cell_url("c"), unit.cell_url("d"));
    let elsewhere = target.replace("/far/", "/near/");
    for program in PROGRAMS {
        let verify = |request: &str, url: &str, cell: &str| {
            run_example(program, &[&path(request), url, &path("certs"), cell])
        };
        assert_eq!(verify("first", &target, &c), "valid", "{program}");
        for (request, url, cell) in [
            ("changed", &target, &c),
            ("first", &elsewhere, &c),
            ("first", &target, &d),
        ] {
            let answer = verify(request, url, cell);
            assert!(answer.starts_with("refused:"), "{program}: {answer}");
        }
    }
}
