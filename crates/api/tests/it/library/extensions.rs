//! The built-in extensions, `_p.extension`.

use personium_model::settings::OutgoingProxy;
use personium_testkit::StubServer;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;

use super::ScriptUnit;

async fn unit_with_network() -> ScriptUnit {
    ScriptUnit::with_settings(|settings| settings.allow_private_networks = true).await
}

#[tokio::test]
async fn http_client_sends_requests_and_returns_texts() {
    let unit = unit_with_network().await;
    let server = StubServer::start().await;
    let code = format!(
        "var client = new _p.extension.HttpClient({{DefaultHeaders:{{'X-Default':'d', 'X-Both':'d'}}}});
         var r = client.post('{0}a?q=1', {{'X-Own':'o', 'X-Both':'o'}}, 'application/json', '{{\"n\":\"日本\"}}');
         return [r.status, typeof r.status, JSON.parse(r.headers)['Content-Length'], typeof r.headers, r.body];",
        server.url()
    );
    let (out, received) = tokio::join!(unit.value(&code), server.receive("404 Not Found", "none"));
    assert_eq!(out, json!(["404", "string", "4", "string", "none"]));
    assert!(
        received.head.starts_with("POST /a?q=1 HTTP/1.1"),
        "{}",
        received.head
    );
    assert_eq!(received.body, json!({"n": "日本"}));
    let seen = ["x-default", "x-own", "x-both", "content-type"].map(|name| received.header(name));
    assert_eq!(
        seen,
        [Some("d"), Some("o"), Some("o"), Some("application/json")]
    );
}

#[tokio::test]
async fn http_client_has_each_method_with_a_body() {
    let unit = unit_with_network().await;
    for (name, method) in [
        ("put", "PUT"),
        ("patch", "PATCH"),
        ("postParam", "POST"),
        ("putParam", "PUT"),
    ] {
        let server = StubServer::start().await;
        let code = format!(
            "return new _p.extension.HttpClient().{name}('{}', null, 'application/json', '[1]').body;",
            server.url()
        );
        let (out, received) = tokio::join!(unit.value(&code), server.receive("200 OK", "answer"));
        assert_eq!(out, "answer", "{name}");
        assert!(
            received.head.starts_with(&format!("{method} / ")),
            "{}",
            received.head
        );
        assert_eq!(received.body, json!([1]));
    }
}

#[tokio::test]
async fn http_client_reads_the_own_unit_without_the_identity_of_the_script() {
    let unit = ScriptUnit::new().await;
    unit.unit.put_file("c/b/f", "text").await;
    let get = "var client = new _p.extension.HttpClient(), url = 'http://unit.example/c/b/f';
        return [client.get(url).status, client.get(url, {Authorization:'Bearer ' + cell.getToken().access_token}).body,
          client.get(url, {Authorization:'Bearer ' + mine.getToken().access_token}).status,
          client.delete(url, {}).status,
          box.put('copy', 'text/plain', client.get(url, {Authorization:'Bearer ' + cell.getToken().access_token}, true).body), box.getString('copy')];";
    assert_eq!(
        unit.value(get).await,
        json!(["401", "text", "403", "401", null, "text"])
    );
}

/// A script that sends a request with the methods of a client, and shows status, headers and body, or what is thrown.
fn sends(call: &str) -> String {
    format!(
        "try {{ var h = new _p.extension.HttpClient(), r = h.{call}; return [r.status, r.body, JSON.parse(r.headers)]; }} catch (e) {{ return e.message; }}"
    )
}

