//! The parser of batches.

use std::borrow::Cow;

use super::address::{BatchRoot, target_of};
use super::content_type::boundary_of;
use super::multipart::{Headers, Sections, split_headers, take_line};
use super::{
    BatchError, BatchLimits, BatchMethod, BatchPart, BatchTarget, ChangeSetFrame, ContentId,
    find_header,
};
use crate::query::QueryOptions;

/// Parses a batch. `content_type` is the `Content-Type` of the request. Lines end with LF or CRLF.
///
/// # Errors
/// The [`BatchError`] of the first invalid part, and last [`BatchError::TooManyParts`] or [`BatchError::TopSumTooLarge`].
pub fn parse<'a>(
    content_type: &'a str,
    body: &'a [u8],
    root: BatchRoot<'_>,
    limits: &BatchLimits,
) -> Result<Vec<BatchPart<'a>>, BatchError> {
    let boundary = boundary_of(content_type).ok_or(BatchError::UnsupportedContentType)?;
    let text = std::str::from_utf8(body).map_err(|_| BatchError::MalformedFraming)?;
    let mut reader = BatchReader {
        root,
        max_parts: limits.max_parts,
        parts: Vec::new(),
        count: 0,
        change_sets: 0,
    };
    for section in Sections::open(text, boundary)? {
        let (headers, content) = split_headers(section)?;
        match part_kind(&headers)? {
            PartKind::Request => {
                reader.add(&headers, content, None)?;
            }
            PartKind::ChangeSet(inner) => reader.add_change_set(content, inner)?,
        }
    }
    if reader.count > limits.max_parts {
        return Err(BatchError::TooManyParts(reader.count));
    }
    check_top_sum(&reader.parts, limits)?;
    Ok(reader.parts)
}

fn check_top_sum(parts: &[BatchPart<'_>], limits: &BatchLimits) -> Result<(), BatchError> {
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

/// The parts that were read so far. Those above the limit are checked and counted, but not kept.
struct BatchReader<'a, 'r> {
    root: BatchRoot<'r>,
    max_parts: usize,
    parts: Vec<BatchPart<'a>>,
    count: usize,
    change_sets: usize,
}

impl<'a> BatchReader<'a, '_> {
    fn add_change_set(&mut self, content: &'a str, boundary: &'a str) -> Result<(), BatchError> {
        let frame = ChangeSetFrame {
            number: self.change_sets,
            boundary,
        };
        self.change_sets += 1;
        let first = self.parts.len();
        for section in Sections::open(content, boundary)? {
            let (headers, content) = split_headers(section)?;
            match part_kind(&headers)? {
                PartKind::Request => self.add(&headers, content, Some((frame, first)))?,
                PartKind::ChangeSet(_) => return Err(BatchError::NestedChangeSet),
            }
        }
        Ok(())
    }

    /// Reads a request. `change_set` is its change set with the index of the first part of that.
    fn add(
        &mut self,
        headers: &Headers<'a>,
        content: &'a str,
        change_set: Option<(ChangeSetFrame<'a>, usize)>,
    ) -> Result<(), BatchError> {
        let earlier = match change_set {
            Some((_, first)) => self.parts.get(first..).unwrap_or_default(),
            None => &[],
        };
        let frame = change_set.map(|(frame, _)| frame);
        let part = request(headers, content, frame, self.root, earlier)?;
        self.count += 1;
        if self.count <= self.max_parts {
            self.parts.push(part);
        }
        Ok(())
    }
}

enum PartKind<'a> {
    Request,
    ChangeSet(&'a str),
}

fn part_kind<'a>(headers: &Headers<'a>) -> Result<PartKind<'a>, BatchError> {
    let content_type =
        find_header(headers, "Content-Type").ok_or(BatchError::UnsupportedContentType)?;
    let media_type = content_type.split(';').next().unwrap_or("").trim();
    if media_type.eq_ignore_ascii_case("application/http") {
        return Ok(PartKind::Request);
    }
    boundary_of(content_type)
        .map(PartKind::ChangeSet)
        .ok_or(BatchError::UnsupportedContentType)
}

/// Parses the request of a part. `earlier` are the parts of its change set before it.
fn request<'a>(
    part_headers: &Headers<'a>,
    content: &'a str,
    change_set: Option<ChangeSetFrame<'a>>,
    root: BatchRoot<'_>,
    earlier: &[BatchPart<'a>],
) -> Result<BatchPart<'a>, BatchError> {
    let content = content.trim_start_matches(['\r', '\n']);
    let (line, rest) = take_line(content);
    let (headers, body) = split_headers(rest)?;
    let mut words = line.split(' ').filter(|word| !word.is_empty());
    let sent = words.next().unwrap_or("");
    let method = method_of(sent, &headers)?;
    let bad_path = || BatchError::MalformedRequestLine(line.to_owned());
    let address = words.next().ok_or_else(bad_path)?;
    let (address, query) = address.split_once('?').unwrap_or((address, ""));
    let path = root.path_below(address).ok_or_else(bad_path)?;
    let target = match reference(path, earlier) {
        Some(content_id) => BatchTarget::Reference { content_id },
        None => target_of(method, path).ok_or_else(bad_path)?,
    };
    let content_id = content_id(part_headers, &headers);
    if let Some(id) = content_id
        && earlier.iter().any(|part| is_named(part, id.value))
    {
        return Err(BatchError::DuplicateContentId);
    }
    Ok(BatchPart {
        method,
        target,
        path: Cow::Borrowed(path),
        query,
        has_http_version: words.next().is_some_and(|word| word.starts_with("HTTP/")),
        headers,
        body: Cow::Borrowed(body),
        change_set,
        content_id,
    })
}

/// The method of a request, which a header replaces on POST.
fn method_of(sent: &str, headers: &Headers<'_>) -> Result<BatchMethod, BatchError> {
    let tunnelled = ["X-HTTP-Method-Override", "X-HTTP-Method"]
        .iter()
        .find_map(|name| find_header(headers, name).filter(|value| !value.is_empty()))
        .filter(|_| sent == "POST");
    let name = tunnelled.unwrap_or(sent);
    BatchMethod::from_name(name).ok_or_else(|| BatchError::UnsupportedMethod(name.to_owned()))
}

fn content_id<'a>(part: &Headers<'a>, request: &Headers<'a>) -> Option<ContentId<'a>> {
    let find = |headers: &Headers<'a>| {
        let value = find_header(headers, "Content-ID")?;
        (!value.is_empty()).then_some(value)
    };
    let of = |value, is_of_part| ContentId { value, is_of_part };
    match find(part) {
        Some(value) => Some(of(value, true)),
        None => find(request).map(|value| of(value, false)),
    }
}

fn is_named(part: &BatchPart<'_>, content_id: &str) -> bool {
    part.content_id.is_some_and(|id| id.value == content_id)
}

/// The `Content-ID` of the earlier part that a path refers to.
fn reference(path: &str, earlier: &[BatchPart<'_>]) -> Option<String> {
    let name = path.strip_prefix('$')?.split('/').next()?;
    let found = earlier.iter().any(|part| is_named(part, name));
    found.then(|| name.to_owned())
}
