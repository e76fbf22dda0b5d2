//! The procedure of `docs/operate/coordination.md` with two units on machines of their own, which reach each other by their names over
//! TLS: with an authority of their own, with one of others, and with certificates that they sign themselves.

use std::path::Path;

use personium_testkit::{MASTER_TOKEN, PASSWORD, encode_form, wait_until};
use serde_json::{Value, json};

use crate::faketime::FAKETIME_LIBRARY;
use crate::program;
use crate::unit_hosts::UnitHost;

const ALICE: &str = "https://alice.a.example/";
const BOB: &str = "https://bob.b.example/";

/// The units A and B, and the machine of the authority.
struct Coordination {
    folder: tempfile::TempDir,
    a: UnitHost,
    b: UnitHost,
}

impl Coordination {
    /// Both machines, with certificates for TLS of one authority, and without units.
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let names = ["a.example", "b.example"];
        let [a, b] = UnitHost::start_two(folder.path(), names, ["alice", "bob"]).await;
        std::fs::create_dir(folder.path().join("ca")).unwrap();
        let all = Self { folder, a, b };
        all.authority(&[
            "ca",
            "--name",
            "Example Authority",
            "--key",
            "ca.key",
            "--cert",
            "ca.crt",
        ]);
        for host in [&all.a, &all.b] {
            let key = "io.personium.core";
            let settings = format!(
                "{key}.unitFqdn={}\n{key}.data.dir=data\n{key}.listen=127.0.0.1:9998\n\
                 {key}.tls.listen=0.0.0.0:443\n{key}.tls.redirect.listen=0.0.0.0:80\n\
                 {key}.tls.key=server.key\n{key}.tls.crt=server.crt\n\
                 {key}.outgoing.privateNetworks.enabled=true\n\
                 {key}.masterToken={MASTER_TOKEN}\n{key}.security.secret16=0123456789abcdef\n",
                host.name
            );
            std::fs::write(host.path("unit.properties"), settings).unwrap();
            host.personium(&[
                "cert",
                "csr",
                "--key",
                "server.key",
                "--request",
                "server.csr",
            ]);
            all.sign(host, "server", "server");
            std::fs::copy(all.ca("ca.crt"), host.path("web-roots.crt")).unwrap();
            std::fs::copy(all.ca("ca.crt"), host.path("ca.crt")).unwrap();
        }
        all
    }

    fn ca(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join("ca").join(name)
    }

    /// Runs `personium cert` on the machine of the authority.
    fn authority(&self, arguments: &[&str]) {
        let mut command = program::command(&[&["cert"][..], arguments].concat());
        let folder = self.folder.path().join("ca");
        let output = command.current_dir(folder).output().unwrap();
        assert!(output.status.success(), "{}", program::text(&output));
    }

    /// Brings a request to the authority, and the certificate back.
    fn sign(&self, host: &UnitHost, file: &str, purpose: &str) {
        let (request, certificate) = (format!("{file}.csr"), format!("{file}.crt"));
        std::fs::copy(host.path(&request), self.ca(&request)).unwrap();
        let _ = std::fs::remove_file(self.ca(&certificate));
        self.authority(&[
            "sign",
            "--request",
            &request,
            "--cert",
            &certificate,
            "--for",
            purpose,
            "--ca-key",
            "ca.key",
            "--ca-cert",
            "ca.crt",
        ]);
        std::fs::copy(self.ca(&certificate), host.path(&certificate)).unwrap();
    }

    /// Makes the cell `alice` of A with an account, and the cell `bob` of B with a file for her.
    fn make_cells(&self) {
        for (host, cell) in [(&self.a, "alice"), (&self.b, "bob")] {
            let url = format!("https://{}/__ctl/Cell", host.name);
            host.call_url("POST", &url, &json!({"Name": cell}).to_string());
        }
        self.a
            .call("POST", "alice", "__ctl/Account", r#"{"Name":"me"}"#);
        let b = &self.b;
        b.call("PUT", "bob", "__/file", "for alice");
        b.call("POST", "bob", "__ctl/Role", r#"{"Name":"friend"}"#);
        b.call(
            "POST",
            "bob",
            "__ctl/ExtCell",
            &json!({"Url": ALICE}).to_string(),
        );
        let cell = "ExtCell('https%3A%2F%2Falice.a.example%2F')";
        let role = json!({"uri": format!("{BOB}__ctl/Role('friend')")}).to_string();
        b.call("POST", "bob", &format!("__ctl/{cell}/$links/_Role"), &role);
        let acl = format!(
            "<D:acl xmlns:D='DAV:' xml:base='{BOB}__role/__/'><D:ace><D:principal><D:href>friend</D:href></D:principal>\
             <D:grant><D:privilege><D:read/></D:privilege></D:grant></D:ace></D:acl>"
        );
        b.call("ACL", "bob", "__", &acl);
    }

    /// A token of Alice for the cell of Bob.
    fn token(&self) -> String {
        let form = encode_form(&[
            ("grant_type", "password"),
            ("username", "me"),
            ("password", PASSWORD),
            ("p_target", BOB),
        ]);
        let kind = ("Content-Type", "application/x-www-form-urlencoded");
        let (status, body) = self
            .a
            .request("POST", &format!("{ALICE}__token"), &[kind], &form);
        assert_eq!(status, 200, "{body}");
        let json: Value = serde_json::from_str(&body).unwrap();
        json["access_token"].as_str().unwrap().to_owned()
    }

    /// The status with which Bob's unit answers Alice, who reads the file from her machine.
    fn read(&self) -> u16 {
        self.read_with(&self.token())
    }

    /// The same with a token of before.
    fn read_with(&self, token: &str) -> u16 {
        self.a.get(&format!("{BOB}__/file"), token).0
    }

    /// Lets A have another key, as the page says. Tokens of the key before are accepted until they are not trusted any more.
    async fn change_key(&self) {
        let (a, b) = (&self.a, &self.b);
        let early = self.token();
        let prepared = a.personium(&["cert", "renew", "--new-key", "--prepare"]);
        assert!(
            prepared.contains("run this again without --prepare"),
            "{prepared}"
        );
        std::fs::copy(a.path("data/unit.crt.next"), b.path("a-next.crt")).unwrap();
        b.personium(&["cert", "trust", "a-next.crt"]);
        b.reload().await;
        assert_eq!(self.read(), 200, "the key before signs still");

        let key = std::fs::read(a.path("data/unit.key")).unwrap();
        let changed = a.personium(&["cert", "renew", "--new-key"]);
        assert!(changed.contains("remove "), "{changed}");
        assert_ne!(std::fs::read(a.path("data/unit.key")).unwrap(), key);
        a.reload().await;
        let late = self.token();
        assert_eq!((self.read_with(&early), self.read_with(&late)), (200, 200));
        assert_eq!(self.send("another key").await, "201");
        let listed = b.personium(&["cert", "list"]);
        assert_eq!(
            listed.matches("CN=a.example, issued").count(),
            2,
            "{listed}"
        );

        // The former certificate is removed.
        let settings = std::fs::read_to_string(b.path("unit.properties")).unwrap();
        let former = b.path("a.crt").display().to_string();
        let settings = settings.replace(&format!("{former} "), "");
        assert!(!settings.contains(&former), "{settings}");
        std::fs::write(b.path("unit.properties"), settings).unwrap();
        b.reload().await;
        assert_eq!((self.read_with(&early), self.read_with(&late)), (401, 200));
    }

    /// Sends a message from Alice to Bob and waits for its result.
    async fn send(&self, title: &str) -> String {
        let message = json!({"To": BOB, "Title": title}).to_string();
        let sent = self.a.call("POST", "alice", "__message/send", &message);
        let id = sent["d"]["results"]["__id"].as_str().unwrap().to_owned();
        let path = format!("__ctl/SentMessage('{id}')");
        let code = || {
            let found = self.a.call("GET", "alice", &path, "");
            found["d"]["results"]["Result"][0]["Code"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        wait_until("the result", async || code() != "202").await;
        code()
    }

    fn titles(&self) -> Vec<String> {
        let found = self.b.call("GET", "bob", "__ctl/ReceivedMessage", "");
        let found = found["d"]["results"].as_array().unwrap().iter();
        let mut titles: Vec<String> = found
            .map(|message| message["Title"].as_str().unwrap().to_owned())
            .collect();
        titles.sort();
        titles
    }
}

fn append(path: &Path, text: &str) {
    let before = std::fs::read_to_string(path).unwrap();
    std::fs::write(path, before + text).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn units_trust_each_other_by_an_own_authority_one_of_others_and_themselves() {
    let mut all = Coordination::start().await;
    all.a.serve().await;
    all.b.serve().await;
    all.make_cells();
    assert_eq!(all.read(), 401, "nothing is trusted yet");
    assert_eq!(all.send("untrusted").await, "401");

    // Certificates that the units have signed themselves.
    std::fs::copy(all.a.path("data/unit.crt"), all.b.path("a.crt")).unwrap();
    all.b.personium(&["cert", "trust", "a.crt"]);
    assert_eq!(all.read(), 401, "before the reload");
    all.b.reload().await;
    assert_eq!(all.read(), 200);
    assert_eq!(all.send("self-signed").await, "201");
    all.change_key().await;

    // An authority of their own, which B does not trust yet.
    let keys = "io.personium.core.x509.key=unit.key\nio.personium.core.x509.crt=unit.crt\n";
    all.a
        .personium(&["cert", "csr", "--key", "unit.key", "--request", "unit.csr"]);
    all.sign(&all.a, "unit", "unit");
    append(&all.a.path("unit.properties"), keys);
    all.a.reload().await;
    assert_eq!(all.read(), 401, "an authority that is not trusted");
    assert_eq!(all.send("foreign authority").await, "401");
    all.b.personium(&["cert", "trust", "ca.crt"]);
    all.b.reload().await;
    assert_eq!(all.read(), 200);
    assert_eq!(all.send("own authority").await, "201");
    let listed = all.b.personium(&["cert", "list"]);
    assert!(listed.contains("Example Authority"), "{listed}");

    // An authority of others, with other software.
    let ca = all.folder.path().join("ca");
    let openssl = |arguments: &[&str]| {
        let mut command = std::process::Command::new("openssl");
        let output = command.args(arguments).current_dir(&ca).output().unwrap();
        assert!(output.status.success(), "{}", program::text(&output));
    };
    openssl(&[
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/O=Project/CN=Authority of the project",
        "-keyout",
        "project.key",
        "-out",
        "project.crt",
        "-days",
        "30",
    ]);
    openssl(&[
        "x509",
        "-req",
        "-in",
        "unit.csr",
        "-CA",
        "project.crt",
        "-CAkey",
        "project.key",
        "-CAcreateserial",
        "-days",
        "30",
        "-out",
        "project-unit.crt",
    ]);
    std::fs::copy(ca.join("project-unit.crt"), all.a.path("unit.crt")).unwrap();
    all.a.reload().await;
    assert_eq!(all.read(), 401);
    std::fs::copy(ca.join("project.crt"), all.b.path("project.crt")).unwrap();
    all.b.personium(&["cert", "trust", "project.crt"]);
    all.b.reload().await;
    assert_eq!(all.read(), 200);
    assert_eq!(all.send("project").await, "201");
    assert_eq!(
        all.titles(),
        ["another key", "own authority", "project", "self-signed"]
    );

    // A certificate for another name, and one that has expired, are refused by the unit that has them.
    for (name, clock, part) in [
        ("c.example", "+0d", "set unitFqdn=c.example"),
        ("a.example", "-30d", "renew it"),
    ] {
        let made = all.a.try_run(
            "env",
            &[
                &format!("LD_PRELOAD={FAKETIME_LIBRARY}"),
                &format!("FAKETIME={clock}"),
                env!("CARGO_BIN_EXE_personium"),
                "cert",
                "self-signed",
                "--name",
                name,
                "--days",
                "5",
                "--key",
                "bad.key",
                "--cert",
                "bad.crt",
            ],
        );
        assert!(made.status.success(), "{}", program::text(&made));
        let options = [
            "-c",
            "x509.key=bad.key",
            "-c",
            "x509.crt=bad.crt",
            "-c",
            "data.dir=other",
            "-c",
            "listen=127.0.0.1:0",
            "-c",
            "tls.listen=127.0.0.1:0",
            "-c",
            "tls.redirect.listen=127.0.0.1:0",
        ];
        let refused = all.a.try_personium(&[&["serve"][..], &options].concat());
        let text = program::text(&refused);
        assert!(
            !refused.status.success() && text.contains(part),
            "{name}: {text}"
        );
        let checked = all.a.try_personium(&[&["check"][..], &options].concat());
        let text = program::text(&checked);
        assert!(
            !checked.status.success() && text.contains(part),
            "{name}: {text}"
        );
        // Others do not trust what has expired, and B keeps what it trusts.
        if clock != "+0d" {
            std::fs::copy(all.a.path("bad.crt"), all.b.path("bad.crt")).unwrap();
            let trusted = all.b.try_personium(&["cert", "trust", "bad.crt"]);
            let text = program::text(&trusted);
            assert!(
                !trusted.status.success() && text.contains("cannot be trusted"),
                "{text}"
            );
        }
        for file in ["bad.key", "bad.crt"] {
            std::fs::remove_file(all.a.path(file)).unwrap();
        }
    }
    assert_eq!(all.read(), 200);
}

impl Coordination {
    /// Lets Alice send a message. Returns its id.
    fn send_message(&self, message: &Value) -> String {
        let sent = self
            .a
            .call("POST", "alice", "__message/send", &message.to_string());
        sent["d"]["results"]["__id"].as_str().unwrap().to_owned()
    }

    /// The codes of the recipients of a message of Alice, and the reason of the last one.
    fn results(&self, id: &str) -> (Vec<String>, String) {
        let path = format!("__ctl/SentMessage('{id}')");
        let found = self.a.call("GET", "alice", &path, "");
        let results = found["d"]["results"]["Result"].as_array().unwrap().clone();
        let text = |result: &Value, name: &str| result[name].as_str().unwrap().to_owned();
        let codes = results.iter().map(|result| text(result, "Code")).collect();
        (codes, text(results.last().unwrap(), "Reason"))
    }

    async fn wait_for_codes(&self, id: &str, codes: &[&str]) {
        wait_until("the results", async || self.results(id).0 == codes).await;
    }

    /// Lets Bob approve a request that he has received.
    fn approve(&self, id: &str) {
        let path = format!("__message/received/{id}");
        self.b
            .call("POST", "bob", &path, r#"{"Command":"approved"}"#);
    }

    /// The number of entities of a set of Bob, or of those that an entity is linked to.
    fn count_of_bob(&self, path: &str) -> usize {
        let found = self.b.call("GET", "bob", &format!("__ctl/{path}"), "");
        found["d"]["results"].as_array().unwrap().len()
    }

    /// Gives B's web server another certificate for this name, which it has signed itself.
    async fn replace_web_certificate_of_b(&mut self, name: &str) {
        for file in ["server.key", "server.crt"] {
            std::fs::remove_file(self.b.path(file)).unwrap();
        }
        self.b.personium(&[
            "cert",
            "self-signed",
            "--name",
            name,
            "--days",
            "5",
            "--key",
            "server.key",
            "--cert",
            "server.crt",
        ]);
        self.b.reload().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_with_all_requests_reach_a_unit_by_its_name_and_end_at_a_wrong_certificate() {
    let mut all = Coordination::start().await;
    // Two attempts.
    append(
        &all.a.path("unit.properties"),
        "io.personium.core.message.delivery.expiresIn=3\n",
    );
    all.a.serve().await;
    all.b.serve().await;
    all.make_cells();
    std::fs::copy(all.a.path("data/unit.crt"), all.b.path("a.crt")).unwrap();
    all.b.personium(&["cert", "trust", "a.crt"]);
    all.b.reload().await;
    let carol = "https://carol.a.example/";
    let url = format!("https://{}/__ctl/Cell", all.a.name);
    all.a.call_url("POST", &url, r#"{"Name":"carol"}"#);

    // The web server of B shows a certificate of somebody else, with its name and with another one.
    for name in ["b.example", "c.example"] {
        all.replace_web_certificate_of_b(name).await;
        let message = json!({"To": format!("{carol},{BOB}"), "Title": name});
        let id = all.send_message(&message);
        all.wait_for_codes(&id, &["201", "500"]).await;
        let (_, reason) = all.results(&id);
        assert!(!reason.is_empty());
    }
    // One of the authority that A trusts.
    for file in ["server.csr", "server.crt"] {
        std::fs::remove_file(all.b.path(file)).unwrap();
    }
    all.b.personium(&[
        "cert",
        "csr",
        "--key",
        "server.key",
        "--request",
        "server.csr",
    ]);
    all.sign(&all.b, "server", "server");
    all.b.reload().await;
    assert!(all.titles().is_empty());
    let requests = |change: &str| {
        json!({
            "To": BOB, "Type": "request", "Title": change,
            "RequestObjects": [
                {"RequestType": format!("relation.{change}"), "Name": "friends", "TargetUrl": ALICE},
                {"RequestType": format!("role.{change}"), "Name": "guest", "TargetUrl": ALICE},
            ],
        })
    };
    let rule = |change: &str| match change {
        "add" => {
            json!({"RequestType": "rule.add", "Name": "watch", "Action": "log", "EventType": "davfile."})
        }
        _ => json!({"RequestType": "rule.remove", "Name": "watch"}),
    };
    all.b
        .call("POST", "bob", "__ctl/Relation", r#"{"Name":"friends"}"#);
    all.b
        .call("POST", "bob", "__ctl/Role", r#"{"Name":"guest"}"#);
    let ext_cell = "ExtCell('https%3A%2F%2Falice.a.example%2F')";
    let linked = |all: &Coordination| {
        ["_Relation", "_Role"].map(|set| all.count_of_bob(&format!("{ext_cell}/{set}")))
    };
    // The role of the file.
    assert_eq!(linked(&all), [0, 1]);
    for (change, relations, rules) in [("add", [1, 2], 1), ("remove", [0, 1], 0)] {
        let mut message = requests(change);
        message["RequestObjects"]
            .as_array_mut()
            .unwrap()
            .push(rule(change));
        let id = all.send_message(&message);
        all.wait_for_codes(&id, &["201"]).await;
        assert_eq!(all.titles().last().map(String::as_str), Some(change));
        all.approve(&id);
        assert_eq!(linked(&all), relations, "{change}");
        assert_eq!(all.count_of_bob("Rule"), rules, "{change}");
    }
}