#[tokio::test]
async fn http_client_follows_redirects_and_keeps_credentials_from_other_hosts() {
    let unit = unit_with_network().await;
    let credentials = "{'X-A':'1', authorization:'secret', Cookie:'own=1'}";
    for (call, status, follows) in [
        ("get(URL, HEADERS)", "301 Moved Permanently", true),
        ("get(URL, HEADERS)", "302 Found", true),
        ("get(URL, HEADERS, false)", "303 See Other", true),
        ("get(URL, HEADERS)", "307 Temporary Redirect", true),
        ("get(URL, HEADERS)", "308 Permanent Redirect", true),
        ("get(URL, HEADERS)", "300 Multiple Choices", false),
        (
            "post(URL, HEADERS, 'text/plain', '[1]')",
            "303 See Other",
            true,
        ),
        (
            "put(URL, HEADERS, 'text/plain', '[1]')",
            "303 See Other",
            true,
        ),
        ("delete(URL, HEADERS)", "303 See Other", true),
        (
            "post(URL, HEADERS, 'text/plain', '[1]')",
            "302 Found",
            false,
        ),
        (
            "put(URL, HEADERS, 'text/plain', '[1]')",
            "307 Temporary Redirect",
            false,
        ),
        ("delete(URL, HEADERS)", "301 Moved Permanently", false),
    ] {
        let (server, elsewhere) = (StubServer::start().await, StubServer::start().await);
        let url = format!("'{}from/here?a=1'", server.url());
        let code = sends(&call.replace("URL", &url).replace("HEADERS", credentials));
        let near = format!("{status}\r\nset-cookie: sid=2; Path=/\r\nlocation: ../near?b=%41");
        let far = format!(
            "302 Found\r\nset-cookie: sid=3\r\nlocation: {}far",
            elsewhere.url()
        );
        let exchange = async {
            server.receive(&near, "").await;
            if !follows {
                return None;
            }
            let second = server.receive(&far, "").await;
            Some((second, elsewhere.receive("200 OK", "end").await))
        };
        let (out, received) = tokio::join!(unit.value(&code), exchange);
        let Some((near, far)) = received else {
            assert_eq!(out[0], status[..3], "{call} {status}");
            assert!(!elsewhere.is_called().await, "{call} {status}");
            continue;
        };
        assert_eq!(
            (&out[0], &out[1]),
            (&json!("200"), &json!("end")),
            "{call} {status}"
        );
        assert!(near.head.starts_with("GET /near?b=%41 "), "{}", near.head);
        let sent = ["x-a", "authorization", "cookie"];
        assert_eq!(
            sent.map(|name| near.header(name)),
            [Some("1"), Some("secret"), Some("own=1; sid=2")]
        );
        assert!(far.head.starts_with("GET /far "), "{}", far.head);
        assert_eq!(sent.map(|name| far.header(name)), [Some("1"), None, None]);
    }
}

#[tokio::test]
async fn http_client_follows_no_redirect_to_where_it_may_not_go() {
    let unit = unit_with_network().await;
    for location in [
        "file:///etc/passwd",
        "ftp://x.example/",
        "http://",
        "http://me@127.0.0.1/",
        "//[::",
    ] {
        let server = StubServer::start().await;
        let code = sends(&format!("get('{}', {{}})", server.url()));
        let redirect = format!("302 Found\r\nlocation: {location}");
        let (out, _) = tokio::join!(unit.value(&code), server.receive(&redirect, ""));
        let text = out.as_str().unwrap_or_default();
        assert!(
            text.starts_with("An error occurred. Cause: ["),
            "{location}: {out}"
        );
    }
    let server = StubServer::start().await;
    let code = sends(&format!("get('{}', {{}})", server.url()));
    let endless = async {
        for _ in 0..11 {
            server.receive("302 Found\r\nlocation: /again", "").await;
        }
    };
    let (out, ()) = tokio::join!(unit.value(&code), endless);
    assert_eq!(
        out,
        "An error occurred. Cause: [redirect: more than 10 redirects]"
    );
    // The unit itself is another host: it gets no credentials, and its redirects are followed under the rules of addresses.
    let unit = ScriptUnit::new().await;
    let script =
        "function (request) { return {status: 302, headers: {Location: LOCATION}, body: []}; }";
    let code = "return new _p.extension.HttpClient().get('http://unit.example/c/app/svc/other', {Authorization: 'Bearer ' + pjvm.getClientToken()}).status;";
    for (location, outcome) in [
        ("'http://169.254.169.254/latest/'", "address"),
        ("'http://127.0.0.1:1/'", "address"),
        ("'http://10.0.0.1/'", "address"),
    ] {
        unit.put_script(&script.replace("LOCATION", location)).await;
        let code = format!("try {{ {code} }} catch (e) {{ return e.message; }}");
        let out = unit.value(&code).await;
        assert_eq!(
            out,
            format!("An error occurred. Cause: [{outcome}: address not allowed]"),
            "{location}"
        );
    }
}

