//! The words and marks of the text of a script, for the messages of its errors.

use std::cell::Cell;

/// The largest text that is read, in bytes. Messages about larger ones are those that need no text.
const TEXT_MAX_BYTES: usize = 256 << 10;

/// The marks of more than one character, the longest first.
const LONG_MARKS: [&str; 24] = [
    ">>>=", "===", "!==", "**=", "...", ">>>", "<<=", ">>=", "=>", "==", "!=", "<=", ">=", "+=",
    "-=", "*=", "/=", "%=", "&=", "|=", "^=", "++", "--", "?.",
];

/// The steps in which the brackets around a token are looked for.
const STEPS_MAX: usize = 2_000;

/// Words that no value stands before.
const BEFORE_VALUES: [&str; 14] = [
    "return",
    "typeof",
    "instanceof",
    "in",
    "of",
    "new",
    "delete",
    "void",
    "throw",
    "case",
    "do",
    "else",
    "yield",
    "await",
];

/// The kind of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SourceTokenKind {
    Word,
    Number,
    Text,
    Template,
    Regex,
    Mark,
}

/// A token of a text.
#[derive(Clone, Copy)]
struct Token {
    start: u32,
    end: u32,
    kind: SourceTokenKind,
    /// The token that closes or opens the same brackets; itself if it is none.
    pair: u32,
}

impl Token {
    fn text<'a>(&self, source: &'a str) -> &'a str {
        source
            .get(self.start as usize..self.end as usize)
            .unwrap_or_default()
    }
}

/// A place in a text, which is no longer than [`TEXT_MAX_BYTES`].
fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

/// A text with its tokens.
pub(crate) struct SourceTokens {
    text: String,
    tokens: Vec<Token>,
    /// Where the lines begin.
    lines: Vec<usize>,
    /// The tokens that may still be looked at for a message.
    budget: Cell<usize>,
}

impl SourceTokens {
    /// The tokens of a text; `None` if it is too large.
    pub(crate) fn new(text: String) -> Option<Self> {
        if text.len() > TEXT_MAX_BYTES {
            return None;
        }
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(ends).collect();
        let mut tokens = Reader {
            text: &text,
            at: 0,
            tokens: Vec::new(),
        }
        .read();
        pair_brackets(&text, &mut tokens);
        Some(Self {
            text,
            tokens,
            lines,
            budget: Cell::new(0),
        })
    }

    /// Begins with a message, for which a number of tokens may be looked at.
    pub(crate) fn begin_message(&self) {
        self.budget
            .set(self.tokens.len().saturating_mul(30) + 10_000);
    }

    /// Takes a number of tokens that are looked at. `false` if there were too many.
    pub(crate) fn spend(&self, tokens: usize) -> bool {
        let left = self.budget.get().checked_sub(tokens);
        self.budget.set(left.unwrap_or(0));
        left.is_some()
    }

    /// The token at a place, or the next one. The engine counts bytes from one, but in the first line from zero unless the token is a
    /// word that stands for a variable.
    pub(crate) fn at(&self, line: u32, column: u32) -> Option<usize> {
        let line = usize::try_from(line).ok()?.checked_sub(1)?;
        let behind = self.lines.get(line)? + usize::try_from(column).ok()?;
        let at = behind.checked_sub(1)?;
        let found = self.token_at(at)?;
        let is_word = self.kind(found) == Some(SourceTokenKind::Word)
            && self.tokens.get(found).map(|token| token.start) == Some(number(at));
        match line == 0 && !is_word {
            true => self.token_at(behind),
            false => Some(found),
        }
    }

    /// The token at an offset, or the next one.
    fn token_at(&self, at: usize) -> Option<usize> {
        let found = self
            .tokens
            .partition_point(|token| token.end as usize <= at);
        (found < self.tokens.len()).then_some(found)
    }

    /// The number of tokens.
    pub(crate) const fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The text of a token; empty if there is none.
    pub(crate) fn text(&self, index: usize) -> &str {
        let token = self.tokens.get(index);
        token.map_or("", |token| token.text(&self.text))
    }

    /// The kind of a token.
    pub(crate) fn kind(&self, index: usize) -> Option<SourceTokenKind> {
        self.tokens.get(index).map(|token| token.kind)
    }

