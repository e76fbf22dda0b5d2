//! Uploads of snapshots in parts (RFC 9110, section 14.5): `PUT` with `Content-Range`.
//!
//! A part is stored as a file beside the snapshot, `{name}.part-{upload}-{first}-{total}`, so an upload goes on after an interruption, at any
//! server node, and what is left of one that was given up can be listed and removed. When all parts are there, they become the snapshot.
//!
//! The first part begins an upload, whose id is in each answer and must be in each request that goes on with it. So a part of one upload never
//! becomes one of another, whenever it arrives.

use http::{StatusCode, header};
use personium_model::file::{self, FileHeaders, PutResult, Upload};
use personium_model::listing::Members;
use personium_model::locate::Target;
use personium_model::node::{FileBody, NodeKind};
use personium_model::{Resource, keys};
use personium_types::error::chain;
use personium_types::preconditions::ConditionHeaders;
use personium_types::{Code, Error, Preconditions, Result};

use super::put;
use crate::headers::UPLOAD;
use crate::request_context::RequestContext;
use crate::response::{self, Response, WithHeader};

/// The text between the name of the snapshot and the numbers in the name of a part.
const PART: &str = ".part-";

/// The length of the id of an upload in hexadecimal digits.
const UPLOAD_DIGITS: usize = 32;

/// A part that is stored.
struct StoredPart {
    /// The name of its file.
    name: String,
    /// The upload that it belongs to; `None` for one of a version without ids, which nothing goes on with.
    upload: Option<String>,
    first: u64,
    /// The length of the whole.
    total: u64,
    body: FileBody,
}

/// A `Content-Range` of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UploadRange {
    /// `bytes first-last/total`
    Part { first: u64, last: u64, total: u64 },
    /// `bytes */total`: a question for what is there.
    State { total: u64 },
}

impl UploadRange {
    /// Reads a header; `None` if it is not valid.
    fn parse(text: &str) -> Option<Self> {
        let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
        let total = number(total)?;
        if range == "*" {
            return Some(Self::State { total });
        }
        let (first, last) = range.split_once('-')?;
        let (first, last) = (number(first)?, number(last)?);
        let is_valid = first <= last && last < total;
        is_valid.then_some(Self::Part { first, last, total })
    }

    /// Whether it begins an upload.
    const fn is_first(self) -> bool {
        matches!(self, Self::Part { first: 0, .. })
    }

    fn total(self) -> u64 {
        match self {
            Self::Part { total, .. } | Self::State { total } => total,
        }
    }
}

/// A number that is written in digits only.
fn number(text: &str) -> Option<u64> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}

