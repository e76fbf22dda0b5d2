//! Extensions of scripts for services on the internet: Slack, and the Security Token Service of AWS. A program stands for both, and for
//! the proxy that leads there.

use std::path::Path;

use serde_json::{Value, json};

use crate::external_programs::{PythonServer, run_python};
use crate::script_workers::{run, start_with_script};
use crate::storage_unit::StorageUnit;

/// The secret key of the account at AWS.
const SECRET: &str = "wJalr/XUtn+FEMI=";

/// Starts the services.
fn services(folder: &Path) -> PythonServer {
    let units = json!({"slack": "slack.com", "sts": "sts.amazonaws.com"});
    run_python("make_keys.py", &json!({"folder": folder, "units": units}));
    PythonServer::start(
        "cloud_server.py",
        &json!({"folder": folder, "secret": SECRET}),
    )
}

async fn unit(folder: &Path, settings: &[(&str, &str)]) -> StorageUnit {
    let mut unit =
        crate::unit().environment("SSL_CERT_FILE", folder.join("root.crt").to_str().unwrap());
    for (name, value) in settings {
        unit = unit.setting(&format!("io.personium.core.{name}"), value);
    }
    start_with_script(unit).await
}

/// The JSON that the body of a function returns.
async fn value(unit: &StorageUnit, code: &str) -> Value {
    let code = format!(
        "var out = (function () {{ {code} }})();
         return {{status: 200, headers: {{'Content-Type': 'application/json'}}, body: [JSON.stringify(out)]}};"
    );
    let (status, text) = run(unit, &code).await;
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// The requests that arrived.
fn requests(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("requests.jsonl")).unwrap_or_default();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn messages_to_slack_use_the_property_file_and_scripts_do_not_see_its_token() {
    let folder = tempfile::tempdir().unwrap();
    let server = services(folder.path());
    let lines = [
        "apitoken=xoxb-of-the-operator".to_owned(),
        "channel=alerts".to_owned(),
        "user=keeper".to_owned(),
        "proxy.host=127.0.0.1".to_owned(),
        format!("proxy.port={}", server.port("proxy")),
        "proxy.user=me".to_owned(),
        "proxy.password=word".to_owned(),
    ];
    let lines: String = lines
        .iter()
        .map(|line| format!("io.personium.engine.extension.Slack.{line}\n"))
        .collect();
    std::fs::write(folder.path().join("Ext_Slack.properties"), lines).unwrap();
    let extensions = folder.path().to_str().unwrap();
    let unit = unit(folder.path(), &[("engine.extensions.dir", extensions)]).await;
    let code = "var slack = new _p.extension.Slack();
        slack.sendMessage('one'); slack.sendMessageToUser('two'); slack.sendMessageToUser('three', 'bob');
        slack.setConfig(null, 'random'); slack.sendMessage('four');
        slack.setConfig('xoxb-own', null); slack.sendMessage('five'); slack.sendMessageToChannel('six', 'dev');
        var seen = [], walk = function (value, depth) {
          if (depth > 4 || value === null || (typeof value !== 'object' && typeof value !== 'function')) { seen.push(String(value)); return; }
          Object.getOwnPropertyNames(value).forEach(function (name) { try { walk(value[name], depth + 1); } catch (e) {} }); };
        walk(slack, 0); walk(_p.extension, 0); walk(pjvm, 0); walk(Object.getPrototypeOf(slack), 0);
        return seen.some(function (text) { return text.indexOf('of-the-operator') >= 0; });";
    assert_eq!(value(&unit, code).await, json!(false));
    let own = "Bearer xoxb-own";
    let of_operator = "Bearer xoxb-of-the-operator";
    let sent: Vec<_> = requests(folder.path())
        .iter()
        .map(|request| {
            assert_eq!(request["line"], json!(["POST", "/api/chat.postMessage"]));
            assert_eq!(request["proxy"], "Basic bWU6d29yZA==");
            let body: Value = serde_json::from_str(request["body"].as_str().unwrap()).unwrap();
            json!([
                request["headers"]["authorization"],
                body["channel"],
                body["text"]
            ])
        })
        .collect();
    let expected = [
        json!([of_operator, "alerts", "one"]),
        json!([of_operator, "@keeper", "two"]),
        json!([of_operator, "@bob", "three"]),
        json!([of_operator, "random", "four"]),
        json!([own, "alerts", "five"]),
        json!([own, "dev", "six"]),
    ];
    assert_eq!(sent, expected);
}

#[tokio::test]
async fn credentials_of_aws_are_got_by_signed_requests() {
    let folder = tempfile::tempdir().unwrap();
    let server = services(folder.path());
    let port = server.port("proxy").to_string();
    for isolation in ["thread", "process"] {
        let settings = [
            ("engine.script.isolation", isolation),
            ("outgoing.privateNetworks.enabled", "true"),
            ("proxy.host", "127.0.0.1"),
            ("proxy.port", port.as_str()),
        ];
        let unit = unit(folder.path(), &settings).await;
        let code = format!(
            "var service = new _p.extension.AWSSecurityTokenService(), out = [];
             var message = function (act) {{ try {{ return act(); }} catch (e) {{ return [e.name, e.message]; }} }};
             service.AccessKeyId = 'AKIAEXAMPLE'; service.SecretAccessKey = '{SECRET}';
             return [service.getSessionToken(), service.getSessionTokenWithDuration(900),
               service.getFederationToken('日本 (me)', {{Version: '2012-10-17', Statement: [{{Effect: 'Allow', Action: '*'}}]}}),
               message(function () {{ service.SecretAccessKey = 'wrong'; service.getSessionToken(); }})];"
        );
        let out = value(&unit, &code).await;
        let credentials = json!({
            "AccessKeyId": "ASIAEXAMPLE", "SecretAccessKey": "a&b/c", "SessionToken": "token+/=",
            "Expiration": 1_893_553_445_000_u64
        });
        let plain = json!({"Credentials": credentials});
        assert_eq!((&out[0], &out[1]), (&plain, &plain));
        let federated = json!({
            "Credentials": credentials,
            "FederatedUser": {"Arn": "arn:aws:sts::1:federated-user/日本 (me)", "FederatedUserId": "1:日本 (me)"},
            "PackedPolicySize": 6
        });
        assert_eq!(out[2], federated);
        let refused = "AmazonServiceException: The signature does not match. (Service: AWSSecurityTokenService; \
                       Status Code: 403; Error Code: SignatureDoesNotMatch; Request ID: r-1)";
        assert_eq!(out[3], json!(["Error", refused]));
        let sent = requests(folder.path());
        let last_but_two = &sent[sent.len() - 3];
        assert!(
            last_but_two["body"]
                .as_str()
                .unwrap()
                .contains("DurationSeconds=900")
        );
        let federation = sent[sent.len() - 2]["body"].as_str().unwrap();
        assert!(
            federation.contains("Policy=%7B%22Version%22"),
            "{federation}"
        );
    }
}
