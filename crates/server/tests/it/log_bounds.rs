//! The log of the running program stays bounded, whatever clients do.

use serde_json::Value;

use crate::program::logged_after;

/// More failed logins than the log takes in an interval.
const LOGINS: usize = 150;

/// The lines of a log that are JSON with this message.
fn lines(log: &str, message: &str) -> Vec<Value> {
    let lines = log.lines();
    let lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["message"] == message).collect()
}

#[tokio::test]
async fn lines_of_failed_logins_are_bounded_and_the_others_are_counted() {
    let mut unit = crate::unit()
        .setting("io.personium.core.log.format", "json")
        .setting(
            "io.personium.core.security.auth.password.scrypt.cpuCost",
            "2",
        )
        // Refused logins would have no line of this place.
        .setting("io.personium.core.authn.rateLimit.burst", "0")
        .start();
    unit.create_cell("c").await;
    let mut sent = 0;
    // As fast as this machine is, until there were too many in an interval.
    while lines(&unit.log(), "login failed").len() == sent {
        assert!(sent < 100 * LOGINS, "all failed logins are logged");
        let attempts = (0..LOGINS).map(|number| {
            let client = unit.reconnect();
            async move {
                let name = format!("nobody{number}");
                let fields = [
                    ("grant_type", "password"),
                    ("username", name.as_str()),
                    ("password", "wrong"),
                ];
                let refused = client.request_token("c", &fields).await;
                assert!(refused.status.is_client_error(), "{}", refused.text());
            }
        });
        futures_util::future::join_all(attempts).await;
        sent += LOGINS;
    }
    unit.terminate();
    assert!(unit.wait());
    let log = logged_after(&unit, 0, "unit stopped").await;
    let left_out = lines(&log, "lines of the log were left out").into_iter();
    let left_out: u64 = left_out
        .filter(|line| line["place"].as_str().unwrap().contains("login_refusal"))
        .map(|line| line["lines"].as_u64().unwrap())
        .sum();
    let written = lines(&log, "login failed").len();
    assert!(left_out > 0, "{written} of {sent}");
    assert_eq!(written + usize::try_from(left_out).unwrap(), sent);
}
