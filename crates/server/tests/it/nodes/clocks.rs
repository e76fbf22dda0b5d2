//! One node whose clock is an hour ahead.

use std::time::Duration;

use personium_testkit::{PASSWORD, PostgresCluster, ProcessUnit, text_member, wait_until};

use super::{NODES, Nodes, PREFIX, database_settings};
use crate::authorization_code::{new_code, redeem_status};
use crate::faketime::FAKETIME_LIBRARY;

/// The node with the wrong clock.
const AHEAD: usize = 2;

const HOUR_MS: i64 = 3_600_000;

/// The failures after which an account is locked.
const LOCK_COUNT: usize = 3;

fn start() -> Nodes {
    let cluster = PostgresCluster::shared();
    let lines = format!(
        "{}{PREFIX}authn.account.validAuthnInterval=0\n{PREFIX}authn.account.lockCount={LOCK_COUNT}\n\
         {PREFIX}authn.account.lockTime=600\n",
        database_settings(&cluster)
    );
    let unit = Nodes::start_with(&lines, |number, node| match number {
        AHEAD => node
            .environment("LD_PRELOAD", FAKETIME_LIBRARY)
            .environment("FAKETIME", "+1h")
            .environment("DONT_FAKE_MONOTONIC", "1")
            .environment("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        _ => node,
    });
    unit.keeping(cluster)
}

async fn read_status(node: &ProcessUnit, token: &str) -> u16 {
    let read = node.with_token(token).request("GET", "c/box/f");
    read.send().await.status.as_u16()
}

async fn login_status(node: &ProcessUnit, account: &str, password: &str) -> u16 {
    let fields = [
        ("grant_type", "password"),
        ("username", account),
        ("password", password),
    ];
    node.request_token("c", &fields).await.status.as_u16()
}

async fn updated_ms(node: &ProcessUnit) -> i64 {
    let found = node.admin_request("GET", "c/box/data/Row('one')?$format=json");
    let entity = found.send().await.expect(200).results();
    let text = entity["__updated"].as_str().unwrap().to_owned();
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_with_a_wrong_clock_is_named_in_the_logs_and_nobody_loses_a_lease() {
    let unit = start();
    for node in &unit.nodes {
        wait_until("the wrong clock is in the log", async || {
            node.log()
                .contains("the clock of another server node differs")
        })
        .await;
    }
    // Longer than it takes to find a node dead.
    tokio::time::sleep(Duration::from_secs(10)).await;
    for node in &unit.nodes {
        let log = node.log();
        assert!(!log.contains("dead"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_and_codes_are_safe_when_the_clock_of_one_node_is_an_hour_ahead() {
    let unit = start();
    let owner = unit.nginx.client().create_cell_with_owner("c").await;
    owner.call("PUT", "c/box/f", "content").await;
    unit.nginx.client().admin().create_cell("app").await;
    let ahead = &unit.nodes[AHEAD];
    // Its tokens are good on all nodes. Those of others are at their end for it: refused, or good for a moment.
    let of_ahead = text_member(&ahead.login("c", &[]).await, "access_token");
    let of_other = text_member(&unit.nodes[0].login("c", &[]).await, "access_token");
    for node in &unit.nodes {
        assert_eq!(read_status(node, &of_ahead).await, 200);
    }
    for node in &unit.nodes[..AHEAD] {
        assert_eq!(read_status(node, &of_other).await, 200);
    }
    let refused = read_status(ahead, &of_other).await;
    assert!([200, 401].contains(&refused), "{refused}");

    // A code is accepted once, by whichever node.
    let app = unit.nginx.client().cell_url("app");
    for issuing in 0..NODES {
        let code = new_code(&unit.nodes[issuing], &app).await;
        let mut accepted = 0;
        for node in unit.nodes.iter().chain(&unit.nodes) {
            accepted += usize::from(redeem_status(node, &app, &code).await == 200);
        }
        assert!(accepted <= 1, "code of node {issuing}: {accepted} times");
        assert!(accepted == 1 || issuing == AHEAD, "code of node {issuing}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lock_of_an_account_holds_on_all_nodes_when_the_clock_of_one_is_an_hour_ahead() {
    let unit = start();
    let client = unit.nginx.client().admin();
    client.create_cell("c").await;
    for first in 0..NODES {
        let account = format!("a{first}");
        client
            .create_account("c", &format!(r#"{{"Name":"{account}"}}"#))
            .await;
        // A guesser gets at most twice the attempts.
        for guess in 0..2 * LOCK_COUNT {
            let node = &unit.nodes[(first + guess) % NODES];
            assert_eq!(login_status(node, &account, "wrong-guess").await, 400);
        }
        for node in &unit.nodes {
            let status = login_status(node, &account, PASSWORD).await;
            assert_eq!(status, 400, "{account}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entities_are_changed_in_order_when_the_clock_of_one_node_is_an_hour_ahead() {
    let unit = start();
    let client = unit.prepare().await;
    client.create_odata_collection("c/box/data", "Row").await;
    client
        .create("c/box/data/Row", r#"{"__id":"one","n":0}"#)
        .await;
    let mut tags = Vec::new();
    for number in 1..=2 * NODES {
        let node = &unit.nodes[number % NODES];
        let merge = node.admin_request("MERGE", "c/box/data/Row('one')");
        let merge = merge.header("if-match", "*");
        let merged = merge.body(format!(r#"{{"n":{number}}}"#)).send().await;
        tags.push(merged.expect(204).header("etag").unwrap().to_owned());
        // The change is the newest one for every node, and no time is later than the clock that is ahead.
        for reader in &unit.nodes {
            let read = reader.admin_request("GET", "c/box/data/Row('one')?$format=json");
            assert_eq!(read.send().await.expect(200).results()["n"], number);
        }
        let behind = updated_ms(node).await - now_ms();
        assert!(behind <= HOUR_MS + 60_000, "{behind}");
    }
    // A condition on an older state does not hold, whatever the times are.
    let newest = tags.pop().unwrap();
    for (number, tag) in tags.iter().enumerate() {
        let node = &unit.nodes[number % NODES];
        let put = node.admin_request("MERGE", "c/box/data/Row('one')");
        let put = put.header("if-match", tag).body(r#"{"n":-1}"#);
        put.send().await.expect(412);
    }
    let put = unit.nodes[0].admin_request("MERGE", "c/box/data/Row('one')");
    let put = put.header("if-match", &newest).body(r#"{"n":99}"#);
    put.send().await.expect(204);
}

fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(now.unwrap().as_millis()).unwrap()
}
