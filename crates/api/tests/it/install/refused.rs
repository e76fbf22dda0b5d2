//! Invalid archives, and installations that fail.

use personium_testkit::{TestUnit, refused, success};

use super::{APP, Archive, EMPTY, manifest};
use crate::install::{install, wait_for_installation};

fn root_props(inside: &str) -> String {
    EMPTY.replace("</multistatus>", &format!("{inside}</multistatus>"))
}

fn prop_response(path: &str, kind: &str) -> String {
    format!(
        "<response><href>personium-localbox:/{path}</href><propstat><prop><resourcetype>{kind}</resourcetype>\
         </prop></propstat></response>"
    )
}

fn odata_collection(path: &str) -> String {
    prop_response(
        path,
        "<collection/><p:odata xmlns:p='urn:x-personium:xmlns'/>",
    )
}

#[tokio::test]
async fn invalid_archives_are_refused_without_creating_a_box() {
    let unit = TestUnit::with_settings(|settings| {
        settings.archives.archive_max_megabytes = 1;
        settings.archives.entry_max_megabytes = 1;
    })
    .await;
    let meta = |name: &str| format!("00_meta/{name}");
    let full = Archive::new;
    let large = "x".repeat((1 << 20) + 1);
    for (archive, code) in [
        (full().with(&meta("00_manifest.json"), "{"), "BI-0007"),
        (
            full().with(&meta("00_manifest.json"), r#"{"bar_version":"2","x":1}"#),
            "BI-0007",
        ),
        (
            full()
                .with(&meta("00_manifest.json"), "{")
                .legacy()
                .with("bar/00_meta/00_manifest.json", "{"),
            "BI-0006",
        ),
        (full().with(&meta("00_manifest.json"), "{}"), "BI-0008"),
        (
            full().with(&meta("00_manifest.json"), &manifest("1")),
            "BI-0010",
        ),
        (
            full()
                .legacy()
                .with("bar/00_meta/00_manifest.json", &manifest("2")),
            "BI-0010",
        ),
        (
            full().legacy().with(
                "bar/00_meta/00_manifest.json",
                r#"{"bar_version":"1","schema":"abc"}"#,
            ),
            "BI-0009",
        ),
        (full().without(&meta("90_rootprops.xml")), "BI-0009"),
        (full().without(&meta("00_manifest.json")), "BI-0009"),
        (
            full()
                .legacy()
                .with("bar/00_meta/00_manifest.json", r#"{"bar_version":"1"}"#),
            "BI-0009",
        ),
        (full().with("90_contents/large", &large), "BI-0003"),
        (full().with("90_contents/../up", "x"), "BI-0006"),
        (full().with("/90_contents/x", "x"), "BI-0006"),
        (full().with("90_contents\\x", "x"), "BI-0006"),
        (
            full().with(
                &meta("00_manifest.json"),
                &manifest("2").replace(APP, "no url"),
            ),
            "OD-0050",
        ),
    ] {
        let response = install(&unit, "new", &archive).await;
        assert_eq!(
            response.outcome(),
            refused(400, code),
            "{}",
            response.text()
        );
        assert_eq!(
            unit.admin_outcome("GET", "c/new").await,
            refused(404, "DV-0002")
        );
    }
    let send = |content_type: &str, bytes: Vec<u8>| {
        let request = unit
            .admin_request("MKCOL", "c/new")
            .header("content-type", content_type);
        request.body(bytes).send()
    };
    for (content_type, bytes, code) in [
        ("application/zip", Vec::new(), "BI-0007"),
        ("application/zip", b"PK\x03\x04 no".to_vec(), "BI-0007"),
        ("application/zip", vec![0; (1 << 20) + 1], "BI-0002"),
        ("application/json", full().zip(), "BI-0001"),
    ] {
        assert_eq!(
            send(content_type, bytes).await.outcome(),
            refused(400, code)
        );
    }
    assert_eq!(
        install(&unit, "__", &full()).await.outcome(),
        refused(405, "MC-0001")
    );
    assert_eq!(
        install(&unit, "b", &full()).await.outcome(),
        refused(405, "BI-0001")
    );
    assert_eq!(
        install(&unit, "no:name", &full()).await.outcome(),
        refused(400, "OD-0006")
    );
    let used = full().with(
        "00_meta/00_manifest.json",
        &manifest("2").replace(APP, "http://unit.example/appcell/"),
    );
    assert_eq!(
        install(&unit, "new", &used).await.outcome(),
        refused(400, "BI-0004")
    );
    assert_eq!(
        unit.admin_request("PUT", "c/new")
            .body("x")
            .send()
            .await
            .outcome(),
        refused(404, "DV-0002")
    );
}

#[tokio::test]
async fn failed_installation_reports_the_entry_and_the_code() {
    let unit = TestUnit::new().await;
    let props = "00_meta/90_rootprops.xml";
    let edmx = |inside: &str| {
        format!(
            "<edmx:Edmx xmlns:edmx='http://schemas.microsoft.com/ado/2007/06/edmx'><edmx:DataServices>\
             <Schema xmlns='http://schemas.microsoft.com/ado/2006/04/edm' Namespace='UserData'>{inside}</Schema>\
             </edmx:DataServices></edmx:Edmx>"
        )
    };
    let with_odata = || Archive::new().with(props, &root_props(&odata_collection("o")));
    let metadata = "90_contents/o/00_$metadata.xml";
    let typed = || with_odata().with(metadata, &edmx("<EntityType Name='E'/>"));
    for (archive, entry, reason) in [
        (Archive::new().without("90_contents/"), "90_contents", "PL-BI-2001"),
        (Archive::new().with("00_meta/20_roles.json", "{"), "00_meta/20_roles.json", "PL-BI-2002"),
        (
            Archive::new().with("00_meta/20_roles.json", r#"{"Roles":[{"Name":"a/b"}]}"#),
            "00_meta/20_roles.json",
            "PR400-OD-0006",
        ),
        (
            Archive::new().with(
                "00_meta/70_$links.json",
                r#"{"Links":[{"FromType":"Box","FromName":{"Name":"b"},"ToType":"Role","ToName":{"Name":"r"}}]}"#,
            ),
            "00_meta/70_$links.json",
            "PR400-OD-0006",
        ),
        (Archive::new().with(props, "<x/>"), props, "PL-BI-2002"),
        (Archive::new().with(props, &root_props(&prop_response("a/b", ""))), props, "PL-BI-2012"),
        (Archive::new().with("90_contents/f", "x"), "90_contents/f", "PL-BI-2006"),
        (
            Archive::new()
                .with(props, &root_props("<response><href>personium-localbox:/f</href><propstat><prop><resourcetype/>\
                    <getcontenttype>none</getcontenttype></prop></propstat></response>"))
                .with("90_contents/f", "x"),
            "90_contents/f",
            "PL-BI-2005",
        ),
        (with_odata(), "o/00_$metadata.xml", "PL-BI-2001"),
        (with_odata().with(metadata, "<x"), metadata, "PL-BI-2002"),
        (with_odata().with(metadata, &edmx("<EntityType/>")), metadata, "PL-BI-2003"),
        (with_odata().with(metadata, &edmx("<EntityType Name='a b'/>")), metadata, "PR400-OD-0006"),
        (typed().with("90_contents/o/other", "x"), "90_contents/o/other", "PL-BI-2001"),
        (typed().with("90_contents/o/90_data/E/a.json", "{}"), "90_contents/o/90_data/E/a.json", "PL-BI-2001"),
        (typed().with("90_contents/o/90_data/F/1.json", "{}"), "90_contents/o/90_data/F/1.json", "PR404-OD-0001"),
        (typed().with("90_contents/o/90_data/E/1.json", "["), "90_contents/o/90_data/E/1.json", "PL-BI-2002"),
        (
            typed()
                .with("90_contents/o/90_data/E/1.json", r#"{"__id":"a"}"#)
                .with("90_contents/o/90_data/E/2.json", r#"{"__id":"a"}"#),
            "90_contents/o/90_data/E/2.json",
            "PR409-OD-0003",
        ),
        (
            typed().with(
                "90_contents/o/10_odatarelations.json",
                r#"{"Links":[{"FromType":"E","FromId":{"__id":"a"},"ToType":"E","ToId":{"__id":"b"}}]}"#,
            ),
            "90_contents/o/10_odatarelations.json",
            "PR400-OD-0008",
        ),
    ] {
        assert_eq!(install(&unit, "new", &archive).await.outcome(), success(202), "{entry}");
        let shown = wait_for_installation(&unit, "new").await;
        assert_eq!(shown["status"], "installation failed", "{entry}: {shown}");
        assert_eq!(shown["message"]["code"], "PL-BI-1004", "{shown}");
        let text = shown["message"]["message"]["value"].as_str().unwrap();
        assert!(text.starts_with(entry) && text.contains(reason), "{entry} {reason}: {text}");
        assert!(shown["started_at"].is_string() && shown["installed_at"].is_null(), "{shown}");
    }
}

#[tokio::test]
async fn recreated_box_does_not_inherit_a_failed_installation() {
    let unit = TestUnit::new().await;
    let bad = Archive::new().with("90_contents/f", "x");
    install(&unit, "new", &bad).await;
    assert_eq!(
        wait_for_installation(&unit, "new").await["status"],
        "installation failed"
    );
    let records = unit.model.cell_records(&unit.cell_id().await);
    let left = personium_model::keys::installations();
    assert!(records.is_empty(&left).await.unwrap());
    unit.create("c/__ctl/Box", r#"{"Name":"new"}"#).await;
    assert_eq!(wait_for_installation(&unit, "new").await["status"], "ready");
}
