//! The complete list of requests that post an event of the unit, with the type, the object and the details of each.

use personium_testkit::{TestUnit, cell_url};
use serde_json::{Value, json};

use super::internal::{log_internal, logged};
use crate::auth::unit_with_accounts;
use crate::library::register;
use crate::message::{deliver, message_body, request_message, send_command};

/// The event of a request: type, object and details. `c/` is the cell.
type Posted = (String, String, String);

/// The requests of a test, and where they post other events than they should.
struct Requests {
    unit: TestUnit,
    seen: usize,
    wrong: Vec<String>,
}

impl Requests {
    async fn new() -> Self {
        let unit = unit_with_accounts(|_| {}).await;
        log_internal(&unit).await;
        Self {
            seen: logged(&unit).await.len(),
            unit,
            wrong: Vec::new(),
        }
    }

    /// Takes what was posted since it was asked last.
    async fn posted(&mut self) -> Vec<Posted> {
        let all = logged(&self.unit).await;
        let new = all.get(self.seen..).unwrap_or_default().to_vec();
        self.seen = all.len();
        new
    }

    /// Sends a request, without looking at what it posts.
    async fn prepare(&mut self, method: &str, path: &str, body: &str) {
        let request = self.unit.admin_request(method, path).body(body);
        let response = request.send().await;
        let status = response.status;
        let text = response.text();
        assert!(status.is_success(), "{method} {path}: {status} {text}");
        self.posted().await;
    }

    /// Sends a request, which must post one event.
    async fn expect(
        &mut self,
        method: &str,
        path: &str,
        body: &str,
        event: (impl AsRef<str>, impl AsRef<str>, impl AsRef<str>),
    ) {
        let request = self
            .unit
            .admin_request(method, path)
            .header("accept", "application/json")
            .body(body);
        let response = request.send().await;
        let status = response.status;
        let (kind, object, info) = event;
        let text = |value: &str| value.to_owned();
        let expected = vec![(
            text(kind.as_ref()),
            text(object.as_ref()),
            text(info.as_ref()),
        )];
        let found = self.posted().await;
        if !status.is_success() || found != expected {
            let text = response.text();
            self.wrong.push(format!(
                "{method} {path}: {status} {text}\n  expected {expected:?}\n  found    {found:?}"
            ));
        }
    }

    fn end(&self) {
        let wrong = self.wrong.join("\n");
        assert!(wrong.is_empty(), "{wrong}");
    }
}

/// An entity: its set, its key in URLs, its key in events, that of a new one in events, and the body that creates it.
struct Named {
    set: &'static str,
    key: String,
    shown: String,
    created: String,
    body: Value,
}

/// An entity of a control set of a cell.
fn control(set: &'static str, name: &str) -> Named {
    let far = format!("http://far.example/{name}/");
    let boxed = format!("(Name='{name}',_Box.Name=null)");
    let quoted = format!("('{name}')");
    let encoded = |text: &str| text.replace(':', "%3A").replace('/', "%2F");
    let (key, shown, created, body) = match set {
        "Account" | "Box" => (
            quoted.clone(),
            quoted.clone(),
            quoted,
            json!({"Name": name}),
        ),
        "ExtCell" => (
            format!("('{}')", encoded(&far)),
            format!("('{far}')"),
            format!("('{}')", encoded(&far)),
            json!({"Url": far}),
        ),
        "ExtRole" => {
            let url = format!("{far}__role/__/r/");
            let rest = "_Relation.Name='rel',_Relation._Box.Name=null";
            let of = |url: &str| format!("(ExtRole='{url}',{rest})");
            let new = of(&encoded(&url));
            (
                new.clone(),
                of(&url),
                new,
                json!({"ExtRole": url, "_Relation.Name": "rel"}),
            )
        }
        "Rule" => (
            quoted,
            boxed.clone(),
            boxed,
            json!({"Name": name, "EventExternal": true, "Action": "log"}),
        ),
        _ => (quoted, boxed.clone(), boxed, json!({"Name": name})),
    };
    Named {
        set,
        key,
        shown,
        created,
        body,
    }
}

