//! Boxes that are exported as archives: `GET` of a box with `Accept: application/zip+x-personium-bar`.

use std::collections::BTreeMap;

use personium_testkit::{
    TestResponse, TestUnit, ace, artifacts_folder, json_form, refused, success, xml_form,
};
use personium_xml::{Element, XmlLimits};
use serde_json::Value;

use super::artifacts::{ARTIFACTS, Artifact};
use super::installed::full_archive;
use crate::archive_entries::entries;
use crate::install::{install_bytes, wait_for_installation};

const ARCHIVE: &str = "application/zip+x-personium-bar";

async fn export(unit: &TestUnit, name: &str) -> TestResponse {
    let request = unit.admin_request("GET", &format!("c/{name}"));
    request.header("accept", ARCHIVE).send().await
}

/// The archive of a box.
async fn exported(unit: &TestUnit, name: &str) -> Vec<u8> {
    let response = export(unit, name).await.expect(200);
    assert_eq!(response.header("content-type"), Some(ARCHIVE));
    let length = response.body.len().to_string();
    assert_eq!(response.header("content-length"), Some(length.as_str()));
    response.body.to_vec()
}

/// The entries without times, and without the name of the box.
fn without_times(archive: &[u8]) -> BTreeMap<String, String> {
    let is_time =
        |line: &&str| !line.contains("<creationdate>") && !line.contains("<getlastmodified>");
    let entries = entries(archive).into_iter();
    let plain = entries.map(|(name, content)| {
        let text = String::from_utf8_lossy(&content).into_owned();
        let text = match name.as_str() {
            "00_meta/90_rootprops.xml" => {
                text.lines().filter(is_time).collect::<Vec<_>>().join("\n")
            }
            "00_meta/00_manifest.json" => {
                let mut manifest: Value = serde_json::from_str(&text).unwrap();
                manifest["default_path"] = Value::Null;
                manifest.to_string()
            }
            _ => text,
        };
        (name, text)
    });
    plain.collect()
}

/// Removes a box, and installs an archive in its place.
async fn replace(unit: &TestUnit, name: &str, archive: Vec<u8>) {
    let remove = unit.admin_request("DELETE", &format!("c/{name}"));
    let remove = remove.header("x-personium-recursive", "true");
    remove.send().await.expect(204);
    install_ready(unit, name, archive).await;
}

async fn install_ready(unit: &TestUnit, name: &str, archive: Vec<u8>) {
    let response = install_bytes(unit, name, archive).await;
    assert_eq!(response.outcome(), success(202));
    let shown = wait_for_installation(unit, name).await;
    assert_eq!(shown["status"], "ready", "{shown}");
}

/// A unit with a box `new` that has something of every kind.
async fn unit_with_full_box() -> TestUnit {
    let unit = TestUnit::new().await;
    unit.create_role("c", "outside").await;
    install_ready(&unit, "new", full_archive().zip()).await;
    unit.create_collection("c/new/str", "stream").await;
    unit.create_collection("c/new/docs/\u{8cc7}\u{6599}", "")
        .await;
    let large = "0123456789".repeat(70_000);
    unit.put_file("c/new/docs/large.bin", &large).await;
    unit.put_file("c/new/docs/a%2541b%25", "percent").await;
    let encoded = unit.admin_request("PUT", "c/new/docs/packed");
    let encoded = encoded
        .header("content-encoding", "gzip")
        .header("content-type", "text/x-p");
    encoded.body("packed").send().await.expect(201);
    let aces = ace("http://unit.example/c/__role/new/reader", &["D:read"])
        + &ace(
            "http://unit.example/c/__role/__/outside",
            &["D:write", "p:exec"],
        );
    let level = "p:requireSchemaAuthz='confidential'";
    unit.set_acl_with("c/new/docs/large.bin", level, &aces)
        .await;
    let queues = "<D:propertyupdate xmlns:D='DAV:' xmlns:p='urn:x-personium:xmlns'><D:set><D:prop>\
                  <p:queues><p:queue>q1</p:queue></p:queues></D:prop></D:set></D:propertyupdate>";
    unit.admin()
        .call("PROPPATCH", "c/new/str", queues)
        .await
        .expect(207);
    unit
}

