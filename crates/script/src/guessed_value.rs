//! The values that expressions of a script have as far as its text tells: the messages of Rhino show them.

use crate::source_tokens::{SourceTokenKind, SourceTokens};

/// The deepest expression that is looked into.
const DEPTH_MAX: u32 = 8;

/// The longest text of a value in a message, in bytes.
const TEXT_MAX_BYTES: usize = 1 << 10;

/// The most uses of a variable that are looked at.
const USES_MAX: usize = 200;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum GuessedValue {
    Undefined,
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    /// An object whose text this is. The token is the brace of its literal.
    Object(String, Option<usize>),
    /// A function, with the text that messages have for it.
    Function(String),
}

impl GuessedValue {
    /// The value as a text.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Undefined => "undefined".to_owned(),
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Number(value) => value.to_string(),
            Self::Text(text) | Self::Object(text, _) | Self::Function(text) => text.clone(),
        }
    }

    /// The value as an object of Java, which the message about a value that is called has.
    pub(crate) fn shown_by_java(&self) -> String {
        match self {
            Self::Undefined => "org.mozilla.javascript.Undefined@0".to_owned(),
            Self::Number(value) if value.fract() == 0.0 => format!("{value}.0"),
            value => value.shown(),
        }
    }

    /// The result of `typeof`.
    pub(crate) const fn type_name(&self) -> &'static str {
        match self {
            Self::Undefined => "undefined",
            Self::Null | Self::Object(..) => "object",
            Self::Bool(_) => "boolean",
            Self::Number(_) => "number",
            Self::Text(_) => "string",
            Self::Function(_) => "function",
        }
    }

    /// An object about which nothing is known.
    pub(crate) fn some_object() -> Self {
        Self::Object("[object Object]".to_owned(), None)
    }
}

/// The value of the expression of some tokens; `None` if it is not known.
pub(crate) fn value_of(source: &SourceTokens, first: usize, last: usize) -> Option<GuessedValue> {
    value_within(source, first, last, 0).filter(|value| value.shown().len() <= TEXT_MAX_BYTES)
}

fn value_within(
    source: &SourceTokens,
    first: usize,
    last: usize,
    depth: u32,
) -> Option<GuessedValue> {
    if depth > DEPTH_MAX || first > last || !source.spend(1) {
        return None;
    }
    if first == last {
        return single(source, first, depth);
    }
    if source.is_mark(first, "-") && last == first + 1 {
        let number = single(source, last, depth)?;
        return match number {
            GuessedValue::Number(value) => Some(GuessedValue::Number(-value)),
            _ => None,
        };
    }
    if source.is_word(first, "function") {
        return (source.pair(last) != last).then(|| function(source, first));
    }
    if source.is_word(first, "new") && source.is_word(first + 1, "Object") {
        return Some(GuessedValue::some_object());
    }
    if source.pair(first) == last {
        return match source.text(first) {
            "(" => value_within(source, first + 1, last - 1, depth + 1),
            "{" => Some(GuessedValue::Object(
                "[object Object]".to_owned(),
                Some(first),
            )),
            "[" => array(source, first, last, depth),
            _ => None,
        };
    }
    // A member of an object that is known.
    if source.kind(last) == Some(SourceTokenKind::Word) && source.is_mark(last - 1, ".") {
        let object = value_within(source, first, last.checked_sub(2)?, depth + 1)?;
        return member(source, &object, source.text(last), depth);
    }
    sum(source, first, last, depth)
}

/// Texts and numbers that are added.
fn sum(source: &SourceTokens, first: usize, last: usize, depth: u32) -> Option<GuessedValue> {
    let plus = (first..last).rev().find(|at| source.is_mark(*at, "+"))?;
    let left = value_within(source, first, plus.checked_sub(1)?, depth + 1)?;
    let right = value_within(source, plus + 1, last, depth + 1)?;
    match (left, right) {
        (GuessedValue::Number(a), GuessedValue::Number(b)) => Some(GuessedValue::Number(a + b)),
        (left @ GuessedValue::Text(_), right) | (left, right @ GuessedValue::Text(_)) => {
            let text = left.shown() + &right.shown();
            (text.len() <= TEXT_MAX_BYTES).then_some(GuessedValue::Text(text))
        }
        _ => None,
    }
}

