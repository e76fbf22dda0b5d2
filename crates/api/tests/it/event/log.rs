//! `__log`.

use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use personium_api::BoxError;
use personium_store::{Key, KeyRange, Space};
use serde_json::json;

use super::{LOG, longest, until};
use crate::harness::{World, done, refused};

impl World {
    async fn listing(&self, path: &str, depth: &str) -> String {
        let reply = self.ask("PROPFIND", path).with("depth", depth).send().await;
        assert_eq!(reply.status, 207, "{}", reply.text());
        reply.text()
    }

    /// The names of the archives.
    async fn archives(&self) -> Vec<String> {
        let listing = self.listing("c/__log/archive", "1").await;
        let hrefs = listing.split("<href>").skip(2);
        hrefs
            .map(|rest| {
                let url = rest.split('<').next().unwrap();
                url.rsplit('/').next().unwrap().to_owned()
            })
            .collect()
    }

    /// Fills the log until it is archived.
    async fn fill(&self) {
        let last = self.archives().await.last().cloned();
        for _ in 0..21 {
            assert_eq!(
                self.tell(json!({"Info": longest()})).await.outcome(),
                done(200)
            );
        }
        until("an archive", async || {
            self.archives().await.last().cloned() != last
        })
        .await;
    }
}

#[tokio::test]
async fn a_log_without_lines_is_empty() {
    let world = World::new().await;
    let reply = world.ask("GET", LOG).send().await;
    assert_eq!((reply.status.as_u16(), reply.text()), (200, String::new()));
    assert_eq!(reply.header("content-type"), Some("text/csv"));
    for folder in ["current", "archive"] {
        let listing = world.listing(&format!("c/__log/{folder}"), "1").await;
        assert_eq!(listing.matches("<response>").count(), 1, "{listing}");
        assert!(listing.contains(&format!(
            "<href>http://unit.example/c/__log/{folder}</href>"
        )));
    }
    let ask = world.ask("PROPFIND", LOG).with("depth", "0");
    assert_eq!(ask.send().await.outcome(), refused(404, "DV-0001"));
}

#[tokio::test]
async fn lines_have_levels_and_the_file_has_a_size() {
    let world = World::new().await;
    for (kind, action) in [("i", "log.info"), ("w", "log.warn"), ("e", "log.error")] {
        world
            .rule(kind, json!({"Action": action, "EventType": kind}))
            .await;
        world.tell(json!({"Type": kind})).await;
    }
    let lines = world.lines("c").await;
    for (line, level) in lines.iter().zip(["INFO ", "WARN ", "ERROR"]) {
        assert!(line.contains(&format!(",[{level}],")), "{line}");
    }
    let size = world.ask("GET", LOG).send().await.body.len();
    for path in [LOG, "c/__log/current"] {
        let listing = world.listing(path, "1").await;
        assert!(
            listing.contains(&format!("<getcontentlength>{size}</getcontentlength>")),
            "{listing}"
        );
        assert!(listing.contains("<getcontenttype>text/csv</getcontenttype>"));
    }
    let alone = world.listing("c/__log/current", "0").await;
    assert!(!alone.contains("default.log"), "{alone}");
}

