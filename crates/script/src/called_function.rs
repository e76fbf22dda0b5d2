//! The function that a script tried to call, from the place of the error that it is none.

use crate::guessed_value::{GuessedValue, member, value_of};
use crate::source_tokens::{SourceTokenKind, SourceTokens};

/// The most calls around a place that are looked at.
const CALLS_MAX: usize = 16;

/// Words before brackets that are no function.
const NO_FUNCTIONS: [&str; 17] = [
    "if",
    "while",
    "for",
    "switch",
    "catch",
    "with",
    "return",
    "typeof",
    "in",
    "of",
    "case",
    "throw",
    "delete",
    "void",
    "instanceof",
    "else",
    "do",
];

/// Functions that exist, which are called in the arguments of others.
const KNOWN_FUNCTIONS: [&str; 36] = [
    "String",
    "Number",
    "Boolean",
    "Object",
    "Array",
    "Date",
    "RegExp",
    "Error",
    "TypeError",
    "parseInt",
    "parseFloat",
    "isNaN",
    "encodeURIComponent",
    "decodeURIComponent",
    "encodeURI",
    "decodeURI",
    "eval",
    "require",
    "stringify",
    "parse",
    "toString",
    "push",
    "slice",
    "join",
    "map",
    "filter",
    "forEach",
    "keys",
    "indexOf",
    "replace",
    "split",
    "substring",
    "trim",
    "toLowerCase",
    "concat",
    "hasOwnProperty",
];

/// The function that was called.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CalledFunction {
    /// A method: the first and the last token of its object, and its name.
    Method(usize, usize, String),
    /// A variable that Rhino looks up by its name.
    Name(String),
    /// A value, from its first to its last token.
    Value(usize, usize),
}

impl CalledFunction {
    /// The function called at the place of an error: that of its name, of what is before its member, or in its arguments.
    pub(crate) fn at(source: &SourceTokens, place: usize) -> Option<Self> {
        let mut last_found = None;
        // What begins at the place.
        if let Some((first, last)) = callee_from(source, place) {
            if !is_known(source, last) {
                return Some(Self::of(source, first, last));
            }
            last_found = Some((first, last));
        }
        let around = source.brackets_around(place).take(CALLS_MAX);
        for open in around {
            let before = open.checked_sub(1).filter(|last| is_callee(source, *last));
            let close = source.pair(open);
            let last = match source.text(open) {
                "(" => before,
                // In the brackets of a name that is computed.
                "[" if source.is_mark(close + 1, "(") => before.map(|_| close),
                _ => None,
            };
            let Some(last) = last else { continue };
            let first = first_of_chain(source, last);
            if !is_known(source, last) {
                return Some(Self::of(source, first, last));
            }
            last_found = last_found.or(Some((first, last)));
        }
        last_found.map(|(first, last)| Self::of(source, first, last))
    }

    fn of(source: &SourceTokens, first: usize, last: usize) -> Self {
        let is_new = first
            .checked_sub(1)
            .is_some_and(|before| source.is_word(before, "new"));
        if is_new {
            return Self::Value(first, last);
        }
        if first < last {
            if source.is_mark(last - 1, ".") && last >= first + 2 {
                return Self::Method(first, last - 2, source.text(last).to_owned());
            }
            let open = source.pair(last);
            if source.is_mark(last, "]") && open > first {
                let key = value_of(source, open + 1, last - 1).map(|key| key.shown());
                if let Some(key) = key {
                    return Self::Method(first, open - 1, key);
                }
            }
            return Self::Value(first, last);
        }
        let name = source.text(last);
        match source.kind(last) {
            Some(SourceTokenKind::Word) if !is_in_register(source, last, name) => {
                Self::Name(name.to_owned())
            }
            _ => Self::Value(first, last),
        }
    }

    /// The message of Rhino about it.
    pub(crate) fn message(&self, source: &SourceTokens) -> String {
        match self {
            Self::Method(first, last, name) => {
                let object =
                    value_of(source, *first, *last).unwrap_or_else(GuessedValue::some_object);
                let shown = object.shown();
                match member(source, &object, name, 0) {
                    Some(value) if has_member(source, &object, name) => format!(
                        "Cannot call property {name} in object {shown}. It is not a function, it is \"{}\".",
                        value.type_name()
                    ),
                    _ => format!("Cannot find function {name} in object {shown}."),
                }
            }
            Self::Name(name) => {
                let value = source.words(name).next();
                let value = value.and_then(|at| value_of(source, at, at));
                let kind = value.map_or("undefined", |value| value.type_name());
                format!("{name} is not a function, it is {kind}.")
            }
            Self::Value(first, last) => {
                let value = value_of(source, *first, *last);
                not_a_function(&value.unwrap_or(GuessedValue::Undefined))
            }
        }
    }
}

