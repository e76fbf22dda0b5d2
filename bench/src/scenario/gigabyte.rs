//! Upload and download of a file of one gibibyte, with a constant amount of memory.

use std::io::Write;
use std::time::Instant;

use personium_testkit::{RawBody, RawConnection};

use super::BenchContext;
use crate::load::Measurement;
use crate::report::{Bound, Section};
use crate::server_process::ProcessMonitor;
use crate::{BenchResult, baseline};

const CHUNK_BYTES: usize = 1 << 20;
const CHUNKS: usize = 1024;
const FILE_BYTES: u64 = (CHUNK_BYTES * CHUNKS) as u64;
/// The memory in MB that a transfer may take, whatever the size of the file.
const MAX_MEMORY_MB: f64 = 64.0;

/// Measures a transfer.
struct TransferTimer {
    monitor: ProcessMonitor,
    start: Instant,
    cpu_secs: f64,
    resident_bytes: u64,
}

/// A measured transfer.
struct Transfer {
    measurement: Measurement,
    seconds: f64,
    /// The growth of the memory during the transfer.
    memory_mb: f64,
}

impl TransferTimer {
    fn start(monitor: ProcessMonitor) -> BenchResult<Self> {
        monitor.reset_peak();
        Ok(Self {
            monitor,
            resident_bytes: monitor.resident_bytes(),
            cpu_secs: monitor.cpu_time()?.as_secs_f64(),
            start: Instant::now(),
        })
    }

    fn stop(self) -> BenchResult<Transfer> {
        let seconds = self.start.elapsed().as_secs_f64();
        let cpu_secs = self.monitor.cpu_time()?.as_secs_f64() - self.cpu_secs;
        let peak_bytes = self.monitor.peak_bytes();
        Ok(Transfer {
            measurement: Measurement {
                bytes_per_second: FILE_BYTES as f64 / seconds,
                cpu_us: cpu_secs * 1e6,
                peak_bytes,
                ..Measurement::default()
            },
            seconds,
            memory_mb: peak_bytes.saturating_sub(self.resident_bytes) as f64 / 1e6,
        })
    }
}

pub(super) async fn run(context: &mut BenchContext) -> BenchResult<Section> {
    let bearer = context.new_bearer().await?;
    let monitor = context.unit.monitor();
    let mut connection = RawConnection::open(context.unit.port())
        .await
        .map_err(transfer_error)?;
    let path = format!("/{}/box/gigabyte", context.cell.name);
    let chunk: Vec<u8> = (0..CHUNK_BYTES)
        .map(|index| u8::try_from(index % 251).unwrap_or(0))
        .collect();

    let timer = TransferTimer::start(monitor)?;
    upload(&mut connection, &path, &bearer, &chunk).await?;
    let upload = timer.stop()?;
    let baseline_secs = copy_file(context, &chunk)?;
    let timer = TransferTimer::start(monitor)?;
    download(&mut connection, &path, &bearer).await?;
    let download = timer.stop()?;

    let mut section = Section::new("gigabyte");
    section.measured("upload", upload.measurement);
    section.measured(
        "baseline: cp, sync, sha256sum",
        Measurement {
            bytes_per_second: FILE_BYTES as f64 / baseline_secs,
            ..Measurement::default()
        },
    );
    section.measured("download", download.measurement);
    for (transfer, memory_mb) in [
        ("upload", upload.memory_mb),
        ("download", download.memory_mb),
    ] {
        let text = format!("MB of memory that the {transfer} took");
        section.require(text, memory_mb, Bound::AtMost, MAX_MEMORY_MB);
    }
    section.note(format!(
        "the upload took {:.2} times as long as the baseline",
        upload.seconds / baseline_secs
    ));
    Ok(section)
}

async fn upload(
    connection: &mut RawConnection,
    path: &str,
    bearer: &str,
    chunk: &[u8],
) -> BenchResult {
    let head = format!(
        "PUT {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {bearer}\r\nContent-Type: application/octet-stream\r\nContent-Length: {FILE_BYTES}\r\n\r\n"
    );
    connection
        .send(head.as_bytes())
        .await
        .map_err(transfer_error)?;
    for _ in 0..CHUNKS {
        connection.send(chunk).await.map_err(transfer_error)?;
    }
    let response = connection
        .receive(RawBody::Count, false)
        .await
        .map_err(transfer_error)?;
    match response.status {
        201 => Ok(()),
        status => Err(format!("the upload was refused with status {status}")),
    }
}

async fn download(connection: &mut RawConnection, path: &str, bearer: &str) -> BenchResult {
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {bearer}\r\n\r\n");
    let response = connection
        .exchange(head.as_bytes(), RawBody::Count)
        .await
        .map_err(transfer_error)?;
    match (response.status, response.length) {
        (200, FILE_BYTES) => Ok(()),
        (status, bytes) => Err(format!(
            "the response to the download has status {status} and {bytes} bytes"
        )),
    }
}

/// Copies a file of the same content with the programs of the system. Returns the seconds.
fn copy_file(context: &BenchContext, chunk: &[u8]) -> BenchResult<f64> {
    let source = context.scratch.join("gigabyte");
    let copy = context.scratch.join("gigabyte-copy");
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::File::create(&source)?;
        for _ in 0..CHUNKS {
            file.write_all(chunk)?;
        }
        file.sync_all()
    };
    write().map_err(|error| format!("cannot write {}: {error}", source.display()))?;
    let printed = baseline::run(&[
        "copy",
        "--from",
        &source.display().to_string(),
        "--to",
        &copy.display().to_string(),
    ]);
    let _ = std::fs::remove_file(&source);
    let _ = std::fs::remove_file(&copy);
    baseline::number(&printed?, "seconds")
}

fn transfer_error(error: std::io::Error) -> String {
    format!("the transfer failed: {error}")
}
