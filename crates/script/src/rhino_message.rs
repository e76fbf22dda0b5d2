//! The messages of errors that the engine throws, as Rhino, the engine of the original, has them: clients and scripts see them.

use crate::called_function::{CalledFunction, not_a_function};
use crate::guessed_value::{GuessedValue, end_of_value, items, value_of};
use crate::source_tokens::{SourceTokenKind, SourceTokens};

/// The tokens behind the place of an error that are looked at.
const TOKENS_MAX: usize = 300;

/// The place of an error.
pub(crate) struct ErrorPlace<'a> {
    /// The text of the file, if it is known.
    pub(crate) source: Option<&'a SourceTokens>,
    pub(crate) line: u32,
    pub(crate) column: u32,
    /// Whether a function of the language threw it, which was called at the place.
    pub(crate) is_in_native: bool,
    /// Whether it is an error of the syntax at the place.
    pub(crate) is_of_syntax: bool,
}

impl<'a> ErrorPlace<'a> {
    fn token(&self) -> Option<(&'a SourceTokens, usize)> {
        let source = self.source?;
        source.begin_message();
        Some((source, source.at(self.line, self.column)?))
    }
}

/// The message of Rhino for a message of the engine; `None` if it has none of its own.
pub(crate) fn rhino_message(message: &str, place: &ErrorPlace<'_>) -> Option<String> {
    if place.is_of_syntax {
        return syntax_message(message).map(str::to_owned);
    }
    let token = place.token();
    if let Some(name) = message.strip_suffix(" is not defined") {
        let is_assigned = token.is_some_and(|(source, at)| is_assignment(source, at, name));
        return Some(match is_assigned {
            true => format!("Assignment to undefined \"{name}\" in strict mode"),
            false => format!("\"{name}\" is not defined."),
        });
    }
    if let Some((name, value)) = member_of(message, "cannot read property '") {
        return Some(not_readable(name, value, token));
    }
    if let Some((name, value)) = member_of(message, "cannot set property '") {
        let set = token.and_then(|(source, at)| value_that_is_set(source, at, name));
        let set = set.map(|set| format!(" to \"{}\"", set.shown()));
        let set = set.unwrap_or_default();
        return Some(format!("Cannot set property \"{name}\" of {value}{set}"));
    }
    match message {
        "not a function" if place.is_in_native => {
            let given = token.and_then(|(source, at)| first_argument(source, at));
            Some(not_a_function(&given.unwrap_or(GuessedValue::Undefined)))
        }
        "not a function" => {
            let (source, at) = token?;
            CalledFunction::at(source, at).map(|called| called.message(source))
        }
        "Cannot convert undefined or null to object" => Some(not_an_object(place, token)),
        "not an object" if place.is_in_native => {
            let (source, at) = token?;
            let given = first_argument(source, at)?;
            let kind = given.type_name();
            Some(format!(
                "Expected argument of type object, but instead had type {kind}"
            ))
        }
        "invalid number of digits" => {
            let (source, at) = token?;
            let given = first_argument(source, at)?.shown();
            Some(format!("Precision {given} out of range."))
        }
        _ => {
            if let Some(name) = message.strip_suffix("' is read-only") {
                let name = name.strip_prefix('\'')?;
                let (source, at) = token?;
                return is_member(source, at, name)
                    .then(|| format!("Cannot modify readonly property: {name}."));
            }
            fixed_message(message).map(str::to_owned)
        }
    }
}

/// The messages that depend on nothing else.
fn fixed_message(message: &str) -> Option<&'static str> {
    Some(match message {
        "invalid 'instanceof' right operand" => "Can't use 'instanceof' on a non-object.",
        "invalid 'in' operand" => "Can't use 'in' on a non-object.",
        "invalid array length" => "Inappropriate array length.",
        "toPrimitive" => "Cannot find default value for object.",
        "circular reference" => "Cyclic {0} value not allowed.",
        "empty array" => "Reduce of empty array with no initial value",
        "Date value is NaN" => "Date is invalid.",
        "invalid repeat count" => "Invalid count value",
        "object is not extensible" => {
            "Cannot add properties to this object because extensible is false."
        }
        "not a object" => "second argument to Function.prototype.apply must be an array",
        "cannot convert symbol to string" => "The object is not a string",
        "cannot convert symbol to number" => "The object is not a number",
        "expecting %"
        | "expecting hex digit"
        | "malformed UTF-8"
        | "invalid character"
        | "expecting surrogate pair" => "Malformed URI sequence.",
        _ => return None,
    })
}

