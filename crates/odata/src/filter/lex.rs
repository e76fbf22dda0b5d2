//! The lexer of filters.

use super::FilterError;
use super::literal::{Literal, number_literal, typed_literal};

/// A token.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A name or keyword.
    Word(String),
    /// A literal.
    Literal(Literal),
    /// `(`
    Open,
    /// `)`
    Close,
    /// `,`
    Comma,
}

/// Splits a filter into tokens. Two words or literals must have a space or another token between them.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, FilterError> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut after_word = false;
    while let Some(first) = rest.chars().next() {
        let (token, tail) = match first {
            ' ' | '\t' => {
                after_word = false;
                rest = rest.get(1..).unwrap_or("");
                continue;
            }
            '(' => (Token::Open, rest.get(1..).unwrap_or("")),
            ')' => (Token::Close, rest.get(1..).unwrap_or("")),
            ',' => (Token::Comma, rest.get(1..).unwrap_or("")),
            '\'' => {
                let (raw, tail) = quoted(rest)?;
                (Token::Literal(Literal::Text(raw)), tail)
            }
            _ => word_or_literal(rest)?,
        };
        let is_word = matches!(token, Token::Word(_) | Token::Literal(_));
        if after_word && is_word {
            return Err(FilterError::Syntax);
        }
        after_word = is_word;
        found.push(token);
        rest = tail;
    }
    Ok(found)
}

/// Splits the text after a string `'...'` at its start; returns the string, with `''` as one quote, and the rest.
fn quoted(text: &str) -> Result<(String, &str), FilterError> {
    let mut value = String::new();
    let mut rest = text.strip_prefix('\'').ok_or(FilterError::Syntax)?;
    loop {
        let (plain, tail) = rest.split_once('\'').ok_or(FilterError::Syntax)?;
        value.push_str(plain);
        match tail.strip_prefix('\'') {
            Some(tail) => {
                value.push('\'');
                rest = tail;
            }
            None => return Ok((value, tail)),
        }
    }
}

/// Splits the text after a word, number or typed literal at its start; returns its token and the rest.
fn word_or_literal(text: &str) -> Result<(Token, &str), FilterError> {
    let end = text.find(|c: char| !is_word_char(c)).unwrap_or(text.len());
    let (word, mut tail) = text.split_at_checked(end).ok_or(FilterError::Syntax)?;
    if tail.starts_with('\'') {
        let (content, rest) = quoted(tail)?;
        return Ok((Token::Literal(typed_literal(word, &content)?), rest));
    }
    let mut number = word;
    if word.ends_with(['e', 'E']) && tail.starts_with('+') {
        let more = tail.get(1..).unwrap_or("");
        let digits = more
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(more.len());
        number = text.get(..end + 1 + digits).unwrap_or(word);
        tail = more.get(digits..).unwrap_or("");
    }
    if let Some(literal) = number_literal(number) {
        return Ok((Token::Literal(literal), tail));
    }
    // A path to a member of a complex property is a name that no property has.
    let is_path = word.contains('/');
    let is_name = word.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    if word.is_empty() || number.len() != word.len() || word.contains('.') || (is_path && !is_name)
    {
        return Err(FilterError::Syntax);
    }
    Ok((
        match word {
            "null" => Token::Literal(Literal::Null),
            "true" => Token::Literal(Literal::Bool(true)),
            "false" => Token::Literal(Literal::Bool(false)),
            name => Token::Word(name.to_owned()),
        },
        tail,
    ))
}

fn is_word_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/')
}
