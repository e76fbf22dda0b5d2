//! Damage of the write-ahead log of a file, found before the file is opened.
//!
//! SQLite reads a log up to the first frame whose checksum is not right, and forgets the rest: that is the end of a log after a power cut. So a
//! bit that was changed later takes all commits from there on away, without a word. It is told apart by two rules. The form of a log is that of
//! <https://sqlite.org/fileformat2.html#the_write_ahead_log>.
//!
//! - The checksum of a frame goes on from that of the frame before it. A frame that follows the end of a commit was written when that commit was
//!   on the disk, if commits are synced. So a whole frame after the end of a commit, both behind the break, says that something was lost. What
//!   power cuts leave has none: of a commit that was not synced, the end is the last frame. A log is synced before it is used again, since the
//!   last commit of a process that was killed may not have been.
//! - One of the numbers by which the header and the frames belong together is wrong by one bit. What power cuts leave is whole sectors of other
//!   content, in which these numbers are quite different. The content itself can differ by one bit: it may be that of a commit that a former
//!   power cut undid.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
/// The first number of a log, without the bit that says in which order checksums take bytes.
const MAGIC: u32 = 0x377f_0682;
/// The part of the header of a log, and of that of a frame, that has a checksum.
const SUMMED_HEADER_BYTES: usize = 24;
const SUMMED_FRAME_HEADER_BYTES: usize = 8;
/// The sizes of pages that SQLite knows.
const PAGE_BYTES: std::ops::RangeInclusive<u32> = 512..=65_536;
/// The bytes that are read at once.
const BUFFER_BYTES: usize = 256 << 10;

/// The path of the log of a database file.
pub(crate) fn log_of(database: &Path) -> PathBuf {
    let mut log = OsString::from(database);
    log.push("-wal");
    log.into()
}

/// Returns the damage of the log of a database file, for people; `None` if all commits that were acknowledged will be read.
///
/// Each commit must have been synced before the next one. A log that was cut, and one of which only the last commit was changed, cannot be told
/// from what a power cut leaves.
///
/// A log without damage is on the disk when this returns. A process that was killed can have written a commit and not synced it, and SQLite syncs
/// none that it finds.
///
/// # Errors
/// If the log cannot be read or synced.
pub(crate) fn find(database: &Path) -> io::Result<Option<String>> {
    let log = log_of(database);
    let file = match File::open(&log) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, file);
    let found = find_break(&mut reader)?;
    let file = reader.into_inner();
    if found.is_none() && file.metadata()?.len() > 0 {
        file.sync_data()?;
    }
    Ok(found.map(|frame| {
        let part = match frame {
            0 => "its header".to_owned(),
            number => format!("its frame {number}"),
        };
        format!(
            "{} is damaged in {part}: changes that were acknowledged cannot be read from there on",
            log.display()
        )
    }))
}

/// Returns the number of the frame at which a log is damaged; 0 for its header.
fn find_break(log: &mut impl Read) -> io::Result<Option<u64>> {
    let mut bytes = [0; HEADER_BYTES];
    if !fill(log, &mut bytes)? {
        return Ok(None);
    }
    let Some(header) = Header::read(&bytes) else {
        return Ok(is_header_one_bit_away(bytes, log)?.then_some(0));
    };
    let mut bytes = vec![0; header.frame_bytes()];
    let mut before = header.sums;
    let mut broken_at = None;
    let mut follows_commit = false;
    let mut sums_before_change: Option<Sums> = None;
    for number in 1.. {
        if !fill(log, &mut bytes)? {
            break;
        }
        let frame = Frame::read(&bytes, before, &header);
        let is_whole = frame.is_whole(&header);
        match broken_at {
            None if is_whole => {}
            None if frame.has_bit_in_salts(&header) => return Ok(Some(number)),
            None => {
                broken_at = Some(number);
                follows_commit = frame.is_commit && frame.has_bit_in_content(&header);
                sums_before_change = frame.sums_but_for_a_bit(&header);
                before = frame.stored;
                continue;
            }
            Some(_) if is_whole && follows_commit => return Ok(broken_at),
            Some(_) => {
                let follows = |sums| Frame::read(&bytes, sums, &header).is_whole(&header);
                if sums_before_change.take().is_some_and(follows) {
                    return Ok(broken_at);
                }
            }
        }
        follows_commit = is_whole && frame.is_commit;
        before = frame.stored;
    }
    Ok(None)
}

