//! The parser of batches.

use percent_encoding::percent_decode_str;

use super::{BatchError, BatchLimits, BatchMethod, BatchPart, BatchTarget, Changeset, find_header};
use crate::query::QueryOptions;

/// Parses a batch. `content_type` is the `Content-Type` of the request. Lines end with LF or CRLF.
///
/// # Errors
/// The [`BatchError`] of the first invalid part, and last [`BatchError::TooManyParts`] or [`BatchError::TopSumTooLarge`].
pub fn parse<'a>(
    content_type: &'a str,
    body: &'a [u8],
    limits: &BatchLimits,
) -> Result<Vec<BatchPart<'a>>, BatchError> {
    let boundary = boundary_of(content_type).ok_or(BatchError::UnsupportedContentType)?;
    let text = std::str::from_utf8(body).map_err(|_| BatchError::MalformedFraming)?;
    let sections = split_sections(text, boundary)?;
    if sections.has_preamble || sections.parts.is_empty() {
        return Err(BatchError::MalformedFraming);
    }
    let mut parts = Vec::new();
    let mut changesets = 0;
    for section in sections.parts {
        let (headers, content) = split_headers(section);
        match part_kind(&headers)? {
            PartKind::Request => parts.push(request(content, None)?),
            PartKind::Changeset(inner) => {
                let changeset = Changeset {
                    number: changesets,
                    boundary: inner,
                };
                changesets += 1;
                parse_changeset(content, changeset, &mut parts)?;
            }
        }
    }
    check_limits(&parts, limits)?;
    Ok(parts)
}

fn parse_changeset<'a>(
    content: &'a str,
    changeset: Changeset<'a>,
    parts: &mut Vec<BatchPart<'a>>,
) -> Result<(), BatchError> {
    for section in split_sections(content, changeset.boundary)?.parts {
        let (headers, content) = split_headers(section);
        match part_kind(&headers)? {
            PartKind::Request => parts.push(request(content, Some(changeset))?),
            PartKind::Changeset(_) => return Err(BatchError::NestedChangeset),
        }
    }
    Ok(())
}

fn check_limits(parts: &[BatchPart<'_>], limits: &BatchLimits) -> Result<(), BatchError> {
    if parts.len() > limits.max_parts {
        return Err(BatchError::TooManyParts(parts.len()));
    }
    let tops = parts
        .iter()
        .filter(|part| part.method == BatchMethod::Get)
        .filter_map(|part| {
            let top: u32 = QueryOptions::parse(part.query).get("$top")?.parse().ok()?;
            (top <= limits.max_top_sum).then_some(u64::from(top))
        });
    if tops.sum::<u64>() > u64::from(limits.max_top_sum) {
        Err(BatchError::TopSumTooLarge)
    } else {
        Ok(())
    }
}

/// The boundary parameter of a `Content-Type` header; `None` unless it is that of `multipart/mixed`.
#[must_use]
pub fn boundary_of(content_type: &str) -> Option<&str> {
    let (media_type, parameters) = content_type.split_once(';')?;
    if !media_type.trim().eq_ignore_ascii_case("multipart/mixed") {
        return None;
    }
    parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let value = value.trim();
        let value = value
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .unwrap_or(value);
        (name.trim().eq_ignore_ascii_case("boundary") && !value.is_empty()).then_some(value)
    })
}

/// The sections of a multipart body.
struct Sections<'a> {
    /// Whether text other than blank lines precedes the first delimiter.
    has_preamble: bool,
    parts: Vec<&'a str>,
}

/// Splits a multipart body at its delimiter lines. Only blank text may follow the final one.
fn split_sections<'a>(text: &'a str, boundary: &str) -> Result<Sections<'a>, BatchError> {
    let mut sections = Sections {
        has_preamble: false,
        parts: Vec::new(),
    };
    let mut start: Option<usize> = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let from = at;
        at += line.len();
        let plain = line.trim_end_matches(['\n', '\r']);
        let Some(rest) = plain
            .strip_prefix("--")
            .and_then(|rest| rest.strip_prefix(boundary))
        else {
            sections.has_preamble |= start.is_none() && !plain.is_empty();
            continue;
        };
        if !rest.is_empty() && rest != "--" {
            continue;
        }
        if let Some(start) = start {
            sections
                .parts
                .push(without_line_end(text.get(start..from).unwrap_or("")));
        }
        if rest == "--" {
            let tail = text.get(at..).unwrap_or("");
            let closed = start.is_some() && tail.trim().is_empty();
            return if closed {
                Ok(sections)
            } else {
                Err(BatchError::MalformedFraming)
            };
        }
        start = Some(at);
    }
    Err(BatchError::MalformedFraming)
}

