//! The unit is killed in the middle of installations. After the next start nothing is left of them.

use std::io::{Cursor, Write};
use std::time::Duration;

use personium_testkit::TestClient;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

const ENTITIES: usize = 3_000;
const ROUNDS: u64 = 4;

const METADATA: &str = "<edmx:Edmx xmlns:edmx='http://schemas.microsoft.com/ado/2007/06/edmx'><edmx:DataServices>\
    <Schema xmlns='http://schemas.microsoft.com/ado/2006/04/edm' Namespace='UserData'><EntityType Name='E'/></Schema>\
    </edmx:DataServices></edmx:Edmx>";

fn collection(path: &str, kind: &str) -> String {
    format!(
        "<response><href>personium-localbox:/{path}</href><propstat><prop><resourcetype><collection/>{kind}</resourcetype>\
         </prop></propstat></response>"
    )
}

/// An archive whose installation takes long enough to be interrupted.
pub fn archive(entities: usize) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let mut add = |name: &str, content: &str| {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    };
    add(
        "00_meta/00_manifest.json",
        r#"{"bar_version":"2","box_version":"1","default_path":"x","schema":"http://app.example/"}"#,
    );
    add(
        "00_meta/10_relations.json",
        r#"{"Relations":[{"Name":"friend"}]}"#,
    );
    add("00_meta/20_roles.json", r#"{"Roles":[{"Name":"reader"}]}"#);
    add(
        "00_meta/50_rules.json",
        r#"{"Rules":[{"EventType":"timer.periodic","EventObject":"1","Action":"log"}]}"#,
    );
    let odata = "<p:odata xmlns:p='urn:x-personium:xmlns'/>";
    let resources = collection("", "") + &collection("o", odata);
    add(
        "00_meta/90_rootprops.xml",
        &format!("<multistatus xmlns='DAV:'>{resources}</multistatus>"),
    );
    add("90_contents/o/00_$metadata.xml", METADATA);
    for number in 0..entities {
        let name = format!("90_contents/o/90_data/E/{number}.json");
        add(&name, &format!("{{\"__id\":\"e{number}\"}}"));
    }
    zip.finish().unwrap().into_inner()
}

pub async fn status(admin: &TestClient) -> (u16, String) {
    let request = admin
        .request("GET", "c/new")
        .header("accept", "application/json");
    let response = request.send().await;
    let shown = response.json();
    let status = shown["box"]["status"].as_str().unwrap_or_default();
    (response.status.as_u16(), status.to_owned())
}

/// The number of control objects of a set, as text.
pub async fn count(admin: &TestClient, set: &str) -> String {
    let path = format!("c/__ctl/{set}?$inlinecount=allpages&$format=json");
    let listed = admin.request("GET", &path).send().await.json();
    listed["d"]["__count"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test]
async fn killed_installation_leaves_nothing_after_the_next_start() {
    let mut unit = crate::unit().start();
    let mut admin = unit.admin().reconnect();
    let cell = admin.request("POST", "__ctl/Cell").body(r#"{"Name":"c"}"#);
    cell.send().await.expect(201);
    let bytes = archive(ENTITIES);
    let mut interrupted = 0;
    for round in 0..ROUNDS {
        let request = admin
            .request("MKCOL", "c/new")
            .header("content-type", "application/zip");
        request.body(&bytes).send().await.expect(202);
        tokio::time::sleep(Duration::from_millis(30 + 150 * round)).await;
        unit.kill();
        unit.restart();
        admin = admin.reconnect();
        for _ in 0..600 {
            if status(&admin).await.1 != "installation in progress" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let (code, shown) = status(&admin).await;
        if shown == "ready" {
            // On a slow machine the signal may come after the end.
            let removed = admin.request("DELETE", "c/new");
            let removed = removed.header("x-personium-recursive", "true");
            removed.send().await.expect(204);
            continue;
        }
        interrupted += 1;
        assert_eq!(
            (code, shown.as_str()),
            (200, "installation failed"),
            "round {round}"
        );
        // The failure is shown as soon as the server that installed is known to be gone, the removal follows.
        for _ in 0..600 {
            if count(&admin, "Box").await == "0" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for set in ["Box", "Role", "Relation", "Rule"] {
            assert_eq!(count(&admin, set).await, "0", "round {round}: {set}");
        }
    }
    assert!(interrupted > 0, "no installation was interrupted");
    // The name and the schema are free.
    let request = admin
        .request("MKCOL", "c/new")
        .header("content-type", "application/zip");
    request.body(&bytes).send().await.expect(202);
    for _ in 0..1_200 {
        if status(&admin).await.1 != "installation in progress" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(status(&admin).await, (200, "ready".to_owned()));
}