/// Stores a part of a snapshot, or answers which ones there are: 202 with `Range` until all are there, then as a PUT of the whole.
///
/// # Errors
/// [`Code::HeaderInvalid`] if a header is not valid or missing, or the length of the body or of the whole is another one;
/// [`Code::RangeUnsatisfiable`] if the part does not begin where the last one ends; as a PUT of the whole.
pub(super) async fn handle(
    request: RequestContext,
    resource: Resource,
    target: Target,
    text: &str,
) -> Result<Response> {
    let invalid = || {
        Error::new(Code::HeaderInvalid)
            .with("Content-Range")
            .with(text)
    };
    // The whole is checked before each of its parts.
    let checked = file::check_put(&resource, target).await?;
    let range = UploadRange::parse(text).ok_or_else(invalid)?;
    let max = resource.unit.settings().dav.file_max_bytes;
    if let Some(max) = max.filter(|max| range.total() > *max) {
        return Err(Error::new(Code::BodyTooLarge).with(max.to_string()));
    }
    let all = list_parts(&resource).await?;
    let named = request.header(UPLOAD.as_str()).map(str::to_owned);
    let upload = match range.is_first() {
        true => {
            // The upload begins anew.
            remove_parts(&resource, &all).await?;
            Some(resource.unit.random().uuid().simple().to_string())
        }
        false => upload_of(range, named, &all)?,
    };
    let mut parts = match range.is_first() {
        true => Vec::new(),
        false => following(all, upload.as_deref()),
    };
    if parts.iter().any(|part| part.total != range.total()) {
        return Err(invalid());
    }
    let received = end_of(&parts);
    let headers = FileHeaders {
        media_type: request.header("content-type").map(str::to_owned),
        content_encoding: request.content_encoding()?,
    };
    if let (UploadRange::Part { first, last, total }, Some(upload)) = (range, &upload) {
        if first != received {
            return Err(Code::RangeUnsatisfiable.into());
        }
        let left = checked.quota_left(&resource, total - first).await?;
        if left.is_some_and(|left| total - first > left) {
            return Err(Error::new(Code::OverQuota).with("The quota"));
        }
        let name = snapshot_name(&resource);
        let name = format!("{name}{PART}{upload}-{first}-{total}");
        let part = part_of(&resource, &name);
        let target = part.locate().await?;
        let length = last - first + 1;
        put::store(request, &part, target, Some(length))
            .await
            .map_err(|error| match error.code() {
                Code::HeaderInvalid => invalid(),
                _ => error,
            })?;
        parts = following(list_parts(&resource).await?, Some(upload));
    } else {
        let announced = request.announced_length();
        if announced > 0 {
            return Err(invalid());
        }
    }
    let received = end_of(&parts);
    if received < range.total() || parts.is_empty() {
        let answer = response::status(StatusCode::ACCEPTED);
        let answer = match upload {
            Some(upload) => answer.with_header(UPLOAD.clone(), &upload),
            None => answer,
        };
        return Ok(match received.checked_sub(1) {
            Some(last) => answer.with_header(header::RANGE, &format!("bytes=0-{last}")),
            None => answer,
        });
    }
    if received != range.total() {
        return Err(invalid());
    }
    let stored = assemble(&resource, &parts, headers).await?;
    let removed = async { remove_parts(&resource, &list_parts(&resource).await?).await };
    if let Err(error) = removed.await {
        tracing::warn!(
            cell.id = %resource.context.cell().id,
            error = %chain(&error),
            "failed to remove the parts of an upload that has ended"
        );
    }
    Ok(put::answer(&stored))
}

/// The upload that a request goes on with, or asks for: the one that it names. A question need not name one if there is only one.
///
/// # Errors
/// [`Code::HeaderInvalid`] for a part that names none, or what is no id.
fn upload_of(
    range: UploadRange,
    named: Option<String>,
    parts: &[StoredPart],
) -> Result<Option<String>> {
    let invalid = |text: &str| {
        Error::new(Code::HeaderInvalid)
            .with(UPLOAD.as_str())
            .with(text)
    };
    if let Some(named) = named {
        return match is_upload(&named) {
            true => Ok(Some(named)),
            false => Err(invalid(&named)),
        };
    }
    if let UploadRange::Part { .. } = range {
        return Err(invalid(""));
    }
    let first = parts.iter().filter(|part| part.first == 0);
    let mut uploads = first.filter_map(|part| part.upload.clone());
    let only = uploads.next();
    Ok(only.filter(|_| uploads.next().is_none()))
}

/// Whether a text is the id of an upload.
fn is_upload(text: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == UPLOAD_DIGITS && text.bytes().all(is_digit)
}

/// The upload, the begin and the total in the end of the name of a part.
fn numbers_of_part(text: &str) -> Option<(Option<String>, u64, u64)> {
    let (rest, total) = text.rsplit_once('-')?;
    let (upload, first) = match rest.split_once('-') {
        Some((upload, first)) => (Some(upload), first),
        None => (None, rest),
    };
    if upload.is_some_and(|upload| !is_upload(upload)) {
        return None;
    }
    Some((upload.map(str::to_owned), number(first)?, number(total)?))
}

fn snapshot_name(resource: &Resource) -> &str {
    resource.segments.last().map_or("", String::as_str)
}

/// A file beside the snapshot, which must not exist when it is stored.
fn part_of(resource: &Resource, name: &str) -> Resource {
    let conditions = Preconditions::parse(&ConditionHeaders {
        if_match: None,
        if_none_match: Some("*"),
        if_modified_since: None,
        if_unmodified_since: None,
        if_header: None,
    });
    Resource {
        segments: vec![name.to_owned()],
        conditions,
        ..resource.clone()
    }
}

