//! One node that cannot reach database and cache while the others can.

use std::time::Duration;

use personium_testkit::{
    Link, LinkProxy, Memcached, PostgresCluster, ProcessUnit, TestResponse, text_member, wait_until,
};

use super::writers::Writers;
use super::{NODES, Nodes, PREFIX, database_settings};

/// The node that loses its links.
const LOST: usize = 0;

/// Short times, so that a silent link is noticed soon.
const TIMES: &str = "store.postgres.poolTimeoutInSec=1\nio.personium.core.store.postgres.connectTimeoutInSec=1\n\
    io.personium.core.store.postgres.statementTimeoutInSec=2\n";

struct Partitioned {
    unit: Nodes,
    database: LinkProxy,
    cache: LinkProxy,
    _memcached: Memcached,
}

impl Partitioned {
    async fn start() -> Self {
        let cluster = PostgresCluster::shared();
        let memcached = Memcached::start();
        let database = LinkProxy::start(cluster.port()).await;
        let cache = LinkProxy::start(memcached.port()).await;
        let lines = format!(
            "{}{PREFIX}{TIMES}{PREFIX}authn.account.validAuthnInterval=0\n{PREFIX}cache.memcached.host={}\n",
            database_settings(&cluster),
            memcached.address()
        );
        let (database_port, cache_port) = (database.port(), cache.port());
        let unit = Nodes::start_with(&lines, |number, node| match number {
            LOST => node
                .setting(
                    "io.personium.core.store.postgres.hosts",
                    format!("127.0.0.1:{database_port}"),
                )
                .setting(
                    "io.personium.core.cache.memcached.host",
                    format!("127.0.0.1:{cache_port}"),
                ),
            _ => node,
        });
        Self {
            unit: unit.keeping(cluster),
            database,
            cache,
            _memcached: memcached,
        }
    }

    fn set(&self, link: Link) {
        self.database.set(link);
        self.cache.set(link);
    }
}

async fn read(node: &ProcessUnit, token: &str) -> TestResponse {
    let node = node.with_token(token);
    node.request("GET", "c/box/f").send().await
}

async fn cut_off_and_healed(link: Link) {
    let _load = crate::machine_load().read().await;
    let parts = Partitioned::start().await;
    let unit = &parts.unit;
    let owner = unit.nginx.client().create_cell_with_owner("c").await;
    let client = unit.nginx.client().admin();
    client.create_box("c", "box2").await;
    owner.call("PUT", "c/box/f", "content").await;
    let token = text_member(&unit.nodes[1].login("c", &[]).await, "access_token");
    read(&unit.nodes[LOST], &token).await.expect(200);
    let writers = Writers::start(&unit.nginx, 3);
    tokio::time::sleep(Duration::from_secs(1)).await;

    parts.set(link);
    // It refuses, in bounded time, and does not answer from what it remembers.
    for _ in 0..2 {
        read(&unit.nodes[LOST], &token)
            .await
            .expect_error(503, "SV-0006");
    }
    // The others serve, and take over its work.
    for node in &unit.nodes[1..] {
        read(node, &token).await.expect(200);
    }
    wait_until("the lost node is dead", async || {
        let is_said = |node: &ProcessUnit| node.log().contains("server node is dead");
        unit.nodes[1..].iter().any(is_said)
    })
    .await;
    let link_of_role = "c/__ctl/Account('me')/$links/_Role('owner')";
    let delete = unit.nodes[1].admin_request("DELETE", link_of_role);
    delete.send().await.expect(204);

    parts.set(Link::Whole);
    // The first answer that is no refusal honours what was changed meanwhile.
    wait_until("the lost node is back", async || {
        let status = read(&unit.nodes[LOST], &token).await.status.as_u16();
        assert!([503, 403].contains(&status), "{status}");
        status == 403
    })
    .await;
    unit.nodes[LOST]
        .link("c", "Account('me')", "_Role", "Role('owner')")
        .await;
    for node in &unit.nodes {
        read(node, &token).await.expect(200);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let written = writers.end().await;
    assert!(written.count_refused(503) > 0, "{written:?}");
    assert_eq!(written.count_other_than(&[503]), 0, "{written:?}");
    written.expect_kept(&client, 10 * NODES).await;
    wait_until("the lost node gives up its work", async || {
        unit.nodes[LOST].log().contains("found this one dead")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_without_its_database_and_cache_refuses_and_is_right_when_its_links_are_back() {
    cut_off_and_healed(Link::Cut).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_whose_links_are_silent_refuses_in_bounded_time_and_is_right_afterwards() {
    cut_off_and_healed(Link::Silent).await;
}
