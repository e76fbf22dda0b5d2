//! The grammar of filters.
//!
//! ```text
//! or   := and { "or" and }
//! and  := cmp { "and" cmp }
//! cmp  := operand [ (eq|ne|gt|lt|ge|le) operand ]
//! operand := primary { (add|sub|mul|div|mod) primary }
//! primary := literal | property | function "(" or { "," or } ")" | "(" or ")" | "not" primary
//! ```
//!
//! More is read than is supported, so that what is missing can be told from what is wrong.

use super::lex::{Token, tokens};
use super::{FilterError, MAX_FILTER_BYTES, MAX_FILTER_DEPTH};

/// A comparison operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `eq`
    Eq,
    /// `ne`
    Ne,
    /// `gt`
    Gt,
    /// `lt`
    Lt,
    /// `ge`
    Ge,
    /// `le`
    Le,
}

/// A literal as written, before its type is held against a property.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// Digits with an optional minus; a suffix `L` is dropped.
    Integer(String),
    /// A number with point or exponent.
    Decimal(f64),
    /// The text between quotes, backslash sequences not interpreted.
    Text(String),
    /// `datetime'...'` or `datetimeoffset'...'` in milliseconds since 1970.
    Date(i64),
    /// A literal of a type that no property has.
    Other,
    /// No literal but the name of a property, which nothing can be compared with.
    Property,
}

/// A grammatical filter of supported operators and functions.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expr {
    All(Vec<Expr>),
    Any(Vec<Expr>),
    Compare(String, Op, Literal),
    /// The argument is `None` when it is a property.
    StartsWith(String, Option<Literal>),
    SubstringOf(String, Option<Literal>),
}

/// What the grammar reads, before unsupported parts are refused.
enum Node {
    Literal(Literal),
    Property(String),
    Call(String, Vec<Node>),
    Compare(Box<Node>, Op, Box<Node>),
    All(Vec<Node>),
    Any(Vec<Node>),
    Unsupported,
}

const OPERATORS: [&str; 5] = ["add", "sub", "mul", "div", "mod"];
const UNSUPPORTED_FUNCTIONS: [&str; 19] = [
    "endswith",
    "indexof",
    "replace",
    "substring",
    "tolower",
    "toupper",
    "trim",
    "concat",
    "length",
    "year",
    "month",
    "day",
    "hour",
    "minute",
    "second",
    "round",
    "floor",
    "ceiling",
    "isof",
];

pub(super) fn parse(text: &str) -> Result<Expr, FilterError> {
    if text.len() > MAX_FILTER_BYTES {
        return Err(FilterError::Syntax);
    }
    let mut parser = Parser {
        tokens: without_unmatched(tokens(text)?).into_iter().peekable(),
    };
    let node = parser.any(0)?;
    if parser.tokens.next().is_some() {
        return Err(FilterError::Syntax);
    }
    lower(node)
}

/// Drops brackets that are opened and never closed, as if they were not there.
fn without_unmatched(tokens: Vec<Token>) -> Vec<Token> {
    let mut open = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Open => open.push(at),
            Token::Close => drop(open.pop()),
            _ => {}
        }
    }
    let mut at = 0;
    let mut tokens = tokens;
    tokens.retain(|_| {
        at += 1;
        !open.contains(&(at - 1))
    });
    tokens
}

struct Parser {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
}

impl Parser {
    fn eat(&mut self, wanted: &Token) -> bool {
        self.tokens.next_if(|token| token == wanted).is_some()
    }

    fn eat_word(&mut self, wanted: &str) -> bool {
        self.tokens
            .next_if(|token| matches!(token, Token::Word(word) if word == wanted))
            .is_some()
    }

    fn any(&mut self, depth: usize) -> Result<Node, FilterError> {
        if depth > MAX_FILTER_DEPTH {
            return Err(FilterError::Syntax);
        }
        let first = self.all(depth)?;
        let mut nodes = vec![first];
        while self.eat_word("or") {
            nodes.push(self.all(depth)?);
        }
        Ok(single_or(nodes, Node::Any))
    }

