//! The parser of filters.
//!
//! ```text
//! or   := and { "or" and }
//! and  := cmp { "and" cmp }
//! cmp  := operand [ (eq|ne|gt|lt|ge|le) operand ]
//! operand := primary { (add|sub|mul|div|mod) primary }
//! primary := literal | property | function "(" or { "," or } ")" | "(" or ")" | "not" primary
//! ```
//!
//! The grammar includes operators and functions that are not supported, so that their errors differ from syntax errors.

use super::lex::{Token, tokens};
use super::literal::Literal;
use super::{FilterError, MAX_FILTER_BYTES, MAX_FILTER_DEPTH};

/// A comparison operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompareOp {
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

/// The syntax tree of a filter with supported operators and functions.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expr {
    All(Vec<Expr>),
    Any(Vec<Expr>),
    Compare(String, CompareOp, Literal),
    /// The argument is `None` if it is a property.
    StartsWith(String, Option<Literal>),
    SubstringOf(String, Option<Literal>),
}

/// The syntax tree of a filter, before unsupported parts are refused.
enum SyntaxNode {
    Literal(Literal),
    Property(String),
    Call(String, Vec<SyntaxNode>),
    Compare(Box<SyntaxNode>, CompareOp, Box<SyntaxNode>),
    All(Vec<SyntaxNode>),
    Any(Vec<SyntaxNode>),
    Unsupported,
}

const ARITHMETIC_OPERATORS: [&str; 5] = ["add", "sub", "mul", "div", "mod"];
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
        tokens: without_unclosed_brackets(tokens(text)?)
            .into_iter()
            .peekable(),
    };
    let node = parser.or_expression(0)?;
    if parser.tokens.next().is_some() {
        return Err(FilterError::Syntax);
    }
    lower(node)
}

/// Removes opening brackets that are not closed, as the original does.
fn without_unclosed_brackets(tokens: Vec<Token>) -> Vec<Token> {
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
    fn eat(&mut self, expected: &Token) -> bool {
        self.tokens.next_if(|token| token == expected).is_some()
    }

    fn eat_word(&mut self, expected: &str) -> bool {
        self.tokens
            .next_if(|token| matches!(token, Token::Word(word) if word == expected))
            .is_some()
    }

    fn or_expression(&mut self, depth: usize) -> Result<SyntaxNode, FilterError> {
        if depth > MAX_FILTER_DEPTH {
            return Err(FilterError::Syntax);
        }
        let first = self.and_expression(depth)?;
        let mut nodes = vec![first];
        while self.eat_word("or") {
            nodes.push(self.and_expression(depth)?);
        }
        Ok(single_or(nodes, SyntaxNode::Any))
    }

    fn and_expression(&mut self, depth: usize) -> Result<SyntaxNode, FilterError> {
        let first = self.comparison(depth)?;
        let mut nodes = vec![first];
        while self.eat_word("and") {
            nodes.push(self.comparison(depth)?);
        }
        Ok(single_or(nodes, SyntaxNode::All))
    }

    fn comparison(&mut self, depth: usize) -> Result<SyntaxNode, FilterError> {
        let left = self.operand(depth)?;
        let Some(op) = self.tokens.peek().and_then(comparison_of) else {
            return Ok(left);
        };
        self.tokens.next();
        let right = self.operand(depth)?;
        Ok(SyntaxNode::Compare(Box::new(left), op, Box::new(right)))
    }

    fn operand(&mut self, depth: usize) -> Result<SyntaxNode, FilterError> {
        let mut node = self.primary(depth)?;
        while ARITHMETIC_OPERATORS
            .iter()
            .any(|operator| self.eat_word(operator))
        {
            self.primary(depth)?;
            node = SyntaxNode::Unsupported;
        }
        Ok(node)
    }

    fn primary(&mut self, depth: usize) -> Result<SyntaxNode, FilterError> {
        match self.tokens.next().ok_or(FilterError::Syntax)? {
            Token::Literal(literal) => Ok(SyntaxNode::Literal(literal)),
            Token::Open => {
                let node = self.or_expression(depth + 1)?;
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
                Ok(SyntaxNode::Unsupported)
            }
            Token::Word(word) if self.eat(&Token::Open) => self.call(word, depth),
            Token::Word(word) if is_keyword(&word) => Err(FilterError::Syntax),
            Token::Word(word) => Ok(SyntaxNode::Property(word)),
            Token::Close | Token::Comma => Err(FilterError::Syntax),
        }
    }

    fn call(&mut self, name: String, depth: usize) -> Result<SyntaxNode, FilterError> {
        let known = matches!(name.as_str(), "startswith" | "substringof");
        if !known && !UNSUPPORTED_FUNCTIONS.contains(&name.as_str()) {
            return Err(FilterError::Syntax);
        }
        let mut arguments = Vec::new();
        if !self.eat(&Token::Close) {
            loop {
                arguments.push(self.or_expression(depth + 1)?);
                if self.eat(&Token::Close) {
                    break;
                }
                if !self.eat(&Token::Comma) {
                    return Err(FilterError::Syntax);
                }
            }
        }
        Ok(SyntaxNode::Call(name, arguments))
    }
}