#[tokio::test]
async fn every_request_to_control_objects_posts_its_event() {
    let mut requests = Requests::new().await;
    let path = |it: &Named| format!("c/__ctl/{}{}", it.set, it.key);
    let object = |it: &Named| format!("c/__ctl/{}{}", it.set, it.shown);
    let relation = control("Relation", "rel").body.to_string();
    requests
        .prepare("POST", "c/__ctl/Relation", &relation)
        .await;
    for set in [
        "Account", "Box", "Role", "Relation", "ExtCell", "ExtRole", "Rule",
    ] {
        let (one, two) = (control(set, "one"), control(set, "two"));
        let all = format!("c/__ctl/{set}");
        let kind = |action: &str| format!("cellctl.{set}.{action}");
        let created = (
            kind("create"),
            format!("{all}{}", one.created),
            format!("201,{all}"),
        );
        requests
            .expect("POST", &all, &one.body.to_string(), created)
            .await;
        let query = format!("{all}?$top=1");
        requests
            .expect(
                "GET",
                &query,
                "",
                (&kind("list"), &all, &format!("200,{query}")),
            )
            .await;
        let got = (kind("get"), object(&one), format!("200,{}", path(&one)));
        requests.expect("GET", &path(&one), "", got).await;
        let updated = (kind("update"), object(&one), format!("204,{}", two.shown));
        requests
            .expect("PUT", &path(&one), &two.body.to_string(), updated)
            .await;
        if set != "Rule" {
            let patched = (kind("patch"), object(&two), format!("204,{}", one.shown));
            requests
                .expect("MERGE", &path(&two), &one.body.to_string(), patched)
                .await;
            requests
                .expect(
                    "DELETE",
                    &path(&one),
                    "",
                    (&kind("delete"), &object(&one), "204"),
                )
                .await;
        } else {
            requests
                .expect(
                    "DELETE",
                    &path(&two),
                    "",
                    (&kind("delete"), &object(&two), "204"),
                )
                .await;
        }
    }
    requests.end();
}

