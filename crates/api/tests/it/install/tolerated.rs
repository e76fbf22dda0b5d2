//! Archives as other programs write them, and released applications: they install although they differ from the layout that
//! this unit's documentation describes.

use personium_testkit::{TestUnit, success};
use serde_json::{Value, json};

use super::{APP, Archive, EMPTY, manifest};
use crate::install::{install, install_bytes, wait_for_installation};

/// A description with these resources besides the box.
fn described(inside: &str) -> String {
    EMPTY.replace("</multistatus>", &format!("{inside}</multistatus>"))
}

fn resource(path: &str, props: &str) -> String {
    format!(
        "<response><href>personium-localbox:/{path}</href><propstat><prop>{props}</prop></propstat></response>"
    )
}

fn file(path: &str) -> String {
    resource(
        path,
        "<resourcetype/><getcontenttype>text/plain</getcontenttype>",
    )
}

fn folder(path: &str) -> String {
    resource(path, "<resourcetype><collection/></resourcetype>")
}

fn typed(path: &str, kind: &str) -> String {
    let kind = format!("<collection/><p:{kind} xmlns:p='urn:x-personium:xmlns'/>");
    resource(path, &format!("<resourcetype>{kind}</resourcetype>"))
}

/// A list with an entry for a principal.
fn acl(base: &str, principal: &str, privilege: &str) -> String {
    format!(
        "<acl {base}><ace><principal>{principal}</principal><grant><privilege>{privilege}</privilege></grant></ace></acl>"
    )
}

const BASE: &str = "xml:base='https://app.example/__role/__/'";

async fn install_ready(unit: &TestUnit, archive: &Archive) {
    install_bytes_ready(unit, archive.zip()).await;
}

async fn install_bytes_ready(unit: &TestUnit, archive: Vec<u8>) {
    let response = install_bytes(unit, "new", archive).await;
    assert_eq!(response.outcome(), success(202), "{}", response.text());
    let shown = wait_for_installation(unit, "new").await;
    assert_eq!(shown["status"], "ready", "{shown}");
}

async fn propfind(unit: &TestUnit, path: &str) -> String {
    let request = unit.admin_request("PROPFIND", path).header("depth", "0");
    let response = request.send().await;
    assert_eq!(response.status, 207, "{path}: {}", response.text());
    response.text()
}

async fn get(unit: &TestUnit, path: &str) -> (u16, String) {
    let response = unit.admin_request("GET", path).send().await;
    (response.status.as_u16(), response.text())
}

/// Replaces the name of an entry in an archive by other bytes of the same length, which need not be UTF-8.
fn with_raw_name(mut zip: Vec<u8>, name: &str, raw: &[u8]) -> Vec<u8> {
    assert_eq!(name.len(), raw.len());
    let places: Vec<usize> = zip
        .windows(name.len())
        .enumerate()
        .filter(|(_, window)| *window == name.as_bytes())
        .map(|(at, _)| at)
        .collect();
    assert_eq!(places.len(), 2, "local header and central directory");
    for at in places {
        zip[at..at + raw.len()].copy_from_slice(raw);
    }
    zip
}

#[tokio::test]
async fn privileges_with_other_namespaces_are_granted() {
    for exec in [
        "<exec/>",
        "<exec xmlns=''/>",
        "<p:exec xmlns:p='urn:x-personium:xmlns'/>",
    ] {
        let unit = TestUnit::new().await;
        let service = typed("svc", "service")
            .replace("</prop>", &format!("{}</prop>", acl(BASE, "<all/>", exec)));
        let archive = Archive::new().with(
            "00_meta/90_rootprops.xml",
            &described(&(service + &folder("svc/__src"))),
        );
        install_ready(&unit, &archive).await;
        let shown = propfind(&unit, "c/new/svc").await;
        assert!(shown.contains("<p:exec"), "{exec}: {shown}");
    }
}