#[tokio::test]
async fn exported_box_is_installed_and_exported_as_the_same_archive() {
    let unit = unit_with_full_box().await;
    let first = exported(&unit, "new").await;
    let names: Vec<String> = entries(&first).into_keys().collect();
    for name in [
        "00_meta/00_manifest.json",
        "00_meta/10_relations.json",
        "00_meta/20_roles.json",
        "00_meta/30_extroles.json",
        "00_meta/50_rules.json",
        "00_meta/70_$links.json",
        "00_meta/90_rootprops.xml",
        "90_contents/data/00_$metadata.xml",
        "90_contents/data/10_odatarelations.json",
        "90_contents/data/90_data/Person/1.json",
        "90_contents/data/90_data/Pet/1.json",
        "90_contents/data/90_data/Pet/2.json",
        "90_contents/docs/a%41b%",
        "90_contents/docs/large.bin",
        "90_contents/docs/\u{8cc7}\u{6599}/",
        "90_contents/str/",
        "90_contents/svc/__src/hello.js",
    ] {
        assert!(
            names.iter().any(|found| found == name),
            "{name} in {names:?}"
        );
    }
    let before = without_times(&first);
    let pet = &before["90_contents/data/90_data/Pet/1.json"];
    assert!(pet.contains("9007199254740993"), "{pet}");
    replace(&unit, "new", first).await;
    let second = exported(&unit, "new").await;
    assert_eq!(without_times(&second), before);

    let packed = unit.admin_request("GET", "c/new/docs/packed").send().await;
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    let file = unit
        .admin_request("PROPFIND", "c/new/docs/large.bin")
        .header("depth", "0");
    let text = file.send().await.text();
    assert!(
        text.contains("requireSchemaAuthz=\"confidential\""),
        "{text}"
    );
    assert!(text.contains("<href>../__/outside</href>"), "{text}");
    let linked = unit.list_entities("c/new/data/Person('me')/_Pet").await;
    assert_eq!(linked.len(), 2);
}

