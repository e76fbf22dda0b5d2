//! Responses that are sent before the request is read to its end.

use personium_testkit::{MASTER_TOKEN, ProcessUnit, RawBody, RawConnection};

use crate::script_workers::start_with_script;

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

#[tokio::test]
async fn script_that_does_not_read_its_request_is_answered_at_once() {
    let script = "return {status: 200, headers: {}, body: ['done']};".replace(' ', "%20");
    for isolation in ["thread", "process"] {
        let name = "io.personium.core.engine.script.isolation";
        let unit = start_with_script(crate::unit().setting(name, isolation)).await;
        let head = |more: &str| {
            let port = unit.port();
            format!(
                "POST /c/b/svc/x HTTP/1.1\r\nHost: localhost:{port}\r\nAuthorization: Bearer {MASTER_TOKEN}\r\nX-Code: {script}\r\n{more}"
            )
        };
        let mut connection = RawConnection::open_once(unit.port()).await.unwrap();
        for _ in 0..20 {
            let request = head("Content-Length: 6\r\n\r\nabcdef");
            let response = connection
                .exchange(request.as_bytes(), RawBody::Count)
                .await;
            assert_eq!(response.unwrap().status, 200, "{isolation}");
        }
        let mut connection = RawConnection::open_once(unit.port()).await.unwrap();
        let request = head("Content-Length: 10000000\r\n\r\nabcdef");
        let response = connection
            .exchange(request.as_bytes(), RawBody::Count)
            .await;
        assert_eq!(response.unwrap().status, 200, "{isolation}");
        // A panic of a thread would not be seen otherwise.
        let log = unit.log();
        assert!(!log.contains("panicked"), "{isolation}: {log}");
    }
}
