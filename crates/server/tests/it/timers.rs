//! Timers of rules, as the built program fires them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use personium_testkit::{ProcessUnit, wait_until, wait_until_within};
use serde_json::json;

const SETTING: &str = "io.personium.core.rule.timerEvent.thread.num";
/// More than the time within which a timer of this minute fires.
const FIRING_LIMIT: Duration = Duration::from_secs(15);

/// The number of lines of the event log.
async fn fired(unit: &ProcessUnit) -> usize {
    let log = unit.admin_request("GET", "c/__log/current/default.log");
    match log.send().await {
        log if log.status == 200 => log.text().lines().count(),
        _ => 0,
    }
}

/// Makes a rule for a timer of this minute. Returns the status.
async fn make_timer(unit: &ProcessUnit, name: usize) -> u16 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let rule = json!({
        "Name": format!("t{name}"), "EventType": "timer.oneshot", "EventInfo": "i", "Action": "log",
        "EventObject": now.as_millis().to_string(),
    });
    let admin = unit.admin();
    let made = admin.post("c/__ctl/Rule", &rule.to_string()).await;
    made.status.as_u16()
}

/// Kills the unit and starts it again with another number.
fn restart_with(unit: &mut ProcessUnit, from: u32, to: u32) {
    unit.kill();
    unit.replace_in_settings(&format!("{SETTING}={from}"), &format!("{SETTING}={to}"));
    unit.restart();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn process_with_no_worker_for_timers_fires_none_and_makes_up_for_them_once_it_has_one() {
    let mut unit = crate::unit().setting(SETTING, 1).start();
    unit.admin().create_cell("c").await;
    let mut made = 0;
    let mut before = 0;
    // On a slow machine a timer may fire before the unit is killed, or its minute may end.
    loop {
        made += usize::from(make_timer(&unit, made).await == 201);
        tokio::task::block_in_place(|| restart_with(&mut unit, 1, 0));
        before = before.max(fired(&unit).await);
        if before < made {
            break;
        }
        tokio::task::block_in_place(|| restart_with(&mut unit, 0, 1));
    }
    tokio::time::sleep(FIRING_LIMIT).await;
    assert_eq!(fired(&unit).await, before);
    // Nobody else can fire it.
    assert_eq!(make_timer(&unit, made).await, 400);
    let shown = unit.admin_request("GET", "c/__rule").send().await.json();
    assert!(shown.get("timers").is_none(), "{shown}");
    tokio::task::block_in_place(|| restart_with(&mut unit, 0, 4));
    wait_until_within(Duration::from_secs(300), "the timer fires", async || {
        fired(&unit).await == made
    })
    .await;
    wait_until("a timer can be made", async || {
        make_timer(&unit, made).await == 201
    })
    .await;
}
