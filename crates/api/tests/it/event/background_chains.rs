//! Chains of rules through work in the background: they go on there, and end.

use personium_testkit::{ReceivedRequest, StubServer, TestRequest, TestUnit, cell_url, wait_until};
use serde_json::json;

use super::{create_rule, log_lines, start_rule_sender};
use crate::auth::unit_with_accounts;
use crate::install::{Archive, wait_for_installation};
use crate::library::register;
use crate::message::grant_cell;

const CHAIN: &str = "x-personium-rulechain";
const PROOF: &str = "x-personium-rulechainproof";
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// The headers about a chain.
type Carried = [(&'static str, String); 2];

/// A unit whose rules relay events of these types to a server that sends their chain back, and log them.
async fn unit_with_relays(far: &StubServer, kinds: &[&str]) -> TestUnit {
    let unit = unit_with_accounts(|settings| {
        settings.allow_private_networks = true;
        settings.events.request_secs = 14 * 24 * 3600;
        settings.events.delivery_secs = 14 * 24 * 3600;
    })
    .await;
    grant_cell(&unit, &["p:event"]).await;
    for kind in ["begin"].iter().chain(kinds) {
        let is_external = ["begin", "of-script"].contains(kind);
        for (action, target) in [("relay", Some(far.url())), ("log", None)] {
            let rule = json!({
                "EventType": kind, "EventExternal": is_external, "Action": action, "TargetUrl": target,
            });
            create_rule(&unit, &format!("{action}-{}", kind.replace('.', "-")), rule).await;
        }
    }
    start_rule_sender(&unit);
    unit
}

/// The headers that the server got after so many rules of `c`.
async fn carried_after(unit: &TestUnit, far: &StubServer, rules: usize) -> Carried {
    let mut carried = [(CHAIN, "0".to_owned()), (PROOF, "0".to_owned())];
    for _ in 0..rules {
        let request = unit.admin_request("POST", "c/__event");
        let request = with(request, &carried).body(r#"{"Type":"begin"}"#);
        request.send().await.expect(200);
        carried = carried_by(&far.receive("200 OK", "").await);
    }
    wait_until("no request waits", async || {
        unit.record_keys(b"Q").await.is_empty()
    })
    .await;
    carried
}

fn carried_by(received: &ReceivedRequest) -> Carried {
    let header = |name| (name, received.header(name).unwrap().to_owned());
    [header(CHAIN), header(PROOF)]
}

fn with(request: TestRequest, carried: &Carried) -> TestRequest {
    let headers = carried.iter();
    headers.fold(request, |request, (name, value)| {
        request.header(name, value)
    })
}

/// The number of log lines of a type.
async fn logged(unit: &TestUnit, kind: &str) -> usize {
    let lines = log_lines(unit, "c").await;
    let of_kind = format!("\"{kind}\"");
    lines.iter().filter(|line| line.contains(&of_kind)).count()
}

/// Begins work by a request with the headers of a chain of two rules, and of three: the event of the work triggers the rule that
/// relays it, and then not.
async fn check(
    (unit, far): (&TestUnit, &StubServer),
    kind: &str,
    begin: impl AsyncFn(&Carried, usize),
) {
    let second = carried_after(unit, far, 2).await;
    begin(&second, 2).await;
    let received = far.receive("200 OK", "").await;
    assert_eq!(received.header(CHAIN), Some("3"), "{kind}");
    let third = carried_by(&received);
    wait_until("no request waits", async || {
        unit.record_keys(b"Q").await.is_empty()
    })
    .await;
    let before = logged(unit, kind).await;
    begin(&third, 3).await;
    wait_until("the event is logged", async || {
        logged(unit, kind).await > before
    })
    .await;
    // A request would be stored together with the line.
    assert!(unit.record_keys(b"Q").await.is_empty(), "{kind}");
    assert!(!far.is_called().await, "{kind}");
}

#[tokio::test]
async fn installation_continues_the_chain_of_the_request_for_it() {
    let far = StubServer::start().await;
    let kinds = ["PL-BI-0000", "cellctl.Box.create"];
    for kind in kinds {
        let unit = unit_with_relays(&far, &[kind]).await;
        let archive = Archive::new().zip();
        check((&unit, &far), kind, async |carried, number| {
            let name = format!("new{number}");
            let path = format!("c/{name}");
            let request = unit.admin_request("MKCOL", &path);
            let request = with(request, carried).header("content-type", "application/zip");
            request.body(archive.clone()).send().await.expect(202);
            wait_for_installation(&unit, &name).await;
            // The schema of the archive may be used again.
            if number == 2 {
                let removed = unit.admin_request("DELETE", &path);
                let removed = removed.header("x-personium-recursive", "true");
                removed.send().await.expect(204);
            }
        })
        .await;
    }
}

#[tokio::test]
async fn exports_and_imports_of_a_cell_continue_the_chain_of_the_request_for_them() {
    let far = StubServer::start().await;
    let unit = unit_with_relays(&far, &["cell.export", "cell.import"]).await;
    for (kind, path, name) in [
        ("cell.export", "c/__export", "s"),
        ("cell.import", "c/__import", "s2"),
    ] {
        check((&unit, &far), kind, async |carried, number| {
            let name = match kind {
                "cell.export" => format!("{name}{number}"),
                _ => name.to_owned(),
            };
            let request = with(unit.admin_request("POST", path), carried);
            let body = json!({"Name": name}).to_string();
            request.body(body).send().await.expect(202);
        })
        .await;
    }
}

#[tokio::test]
async fn jobs_and_messages_continue_the_chain_of_the_request_for_them() {
    let far = StubServer::start().await;
    let unit = unit_with_relays(&far, &["of-script", "message.receive"]).await;
    let script = "function(r) {
        var token = _p.as('serviceSubject').cell().getToken().access_token;
        new _p.extension.HttpClient().post(pjvm.getCurrentCellUrl() + '__event',
            {Authorization: 'Bearer ' + token}, 'application/json', '{\"Type\":\"of-script\"}');
        return {status: 200, headers: {}, body: []};
    }";
    let service = "c/b/svc";
    unit.create_account("c", r#"{"Name":"subject"}"#).await;
    unit.create_collection(service, "service").await;
    register(
        &unit,
        service,
        Some("subject"),
        &[("x", "x.js\" async=\"true")],
    )
    .await;
    unit.put_file("c/b/svc/__src/x.js", script).await;
    unit.grant_by_new_role("c", ("subject", "poster"), &["p:root", "p:event"])
        .await;
    unit.grant_to_everybody(service, &["p:exec"]).await;
    let jobs = unit.service.clone();
    let running = tokio::spawn(async move { jobs.run_jobs().await });
    check((&unit, &far), "of-script", async |carried, _| {
        let request = with(unit.admin_request("POST", "c/b/svc/x"), carried);
        request.body("").send().await.expect(202);
    })
    .await;
    running.abort();
    let message = json!({"To": cell_url("c"), "Title": "t"}).to_string();
    check((&unit, &far), "message.receive", async |carried, _| {
        let request = with(unit.admin_request("POST", "c/__message/send"), carried);
        request.body(message.clone()).send().await.expect(201);
    })
    .await;
}

#[tokio::test]
async fn requests_that_have_waited_for_days_carry_a_new_proof() {
    let stopped = StubServer::start().await;
    let port = stopped.port();
    let far = StubServer::start().await;
    let unit = unit_with_relays(&far, &[]).await;
    let late = json!({"EventType": "late", "Action": "relay", "TargetUrl": stopped.url()});
    create_rule(&unit, "late", late).await;
    drop(stopped);
    let carried = carried_after(&unit, &far, 1).await;
    let request = with(unit.admin_request("POST", "c/__event"), &carried);
    let posted = request.body(r#"{"Type":"late"}"#).send();
    posted.await.expect(200);
    let message = json!({"To": format!("http://127.0.0.1:{port}/far/"), "Title": "t"});
    let request = with(unit.admin_request("POST", "c/__message/send"), &carried);
    let sent = request.body(message.to_string()).send();
    sent.await.expect(201);
    wait_until("the first attempts have failed", async || {
        let state = unit.admin_request("GET", "c/__rule/state").send().await;
        state.expect(200).json()["Waiting"] == 1
    })
    .await;
    let day_of = |carried: &Carried| -> i64 {
        let proof = carried[1].1.rsplit(',').next().unwrap();
        proof.split('.').nth(1).unwrap().parse().unwrap()
    };
    let began = day_of(&carried);
    let server = StubServer::start_on(port).await;
    unit.advance_clock(5 * DAY_MS);
    let mut received = Vec::new();
    for _ in 0..2 {
        received.push(server.receive("201 Created", "{}").await);
    }
    for received in received {
        let is_message = received.head.contains("__message/port");
        let carried = carried_by(&received);
        assert!(day_of(&carried) > began, "{}", received.head);
        let rules = if is_message { "1," } else { "2," };
        assert!(carried[1].1.starts_with(rules), "{}", received.head);
        // It counts: as many rules follow as the limit leaves.
        let request = with(unit.admin_request("POST", "c/__event"), &carried);
        request.body(r#"{"Type":"begin"}"#).send().await.expect(200);
        let next = far.receive("200 OK", "").await;
        let expected = if is_message { "2" } else { "3" };
        assert_eq!(next.header(CHAIN), Some(expected));
    }
}