    fn all(&mut self, depth: usize) -> Result<Node, FilterError> {
        let first = self.comparison(depth)?;
        let mut nodes = vec![first];
        while self.eat_word("and") {
            nodes.push(self.comparison(depth)?);
        }
        Ok(single_or(nodes, Node::All))
    }

    fn comparison(&mut self, depth: usize) -> Result<Node, FilterError> {
        let left = self.operand(depth)?;
        let Some(op) = self.tokens.peek().and_then(comparison_of) else {
            return Ok(left);
        };
        self.tokens.next();
        let right = self.operand(depth)?;
        Ok(Node::Compare(Box::new(left), op, Box::new(right)))
    }

    fn operand(&mut self, depth: usize) -> Result<Node, FilterError> {
        let mut node = self.primary(depth)?;
        while OPERATORS.iter().any(|operator| self.eat_word(operator)) {
            self.primary(depth)?;
            node = Node::Unsupported;
        }
        Ok(node)
    }

    fn primary(&mut self, depth: usize) -> Result<Node, FilterError> {
        match self.tokens.next().ok_or(FilterError::Syntax)? {
            Token::Literal(literal) => Ok(Node::Literal(literal)),
            Token::Open => {
                let node = self.any(depth + 1)?;
                if self.eat(&Token::Close) {
                    Ok(node)
                } else {
                    Err(FilterError::Syntax)
                }
            }
            Token::Word(word) if word == "not" => {
                if depth > MAX_FILTER_DEPTH {
                    return Err(FilterError::Syntax);
                }
                self.primary(depth + 1)?;
                Ok(Node::Unsupported)
            }
            Token::Word(word) if self.eat(&Token::Open) => self.call(word, depth),
            Token::Word(word) if is_keyword(&word) => Err(FilterError::Syntax),
            Token::Word(word) => Ok(Node::Property(word)),
            Token::Close | Token::Comma => Err(FilterError::Syntax),
        }
    }

    fn call(&mut self, name: String, depth: usize) -> Result<Node, FilterError> {
        let known = matches!(name.as_str(), "startswith" | "substringof");
        if !known && !UNSUPPORTED_FUNCTIONS.contains(&name.as_str()) {
            return Err(FilterError::Syntax);
        }
        let mut arguments = Vec::new();
        if !self.eat(&Token::Close) {
            loop {
                arguments.push(self.any(depth + 1)?);
                if self.eat(&Token::Close) {
                    break;
                }
                if !self.eat(&Token::Comma) {
                    return Err(FilterError::Syntax);
                }
            }
        }
        Ok(Node::Call(name, arguments))
    }
}

fn single_or(mut nodes: Vec<Node>, join: fn(Vec<Node>) -> Node) -> Node {
    match nodes.pop() {
        Some(only) if nodes.is_empty() => only,
        Some(last) => {
            nodes.push(last);
            join(nodes)
        }
        None => join(nodes),
    }
}

fn comparison_of(token: &Token) -> Option<Op> {
    let Token::Word(word) = token else {
        return None;
    };
    Some(match word.as_str() {
        "eq" => Op::Eq,
        "ne" => Op::Ne,
        "gt" => Op::Gt,
        "lt" => Op::Lt,
        "ge" => Op::Ge,
        "le" => Op::Le,
        _ => return None,
    })
}

fn is_keyword(word: &str) -> bool {
    matches!(word, "and" | "or")
}

/// Refuses what is not supported.
fn lower(node: Node) -> Result<Expr, FilterError> {
    match node {
        Node::All(nodes) => nodes
            .into_iter()
            .map(lower)
            .collect::<Result<_, _>>()
            .map(Expr::All),
        Node::Any(nodes) => nodes
            .into_iter()
            .map(lower)
            .collect::<Result<_, _>>()
            .map(Expr::Any),
        Node::Compare(left, op, right) => lower_comparison(*left, op, *right),
        Node::Call(name, arguments) => lower_call(&name, arguments),
        Node::Literal(_) | Node::Property(_) | Node::Unsupported => Err(FilterError::Operator),
    }
}

