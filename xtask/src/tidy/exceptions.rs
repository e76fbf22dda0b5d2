//! The list of exceptions, `xtask/tidy-exceptions.txt`: it may only shrink, in entries and in numbers.

use std::collections::BTreeMap;

use crate::workspace;

/// The path of the list.
pub(super) const LIST: &str = "xtask/tidy-exceptions.txt";

/// Exceptions of one kind of rule: a subject and the number that it may reach.
pub(super) type Exceptions = BTreeMap<String, usize>;

/// Reads the exceptions of one kind. A line of the list is `KIND SUBJECT NUMBER`; the subject may contain spaces.
pub(super) fn of_kind(kind: &str) -> Exceptions {
    parse(&std::fs::read_to_string(LIST).unwrap_or_default())
        .into_iter()
        .filter_map(|(key, number)| {
            let subject = key.strip_prefix(kind)?.strip_prefix(' ')?;
            Some((subject.to_owned(), number))
        })
        .collect()
}

/// Returns one finding for each exception that is new or has grown since the commit before the newest one.
pub(super) fn findings() -> Vec<String> {
    let now = parse(&std::fs::read_to_string(LIST).unwrap_or_default());
    workspace::text_before(LIST).map_or_else(Vec::new, |before| grown(&parse(&before), &now))
}

/// Returns one finding for each exception of a kind whose subject no longer needs it.
pub(super) fn unneeded(kind: &str, allowed: &Exceptions, needed: &[String]) -> Vec<String> {
    allowed
        .keys()
        .filter(|subject| !needed.contains(subject))
        .map(|subject| format!("{LIST}: `{kind} {subject}` is no longer needed"))
        .collect()
}

fn parse(text: &str) -> Exceptions {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let (subject, number) = line.trim().rsplit_once(' ')?;
            Some((subject.trim().to_owned(), number.parse().ok()?))
        })
        .collect()
}

fn grown(before: &Exceptions, now: &Exceptions) -> Vec<String> {
    now.iter()
        .filter(|(subject, number)| before.get(*subject).is_none_or(|earlier| *number > earlier))
        .map(|(subject, _)| format!("{LIST}: the exception `{subject}` is new or has grown"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_and_grown_exceptions_are_reported() {
        let before = parse("# why\nsize a.rs 900\nsize b.rs 850\n");
        assert!(grown(&before, &parse("size a.rs 880\n")).is_empty());
        let now = parse("size a.rs 901\nsize c.rs 850\n");
        assert_eq!(grown(&before, &now).len(), 2);
    }

    #[test]
    fn unneeded_exceptions_are_reported() {
        let allowed = Exceptions::from([("a.rs".to_owned(), 900), ("b.rs".to_owned(), 900)]);
        let found = unneeded("size", &allowed, &["a.rs".to_owned()]);
        assert_eq!(found.len(), 1, "{found:?}");
    }
}
