//! Requests that are wrong on purpose against the built program: refused, never a 5xx, never the end of the unit.
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

#[path = "real_unit/judge.rs"]
mod judge;
#[path = "real_unit/process.rs"]
mod process;

use judge::judged;

#[test]
fn framing() {
    judged("bad-framing", |judge| {
        judge.raw(
            "no HTTP at all",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        );
        judge.raw("zeros", &[0; 4096]);
        judge.raw("HTTP/3.7", b"GET / HTTP/3.7\r\nHost: localhost\r\n\r\n");
        judge.raw(
            "blank in the path",
            b"GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n",
        );
        judge.raw(
            "negative length",
            b"PUT /bad/box/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        );
        judge.raw("length beyond numbers", b"PUT /bad/box/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n");
        judge.raw("two lengths", b"PUT /bad/box/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab");
        judge.raw("length and chunks", b"PUT /bad/box/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
        judge.raw("a chunk without size", b"PUT /bad/box/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n");
        judge.raw("a chunk beyond numbers", b"PUT /bad/box/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nab\r\n");
        judge.raw(
            "control characters in a header",
            b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\x01\x00b\r\n\r\n",
        );
        judge.raw(
            "blank before the colon",
            b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
        );
    });
}

#[test]
fn paths() {
    judged("bad-paths", |judge| {
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
            judge.survives(path, "GET", path, &[], "");
            judge.survives(path, "DELETE", path, &[("If-Match", "\"never\"")], "");
            judge.survives(path, "PROPFIND", path, &[("Depth", "1")], "");
        }
        for path in [
            "/bad/box/%00",
            "/bad/box/%ff",
            "/bad/box/a%2fb",
            "/bad/box/a%5cb",
            "/bad/box/..",
            "/bad/box/a%01b",
        ] {
            judge.survives(&format!("PUT {path}"), "PUT", path, &[], "x");
            judge.survives(&format!("MKCOL {path}"), "MKCOL", path, &[], "");
        }
        let deep = format!("/bad/box/{}", "a/".repeat(3000));
        judge.refuses("a deep path", "PUT", &deep, &[], "x");
        let long = format!("/bad/box/{}", "a".repeat(5000));
        judge.refuses("a long name", "PUT", &long, &[], "x");
    });
}

#[test]
fn headers() {
    judged("bad-headers", |judge| {
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
            judge.refuses(
                value,
                "GET",
                "/bad/__ctl/Account",
                &[("Authorization", value)],
                "",
            );
        }
        let huge = format!("Bearer AR~{}", "A".repeat(20_000));
        judge.refuses(
            "a long token",
            "GET",
            "/bad/__ctl/Account",
            &[("Authorization", &huge)],
            "",
        );
        for value in [
            "bytes=",
            "bytes=-",
            "bytes=9-1",
            "bytes=a-b",
            "bytes=99999999999999999999-",
            "lines=1-2",
            "bytes=0-0,1-1,2-2,-1",
        ] {
            judge.survives(
                &format!("Range {value}"),
                "GET",
                "/bad/box/file",
                &[("Range", value)],
                "",
            );
        }
        for value in ["", "\"", "W/", "W/\"x", "*, \"a\"", "\"1-1\", \"1-2\""] {
            judge.survives(
                &format!("If-Match {value}"),
                "PUT",
                "/bad/box/file",
                &[("If-Match", value)],
                "content",
            );
            judge.survives(
                &format!("If-None-Match {value}"),
                "GET",
                "/bad/box/file",
                &[("If-None-Match", value)],
                "",
            );
        }
        for value in ["", "2", "-1", "infinite", "1,noroot"] {
            judge.refuses(
                &format!("Depth {value}"),
                "PROPFIND",
                "/bad/box",
                &[("Depth", value)],
                "",
            );
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
            judge.refuses(
                &format!("Destination {value}"),
                "MOVE",
                "/bad/box/file",
                &[("Destination", value)],
                "",
            );
        }
        judge.refuses("no destination", "MOVE", "/bad/box/file", &[], "");
        for method in ["FOO", "COPY", "LOCK", "TRACE", "CONNECT", "get"] {
            judge.refuses(method, method, "/bad/box/file", &[("Depth", "0")], "");
        }
        for value in ["x", "-5", "bad/../x"] {
            judge.survives(
                &format!("X-Forwarded-Path {value}"),
                "GET",
                "/bad/box/file",
                &[("X-Forwarded-Path", value), ("X-Forwarded-Host", value)],
                "",
            );
        }
    });
}
