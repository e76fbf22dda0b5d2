//! The `$filter` option: reading, checking against a type, deciding about an entity.
//!
//! Only a filter that was checked can be asked about an entity: `Filter<Parsed>` becomes `Filter<Typed>`.

mod check;
mod eval;
mod lex;
mod syntax;
mod terms;

pub use eval::compare_values;
pub use syntax::{Literal, Op};
pub use terms::{Range, Term};

use std::sync::Arc;

use crate::edm::{EntityType, Property, SimpleType};
use crate::value::Value;
use crate::words::Phrase;

/// Longest filter in bytes.
pub const MAX_FILTER_BYTES: usize = 16 * 1024;
/// Deepest nesting of brackets, negations and function calls.
pub const MAX_FILTER_DEPTH: usize = 100;
/// Longest argument of `startswith` in characters.
pub const MAX_PREFIX_CHARS: usize = 1000;
/// Searches for phrases in one filter: each walks through the words of the text that it looks into.
pub const MAX_PHRASES: usize = 64;
/// Strings with more characters count as missing in comparisons and orders.
pub const MAX_COMPARED_CHARS: usize = 4096;

/// Why a filter is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Unparsable, too long or too deep; no property at the left; a complex property; an order against null or a
    /// boolean.
    #[error("the filter cannot be understood")]
    Syntax,
    /// An operator that is not supported, or none.
    #[error("the filter uses an operator that is not supported")]
    Operator,
    /// A function that is not supported.
    #[error("the filter uses a function that is not supported")]
    Function,
    /// The type has no such property.
    #[error("the filter names the unknown property {0}")]
    UnknownProperty(String),
    /// The literal is of another type than the property.
    #[error("the literal compared with {0} is of another type")]
    TypeMismatch(String),
    /// The literal is out of the range of the property's type.
    #[error("the literal compared with {0} is out of range")]
    OutOfRange(String),
    /// A backslash sequence in a string is malformed.
    #[error("the text {0} has a malformed escape sequence")]
    Escape(String),
    /// The prefix is longer than [`MAX_PREFIX_CHARS`].
    #[error("the prefix searched for is too long")]
    PrefixTooLong,
    /// There are more than [`MAX_PHRASES`] searches for phrases.
    #[error("the filter searches for too many phrases")]
    TooManyPhrases,
}

/// A filter in one of two states: [`Parsed`] or [`Typed`].
#[derive(Clone, Debug, PartialEq)]
pub struct Filter<S> {
    state: S,
}

/// A filter that is grammatical.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed(syntax::Expr);

/// A filter that fits an entity type.
#[derive(Clone, Debug, PartialEq)]
pub struct Typed(Test);

/// A property of the checked type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropertyRef {
    /// Name on the wire.
    pub name: Arc<str>,
    /// Position in [`EntityType::properties`].
    pub position: usize,
    /// Type of one value.
    pub simple: SimpleType,
    /// True for lists.
    pub list: bool,
}

impl PropertyRef {
    pub(crate) fn new(property: &Property, position: usize) -> Option<Self> {
        let simple = property.kind.simple()?;
        Some(Self {
            name: property.name.clone(),
            position,
            simple,
            list: property.is_list(),
        })
    }
}

/// A condition on one entity.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// Every condition holds.
    All(Vec<Test>),
    /// One of the conditions holds.
    Any(Vec<Test>),
    /// The value compares so with a value that is not null.
    Compare(PropertyRef, Op, Value),
    /// The value is null, absent or an empty list.
    IsNull(PropertyRef),
    /// The opposite of [`Test::IsNull`].
    IsNotNull(PropertyRef),
    /// The string starts with these characters.
    StartsWith(PropertyRef, String),
    /// The string has this phrase of words in it.
    HasPhrase(PropertyRef, Phrase),
}

impl Test {
    /// How many phrases it searches for.
    fn phrases(&self) -> usize {
        match self {
            Self::All(tests) | Self::Any(tests) => tests.iter().map(Self::phrases).sum(),
            Self::HasPhrase(..) => 1,
            Self::Compare(..) | Self::IsNull(_) | Self::IsNotNull(_) | Self::StartsWith(..) => 0,
        }
    }
}

impl Filter<Parsed> {
    /// Reads a filter, already decoded from the URL.
    ///
    /// # Errors
    /// [`FilterError::Syntax`], [`FilterError::Operator`] or [`FilterError::Function`]; limits are
    /// [`MAX_FILTER_BYTES`] and [`MAX_FILTER_DEPTH`].
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        syntax::parse(text).map(|expr| Self {
            state: Parsed(expr),
        })
    }

    /// Fits the filter to an entity type.
    ///
    /// # Errors
    /// The first [`FilterError`] from left to right; an unknown property before a bad literal. Then the limit
    /// [`MAX_PHRASES`].
    pub fn check(self, entity_type: &EntityType) -> Result<Filter<Typed>, FilterError> {
        let test = check::check(&self.state.0, entity_type)?;
        if test.phrases() > MAX_PHRASES {
            return Err(FilterError::TooManyPhrases);
        }
        Ok(Filter { state: Typed(test) })
    }
}

impl std::str::FromStr for Filter<Parsed> {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        Self::parse(text)
    }
}

impl Filter<Typed> {
    /// The condition.
    #[must_use]
    pub fn test(&self) -> &Test {
        &self.state.0
    }

    /// Decides about an entity; `get` gives the value of a property, null when absent.
    pub fn matches<'v>(&self, get: &dyn Fn(&PropertyRef) -> &'v Value) -> bool {
        eval::matches(&self.state.0, get)
    }

    /// Conditions that hold for every entity the filter matches, for the planner to choose an index by.
    ///
    /// Bounds of one property that is no list are joined; each element of a list may satisfy another condition,
    /// so their bounds are not.
    #[must_use]
    pub fn terms(&self) -> Vec<Term> {
        terms::terms(&self.state.0)
    }
}

#[cfg(test)]
mod tests;