/// Whether one changed bit of the header hides the first frame.
fn is_header_one_bit_away(header: [u8; HEADER_BYTES], log: &mut impl Read) -> io::Result<bool> {
    let mut first = Vec::new();
    log.take(u64::from(*PAGE_BYTES.end()) + FRAME_HEADER_BYTES as u64)
        .read_to_end(&mut first)?;
    Ok((0..HEADER_BYTES * 8).any(|bit| {
        let mut changed = header;
        if let Some(byte) = changed.get_mut(bit / 8) {
            *byte ^= 1 << (bit % 8);
        }
        let Some(header) = Header::read(&changed) else {
            return false;
        };
        let frame = first.get(..header.frame_bytes());
        frame.is_some_and(|bytes| Frame::read(bytes, header.sums, &header).is_whole(&header))
    }))
}

/// The running checksum of a log.
type Sums = (u32, u32);

/// The two numbers that all frames of a log have.
type Salts = (u32, u32);

/// The header of a log.
#[derive(Clone, Copy)]
struct Header {
    is_big_endian: bool,
    page_size: u32,
    salts: Salts,
    sums: Sums,
}

impl Header {
    /// A header whose checksum is right.
    fn read(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let magic = number(bytes, 0);
        let header = Self {
            is_big_endian: magic == MAGIC | 1,
            page_size: number(bytes, 8),
            salts: (number(bytes, 16), number(bytes, 20)),
            sums: (number(bytes, 24), number(bytes, 28)),
        };
        let is_known = magic | 1 == MAGIC | 1
            && PAGE_BYTES.contains(&header.page_size)
            && header.page_size.is_power_of_two();
        let summed = bytes.get(..SUMMED_HEADER_BYTES).unwrap_or_default();
        (is_known && sum((0, 0), summed, header.is_big_endian) == header.sums).then_some(header)
    }

    /// The length of a frame.
    fn frame_bytes(&self) -> usize {
        FRAME_HEADER_BYTES + usize::try_from(self.page_size).unwrap_or(0)
    }
}

/// A frame of a log.
struct Frame {
    is_commit: bool,
    salts: Salts,
    /// The checksum that it has.
    stored: Sums,
    /// The checksum that it should have.
    computed: Sums,
    /// The number of words that the checksum is about.
    words: usize,
}

impl Frame {
    /// A frame that follows one with these checksums.
    fn read(bytes: &[u8], before: Sums, header: &Header) -> Self {
        let parts = [
            bytes.get(..SUMMED_FRAME_HEADER_BYTES).unwrap_or_default(),
            bytes.get(FRAME_HEADER_BYTES..).unwrap_or_default(),
        ];
        let add = |sums, part: &&[u8]| sum(sums, part, header.is_big_endian);
        Self {
            is_commit: number(bytes, 4) != 0,
            salts: (number(bytes, 8), number(bytes, 12)),
            stored: (number(bytes, 16), number(bytes, 20)),
            computed: parts.iter().fold(before, add),
            words: parts.iter().map(|part| part.len() / size_of::<u32>()).sum(),
        }
    }

    /// Whether it was written after the frame before it.
    fn is_linked(&self) -> bool {
        self.stored == self.computed
    }

    /// Whether it is of this log. Others are those of before the log was begun anew.
    fn is_of(&self, header: &Header) -> bool {
        self.salts == header.salts
    }

    /// Whether it is the next frame of the log.
    fn is_whole(&self, header: &Header) -> bool {
        self.is_linked() && self.is_of(header)
    }

    /// Whether it is the next frame of the log but for one bit of its salts.
    fn has_bit_in_salts(&self, header: &Header) -> bool {
        self.is_linked() && bits_between(self.salts, header.salts) == 1
    }

    /// The checksum that it should have, if it is another one by a bit. If the next frame goes on from it, the checksum was changed.
    fn sums_but_for_a_bit(&self, header: &Header) -> Option<Sums> {
        let is_near = self.is_of(header) && bits_between(self.stored, self.computed) == 1;
        is_near.then_some(self.computed)
    }