/// The stored parts of a snapshot in their order, those of all uploads.
async fn list_parts(resource: &Resource) -> Result<Vec<StoredPart>> {
    let prefix = format!("{}{PART}", snapshot_name(resource));
    let records = resource.unit.cell_records(&resource.context.cell().id);
    let mut members = Members::of_collection(records, &keys::SNAPSHOT_FOLDER);
    let mut parts = Vec::new();
    while !members.is_finished() {
        for member in members.next_page().await? {
            let numbers = member.name.strip_prefix(&prefix);
            let numbers = numbers.and_then(numbers_of_part);
            if let (Some((upload, first, total)), Some(body), NodeKind::File) =
                (numbers, member.node.file, member.node.kind)
            {
                parts.push(StoredPart {
                    name: member.name,
                    upload,
                    first,
                    total,
                    body,
                });
            }
        }
    }
    parts.sort_by_key(|part| part.first);
    Ok(parts)
}

/// The parts of an upload without a gap from the begin on.
fn following(mut parts: Vec<StoredPart>, upload: Option<&str>) -> Vec<StoredPart> {
    parts.retain(|part| upload.is_some() && part.upload.as_deref() == upload);
    let mut end = 0_u64;
    let following = parts.iter().take_while(|part| {
        let follows = part.first == end;
        end = end.saturating_add(part.body.length);
        follows
    });
    let count = following.count();
    parts.truncate(count);
    parts
}

/// How many bytes parts without a gap have.
fn end_of(parts: &[StoredPart]) -> u64 {
    let last = parts.last();
    last.map_or(0, |part| part.first.saturating_add(part.body.length))
}

/// Puts the parts together.
async fn assemble(
    resource: &Resource,
    parts: &[StoredPart],
    headers: FileHeaders,
) -> Result<PutResult> {
    // The parts count until they are removed, so the quota was judged by them.
    let resource = &Resource {
        context: resource.context.without_limit(),
        ..resource.clone()
    };
    let checked = file::check_put(resource, resource.locate().await?).await?;
    let records = resource.unit.cell_records(&resource.context.cell().id);
    let mut upload = Upload::new(&resource.unit, resource);
    for part in parts {
        let opened = file::open_body(&resource.unit, &records, &part.body).await?;
        let mut content = opened.ok_or(Code::DavContent)?;
        let mut at = 0;
        while let Some(chunk) = content.chunk_at(at).await? {
            at += chunk.len() as u64;
            upload.write(chunk).await?;
        }
    }
    let received = upload.finish(headers).await?;
    file::put(resource, checked, received).await
}

async fn remove_parts(resource: &Resource, parts: &[StoredPart]) -> Result<()> {
    for part in parts {
        let part = Resource {
            conditions: Preconditions::default(),
            ..part_of(resource, &part.name)
        };
        match file::remove(&part).await {
            Err(error) if error.code() == Code::NoSuchResource => {}
            removed => removed?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{UploadRange, numbers_of_part};

    #[test]
    fn names_of_parts_have_upload_begin_and_total() {
        let id = "0123456789abcdef0123456789abcdef";
        let with = |rest: &str| numbers_of_part(&format!("{id}-{rest}"));
        assert_eq!(with("5-10"), Some((Some(id.to_owned()), 5, 10)));
        // Of a version without ids.
        assert_eq!(numbers_of_part("5-10"), Some((None, 5, 10)));
        for other in [with("5"), with("-10"), with("a-10"), with("5-6-10")] {
            assert_eq!(other, None);
        }
        for other in [
            "",
            "-",
            "10",
            "0123456789ABCDEF0123456789ABCDEF-5-10",
            "0123-5-10",
        ] {
            assert_eq!(numbers_of_part(other), None, "{other}");
        }
    }

    #[test]
    fn ranges_of_parts_have_begin_end_and_total() {
        let part = |first, last, total| Some(UploadRange::Part { first, last, total });
        for (text, range) in [
            ("bytes 0-0/1", part(0, 0, 1)),
            ("bytes 5-9/10", part(5, 9, 10)),
            ("bytes */10", Some(UploadRange::State { total: 10 })),
            ("bytes 5-9/*", None),
            ("bytes */*", None),
            ("bytes 5-4/10", None),
            ("bytes 5-10/10", None),
            ("bytes 0-0/0", None),
            ("bytes -5/10", None),
            ("bytes 5-/10", None),
            ("bytes +5-9/10", None),
            ("bytes 0-9", None),
            ("bytes=0-9/10", None),
            ("items 0-9/10", None),
            ("bytes 0-99999999999999999999/100000000000000000000", None),
            ("", None),
        ] {
            assert_eq!(UploadRange::parse(text), range, "{text}");
        }
    }
}
