//! Paths in the `href` of resources, which archives write percent-encoded or not.

use std::collections::HashSet;

use percent_encoding::percent_decode_str;
use unicode_normalization::UnicodeNormalization;

/// The paths of the contents of an archive: files and folders, also those without an entry of their own.
#[derive(Debug, Clone, Default)]
pub struct BoxContents {
    /// The normalized paths.
    paths: HashSet<String>,
}

impl BoxContents {
    /// The contents with these paths of files and folders, whose segments are separated by `/`.
    pub fn new<'p>(paths: impl IntoIterator<Item = &'p str>) -> Self {
        let mut contents = Self::default();
        for path in paths {
            contents.insert(path);
            for (at, _) in path.rmatch_indices('/') {
                if !contents.insert(path.get(..at).unwrap_or_default()) {
                    break;
                }
            }
        }
        contents
    }

    /// Adds a path. Returns whether it is new.
    fn insert(&mut self, path: &str) -> bool {
        self.paths.insert(normalized(path))
    }

    /// Whether there is a file or folder with this path, composed or decomposed.
    fn contains(&self, path: &[String]) -> bool {
        self.paths.contains(&normalized(&path.join("/")))
    }
}

/// A path in its composed form (Unicode NFC). Archives of some systems have decomposed names.
#[must_use]
pub fn normalized(path: &str) -> String {
    if path.is_ascii() {
        return path.to_owned();
    }
    path.nfc().collect()
}

/// Reads the paths of a description.
pub(super) struct HrefReader<'c> {
    contents: &'c BoxContents,
    /// Whether the description is percent-encoded as a whole: decoded, each of its paths is in the archive.
    all_encoded: bool,
}

impl<'c> HrefReader<'c> {
    pub fn new<'p>(
        contents: &'c BoxContents,
        paths: impl Iterator<Item = &'p Vec<String>>,
    ) -> Self {
        let (mut encoded, mut as_written) = (0, 0);
        let mut all_decoded_are_known = true;
        for path in paths.filter(|path| path.iter().any(|segment| segment.contains('%'))) {
            encoded += 1;
            as_written += usize::from(contents.contains(path));
            all_decoded_are_known &= decoded(path).is_some_and(|path| contents.contains(&path));
        }
        Self {
            contents,
            all_encoded: all_decoded_are_known && as_written < encoded,
        }
    }

    /// The path that segments as written stand for. What the archive does not have is taken as percent-encoded.
    pub fn read(&self, written: &[String]) -> Vec<String> {
        let mut path = Vec::with_capacity(written.len());
        for segment in written {
            let Some(decoded) = decoded_segment(segment) else {
                path.push(segment.clone());
                continue;
            };
            path.push(segment.clone());
            let is_known = !self.all_encoded && self.contents.contains(&path);
            if !is_known && let Some(last) = path.last_mut() {
                *last = decoded;
            }
        }
        path
    }
}

fn decoded(path: &[String]) -> Option<Vec<String>> {
    let segment = |segment: &String| match segment.contains('%') {
        true => decoded_segment(segment),
        false => Some(segment.clone()),
    };
    path.iter().map(segment).collect()
}

/// The decoded segment, if it is percent-encoded UTF-8.
fn decoded_segment(segment: &str) -> Option<String> {
    let mut escapes = segment.split('%').skip(1).peekable();
    escapes.peek()?;
    let is_escape = |after: &str| {
        let digits = after.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if !escapes.all(is_escape) {
        return None;
    }
    let decoded = percent_decode_str(segment).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(contents: &[&str], hrefs: &[&str]) -> Vec<String> {
        let contents = BoxContents::new(contents.iter().copied());
        let split = |href: &&str| href.split('/').map(str::to_owned).collect();
        let paths: Vec<Vec<String>> = hrefs.iter().map(split).collect();
        let reader = HrefReader::new(&contents, paths.iter());
        let joined = paths.iter().map(|path| reader.read(path).join("/"));
        joined.collect()
    }

    #[test]
    fn hrefs_are_raw_or_encoded_as_the_contents_tell() {
        let nfd = "か\u{3099}.txt";
        for (contents, hrefs, expected) in [
            (
                vec!["日本.txt"],
                vec!["%E6%97%A5%E6%9C%AC.txt"],
                vec!["日本.txt"],
            ),
            (vec!["日本.txt"], vec!["日本.txt"], vec!["日本.txt"]),
            (vec!["a b", "a+b"], vec!["a%20b", "a+b"], vec!["a b", "a+b"]),
            (
                vec!["a b/c d/e"],
                vec!["a%20b", "a%20b/c d/e"],
                vec!["a b", "a b/c d/e"],
            ),
            // A name with percent signs of its own.
            (vec!["100%25"], vec!["100%25"], vec!["100%25"]),
            (vec!["100%"], vec!["100%25"], vec!["100%"]),
            (vec!["100%"], vec!["100%"], vec!["100%"]),
            (
                vec!["a%20b", "a b"],
                vec!["a%20b", "a b"],
                vec!["a%20b", "a b"],
            ),
            (
                vec!["a%20b", "a b"],
                vec!["a%2520b", "a%20b"],
                vec!["a%20b", "a b"],
            ),
            // Not in the archive: an empty collection.
            (vec![], vec!["%e6%97%a5"], vec!["日"]),
            (
                vec![],
                vec!["%zz", "%", "a%2", "%95%5C"],
                vec!["%zz", "%", "a%2", "%95%5C"],
            ),
            (vec![], vec!["%2e%2e/%2F"], vec!["..//"]),
            (
                vec![nfd],
                vec!["%E3%81%8C.txt", "が.txt"],
                vec!["が.txt", "が.txt"],
            ),
            (vec!["が.txt"], vec![nfd], vec![nfd]),
        ] {
            assert_eq!(read(&contents, &hrefs), expected, "{contents:?} {hrefs:?}");
        }
    }
}
