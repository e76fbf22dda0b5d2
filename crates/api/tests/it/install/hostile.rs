//! Archives that are meant to do harm: each is refused with a code or fails, and nothing is left.

use std::io::{Cursor, Write};

use personium_testkit::{TestUnit, refused};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::{Archive, EMPTY};
use crate::install::{install, install_bytes, wait_for_installation};

async fn small_unit() -> TestUnit {
    TestUnit::with_settings(|settings| {
        settings.archives.archive_max_megabytes = 1;
        settings.archives.entry_max_megabytes = 1;
    })
    .await
}

/// An archive with entries of zeroes besides the required ones.
fn bomb(entries: usize, bytes: usize) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    let zeroes = vec![0; bytes];
    let contents = (0..entries).map(|number| (format!("90_contents/{number}"), zeroes.as_slice()));
    let required = Archive::new().0;
    let required = required
        .iter()
        .map(|(name, content)| (name.clone(), content.as_slice()));
    for (name, content) in required
        .chain(contents)
        .filter(|(name, _)| !name.ends_with('/'))
    {
        zip.start_file(name, options).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[tokio::test]
async fn bombs_and_broken_archives_are_refused() {
    let unit = small_unit().await;
    let good = Archive::new().with("90_contents/f", "text").zip();
    let doubled = {
        // The second of two entries gets the name of the first.
        let zip = Archive::new()
            .with("90_contents/f", "x")
            .with("90_contents/g", "y")
            .zip();
        let (old, new) = (b"90_contents/g", b"90_contents/f");
        let mut zip = zip;
        for at in 0..zip.len() - old.len() {
            if &zip[at..at + old.len()] == old {
                zip[at..at + old.len()].copy_from_slice(new);
            }
        }
        zip
    };
    for (what, bytes, code) in [
        ("large entry", bomb(1, (1 << 20) + 1), "BI-0003"),
        ("large in total", bomb(25, 1 << 20), "BI-0007"),
        ("truncated", good[..good.len() - 30].to_vec(), "BI-0007"),
        ("truncated at the start", good[30..].to_vec(), "BI-0007"),
        ("same name twice", doubled, "BI-0006"),
        (
            "trailing bytes",
            [good.clone(), b"x".to_vec()].concat(),
            "BI-0007",
        ),
    ] {
        let response = install_bytes(&unit, "new", bytes).await;
        assert_eq!(
            response.outcome(),
            refused(400, code),
            "{what}: {}",
            response.text()
        );
        assert_eq!(
            unit.admin_outcome("GET", "c/new").await,
            refused(404, "DV-0002"),
            "{what}"
        );
    }
}

#[tokio::test]
async fn number_of_entries_is_limited() {
    let unit = TestUnit::new().await;
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for number in 0..100_001 {
        zip.start_file(format!("{number}"), options).unwrap();
    }
    let response = install_bytes(&unit, "new", zip.finish().unwrap().into_inner()).await;
    assert_eq!(response.outcome(), refused(400, "BI-0007"));
}

#[tokio::test]
async fn hostile_documents_fail_and_leave_nothing() {
    let unit = TestUnit::new().await;
    let props = "00_meta/90_rootprops.xml";
    let with = |inside: &str| {
        Archive::new().with(
            props,
            &EMPTY.replace("</multistatus>", &format!("{inside}</multistatus>")),
        )
    };
    let file = |href: &str| format!("<response><href>personium-localbox:/{href}</href></response>");
    let bomb = "<!DOCTYPE m [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;'>]>";
    for (what, archive) in [
        ("nested XML", with(&"<a>".repeat(200_000))),
        ("entities", Archive::new().with(props, &format!("{bomb}{EMPTY}"))),
        ("elements", with(&"<x/>".repeat(1_100_000))),
        ("dots", with(&file("..")).with("90_contents/x", "x")),
        ("encoded dots", with(&file("%2e%2e"))),
        ("dot", with(&file("%2E"))),
        ("encoded slash", with(&file("a%2Fb"))),
        ("NUL", with(&file("a%00b"))),
        ("long name", with(&file(&"x".repeat(300)))),
        (
            "nested JSON",
            Archive::new().with("00_meta/20_roles.json", &format!("{{\"Roles\":{}", "[".repeat(1_000_000))),
        ),
        (
            "deep path",
            (1..80).fold(Archive::new(), |archive, depth| {
                let path = vec!["d"; depth].join("/");
                let text = String::from_utf8(archive.0.iter().find(|(name, _)| name == props).unwrap().1.clone()).unwrap();
                let folder = format!(
                    "<response><href>personium-localbox:/{path}</href><propstat><prop><resourcetype><collection/>\
                     </resourcetype></prop></propstat></response></multistatus>"
                );
                archive.with(props, &text.replace("</multistatus>", &folder))
            }),
        ),
    ] {
        assert_eq!(install(&unit, "new", &archive).await.status, 202, "{what}");
        let shown = wait_for_installation(&unit, "new").await;
        assert_eq!(shown["status"], "installation failed", "{what}: {shown}");
        assert_eq!(shown["message"]["code"], "PL-BI-1004", "{what}: {shown}");
        let boxes = unit.list_entities("c/__ctl/Box").await;
        assert!(boxes.iter().all(|each| each["Name"] != "new"), "{what}");
    }
}