#[tokio::test]
async fn http_client_reads_bodies_by_their_charset_and_unpacks_them() {
    let unit = unit_with_network().await;
    let (sjis, euc, utf8) = (b"\x93\xfa\x96\x7b", b"\xc6\xfc\xcb\xdc", "日本".as_bytes());
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, utf8).unwrap();
    let gzip = gzip.finish().unwrap();
    for (head, body) in [
        (
            "content-type: text/plain; charset=Shift_JIS",
            sjis.as_slice(),
        ),
        ("content-type: text/plain;charset=\"ms932\"", sjis),
        ("content-type: text/html; a=b; Charset=EUC-JP", euc),
        ("content-type: text/plain; charset=none", utf8),
        ("x-lower: 1", utf8),
        ("content-encoding: gzip\r\ncontent-type: text/plain", &gzip),
    ] {
        let server = StubServer::start().await;
        let code = sends(&format!(
            "get('{}?q=日 %41'.replace(' ', '+'), {{}})",
            server.url()
        ));
        let status = format!("200 OK\r\netag: \"1\"\r\nwww-authenticate: x\r\n{head}");
        let (out, received) = tokio::join!(unit.value(&code), server.receive_bytes(&status, body));
        assert_eq!(out[1], "日本", "{head}: {out}");
        assert!(
            out[2]["ETag"] == "\"1\"" && out[2]["WWW-Authenticate"] == "x",
            "{out}"
        );
        assert!(out[2]["Content-Encoding"].is_null(), "{out}");
        assert!(
            received.head.starts_with("GET /?q=%E6%97%A5+%41 "),
            "{}",
            received.head
        );
    }
}

#[tokio::test]
async fn http_client_names_what_is_wrong() {
    let unit = ScriptUnit::new().await;
    let code = "var H = _p.extension.HttpClient, client = new H();
        var message = function (act) { try { act(); return null; } catch (e) { return [e.name, e.message]; } };
        return [message(function () { client.get(); }), message(function () { client.post('http://x.example/', {}, ''); }),
          message(function () { client.post('http://x.example/', {}, 'text/plain', ''); }), message(function () { client.get('http://x.example/', 'x'); }),
          message(function () { new H('x'); }), message(function () { new H({IgnoreHostnameVerification:'x'}); }), message(function () { new H({DefaultHeaders:'x'}); }),
          typeof new H({IgnoreHostnameVerification:true}).get];";
    let error = |text: &str| json!(["Error", text]);
    let expected = json!([
        error("Parameter [url] is not set."),
        error("Parameter [contentType] is not set."),
        error("Parameter [body] is not set."),
        error("Parameter [headers] is not NativeObject."),
        error("Parameter [params] is not NativeObject."),
        error("Parameter [IgnoreHostnameVerification] is not Boolean."),
        error("Parameter [DefaultHeaders] is not NativeObject."),
        "function"
    ]);
    assert_eq!(unit.value(code).await, expected);
}

#[tokio::test]
async fn http_client_reaches_no_private_address() {
    let unit = ScriptUnit::new().await;
    let server = StubServer::start().await;
    let code = format!(
        "return ['{}', 'http://169.254.169.254/latest/', 'http://[::1]:1/', 'http://10.0.0.1:1/', 'file:///etc/passwd', 'nonsense'].map(function (url) {{
           try {{ new _p.extension.HttpClient().get(url); return 'reached'; }} catch (e) {{ return e.message.slice(0, 26); }} }});",
        server.url()
    );
    for outcome in unit.value(&code).await.as_array().unwrap() {
        assert_eq!(*outcome, "An error occurred. Cause: ");
    }
}

#[tokio::test]
async fn unreachable_server_and_broken_answer_are_errors() {
    let unit = unit_with_network().await;
    let server = StubServer::start().await;
    let code = format!(
        "try {{ return new _p.extension.HttpClient().get('{}'); }} catch (e) {{ return [e.name, e.message.slice(0, 26)]; }}",
        server.url()
    );
    let (out, ()) = tokio::join!(unit.value(&code), server.accept());
    let error = json!(["Error", "An error occurred. Cause: "]);
    assert_eq!(out, error);
    drop(server);
    assert_eq!(unit.value(&code).await, error);
}