    /// Whether it is the next frame of the log but for one bit of its content, as the difference of the checksums says. Both are sums of the
    /// words with the numbers of Fibonacci as factors.
    fn has_bit_in_content(&self, header: &Header) -> bool {
        if !self.is_of(header) {
            return false;
        }
        let difference = |of: fn(Sums) -> u32| of(self.stored).wrapping_sub(of(self.computed));
        let wanted = (difference(|sums| sums.0), difference(|sums| sums.1));
        let negated = (wanted.0.wrapping_neg(), wanted.1.wrapping_neg());
        let mut factors = (0_u32, 1_u32);
        for _ in 0..self.words {
            let makes = (0..u32::BITS).any(|bit| {
                let made = (factors.0 << bit, factors.1 << bit);
                made == wanted || made == negated
            });
            if makes {
                return true;
            }
            factors = (factors.1, factors.0.wrapping_add(factors.1));
        }
        false
    }
}

/// The number of bits that differ.
const fn bits_between(one: (u32, u32), other: (u32, u32)) -> u32 {
    (one.0 ^ other.0).count_ones() + (one.1 ^ other.1).count_ones()
}

/// The running checksum after these bytes.
fn sum((mut first, mut second): Sums, bytes: &[u8], is_big_endian: bool) -> Sums {
    let word = |bytes: [u8; 4]| match is_big_endian {
        true => u32::from_be_bytes(bytes),
        false => u32::from_le_bytes(bytes),
    };
    let (pairs, _) = bytes.as_chunks::<8>();
    for [a, b, c, d, e, f, g, h] in pairs {
        first = first
            .wrapping_add(word([*a, *b, *c, *d]))
            .wrapping_add(second);
        second = second
            .wrapping_add(word([*e, *f, *g, *h]))
            .wrapping_add(first);
    }
    (first, second)
}

