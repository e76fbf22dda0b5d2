//! The `$filter` option: reading, checking against a type, deciding about an entity.
//!
//! Only a filter that was checked can be asked about an entity: `Filter<Parsed>` becomes `Filter<Typed>`.

mod check;
mod eval;
mod lex;
mod literal;
mod ranges;
mod syntax;

pub use eval::compare_values;
pub use literal::Literal;
pub use ranges::{PropertyRange, ValueRange};
pub use syntax::CompareOp;

use std::sync::Arc;

use crate::edm::{EntityType, Property, SimpleType};
use crate::full_text::Phrase;
use crate::value::Value;

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
    UnsupportedOperator,
    /// A function that is not supported.
    #[error("the filter uses a function that is not supported")]
    UnsupportedFunction,
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
    MalformedEscape(String),
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
pub struct Typed(Condition);

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
    pub is_list: bool,
}

impl PropertyRef {
    pub(crate) fn new(property: &Property, position: usize) -> Option<Self> {
        let simple = property.value_type.simple()?;
        Some(Self {
            name: property.name.clone(),
            position,
            simple,
            is_list: property.is_list(),
        })
    }
}

/// A condition on one entity.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// Every condition holds.
    All(Vec<Condition>),
    /// One of the conditions holds.
    Any(Vec<Condition>),
    /// The value compares so with a value that is not null.
    Compare(PropertyRef, CompareOp, Value),
    /// The value is null, absent or an empty list.
    IsNull(PropertyRef),
    /// The opposite of [`Test::IsNull`].
    IsNotNull(PropertyRef),
    /// The string starts with these characters.
    StartsWith(PropertyRef, String),
    /// The string has this phrase of words in it.
    HasPhrase(PropertyRef, Phrase),
}

impl Condition {
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
    pub fn condition(&self) -> &Condition {
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
    pub fn necessary_ranges(&self) -> Vec<PropertyRange> {
        ranges::necessary_ranges(&self.state.0)
    }
}

#[cfg(test)]
mod tests;
