//! Rules whose action is `exec`: they run scripts.

use personium_testkit::{StubServer, TestUnit, cell_url, wait_until};
use serde_json::{Value, json};

use super::{create_rule, hits, log_lines, start_rule_sender, wait_for_log_lines};
use crate::auth::unit_with_accounts;
use crate::library::register;
use crate::message::grant_cell;

const SERVICE: &str = "c/b/svc";

/// A unit with a rule that runs this script for events of the type `t`. The subject of the service is the account `subject`.
async fn unit_with_rule(script: &str) -> TestUnit {
    let unit = unit_with_accounts(|settings| settings.allow_private_networks = true).await;
    grant_cell(&unit, &["p:event"]).await;
    unit.create_account("c", r#"{"Name":"subject"}"#).await;
    unit.create_collection(SERVICE, "service").await;
    register(&unit, SERVICE, Some("subject"), &[("x", "x.js")]).await;
    unit.put_file("c/b/svc/__src/x.js", script).await;
    let rule = json!({
        "Action": "exec", "TargetUrl": "personium-localcell:/b/svc/x", "EventType": "t",
    });
    create_rule(&unit, "r", rule).await;
    start_rule_sender(&unit);
    unit
}

async fn post_as_me(unit: &TestUnit, event: Value) {
    let token = unit.access_token("c").await;
    let request = unit
        .request("POST", "c/__event")
        .bearer(&token)
        .header("x-personium-requestkey", "key1")
        .header("x-personium-via", "http://unit.example/d/");
    request.body(event.to_string()).send().await.expect(200);
}

/// The texts that scripts have logged.
async fn logged(unit: &TestUnit) -> Vec<String> {
    let lines = log_lines(unit, "c").await;
    let lines = lines.iter().filter(|line| line.contains("\"service.log\""));
    let texts = lines.map(|line| line.rsplit_once(",\"").unwrap().1);
    texts
        .map(|text| text.trim_end_matches('"').replace("\"\"", "\""))
        .collect()
}

#[tokio::test]
async fn exec_runs_a_script_with_event_headers_and_identity() {
    // The last comma of a line must be before the text.
    let script = "function(r) {
        var h = r.headers, own;
        try { own = _p.localbox().getString('secret'); } catch (e) { own = e.code; }
        var names = ['x-personium-requestkey', 'x-personium-rulechain', 'x-personium-via', 'x-personium-eventid', 'content-type'];
        var seen = names.map(function(n) { return h[n]; });
        seen[3] = seen[3].length;
        console.log(encodeURIComponent(JSON.stringify([r.method, seen, JSON.parse(r.input.readAll()), own])));
        return {status: 200, headers: {}, body: []};
    }";
    let unit = unit_with_rule(script).await;
    unit.put_file("c/b/secret", "for me").await;
    unit.grant_by_new_role("c/b/secret", ("me", "reader"), &["D:read"])
        .await;

    // Without the privilege nothing runs.
    let before = unit.service.scripts_started();
    post_as_me(&unit, json!({"Type": "t"})).await;
    let url = format!("{}b/svc/x", cell_url("c"));
    let lines = wait_for_log_lines(&unit, "c", 2).await;
    assert!(
        lines[1].ends_with(&format!("\"exec\",\"{url}\",\"403\"")),
        "{lines:#?}"
    );
    assert_eq!(unit.service.scripts_started(), before);

    unit.grant_to_everybody(SERVICE, &["p:exec"]).await;
    post_as_me(
        &unit,
        json!({"Type": "t", "Object": "personium-localcell:/b/f", "Info": "i"}),
    )
    .await;
    let lines = wait_for_log_lines(&unit, "c", 5).await;
    assert!(
        lines[4].ends_with(&format!("\"exec\",\"{url}\",\"200\"")),
        "{lines:#?}"
    );
    let seen = |text: &str| -> Value {
        let text = percent_encoding::percent_decode_str(text)
            .decode_utf8()
            .unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let event = json!({
        "External": true, "Schema": "", "Subject": format!("{}#me", cell_url("c")), "Type": "t",
        "Object": format!("{}b/f", cell_url("c")), "Info": "i",
    });
    // A user begins a new chain, whatever cells he names.
    let headers = json!(["key1", "1", null, 22, "application/json"]);
    let texts = logged(&unit).await;
    assert_eq!(seen(&texts[0]), json!(["POST", headers, event, "for me"]));

    // An event without a subject runs the script without rights.
    unit.post("c/__event", r#"{"Type":"t"}"#).await.expect(200);
    wait_for_log_lines(&unit, "c", 8).await;
    let texts = logged(&unit).await;
    assert_eq!(seen(&texts[1])[3], 401);
    assert_eq!(seen(&texts[1])[2], json!({"External": true, "Type": "t"}));
}

#[tokio::test]
async fn status_of_a_failing_script_is_the_outcome_and_it_is_not_tried_again() {
    let unit = unit_with_rule("function(r) { throw new Error('broken'); }").await;
    unit.grant_to_everybody(SERVICE, &["p:exec"]).await;
    post_as_me(&unit, json!({"Type": "t"})).await;
    let lines = wait_for_log_lines(&unit, "c", 3).await;
    assert!(
        lines.iter().any(|line| line.contains("\"service.error\"")),
        "{lines:#?}"
    );
    assert!(lines.last().unwrap().ends_with("x\",\"500\""), "{lines:#?}");
    assert!(unit.record_keys(b"Q").await.is_empty());
    assert_eq!(unit.service.scripts_started(), 1);
}

#[tokio::test]
async fn script_that_posts_its_own_event_again_is_ended_by_the_limit_of_hops() {
    // Each of these would begin the chain anew, if a script could.
    let script = "function(r) {
        pjvm.setDefaultHeader('X-Personium-RuleChain', '-1000');
        _p.as('serviceSubject').cell().event.post({Type: 't'});
        var token = _p.as('serviceSubject').cell().getToken().access_token;
        new _p.extension.HttpClient().post(pjvm.getCurrentCellUrl() + '__event',
            {'X-Personium-RuleChain': '0', Authorization: 'Bearer ' + token}, 'application/json', '{\"Type\":\"u\"}');
        return {status: 200, headers: {}, body: []};
    }";
    let unit = unit_with_rule(script).await;
    unit.grant_by_new_role("c", ("subject", "ruler"), &["p:root", "p:event"])
        .await;
    unit.grant_to_everybody(SERVICE, &["p:exec"]).await;
    create_rule(&unit, "u", json!({"Action": "log", "EventType": "u"})).await;
    let post = unit.post("c/__event", r#"{"Type":"t"}"#).await;
    assert_eq!(post.status, 200);
    wait_until("the end of the chain", async || {
        unit.record_keys(b"Q").await.is_empty()
    })
    .await;
    let lines = log_lines(&unit, "c").await;
    assert_eq!(hits(&unit, "r").await, 3, "{lines:#?}");
    // The third script is at the limit: its events trigger nothing, but are logged.
    assert_eq!(hits(&unit, "u").await, 3, "{lines:#?}");
    assert_eq!(unit.service.scripts_started(), 3);
}

#[tokio::test]
async fn script_cannot_begin_the_chain_anew_by_headers_that_replace_others() {
    for replaced in [
        "X-Personium-RuleChainProof: 0",
        "x-personium-rulechainproof:",
    ] {
        let script = format!(
            "function(r) {{
                var token = _p.as('serviceSubject').cell().getToken().access_token;
                new _p.extension.HttpClient().post(pjvm.getCurrentCellUrl() + '__event',
                    {{'X-Override': '{replaced}', Authorization: 'Bearer ' + token}}, 'application/json', '{{\"Type\":\"t\"}}');
                return {{status: 200, headers: {{}}, body: []}};
            }}"
        );
        let unit = unit_with_rule(&script).await;
        unit.grant_by_new_role("c", ("subject", "ruler"), &["p:root", "p:event"])
            .await;
        unit.grant_to_everybody(SERVICE, &["p:exec"]).await;
        let post = unit.post("c/__event", r#"{"Type":"t"}"#).await;
        assert_eq!(post.status, 200);
        wait_until("the end of the chain", async || {
            unit.record_keys(b"Q").await.is_empty()
        })
        .await;
        assert_eq!(hits(&unit, "r").await, 3, "{replaced}");
        assert_eq!(unit.service.scripts_started(), 3);
    }
}

#[tokio::test]
async fn script_carries_the_chain_to_other_servers_and_cannot_begin_it_anew() {
    const NAMES: [&str; 4] = [
        "x-personium-rulechain",
        "x-personium-rulechainproof",
        "x-personium-via",
        "x-personium-eventid",
    ];
    let far = StubServer::start().await;
    let script = format!(
        "function(r) {{
            new _p.extension.HttpClient().post('{}c/__event', {{
                'X-Personium-RuleChain': '0', 'X-Personium-RuleChainProof': '0', 'X-Personium-Via': 'x', 'X-Personium-EventId': 'x'
            }}, 'application/json', '{{}}');
            return {{status: 200, headers: {{}}, body: []}};
        }}",
        far.url()
    );
    let unit = unit_with_rule(&script).await;
    unit.grant_to_everybody(SERVICE, &["p:exec"]).await;
    // By a rule. The server learns how long the chain is, and not what began it.
    post_as_me(&unit, json!({"Type": "t"})).await;
    let received = far.receive("200 OK", "").await;
    let values = NAMES.map(|name| received.header(name));
    assert_eq!(values[0], Some("1"));
    assert!(values[1].unwrap().starts_with("1,1."), "{values:?}");
    assert_eq!(values[2..], [None, None]);
    // By a user, whose headers are no chain.
    let token = unit.access_token("c").await;
    let mut call = unit.request("POST", "c/b/svc/x").bearer(&token);
    for name in NAMES {
        call = call.header(name, "9");
    }
    let sending = call.body("").send();
    let (_, received) = tokio::join!(sending, far.receive("200 OK", ""));
    let values = NAMES.map(|name| received.header(name));
    // The number only tells other units what the caller says.
    assert_eq!(values, [Some("9"), Some("0"), None, None]);
}