/// Removes the line end before a delimiter, which belongs to the delimiter.
fn without_line_end(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

/// Splits a text after its first line.
fn take_line(text: &str) -> (&str, &str) {
    let (line, rest) = text.split_once('\n').unwrap_or((text, ""));
    (line.strip_suffix('\r').unwrap_or(line), rest)
}

/// Splits a text into the headers before the first empty line and the rest.
fn split_headers(text: &str) -> (Vec<(&str, &str)>, &str) {
    let mut headers = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (line, tail) = take_line(rest);
        rest = tail;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.push((name.trim(), value.trim()));
        }
    }
    (headers, rest)
}

enum PartKind<'a> {
    Request,
    Changeset(&'a str),
}

fn part_kind<'a>(headers: &[(&'a str, &'a str)]) -> Result<PartKind<'a>, BatchError> {
    let content_type =
        find_header(headers, "Content-Type").ok_or(BatchError::UnsupportedContentType)?;
    let media_type = content_type.split(';').next().unwrap_or("").trim();
    if media_type.eq_ignore_ascii_case("application/http") {
        return Ok(PartKind::Request);
    }
    boundary_of(content_type)
        .map(PartKind::Changeset)
        .ok_or(BatchError::UnsupportedContentType)
}

/// Parses the request of a part.
fn request<'a>(
    content: &'a str,
    changeset: Option<Changeset<'a>>,
) -> Result<BatchPart<'a>, BatchError> {
    let content = content.trim_start_matches(['\r', '\n']);
    let (line, rest) = take_line(content);
    let mut words = line.split(' ').filter(|word| !word.is_empty());
    let method = match words.next().unwrap_or("") {
        "GET" => BatchMethod::Get,
        "POST" => BatchMethod::Post,
        "PUT" => BatchMethod::Put,
        "DELETE" => BatchMethod::Delete,
        other => return Err(BatchError::UnsupportedMethod(other.to_owned())),
    };
    let bad_path = || BatchError::MalformedRequestLine(line.to_owned());
    let address = words.next().ok_or_else(bad_path)?;
    let (path, query) = match address.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (address, None),
    };
    let target = target(path).ok_or_else(bad_path)?;
    let is_supported = match (&target, method) {
        (BatchTarget::Set(_), BatchMethod::Get | BatchMethod::Post) => true,
        (BatchTarget::Set(_), _) => false,
        (BatchTarget::Entity { .. }, method) => method != BatchMethod::Post,
        (BatchTarget::Navigation { target: None, .. }, BatchMethod::Put | BatchMethod::Delete) => {
            false
        }
        (BatchTarget::Navigation { .. } | BatchTarget::Links { .. }, _) => query.is_none(),
    };
    if !is_supported || (query.is_some() && method != BatchMethod::Get) {
        return Err(bad_path());
    }
    let (headers, body) = split_headers(rest);
    Ok(BatchPart {
        method,
        target,
        query: query.unwrap_or(""),
        headers,
        body,
        changeset,
    })
}

/// Parses the path of a part; `None` if malformed.
fn target(path: &str) -> Option<BatchTarget> {
    let Some(at) = path.find('(') else {
        return is_name(path).then(|| BatchTarget::Set(path.to_owned()));
    };
    let (set, rest) = path.split_at_checked(at)?;
    let (id, rest) = take_key(rest)?;
    if !is_name(set) {
        return None;
    }
    let set = set.to_owned();
    if rest.is_empty() {
        return Some(BatchTarget::Entity { set, id });
    }
    let rest = rest.strip_prefix('/')?;
    match rest.strip_prefix("$links/") {
        Some(rest) => {
            let (navigation, target) = navigation(rest)?;
            Some(BatchTarget::Links {
                set,
                id,
                navigation,
                target,
            })
        }
        None => {
            let (navigation, target) = navigation(rest)?;
            Some(BatchTarget::Navigation {
                set,
                id,
                navigation,
                target,
            })
        }
    }
}

/// Parses `_Nav` or `_Nav('key')`.
fn navigation(text: &str) -> Option<(String, Option<String>)> {
    let (name, key) = match text.find('(') {
        None => (text, None),
        Some(at) => {
            let (name, rest) = text.split_at_checked(at)?;
            let (key, rest) = take_key(rest)?;
            if !rest.is_empty() {
                return None;
            }
            (name, Some(key))
        }
    };
    (name.starts_with('_') && is_name(name)).then(|| (name.to_owned(), key))
}

/// Splits a text after `('key')` at its start; returns the decoded key, which has no quotes, and the rest.
fn take_key(text: &str) -> Option<(String, &str)> {
    let (key, rest) = text.strip_prefix("('")?.split_once('\'')?;
    let key = percent_decode_str(key).decode_utf8().ok()?.into_owned();
    Some((key, rest.strip_prefix(')')?))
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}
