//! W8: storing files of 1 KB, new and over old ones, and of 1 MB; on disk when answered.

use std::sync::Arc;

use super::{Bench, floor_rate, middle};
use crate::Outcome;
use crate::connection::request;
use crate::load::{self, Figures, Maker, Shot};
use crate::report::{Bound, Section};

const CONNECTIONS: usize = 16;

pub(super) async fn run(bench: &mut Bench) -> Outcome<Section> {
    let bearer = bench.fresh_bearer().await?;
    let plain = "<D:mkcol xmlns:D=\"DAV:\"><D:set><D:prop><D:resourcetype><D:collection/></D:resourcetype></D:prop></D:set></D:mkcol>";
    let folder = format!("/{}/box/put", bench.cell.name);
    bench
        .unit
        .call(
            "MKCOL",
            &folder,
            &[("Content-Type", "application/xml")],
            plain.as_bytes(),
        )
        .await?;
    let mut section = Section::new("W8");
    for (what, size, names) in [
        ("new files of 1 KB", 1024, None),
        ("1 KB over old ones", 1024, Some(200)),
        ("new files of 1 MB", 1 << 20, None),
    ] {
        let (ours, floor) = put(bench, &folder, &bearer, size, names).await?;
        section.side(format!("PUT of {what}, {CONNECTIONS} connections"), ours);
        section.rate(
            format!("floor: {CONNECTIONS} threads write, flush, rename {size} bytes"),
            floor,
        );
        section.demand(
            format!("{what}: rate over the bare loop's"),
            ours.per_second / floor,
            Bound::AtLeast,
            0.5,
        );
    }
    Ok(section)
}

async fn put(
    bench: &Bench,
    folder: &str,
    bearer: &str,
    size: usize,
    names: Option<u64>,
) -> Outcome<(Figures, f64)> {
    let body = vec![b'x'; size];
    let (bearer, prefix) = (
        bearer.to_owned(),
        format!("{folder}/{size}-{}", names.map_or("n", |_| "o")),
    );
    let first = std::sync::atomic::AtomicU64::new(0);
    let ours: Maker = Arc::new(move |random, _| {
        let number = names.map_or_else(
            || first.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
            |limit| random.below(limit),
        );
        let headers = [
            ("Authorization", bearer.as_str()),
            ("Content-Type", "application/octet-stream"),
        ];
        Shot {
            bytes: request("PUT", &format!("{prefix}{number}"), &headers, &body),
            wished: &[201, 204],
        }
    });
    let (mut subject, mut least) = (Vec::new(), Vec::new());
    for _ in 0..bench.options.runs {
        subject.push(
            load::run(
                bench.unit.port(),
                bench.drive(CONNECTIONS),
                &bench.unit.watched(),
                &ours,
            )
            .await?,
        );
        let floor = bench.scratch.join("floor-bodies");
        let (at, threads, size) = (
            floor.display().to_string(),
            CONNECTIONS.to_string(),
            size.to_string(),
        );
        least.push(floor_rate(&[
            "bodies",
            "--folder",
            &at,
            "--threads",
            &threads,
            "--size",
            &size,
            "--seconds",
            &bench.seconds(),
        ])?);
        let _ = std::fs::remove_dir_all(&floor);
    }
    Ok((load::median(&subject), middle(least)))
}