/// The message of Rhino about the syntax of a text, for that of the engine.
fn syntax_message(message: &str) -> Option<&'static str> {
    Some(match message {
        "unexpected token in expression: ''" | "Unexpected end of input" => {
            "Unexpected end of file"
        }
        "expecting ';'" => "missing ; before statement",
        "expecting ')'" => "missing ) after argument list",
        "expecting '}'" => "missing } after function body",
        "unexpected end of string" => "unterminated string literal",
        "variable name expected" => "missing variable name",
        "unexpected end of regexp" | "unexpected line terminator in regexp" => {
            "unterminated regular expression literal"
        }
        "unexpected end of comment" => "unterminated comment",
        "invalid property name" => "invalid property id",
        "expecting catch or finally" => "'try' without 'catch' or 'finally'",
        "break must be inside loop or switch" => "unlabelled break must be inside loop or switch",
        "break/continue label not found" => "undefined label",
        "invalid assignment left-hand side" => "Invalid assignment left-hand side.",
        "invalid increment/decrement operand" => "Invalid increment operand.",
        "expecting field name" => "missing name after . operator",
        "function name expected" => "missing ( before function parameters.",
        _ if message.starts_with("unexpected token in expression: ")
            || message.starts_with("Unexpected ") =>
        {
            "syntax error"
        }
        _ => return None,
    })
}

/// Name and value of a message about a member of nothing.
fn member_of<'m>(message: &'m str, prefix: &str) -> Option<(&'m str, &'m str)> {
    let (name, value) = message.strip_prefix(prefix)?.rsplit_once("' of ")?;
    matches!(value, "undefined" | "null").then_some((name, value))
}

/// Whether a name gets a value at a place.
fn is_assignment(source: &SourceTokens, at: usize, name: &str) -> bool {
    source.is_word(at, name) && source.is_mark(at + 1, "=")
}

/// Whether a member of this name is near a place.
fn is_member(source: &SourceTokens, at: usize, name: &str) -> bool {
    let from = at.saturating_sub(TOKENS_MAX);
    let is_no_variable = !source.is_word(at, name) || source.is_mark(at.saturating_sub(1), ".");
    is_no_variable && (from..at + TOKENS_MAX).any(|at| member_at(source, at, name).is_some())
}

/// The token behind a member of this name that begins with the dot or bracket at a token.
fn member_at(source: &SourceTokens, at: usize, name: &str) -> Option<usize> {
    if source.is_mark(at, ".") || source.is_mark(at, "?.") {
        return source.is_word(at + 1, name).then_some(at + 2);
    }
    if !source.is_mark(at, "[") {
        return None;
    }
    let close = source.pair(at);
    let is_name = match source.kind(at + 1)? {
        SourceTokenKind::Text | SourceTokenKind::Number => {
            let key = source.text(at + 1);
            close == at + 2 && key.trim_matches(|c| c == '\'' || c == '"') == name
        }
        _ => false,
    };
    (is_name && close > at).then_some(close + 1)
}

fn not_readable(name: &str, value: &str, token: Option<(&SourceTokens, usize)>) -> String {
    let read = || format!("Cannot read property \"{name}\" from {value}");
    let call = || format!("Cannot call method \"{name}\" of {value}");
    let Some((source, at)) = token else {
        return read();
    };
    if name == "Symbol.iterator" {
        // The variable or the value of a loop, or of a list.
        let is_loop = (at.saturating_sub(3)..at).any(|at| source.is_word(at, "of"));
        return match is_loop {
            true => format!("{value} is not iterable"),
            false => format!("Cannot read property \"0\" from {value}"),
        };
    }
    let before = at.saturating_sub(1);
    if source.is_word(before, "new") {
        return read();
    }
    // In the brackets of a name that is computed.
    if let Some(open) = source.brackets_around(at).next() {
        let close = source.pair(open);
        if source.is_mark(open, "[") && close > at && is_postfix(source, open) {
            return match source.is_mark(close + 1, "(") {
                true => call(),
                false => read(),
            };
        }
    }
    let behind = (at..at + TOKENS_MAX).find_map(|at| member_at(source, at, name));
    match behind.is_some_and(|behind| source.is_mark(behind, "(")) {
        true => call(),
        false => read(),
    }
}

/// Whether brackets are behind a value.
fn is_postfix(source: &SourceTokens, open: usize) -> bool {
    open.checked_sub(1).is_some_and(|before| {
        matches!(source.text(before), ")" | "]")
            || source.kind(before) == Some(SourceTokenKind::Word)
    })
}

