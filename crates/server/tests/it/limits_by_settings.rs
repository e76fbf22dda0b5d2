//! Limits that an operator sets in the file of settings: each one holds in the program, and the value below it is accepted.

use personium_testkit::{ProcessUnit, TestResponse, wait_until};

const SETTINGS: &str = "\
io.personium.core.odata.batch.bulkRequestMaxSize=2
io.personium.core.odata.links.NtoN.maxnum=1
io.personium.core.odata.query.top.maxnum=5
io.personium.core.odata.query.top.default=2
io.personium.core.odata.query.skip.maxnum=3
io.personium.core.odata.query.expand.top.maxnum=4
io.personium.core.odata.query.expand.property.maxnum.list=1
io.personium.core.odata.query.expand.property.maxnum.retrieve=1
io.personium.core.box.odata.schema.MaxEntityTypes=2
io.personium.core.box.odata.schema.MaxProperties=2
io.personium.core.box.odata.schema.property.LayerLimits.SimpleType=1,1
io.personium.core.dav.childresource.maxnum=3
io.personium.core.dav.depth.maxnum=2
io.personium.core.dav.file.maxBytes=2000
io.personium.core.security.auth.password.regex=^[a-z]{6,8}$
io.personium.core.bar.file.maxSize=1
";

/// A request of the administrator.
async fn send(unit: &ProcessUnit, method: &str, path: &str, body: &str) -> TestResponse {
    unit.admin_request(method, path).body(body).send().await
}

fn batch(count: usize) -> String {
    let part = "--b\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n\
        GET Thing HTTP/1.1\r\nHost: localhost\r\n\r\n\r\n";
    format!("{}--b--\r\n", part.repeat(count))
}

#[tokio::test]
async fn limits_of_the_settings_hold_and_what_is_below_them_is_accepted() {
    let unit = crate::unit().settings(SETTINGS).start();
    unit.create_cell("alice").await;
    unit.create_box("alice", "home").await;
    let data = "alice/home/data";
    unit.create_odata_collection(data, "Thing").await;
    unit.create_entity_type(data, "Other").await;
    for name in ["a", "b", "c"] {
        unit.create_role("alice", name).await;
        let body = format!("{{\"__id\":\"{name}\"}}");
        unit.create(&format!("{data}/Other"), &body).await;
    }

    let types = format!("{data}/$metadata/EntityType");
    let third = send(&unit, "POST", &types, "{\"Name\":\"Third\"}").await;
    third.expect_error(400, "OD-0033");
    let thing = format!("{data}/Thing");
    unit.create(&thing, "{\"__id\":\"one\",\"first\":1,\"second\":2}")
        .await;
    let wide = send(&unit, "POST", &thing, "{\"third\":3}").await;
    wide.expect_error(400, "OD-0032");

    // Lists: the default, $top, $skip and $expand.
    let others = format!("{data}/Other");
    let listed = unit.list_entities(&others).await;
    assert_eq!(listed.len(), 2, "{listed:?}");
    for (query, status) in [
        ("$top=5", 200),
        ("$top=6", 400),
        ("$skip=3", 200),
        ("$skip=4", 400),
    ] {
        let list = format!("{others}?{query}");
        send(&unit, "GET", &list, "").await.expect(status);
    }
    for (query, status) in [
        ("$expand=_Account", 200),
        ("$expand=_Account,_Box", 400),
        ("$expand=_Account&$top=4", 200),
        ("$expand=_Account&$top=5", 400),
    ] {
        let list = format!("alice/__ctl/Role?{query}");
        send(&unit, "GET", &list, "").await.expect(status);
        if let Some((expand, _)) = query.split_once('&') {
            let one = format!("alice/__ctl/Role('a')?{expand}");
            send(&unit, "GET", &one, "").await.expect(200);
        }
    }
    let two = send(
        &unit,
        "GET",
        "alice/__ctl/Role('a')?$expand=_Account,_Box",
        "",
    )
    .await;
    two.expect_error(400, "OD-0039");
    let post_batch = async |count| {
        unit.admin_request("POST", &format!("{data}/$batch"))
            .header("content-type", "multipart/mixed; boundary=b")
            .body(batch(count))
            .send()
            .await
    };
    post_batch(2).await.expect(202);
    post_batch(3).await.expect_error(400, "OD-0030");

    // Passwords, and links of many to many.
    for (password, status) in [
        ("abcdef", 201),
        ("abcde", 400),
        ("Abcdef", 400),
        ("abcdefghi", 400),
    ] {
        let made = unit
            .admin_request("POST", "alice/__ctl/Account")
            .header("x-personium-credential", password)
            .body(format!("{{\"Name\":\"{password}\"}}"));
        made.send().await.expect(status);
    }
    unit.link("alice", "Account('abcdef')", "_Role", "Role('a')")
        .await;
    let more = format!("{{\"uri\":\"{}__ctl/Role('b')\"}}", unit.cell_url("alice"));
    let links = "alice/__ctl/Account('abcdef')/$links/_Role";
    send(&unit, "POST", links, &more)
        .await
        .expect_error(400, "OD-0038");

    // Files: members, depth and size.
    unit.create_collection("alice/home/dav", "").await;
    unit.put_file("alice/home/dav/small", &"s".repeat(2000))
        .await;
    let large = send(&unit, "PUT", "alice/home/dav/large", &"s".repeat(2001)).await;
    assert!(large.status.is_client_error(), "{}", large.status);
    unit.create_collection("alice/home/dav/second", "").await;
    let third_level = unit.admin_request("MKCOL", "alice/home/dav/second/third");
    third_level.send().await.expect_error(400, "DV-0008");
    unit.put_file("alice/home/third", "the third member").await;
    send(&unit, "PUT", "alice/home/fourth", "")
        .await
        .expect_error(400, "DV-0007");

    let archive = vec![0; (1 << 20) + 1];
    let install = unit.admin_request("MKCOL", "alice/installed");
    let install = install
        .header("content-type", "application/zip")
        .body(archive);
    install.send().await.expect_error(400, "BI-0002");
}

#[tokio::test]
async fn no_rule_acts_while_the_setting_forbids_it() {
    let mut unit = crate::unit()
        .setting("io.personium.core.event.hop.maxnum", 0)
        .start();
    unit.create_cell("alice").await;
    let rule =
        "{\"Name\":\"log\",\"EventExternal\":true,\"EventType\":\"said\",\"Action\":\"log.info\"}";
    unit.create("alice/__ctl/Rule", rule).await;
    let say = async |unit: &ProcessUnit, object: &str| {
        let event = format!("{{\"Type\":\"said\",\"Object\":\"{object}\",\"Info\":\"\"}}");
        unit.post("alice/__event", &event).await.expect(200);
    };
    say(&unit, "forbidden").await;
    unit.replace_in_settings("hop.maxnum=0", "hop.maxnum=1");
    unit.terminate();
    assert!(unit.wait());
    unit.restart();
    say(&unit, "permitted").await;
    let log = async || {
        let log = send(&unit, "GET", "alice/__log/current/default.log", "").await;
        log.text()
    };
    wait_until("the rule acts", async || log().await.contains("permitted")).await;
    assert!(!log().await.contains("forbidden"), "{}", log().await);
}
