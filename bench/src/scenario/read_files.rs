//! W7: reading files of 1 KB, 64 KB and 10 MB; one of ten requests has the tag already, one of twenty asks for a part.

use std::sync::Arc;

use super::Bench;
use crate::Outcome;
use crate::connection::{Connection, request};
use crate::floor::web_server;
use crate::load::{Figures, Maker, Shot};
use crate::report::{Bound, Section};

/// Size, number of files, connections.
const KINDS: &[(usize, usize, usize)] = &[
    (1024, 100, 32),
    (64 * 1024, 50, 16),
    (10 * 1024 * 1024, 4, 4),
];

pub(super) async fn run(bench: &mut Bench) -> Outcome<Section> {
    let folder = bench.scratch.join("floor-files");
    std::fs::create_dir_all(&folder)
        .map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
    let bearer = bench.fresh_bearer().await?;
    let mut section = Section::new("W7");
    let floor = web_server::serve(&bench.scratch, &folder)?;
    for &(size, files, connections) in KINDS {
        let mut names = Vec::new();
        for number in 0..files {
            let name = format!("f{size}-{number}");
            let body: Vec<u8> = (0..size)
                .map(|i| u8::try_from((i * 7 + number) % 251).unwrap_or(0))
                .collect();
            std::fs::write(folder.join(&name), &body)
                .map_err(|e| format!("cannot write {name}: {e}"))?;
            let path = format!("/{}/box/{name}", bench.cell.name);
            bench
                .unit
                .call(
                    "PUT",
                    &path,
                    &[("Content-Type", "application/octet-stream")],
                    &body,
                )
                .await?;
            names.push(name);
        }
        let root = format!("/{}/box", bench.cell.name);
        let ours = maker(bench.unit.port(), &root, &names, Some(&bearer)).await?;
        let plain = maker(floor.port, "", &names, None).await?;
        let (subject, least) = bench
            .beside(connections, &ours, (floor.port, floor.watched(), &plain))
            .await?;
        demand(&mut section, size, &subject, &least);
        section.side(
            format!("GET of {size} bytes, {connections} connections"),
            subject,
        );
        section.side("floor: Nginx", least);
    }
    Ok(section)
}

fn demand(section: &mut Section, size: usize, subject: &Figures, least: &Figures) {
    match size {
        1024 => section.demand(
            "1 KB: processor time for a request over Nginx's",
            subject.cpu / least.cpu,
            Bound::AtMost,
            4.0,
        ),
        10_485_760 => section.demand(
            "10 MB: bytes per second over Nginx's",
            subject.bytes_per_second / least.bytes_per_second,
            Bound::AtLeast,
            0.8,
        ),
        _ => {}
    }
}

/// Asks for the tag of each file first, so that some requests can carry it.
async fn maker(port: u16, root: &str, names: &[String], bearer: Option<&str>) -> Outcome<Maker> {
    let bearer = bearer.map(str::to_owned);
    let mut connection = Connection::open(port)
        .await
        .map_err(|e| format!("cannot connect: {e}"))?;
    let mut files = Vec::new();
    for name in names {
        let path = format!("{root}/{name}");
        let headers: Vec<(&str, &str)> = bearer
            .iter()
            .map(|b| ("Authorization", b.as_str()))
            .collect();
        let (answer, tag) = connection
            .exchange_with_tag(&request("GET", &path, &headers, b""))
            .await
            .map_err(|e| format!("GET {path}: {e}"))?;
        if answer.status != 200 {
            return Err(format!("GET {path} is answered {}", answer.status));
        }
        files.push((path, tag.ok_or("a file has no tag")?));
    }
    Ok(Arc::new(move |random, _| {
        let Some((path, tag)) =
            files.get(usize::try_from(random.below(files.len() as u64)).unwrap_or(0))
        else {
            return Shot {
                bytes: Vec::new(),
                wished: &[],
            };
        };
        let mut headers: Vec<(&str, &str)> = bearer
            .iter()
            .map(|b| ("Authorization", b.as_str()))
            .collect();
        match random.below(20) {
            0 | 1 => headers.push(("If-None-Match", tag)),
            2 => headers.push(("Range", "bytes=0-65535")),
            _ => {}
        }
        Shot {
            bytes: request("GET", path, &headers, b""),
            wished: &[200, 206, 304],
        }
    }))
}
