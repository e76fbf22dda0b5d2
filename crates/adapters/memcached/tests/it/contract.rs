//! The contract of the port on real servers, which are killed, paused and started again.

use std::sync::Arc;
use std::time::Duration;

use personium_memcached::{MemcachedCache, MemcachedSettings};
use personium_store::{Cache, contract};
use personium_testkit::Memcached;
use personium_types::SystemClock;

const TTL: Duration = Duration::from_secs(600);

fn cache_with(servers: &[String], change: impl FnOnce(&mut MemcachedSettings)) -> MemcachedCache {
    let mut settings = MemcachedSettings {
        servers: servers.to_vec(),
        name_key: [7; 32],
        timeout: Duration::from_secs(60),
        longest_ttl: Duration::from_secs(86_400),
        connections_max: 8,
    };
    change(&mut settings);
    MemcachedCache::new(&settings, Arc::new(SystemClock::new()))
}

fn cache(servers: &[String]) -> MemcachedCache {
    cache_with(servers, |_| {})
}

/// Puts and gets values until the cache works. Calls that fail must do so in time, and values that are read must be right.
async fn wait_until_it_works(cache: &MemcachedCache) {
    for n in 0.. {
        let (key, value) = (format!("wait{n}"), format!("value{n}"));
        if cache.put(&key, value.clone().into(), TTL).await.is_ok()
            && let Ok(Some(found)) = cache.get(&key).await
        {
            assert_eq!(found, value);
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_server_keeps_the_contract() {
    let server = Memcached::start();
    contract::cache(Arc::new(cache(&[server.address()]))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_servers_keep_the_contract() {
    let servers = [Memcached::start(), Memcached::start(), Memcached::start()];
    let addresses = servers.each_ref().map(Memcached::address);
    contract::cache(Arc::new(cache(&addresses))).await;
}

#[tokio::test]
async fn caches_of_two_nodes_are_one_and_those_of_two_units_are_not() {
    let servers = [Memcached::start(), Memcached::start()];
    let mut addresses = servers.each_ref().map(Memcached::address);
    let node = cache(&addresses);
    addresses.reverse();
    let (other_node, other_unit) = (
        cache(&addresses),
        cache_with(&addresses, |s| s.name_key = [8; 32]),
    );
    for n in 0..50 {
        let key = format!("k{n}");
        node.put(&key, "x".into(), TTL).await.unwrap();
        assert_eq!(other_node.get(&key).await.unwrap(), Some("x".into()));
        assert_eq!(other_unit.get(&key).await.unwrap(), None);
        assert_eq!(other_unit.increment(&key, TTL).await.unwrap(), 1);
        assert_eq!(other_unit.increment(&key, TTL).await.unwrap(), 2);
    }
}

#[tokio::test]
async fn keys_of_any_length_and_content_name_values_of_their_own() {
    let server = Memcached::start();
    let cache = cache(&[server.address()]);
    let long = "x".repeat(250);
    let keys = [
        "",
        " ",
        "a b",
        "a\r\nflush_all\r\n",
        "\0",
        "あ",
        &long,
        &format!("{long}y"),
        &format!("{long}z"),
    ];
    for (n, key) in keys.iter().enumerate() {
        cache.put(key, n.to_string().into(), TTL).await.unwrap();
    }
    for (n, key) in keys.iter().enumerate() {
        let found = cache.get(key).await.unwrap();
        assert_eq!(found, Some(n.to_string().into()), "{key:?}");
    }
}

#[tokio::test]
async fn values_of_any_bytes_are_kept_up_to_a_million_bytes() {
    let server = Memcached::start();
    let cache = cache(&[server.address()]);
    for value in [&b""[..], b"\r\n", b"EN\r\nVA 1 O1\r\n", &vec![0; 1_000_000]] {
        let value = bytes::Bytes::copy_from_slice(value);
        cache.put("k", value.clone(), TTL).await.unwrap();
        assert_eq!(cache.get("k").await.unwrap(), Some(value));
    }
    let too_large = bytes::Bytes::from(vec![0; 1_000_001]);
    assert!(!cache.add("other", too_large.clone(), TTL).await.unwrap());
    cache.put("k", too_large, TTL).await.unwrap();
    assert_eq!(cache.get("k").await.unwrap(), None, "nor the one before");
}

#[tokio::test]
async fn times_to_live_of_more_than_thirty_days_are_kept() {
    let server = Memcached::start();
    let year = Duration::from_secs(365 * 86_400);
    let cache = cache_with(&[server.address()], |s| s.longest_ttl = year);
    for days in [29, 30, 31, 365, 10_000] {
        let ttl = Duration::from_secs(days * 86_400);
        let key = days.to_string();
        cache.put(&key, "x".into(), ttl).await.unwrap();
        assert!(cache.get(&key).await.unwrap().is_some(), "{days}");
        assert!(cache.increment("n", ttl).await.is_ok());
    }
    assert!(cache.add("a", "x".into(), year).await.unwrap());
    assert!(!cache.add("a", "x".into(), year).await.unwrap());
}

#[tokio::test]
async fn killed_server_makes_calls_fail_and_works_again_when_it_is_back() {
    let mut server = Memcached::start();
    let cache = cache(&[server.address()]);
    cache.put("k", "x".into(), TTL).await.unwrap();
    server.kill();
    for _ in 0..50 {
        assert!(cache.get("k").await.is_err());
    }
    let state = &cache.states()[0];
    assert!(state.errors >= 1 && state.skipped >= 1, "{state:?}");
    server.start_again();
    wait_until_it_works(&cache).await;
    assert_eq!(cache.get("k").await.unwrap(), None);
    assert!(!cache.states()[0].is_skipped);
}

#[tokio::test]
async fn server_that_was_restarted_between_two_calls_costs_no_failure() {
    let mut server = Memcached::start();
    let cache = cache(&[server.address()]);
    cache.put("k", "x".into(), TTL).await.unwrap();
    server.kill();
    server.start_again();
    // The connection of the first call is closed. The runtime learns of that when it waits for something.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(cache.get("k").await.unwrap(), None);
    assert_eq!(cache.states()[0].errors, 0);
}

#[tokio::test]
async fn paused_server_delays_calls_by_the_time_out_at_most_and_mixes_up_no_answers() {
    let server = Memcached::start();
    let cache = cache_with(&[server.address()], |s| {
        s.timeout = Duration::from_millis(200);
    });
    let cache = Arc::new(cache);
    for n in 0..8 {
        let text = n.to_string();
        cache.put(&text, text.clone().into(), TTL).await.unwrap();
    }
    for _ in 0..3 {
        server.pause();
        let calls = (0..8).map(|n| {
            let (cache, text) = (Arc::clone(&cache), n.to_string());
            tokio::spawn(async move { cache.get(&text).await })
        });
        for call in calls.collect::<Vec<_>>() {
            assert!(call.await.unwrap().is_err());
        }
        assert!(cache.states()[0].is_skipped);
        // The answers to the calls that were given up are sent now.
        server.resume();
        wait_until_it_works(&cache).await;
        for n in 0..8 {
            let text = n.to_string();
            assert_eq!(cache.get(&text).await.unwrap(), Some(text.into()));
        }
    }
}

#[tokio::test]
async fn values_of_the_other_servers_are_kept_while_one_is_dead() {
    let mut servers = [Memcached::start(), Memcached::start()];
    let addresses = servers.each_ref().map(Memcached::address);
    let cache = cache(&addresses);
    for n in 0..100 {
        let key = format!("k{n}");
        cache.put(&key, "x".into(), TTL).await.unwrap();
    }
    servers[1].kill();
    let mut found = 0;
    for n in 0..100 {
        let value = cache.get(&format!("k{n}")).await;
        found += usize::from(matches!(value, Ok(Some(_))));
    }
    assert!((20..80).contains(&found), "{found}");
    let states = cache.states();
    assert_eq!((states[0].errors, states[0].skipped), (0, 0));
    assert!(states[1].is_skipped && states[1].skipped > 0);
}
