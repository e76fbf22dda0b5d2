//! Hostile bodies and queries: refused, never a 5xx, never the end of the unit.

use crate::checker::Checker;

#[tokio::test]
async fn malformed_and_hostile_xml_is_refused() {
    let bomb = "<!DOCTYPE b [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\"><!ENTITY c \"&b;&b;&b;&b;&b;&b;&b;&b;\">]>";
    let outside = "<!DOCTYPE b [<!ENTITY c SYSTEM \"file:///etc/hostname\">]>";
    let deep = format!(
        "<D:propfind xmlns:D='DAV:'>{}{}</D:propfind>",
        "<D:prop>".repeat(20_000),
        "</D:prop>".repeat(20_000)
    );
    let mut checker = Checker::start().await;
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
                format!("<?xml version='1.0'?>{outside}<D:{root} xmlns:D='DAV:'>&c;</D:{root}>"),
            ),
            (
                "control characters",
                format!("<D:{root} xmlns:D='DAV:'>\u{1}</D:{root}>"),
            ),
        ] {
            checker
                .expect_refusal(
                    &format!("{method} with {what}"),
                    method,
                    path,
                    &depth,
                    &body,
                )
                .await;
        }
        checker
            .expect_refusal(
                &format!("{method} nested too deep"),
                method,
                path,
                &depth,
                &deep,
            )
            .await;
        let attributes: String = (0..20_000).map(|n| format!(" a{n}='x'")).collect();
        checker
            .expect_no_failure(
                &format!("{method} with many attributes"),
                method,
                path,
                &depth,
                &format!("<D:{root} xmlns:D='DAV:'{attributes}/>"),
            )
            .await;
    }
    let none: [(&str, &str); 0] = [];
    checker.expect_refusal("a list for a role that is not there", "ACL", "/bad/box/file", &none, "<D:acl xmlns:D='DAV:' xml:base='http://localhost/bad/__role/__/'><D:ace><D:principal><D:href>nobody</D:href></D:principal><D:grant><D:privilege><D:read/></D:privilege></D:grant></D:ace></D:acl>").await;
    checker.expect_refusal("a privilege that is none", "ACL", "/bad/box/file", &none, "<D:acl xmlns:D='DAV:'><D:ace><D:principal><D:all/></D:principal><D:grant><D:privilege><D:fly/></D:privilege></D:grant></D:ace></D:acl>").await;
    checker.finish().await;
}

#[tokio::test]
async fn malformed_json_and_queries_do_not_fail_the_server() {
    let admin = Checker::admin_authorization();
    let deep_list = format!("{{\"a\":{}{}}}", "[".repeat(50_000), "]".repeat(50_000));
    let deep_object = format!("{}1{}", "{\"a\":".repeat(50_000), "}".repeat(50_000));
    let deep_filter = format!("{}n%20eq%201{}", "(".repeat(3000), ")".repeat(3000));
    let long_filter = (0..2000)
        .map(|n| format!("n%20eq%20{n}"))
        .collect::<Vec<_>>()
        .join("%20or%20");
    let mut checker = Checker::start().await;
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
        checker
            .expect_no_failure(
                &format!("a row from {what}"),
                "POST",
                "/bad/box/data/Row",
                &[],
                body,
            )
            .await;
        checker
            .expect_no_failure(
                &format!("a row changed by {what}"),
                "MERGE",
                "/bad/box/data/Row('one')",
                &[("If-Match", "*")],
                body,
            )
            .await;
        checker
            .expect_no_failure(
                &format!("an account from {what}"),
                "POST",
                "/bad/__ctl/Account",
                &[("Authorization", &admin)],
                body,
            )
            .await;
    }
    for body in [
        "",
        "{\"a\":",
        "[]",
        "{} {}",
        deep_list.as_str(),
        deep_object.as_str(),
    ] {
        checker
            .expect_refusal(
                &format!("a row from {}", body.chars().take(10).collect::<String>()),
                "POST",
                "/bad/box/data/Row",
                &[],
                body,
            )
            .await;
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
        checker
            .expect_no_failure(query, "GET", &format!("/bad/box/data/Row?{query}"), &[], "")
            .await;
    }
    checker
        .expect_refusal(
            "a filter nested too deep",
            "GET",
            &format!("/bad/box/data/Row?$filter={deep_filter}"),
            &[],
            "",
        )
        .await;
    checker
        .expect_no_failure(
            "a long filter",
            "GET",
            &format!("/bad/box/data/Row?$filter={long_filter}"),
            &[],
            "",
        )
        .await;
    checker
        .expect_refusal(
            "$top below zero",
            "GET",
            "/bad/box/data/Row?$top=-1",
            &[],
            "",
        )
        .await;
    checker
        .expect_refusal(
            "an unknown function",
            "GET",
            "/bad/box/data/Row?$filter=fly(n)",
            &[],
            "",
        )
        .await;
    checker.finish().await;
}

