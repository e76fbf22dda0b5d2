//! A file of one gibibyte up and down, with memory that does not grow with it.

use std::io::Write;
use std::time::Instant;

use super::Bench;
use crate::connection::{Body, Connection};
use crate::load::Figures;
use crate::report::{Bound, Section};
use crate::{Outcome, floor};

const PIECE: usize = 1 << 20;
const PIECES: usize = 1024;
/// Memory that a transfer may take, whatever the size of the file.
const MEGABYTES: f64 = 64.0;

pub(super) async fn run(bench: &mut Bench) -> Outcome<Section> {
    let bearer = bench.fresh_bearer().await?;
    let told = |e: std::io::Error| format!("the transfer broke: {e}");
    let watched = bench.unit.watched();
    let mut connection = Connection::open(bench.unit.port()).await.map_err(told)?;
    let path = format!("/{}/box/gigabyte", bench.cell.name);
    let piece: Vec<u8> = (0..PIECE)
        .map(|i| u8::try_from(i % 251).unwrap_or(0))
        .collect();
    let size = (PIECE * PIECES) as u64;
    let mut section = Section::new("gigabyte");

    watched.forget_peak();
    let (before, began, cpu) = (watched.resident(), Instant::now(), watched.cpu()?);
    let head = format!(
        "PUT {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {bearer}\r\nContent-Type: application/octet-stream\r\nContent-Length: {size}\r\n\r\n"
    );
    connection.send(head.as_bytes()).await.map_err(told)?;
    for _ in 0..PIECES {
        connection.send(&piece).await.map_err(told)?;
    }
    let answer = connection.answer(Body::Count, false).await.map_err(told)?;
    if answer.status != 201 {
        return Err(format!("the upload is answered {}", answer.status));
    }
    let (up, up_cpu) = (
        began.elapsed().as_secs_f64(),
        watched.cpu()?.saturating_sub(cpu),
    );
    let grown_up = watched.peak().saturating_sub(before) as f64 / 1e6;
    let one = |seconds: f64, cpu: f64, peak: u64| Figures {
        bytes_per_second: size as f64 / seconds,
        cpu: cpu * 1e6,
        peak,
        ..Figures::default()
    };
    section.side("upload", one(up, up_cpu.as_secs_f64(), watched.peak()));

    let (source, copy) = (
        bench.scratch.join("gigabyte"),
        bench.scratch.join("gigabyte-copy"),
    );
    let mut file = std::fs::File::create(&source).map_err(told)?;
    for _ in 0..PIECES {
        file.write_all(&piece).map_err(told)?;
    }
    file.sync_all().map_err(told)?;
    let arguments = [
        "copy",
        "--from",
        &source.display().to_string(),
        "--to",
        &copy.display().to_string(),
    ]
    .map(str::to_owned);
    let seconds = floor::figure(&floor::run(&arguments)?, "seconds")?;
    section.side("floor: cp, sync, sha256sum", one(seconds, 0.0, 0));
    let _ = std::fs::remove_file(&source);
    let _ = std::fs::remove_file(&copy);

    watched.forget_peak();
    let (before, began, cpu) = (watched.resident(), Instant::now(), watched.cpu()?);
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {bearer}\r\n\r\n");
    let answer = connection
        .exchange(head.as_bytes(), Body::Count)
        .await
        .map_err(told)?;
    if (answer.status, answer.length) != (200, size) {
        return Err(format!(
            "the download is answered {} with {} bytes",
            answer.status, answer.length
        ));
    }
    let (down, down_cpu) = (
        began.elapsed().as_secs_f64(),
        watched.cpu()?.saturating_sub(cpu),
    );
    section.side(
        "download",
        one(down, down_cpu.as_secs_f64(), watched.peak()),
    );
    let grown_down = watched.peak().saturating_sub(before) as f64 / 1e6;
    section.demand(
        "MB of memory that the upload took",
        grown_up,
        Bound::AtMost,
        MEGABYTES,
    );
    section.demand(
        "MB of memory that the download took",
        grown_down,
        Bound::AtMost,
        MEGABYTES,
    );
    section.notes.push(format!(
        "upload {:.2} times as long as the floor",
        up / seconds
    ));
    Ok(section)
}
