//! Lists of entity tags (RFC 9110, sections 8.8.3, 13.1.1 and 13.1.2).

use super::{ResourceState, TagForm};
use crate::etag::ETag;

/// An entity tag as a client sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SentTag {
    is_weak: bool,
    /// The text between the quotes.
    opaque: String,
}

/// The value of `If-Match` or `If-None-Match`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TagList {
    /// `*`
    Any,
    /// One or more tags.
    Tags(Vec<SentTag>),
    /// Neither.
    Malformed,
}

impl SentTag {
    /// Reads a tag from the start of a text; returns it with the rest of the text.
    pub(super) fn read(text: &str) -> Option<(Self, &str)> {
        let (is_weak, quoted) = match text.strip_prefix("W/") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (opaque, rest) = quoted.strip_prefix('"')?.split_once('"')?;
        let is_valid = opaque.chars().all(|c| c > ' ' && c != '\u{7f}');
        is_valid.then(|| {
            let opaque = opaque.to_owned();
            (Self { is_weak, opaque }, rest)
        })
    }

    fn is_same_state(&self, tag: ETag) -> bool {
        self.opaque == format!("{}-{}", tag.version, tag.updated_ms)
    }

    /// Whether this is the tag of a state, for a condition that protects it from changes.
    pub(super) fn protects(&self, state: ResourceState) -> bool {
        state.tag().is_some_and(|(tag, form)| {
            (self.is_weak || form == TagForm::Strong) && self.is_same_state(tag)
        })
    }
}

impl TagList {
    pub(super) fn parse(text: &str) -> Self {
        if trim(text) == "*" {
            return Self::Any;
        }
        match read_tags(text) {
            Some(tags) if !tags.is_empty() => Self::Tags(tags),
            _ => Self::Malformed,
        }
    }

    /// Whether this value of `If-Match` is true.
    pub(super) fn allows(&self, state: ResourceState) -> bool {
        match self {
            Self::Any => true,
            Self::Tags(tags) => tags.iter().any(|tag| tag.protects(state)),
            Self::Malformed => false,
        }
    }

    /// Whether this value of `If-None-Match` is false for a write.
    pub(super) fn excludes(&self, state: ResourceState) -> bool {
        match self {
            Self::Any => state != ResourceState::Absent,
            Self::Tags(_) => self.names_tag_of(state),
            Self::Malformed => true,
        }
    }

    /// Whether one of the tags is that of the state, in either form.
    pub(super) fn names_tag_of(&self, state: ResourceState) -> bool {
        match (self, state.tag()) {
            (Self::Tags(tags), Some((current, _))) => {
                tags.iter().any(|tag| tag.is_same_state(current))
            }
            _ => false,
        }
    }
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// Reads the tags of a list. Empty elements are allowed (RFC 9110, section 5.6.1.2).
fn read_tags(text: &str) -> Option<Vec<SentTag>> {
    let mut tags = Vec::new();
    let mut rest = trim(text);
    while !rest.is_empty() {
        if let Some(after_comma) = rest.strip_prefix(',') {
            rest = trim(after_comma);
            continue;
        }
        let (tag, after_tag) = SentTag::read(rest)?;
        tags.push(tag);
        rest = trim(after_tag);
        if !rest.is_empty() && !rest.starts_with(',') {
            return None;
        }
    }
    Some(tags)
}