#[tokio::test]
async fn scripts_that_answer_messages_by_messages_end_at_the_limit_of_hops() {
    let script = "function(r) {
        var cell = pjvm.getCurrentCellUrl();
        var token = _p.as('serviceSubject').cell().getToken().access_token;
        var sent = new _p.extension.HttpClient().post(cell + '__message/send',
            {Authorization: 'Bearer ' + token}, 'application/json', JSON.stringify({To: cell, Type: 'message', Title: 't', Body: 'b'}));
        return {status: Number(sent.status), headers: {}, body: []};
    }";
    let unit = unit_with_rule(script).await;
    unit.grant_by_new_role("c", ("subject", "ruler"), &["p:root", "p:message"])
        .await;
    unit.grant_to_everybody(SERVICE, &["p:exec"]).await;
    let answer = json!({
        "Action": "exec", "TargetUrl": "personium-localcell:/b/svc/x", "EventType": "message.receive", "EventExternal": false,
    });
    create_rule(&unit, "answer", answer).await;
    unit.post("c/__event", r#"{"Type":"t"}"#).await.expect(200);
    wait_until("the end of the chain", async || {
        let received = unit.list_entities("c/__ctl/ReceivedMessage").await;
        received.len() == 3 && unit.record_keys(b"Q").await.is_empty()
    })
    .await;
    assert_eq!(hits(&unit, "answer").await, 2);
    assert_eq!(unit.service.scripts_started(), 3);
}
