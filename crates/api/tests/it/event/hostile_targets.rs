//! Targets of rules and messages that answer without an end, too slowly, or with the address of somebody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use personium_testkit::{StubServer, TestUnit, cell_url, success, text_member, wait_until};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::auth::unit_with_accounts;
use crate::event::{create_rule, post_event, start_rule_sender};

const FAILED: &str = "c/__rule/failed";
/// The bytes that a target may send before it is cut off: the largest answer, and what the buffers of a connection hold.
const SENT_MAX: u64 = 64 << 20;
/// The largest number of hostile targets of a cell.
const HOSTILE_MAX: usize = 4;
/// The pause between two bytes of a slow answer.
const DRIP: Duration = Duration::from_millis(100);

const INTERIM: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";

/// The answer of a hostile target.
#[derive(Debug, Clone, Copy)]
enum Answer {
    /// A body in parts that never ends.
    Endless,
    /// A body whose length is announced, as large as no answer may be.
    Huge,
    /// Headers without an end.
    EndlessHead,
    /// Interim responses without an end.
    Interim,
    /// Interim responses, one now and then.
    SlowInterim,
    /// A body of which a byte comes now and then.
    SlowBody,
    /// A head of which a byte comes now and then.
    SlowHead,
    /// Nothing.
    Silence,
}

impl Answer {
    /// Its beginning, the part that is repeated for ever, and the pause after each.
    fn parts(self) -> (&'static str, String, Duration) {
        let none = Duration::ZERO;
        match self {
            Self::Endless => {
                let part = format!("10000\r\n{}\r\n", "x".repeat(0x1_0000));
                (
                    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
                    part,
                    none,
                )
            }
            Self::Huge => {
                let head = "HTTP/1.1 200 OK\r\ncontent-length: 1099511627776\r\n\r\n";
                (head, "x".repeat(0x1_0000), none)
            }
            Self::EndlessHead => ("HTTP/1.1 200 OK\r\nx: ", "x".repeat(0x1_0000), none),
            Self::Interim => ("", INTERIM.repeat(1_000), none),
            Self::SlowInterim => ("", INTERIM.to_owned(), DRIP),
            Self::SlowBody => {
                let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n";
                (head, "x".to_owned(), DRIP)
            }
            Self::SlowHead => ("HTTP/1.1 200 OK\r\nx: ", "x".to_owned(), DRIP),
            Self::Silence => ("", String::new(), DRIP),
        }
    }
}

/// A target that answers each request in the same way until it is cut off.
struct HostileTarget {
    url: String,
    /// The largest number of bytes that one connection took.
    sent_max: Arc<AtomicU64>,
    /// The number of connections that were closed by the unit.
    cut_off: Arc<AtomicU64>,
}

