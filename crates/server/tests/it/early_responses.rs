//! Responses that are sent before the request is read to its end.

use personium_testkit::{ProcessUnit, RawBody, RawConnection};

/// The head of a request that is refused.
fn refused_request(unit: &ProcessUnit, more: &str) -> Vec<u8> {
    let port = unit.port();
    format!("POST /__ctl/Cell HTTP/1.1\r\nHost: localhost:{port}\r\n{more}\r\n\r\n").into_bytes()
}

/// A request for the unit's document, after the rest of an earlier request.
fn next_request(unit: &ProcessUnit, rest: &str) -> Vec<u8> {
    let port = unit.port();
    format!("{rest}GET / HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn connection_stays_usable_after_a_short_unread_body() {
    let unit = crate::unit().start();
    let mut connection = RawConnection::open_once(unit.port()).await.unwrap();
    for _ in 0..20 {
        let request = refused_request(&unit, "Content-Length: 6");
        let response = connection.exchange(&request, RawBody::Count).await.unwrap();
        assert_eq!(response.status, 401);
        assert_eq!(connection.header("connection"), None);
        let next = next_request(&unit, "abcdef");
        let response = connection.exchange(&next, RawBody::Count).await.unwrap();
        assert_eq!(response.status, 200);
    }
}

#[tokio::test]
async fn connection_is_closed_with_notice_after_a_long_unread_body() {
    let unit = crate::unit().start();
    for body in [
        "Content-Length: 10000000",
        "Transfer-Encoding: chunked",
        "Content-Length: 6\r\nExpect: 100-continue",
    ] {
        let mut connection = RawConnection::open_once(unit.port()).await.unwrap();
        let request = refused_request(&unit, body);
        let response = connection.exchange(&request, RawBody::Count).await.unwrap();
        assert_eq!(response.status, 401, "{body}");
        assert_eq!(connection.header("connection"), Some("close"), "{body}");
        let next = next_request(&unit, "");
        let closed = connection.exchange(&next, RawBody::Count).await;
        assert!(closed.is_err(), "{body}");
    }
}