/// The value that a member of nothing gets, in the statement of a place.
fn value_that_is_set(source: &SourceTokens, at: usize, name: &str) -> Option<GuessedValue> {
    let from = (at.saturating_sub(TOKENS_MAX)..at)
        .rev()
        .find(|at| matches!(source.text(*at), ";" | "{"));
    let from = from.unwrap_or_default();
    let assigned = |at: usize| {
        let behind = member_at(source, at, name)?;
        source.is_mark(behind, "=").then_some(behind + 1)
    };
    let first = (from..at + TOKENS_MAX).find_map(assigned);
    // A name that is computed.
    let computed = || {
        let open = source.brackets_around(at).next()?;
        let behind = source.pair(open) + 1;
        (source.is_mark(open, "[") && source.is_mark(behind, "=")).then_some(behind + 1)
    };
    let first = first.or_else(computed)?;
    value_of(source, first, end_of_value(source, first)?)
}

/// The first argument of the call at a place, or around it.
fn first_argument(source: &SourceTokens, at: usize) -> Option<GuessedValue> {
    let mut name_end = at;
    for _ in 0..TOKENS_MAX {
        match source.text(name_end + 1) {
            "." => name_end += 2,
            _ => break,
        }
    }
    let open = match source.is_mark(name_end + 1, "(") {
        true => name_end + 1,
        false => source
            .brackets_around(at)
            .find(|open| source.is_mark(*open, "("))?,
    };
    match items(source, open, source.pair(open)).next() {
        Some((first, last)) => value_of(source, first, last),
        None => Some(GuessedValue::Undefined),
    }
}