/// A number of a header.
fn number(bytes: &[u8], at: usize) -> u32 {
    let bytes = bytes.get(at..at + 4).and_then(|part| part.try_into().ok());
    bytes.map_or(0, u32::from_be_bytes)
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

    use rusqlite::Connection;

    use super::*;

    const COMMITS: usize = 6;
    const SECTOR_BYTES: usize = 512;

    /// A database whose log is only written, and begun anew when that is asked for.
    fn open(path: &Path) -> Connection {
        let db = Connection::open(path).unwrap();
        db.execute_batch(
            "PRAGMA page_size=1024; PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE IF NOT EXISTS t(x)",
        )
        .unwrap();
        db
    }

    fn insert(db: &Connection, len: usize) {
        db.execute("INSERT INTO t VALUES (randomblob(?))", [len])
            .unwrap();
    }

    fn begin_log_anew(db: &Connection) {
        db.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()))
            .unwrap();
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
        let (live, copy) = (folder.join("live"), folder.join("copy"));
        let db = open(&live);
        if had_log_before {
            (0..2 * COMMITS).for_each(|_| insert(&db, 5_000));
        }
        begin_log_anew(&db);
        let mut ends = vec![HEADER_BYTES];
        for _ in 0..COMMITS {
            insert(&db, 2_000);
            ends.push(end_of(&fs::read(log_of(&live)).unwrap()));
        }
        fs::copy(&live, &copy).unwrap();
        fs::copy(log_of(&live), log_of(&copy)).unwrap();
        (copy, ends)
    }

    #[test]
    fn changed_bits_are_found_but_in_the_last_commit_and_what_is_no_log_any_more_does_not_count() {
        for had_log_before in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let (database, ends) = killed_in(folder.path(), had_log_before);
            let log = log_of(&database);
            let whole = fs::read(&log).unwrap();
            assert_eq!(find(&database).unwrap(), None);
            let end = ends[COMMITS];
            assert_eq!(had_log_before, end < whole.len());
            let frame_bytes = FRAME_HEADER_BYTES + usize::try_from(number(&whole, 8)).unwrap();
            let last_commit = ends[COMMITS - 1]..end;
            let headers = (0..HEADER_BYTES + FRAME_HEADER_BYTES)
                .chain(end - frame_bytes..end - frame_bytes + FRAME_HEADER_BYTES);
            for at in headers.chain((0..end).step_by(97)) {
                let mut changed = whole.clone();
                changed[at] ^= 1 << (at % 8);
                fs::write(&log, &changed).unwrap();
                let found = find(&database).unwrap();
                let end_of_number = match at < end - frame_bytes {
                    true => FRAME_HEADER_BYTES,
                    false => 16,
                };
                let is_number =
                    |at: usize| (8..end_of_number).contains(&((at - HEADER_BYTES) % frame_bytes));
                if last_commit.contains(&at) && !is_number(at) {
                    assert_eq!(found, None, "{at}");
                    continue;
                }
                assert!(
                    found.is_some_and(|text| text.contains("-wal is damaged in its ")),
                    "{at}"
                );
            }
            for at in (end..whole.len()).step_by(397) {
                let mut changed = whole.clone();
                changed[at] ^= 1 << (at % 8);
                fs::write(&log, &changed).unwrap();
                assert_eq!(find(&database).unwrap(), None, "{at}");
            }
            fs::remove_file(&log).unwrap();
            assert_eq!(find(&database).unwrap(), None);
        }
    }

    #[test]
    fn larger_damage_is_found_if_a_later_commit_follows_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let (database, ends) = killed_in(folder.path(), true);
        let log = log_of(&database);
        let whole = fs::read(&log).unwrap();
        for (number, at) in ends.iter().take(COMMITS).enumerate() {
            let mut changed = whole.clone();
            changed[at + 200..at + 900].fill(7);
            fs::write(&log, &changed).unwrap();
            let is_found = find(&database).unwrap().is_some();
            assert_eq!(is_found, number + 2 <= COMMITS, "{number}");
        }
        // A log that is cut, or whose end is what was there before, is that of a power cut.
        for len in (0..ends[COMMITS]).step_by(777) {
            fs::write(&log, &whole[..len]).unwrap();
            assert_eq!(find(&database).unwrap(), None, "{len}");
            if len >= HEADER_BYTES {
                let older = [&whole[..len], &vec![7; whole.len() - len]].concat();
                fs::write(&log, older).unwrap();
                assert_eq!(find(&database).unwrap(), None, "{len}");
            }
        }
    }

    /// Numbers that seem to have no order.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, sides: u64) -> u64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % sides
        }
    }

    /// The content of a file after a power cut: each sector is that of before, or that of the writes that were not synced.
    fn torn(synced: &[u8], written: &[u8], dice: &mut Dice) -> Vec<u8> {
        let likely = 1 + dice.roll(8);
        let mut left = Vec::new();
        for (n, new) in written.chunks(SECTOR_BYTES).enumerate() {
            let from = (n * SECTOR_BYTES).min(synced.len());
            let old = &synced[from..(from + new.len()).min(synced.len())];
            let mut sector = match dice.roll(9) < likely {
                true => new.to_vec(),
                false => old.to_vec(),
            };
            // Of a file that has grown, what was not written is zeros.
            sector.resize(new.len(), 0);
            left.extend(sector);
        }
        // The header of a log is synced before its frames are written.
        left[..HEADER_BYTES].copy_from_slice(&written[..HEADER_BYTES]);
        left.truncate(match dice.roll(3) {
            0 => synced
                .len()
                .max(usize::try_from(dice.roll(written.len() as u64)).unwrap()),
            _ => left.len(),
        });
        left
    }

    #[test]
    fn logs_that_had_any_number_of_power_cuts_are_not_damaged() {
        let mut dice = Dice(16);
        let folder = tempfile::tempdir().unwrap();
        let (mut database, mut with_rest) = (folder.path().join("0"), 0);
        for cut in 1..=60 {
            let db = open(&database);
            for _ in 0..dice.roll(4) {
                insert(&db, usize::try_from(dice.roll(9_000)).unwrap());
                if dice.roll(12) == 0 {
                    begin_log_anew(&db);
                }
            }
            let synced = fs::read(log_of(&database)).unwrap();
            insert(&db, usize::try_from(dice.roll(9_000)).unwrap());
            let written = fs::read(log_of(&database)).unwrap();
            let next = folder.path().join(cut.to_string());
            fs::copy(&database, &next).unwrap();
            let left = torn(&synced, &written, &mut dice);
            fs::write(log_of(&next), &left).unwrap();
            assert_eq!(find(&next).unwrap(), None, "power cut {cut}");
            with_rest += usize::from(left.len() > end_of(&left));
            database = next;
        }
        assert!(with_rest > 10, "{with_rest}");
    }
}
