//! The `If` header (RFC 4918, section 10.4).

use super::ResourceState;
use super::tag_list::SentTag;

/// The largest number of conditions in a header. A header with more is taken for malformed.
const CONDITIONS_MAX: usize = 256;

/// The value of an `If` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum IfHeader {
    /// It is true if one of the lists is.
    Lists(Vec<ConditionList>),
    /// It is false.
    Malformed,
}

/// Conditions that are true together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConditionList {
    /// The URL of the resource; `None` for the target of the request.
    url: Option<String>,
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Condition {
    is_negated: bool,
    matcher: Matcher,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Matcher {
    Tag(SentTag),
    /// A state token. There are no locks, so no resource has one; neither has any `DAV:no-lock`.
    StateToken,
}

impl IfHeader {
    pub(super) fn parse(text: &str) -> Self {
        match read_lists(text) {
            Some(lists) if !lists.is_empty() => Self::Lists(lists),
            _ => Self::Malformed,
        }
    }

    /// Removes the lists of other resources. Without any list the header is false.
    pub(super) fn keep_lists_of(&mut self, is_target: impl Fn(&str) -> bool) {
        if let Self::Lists(lists) = self {
            lists.retain_mut(|list| match &list.url {
                None => true,
                Some(url) if is_target(url) => {
                    list.url = None;
                    true
                }
                Some(_) => false,
            });
        }
    }

    /// Whether the header is true. Lists of other resources are false, because their state is not known.
    pub(super) fn is_true(&self, state: ResourceState) -> bool {
        match self {
            Self::Lists(lists) => lists.iter().any(|list| list.is_true(state)),
            Self::Malformed => false,
        }
    }
}

impl ConditionList {
    fn is_true(&self, state: ResourceState) -> bool {
        self.url.is_none() && self.conditions.iter().all(|c| c.is_true(state))
    }
}

impl Condition {
    fn is_true(&self, state: ResourceState) -> bool {
        let matches = match &self.matcher {
            Matcher::Tag(tag) => tag.protects(state),
            Matcher::StateToken => false,
        };
        matches != self.is_negated
    }
}

fn trim_start(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

/// Reads all lists. Either none of them or all are tagged (`If = 1*No-tag-list | 1*Tagged-list`).
fn read_lists(text: &str) -> Option<Vec<ConditionList>> {
    let mut lists = Vec::new();
    let mut count = 0;
    let mut url = None;
    let mut rest = trim_start(text);
    while !rest.is_empty() {
        if let Some(tag) = rest.strip_prefix('<') {
            let is_first = lists.is_empty() && url.is_none();
            let follows_list = url.is_some() && !lists.is_empty();
            let (resource, after) = tag.split_once('>')?;
            if resource.is_empty() || !(is_first || follows_list) {
                return None;
            }
            url = Some(resource.to_owned());
            rest = trim_start(after);
        }
        let (conditions, after) = read_list(rest.strip_prefix('(')?)?;
        count += conditions.len();
        if count > CONDITIONS_MAX {
            return None;
        }
        lists.push(ConditionList {
            url: url.clone(),
            conditions,
        });
        rest = trim_start(after);
    }
    Some(lists)
}

/// Reads the conditions of a list up to its closing parenthesis; returns them with the rest of the text.
fn read_list(text: &str) -> Option<(Vec<Condition>, &str)> {
    let mut conditions = Vec::new();
    let mut rest = trim_start(text);
    loop {
        if let Some(after) = rest.strip_prefix(')') {
            return (!conditions.is_empty()).then_some((conditions, after));
        }
        let (condition, after) = read_condition(rest)?;
        conditions.push(condition);
        rest = trim_start(after);
    }
}

fn read_condition(text: &str) -> Option<(Condition, &str)> {
    let negated = text
        .get(..3)
        .filter(|word| word.eq_ignore_ascii_case("not"))
        .and_then(|_| text.get(3..));
    let (is_negated, text) = match negated {
        Some(rest) => (true, trim_start(rest)),
        None => (false, text),
    };
    let (matcher, rest) = if let Some(tag) = text.strip_prefix('[') {
        let (tag, rest) = SentTag::read(tag)?;
        (Matcher::Tag(tag), rest.strip_prefix(']')?)
    } else {
        let (token, rest) = text.strip_prefix('<')?.split_once('>')?;
        if token.is_empty() {
            return None;
        }
        (Matcher::StateToken, rest)
    };
    let condition = Condition {
        is_negated,
        matcher,
    };
    Some((condition, rest))
}
