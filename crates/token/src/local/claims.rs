//! The binary form of the claims of a local token.
//!
//! It consists of a version byte, two big-endian `i64` (issue time, lifespan), texts and lists. The length of a text or list
//! precedes it as big-endian `u32`. An optional part begins with 0 or 1. Kind and issuer are not part of it: they are
//! additional authenticated data.

use std::collections::BTreeMap;

use super::token::{AssertionOrigin, LocalKind, LocalToken};

/// The version of the layout. Other versions are refused.
const VERSION: u8 = 1;

pub(super) fn encode(token: &LocalToken) -> Vec<u8> {
    let mut out = ClaimsWriter(Vec::with_capacity(256));
    out.0.push(VERSION);
    out.0.extend_from_slice(&token.issued_at_ms.to_be_bytes());
    out.0.extend_from_slice(&token.lifespan_ms.to_be_bytes());
    out.text(&token.subject);
    match &token.schema {
        Some(schema) => {
            out.0.push(1);
            out.text(schema);
        }
        None => out.0.push(0),
    }
    out.list(&token.scopes);
    out.list(&token.roles);
    match &token.origin {
        Some(origin) => {
            out.0.push(1);
            out.text(&origin.issuer);
            out.text(&origin.assertion_id);
        }
        None => out.0.push(0),
    }
    out.number(token.extra.len());
    for (name, value) in &token.extra {
        out.text(name);
        out.text(value);
    }
    out.0
}

pub(super) fn decode(kind: LocalKind, issuer: &str, bytes: &[u8]) -> Option<LocalToken> {
    let mut from = ClaimsReader(bytes);
    if from.byte()? != VERSION {
        return None;
    }
    let token = LocalToken {
        kind,
        issued_at_ms: from.time()?,
        lifespan_ms: from.time()?,
        subject: from.text()?,
        schema: match from.byte()? {
            0 => None,
            1 => Some(from.text()?),
            _ => return None,
        },
        scopes: from.list()?,
        issuer: issuer.to_owned(),
        roles: from.list()?,
        origin: match from.byte()? {
            0 => None,
            1 => Some(AssertionOrigin {
                issuer: from.text()?,
                assertion_id: from.text()?,
            }),
            _ => return None,
        },
        extra: {
            let mut extra = BTreeMap::new();
            for _ in 0..from.number()? {
                let name = from.text()?;
                if extra.insert(name, from.text()?).is_some() {
                    return None;
                }
            }
            extra
        },
    };
    from.0.is_empty().then_some(token)
}

/// Appends values to a buffer.
pub(super) struct ClaimsWriter(pub(super) Vec<u8>);

impl ClaimsWriter {
    /// A length above `u32::MAX` is written as `u32::MAX`. The caller refuses such a token because of its size.
    fn number(&mut self, value: usize) {
        let value = u32::try_from(value).unwrap_or(u32::MAX);
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn text(&mut self, text: &str) {
        self.number(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }

    fn list(&mut self, list: &[String]) {
        self.number(list.len());
        for text in list {
            self.text(text);
        }
    }
}

/// Takes values from the front of a buffer. All functions return `None` if the buffer is too short or invalid.
pub(super) struct ClaimsReader<'a>(pub(super) &'a [u8]);

impl<'a> ClaimsReader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn time(&mut self) -> Option<i64> {
        Some(i64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }

    fn number(&mut self) -> Option<usize> {
        usize::try_from(u32::from_be_bytes(self.take(4)?.try_into().ok()?)).ok()
    }

    pub(super) fn text(&mut self) -> Option<String> {
        let length = self.number()?;
        String::from_utf8(self.take(length)?.to_vec()).ok()
    }

    fn list(&mut self) -> Option<Vec<String>> {
        let count = self.number()?;
        // Each text takes at least the four bytes of its length, which limits the capacity for a wrong count.
        let mut list = Vec::with_capacity(count.min(self.0.len() / 4));
        for _ in 0..count {
            list.push(self.text()?);
        }
        Some(list)
    }
}
