//! SIGHUP: what it reloads, and that it never ends the unit.

use crate::program::{logged_after, signal};

const LIST: &str = "__ctl/Cell?$top=6";

#[tokio::test]
async fn sighup_applies_settings_and_names_those_that_need_a_restart() {
    let mut unit = crate::unit()
        .setting("io.personium.core.odata.query.top.default", 5)
        .setting("io.personium.core.odata.query.top.maxnum", 5)
        .setting("io.personium.core.log.format", "text")
        .start();
    let status = async |unit: &personium_testkit::ProcessUnit| {
        unit.admin_request("GET", LIST)
            .body("")
            .try_send()
            .await
            .unwrap()
            .status
            .as_u16()
    };
    assert_eq!(status(&unit).await, 400);

    unit.replace_in_settings("top.maxnum=5", "top.maxnum=6");
    unit.replace_in_settings("secret16=0123456789abcdef", "secret16=another-secret-16");
    unit.replace_in_settings(
        "log.format=text",
        "log.format=text\nio.personium.core.log.filter=debug",
    );
    let before = unit.log().len();
    signal(unit.process_id(), "HUP");
    let log = logged_after(&unit, before, "settings reloaded").await;
    let line = log
        .lines()
        .find(|line| line.contains("settings reloaded"))
        .unwrap();
    assert!(
        line.contains("security.secret16"),
        "a changed secret is noticed: {line}"
    );
    assert!(
        !line.contains("top.maxnum") && !line.contains("log.filter"),
        "{line}"
    );
    assert_eq!(status(&unit).await, 200);
    assert!(unit.is_running());

    // A file that cannot be used changes nothing.
    for (from, to, part) in [
        ("top.maxnum=6", "top.maxnum=none", "top.maxnum"),
        (
            "top.maxnum=none",
            "top.maxnum=6\nio.personium.core.x509.root=none.crt",
            "none.crt",
        ),
    ] {
        unit.replace_in_settings(from, to);
        let before = unit.log().len();
        signal(unit.process_id(), "HUP");
        let log = logged_after(&unit, before, "settings not reloaded").await;
        assert!(log.contains(part), "{log}");
        assert_eq!(status(&unit).await, 200);
    }
    std::fs::remove_file(unit.folder().join("unit.properties")).unwrap();
    let before = unit.log().len();
    signal(unit.process_id(), "HUP");
    let log = logged_after(&unit, before, "settings not reloaded").await;
    assert_eq!(
        log.matches("No such file").count(),
        1,
        "a cause is named once: {log}"
    );
    assert!(unit.is_running());
    assert_eq!(status(&unit).await, 200);
}

#[tokio::test]
async fn many_signals_do_not_end_the_unit() {
    let mut unit = crate::unit().start();
    for _ in 0..50 {
        signal(unit.process_id(), "HUP");
    }
    unit.admin().call("GET", "__ctl/Cell", "").await;
    assert!(unit.is_running());
}