#[tokio::test]
async fn absent_extensions_say_so() {
    let unit = ScriptUnit::new().await;
    let code = "return fails(function () { new _p.extension.Ews(); })[0];";
    assert_eq!(unit.value(code).await, 501);
    let unknown = "try { new _p.extension.Nope(); } catch (e) { return e.name; }";
    assert_eq!(unit.value(unknown).await, "TypeError");
}

#[tokio::test]
async fn slack_goes_through_the_proxy_of_the_unit_and_failures_are_only_logged() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let unit = ScriptUnit::with_settings(|settings| {
        // Otherwise the name is looked up before.
        settings.allow_private_networks = true;
        settings.outgoing_proxy = Some(OutgoingProxy {
            host: "127.0.0.1".to_owned(),
            port,
            credentials: None,
        });
    })
    .await;
    let code = "var slack = new _p.extension.Slack();
        var thrown = function (act) { try { act(); return null; } catch (e) { return e.message; } };
        return [thrown(function () { slack.sendMessage('x'); }),
          thrown(function () { slack.setConfig('token', null, {host:'p', port:1}); }),
          thrown(function () { slack.sendMessageToChannel('x', 'random'); }),
          _p.extension.SlackMessenger === _p.extension.Slack, slack instanceof _p.extension.Slack];";
    let proxy = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut line = String::new();
        let read = BufReader::new(stream).read_line(&mut line).await;
        read.unwrap();
        line
    });
    let out = unit.value(code).await;
    assert_eq!(out, json!([null, null, null, true, true]));
    let line = proxy.await.unwrap();
    assert_eq!(line, "CONNECT slack.com:443 HTTP/1.1\r\n");
}

#[tokio::test]
async fn token_service_of_aws_names_what_is_wrong() {
    let unit = ScriptUnit::new().await;
    let code = "var message = function (act) { try { act(); return null; } catch (e) { return [e.name, e.message]; } };
        var made = function (set) { var service = new _p.extension.AWSSecurityTokenService(); service.AccessKeyId = 'a'; service.SecretAccessKey = 's'; set(service); return service; };
        return [message(function () { new _p.extension.AWSSecurityTokenService().getSessionToken(); }),
          message(function () { made(function (s) { s.SecretAccessKey = null; }).getSessionToken(); }),
          message(function () { made(function (s) { s.Region = 'x.evil.example/'; }).getSessionToken(); }),
          message(function () { made(function () {}).getFederationToken('n', null); }),
          message(function () { made(function () {}).getFederationToken('n', 'x'); }),
          message(function () { made(function () {}).getSessionTokenWithDuration('1&Action=x'); }),
          message(function () { _p.extension.AWSSecurityTokenService.prototype.getSessionToken.call({AccessKeyId: 'a', SecretAccessKey: 's'}); })[0],
          message(function () { _p.extension.AWSSecurityTokenService(); })];";
    let error = |text: &str| json!(["Error", text]);
    let expected = json!([
        error("AccessKeyId is not set."),
        error("SecretAccessKey is not set."),
        error("Region is not valid."),
        error("policy cannot be null."),
        error("policy is not NativeObject."),
        error("durationSeconds is not a number of seconds."),
        "_p.PersoniumException",
        error("AWSSecurityTokenService is a constructor")
    ]);
    assert_eq!(unit.value(code).await, expected);
}

#[tokio::test]
async fn token_of_the_operator_goes_to_slack_only() {
    let unit = ScriptUnit::with_settings(|settings| {
        settings.slack.token = Some(personium_types::Secret::new("xoxb-secret".to_owned()));
        settings.allow_private_networks = true;
    })
    .await;
    let server = StubServer::start().await;
    let code = format!(
        "var kept = Object.getOwnPropertyDescriptor(Object.prototype, 'token');
         Object.defineProperty(Object.prototype, 'token', {{value: 'slack', configurable: true, writable: true}});
         var answer = new _p.extension.HttpClient().get('{}', {{token: 'slack'}});
         delete Object.prototype.token;
         return answer.status;",
        server.url()
    );
    let (out, received) = tokio::join!(unit.value(&code), server.receive("200 OK", ""));
    assert_eq!(out, "200");
    assert!(!received.head.contains("xoxb"), "{}", received.head);
}