/// The message of Rhino about a value that is called and no function.
pub(crate) fn not_a_function(value: &GuessedValue) -> String {
    let (shown, kind) = (value.shown_by_java(), value.type_name());
    format!("{shown} is not a function, it is {kind}.")
}

fn has_member(source: &SourceTokens, object: &GuessedValue, name: &str) -> bool {
    let GuessedValue::Object(_, Some(open)) = object else {
        return false;
    };
    let close = source.pair(*open);
    crate::guessed_value::items(source, *open, close)
        .any(|(first, _)| source.text(first).trim_matches(|c| c == '\'' || c == '"') == name)
}

/// The first and the last token of what is called, if it begins at a token, or is the member of this name.
fn callee_from(source: &SourceTokens, place: usize) -> Option<(usize, usize)> {
    if source.is_word(place, "function") {
        return None;
    }
    let is_member = place
        .checked_sub(1)
        .is_some_and(|before| source.is_mark(before, "."));
    let first = match is_member {
        true => first_of_chain(source, place),
        false => place,
    };
    let is_new = first
        .checked_sub(1)
        .is_some_and(|before| source.is_word(before, "new"));
    let is_value = matches!(
        source.kind(place)?,
        SourceTokenKind::Word | SourceTokenKind::Text | SourceTokenKind::Number
    ) || matches!(source.text(place), "(" | "[");
    if !is_value || NO_FUNCTIONS.contains(&source.text(place)) {
        return None;
    }
    let mut last = source.pair(place);
    let mut found = None;
    for _ in 0..CALLS_MAX * 4 {
        match source.text(last + 1) {
            "." if source.kind(last + 2) == Some(SourceTokenKind::Word) => last += 2,
            "[" => last = source.pair(last + 1),
            "(" if is_new => return Some((first, last)),
            "(" => {
                found = Some((first, last));
                if !is_known(source, last) {
                    return found;
                }
                last = source.pair(last + 1);
            }
            _ => break,
        }
    }
    match is_new {
        true => Some((first, last)),
        false => found,
    }
}

/// Whether a token before brackets is the end of a function that is called.
fn is_callee(source: &SourceTokens, last: usize) -> bool {
    match source.kind(last) {
        Some(SourceTokenKind::Word) => {
            let is_declared = last
                .checked_sub(1)
                .is_some_and(|before| source.is_word(before, "function"));
            !is_declared
                && !source.is_word(last, "function")
                && !NO_FUNCTIONS.contains(&source.text(last))
        }
        Some(SourceTokenKind::Mark) => matches!(source.text(last), ")" | "]" | "}"),
        _ => false,
    }
}

/// The first token of a chain of members and calls.
fn first_of_chain(source: &SourceTokens, last: usize) -> usize {
    let mut first = last;
    for _ in 0..CALLS_MAX * 16 {
        if matches!(source.text(first), ")" | "]" | "}") {
            first = source.pair(first).min(first);
            let Some(before) = first.checked_sub(1) else {
                return first;
            };
            let is_postfix = !source.is_mark(first, "{") && is_callee(source, before);
            if is_postfix {
                first = before;
                continue;
            }
        }
        match first.checked_sub(2) {
            Some(before) if source.is_mark(first - 1, ".") => first = before,
            _ => return first,
        }
    }
    first
}

/// Whether a function is surely one: one of the language, or one that the text defines.
fn is_known(source: &SourceTokens, last: usize) -> bool {
    let name = source.text(last);
    if source.kind(last) != Some(SourceTokenKind::Word) {
        return false;
    }
    if KNOWN_FUNCTIONS.contains(&name) {
        return true;
    }
    source.spend(source.len())
        && source.words(name).any(|at| {
            let is_declared = at
                .checked_sub(1)
                .is_some_and(|before| source.is_word(before, "function"));
            let gets_function = (source.is_mark(at + 1, "=") || source.is_mark(at + 1, ":"))
                && (source.is_word(at + 2, "function")
                    || source.is_mark(at + 3, "=>")
                    || (source.is_mark(at + 2, "(")
                        && source.is_mark(source.pair(at + 2) + 1, "=>")));
            is_declared || gets_function
        })
}