fn single(source: &SourceTokens, index: usize, depth: u32) -> Option<GuessedValue> {
    let text = source.text(index);
    match source.kind(index)? {
        SourceTokenKind::Text => literal(text).map(GuessedValue::Text),
        SourceTokenKind::Number => text.parse().ok().map(GuessedValue::Number),
        SourceTokenKind::Regex => Some(GuessedValue::Object(text.to_owned(), None)),
        SourceTokenKind::Word => match text {
            "undefined" => Some(GuessedValue::Undefined),
            "null" => Some(GuessedValue::Null),
            "true" | "false" => Some(GuessedValue::Bool(text == "true")),
            "Math" | "JSON" => Some(GuessedValue::Object(format!("[object {text}]"), None)),
            name => variable(source, name, depth),
        },
        _ => None,
    }
}

/// The text of a literal without uncommon escapes.
fn literal(token: &str) -> Option<String> {
    let inner = token.get(1..token.len().checked_sub(1)?)?;
    let mut text = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        text.push(match c {
            '\\' => match chars.next()? {
                'n' => '\n',
                't' => '\t',
                quote @ ('\'' | '"' | '\\' | '/') => quote,
                _ => return None,
            },
            c => c,
        });
    }
    Some(text)
}

fn array(source: &SourceTokens, first: usize, last: usize, depth: u32) -> Option<GuessedValue> {
    let mut shown = String::new();
    for (number, (from, to)) in items(source, first, last).enumerate() {
        if number > 0 {
            shown.push(',');
        }
        match value_within(source, from, to, depth + 1)? {
            GuessedValue::Undefined | GuessedValue::Null => {}
            value => shown.push_str(&value.shown()),
        }
        if shown.len() > TEXT_MAX_BYTES {
            return None;
        }
    }
    Some(GuessedValue::Object(shown, None))
}

/// The first and the last token of what is between the commas in brackets.
pub(crate) fn items(
    source: &SourceTokens,
    open: usize,
    close: usize,
) -> impl Iterator<Item = (usize, usize)> + '_ {
    let mut at = open + 1;
    std::iter::from_fn(move || {
        if at >= close {
            return None;
        }
        let first = at;
        while at < close && !source.is_mark(at, ",") {
            at = source.pair(at).max(at) + 1;
        }
        let last = at.saturating_sub(1);
        at += 1;
        Some((first, last))
    })
}

/// The member of an object; `None` if it is not known, undefined if there is none.
pub(crate) fn member(
    source: &SourceTokens,
    object: &GuessedValue,
    name: &str,
    depth: u32,
) -> Option<GuessedValue> {
    let GuessedValue::Object(_, Some(open)) = object else {
        return None;
    };
    let close = source.pair(*open);
    for (first, last) in items(source, *open, close) {
        let key = source.text(first);
        let key = key.trim_matches(|c| c == '\'' || c == '"');
        if key == name {
            return match source.is_mark(first + 1, ":") {
                true => value_within(source, first + 2, last, depth + 1),
                false => None,
            };
        }
    }
    Some(GuessedValue::Undefined)
}

/// The value of a variable that gets one at most once.
fn variable(source: &SourceTokens, name: &str, depth: u32) -> Option<GuessedValue> {
    if !source.spend(source.len()) {
        return None;
    }
    let mut found = None;
    for (number, at) in source.words(name).enumerate() {
        if number > USES_MAX {
            return None;
        }
        let before = at.checked_sub(1)?;
        if source.is_mark(before, ".") || source.is_mark(at + 1, ":") {
            continue;
        }
        let is_declared = ["var", "let", "const"]
            .iter()
            .any(|word| source.is_word(before, word))
            || is_in_list_of_var(source, at);
        let next = source.text(at + 1);
        let value = match next {
            _ if source.is_word(before, "function") => Some(function(source, before)),
            "=" => value_within(source, at + 2, end_of_value(source, at + 2)?, depth + 1),
            "++" | "--" => None,
            "==" | "!=" | "===" | "!==" | "<=" | ">=" if !is_declared => continue,
            _ if next.len() > 1 && next.ends_with('=') => None,
            _ if is_declared => Some(GuessedValue::Undefined),
            _ if is_parameter(source, at) => None,
            _ => continue,
        };
        if found.replace(value).is_some() {
            return None;
        }
    }
    found.flatten()
}

