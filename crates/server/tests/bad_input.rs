//! Input that is wrong on purpose against the built program: refused, never a 5xx, never the end of the unit.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends with the first surprise"
)]

#[path = "real_unit/process.rs"]
mod process;

use std::io::{BufReader, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use process::{Client, Unit, read_answer};

/// Statuses that say that the client is at fault, or that this unit does not offer it.
fn refused(status: u16) -> bool {
    (400..500).contains(&status) || matches!(status, 501 | 505)
}

/// Sends requests and collects what is wrong with the answers, so that one run shows all faults.
struct Judge<'u> {
    unit: &'u mut Unit,
    client: Client,
    faults: Vec<String>,
}

impl Judge<'_> {
    fn refuses(
        &mut self,
        what: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) {
        match self.client.send(method, path, headers, body.as_bytes()) {
            Ok(answer) if refused(answer.status) => {}
            Ok(answer) => self.faults.push(format!(
                "{what}: {} {}",
                answer.status,
                answer.text().chars().take(200).collect::<String>()
            )),
            // Closing the connection is a refusal too, as long as the unit lives.
            Err(_) => {}
        }
        self.lives(what);
    }

    /// Any answer below 500 will do.
    fn survives(
        &mut self,
        what: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) {
        if let Ok(answer) = self.client.send(method, path, headers, body.as_bytes())
            && answer.status >= 500
            && answer.status != 501
        {
            self.faults
                .push(format!("{what}: {} {}", answer.status, answer.text()));
        }
        self.lives(what);
    }

    /// Bytes as they are, on a connection of their own.
    fn raw(&mut self, what: &str, bytes: &[u8]) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.unit.port)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(120)))
            .unwrap();
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(Shutdown::Write);
        if let Ok(answer) = read_answer(&mut BufReader::new(stream), false)
            && !refused(answer.status)
        {
            self.faults.push(format!("{what}: {}", answer.status));
        }
        self.lives(what);
    }

    fn lives(&mut self, what: &str) {
        assert!(
            self.unit.running(),
            "{what} ended the unit\n{}",
            self.unit.log()
        );
    }

    fn close(self) {
        let log = self.unit.log();
        assert!(!log.contains("panicked"), "{log}");
        assert!(
            self.faults.is_empty(),
            "{} faults:\n{}",
            self.faults.len(),
            self.faults.join("\n")
        );
    }
}

/// A unit with a cell `bad`, an OData collection `data` with a type `Row` and one row, and a file `file`.
fn prepared(purpose: &str) -> (Unit, Client) {
    let unit = Unit::start(purpose);
    let mut owner = unit.cell_with_owner("bad");
    owner.make_odata("/bad/box/data", "Row");
    owner.made(
        "POST",
        "/bad/box/data/Row",
        "{\"__id\":\"one\",\"n\":1,\"text\":\"some\"}",
    );
    owner.made("PUT", "/bad/box/file", "content");
    (unit, owner)
}

macro_rules! judged {
    ($purpose:literal, $judge:ident, $body:block) => {
        let (mut unit, client) = prepared($purpose);
        let mut $judge = Judge { unit: &mut unit, client, faults: Vec::new() };
        $body
        $judge.client.made("GET", "/bad/box/file", "");
        $judge.close();
    };
}