#[tokio::test]
async fn listings_are_asked_for_as_webdav_has_it() {
    let world = World::new().await;
    let body = |inside: &str| format!("<D:propfind xmlns:D='DAV:'>{inside}</D:propfind>");
    for (depth, body, outcome) in [
        (None, String::new(), refused(400, "DV-0003")),
        (Some("2"), String::new(), refused(400, "DV-0003")),
        (Some("infinity"), String::new(), refused(403, "DV-0001")),
        (Some("0"), body("<D:hoge/>"), refused(400, "DV-0002")),
        (Some("0"), body(""), refused(400, "DV-0002")),
        (
            Some("0"),
            "<D:allprop xmlns:D='DAV:'/>".to_owned(),
            refused(400, "DV-0002"),
        ),
        (Some("0"), "<D:propfind".to_owned(), refused(400, "DV-0001")),
        (Some("0"), body("<D:allprop/>"), done(207)),
        (Some("1"), String::new(), done(207)),
    ] {
        let mut ask = world.ask("PROPFIND", "c/__log/archive");
        if let Some(depth) = depth {
            ask = ask.with("depth", depth);
        }
        let reply = ask.text(&body).send().await;
        assert_eq!(reply.outcome(), outcome, "{depth:?} {body}");
    }
    for (method, path, outcome) in [
        ("GET", "c/__log/current", refused(405, "MC-0001")),
        ("DELETE", "c/__log/archive", refused(405, "MC-0001")),
        ("PUT", LOG, refused(405, "MC-0001")),
        ("GET", "c/__log", refused(404, "MC-0001")),
        ("GET", "c/__log/other/default.log", refused(404, "MC-0001")),
        ("GET", "c/__log/current/other.log", refused(404, "DV-0001")),
        (
            "GET",
            "c/__log/archive/default.log",
            refused(404, "DV-0001"),
        ),
        (
            "GET",
            "c/__log/archive/default.log.",
            refused(404, "DV-0001"),
        ),
        (
            "DELETE",
            "c/__log/archive/default.log.5",
            refused(404, "DV-0001"),
        ),
        ("DELETE", LOG, refused(400, "EV-0005")),
    ] {
        assert_eq!(world.code(method, path).await, outcome, "{method} {path}");
    }
}

#[tokio::test]
async fn a_full_log_becomes_an_archive_and_the_oldest_goes() {
    let world = World::new().await;
    world.rule("all", json!({"Action": "log"})).await;
    world.tell(json!({"Type": "first"})).await;
    world.fill().await;
    let archives = world.archives().await;
    assert_eq!(archives.len(), 1);
    let first = &archives[0];
    assert!(
        world.lines("c").await.is_empty(),
        "the current log begins anew"
    );
    let path = format!("c/__log/archive/{first}");
    let content = world.ask("GET", &path).send().await;
    assert_eq!(content.header("content-type"), Some("text/csv"));
    assert_eq!(content.text().lines().count(), 22);
    assert!(content.text().lines().next().unwrap().contains("\"first\""));
    let listing = world.listing(&path, "0").await;
    let size = format!(
        "<getcontentlength>{}</getcontentlength>",
        content.body.len()
    );
    assert!(listing.contains(&size), "{listing}");

    for _ in 0..12 {
        world.fill().await;
    }
    let kept = world.archives().await;
    assert_eq!(kept.len(), 12);
    assert!(!kept.contains(first));
    assert_eq!(world.code("GET", &path).await, refused(404, "DV-0001"));

    let second = format!("c/__log/archive/{}", kept[0]);
    assert_eq!(world.code("DELETE", &second).await, done(204));
    assert_eq!(world.code("DELETE", &second).await, refused(404, "DV-0001"));
    assert_eq!(world.archives().await, kept[1..]);
    // What nobody can read any more is not kept either: eleven archives of 21 lines.
    until("nothing but eleven archives", async || {
        world.keys(b"G").await.len() == 11 * 21
    })
    .await;
}

#[tokio::test]
async fn a_line_on_its_way_does_not_bring_back_a_removed_cell() {
    let world = World::new().await;
    world.rule("all", json!({"Action": "log"})).await;
    world.tell(json!({})).await;
    let space = Space::Cell(world.cell().await);
    let other = world.clone();
    let body = StreamBody::new(stream::once(async move {
        let remove = other
            .ask("DELETE", "c")
            .with("x-personium-recursive", "true");
        assert_eq!(remove.send().await.outcome(), done(204));
        other.unit.resume_sweeps().await.unwrap();
        Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"{}")))
    }))
    .boxed_unsync();
    let late = world.ask("POST", "c/__event").streamed(body).send().await;
    assert_eq!(late.outcome(), refused(404, "DV-0003"));
    let everything = KeyRange {
        start: Key::from_bytes(Vec::new()),
        end: None,
    };
    let left = world.unit.store().count(&space, &everything).await.unwrap();
    assert_eq!(left, 0);
}
