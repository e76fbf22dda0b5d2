//! Hostile requests: refused, never a 5xx, never the end of the unit.

use crate::checker::Checker;

#[tokio::test]
async fn malformed_framing_is_refused() {
    let mut checker = Checker::start().await;
    checker
        .expect_raw_refusal(
            "no HTTP at all",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        )
        .await;
    checker.expect_raw_refusal("zeros", &[0; 4096]).await;
    checker
        .expect_raw_refusal("HTTP/3.7", b"GET / HTTP/3.7\r\nHost: localhost\r\n\r\n")
        .await;
    checker
        .expect_raw_refusal(
            "blank in the path",
            b"GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n",
        )
        .await;
    checker
        .expect_raw_refusal(
            "negative length",
            b"PUT /bad/box/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        )
        .await;
    checker.expect_raw_refusal("length beyond numbers", b"PUT /bad/box/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n").await;
    checker.expect_raw_refusal("two lengths", b"PUT /bad/box/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab").await;
    checker.expect_raw_refusal("length and chunks", b"PUT /bad/box/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").await;
    checker.expect_raw_refusal("a chunk without size", b"PUT /bad/box/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n").await;
    checker.expect_raw_refusal("a chunk beyond numbers", b"PUT /bad/box/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nab\r\n").await;
    checker
        .expect_raw_refusal(
            "two hosts",
            b"GET /bad HTTP/1.1\r\nHost: localhost\r\nHost: other\r\n\r\n",
        )
        .await;
    checker.expect_raw_refusal("chunked twice", b"PUT /bad/box/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n").await;
    checker
        .expect_raw_refusal(
            "control characters in a header",
            b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\x01\x00b\r\n\r\n",
        )
        .await;
    checker
        .expect_raw_refusal(
            "blank before the colon",
            b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
        )
        .await;
    checker.finish().await;
}

#[tokio::test]
async fn hostile_paths_do_not_fail_the_server() {
    let mut checker = Checker::start().await;
    for path in [
        "/bad/box/%00",
        "/bad/box/%",
        "/bad/box/%zz",
        "/bad/box/%ff%fe",
        "/bad/box/%c0%af",
        "/bad/box/%ed%a0%80",
        "/bad/box/../../../../outside",
        "/bad/box/%2e%2e/%2e%2e/outside",
        "/bad/box/..%2f..%2foutside",
        "/bad/box//",
        "/bad/box/.",
        "/%2e%2e/__ctl/Cell",
        "//",
        "/bad//box",
        "/bad/__ctl/Account('",
        "/bad/__ctl/Account('')",
        "/bad/__ctl/Account(''')",
        "/bad/__ctl/Account(Name='a',Name='b')",
        "/bad/__ctl/Account('a')('b')",
        "/bad/__ctl/Account('a')/$links/",
        "/bad/__ctl/$links/_Role",
        "/bad/__ctl/Nothing",
        "/bad/box/data/Row('one')/",
        "/bad/box/data/Row('one')/_Nothing",
        "/bad/box/data/Row(",
        "/bad/box/data/$nothing",
        "/bad/box/data/Row('%27')",
        "/bad/box/data/Row('%00')",
        "/bad/__token/more",
        "/bad/box/file/below",
    ] {
        checker.expect_no_failure(path, "GET", path, &[], "").await;
        checker
            .expect_no_failure(path, "DELETE", path, &[("If-Match", "\"never\"")], "")
            .await;
        checker
            .expect_no_failure(path, "PROPFIND", path, &[("Depth", "1")], "")
            .await;
    }
    for path in [
        "/bad/box/%00",
        "/bad/box/%ff",
        "/bad/box/a%2fb",
        "/bad/box/a%5cb",
        "/bad/box/..",
        "/bad/box/a%01b",
    ] {
        checker
            .expect_no_failure(&format!("PUT {path}"), "PUT", path, &[], "x")
            .await;
        checker
            .expect_no_failure(&format!("MKCOL {path}"), "MKCOL", path, &[], "")
            .await;
    }
    let deep = format!("/bad/box/{}", "a/".repeat(3000));
    checker
        .expect_refusal("a deep path", "PUT", &deep, &[], "x")
        .await;
    let long = format!("/bad/box/{}", "a".repeat(5000));
    checker
        .expect_refusal("a long name", "PUT", &long, &[], "x")
        .await;
    checker.finish().await;
}

#[tokio::test]
async fn invalid_headers_are_refused() {
    let mut checker = Checker::start().await;
    for value in [
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Bearer AA~",
        "Bearer AR~!!!!",
        "Basic",
        "Basic !!!",
        "Basic YQ==",
        "Digest x",
        "Bearer PEF",
        "Bearer RA~AAAA",
        "Bearer \u{e9}",
    ] {
        checker
            .expect_refusal(
                value,
                "GET",
                "/bad/__ctl/Account",
                &[("Authorization", value)],
                "",
            )
            .await;
    }
    let huge = format!("Bearer AR~{}", "A".repeat(20_000));
    checker
        .expect_refusal(
            "a long token",
            "GET",
            "/bad/__ctl/Account",
            &[("Authorization", &huge)],
            "",
        )
        .await;
    for value in [
        "bytes=",
        "bytes=-",
        "bytes=9-1",
        "bytes=a-b",
        "bytes=99999999999999999999-",
        "lines=1-2",
        "bytes=0-0,1-1,2-2,-1",
    ] {
        checker
            .expect_no_failure(
                &format!("Range {value}"),
                "GET",
                "/bad/box/file",
                &[("Range", value)],
                "",
            )
            .await;
    }
    for value in ["", "\"", "W/", "W/\"x", "*, \"a\"", "\"1-1\", \"1-2\""] {
        checker
            .expect_no_failure(
                &format!("If-Match {value}"),
                "PUT",
                "/bad/box/file",
                &[("If-Match", value)],
                "content",
            )
            .await;
        checker
            .expect_no_failure(
                &format!("If-None-Match {value}"),
                "GET",
                "/bad/box/file",
                &[("If-None-Match", value)],
                "",
            )
            .await;
    }
    for value in ["", "2", "-1", "infinite", "1,noroot"] {
        checker
            .expect_refusal(
                &format!("Depth {value}"),
                "PROPFIND",
                "/bad/box",
                &[("Depth", value)],
                "",
            )
            .await;
    }
    for value in [
        "",
        "x",
        "/",
        "http://",
        "http://elsewhere.example/bad/box/y",
        "http://localhost:1/bad/box/y",
        "../y",
        "/bad/box/%00",
        "ftp://a/b",
    ] {
        checker
            .expect_refusal(
                &format!("Destination {value}"),
                "MOVE",
                "/bad/box/file",
                &[("Destination", value)],
                "",
            )
            .await;
    }
    checker
        .expect_refusal("no destination", "MOVE", "/bad/box/file", &[], "")
        .await;
    for method in ["FOO", "COPY", "LOCK", "TRACE", "CONNECT", "get"] {
        let head = checker.raw_head(method, "/bad/box/file", "Depth: 0\r\n");
        checker.expect_raw_refusal(method, &head).await;
    }
    for value in ["x", "-5", "bad/../x"] {
        checker
            .expect_no_failure(
                &format!("X-Forwarded-Path {value}"),
                "GET",
                "/bad/box/file",
                &[("X-Forwarded-Path", value), ("X-Forwarded-Host", value)],
                "",
            )
            .await;
    }
    checker.finish().await;
}