#[tokio::test]
async fn malformed_batches_and_token_requests_are_refused() {
    let many = "--b\r\nContent-Type: application/http\r\n\r\nGET Row HTTP/1.1\r\n\r\n\r\n"
        .repeat(1001)
        + "--b--\r\n";
    let mut checker = Checker::start().await;
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
        checker
            .expect_refusal(
                &format!("a batch with {what}"),
                "POST",
                "/bad/box/data/$batch",
                &with(kind),
                body,
            )
            .await;
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
        checker
            .expect_refusal(
                &format!("token for {form}"),
                "POST",
                "/bad/__token",
                &[
                    ("Authorization", "Bearer none"),
                    ("Content-Type", "application/x-www-form-urlencoded"),
                ],
                form,
            )
            .await;
    }
    let bomb = format!(
        "grant_type=urn:ietf:params:oauth:grant-type:saml2-bearer&assertion={}",
        "QUFB".repeat(400_000)
    );
    checker
        .expect_refusal("a large assertion", "POST", "/bad/__token", &[], &bomb)
        .await;
    let fields = "a=b&".repeat(200_000);
    checker
        .expect_refusal("many fields", "POST", "/bad/__token", &[], &fields)
        .await;
    checker.finish().await;
}

/// The largest resident memory of a process so far, in KiB.
pub fn peak_memory_kib(process: u32) -> u64 {
    status_kib(process, "VmHWM:")
}

/// An amount of memory in the status of a process, in KiB.
pub fn status_kib(process: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(name));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.unwrap().parse().unwrap()
}

/// Each delimiter began a part of which something was kept: the memory was many times that of the bodies.
#[tokio::test]
async fn batches_of_delimiters_and_headers_stay_within_the_body_memory() {
    const BODY_MEMORY: usize = 48 << 20;
    let unit = crate::unit()
        .setting("io.personium.core.server.bodyMemory.maxBytes", BODY_MEMORY)
        .start();
    unit.create_cell_with_owner("bad").await;
    unit.create_odata_collection("bad/box/data", "Row").await;
    let before = peak_memory_kib(unit.process_id());
    let request = |line: &str| {
        let body = format!("--b\n{}--b--", line.repeat((7 << 20) / line.len()));
        let request = unit.admin_request("POST", "bad/box/data/$batch");
        request
            .header("content-type", "multipart/mixed; boundary=b")
            .body(body)
            .send()
    };
    let lines = ["--b\n", "a:b\n", "Content-Type: application/http\n\n--b\n"];
    let responses = lines.iter().cycle().take(6).map(|line| request(line));
    for response in futures_util::future::join_all(responses).await {
        let status = response.status.as_u16();
        assert!(matches!(status, 400 | 503), "{}", response.text());
    }
    let grown = peak_memory_kib(unit.process_id()) - before;
    assert!(grown < 100 << 10, "{grown} KiB");
}
