//! The `Range` header of GET.

/// What a GET sends of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelectedRange {
    /// The whole file, as without the header.
    Whole,
    /// The bytes from `first` to `last`, both included and both within the file.
    Part {
        /// Position of the first byte, from 0.
        first: u64,
        /// Position of the last byte.
        last: u64,
    },
    /// Nothing: every range begins behind the end.
    NotSatisfiable,
    /// More than one range remains; such answers are not made.
    Multiple,
}

/// More ranges than this in one header have no effect.
const MAX_RANGES: usize = 13;

/// Decides what a GET of a file of `size` bytes sends.
///
/// A header that is malformed anywhere, has another unit than `bytes`, or names more than 13 ranges has no effect.
/// Otherwise ranges behind the end are dropped and what is left decides.
#[must_use]
pub fn select_range(header: Option<&str>, size: u64) -> SelectedRange {
    let Some(ranges) = header.and_then(|header| parse(header, size)) else {
        return SelectedRange::Whole;
    };
    let mut within = ranges.into_iter().filter(|(first, _)| *first < size);
    match (within.next(), within.next()) {
        (None, _) => SelectedRange::NotSatisfiable,
        (Some((first, last)), None) => SelectedRange::Part { first, last },
        (Some(_), Some(_)) => SelectedRange::Multiple,
    }
}

/// First and last byte of each range, the last one cut to the file; `None` for a header without effect.
fn parse(header: &str, size: u64) -> Option<Vec<(u64, u64)>> {
    let list = header
        .strip_prefix("bytes")?
        .trim_start()
        .strip_prefix('=')?;
    let parts: Vec<&str> = list.split(',').take(MAX_RANGES + 1).collect();
    if parts.len() > MAX_RANGES {
        return None;
    }
    parts
        .into_iter()
        .map(|part| range(part.trim(), size))
        .collect()
}

fn range(part: &str, size: u64) -> Option<(u64, u64)> {
    let (first, last) = part.split_once('-')?;
    match (first.is_empty(), last.is_empty()) {
        (true, true) => None,
        (true, false) => {
            let length = position(last).filter(|length| *length > 0)?;
            Some((size.saturating_sub(length), size.checked_sub(1)?))
        }
        (false, true) => Some((position(first)?, size.checked_sub(1)?)),
        (false, false) => {
            let (first, last) = (position(first)?, position(last)?);
            (first <= last).then(|| (first, last.min(size.saturating_sub(1))))
        }
    }
}

/// A number of any length; one too large counts as the largest.
fn position(digits: &str) -> Option<u64> {
    digits
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part(first: u64, last: u64) -> SelectedRange {
        SelectedRange::Part { first, last }
    }

    #[test]
    fn the_table_of_one_hundred_bytes_holds() {
        for (header, expected) in [
            ("bytes=0-26", part(0, 26)),
            ("bytes=10-", part(10, 99)),
            ("bytes=10-150", part(10, 99)),
            ("bytes=-10", part(90, 99)),
            ("bytes=-150", part(0, 99)),
            ("bytes=10-10", part(10, 10)),
            ("bytes=99-99", part(99, 99)),
            ("bytes=0-99999999999999999999999", part(0, 99)),
            ("bytes = 0-1", part(0, 1)),
            ("bytes=100-", SelectedRange::NotSatisfiable),
            ("bytes=100-200", SelectedRange::NotSatisfiable),
            (
                "bytes=99999999999999999999999-",
                SelectedRange::NotSatisfiable,
            ),
            ("bytes=200-300,0-4", part(0, 4)),
            ("bytes=200-300, 400-", SelectedRange::NotSatisfiable),
            ("bytes=0-1,5-6", SelectedRange::Multiple),
            ("bytes=0-1, 5-6,-1", SelectedRange::Multiple),
        ] {
            assert_eq!(select_range(Some(header), 100), expected, "{header}");
        }
    }

    #[test]
    fn what_is_malformed_has_no_effect() {
        for header in [
            "",
            "bytes",
            "bytes=",
            "bytes=5-3",
            "bytes=a-b",
            "bytes=--3",
            "bytes=-0",
            "bytes=-",
            "bytes=5",
            "bytes=1-2-3",
            "bytes=+1-2",
            "bytes=0-1,",
            "bytes=0-1,x",
            "bytes=200-300,5-3",
            "byte=0-1",
            "Bytes=0-1",
            " bytes=0-1",
            "items=0-1",
        ] {
            assert_eq!(
                select_range(Some(header), 100),
                SelectedRange::Whole,
                "{header}"
            );
        }
        assert_eq!(select_range(None, 100), SelectedRange::Whole);
    }

    #[test]
    fn more_than_thirteen_ranges_have_no_effect() {
        let ranges = |count: usize| format!("bytes={}", vec!["0-1"; count].join(","));
        assert_eq!(
            select_range(Some(&ranges(13)), 100),
            SelectedRange::Multiple
        );
        assert_eq!(select_range(Some(&ranges(14)), 100), SelectedRange::Whole);
    }

    #[test]
    fn an_empty_file_has_no_last_byte() {
        assert_eq!(select_range(Some("bytes=0-"), 0), SelectedRange::Whole);
        assert_eq!(select_range(Some("bytes=-5"), 0), SelectedRange::Whole);
        assert_eq!(
            select_range(Some("bytes=0-0"), 0),
            SelectedRange::NotSatisfiable
        );
    }

    proptest! {
        #[test]
        fn a_part_lies_within_the_file(header in "bytes=[0-9]{0,3}-?[0-9]{0,3}(,[0-9]{0,2}-[0-9]{0,2}){0,2}", size in 0..300_u64) {
            if let SelectedRange::Part { first, last } = select_range(Some(&header), size) {
                prop_assert!(first <= last && last < size);
            }
        }

        #[test]
        fn any_single_range_of_the_file_is_sent(first in 0..500_u64, length in 1..500_u64, more in 0..500_u64) {
            let (last, size) = (first + length - 1, first + length + more);
            prop_assert_eq!(select_range(Some(&format!("bytes={first}-{last}")), size), part(first, last));
            prop_assert_eq!(select_range(Some(&format!("bytes={first}-")), size), part(first, size - 1));
            prop_assert_eq!(select_range(Some(&format!("bytes=-{length}")), size), part(size - length, size - 1));
        }
    }
}