#[tokio::test]
async fn lists_of_service_sources_are_set() {
    let unit = TestUnit::new().await;
    let empty = format!("<acl {BASE}/>");
    let public = acl(BASE, "<all/>", "<read/>");
    let source = |name: &str, list: &str| {
        let props =
            format!("<resourcetype/><getcontenttype>text/javascript</getcontenttype>{list}");
        resource(&format!("svc/__src/{name}"), &props)
    };
    let sources = folder("svc/__src").replace("</prop>", &format!("{empty}</prop>"));
    let inside =
        typed("svc", "service") + &sources + &source("a.js", &empty) + &source("b.js", &public);
    let archive = Archive::new()
        .with("00_meta/90_rootprops.xml", &described(&inside))
        .with("90_contents/svc/__src/a.js", "a")
        .with("90_contents/svc/__src/b.js", "b");
    install_ready(&unit, &archive).await;
    assert_eq!(
        unit.request("GET", "c/new/svc/__src/b.js")
            .send()
            .await
            .text(),
        "b"
    );
    assert_eq!(
        unit.request("GET", "c/new/svc/__src/a.js")
            .send()
            .await
            .status,
        401
    );
}

#[tokio::test]
async fn entries_for_roles_of_the_cell_are_set_and_those_for_missing_roles_left_out() {
    let unit = TestUnit::new().await;
    unit.create("c/__ctl/Role", r#"{"Name":"admin"}"#).await;
    unit.create("c/__ctl/Role", r#"{"Name":"other","_Box.Name":"b"}"#)
        .await;
    let log = json!({"Name": "l", "Action": "log", "EventType": "PL-BI-1002"}).to_string();
    unit.create("c/__ctl/Rule", &log).await;
    let ace = |role: &str| {
        format!(
            "<ace><principal><href>{role}</href></principal><grant><privilege><read/></privilege></grant></ace>"
        )
    };
    let roles = [
        "own",
        "../__/admin",
        "../b/other",
        "gone",
        "../__/gone",
        "../nowhere/r",
    ];
    let list: String = roles.into_iter().map(ace).collect();
    let inside = folder("d").replace("</prop>", &format!("<acl {BASE}>{list}</acl></prop>"));
    let archive = Archive::new()
        .with("00_meta/20_roles.json", r#"{"Roles":[{"Name":"own"}]}"#)
        .with("00_meta/90_rootprops.xml", &described(&inside));
    install_ready(&unit, &archive).await;
    let shown = propfind(&unit, "c/new/d").await;
    for role in ["own", "../__/admin", "../b/other"] {
        assert!(
            shown.contains(&format!("<href>{role}</href>")),
            "{role}: {shown}"
        );
    }
    assert_eq!(shown.matches("<principal>").count(), 3, "{shown}");
    let (_, lines) = get(&unit, "c/__log/current/default.log").await;
    assert_eq!(lines.matches("PL-BI-1002").count(), 3, "{lines}");
    assert!(
        lines.contains("__role/new/gone") && lines.contains("line 1"),
        "{lines}"
    );
    // A role that is created later gets nothing.
    unit.create("c/__ctl/Role", r#"{"Name":"gone","_Box.Name":"new"}"#)
        .await;
    let shown = propfind(&unit, "c/new/d").await;
    assert_eq!(shown.matches("<principal>").count(), 3, "{shown}");
}

#[tokio::test]
async fn lists_without_base_are_ignored_and_those_of_any_schema_set() {
    for (base, entries) in [
        ("", 0),
        ("xml:base=''", 0),
        ("xml:base='urn:x-own:app__role/__/'", 1),
        ("xml:base='https://app.example/__role/app'", 1),
    ] {
        let unit = TestUnit::new().await;
        let list = acl(base, "<all/>", "<read/>");
        let inside = folder("d").replace("</prop>", &format!("{list}</prop>"));
        let archive = Archive::new().with("00_meta/90_rootprops.xml", &described(&inside));
        install_ready(&unit, &archive).await;
        let shown = propfind(&unit, "c/new/d").await;
        assert_eq!(shown.matches("<ace>").count(), entries, "{base}: {shown}");
    }
}

#[tokio::test]
async fn inherited_entries_are_no_grants_of_the_resource() {
    let unit = TestUnit::new().await;
    let entry = "<ace><principal><all/></principal><grant><privilege><read/></privilege></grant>\
                 <inherited><href>https://app.example/app</href></inherited></ace>";
    let inside = folder("d").replace("</prop>", &format!("<acl {BASE}>{entry}</acl></prop>"));
    let archive = Archive::new().with("00_meta/90_rootprops.xml", &described(&inside));
    install_ready(&unit, &archive).await;
    assert_eq!(propfind(&unit, "c/new/d").await.matches("<ace>").count(), 0);
    assert_eq!(unit.request("GET", "c/new/d").send().await.status, 401);
}

#[tokio::test]
async fn hrefs_and_entries_name_the_same_file_in_every_spelling() {
    for (href, entry, url) in [
        ("日本.txt", "日本.txt", "%E6%97%A5%E6%9C%AC.txt"),
        (
            "%E6%97%A5%E6%9C%AC.txt",
            "日本.txt",
            "%E6%97%A5%E6%9C%AC.txt",
        ),
        ("a b.txt", "a b.txt", "a%20b.txt"),
        ("a%20b.txt", "a b.txt", "a%20b.txt"),
        ("a+b.txt", "a+b.txt", "a+b.txt"),
        ("100%25.txt", "100%25.txt", "100%2525.txt"),
        ("100%25.txt", "100%.txt", "100%25.txt"),
        ("%zz.txt", "%zz.txt", "%25zz.txt"),
        ("が.txt", "か\u{3099}.txt", "%E3%81%8C.txt"),
        ("&amp;&lt;.txt", "&<.txt", ""),
    ] {
        let unit = TestUnit::new().await;
        let archive = Archive::new()
            .with("00_meta/90_rootprops.xml", &described(&file(href)))
            .with(&format!("90_contents/{entry}"), "text");
        if url.is_empty() {
            let response = install(&unit, "new", &archive).await;
            assert_eq!(response.outcome(), success(202));
            let shown = wait_for_installation(&unit, "new").await;
            assert!(shown.to_string().contains("PL-BI-2017"), "{shown}");
            continue;
        }
        install_ready(&unit, &archive).await;
        let path = format!("c/new/{url}");
        assert_eq!(
            get(&unit, &path).await,
            (200, "text".to_owned()),
            "{href} {entry}"
        );
    }
}

#[tokio::test]
async fn names_in_other_encodings_are_decoded() {
    let sjis = b"90_contents/\x8fd\x94\xa0\x82\xcc\x8b\xf7.txt";
    let placeholder = "90_contents/placehol.txt";
    for (raw, href) in [
        (&sjis[..], "重箱の隅.txt"),
        (b"90_contents/\x95\x5c\x95\x5c1234.txt", "表表1234.txt"),
        ("90_contents/日本00.txt".as_bytes(), "日本00.txt"),
    ] {
        let unit = TestUnit::new().await;
        let archive = Archive::new()
            .with("00_meta/90_rootprops.xml", &described(&file(href)))
            .with(placeholder, "text");
        install_bytes_ready(&unit, with_raw_name(archive.zip(), placeholder, raw)).await;
        let encoded: String = href.bytes().map(|byte| format!("%{byte:02X}")).collect();
        assert_eq!(
            get(&unit, &format!("c/new/{encoded}")).await.1,
            "text",
            "{href}"
        );
    }
}

#[tokio::test]
async fn files_without_type_are_octet_streams() {
    let unit = TestUnit::new().await;
    let inside = resource("a", "<resourcetype/>")
        + &resource("b", "<getcontenttype/><resourcetype/>")
        + "<response><href>personium-localbox:/c</href></response>";
    let mut archive = Archive::new().with("00_meta/90_rootprops.xml", &described(&inside));
    for name in ["a", "b", "c"] {
        archive = archive.with(&format!("90_contents/{name}"), "text");
    }
    install_ready(&unit, &archive).await;
    for name in ["a", "b", "c"] {
        let response = unit
            .admin_request("GET", &format!("c/new/{name}"))
            .send()
            .await;
        assert_eq!(
            response.header("content-type"),
            Some("application/octet-stream")
        );
    }
}

#[tokio::test]
async fn stream_collections_are_created() {
    let unit = TestUnit::new().await;
    let stream = typed("strm", "stream").replace(
        "</prop>",
        "<p:topics xmlns:p='urn:x-personium:xmlns'><p:topic>t1</p:topic></p:topics></prop>",
    );
    let archive = Archive::new().with("00_meta/90_rootprops.xml", &described(&stream));
    install_ready(&unit, &archive).await;
    let shown = propfind(&unit, "c/new/strm").await;
    assert!(
        shown.contains("<p:stream") && shown.contains("<p:topic>t1"),
        "{shown}"
    );
}

#[tokio::test]
async fn layout_of_the_archive_is_free_where_it_has_no_meaning() {
    let props = described(&(folder("d/") + &file("d/a.txt")));
    let full = || {
        Archive::new()
            .with("00_meta/90_rootprops.xml", &props)
            .with("90_contents/d/a.txt", "text")
    };
    let reversed = || {
        let mut archive = full();
        archive.0.reverse();
        archive
    };
    let bom = |text: &str| format!("\u{feff}{text}");
    let crlf = |text: &str| text.replace('>', ">\r\n");
    for (what, archive) in [
        ("no folder entries", full().without("90_contents/")),
        (
            "folder entries",
            full().with("00_meta/", "").with("90_contents/d/", ""),
        ),
        ("other order", reversed()),
        ("other order, legacy", reversed().legacy()),
        (
            "byte order marks",
            full()
                .with("00_meta/00_manifest.json", &bom(&manifest("2")))
                .with("00_meta/20_roles.json", &bom(r#"{"Roles":[]}"#))
                .with("00_meta/90_rootprops.xml", &bom(&props)),
        ),
        (
            "line ends of Windows",
            full()
                .with(
                    "00_meta/00_manifest.json",
                    &manifest("2").replace(',', ",\r\n"),
                )
                .with("00_meta/90_rootprops.xml", &crlf(&props)),
        ),
        (
            "scheme in capitals",
            full().with(
                "00_meta/90_rootprops.xml",
                &props.replace("personium-localbox", "PERSONIUM-LocalBox"),
            ),
        ),
        (
            "foreign files",
            full()
                .with(".DS_Store", "x")
                .with("README.md", "x")
                .with("__MACOSX/90_contents/d/._a.txt", "x")
                .with("90_contents/.DS_Store", "x")
                .with("90_contents/d/.gitkeep", "")
                .with("90_contents/d/Thumbs.db", "x")
                .with("90_contents/__MACOSX/x", "x"),
        ),
        (
            "foreign files, legacy",
            full()
                .legacy()
                .with(".DS_Store", "x")
                .with("__MACOSX/bar/._x", "x"),
        ),
    ] {
        let unit = TestUnit::new().await;
        install_ready(&unit, &archive).await;
        assert_eq!(get(&unit, "c/new/d/a.txt").await.1, "text", "{what}");
        assert_eq!(get(&unit, "c/new/d/Thumbs.db").await.0, 404, "{what}");
    }
}

#[tokio::test]
async fn described_file_with_the_name_of_a_system_file_is_stored() {
    let unit = TestUnit::new().await;
    let archive = Archive::new()
        .with("00_meta/90_rootprops.xml", &described(&file("Thumbs.db")))
        .with("90_contents/Thumbs.db", "mine");
    install_ready(&unit, &archive).await;
    assert_eq!(get(&unit, "c/new/Thumbs.db").await.1, "mine");
}

#[tokio::test]
async fn schema_of_any_scheme_is_accepted() {
    for schema in ["urn:x-own:app", "http://localhost/app/", APP] {
        let unit = TestUnit::new().await;
        let archive = Archive::new()
            .with(
                "00_meta/00_manifest.json",
                &manifest("2").replace(APP, schema),
            )
            .with("00_meta/20_roles.json", r#"{"Roles":[{"Name":"own"}]}"#);
        install_ready(&unit, &archive).await;
        let shown = unit.list_entities("c/__ctl/Box").await;
        let found: Vec<&Value> = shown.iter().filter(|each| each["Name"] == "new").collect();
        assert_eq!(found[0]["Schema"], schema);
    }
}