#[tokio::test]
async fn every_request_to_links_of_control_objects_posts_its_event() {
    let mut requests = Requests::new().await;
    let relation = control("Relation", "rel").body.to_string();
    requests
        .prepare("POST", "c/__ctl/Relation", &relation)
        .await;
    for set in ["Account", "Role", "Relation", "ExtCell", "ExtRole"] {
        let body = control(set, "one").body.to_string();
        requests
            .prepare("POST", &format!("c/__ctl/{set}"), &body)
            .await;
    }
    for (first, second) in [
        ("Account", "Role"),
        ("ExtCell", "Role"),
        ("ExtRole", "Role"),
        ("ExtCell", "Relation"),
        ("Relation", "Role"),
    ] {
        for (from, to) in [(first, second), (second, first)] {
            let (source, target) = (control(from, "one"), control(to, "one"));
            let at = format!("c/__ctl/{from}{}", source.key);
            let shown = format!("c/__ctl/{from}{}", source.shown);
            let links = format!("{at}/$links/_{to}");
            let uri = json!({"uri": format!("{}__ctl/{to}{}", cell_url("c"), target.key)});
            let link = format!("{shown}/$links/_{to}{}", target.shown);
            let sorted = |action: &str| format!("cellctl.{first}.links.{second}.{action}");
            requests
                .expect(
                    "POST",
                    &links,
                    &uri.to_string(),
                    (&sorted("create"), &link, "204"),
                )
                .await;
            let listed = (
                format!("cellctl.{from}.links.{to}.list"),
                format!("{shown}/$links/_{to}"),
                format!("200,{links}"),
            );
            requests.expect("GET", &links, "", listed).await;
            let navigated = (
                format!("cellctl.{from}.navprop.{to}.list"),
                format!("{shown}/_{to}"),
                format!("200,{at}/_{to}"),
            );
            requests
                .expect("GET", &format!("{at}/_{to}"), "", navigated)
                .await;
            let unlinked = format!("{links}{}", target.key);
            requests
                .expect("DELETE", &unlinked, "", (&sorted("delete"), &link, "204"))
                .await;
            let new = control(to, "new");
            let created = (
                format!("cellctl.{from}.navprop.{to}.create"),
                format!("{shown}/_{to}{}", new.created),
                format!("201,{at}/_{to}"),
            );
            let body = new.body.to_string();
            requests
                .expect("POST", &format!("{at}/_{to}"), &body, created)
                .await;
            requests
                .prepare("DELETE", &format!("{at}/$links/_{to}{}", new.key), "")
                .await;
            requests
                .prepare("DELETE", &format!("c/__ctl/{to}{}", new.key), "")
                .await;
        }
    }
    // Roles, relations and rules belong to boxes, and are renamed by that.
    for set in ["Role", "Relation", "Rule"] {
        let it = control(set, "boxed");
        requests
            .prepare("POST", &format!("c/__ctl/{set}"), &it.body.to_string())
            .await;
        let links = format!("c/__ctl/{set}{}/$links/_Box", it.key);
        let uri = json!({"uri": format!("{}__ctl/Box('b')", cell_url("c"))}).to_string();
        let link = format!("c/__ctl/{set}{}/$links/_Box('b')", it.shown);
        let kind = |action: &str| format!("cellctl.Box.links.{set}.{action}");
        requests
            .expect("POST", &links, &uri, (&kind("create"), &link, "204"))
            .await;
        let boxed = "(Name='boxed',_Box.Name='b')";
        let unlinked = format!("c/__ctl/Box('b')/$links/_{set}{boxed}");
        requests
            .expect("DELETE", &unlinked, "", (&kind("delete"), &unlinked, "204"))
            .await;
        let at = format!("c/__ctl/Box('b')/_{set}");
        let created = (
            format!("cellctl.Box.navprop.{set}.create"),
            format!("{at}(Name='new',_Box.Name=null)"),
            format!("201,{at}"),
        );
        let body = control(set, "new").body.to_string();
        requests.expect("POST", &at, &body, created).await;
        let listed = (
            format!("cellctl.Box.navprop.{set}.list"),
            &at,
            format!("200,{at}"),
        );
        requests.expect("GET", &at, "", listed).await;
    }
    requests.end();
}

