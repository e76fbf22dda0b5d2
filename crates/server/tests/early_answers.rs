//! Answers that come before the request has been read to its end, from the built program.
#![expect(
    clippy::disallowed_methods,
    reason = "a test may use the real clock and randomness"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends with the first surprise"
)]

#[path = "real_unit/process.rs"]
mod process;

use process::{Client, Unit};

/// The head of a request that nobody may make.
fn refused(unit: &Unit, more: &str) -> Vec<u8> {
    let port = unit.port;
    format!("POST /__ctl/Cell HTTP/1.1\r\nHost: localhost:{port}\r\n{more}\r\n\r\n").into_bytes()
}

/// The unit's document, asked for after the bytes that an earlier request still owes.
fn next(unit: &Unit, owed: &str) -> Vec<u8> {
    let port = unit.port;
    format!("{owed}GET / HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n").into_bytes()
}

#[test]
fn a_short_body_nobody_wants_leaves_the_connection_usable() {
    let unit = Unit::start("early-short");
    let mut client = Client::new(unit.port, "");
    for _ in 0..20 {
        let answer = client
            .exchange(&refused(&unit, "Content-Length: 6"), false)
            .unwrap();
        assert_eq!(answer.status, 401, "{}", answer.text());
        assert_eq!(answer.header("connection"), None);
        let after = client.exchange(&next(&unit, "abcdef"), false).unwrap();
        assert_eq!(after.status, 200, "{}", after.text());
    }
}

#[test]
fn a_body_that_is_left_behind_ends_the_connection_and_says_so() {
    let unit = Unit::start("early-long");
    for body in [
        "Content-Length: 10000000",
        "Transfer-Encoding: chunked",
        "Content-Length: 6\r\nExpect: 100-continue",
    ] {
        let mut client = Client::new(unit.port, "");
        let answer = client.exchange(&refused(&unit, body), false).unwrap();
        assert_eq!(answer.status, 401, "{body}: {}", answer.text());
        assert_eq!(answer.header("connection"), Some("close"), "{body}");
        assert!(client.exchange(&next(&unit, ""), false).is_err(), "{body}");
    }
}