impl HostileTarget {
    async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/far/", listener.local_addr().unwrap());
        let (sent_max, cut_off) = (Arc::default(), Arc::default());
        let target = Self {
            url,
            sent_max: Arc::clone(&sent_max),
            cut_off: Arc::clone(&cut_off),
        };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (sent_max, cut_off) = (Arc::clone(&sent_max), Arc::clone(&cut_off));
                tokio::spawn(async move {
                    let sent = respond(stream, answer).await;
                    sent_max.fetch_max(sent, Ordering::SeqCst);
                    cut_off.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        target
    }

    /// Waits until so many connections were cut off; checks what they took.
    async fn expect_cut_off(&self, connections: u64) {
        wait_until(&format!("{} is cut off", self.url), async || {
            self.cut_off.load(Ordering::SeqCst) >= connections
        })
        .await;
        let sent = self.sent_max.load(Ordering::SeqCst);
        assert!(sent < SENT_MAX, "{}: {sent}", self.url);
    }
}

/// Answers until the connection is closed; returns how many bytes it took.
async fn respond(mut stream: TcpStream, answer: Answer) -> u64 {
    let mut request = [0; 4096];
    if !matches!(stream.read(&mut request).await, Ok(1..)) {
        return 0;
    }
    let (first, then, pause) = answer.parts();
    let mut sent = 0;
    if stream.write_all(first.as_bytes()).await.is_err() {
        return sent;
    }
    loop {
        // What is left of the request, or the end of the connection.
        let read = tokio::time::timeout(pause, stream.read(&mut request)).await;
        if let Ok(Ok(0) | Err(_)) = read {
            return sent;
        }
        if stream.write_all(then.as_bytes()).await.is_err() {
            return sent;
        }
        sent += then.len() as u64;
    }
}

async fn unit_without_retries() -> TestUnit {
    let unit = unit_with_accounts(|settings| {
        settings.allow_private_networks = true;
        settings.events.delivery_secs = 0;
    })
    .await;
    // A cell has a quarter of the requests that are sent at the same time.
    let sender = Arc::new(unit.service.clone());
    let requests = 4 * HOSTILE_MAX;
    tokio::spawn(personium_event::run(
        unit.model.clone(),
        sender,
        requests,
        None,
    ));
    unit
}

async fn failed(unit: &TestUnit) -> Vec<Value> {
    let listed = unit.admin_request("GET", FAILED).send().await.json();
    listed["requests"].as_array().unwrap().clone()
}

/// The results of a message to these cells and to one that takes it.
async fn results(unit: &TestUnit, targets: &[String]) -> Vec<(String, String)> {
    let near = cell_url("d");
    let body = json!({"To": format!("{},{near}", targets.join(",")), "Title": "t"});
    let sent = unit.post("c/__message/send", &body.to_string()).await;
    assert_eq!(sent.outcome(), success(201), "{}", sent.text());
    let sent = sent.json();
    let results = sent["d"]["results"]["Result"].as_array().unwrap();
    let pair = |result: &Value| (text_member(result, "Code"), text_member(result, "Reason"));
    let mut results: Vec<_> = results.iter().map(pair).collect();
    assert_eq!(results.pop().unwrap().0, "201");
    results
}

/// Lets a relay, a test of its rule and a message meet each of these targets: all of them end, and say why.
async fn check(answers: &[Answer], reasons: &[&str]) {
    let unit = unit_without_retries().await;
    let mut targets = Vec::new();
    for (number, answer) in answers.iter().enumerate() {
        let target = HostileTarget::start(*answer).await;
        let rule = json!({"Action": "relay", "TargetUrl": target.url, "EventType": "t"});
        create_rule(&unit, &format!("r{number}"), rule).await;
        targets.push(target);
    }
    let event = json!({"Type": "t", "Object": "o", "Info": "i"});
    assert_eq!(post_event(&unit, event).await.status, 200);
    let urls: Vec<String> = targets.iter().map(|target| target.url.clone()).collect();
    let tests = (0..answers.len()).map(|number| {
        let test = json!({"Name": format!("r{number}"), "Type": "t"}).to_string();
        let unit = &unit;
        async move { unit.post("c/__rule/test", &test).await.json() }
    });
    let (tests, results) =
        tokio::join!(futures_util::future::join_all(tests), results(&unit, &urls));
    for (test, answer) in tests.iter().zip(answers) {
        assert_eq!(
            (&test["Status"], &test["Success"]),
            (&json!("404"), &json!(false)),
            "{answer:?}"
        );
    }
    for ((code, reason), answer) in results.iter().zip(answers) {
        let is_known = reasons.iter().any(|known| reason.ends_with(known));
        assert!(code == "500" && is_known, "{answer:?}: {code} {reason}");
    }
    wait_until("all have failed", async || {
        failed(&unit).await.len() == answers.len()
    })
    .await;
    for request in failed(&unit).await {
        assert_eq!(request["Status"], "404", "{request}");
    }
    for target in &targets {
        // The relay, its test and the message.
        target.expect_cut_off(3).await;
    }
    // Everything else goes on.
    let post = json!({"Type": "u", "Object": "o", "Info": "i"});
    assert_eq!(post_event(&unit, post).await.status, 200);
}

#[tokio::test]
async fn answers_without_an_end_are_cut_off_by_their_size() {
    let answers = [
        Answer::Endless,
        Answer::Huge,
        Answer::EndlessHead,
        Answer::Interim,
    ];
    check(&answers, &["The response was broken off or too large."]).await;
}

#[tokio::test]
async fn answers_that_come_too_slowly_are_cut_off_by_the_time() {
    let answers = [
        Answer::SlowInterim,
        Answer::SlowBody,
        Answer::SlowHead,
        Answer::Silence,
    ];
    check(&answers, &["There was no response in time."]).await;
}

#[tokio::test]
async fn rules_call_no_address_that_is_not_public_unless_the_operator_permits_it() {
    let unit = unit_with_accounts(|settings| settings.events.delivery_secs = 0).await;
    start_rule_sender(&unit);
    let server = StubServer::start().await;
    let port = server.port();
    let hosts = [
        "127.0.0.1",
        "localhost",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "0.0.0.0",
        "169.254.169.254",
    ];
    for (number, host) in hosts.iter().enumerate() {
        for action in ["relay", "relay.event"] {
            let name = format!("{action}-{number}").replace('.', "_");
            let rule = json!({
                "Action": action, "TargetUrl": format!("http://{host}:{port}/far/"), "EventType": "t",
            });
            create_rule(&unit, &name, rule).await;
            let test = json!({"Name": name, "Type": "t"}).to_string();
            let tested = unit.post("c/__rule/test", &test).await.json();
            assert_eq!(tested["Status"], "404", "{host}");
        }
    }
    let event = json!({"Type": "t", "Object": "o", "Info": "i"});
    assert_eq!(post_event(&unit, event).await.status, 200);
    wait_until("all have failed", async || {
        failed(&unit).await.len() == 2 * hosts.len()
    })
    .await;
    assert!(!server.is_called().await);
}

#[tokio::test]
async fn nobody_goes_where_the_answer_of_a_target_leads() {
    let unit = unit_without_retries().await;
    let elsewhere = StubServer::start().await;
    let port = elsewhere.port();
    let locations = [
        elsewhere.url(),
        format!("http://localhost:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("//127.0.0.1:{port}/"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        format!("{}__event", cell_url("d")),
        "file:///etc/passwd".to_owned(),
        "/far/again".to_owned(),
    ];
    let statuses = [
        "301 Moved Permanently",
        "302 Found",
        "303 See Other",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ];
    let target = StubServer::start().await;
    let relay = json!({"Action": "relay", "TargetUrl": target.url(), "EventType": "t"});
    create_rule(&unit, "r", relay).await;
    let to = [format!("{}far/", target.url())];
    let event = json!({"Type": "t", "Object": "o", "Info": "i"});
    let mut sent = 0;
    for (location, status) in locations.iter().zip(statuses.iter().cycle()) {
        let answer = format!("{status}\r\nlocation: {location}");
        let code = &status[..3];
        assert_eq!(post_event(&unit, event.clone()).await.status, 200);
        target.receive(&answer, "").await;
        sent += 1;
        wait_until("the relay has failed", async || {
            failed(&unit).await.len() == sent
        })
        .await;
        assert_eq!(failed(&unit).await[sent - 1]["Status"], code, "{location}");

        let (_, results) = tokio::join!(target.receive(&answer, ""), results(&unit, &to));
        assert_eq!(results[0].0, code, "{location}");
        assert!(!target.is_called().await, "{location}");
        assert!(!elsewhere.is_called().await, "{location}");
    }
    // The unit itself was not called either.
    let received = unit.list_entities("d/__ctl/ReceivedMessage").await;
    assert_eq!(received.len(), locations.len());
}