/// The message about a value that cannot be an object.
fn not_an_object(place: &ErrorPlace<'_>, token: Option<(&SourceTokens, usize)>) -> String {
    let unknown = || "Cannot convert undefined to an object.".to_owned();
    let Some((source, at)) = token else {
        return unknown();
    };
    if place.is_in_native {
        let given = first_argument(source, at);
        return match given {
            Some(GuessedValue::Null) => "Cannot convert null to an object.".to_owned(),
            _ => unknown(),
        };
    }
    let is_before = |back: usize, word: &str| {
        at.checked_sub(back)
            .is_some_and(|at| source.is_word(at, word))
    };
    if is_before(1, "delete") {
        let shown = value_of(source, at, at).filter(|value| *value == GuessedValue::Null);
        let shown = shown.map_or_else(|| "undefined".to_owned(), |value| value.shown());
        let mut last = at;
        while source.is_mark(last + 1, ".") && last < at + TOKENS_MAX {
            last += 2;
        }
        return format!(
            "Cannot delete property \"{}\" of {shown}",
            source.text(last)
        );
    }
    if is_before(2, "with") {
        return "Cannot apply \"with\" to undefined".to_owned();
    }
    unknown()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The message for one of the engine at the place of `@` in a text.
    fn shown(message: &str, text: &str, is_in_native: bool) -> Option<String> {
        let place = text.find('@').unwrap();
        let text = format!("\n{}", text.replacen('@', "", 1));
        let source = SourceTokens::new(text).unwrap();
        let place = ErrorPlace {
            source: Some(&source),
            line: 2,
            column: u32::try_from(place).unwrap() + 1,
            is_in_native,
            is_of_syntax: false,
        };
        rhino_message(message, &place)
    }

    #[test]
    fn members_of_nothing_are_named() {
        for (message, text, expected) in [
            (
                "x' of null",
                "@null.x",
                "Cannot read property \"x\" from null",
            ),
            (
                "f' of undefined",
                "@a.f(1)",
                "Cannot call method \"f\" of undefined",
            ),
            (
                "f' of undefined",
                "@a.b\n .f(1)",
                "Cannot call method \"f\" of undefined",
            ),
            (
                "f' of undefined",
                "@a['f'](1)",
                "Cannot call method \"f\" of undefined",
            ),
            (
                "f' of undefined",
                "a[@k](1)",
                "Cannot call method \"f\" of undefined",
            ),
            (
                "f' of undefined",
                "a[@k] + (1)",
                "Cannot read property \"f\" from undefined",
            ),
            (
                "0' of undefined",
                "@a[0]",
                "Cannot read property \"0\" from undefined",
            ),
            (
                "N' of undefined",
                "new @a.N()",
                "Cannot read property \"N\" from undefined",
            ),
            (
                "x' of undefined",
                "o.f(@a.x)",
                "Cannot read property \"x\" from undefined",
            ),
            (
                "Symbol.iterator' of undefined",
                "for (var i of @a) {}",
                "undefined is not iterable",
            ),
        ] {
            let message = format!("cannot read property '{message}");
            assert_eq!(
                shown(&message, text, false).as_deref(),
                Some(expected),
                "{text}"
            );
        }
        for (text, expected) in [
            ("@a.x = 1", " to \"1\""),
            ("a.x = 'b' + @c", ""),
            ("var c = 2; a.x = 'b' + @c;", " to \"b2\""),
            ("a[@k] = null", " to \"null\""),
            ("@a['x'] = {}", " to \"[object Object]\""),
        ] {
            let expected = format!("Cannot set property \"x\" of undefined{expected}");
            let seen = shown("cannot set property 'x' of undefined", text, false);
            assert_eq!(seen, Some(expected), "{text}");
        }
    }

    #[test]
    fn other_messages_are_those_of_rhino() {
        let some = |text: &str| Some(text.to_owned());
        let undefined = "org.mozilla.javascript.Undefined@0 is not a function, it is undefined.";
        assert_eq!(
            shown("a is not defined", "@a", false),
            some("\"a\" is not defined.")
        );
        assert_eq!(
            shown("a is not defined", "@a = 1", false),
            some("Assignment to undefined \"a\" in strict mode")
        );
        assert_eq!(
            shown("not a function", "[1].map(@none)", true),
            some(undefined)
        );
        assert_eq!(
            shown("not a function", "[1].@map('x')", true),
            some("x is not a function, it is string.")
        );
        assert_eq!(
            shown("not a function", "o.@f()", false),
            some("Cannot find function f in object [object Object].")
        );
        assert_eq!(
            shown("invalid number of digits", "(1).@toFixed(200)", true),
            some("Precision 200 out of range.")
        );
        assert_eq!(
            shown("not an object", "Object.@defineProperty(1, 'a', {})", true),
            some("Expected argument of type object, but instead had type number")
        );
        let nothing = "Cannot convert undefined or null to object";
        assert_eq!(
            shown(nothing, "Object.@keys(null)", true),
            some("Cannot convert null to an object.")
        );
        assert_eq!(
            shown(nothing, "delete @a.x", false),
            some("Cannot delete property \"x\" of undefined")
        );
        assert_eq!(
            shown("'x' is read-only", "Object.freeze(@a).x = 1", false),
            some("Cannot modify readonly property: x.")
        );
        assert_eq!(
            shown("'x' is read-only", "const x = 1; @x = 2", false),
            None
        );
        assert_eq!(
            shown("invalid array length", "new @Array(-1)", true),
            some("Inappropriate array length.")
        );
        assert_eq!(shown("anything", "@a", false), None);
    }

    #[test]
    fn messages_without_a_text_are_those_that_need_none() {
        let mut place = ErrorPlace {
            source: None,
            line: 1,
            column: 1,
            is_in_native: false,
            is_of_syntax: false,
        };
        let shown = |message: &str, place: &ErrorPlace<'_>| rhino_message(message, place);
        let read = "Cannot read property \"x\" from null".to_owned();
        assert_eq!(
            shown("cannot read property 'x' of null", &place),
            Some(read)
        );
        assert_eq!(shown("not a function", &place), None);
        assert_eq!(shown("expecting ';'", &place), None);
        place.is_of_syntax = true;
        let missing = "missing ; before statement".to_owned();
        assert_eq!(shown("expecting ';'", &place), Some(missing));
        assert_eq!(shown("a is not defined", &place), None);
    }

    #[test]
    fn every_place_in_every_text_is_answered() {
        let texts = [
            "a.b(c[d](e, f)).g = h + 1; new (i.j)(k)`l`; delete m.n; for (var o of p) {}",
            ")]}.(.[.{.=>.function.new.(.",
            "a[b[c[d(e(f(g(",
            "",
            "=",
            "o.",
            "new",
            "function(",
            "delete a.",
        ];
        let messages = [
            "not a function",
            "cannot read property 'b' of null",
            "cannot set property 'g' of undefined",
            "Cannot convert undefined or null to object",
            "not an object",
            "'g' is read-only",
            "o is not defined",
        ];
        for text in texts {
            let source = SourceTokens::new(text.to_owned()).unwrap();
            for column in 0..120 {
                for message in messages {
                    for is_in_native in [false, true] {
                        let place = ErrorPlace {
                            source: Some(&source),
                            line: 1,
                            column,
                            is_in_native,
                            is_of_syntax: false,
                        };
                        let seen = rhino_message(message, &place).unwrap_or_default();
                        assert!(seen.len() < 2000, "{text}");
                    }
                }
            }
        }
    }
}
