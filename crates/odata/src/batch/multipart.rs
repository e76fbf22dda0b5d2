//! The sections of a multipart body (RFC 2046, section 5.1.1), found in place: nothing is stored for a section.

use super::{BatchError, MAX_PART_HEADERS};

/// The sections of a multipart body, in order.
#[derive(Clone)]
pub(super) struct Sections<'a> {
    /// The text after the last delimiter that was read; `None` after the final one.
    rest: Option<&'a str>,
    boundary: &'a str,
}

/// A line that delimits sections.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Delimiter {
    Inner,
    Final,
}

impl<'a> Sections<'a> {
    /// Finds the first delimiter, and checks that there is a final one. What precedes the first and follows the final one
    /// is ignored, unless it has a line that looks like the delimiter of another multipart body: then the boundary is wrong.
    ///
    /// # Errors
    /// [`BatchError::MalformedFraming`]
    pub(super) fn open(text: &'a str, boundary: &'a str) -> Result<Self, BatchError> {
        let (preamble, kind, rest) =
            next_delimiter(text, boundary).ok_or(BatchError::MalformedFraming)?;
        if kind == Delimiter::Final || has_delimiter(preamble) {
            return Err(BatchError::MalformedFraming);
        }
        let mut behind = rest;
        loop {
            match next_delimiter(behind, boundary) {
                None => return Err(BatchError::MalformedFraming),
                Some((_, Delimiter::Inner, rest)) => behind = rest,
                Some((_, Delimiter::Final, epilogue)) if has_delimiter(epilogue) => {
                    return Err(BatchError::MalformedFraming);
                }
                Some((_, Delimiter::Final, _)) => break,
            }
        }
        Ok(Self {
            rest: Some(rest),
            boundary,
        })
    }
}

impl<'a> Iterator for Sections<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let (section, kind, rest) = next_delimiter(self.rest?, self.boundary)?;
        self.rest = (kind == Delimiter::Inner).then_some(rest);
        Some(without_line_end(section))
    }
}

/// The next delimiter line: what precedes it, its kind, and what follows.
fn next_delimiter<'a>(text: &'a str, boundary: &str) -> Option<(&'a str, Delimiter, &'a str)> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let from = at;
        at += line.len();
        let Some(rest) = line
            .strip_prefix("--")
            .and_then(|rest| rest.strip_prefix(boundary))
        else {
            continue;
        };
        let kind = match rest.trim_end_matches(['\n', '\r', ' ', '\t']) {
            "" => Delimiter::Inner,
            "--" => Delimiter::Final,
            _ => continue,
        };
        return Some((text.get(..from)?, kind, text.get(at..)?));
    }
    None
}

fn has_delimiter(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("--"))
}

/// Removes the line end before a delimiter, which belongs to the delimiter.
fn without_line_end(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

/// Splits a text after its first line.
pub(super) fn take_line(text: &str) -> (&str, &str) {
    let (line, rest) = text.split_once('\n').unwrap_or((text, ""));
    (line.strip_suffix('\r').unwrap_or(line), rest)
}

/// Headers in order, with names and values.
pub(super) type Headers<'a> = Vec<(&'a str, &'a str)>;

/// Splits a text into the headers before the first empty line and the rest.
///
/// # Errors
/// [`BatchError::MalformedFraming`] for more than [`MAX_PART_HEADERS`] lines.
pub(super) fn split_headers(text: &str) -> Result<(Headers<'_>, &str), BatchError> {
    let mut headers = Vec::new();
    let mut rest = text;
    for _ in 0..=MAX_PART_HEADERS {
        let (line, tail) = take_line(rest);
        rest = tail;
        if line.is_empty() {
            return Ok((headers, rest));
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.push((name.trim(), value.trim()));
        }
    }
    Err(BatchError::MalformedFraming)
}
