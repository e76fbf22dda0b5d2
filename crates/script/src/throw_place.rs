//! The place of a `throw` in the texts of a script, for values that have no stack.

/// Name and line of the only `throw` in some texts; `None` if there is another one, or none. Those of new errors of the language count
/// only `with_errors`.
pub(crate) fn only_throw<'a>(
    texts: impl IntoIterator<Item = (&'a str, &'a str)>,
    with_errors: bool,
) -> Option<(&'a str, usize)> {
    let mut found = None;
    for (name, text) in texts {
        for (line, number) in text.lines().zip(1..) {
            let count = throws(line, with_errors);
            if count > 1 || (count == 1 && found.replace((name, number)).is_some()) {
                return None;
            }
        }
    }
    found
}

/// The number of `throw` in a line.
fn throws(line: &str, with_errors: bool) -> usize {
    // The slashes of a URL are no comment.
    let comment = line.match_indices("//");
    let mut comment =
        comment.filter(|(at, _)| !line.get(..*at).is_some_and(|code| code.ends_with(':')));
    let code = comment
        .next()
        .and_then(|(at, _)| line.get(..at))
        .unwrap_or(line);
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '.');
    let counts = |(at, word): (usize, &str)| {
        let before = code.get(..at).unwrap_or_default();
        let after = code.get(at + word.len()..).unwrap_or_default();
        let is_word = !before.ends_with(is_part) && !after.starts_with(is_part);
        let is_error = after
            .trim_start()
            .strip_prefix("new ")
            .is_some_and(|class| {
                let end = class.find(|c: char| !is_part(c)).unwrap_or(class.len());
                class.get(..end).is_some_and(|name| name.ends_with("Error"))
            });
        is_word && (with_errors || !is_error)
    };
    code.match_indices("throw")
        .filter(|found| counts(*found))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_throw_of_a_script_is_found() {
        for (text, with_errors, line) in [
            ("a\nthrow 'x';", false, Some(2)),
            ("throw new Error('a');\n  throw {a: 1};", false, Some(2)),
            ("throw new Error('a');\nthrow e;", true, None),
            ("\n\nthrow new MyError('a')", true, Some(3)),
            ("throw 1; throw 2;", false, None),
            (
                "x.throw(1); rethrow(); throws; // throw\nif (a) throw(5)",
                false,
                Some(2),
            ),
            ("throw 1\nthrow 2", false, None),
            ("get('http://x'); throw a;\nthrow b", false, None),
            ("", false, None),
        ] {
            let found = only_throw([("t", text)], with_errors);
            assert_eq!(found.map(|(_, line)| line), line, "{text}");
        }
        let texts = [("t", "f();"), ("m.js", "\nthrow 1")];
        assert_eq!(only_throw(texts, false), Some(("m.js", 2)));
    }
}