/// The only node, or several nodes joined.
fn single_or(mut nodes: Vec<SyntaxNode>, join: fn(Vec<SyntaxNode>) -> SyntaxNode) -> SyntaxNode {
    match nodes.pop() {
        Some(only) if nodes.is_empty() => only,
        Some(last) => {
            nodes.push(last);
            join(nodes)
        }
        None => join(nodes),
    }
}

fn comparison_of(token: &Token) -> Option<CompareOp> {
    let Token::Word(word) = token else {
        return None;
    };
    Some(match word.as_str() {
        "eq" => CompareOp::Eq,
        "ne" => CompareOp::Ne,
        "gt" => CompareOp::Gt,
        "lt" => CompareOp::Lt,
        "ge" => CompareOp::Ge,
        "le" => CompareOp::Le,
        _ => return None,
    })
}

fn is_keyword(word: &str) -> bool {
    matches!(word, "and" | "or")
}

/// Refuses unsupported operators and functions.
fn lower(node: SyntaxNode) -> Result<Expr, FilterError> {
    match node {
        SyntaxNode::All(nodes) => nodes
            .into_iter()
            .map(lower)
            .collect::<Result<_, _>>()
            .map(Expr::All),
        SyntaxNode::Any(nodes) => nodes
            .into_iter()
            .map(lower)
            .collect::<Result<_, _>>()
            .map(Expr::Any),
        SyntaxNode::Compare(left, op, right) => lower_comparison(*left, op, *right),
        SyntaxNode::Call(name, arguments) => lower_call(&name, arguments),
        SyntaxNode::Literal(_) | SyntaxNode::Property(_) | SyntaxNode::Unsupported => {
            Err(FilterError::UnsupportedOperator)
        }
    }
}

fn lower_comparison(
    left: SyntaxNode,
    op: CompareOp,
    right: SyntaxNode,
) -> Result<Expr, FilterError> {
    match (left, right) {
        (SyntaxNode::Property(name), SyntaxNode::Literal(literal)) => {
            Ok(Expr::Compare(name, op, literal))
        }
        // The check against the type reports an unknown name at the left first.
        (SyntaxNode::Property(name), SyntaxNode::Property(_)) => {
            Ok(Expr::Compare(name, op, Literal::Property))
        }
        (SyntaxNode::Unsupported, _) | (_, SyntaxNode::Unsupported) => {
            Err(FilterError::UnsupportedOperator)
        }
        (SyntaxNode::Call(name, _), _) | (_, SyntaxNode::Call(name, _))
            if UNSUPPORTED_FUNCTIONS.contains(&name.as_str()) =>
        {
            Err(FilterError::UnsupportedFunction)
        }
        _ => Err(FilterError::Syntax),
    }
}

fn lower_call(name: &str, arguments: Vec<SyntaxNode>) -> Result<Expr, FilterError> {
    if UNSUPPORTED_FUNCTIONS.contains(&name) {
        return Err(FilterError::UnsupportedFunction);
    }
    let [first, second]: [SyntaxNode; 2] = arguments.try_into().map_err(|_| FilterError::Syntax)?;
    let (target, argument) = if name == "startswith" {
        (first, second)
    } else {
        (second, first)
    };
    let SyntaxNode::Property(property) = target else {
        return Err(FilterError::Syntax);
    };
    let argument = match argument {
        SyntaxNode::Literal(literal) => Some(literal),
        SyntaxNode::Property(_) => None,
        _ => return Err(FilterError::Syntax),
    };
    Ok(if name == "startswith" {
        Expr::StartsWith(property, argument)
    } else {
        Expr::SubstringOf(property, argument)
    })
}