#[test]
fn framing() {
    judged!("bad-framing", judge, {
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
    judged!("bad-paths", judge, {
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
    judged!("bad-headers", judge, {
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

#[test]
fn xml() {
    let bomb = "<!DOCTYPE b [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\"><!ENTITY c \"&b;&b;&b;&b;&b;&b;&b;&b;\">]>";
    let outside = "<!DOCTYPE b [<!ENTITY c SYSTEM \"file:///etc/hostname\">]>";
    let deep = format!(
        "<D:propfind xmlns:D='DAV:'>{}{}</D:propfind>",
        "<D:prop>".repeat(20_000),
        "</D:prop>".repeat(20_000)
    );
    judged!("bad-xml", judge, {
        for (method, root) in [
            ("PROPFIND", "propfind"),
            ("PROPPATCH", "propertyupdate"),
            ("ACL", "acl"),
            ("MKCOL", "mkcol"),
        ] {
            let path = if method == "MKCOL" {
                "/bad/box/made"
            } else {
                "/bad/box/file"
            };
            let depth = [("Depth", "0"), ("Content-Type", "application/xml")];
            for (what, body) in [
                ("no XML", "nothing".to_owned()),
                ("half", format!("<D:{root} xmlns:D='DAV:'>")),
                ("another root", "<x/>".to_owned()),
                ("no namespace declared", format!("<D:{root}/>")),
                (
                    "a bomb",
                    format!("<?xml version='1.0'?>{bomb}<D:{root} xmlns:D='DAV:'>&c;</D:{root}>"),
                ),
                (
                    "a file of the machine",
                    format!(
                        "<?xml version='1.0'?>{outside}<D:{root} xmlns:D='DAV:'>&c;</D:{root}>"
                    ),
                ),
                (
                    "control characters",
                    format!("<D:{root} xmlns:D='DAV:'>\u{1}</D:{root}>"),
                ),
            ] {
                judge.refuses(
                    &format!("{method} with {what}"),
                    method,
                    path,
                    &depth,
                    &body,
                );
            }
            judge.refuses(
                &format!("{method} nested too deep"),
                method,
                path,
                &depth,
                &deep,
            );
            let attributes: String = (0..20_000).map(|n| format!(" a{n}='x'")).collect();
            judge.survives(
                &format!("{method} with many attributes"),
                method,
                path,
                &depth,
                &format!("<D:{root} xmlns:D='DAV:'{attributes}/>"),
            );
        }
        let none: [(&str, &str); 0] = [];
        judge.refuses("a list for a role that is not there", "ACL", "/bad/box/file", &none, "<D:acl xmlns:D='DAV:' xml:base='http://localhost/bad/__role/__/'><D:ace><D:principal><D:href>nobody</D:href></D:principal><D:grant><D:privilege><D:read/></D:privilege></D:grant></D:ace></D:acl>");
        judge.refuses("a privilege that is none", "ACL", "/bad/box/file", &none, "<D:acl xmlns:D='DAV:'><D:ace><D:principal><D:all/></D:principal><D:grant><D:privilege><D:fly/></D:privilege></D:grant></D:ace></D:acl>");
    });
}

#[test]
fn json_and_queries() {
    let deep_list = format!("{{\"a\":{}{}}}", "[".repeat(50_000), "]".repeat(50_000));
    let deep_object = format!("{}1{}", "{\"a\":".repeat(50_000), "}".repeat(50_000));
    let deep_filter = format!("{}n%20eq%201{}", "(".repeat(3000), ")".repeat(3000));
    let long_filter = (0..2000)
        .map(|n| format!("n%20eq%20{n}"))
        .collect::<Vec<_>>()
        .join("%20or%20");
    judged!("bad-json", judge, {
        for (what, body) in [
            ("nothing", ""),
            ("half", "{\"a\":"),
            ("a list", "[]"),
            ("a number", "7"),
            ("twice the same name", "{\"a\":1,\"a\":2}"),
            ("a lone surrogate", "{\"a\":\"\\ud800\"}"),
            ("a number without end", "{\"a\":1e999999}"),
            ("no number", "{\"a\":NaN}"),
            ("something after", "{} {}"),
            ("a comment", "{/**/}"),
            ("lists too deep", &deep_list),
            ("objects too deep", &deep_object),
            ("a reserved name", "{\"__published\":\"x\"}"),
            ("an id that is none", "{\"__id\":[]}"),
            ("an empty name", "{\"\":1}"),
            (
                "a date that is none",
                "{\"__id\":\"/Date(x)/\",\"d\":\"\\/Date(99999999999999999999)\\/\"}",
            ),
        ] {
            judge.survives(
                &format!("a row from {what}"),
                "POST",
                "/bad/box/data/Row",
                &[],
                body,
            );
            judge.survives(
                &format!("a row changed by {what}"),
                "MERGE",
                "/bad/box/data/Row('one')",
                &[("If-Match", "*")],
                body,
            );
            judge.survives(
                &format!("an account from {what}"),
                "POST",
                "/bad/__ctl/Account",
                &[("Authorization", "Bearer test-master-token")],
                body,
            );
        }
        for body in [
            "",
            "{\"a\":",
            "[]",
            "{} {}",
            deep_list.as_str(),
            deep_object.as_str(),
        ] {
            judge.refuses(
                &format!("a row from {}", body.chars().take(10).collect::<String>()),
                "POST",
                "/bad/box/data/Row",
                &[],
                body,
            );
        }
        for query in [
            "$top=-1",
            "$top=x",
            "$top=99999999999999999999",
            "$skip=-1",
            "$skip=99999999999999999999",
            "$filter=",
            "$filter=n",
            "$filter=n%20eq",
            "$filter=eq%20eq%20eq",
            "$filter=n%20eq%20%27",
            "$filter=%27",
            "$filter=fly(n)",
            "$filter=substringof(",
            "$filter=n%20eq%2099999999999999999999",
            "$filter=%00",
            "$filter=%ff",
            "$orderby=",
            "$orderby=n%20sideways",
            "$orderby=,",
            "$select=",
            "$select=,,",
            "$expand=_Nothing",
            "$expand=",
            "$inlinecount=some",
            "$format=yaml",
            "$top=1&$top=2",
            "q=",
            "$callback=%3Cscript%3E",
            "%24%24=1",
            "=",
            "&&&",
            "$filter=n%20eq%20datetime%27x%27",
        ] {
            judge.survives(query, "GET", &format!("/bad/box/data/Row?{query}"), &[], "");
        }
        judge.refuses(
            "a filter nested too deep",
            "GET",
            &format!("/bad/box/data/Row?$filter={deep_filter}"),
            &[],
            "",
        );
        judge.survives(
            "a long filter",
            "GET",
            &format!("/bad/box/data/Row?$filter={long_filter}"),
            &[],
            "",
        );
        judge.refuses(
            "$top below zero",
            "GET",
            "/bad/box/data/Row?$top=-1",
            &[],
            "",
        );
        judge.refuses(
            "an unknown function",
            "GET",
            "/bad/box/data/Row?$filter=fly(n)",
            &[],
            "",
        );
    });
}

#[test]
fn batches_and_tokens() {
    let many = "--b\r\nContent-Type: application/http\r\n\r\nGET Row HTTP/1.1\r\n\r\n\r\n"
        .repeat(1001)
        + "--b--\r\n";
    judged!("bad-batches", judge, {
        let with = |kind: &'static str| [("Content-Type", kind)];
        for (what, kind, body) in [
            ("no boundary", "multipart/mixed", "--b\r\n--b--"),
            ("an empty boundary", "multipart/mixed; boundary=", "----"),
            ("no body", "multipart/mixed; boundary=b", ""),
            (
                "no end",
                "multipart/mixed; boundary=b",
                "--b\r\nContent-Type: application/http\r\n\r\nGET Row HTTP/1.1\r\n",
            ),
            ("no part", "multipart/mixed; boundary=b", "--b--"),
            (
                "a part without type",
                "multipart/mixed; boundary=b",
                "--b\r\n\r\nGET Row HTTP/1.1\r\n\r\n--b--",
            ),
            (
                "a set in a set",
                "multipart/mixed; boundary=b",
                "--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\nContent-Type: multipart/mixed; boundary=d\r\n\r\n--d--\r\n--c--\r\n--b--",
            ),
            (
                "a path out of the collection",
                "multipart/mixed; boundary=b",
                "--b\r\nContent-Type: application/http\r\n\r\nGET ../../other HTTP/1.1\r\n\r\n--b--",
            ),
            ("too many parts", "multipart/mixed; boundary=b", &many),
        ] {
            judge.refuses(
                &format!("a batch with {what}"),
                "POST",
                "/bad/box/data/$batch",
                &with(kind),
                body,
            );
        }
        for form in [
            "",
            "=",
            "grant_type",
            "grant_type=password",
            "grant_type=password&username=me",
            "grant_type=password&username=me&password=no",
            "grant_type=fly",
            "grant_type=refresh_token&refresh_token=x",
            "grant_type=refresh_token&refresh_token=RA~",
            "grant_type=authorization_code&code=GC~x",
            "grant_type=urn:ietf:params:oauth:grant-type:saml2-bearer&assertion=x",
            "grant_type=urn:ietf:params:oauth:grant-type:saml2-bearer&assertion=PD94bWwg",
            "grant_type=password&username=%00&password=%ff",
            "grant_type=password&username=me&password=password1&expires_in=-1",
            "grant_type=password&username=me&password=password1&p_target=x",
            "grant_type=password&username=me&password=password1&p_target=http%3A%2F%2Fa%0d%0aX:y/",
            "grant_type=password&username=me&password=password1&client_id=x&client_secret=y",
        ] {
            judge.refuses(
                &format!("token for {form}"),
                "POST",
                "/bad/__token",
                &[
                    ("Authorization", "Bearer none"),
                    ("Content-Type", "application/x-www-form-urlencoded"),
                ],
                form,
            );
        }
        let bomb = format!(
            "grant_type=urn:ietf:params:oauth:grant-type:saml2-bearer&assertion={}",
            "QUFB".repeat(400_000)
        );
        judge.refuses("a large assertion", "POST", "/bad/__token", &[], &bomb);
        let fields = "a=b&".repeat(200_000);
        judge.refuses("many fields", "POST", "/bad/__token", &[], &fields);
    });
}
