//! Damage of the write-ahead log of a file, found before the file is opened.
//!
//! SQLite reads a log up to the first frame whose checksum is not right, and forgets the rest: that is the end of a log after a power cut. But
//! a commit is synced before the next one is written, so at most one can be incomplete. If two or more follow, the frame was changed later,
//! and what follows was acknowledged. The form of a log is that of <https://sqlite.org/fileformat2.html#the_write_ahead_log>.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
/// The first number of a log, without the bit that says in which order checksums take bytes.
const MAGIC: u32 = 0x377f_0682;
/// The part of the header of a log, and of that of a frame, that has a checksum.
const SUMMED_HEADER_BYTES: usize = 24;
const SUMMED_FRAME_HEADER_BYTES: usize = 8;
/// The place of the size of a page in the header of a database, and its value for 65,536.
const PAGE_SIZE_AT: usize = 16;
const LARGEST_PAGE: u16 = 1;
/// The commits after a damaged frame of which one can be incomplete, so that another one was acknowledged.
const ACKNOWLEDGED_COMMITS: u64 = 2;

/// Returns whether the log of a database file has acknowledged commits that SQLite will not read.
///
/// # Errors
/// If a file cannot be read.
pub(crate) fn hides_commits(database: &Path) -> io::Result<bool> {
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    let mut log = match File::open(log) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => BufReader::with_capacity(256 << 10, other?),
    };
    let mut header = [0; HEADER_BYTES];
    if !fill(&mut log, &mut header)? {
        return Ok(false);
    }
    let mut sums = Sums {
        is_big_endian: number(&header, 0) == MAGIC | 1,
        sums: (0, 0),
    };
    sums.add(header.get(..SUMMED_HEADER_BYTES).unwrap_or_default());
    let is_magic = number(&header, 0) | 1 == MAGIC | 1;
    let mut is_intact = is_magic && sums.sums == (number(&header, 24), number(&header, 28));
    let page_size = match is_intact {
        true => number(&header, 8),
        false => page_size(database)?,
    };
    let page_size = usize::try_from(page_size).unwrap_or(0);
    if !(512..=65_536).contains(&page_size) {
        return Ok(false);
    }
    let mut salts = is_intact.then(|| (number(&header, 16), number(&header, 20)));
    let mut frame = vec![0; FRAME_HEADER_BYTES + page_size];
    let mut commits = 0;
    while fill(&mut log, &mut frame)? {
        let found = (number(&frame, 8), number(&frame, 12));
        // Frames with others are those of before the log was begun anew.
        let is_of_log = *salts.get_or_insert(found) == found;
        sums.add(frame.get(..SUMMED_FRAME_HEADER_BYTES).unwrap_or_default());
        sums.add(frame.get(FRAME_HEADER_BYTES..).unwrap_or_default());
        is_intact = is_intact && is_of_log && sums.sums == (number(&frame, 16), number(&frame, 20));
        let is_commit = number(&frame, 4) != 0;
        if !is_intact && is_of_log && is_commit {
            commits += 1;
            if commits == ACKNOWLEDGED_COMMITS {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// The running checksum of a log.
struct Sums {
    is_big_endian: bool,
    sums: (u32, u32),
}

impl Sums {
    fn add(&mut self, bytes: &[u8]) {
        let word = |bytes: [u8; 4]| match self.is_big_endian {
            true => u32::from_be_bytes(bytes),
            false => u32::from_le_bytes(bytes),
        };
        let (mut first, mut second) = self.sums;
        let (words, _) = bytes.as_chunks::<4>();
        for pair in words.chunks_exact(2) {
            let [one, two] = [0, 1].map(|at| pair.get(at).copied().map_or(0, word));
            first = first.wrapping_add(one).wrapping_add(second);
            second = second.wrapping_add(two).wrapping_add(first);
        }
        self.sums = (first, second);
    }
}

/// A number of a header.
fn number(bytes: &[u8], at: usize) -> u32 {
    let bytes = bytes.get(at..at + 4).and_then(|part| part.try_into().ok());
    bytes.map_or(0, u32::from_be_bytes)
}

/// The size of a page, as the header of the database says.
fn page_size(database: &Path) -> io::Result<u32> {
    let mut header = [0; PAGE_SIZE_AT + 2];
    if !fill(&mut File::open(database)?, &mut header)? {
        return Ok(0);
    }
    let size = header
        .get(PAGE_SIZE_AT..)
        .and_then(|size| size.try_into().ok());
    Ok(match size.map_or(0, u16::from_be_bytes) {
        LARGEST_PAGE => 65_536,
        size => u32::from(size),
    })
}

/// Fills a buffer; `false` if there is less left.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(buffer) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        other => other.map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use rusqlite::Connection;

    use super::*;

    const COMMITS: usize = 6;

    fn log_of(database: &Path) -> PathBuf {
        let mut log = database.as_os_str().to_owned();
        log.push("-wal");
        log.into()
    }

    /// Where the frames of a log end that were written since it was begun anew.
    fn end_of(log: &[u8]) -> usize {
        let size = FRAME_HEADER_BYTES + usize::try_from(number(log, 8)).unwrap();
        let frames = log[HEADER_BYTES..].chunks(size);
        let frames = frames.take_while(|frame| frame[8..16] == log[16..24]);
        HEADER_BYTES + frames.count() * size
    }

    /// The lengths of the log after each commit; the files are those of a process that was killed after the last one.
    fn killed_in(folder: &Path, had_log_before: bool) -> (PathBuf, Vec<usize>) {
        let (open, copy) = (folder.join("open"), folder.join("copy"));
        let db = Connection::open(&open).unwrap();
        db.execute_batch("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(x)")
            .unwrap();
        let insert = || {
            db.execute("INSERT INTO t VALUES (randomblob(5000))", [])
                .unwrap()
        };
        if had_log_before {
            for _ in 0..2 * COMMITS {
                insert();
            }
        }
        db.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()))
            .unwrap();
        let mut ends = vec![HEADER_BYTES];
        for _ in 0..COMMITS {
            insert();
            ends.push(end_of(&fs::read(log_of(&open)).unwrap()));
        }
        fs::copy(&open, &copy).unwrap();
        fs::copy(log_of(&open), log_of(&copy)).unwrap();
        (copy, ends)
    }

    #[test]
    fn changed_log_is_found_unless_only_its_last_commit_is_lost_and_a_cut_one_is_not_damaged() {
        for had_log_before in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let (database, ends) = killed_in(folder.path(), had_log_before);
            let log = log_of(&database);
            let whole = fs::read(&log).unwrap();
            assert!(!hides_commits(&database).unwrap());
            let last_but_one = ends[COMMITS - 1];
            for at in (0..last_but_one).step_by(499) {
                let mut changed = whole.clone();
                changed[at] ^= 4;
                fs::write(&log, &changed).unwrap();
                // In the number of a page or in its checksum, too; what says that a frame ends a commit can hide one of two.
                assert!(
                    hides_commits(&database).unwrap() || at + 9_000 > last_but_one,
                    "{at}"
                );
            }
            for at in (last_but_one..ends[COMMITS]).step_by(499) {
                let mut changed = whole.clone();
                changed[at] ^= 4;
                fs::write(&log, &changed).unwrap();
                assert!(!hides_commits(&database).unwrap(), "{at}");
            }
            for len in (0..ends[COMMITS]).step_by(1_999) {
                fs::write(&log, &whole[..len]).unwrap();
                assert!(!hides_commits(&database).unwrap(), "{len}");
                if len >= HEADER_BYTES {
                    // What was there before.
                    let older = [&whole[..len], &vec![7; whole.len() - len]].concat();
                    fs::write(&log, older).unwrap();
                    assert!(!hides_commits(&database).unwrap(), "{len}");
                }
            }
            fs::remove_file(&log).unwrap();
            assert!(!hides_commits(&database).unwrap());
        }
    }
}
