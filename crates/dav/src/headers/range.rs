//! The `Range` header of GET (RFC 9110, section 14.2).

/// The part of a file that a GET request selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelectedRange {
    /// The whole file, as without a `Range` header.
    Whole,
    /// The bytes from `first` to `last`, both inclusive.
    Part {
        /// The position of the first byte, from 0.
        first: u64,
        /// The position of the last byte, less than the size of the file.
        last: u64,
    },
    /// No byte: all ranges begin at or after the end of the file.
    NotSatisfiable,
    /// More than one range. Multipart responses are not supported.
    Multiple,
}

/// The maximum number of ranges in a header. A header with more ranges is ignored.
const MAX_RANGES: usize = 13;

/// Selects the part of a file of `size` bytes that a `Range` header asks for.
///
/// A header is ignored if any of its ranges is malformed, its unit is not `bytes`, or it has more than 13 ranges.
/// Otherwise, ranges after the end of the file are dropped.
///
/// ```
/// use personium_dav::headers::{SelectedRange, select_range};
///
/// let part = SelectedRange::Part { first: 90, last: 99 };
/// assert_eq!(select_range(Some("bytes=-10"), 100), part);
/// assert_eq!(select_range(Some("bytes=100-"), 100), SelectedRange::NotSatisfiable);
/// assert_eq!(select_range(Some("bytes=5-3"), 100), SelectedRange::Whole);
/// ```
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

/// Parses the ranges as first and last byte, the last byte limited to the file. Returns `None` if the header is ignored.
fn parse(header: &str, size: u64) -> Option<Vec<(u64, u64)>> {
    let (unit, list) = header.split_once('=')?;
    if !unit.trim_end().eq_ignore_ascii_case("bytes") {
        return None;
    }
    // Empty elements of a list are ignored (RFC 9110, section 5.6.1).
    let parts = list
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    let parts: Vec<&str> = parts.take(MAX_RANGES + 1).collect();
    if parts.is_empty() || parts.len() > MAX_RANGES {
        return None;
    }
    parts.into_iter().map(|part| range(part, size)).collect()
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

/// Parses digits. A number that is too large becomes `u64::MAX`.
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
    fn ranges_of_a_file_of_100_bytes() {
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
            ("BYTES=0-1", part(0, 1)),
            ("bytes=,0-4, ,", part(0, 4)),
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
    fn malformed_headers_are_ignored() {
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
            "bytes=0-1,x",
            "bytes=200-300,5-3",
            "byte=0-1",
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
    fn more_than_13_ranges_are_ignored() {
        let ranges = |count: usize| format!("bytes={}", vec!["0-1"; count].join(","));
        assert_eq!(
            select_range(Some(&ranges(13)), 100),
            SelectedRange::Multiple
        );
        assert_eq!(select_range(Some(&ranges(14)), 100), SelectedRange::Whole);
    }

    #[test]
    fn ranges_of_an_empty_file() {
        assert_eq!(select_range(Some("bytes=0-"), 0), SelectedRange::Whole);
        assert_eq!(select_range(Some("bytes=-5"), 0), SelectedRange::Whole);
        assert_eq!(
            select_range(Some("bytes=0-0"), 0),
            SelectedRange::NotSatisfiable
        );
    }

    proptest! {
        #[test]
        fn selected_part_is_within_the_file(header in "bytes=[0-9]{0,3}-?[0-9]{0,3}(,[0-9]{0,2}-[0-9]{0,2}){0,2}", size in 0..300_u64) {
            if let SelectedRange::Part { first, last } = select_range(Some(&header), size) {
                prop_assert!(first <= last && last < size);
            }
        }

        #[test]
        fn single_range_within_the_file_is_selected(first in 0..500_u64, length in 1..500_u64, more in 0..500_u64) {
            let (last, size) = (first + length - 1, first + length + more);
            prop_assert_eq!(select_range(Some(&format!("bytes={first}-{last}")), size), part(first, last));
            prop_assert_eq!(select_range(Some(&format!("bytes={first}-")), size), part(first, size - 1));
            prop_assert_eq!(select_range(Some(&format!("bytes=-{length}")), size), part(size - length, size - 1));
        }
    }
}
