//! The floor of storing files: write beside, flush, rename, at the same concurrency; and copying a large one.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::Outcome;

/// Writes files of `size` bytes by `threads` writers until the time is over; gives files per second.
///
/// # Errors
/// When the file system refuses.
pub(crate) fn run(folder: &Path, threads: u64, size: usize, time: Duration) -> Outcome<f64> {
    let began = Instant::now();
    let threads: Vec<_> = (0..threads)
        .map(|writer| {
            let folder = folder.join(writer.to_string());
            std::thread::spawn(move || write(&folder, size, time))
        })
        .collect();
    let mut written = 0;
    for thread in threads {
        written += thread
            .join()
            .map_err(|_| "a writer ended".to_owned())?
            .map_err(|e| format!("cannot write: {e}"))?;
    }
    Ok(written as f64 / began.elapsed().as_secs_f64())
}

fn write(folder: &Path, size: usize, time: Duration) -> std::io::Result<u64> {
    std::fs::create_dir_all(folder)?;
    let body = vec![b'x'; size];
    let until = Instant::now() + time;
    let mut written = 0;
    while Instant::now() < until {
        let beside = folder.join("new");
        let mut file = File::create(&beside)?;
        file.write_all(&body)?;
        file.sync_data()?;
        std::fs::rename(&beside, folder.join(written.to_string()))?;
        written += 1;
    }
    Ok(written)
}

/// Copies a file, flushes the copy and computes its digest with the system's own programs; gives the seconds.
///
/// # Errors
/// When one of them fails.
pub(crate) fn copy(from: &Path, to: &Path) -> Outcome<f64> {
    let began = Instant::now();
    let done = |command: &mut Command| match command.output() {
        Ok(out) if out.status.success() => Ok(()),
        Ok(out) => Err(format!("{command:?}: {}", out.status)),
        Err(e) => Err(format!("{command:?}: {e}")),
    };
    done(Command::new("cp").arg(from).arg(to))?;
    done(Command::new("sync").arg(to))?;
    done(Command::new("sha256sum").arg(to))?;
    Ok(began.elapsed().as_secs_f64())
}

/// Appends 4 KiB and flushes, one after the other; gives flushes per second. A figure of the machine, not of a scenario.
///
/// # Errors
/// When the file system refuses.
pub(crate) fn flushes(folder: &Path, time: Duration) -> Outcome<f64> {
    let told = |e: std::io::Error| format!("cannot write: {e}");
    let mut file = File::create(folder.join("flushes")).map_err(told)?;
    let (began, mut count) = (Instant::now(), 0);
    while began.elapsed() < time {
        file.write_all(&[7; 4096]).map_err(told)?;
        file.sync_data().map_err(told)?;
        count += 1;
    }
    Ok(f64::from(count) / began.elapsed().as_secs_f64())
}