/// Whether a name is declared after another one in a statement.
fn is_in_list_of_var(source: &SourceTokens, at: usize) -> bool {
    let mut before = at;
    for _ in 0..USES_MAX {
        let Some(token) = before.checked_sub(1) else {
            return false;
        };
        match source.text(token) {
            "var" | "let" | "const" => return source.is_mark(at - 1, ","),
            ";" | "{" | "(" | "[" => return false,
            ")" | "]" | "}" => before = source.pair(token).min(token),
            _ => before = token,
        }
    }
    false
}

/// Whether a name is one of the parameters of a function.
fn is_parameter(source: &SourceTokens, at: usize) -> bool {
    source.brackets_around(at).next().is_some_and(|open| {
        let before = |back: usize| open.checked_sub(back).unwrap_or(usize::MAX);
        source.is_mark(open, "(")
            && (source.is_word(before(1), "function")
                || source.is_word(before(2), "function")
                || source.is_word(before(1), "catch")
                || source.is_mark(source.pair(open) + 1, "=>"))
    })
}

/// The last token of a value that something gets.
pub(crate) fn end_of_value(source: &SourceTokens, first: usize) -> Option<usize> {
    let mut at = first;
    while at < source.len() {
        match source.text(at) {
            ";" | "," | ")" | "]" | "}" => break,
            _ => at = source.pair(at).max(at) + 1,
        }
    }
    at.checked_sub(1).filter(|last| *last >= first)
}

/// A function, as messages show it.
fn function(source: &SourceTokens, at: usize) -> GuessedValue {
    let open = (at..at + 3).find(|at| source.is_mark(*at, "("));
    let Some(open) = open else {
        return GuessedValue::Function(String::new());
    };
    let name = match open - at {
        2 => source.text(at + 1),
        _ => "",
    };
    let names: Vec<_> = items(source, open, source.pair(open))
        .map(|(first, _)| source.text(first))
        .collect();
    GuessedValue::Function(format!("\nfunction {name}({}) {{...}}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Option<String> {
        let source = SourceTokens::new(format!("{text};")).unwrap();
        source.begin_message();
        let last = source.len() - 2;
        let first = (0..last).rev().find(|at| source.is_mark(*at, ";"));
        value_of(&source, first.map_or(0, |at| at + 1), last).map(|value| value.shown())
    }

    #[test]
    fn values_of_literals_and_of_variables_are_known() {
        for (text, value) in [
            ("'a\\'b'", Some("a'b")),
            ("5", Some("5")),
            ("-1.5", Some("-1.5")),
            ("null", Some("null")),
            ("[1, 'a', null, [true]]", Some("1,a,,true")),
            ("({a: 1})", Some("[object Object]")),
            ("({a: 1}).a", Some("1")),
            ("({a: 1}).b", Some("undefined")),
            ("var a = 'x'; a", Some("x")),
            ("var a; a", Some("undefined")),
            ("var b = 1, a; a", Some("undefined")),
            ("var a = 1; a = 2; a", None),
            ("var a = 1; a += 2; a", None),
            ("var a = 1; if (a == 2) b(); a", Some("1")),
            ("function f(a) {} a", None),
            ("var o = {a: {b: 'c'}}; o.a.b", Some("c")),
            ("'a' + 1 + 'b'", Some("a1b")),
            ("1 + 2", Some("3")),
            ("/x/g", Some("/x/g")),
            ("Math", Some("[object Math]")),
            (
                "function f(a, b) { return 1; } ; f",
                Some("\nfunction f(a, b) {...}"),
            ),
            ("var f = function (a) { }; f", Some("\nfunction (a) {...}")),
            ("unknown", None),
            ("g(1)", None),
            ("g(1).b", None),
        ] {
            assert_eq!(shown(text).as_deref(), value, "{text}");
        }
        let deep = "[".repeat(2000) + &"]".repeat(2000);
        assert_eq!(shown(&deep), None);
        let circle = "var a = b; var b = a; a";
        assert_eq!(shown(circle), None);
    }
}