    /// Whether a token is this mark.
    pub(crate) fn is_mark(&self, index: usize, mark: &str) -> bool {
        self.kind(index) == Some(SourceTokenKind::Mark) && self.text(index) == mark
    }

    /// Whether a token is this word.
    pub(crate) fn is_word(&self, index: usize, word: &str) -> bool {
        self.kind(index) == Some(SourceTokenKind::Word) && self.text(index) == word
    }

    /// The tokens that are this word.
    pub(crate) fn words<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        (0..self.len()).filter(move |at| self.is_word(*at, word))
    }

    /// The token that closes or opens the same brackets; itself if there is none.
    pub(crate) fn pair(&self, index: usize) -> usize {
        self.tokens
            .get(index)
            .map_or(index, |token| token.pair as usize)
    }

    /// The brackets that a token is in, the innermost first, as far as they are near.
    pub(crate) fn brackets_around(&self, index: usize) -> impl Iterator<Item = usize> + '_ {
        let (mut at, mut steps) = (index, 0);
        std::iter::from_fn(move || {
            while let Some(before) = at.checked_sub(1).filter(|_| steps < STEPS_MAX) {
                steps += 1;
                let pair = self.pair(before);
                if pair > index {
                    at = before;
                    return Some(before);
                }
                // What is closed before the token is left out as a whole.
                at = pair.min(before);
            }
            None
        })
    }
}

fn pair_brackets(text: &str, tokens: &mut [Token]) {
    let mut open: Vec<usize> = Vec::new();
    for index in 0..tokens.len() {
        let Some(token) = tokens.get(index) else {
            return;
        };
        if token.kind != SourceTokenKind::Mark {
            continue;
        }
        match token.text(text) {
            "(" | "[" | "{" => open.push(index),
            ")" | "]" | "}" => {
                let Some(first) = open.pop() else { continue };
                if let Some(token) = tokens.get_mut(first) {
                    token.pair = number(index);
                }
                if let Some(token) = tokens.get_mut(index) {
                    token.pair = number(first);
                }
            }
            _ => {}
        }
    }
}

/// The reading of a text.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    tokens: Vec<Token>,
}

impl Reader<'_> {
    fn read(mut self) -> Vec<Token> {
        while let Some(byte) = self.byte(0) {
            let start = self.at;
            let kind = match byte {
                b' ' | b'\t' | b'\r' | b'\n' => {
                    self.at += 1;
                    continue;
                }
                b'/' if self.byte(1) == Some(b'/') => {
                    self.skip_to("\n");
                    continue;
                }
                b'/' if self.byte(1) == Some(b'*') => {
                    self.at += 2;
                    self.skip_to("*/");
                    continue;
                }
                b'\'' | b'"' => {
                    self.quoted(byte);
                    SourceTokenKind::Text
                }
                b'`' => {
                    self.template();
                    SourceTokenKind::Template
                }
                b'0'..=b'9' => {
                    self.while_byte(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'_');
                    SourceTokenKind::Number
                }
                b'/' if self.is_before_value() => {
                    self.regex();
                    SourceTokenKind::Regex
                }
                _ if is_of_word(byte) => {
                    self.while_byte(is_of_word);
                    SourceTokenKind::Word
                }
                _ => {
                    let rest = self.text.get(start..).unwrap_or_default();
                    let long = LONG_MARKS.iter().find(|mark| rest.starts_with(**mark));
                    self.at += long.map_or(1, |mark| mark.len());
                    SourceTokenKind::Mark
                }
            };
            let index = self.tokens.len();
            self.tokens.push(Token {
                start: number(start),
                end: number(self.at.min(self.text.len())),
                kind,
                pair: number(index),
            });
        }
        self.tokens
    }

    fn byte(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    fn while_byte(&mut self, is_part: impl Fn(u8) -> bool) {
        while self.byte(0).is_some_and(&is_part) {
            self.at += 1;
        }
    }

    /// Goes behind the next occurrence of a text, or to the end.
    fn skip_to(&mut self, end: &str) {
        let found = self.text.get(self.at..).and_then(|rest| rest.find(end));
        self.at = found.map_or(self.text.len(), |at| self.at + at + end.len());
    }

    fn quoted(&mut self, quote: u8) {
        self.at += 1;
        while let Some(byte) = self.byte(0) {
            self.at += 1;
            match byte {
                b'\\' => self.at += 1,
                b'\n' => return,
                _ if byte == quote => return,
                _ => {}
            }
        }
    }

    /// Reads a template with the expressions in it, which may have templates.
    fn template(&mut self) {
        self.at += 1;
        // The depth of braces in each expression that is open.
        let mut expressions: Vec<u32> = Vec::new();
        let mut in_text = true;
        while let Some(byte) = self.byte(0) {
            self.at += 1;
            match (in_text, byte) {
                (true, b'\\') => self.at += 1,
                (true, b'`') if expressions.is_empty() => return,
                (true, b'`') => in_text = false,
                (true, b'$') if self.byte(0) == Some(b'{') => {
                    self.at += 1;
                    expressions.push(0);
                    in_text = false;
                }
                (false, b'`') => in_text = true,
                (false, b'{') => {
                    if let Some(depth) = expressions.last_mut() {
                        *depth += 1;
                    }
                }
                (false, b'}') => match expressions.last_mut() {
                    Some(0) | None => {
                        expressions.pop();
                        in_text = true;
                    }
                    Some(depth) => *depth -= 1,
                },
                (false, b'\'' | b'"') => {
                    self.at -= 1;
                    self.quoted(byte);
                }
                _ => {}
            }
        }
    }

    fn regex(&mut self) {
        self.at += 1;
        let mut is_class = false;
        while let Some(byte) = self.byte(0) {
            self.at += 1;
            match byte {
                b'\\' => self.at += 1,
                b'[' => is_class = true,
                b']' => is_class = false,
                b'/' if !is_class => break,
                b'\n' => return,
                _ => {}
            }
        }
        self.while_byte(|b| b.is_ascii_alphabetic());
    }

    /// Whether a value is to come, after the last token.
    fn is_before_value(&self) -> bool {
        let Some(last) = self.tokens.last() else {
            return true;
        };
        let text = last.text(self.text);
        match last.kind {
            SourceTokenKind::Word => BEFORE_VALUES.contains(&text),
            SourceTokenKind::Mark => !matches!(text, ")" | "]" | "}" | "++" | "--"),
            _ => false,
        }
    }
}

const fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'#' | 0x80..)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        let tokens = SourceTokens::new(text.to_owned()).unwrap();
        let all = 0..tokens.len();
        all.map(|index| tokens.text(index).to_owned()).collect()
    }

    #[test]
    fn texts_are_split_into_words_and_marks() {
        assert_eq!(
            texts("a.b1(/x[/]y/g, 'q\\'' + 1.5) // c\n/* d */ é /= 2"),
            [
                "a", ".", "b1", "(", "/x[/]y/g", ",", "'q\\''", "+", "1.5", ")", "é", "/=", "2"
            ]
        );
        assert_eq!(texts("`a${ {b: `c}`} }d` e"), ["`a${ {b: `c}`} }d`", "e"]);
        for broken in ["'a", "`${", "/*", "\"\\", "`\\", "/a", "((]}"] {
            texts(broken);
        }
        assert!(SourceTokens::new(" ".repeat(TEXT_MAX_BYTES + 1)).is_none());
    }

    #[test]
    fn places_and_brackets_are_found() {
        let tokens = SourceTokens::new("f(1,\n g(日, {a: [2]}), b)".to_owned()).unwrap();
        let g = tokens.at(2, 2).unwrap();
        assert_eq!(tokens.text(g), "g");
        for (column, text) in [(1, "f"), (2, "1"), (3, ",")] {
            assert_eq!(tokens.at(1, column).map(|at| tokens.text(at)), Some(text));
        }
        let inner = tokens.at(2, 7).unwrap();
        assert_eq!(tokens.text(inner), ",");
        assert_eq!(tokens.at(3, 1), None);
        assert_eq!(tokens.at(2, 900), None);
        let two = (0..tokens.len())
            .find(|at| tokens.text(*at) == "2")
            .unwrap();
        let around: Vec<_> = tokens
            .brackets_around(two)
            .map(|at| tokens.text(at))
            .collect();
        assert_eq!(around, ["[", "{", "(", "("]);
        let b = (0..tokens.len())
            .find(|at| tokens.text(*at) == "b")
            .unwrap();
        assert_eq!(tokens.brackets_around(b).collect::<Vec<_>>(), [1]);
        assert_eq!(tokens.pair(1), tokens.len() - 1);
    }
}