#[tokio::test]
async fn every_request_to_messages_posts_its_event() {
    let mut requests = Requests::new().await;
    let sent = json!({"To": cell_url("d"), "Type": "message", "Title": "t", "Body": "b"});
    let response = requests
        .unit
        .post("c/__message/send", &sent.to_string())
        .await;
    let id = response.expect(201).results()["__id"]
        .as_str()
        .unwrap()
        .to_owned();
    let of_sent = format!("c/__ctl/SentMessage('{id}')");
    let event = |kind: &str, object: &str, info: &str| {
        (kind.to_owned(), object.to_owned(), info.to_owned())
    };
    assert_eq!(
        requests.posted().await,
        [event("message.send", &of_sent, "201")]
    );
    let objects = json!([{"RequestType": "rule.add", "Name": "by", "Action": "log"}]);
    deliver(&requests.unit, &message_body(json!({}))).await;
    let of_received = format!("c/__ctl/ReceivedMessage('{}')", crate::message::ID);
    assert_eq!(
        requests.posted().await,
        [event("message.receive", &of_received, "201")]
    );
    for (command, kind) in [("read", "message.read"), ("unread", "message.unread")] {
        send_command(&requests.unit, command).await;
        assert_eq!(requests.posted().await, [event(kind, &of_received, "204")]);
    }
    requests
        .prepare("POST", "c/__ctl/Account", r#"{"Name":"a"}"#)
        .await;
    let account = "c/__ctl/Account('a')";
    let links = format!("{account}/$links/_ReceivedMessageRead");
    let uri =
        json!({"uri": format!("{}__ctl/ReceivedMessage('{}')", cell_url("c"), crate::message::ID)});
    // The names differ, as in the original.
    let key = format!("('{}')", crate::message::ID);
    let created = (
        "cellctl.Account.links.ReceivedMessage.create",
        format!("{account}/$links/_ReceivedMessage{key}"),
        "204",
    );
    requests
        .expect("POST", &links, &uri.to_string(), created)
        .await;
    let listed = (
        "cellctl.Account.links.ReceivedMessageRead.list",
        format!("{account}/$links/_ReceivedMessageRead"),
        format!("200,{links}"),
    );
    requests.expect("GET", &links, "", listed).await;
    let deleted = (
        "cellctl.Account.links.ReceivedMessageRead.delete",
        format!("{links}{key}"),
        "204",
    );
    requests
        .expect("DELETE", &format!("{links}{key}"), "", deleted)
        .await;
    for (set, of) in [("SentMessage", &of_sent), ("ReceivedMessage", &of_received)] {
        let all = format!("c/__ctl/{set}");
        let kind = |action: &str| format!("cellctl.{set}.{action}");
        requests
            .expect(
                "GET",
                &all,
                "",
                (&kind("list"), &all, &format!("200,{all}")),
            )
            .await;
        requests
            .expect("GET", of, "", (&kind("get"), of, &format!("200,{of}")))
            .await;
        requests
            .expect("DELETE", of, "", (&kind("delete"), of, "204"))
            .await;
    }
    for (command, kind) in [
        ("rejected", "message.reject"),
        ("approved", "message.approve"),
    ] {
        deliver(&requests.unit, &request_message(objects.clone())).await;
        requests.posted().await;
        send_command(&requests.unit, command).await;
        let posted = requests.posted().await;
        assert!(
            posted.contains(&event(kind, &of_received, "204")),
            "{posted:?}"
        );
        let by_message = format!("approved for message {}", crate::message::ID);
        let rule = "c/__ctl/Rule(Name='by',_Box.Name=null)";
        let rule = event("cellctl.Rule.create", rule, &by_message);
        assert_eq!(posted.contains(&rule), command == "approved", "{posted:?}");
        requests.prepare("DELETE", &of_received, "").await;
    }
    requests.end();
}

#[tokio::test]
async fn every_request_to_user_data_and_its_schema_posts_its_event() {
    let mut requests = Requests::new().await;
    requests.unit.create_collection("c/b/o", "odata").await;
    requests.posted().await;
    let (data, schema) = ("c/b/o", "c/b/o/$metadata");
    let named = |set: &'static str, name: &str| match set {
        "EntityType" | "ComplexType" => (format!("('{name}')"), json!({"Name": name})),
        "AssociationEnd" => (
            format!("(Name='{name}',_EntityType.Name='T')"),
            json!({"Name": name, "Multiplicity": "*", "_EntityType.Name": "T"}),
        ),
        "Property" => (
            format!("(Name='{name}',_EntityType.Name='T')"),
            json!({"Name": name, "Type": "Edm.String", "_EntityType.Name": "T"}),
        ),
        _ => (
            format!("(Name='{name}',_ComplexType.Name='C')"),
            json!({"Name": name, "Type": "Edm.String", "_ComplexType.Name": "C"}),
        ),
    };
    for (set, name) in [
        ("EntityType", "T"),
        ("EntityType", "U"),
        ("ComplexType", "C"),
    ] {
        let body = named(set, name).1.to_string();
        requests
            .prepare("POST", &format!("{schema}/{set}"), &body)
            .await;
    }
    for set in [
        "EntityType",
        "AssociationEnd",
        "Property",
        "ComplexType",
        "ComplexTypeProperty",
    ] {
        let ((one, body), (two, changed)) = (named(set, "one"), named(set, "two"));
        let all = format!("{schema}/{set}");
        let (at, renamed) = (format!("{all}{one}"), format!("{all}{two}"));
        let kind = |action: &str| format!("odata.{set}.{action}");
        requests
            .expect(
                "POST",
                &all,
                &body.to_string(),
                (&kind("create"), &at, &format!("201,{all}")),
            )
            .await;
        requests
            .expect(
                "GET",
                &all,
                "",
                (&kind("list"), &all, &format!("200,{all}")),
            )
            .await;
        requests
            .expect("GET", &at, "", (&kind("get"), &at, &format!("200,{at}")))
            .await;
        let updated = (kind("update"), &at, format!("204,{two}"));
        requests
            .expect("PUT", &at, &changed.to_string(), updated)
            .await;
        requests
            .expect("DELETE", &renamed, "", (&kind("delete"), &renamed, "204"))
            .await;
    }
    for name in ["T", "U"] {
        let end =
            json!({"Name": format!("e{name}"), "Multiplicity": "*", "_EntityType.Name": name});
        requests
            .prepare(
                "POST",
                &format!("{schema}/AssociationEnd"),
                &end.to_string(),
            )
            .await;
    }
    let ends = |name: &str| format!("AssociationEnd(Name='e{name}',_EntityType.Name='{name}')");
    let (first, second) = (ends("T"), ends("U"));
    let links = format!("{schema}/{first}/$links/_AssociationEnd");
    let uri = json!({"uri": format!("{}b/o/$metadata/{second}", cell_url("c"))}).to_string();
    let link = format!("{schema}/{first}/$links/_{second}");
    let kind = |action: &str| format!("odata.AssociationEnd.links.AssociationEnd.{action}");
    requests
        .expect("POST", &links, &uri, (&kind("create"), &link, "204"))
        .await;
    let listed = (kind("list"), &links, format!("200,{links}"));
    requests.expect("GET", &links, "", listed).await;
    let at = format!("{schema}/EntityType('T')/_Property");
    let created = (
        "odata.EntityType.navprop.Property.create",
        format!("{at}(Name='p',_EntityType.Name='T')"),
        format!("201,{at}"),
    );
    requests
        .expect(
            "POST",
            &at,
            r#"{"Name":"p","Type":"Edm.String","_EntityType.Name":"T"}"#,
            created,
        )
        .await;
    let listed = (
        "odata.EntityType.navprop.Property.list",
        &at,
        format!("200,{at}"),
    );
    requests.expect("GET", &at, "", listed).await;

    let one = format!("{data}/T('1')");
    requests
        .expect(
            "POST",
            &format!("{data}/T"),
            r#"{"__id":"1"}"#,
            ("odata.create", &one, &format!("201,{data}/T")),
        )
        .await;
    let query = format!("{data}/T?$top=1");
    requests
        .expect(
            "GET",
            &query,
            "",
            ("odata.list", &format!("{data}/T"), &format!("200,{query}")),
        )
        .await;
    requests
        .expect("GET", &one, "", ("odata.get", &one, &format!("200,{one}")))
        .await;
    requests
        .expect("PUT", &one, "{}", ("odata.update", &one, "204,('1')"))
        .await;
    requests
        .expect("MERGE", &one, "{}", ("odata.patch", &one, "204,('1')"))
        .await;
    let navigation = format!("{one}/_U");
    let created = (
        "odata.navprop.create",
        format!("{navigation}('2')"),
        format!("201,{navigation}"),
    );
    requests
        .expect("POST", &navigation, r#"{"__id":"2"}"#, created)
        .await;
    requests
        .expect(
            "GET",
            &navigation,
            "",
            (
                "odata.navprop.list",
                &navigation,
                &format!("200,{navigation}"),
            ),
        )
        .await;
    let links = format!("{one}/$links/_U");
    requests
        .expect(
            "GET",
            &links,
            "",
            ("odata.links.list", &links, &format!("200,{links}")),
        )
        .await;
    let link = format!("{links}('2')");
    requests
        .expect("DELETE", &link, "", ("odata.links.delete", &link, "204"))
        .await;
    let uri = json!({"uri": format!("{}b/o/U('2')", cell_url("c"))}).to_string();
    requests
        .expect("POST", &links, &uri, ("odata.links.create", &link, "204"))
        .await;
    requests.prepare("DELETE", &link, "").await;
    requests
        .expect("DELETE", &one, "", ("odata.delete", &one, "204"))
        .await;
    requests.end();
}

#[tokio::test]
async fn every_request_to_the_cell_and_its_files_posts_its_event() {
    let mut requests = Requests::new().await;
    let patch = r#"<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><x xmlns="urn:x">1</x></D:prop></D:set></D:propertyupdate>"#;
    let acl = r#"<D:acl xmlns:D="DAV:"/>"#;
    let find = |kind: &str| format!("{kind}.propfind");
    for (path, object, kind) in [
        ("c/", "c/", "cell"),
        ("c/b", "c/b", "box"),
        ("c/__", "c/__", "box"),
    ] {
        requests
            .expect("PROPFIND", path, "", (&find(kind), object, "207"))
            .await;
        requests
            .expect(
                "PROPPATCH",
                path,
                patch,
                (&format!("{kind}.proppatch"), object, "207"),
            )
            .await;
        requests
            .expect("ACL", path, acl, (&format!("{kind}.acl"), object, "200"))
            .await;
    }
    for (kind, resource) in [
        ("webdavcol", ""),
        ("odatacol", "<p:odata/>"),
        ("servicecol", "<p:service/>"),
        ("streamcol", "<p:stream/>"),
    ] {
        let mkcol = format!(
            r#"<D:mkcol xmlns:D="DAV:" xmlns:p="urn:x-personium:xmlns"><D:set><D:prop><D:resourcetype><D:collection/>{resource}</D:resourcetype></D:prop></D:set></D:mkcol>"#
        );
        let path = format!("c/b/{kind}");
        for (method, body, action, status) in [
            ("MKCOL", mkcol.as_str(), "mkcol", "201"),
            ("PROPFIND", "", "propfind", "207"),
            ("PROPPATCH", patch, "proppatch", "207"),
            ("ACL", acl, "acl", "200"),
            ("DELETE", "", "delete", "204"),
        ] {
            requests
                .expect(
                    method,
                    &path,
                    body,
                    (&format!("{kind}.{action}"), &path, status),
                )
                .await;
        }
    }
    let file = "c/b/f";
    for (method, body, action, status) in [
        ("PUT", "1", "create", "201"),
        ("PUT", "2", "update", "204"),
        ("GET", "", "get", "200"),
        ("PROPFIND", "", "propfind", "207"),
        ("PROPPATCH", patch, "proppatch", "207"),
        ("ACL", acl, "acl", "200"),
    ] {
        requests
            .expect(
                method,
                file,
                body,
                (&format!("davfile.{action}"), file, status),
            )
            .await;
    }
    let tag = requests.unit.admin_request("GET", file).send().await;
    let tag = tag.header("etag").unwrap().to_owned();
    requests.posted().await;
    for (name, value, status) in [
        ("range", "bytes=0-0", "206"),
        ("if-none-match", tag.as_str(), "304"),
    ] {
        let request = requests.unit.admin_request("GET", file).header(name, value);
        let response = request.send().await;
        assert_eq!(response.status.as_str(), status);
        let expected = ("davfile.get".to_owned(), file.to_owned(), status.to_owned());
        assert_eq!(requests.posted().await, [expected]);
    }
    requests
        .expect("DELETE", file, "", ("davfile.delete", file, "204"))
        .await;
    requests.unit.create_collection("c/b/svc", "service").await;
    register(&requests.unit, "c/b/svc", None, &[("x", "x.js")]).await;
    let script = "function(r) { return {status: 203, headers: {}, body: ['a']}; }";
    requests.unit.put_file("c/b/svc/__src/x.js", script).await;
    requests.posted().await;
    requests
        .expect(
            "POST",
            "c/b/svc/x",
            "",
            ("service.exec", "c/b/svc/x", "203"),
        )
        .await;
    let delete = requests.unit.admin_request("DELETE", "c/b");
    let response = delete.header("x-personium-recursive", "true").send().await;
    assert_eq!(response.status, 204);
    let expected = ("box.delete".to_owned(), "c/b".to_owned(), "204".to_owned());
    assert_eq!(requests.posted().await, [expected]);
    requests.end();
}