/// Whether Rhino keeps a variable in a register of its function, not in an object that it looks it up in: it does so in functions
/// that have no function in them, and use neither `eval`, `arguments` nor `with`.
fn is_in_register(source: &SourceTokens, at: usize, name: &str) -> bool {
    let body = source.brackets_around(at).find_map(|open| {
        let parameters = open
            .checked_sub(1)
            .filter(|before| source.is_mark(*before, ")"))?;
        let before = source.pair(parameters).checked_sub(1)?;
        let is_function = source.is_word(before, "function")
            || before
                .checked_sub(1)
                .is_some_and(|before| source.is_word(before, "function"));
        (source.is_mark(open, "{") && is_function).then_some((source.pair(parameters), open))
    });
    let Some((parameters, open)) = body else {
        return false;
    };
    let close = source.pair(open);
    if !source.spend(close.saturating_sub(parameters)) {
        return false;
    }
    if matches!(source.text(open + 1), "'use strict'" | "\"use strict\"") {
        return false;
    }
    let mut is_own = false;
    for at in parameters..close {
        match source.text(at) {
            "function" | "=>" | "with" | "yield" => return false,
            "eval" | "arguments" if source.kind(at) == Some(SourceTokenKind::Word) => return false,
            text if text == name && at < open => is_own = true,
            text if text == name => {
                let before = source.text(at - 1);
                is_own |= matches!(before, "var" | "let" | "const" | ",");
            }
            _ => {}
        }
    }
    is_own
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The message about the call at the place of `@` in a text.
    fn message(text: &str) -> String {
        let place = text.find('@').unwrap();
        let source = SourceTokens::new(format!("\n{}", text.replacen('@', "", 1))).unwrap();
        source.begin_message();
        let place = source.at(2, u32::try_from(place).unwrap() + 1).unwrap();
        CalledFunction::at(&source, place)
            .map_or_else(String::new, |called| called.message(&source))
    }

    #[test]
    fn called_function_is_named_as_by_rhino() {
        let undefined = "org.mozilla.javascript.Undefined@0 is not a function, it is undefined.";
        for (text, expected) in [
            (
                "o.@f(1, 2)",
                "Cannot find function f in object [object Object].",
            ),
            (
                "o.f(g(1), @b)",
                "Cannot find function f in object [object Object].",
            ),
            (
                "@o['f'](1)",
                "Cannot find function f in object [object Object].",
            ),
            (
                "var k = 'f'; o[@k](1)",
                "Cannot find function f in object [object Object].",
            ),
            ("'abc'.@foo()", "Cannot find function foo in object abc."),
            ("[1, 2].@foo()", "Cannot find function foo in object 1,2."),
            (
                "JSON.@foo(1)",
                "Cannot find function foo in object [object JSON].",
            ),
            (
                "var s = 'x'; s.@foo()",
                "Cannot find function foo in object x.",
            ),
            (
                "var o = {a: 1}; o.@a()",
                "Cannot call property a in object [object Object]. It is not a function, it is \"number\".",
            ),
            (
                "function f(a) {} f.@g()",
                "Cannot find function g in object \nfunction f(a) {...}.",
            ),
            ("@none()", "none is not a function, it is undefined."),
            ("none(1, @x)", "none is not a function, it is undefined."),
            ("function (r) { var a; @a(); }", undefined),
            (
                "function (r) { 'use strict'; var a; @a(); }",
                "a is not a function, it is undefined.",
            ),
            (
                "function (r) { var a = 5; @a(); }",
                "5.0 is not a function, it is number.",
            ),
            (
                "function (r) { var a = 5; @a(); function g() {} }",
                "a is not a function, it is number.",
            ),
            (
                "function (r) { var a; return [1].map(function () { @a(); }); }",
                "a is not a function, it is undefined.",
            ),
            ("new @o.N(1)", undefined),
            ("new @none()", undefined),
            ("new @o.a.N", undefined),
            ("function g() { return g; } @g(1)(2)", undefined),
            (
                "function g() {} none(@g(1))",
                "none is not a function, it is undefined.",
            ),
            (
                "o.f(JSON.@stringify(a))",
                "Cannot find function f in object [object Object].",
            ),
            ("@'abc'()", "abc is not a function, it is string."),
            ("if (@a) b", ""),
        ] {
            assert_eq!(message(text), expected, "{text}");
        }
    }
}