fn lower_comparison(left: Node, op: Op, right: Node) -> Result<Expr, FilterError> {
    match (left, right) {
        (Node::Property(name), Node::Literal(literal)) => Ok(Expr::Compare(name, op, literal)),
        // An unknown name on the left is told first.
        (Node::Property(name), Node::Property(_)) => Ok(Expr::Compare(name, op, Literal::Property)),
        (Node::Unsupported, _) | (_, Node::Unsupported) => Err(FilterError::Operator),
        (Node::Call(name, _), _) | (_, Node::Call(name, _))
            if UNSUPPORTED_FUNCTIONS.contains(&name.as_str()) =>
        {
            Err(FilterError::Function)
        }
        _ => Err(FilterError::Syntax),
    }
}

fn lower_call(name: &str, arguments: Vec<Node>) -> Result<Expr, FilterError> {
    if UNSUPPORTED_FUNCTIONS.contains(&name) {
        return Err(FilterError::Function);
    }
    let [first, second]: [Node; 2] = arguments.try_into().map_err(|_| FilterError::Syntax)?;
    let (target, argument) = if name == "startswith" {
        (first, second)
    } else {
        (second, first)
    };
    let Node::Property(property) = target else {
        return Err(FilterError::Syntax);
    };
    let argument = match argument {
        Node::Literal(literal) => Some(literal),
        Node::Property(_) => None,
        _ => return Err(FilterError::Syntax),
    };
    Ok(if name == "startswith" {
        Expr::StartsWith(property, argument)
    } else {
        Expr::SubstringOf(property, argument)
    })
}

/// Milliseconds of `YYYY-MM-DDThh:mm[:ss[.fffffff]]`, with `Z` or `±hh:mm` behind it where `zoned`; without
/// zone it is UTC.
pub(super) fn parse_date_literal(text: &str, zoned: bool) -> Option<i64> {
    let (local, offset_minutes) = if zoned { split_zone(text)? } else { (text, 0) };
    let (date, time) = local.split_once('T')?;
    let mut date = date.split('-');
    let year: i16 = digits(date.next()?, 4)?.try_into().ok()?;
    let month: i8 = digits(date.next()?, 2)?.try_into().ok()?;
    let day: i8 = digits(date.next()?, 2)?.try_into().ok()?;
    let mut clock = time.split(':');
    let hour: i8 = digits(clock.next()?, 2)?.try_into().ok()?;
    let minute: i8 = digits(clock.next()?, 2)?.try_into().ok()?;
    let (second, millis) = match clock.next() {
        None => (0, 0),
        Some(text) => seconds(text)?,
    };
    if date.next().is_some() || clock.next().is_some() {
        return None;
    }
    let civil = jiff::civil::DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    let since_epoch = civil.duration_since(jiff::civil::DateTime::constant(1970, 1, 1, 0, 0, 0, 0));
    let whole = i64::try_from(since_epoch.as_millis()).ok()?;
    whole
        .checked_add(millis)?
        .checked_sub(offset_minutes * 60_000)
}

fn seconds(text: &str) -> Option<(i8, i64)> {
    let Some((second, fraction)) = text.split_once('.') else {
        return Some((digits(text, 2)?.try_into().ok()?, 0));
    };
    if !(1..=7).contains(&fraction.len()) {
        return None;
    }
    digits(fraction, fraction.len())?;
    let millis = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    Some((digits(second, 2)?.try_into().ok()?, millis))
}

fn split_zone(text: &str) -> Option<(&str, i64)> {
    if let Some(local) = text.strip_suffix('Z') {
        return Some((local, 0));
    }
    let time_at = text.find('T')?;
    let Some(at) = text.get(time_at..)?.find(['+', '-']).map(|at| at + time_at) else {
        return Some((text, 0));
    };
    let (local, zone) = text.split_at_checked(at)?;
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
    (hours <= 18 && minutes < 60).then_some((local, sign * (hours * 60 + minutes)))
}

fn digits(text: &str, count: usize) -> Option<i64> {
    let fits = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    if fits { text.parse().ok() } else { None }
}
