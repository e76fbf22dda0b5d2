//! The thread that writes the lines.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use super::LineFormat;
use super::line::AccessLine;

/// The number of lines that can wait to be written.
const QUEUE_LINES: usize = 8192;

/// The time for which the thread collects lines, so that it wakes up seldom.
const COLLECT_TIME: Duration = Duration::from_millis(20);

/// The size of a write.
const WRITE_BYTES: usize = 64 << 10;

/// The time that [`LineWriter::flush`] waits at most.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// A task of the thread.
#[derive(Debug)]
enum Message {
    Line(AccessLine),
    Reopen,
    Flush(SyncSender<()>),
}

/// Hands lines over to the thread that writes them.
#[derive(Debug)]
pub(super) struct LineWriter {
    sender: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

impl LineWriter {
    /// Starts the thread. It writes to a file, or without one to the standard error.
    pub(super) fn start(format: LineFormat, path: Option<PathBuf>) -> io::Result<Self> {
        let file = path.as_ref().map(open).transpose()?;
        let lost = Arc::new(AtomicU64::new(0));
        let (sender, receiver) = sync_channel(QUEUE_LINES);
        let output = Output {
            format,
            path,
            file,
            lost: Arc::clone(&lost),
            reported: 0,
        };
        std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || output.run(&receiver))?;
        Ok(Self { sender, lost })
    }

    /// Queues a line; counts it as lost if the queue is full.
    pub(super) fn send(&self, line: AccessLine) {
        if self.sender.try_send(Message::Line(line)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn reopen(&self) {
        // A full queue: the output does not keep up, and another signal can follow.
        let _ = self.sender.try_send(Message::Reopen);
    }

    pub(super) fn lost_lines(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    pub(super) fn flush(&self) {
        let (done, is_done) = sync_channel(1);
        if self.sender.try_send(Message::Flush(done)).is_ok() {
            let _ = is_done.recv_timeout(FLUSH_TIMEOUT);
        }
    }
}

/// Opens the file at its end. Only its owner may read it, because it tells who read what.
fn open(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
}

/// The output of the thread.
struct Output {
    format: LineFormat,
    path: Option<PathBuf>,
    file: Option<File>,
    lost: Arc<AtomicU64>,
    /// The number of lost lines that was reported last.
    reported: u64,
}

impl Output {
    /// Writes lines until nothing can send any more.
    fn run(mut self, receiver: &Receiver<Message>) {
        let mut text = String::with_capacity(WRITE_BYTES);
        while let Ok(first) = receiver.recv() {
            if matches!(first, Message::Line(_)) {
                std::thread::sleep(COLLECT_TIME);
            }
            self.handle(first, &mut text);
            while let Ok(next) = receiver.try_recv() {
                self.handle(next, &mut text);
            }
            self.write(&mut text);
            self.report_lost();
        }
    }

    fn handle(&mut self, message: Message, text: &mut String) {
        match message {
            Message::Line(line) => {
                line.write_to(self.format, text);
                if text.len() >= WRITE_BYTES {
                    self.write(text);
                }
            }
            Message::Reopen => {
                self.write(text);
                self.reopen();
            }
            Message::Flush(done) => {
                self.write(text);
                let _ = done.try_send(());
            }
        }
    }

    /// Writes the collected lines and empties the text. Lines that cannot be written are lost.
    fn write(&mut self, text: &mut String) {
        if text.is_empty() {
            return;
        }
        let bytes = text.as_bytes();
        let written = match &mut self.file {
            Some(file) => file.write_all(bytes),
            None => io::stderr().lock().write_all(bytes),
        };
        if written.is_err() {
            let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
            self.lost.fetch_add(lines as u64, Ordering::Relaxed);
        }
        text.clear();
    }

    fn reopen(&mut self) {
        let Some(path) = &self.path else { return };
        match open(path) {
            Ok(file) => self.file = Some(file),
            Err(error) => {
                tracing::error!(file = %path.display(), %error, "failed to reopen the access log, writing to the file that was open");
            }
        }
    }

    fn report_lost(&mut self) {
        let lost = self.lost.load(Ordering::Relaxed);
        // A full disk loses every line, so the number must have doubled.
        if lost > self.reported.saturating_mul(2) {
            tracing::warn!(lost, "lines of the access log were lost");
            self.reported = lost;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{Method, Uri, Version};

    use super::*;

    fn line(path: &str) -> AccessLine {
        AccessLine {
            client: [127, 0, 0, 1].into(),
            time_ms: 0,
            method: Method::GET,
            uri: Some(path.parse::<Uri>().unwrap()),
            version: Version::HTTP_11,
            status: 200,
            bytes: 0,
            elapsed: Duration::ZERO,
            request_key: None,
        }
    }

    #[test]
    fn lines_are_written_to_the_file_and_after_reopening_to_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let (path, renamed) = (
            folder.path().join("access.log"),
            folder.path().join("old.log"),
        );
        let writer = LineWriter::start(LineFormat::Common, Some(path.clone())).unwrap();
        writer.send(line("/one"));
        writer.flush();
        std::fs::rename(&path, &renamed).unwrap();
        writer.send(line("/two"));
        writer.flush();
        writer.reopen();
        writer.send(line("/three"));
        writer.flush();
        let read = |path| std::fs::read_to_string(path).unwrap();
        let (old, new) = (read(&renamed), read(&path));
        assert!(old.contains("/one ") && old.contains("/two "), "{old}");
        assert!(new.contains("/three ") && new.lines().count() == 1, "{new}");
        assert_eq!(writer.lost_lines(), 0);
    }

    #[test]
    fn full_queue_loses_lines_and_counts_them() {
        let (sender, receiver) = sync_channel(2);
        let writer = LineWriter {
            sender,
            lost: Arc::default(),
        };
        for _ in 0..5 {
            writer.send(line("/"));
        }
        assert_eq!(writer.lost_lines(), 3);
        drop(receiver);
    }

    #[test]
    fn failed_write_is_counted() {
        if !std::path::Path::new("/dev/full").exists() {
            return;
        }
        let writer = LineWriter::start(LineFormat::Json, Some("/dev/full".into())).unwrap();
        writer.send(line("/a"));
        writer.send(line("/b"));
        writer.flush();
        assert_eq!(writer.lost_lines(), 2);
    }
}
