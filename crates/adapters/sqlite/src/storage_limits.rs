//! The limits of database files and their logs that keep room for removing records.

use crate::reserve::file_size_limit;

/// The largest number of pages of a log after which a commit moves it into the file.
const MAX_LOG_PAGES: u64 = 2_000;

/// The smallest such number.
const MIN_LOG_PAGES: u64 = 8;

/// The part of the reserve that a log may need when it is moved into its file, as a divisor. If the disk becomes full in
/// between, the log can have twice as many pages.
const LOG_PART: u64 = 4;

/// The limits of a database file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileLimits {
    /// The number of pages of the log after which a commit moves it into the file.
    pub(crate) log_pages: u64,
    /// The largest number of pages of the file, if the process may not write larger files. The log then always fits into the
    /// file, so that records can be removed.
    pub(crate) max_pages: Option<u64>,
}

impl FileLimits {
    /// The limits where the reserve has this size; without a reserve it is 0.
    pub(crate) fn new(reserve_bytes: u64, page_bytes: u32) -> Self {
        let page_bytes = u64::from(page_bytes).max(1);
        let limit = file_size_limit();
        let spare_bytes = match (limit, reserve_bytes) {
            (Some(limit), _) => limit / LOG_PART,
            (None, 0) => u64::MAX,
            (None, bytes) => bytes / LOG_PART,
        };
        Self {
            log_pages: (spare_bytes / page_bytes).clamp(MIN_LOG_PAGES, MAX_LOG_PAGES),
            max_pages: limit.map(|limit| limit / page_bytes * 3 / 4),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_takes_a_part_of_the_reserve() {
        for (reserve, pages) in [(0, 2_000), (64 << 20, 2_000), (1 << 20, 32), (1, 8)] {
            assert_eq!(FileLimits::new(reserve, 8192).log_pages, pages, "{reserve}");
        }
    }
}
