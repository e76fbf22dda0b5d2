//! The program with a cache on memcached: what is lost when memcached is killed or stuck is a delay, nothing else.

use personium_testkit::{Memcached, PASSWORD, ProcessUnit, text_member};

use crate::authorization_code::{new_code, redeem_status};
use crate::program;
use crate::storage_unit::StorageUnit;

/// A unit with the cells `c` and `app`, and with the account `me` in `c`, which is locked after three failed logins.
async fn unit_with_cache_on(servers: &str, delay_secs: u32) -> StorageUnit {
    let builder = crate::unit()
        .setting("io.personium.core.cache.memcached.host", servers)
        .setting(
            "io.personium.core.authn.account.validAuthnInterval",
            delay_secs,
        )
        .setting("io.personium.core.authn.account.lockCount", 3)
        .setting("io.personium.core.authn.account.lockTime", 600);
    let unit = StorageUnit::start(builder);
    unit.create_cell("c").await;
    unit.create_cell("app").await;
    unit.create_account("c", r#"{"Name":"me"}"#).await;
    unit
}

async fn login_status(unit: &ProcessUnit, password: &str) -> u16 {
    let fields = [
        ("grant_type", "password"),
        ("username", "me"),
        ("password", password),
    ];
    unit.request_token("c", &fields).await.status.as_u16()
}

/// Checks that logins, refresh tokens and codes work, and each code once.
async fn check_logins(unit: &ProcessUnit) {
    assert_eq!(login_status(unit, PASSWORD).await, 200);
    let tokens = unit.login("c", &[]).await;
    let refresh_token = text_member(&tokens, "refresh_token");
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh_token.as_str()),
    ];
    unit.request_token("c", &fields).await.expect(200);
    let app = unit.cell_url("app");
    let code = new_code(unit, &app).await;
    assert_eq!(redeem_status(unit, &app, &code).await, 200);
    assert_eq!(redeem_status(unit, &app, &code).await, 400);
}

/// The value of a metric of the only cache server.
async fn cache_metric(unit: &StorageUnit, name: &str) -> u64 {
    let (_, metrics) = unit.admin_text("metrics").await;
    let mut lines = metrics.lines();
    let line = lines.find(|line| line.starts_with(&format!("{name}{{server=\"127.0.0.1:")));
    let line = line.unwrap_or_else(|| panic!("{name} in\n{metrics}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn logins_locks_and_codes_are_the_same_when_memcached_is_killed_and_back() {
    let mut memcached = Memcached::start();
    let unit = unit_with_cache_on(&memcached.address(), 0).await;
    let app = unit.cell_url("app");
    let code = new_code(&unit, &app).await;
    assert_eq!(redeem_status(&unit, &app, &code).await, 200);
    check_logins(&unit).await;
    for _ in 0..2 {
        assert_eq!(login_status(&unit, "wrong1").await, 400);
    }
    memcached.kill();
    assert_eq!(redeem_status(&unit, &app, &code).await, 400, "it was used");
    check_logins(&unit).await;
    for _ in 0..3 {
        assert_eq!(login_status(&unit, "wrong1").await, 400);
    }
    assert_eq!(login_status(&unit, PASSWORD).await, 400, "it is locked");
    memcached.start_again();
    assert_eq!(login_status(&unit, PASSWORD).await, 400, "it is locked");
}

#[tokio::test]
async fn delay_after_a_failed_login_is_in_memcached_and_ends_if_it_is_killed_or_stuck() {
    let mut memcached = Memcached::start();
    let unit = unit_with_cache_on(&memcached.address(), 600).await;
    check_logins(&unit).await;
    assert_eq!(login_status(&unit, "wrong1").await, 400);
    assert_eq!(login_status(&unit, PASSWORD).await, 400, "it is too soon");
    assert_eq!(cache_metric(&unit, "personium_cache_errors_total").await, 0);
    memcached.kill();
    assert_eq!(login_status(&unit, PASSWORD).await, 200);
    assert!(cache_metric(&unit, "personium_cache_errors_total").await >= 1);
    check_logins(&unit).await;

    memcached.start_again();
    memcached.pause();
    check_logins(&unit).await;
    memcached.resume();
    // The server is tried again after a while.
    while cache_metric(&unit, "personium_cache_server_skipped").await == 1 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    check_logins(&unit).await;
    let log = unit.log();
    assert!(
        log.contains("memcached failed, continuing without it"),
        "{log}"
    );
}

#[tokio::test]
async fn check_says_whether_memcached_answers() {
    let mut memcached = Memcached::start();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let data = data.to_str().unwrap();
    let check = |address: &str| {
        let setting = format!("cache.memcached.host={address}");
        let listen = "listen=127.0.0.1:0";
        let options = ["check", "--data", data, "-c", &setting, "-c", listen];
        let output = program::run(&options);
        assert!(output.status.success(), "it is no error");
        program::text(&output)
    };
    let address = memcached.address();
    let text = check(&address);
    assert!(text.contains("the memcached can be used"), "{text}");
    memcached.kill();
    let text = check(&address);
    let line = text
        .lines()
        .find(|line| line.contains(&address) && line.contains("WARNING"));
    assert!(
        line.is_some_and(|line| line.contains("the memcached cannot be used")),
        "{text}"
    );
}