#[tokio::test]
async fn exported_box_is_installed_in_another_cell_with_its_own_roles() {
    let unit = unit_with_full_box().await;
    let archive = exported(&unit, "new").await;
    unit.create_cell("d").await;
    let request = unit.admin_request("MKCOL", "d/copy");
    let request = request
        .header("content-type", "application/zip")
        .body(archive);
    assert_eq!(request.send().await.outcome(), success(202));
    loop {
        let shown = unit.admin_request("GET", "d/copy").send().await.json();
        if shown["box"]["status"] != "installation in progress" {
            assert_eq!(shown["box"]["status"], "ready", "{shown}");
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let roles = unit.list_entities("d/__ctl/Role").await;
    assert_eq!(roles.len(), 1);
    assert_eq!(roles[0]["_Box.Name"], "copy");
    let file = unit
        .admin_request("PROPFIND", "d/copy/docs/large.bin")
        .header("depth", "0");
    let text = file.send().await.text();
    assert!(
        text.contains("http://unit.example/d/__role/copy/"),
        "{text}"
    );
    assert!(!text.contains("outside"), "{text}");
}

#[tokio::test]
async fn export_needs_the_privilege_to_read_the_box() {
    let unit = TestUnit::new().await;
    unit.put_file("c/b/f", "x").await;
    unit.create_account("c", r#"{"Name":"me"}"#).await;
    let token = unit.access_token("c").await;
    let get = async |token: Option<&str>, name: &str| {
        let path = format!("c/{name}");
        let request = unit.request("GET", &path).header("accept", ARCHIVE);
        let request = match token {
            Some(token) => request.bearer(token),
            None => request,
        };
        request.send().await.outcome()
    };
    assert_eq!(get(None, "b").await, refused(401, "AU-0001"));
    assert_eq!(get(Some("AR~nonsense"), "b").await, refused(401, "AU-0006"));
    assert_eq!(get(Some(&token), "b").await, refused(403, "AU-0002"));
    assert_eq!(get(Some(&token), "__").await, refused(403, "AU-0002"));
    unit.grant_by_new_role("c/b", ("me", "reader"), &["D:read-properties", "D:write"])
        .await;
    assert_eq!(get(Some(&token), "b").await, refused(403, "AU-0002"));
    unit.grant_to_role("c/b", "reader", &["D:read"]).await;
    let token = unit.access_token("c").await;
    assert_eq!(get(Some(&token), "b").await, success(200));
    assert_eq!(get(None, "b").await, refused(401, "AU-0001"));
    unit.grant_to_everybody("c/b", &["D:read"]).await;
    assert_eq!(get(None, "b").await, success(200));
}

#[tokio::test]
async fn export_needs_the_application_that_anything_in_the_box_requires() {
    let unit = TestUnit::new().await;
    unit.create_cell("appcell").await;
    unit.create_account("c", r#"{"Name":"me"}"#).await;
    unit.grant_by_new_role("c/app", ("me", "reader"), &["D:read"])
        .await;
    unit.create_collection("c/app/col", "").await;
    unit.put_file("c/app/col/f", "x").await;
    let app = personium_testkit::cell_url("appcell");
    let by_app = async |is_confidential: bool| {
        let secret = unit.assertion(|token| {
            token.issuer.clone_from(&app);
            token.subject.clone_from(&app);
            if is_confidential {
                token.roles = vec![format!("{app}__role/__/confidentialClient")];
            }
        });
        let client = [
            ("client_id", app.as_str()),
            ("client_secret", secret.as_str()),
        ];
        let login = unit.login("c", &client).await;
        login["access_token"].as_str().unwrap().to_owned()
    };
    let plain = unit.access_token("c").await;
    let (public, confidential) = (by_app(false).await, by_app(true).await);
    let ok = || success(200);
    for (level, outcomes) in [
        ("none", [ok(), ok(), ok()]),
        ("public", [refused(403, "AU-0005"), ok(), ok()]),
        (
            "confidential",
            [refused(403, "AU-0005"), refused(403, "AU-0006"), ok()],
        ),
    ] {
        for path in ["c/app/col/f", "c/app/col"] {
            let attribute = format!("p:requireSchemaAuthz='{level}'");
            unit.set_acl_with(path, &attribute, "").await;
            for (token, outcome) in [&plain, &public, &confidential].into_iter().zip(&outcomes) {
                let request = unit.request("GET", "c/app").bearer(token);
                let response = request.header("accept", ARCHIVE).send().await;
                assert_eq!(response.outcome(), *outcome, "{level} at {path}");
                let request = unit.request("GET", "c/app").bearer(token);
                assert_eq!(request.send().await.outcome(), ok(), "the description");
            }
            assert_eq!(export(&unit, "app").await.outcome(), ok());
            unit.set_acl_with(path, "", "").await;
        }
    }
}

#[tokio::test]
async fn main_box_and_missing_boxes_are_not_exported() {
    let unit = TestUnit::new().await;
    assert_eq!(export(&unit, "__").await.outcome(), refused(404, "OD-0002"));
    assert_eq!(
        export(&unit, "none").await.outcome(),
        refused(404, "DV-0002")
    );
    let head = unit.admin_request("HEAD", "c/b").header("accept", ARCHIVE);
    let head = head.send().await.expect(200);
    assert!(head.body.is_empty());
    // An archive is no document that a condition of the description decides about.
    let request = unit.admin_request("GET", "c/b").header("accept", ARCHIVE);
    let failed = request.header("if-match", "\"9-9\"").send().await;
    assert_eq!(failed.outcome(), refused(412, "DV-0001"));
}

#[tokio::test]
async fn box_whose_installation_failed_is_not_exported() {
    let unit = TestUnit::new().await;
    // Of an archive of the legacy version the box stays.
    let archive = full_archive().with("90_contents/data/90_data/Pet/1.json", "{");
    let response = install_bytes(&unit, "new", archive.legacy().zip()).await;
    assert_eq!(response.outcome(), success(202));
    let shown = wait_for_installation(&unit, "new").await;
    assert_eq!(shown["status"], "installation failed", "{shown}");
    assert_eq!(
        export(&unit, "new").await.outcome(),
        refused(409, "BI-0001")
    );
}

#[tokio::test]
async fn box_is_not_exported_while_it_is_installed() {
    let unit = TestUnit::new().await;
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let other = unit.clone();
    unit.store.interrupt_commit(6, async move {
        let _ = sender.send(export(&other, "new").await.outcome());
    });
    let response = install_bytes(&unit, "new", full_archive().zip()).await;
    assert_eq!(response.outcome(), success(202));
    assert_eq!(receiver.await.unwrap(), refused(409, "BI-0001"));
    let shown = wait_for_installation(&unit, "new").await;
    assert_eq!(shown["status"], "ready", "{shown}");
    assert_eq!(export(&unit, "new").await.outcome(), success(200));
}

#[tokio::test]
async fn encrypted_files_are_exported_plain() {
    let unit = TestUnit::with_settings(|settings| settings.dav.encrypt_files = true).await;
    let large = "0123456789".repeat(40_000);
    unit.put_file("c/b/large", &large).await;
    unit.put_file("c/b/small", "small").await;
    unit.put_file("c/b/empty", "").await;
    let entries = entries(&exported(&unit, "b").await);
    assert_eq!(entries["90_contents/large"], large.as_bytes());
    assert_eq!(entries["90_contents/small"], b"small");
    assert!(entries["90_contents/empty"].is_empty());
}

#[tokio::test]
async fn entry_for_a_removed_role_is_left_out() {
    let unit = TestUnit::new().await;
    unit.create_role("c", "gone").await;
    unit.grant_to_role("c/b", "gone", &["D:read"]).await;
    unit.admin_request("DELETE", "c/__ctl/Role('gone')")
        .send()
        .await
        .expect(204);
    let entries = entries(&exported(&unit, "b").await);
    let text = String::from_utf8_lossy(&entries["00_meta/90_rootprops.xml"]).into_owned();
    assert!(!text.contains("<ace>") && text.contains("</acl>"), "{text}");
}

#[tokio::test]
async fn archive_of_a_box_that_changes_meanwhile_is_installed() {
    let unit = TestUnit::new().await;
    unit.create_odata_collection("c/b/od", "A").await;
    unit.create_entity_type("c/b/od", "B").await;
    let end = |name: &str, of: &str| {
        format!("{{\"Name\":\"{name}\",\"Multiplicity\":\"*\",\"_EntityType.Name\":\"{of}\"}}")
    };
    unit.create("c/b/od/$metadata/AssociationEnd", &end("a", "A"))
        .await;
    let other = "c/b/od/$metadata/AssociationEnd(Name='a',_EntityType.Name='A')/_AssociationEnd";
    unit.create(other, &end("b", "B")).await;
    let change = async {
        for n in 0..120 {
            unit.create("c/b/od/A", &format!("{{\"__id\":\"a{n}\"}}"))
                .await;
            unit.create(
                &format!("c/b/od/A('a{n}')/_B"),
                &format!("{{\"__id\":\"b{n}\"}}"),
            )
            .await;
            unit.put_file(&format!("c/b/f{}", n % 10), &"x".repeat(n * 100))
                .await;
            if n % 3 == 0 {
                let link = format!("c/b/od/A('a{n}')/$links/_B('b{n}')");
                unit.admin_request("DELETE", &link).send().await.expect(204);
                let gone = format!("c/b/od/B('b{n}')");
                unit.admin_request("DELETE", &gone).send().await.expect(204);
                unit.admin_request("DELETE", &format!("c/b/f{}", n % 10))
                    .send()
                    .await
                    .expect(204);
            }
        }
    };
    let read = async {
        let mut archives = Vec::new();
        for _ in 0..12 {
            archives.push(exported(&unit, "b").await);
        }
        archives
    };
    let ((), archives) = tokio::join!(change, read);
    for (at, archive) in archives.into_iter().enumerate() {
        install_ready(&unit, &format!("copy{at}"), archive).await;
    }
}

#[tokio::test]
async fn long_list_of_links_is_exported_as_a_whole() {
    let unit = TestUnit::new().await;
    install_ready(&unit, "new", full_archive().zip()).await;
    let id = |n: usize| format!("{n:0>390}");
    for n in 0..400 {
        let pet = format!("{{\"__id\":\"{}\"}}", id(n));
        unit.create("c/new/data/Person('me')/_Pet", &pet).await;
    }
    let links = &entries(&exported(&unit, "new").await)["90_contents/data/10_odatarelations.json"];
    assert!(links.len() > 128 << 10, "{}", links.len());
    let links: Value = serde_json::from_slice(links).unwrap();
    assert_eq!(links["Links"].as_array().unwrap().len(), 402);
    assert_eq!(links["Links"][0]["ToId"]["__id"], id(0));
}

#[tokio::test]
async fn archive_that_is_not_received_holds_little_memory() {
    let unit = TestUnit::new().await;
    unit.put_file("c/b/large", &"0123456789abcdef".repeat(200_000))
        .await;
    let request = unit.admin_request("GET", "c/b").header("accept", ARCHIVE);
    let response = request.send_streaming().await.unwrap();
    assert_eq!(response.status(), 200);
    let memory = &unit.model.limits().answer_memory;
    assert!(memory.used_bytes() <= 512 << 10, "{}", memory.used_bytes());
    drop(response);
    assert_eq!(memory.used_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn export_without_memory_is_refused() {
    let unit =
        TestUnit::with_settings(|settings| settings.answer_memory_max_bytes = 64 << 10).await;
    for n in 0..200 {
        unit.put_file(&format!("c/b/file{n}"), "x").await;
    }
    assert_eq!(export(&unit, "b").await.outcome(), refused(503, "SV-0002"));
    assert_eq!(unit.model.limits().answer_memory.used_bytes(), 0);
}

#[tokio::test]
async fn boxes_of_the_reference_are_exported_with_the_same_entries() {
    if artifacts_folder().is_none() {
        return;
    }
    for artifact in &ARTIFACTS {
        let unit = TestUnit::new().await;
        let remove = unit.admin_request("DELETE", "c/b");
        remove
            .header("x-personium-recursive", "true")
            .send()
            .await
            .expect(204);
        for role in ["admin", "reader", "writer"] {
            unit.create_role("c", role).await;
        }
        let path = artifacts_folder()
            .unwrap()
            .join(format!("{}.bar", artifact.archive));
        let theirs = std::fs::read(path).unwrap();
        install_ready(&unit, artifact.the_box, theirs.clone()).await;
        let ours = exported(&unit, artifact.the_box).await;
        compare(artifact, &theirs, &ours);
        let before = without_times(&ours);
        replace(&unit, artifact.the_box, ours).await;
        let again = exported(&unit, artifact.the_box).await;
        assert_eq!(without_times(&again), before, "{}", artifact.archive);
    }
}

/// Compares the files of two archives, without times and order.
fn compare(artifact: &Artifact, theirs: &[u8], ours: &[u8]) {
    let is_file = |(name, _): &(String, Vec<u8>)| !name.ends_with('/');
    let files = |archive: &[u8]| -> BTreeMap<_, _> {
        entries(archive).into_iter().filter(is_file).collect()
    };
    let (theirs, ours) = (files(theirs), files(ours));
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&theirs), names(&ours), "{}", artifact.archive);
    // The name of an archive begins with that of its cell; a box without a schema names its roles by its own URL.
    let cell = artifact.archive.split('_').nth(1).unwrap();
    let manifest: Value = serde_json::from_slice(&theirs["00_meta/00_manifest.json"]).unwrap();
    let name = manifest["default_path"].as_str().unwrap();
    let their_roles = format!("http://localhost:9998/{cell}/__role/{name}/");
    let our_roles = format!("http://unit.example/c/__role/{}/", artifact.the_box);
    for (name, content) in &theirs {
        let form = |content: &[u8]| {
            let Ok(text) = std::str::from_utf8(content) else {
                return format!("{content:?}");
            };
            let text = text.replace(&their_roles, &our_roles);
            match name.rsplit('.').next() {
                Some("json") if name.starts_with("00_meta/") => {
                    let mut value: Value = serde_json::from_str(&text).unwrap();
                    value["default_path"] = Value::Null;
                    json_form(&value)
                }
                Some("xml") => {
                    xml_form(&Element::parse(text.as_bytes(), &XmlLimits::ARCHIVE_ENTRY).unwrap())
                }
                _ => text,
            }
        };
        assert_eq!(
            form(content),
            form(&ours[name]),
            "{}: {name}",
            artifact.archive
        );
    }
}
