//! The `$filter` option: parsing, type checking, evaluation.
//!
//! [`Filter::parse`] returns a `Filter<Parsed>`, [`Filter::check`] makes it a `Filter<Typed>`. Only the latter can be
//! evaluated.
//!
//! ```
//! use personium_odata::edm::{EntityType, Property, SimpleType};
//! use personium_odata::filter::{Filter, FilterError};
//! use personium_odata::value::{Properties, Value};
//!
//! let name = Property::new("name", SimpleType::String);
//! let age = Property::new("age", SimpleType::Int32);
//! let person = EntityType::user_data("Person", vec![name, age]);
//!
//! let filter = Filter::parse("startswith(name,'A') and age ge 18")?.check(&person)?;
//! let mut ann = Properties::new();
//! ann.set("name", "Ann");
//! ann.set("age", Value::Int32(30));
//! assert!(filter.matches(&|property| ann.value(&property.name)));
//! ann.set("age", Value::Null);
//! assert!(!filter.matches(&|property| ann.value(&property.name)));
//!
//! let wrong_type = Filter::parse("age ge 'x'")?.check(&person);
//! assert_eq!(wrong_type, Err(FilterError::TypeMismatch("age".to_owned())));
//! # Ok::<(), FilterError>(())
//! ```

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

use crate::dialect::Dialect;
use crate::edm::{EntityType, Property, SimpleType};
use crate::full_text::Phrase;
use crate::value::Value;

/// The maximum size of a filter in bytes.
pub const MAX_FILTER_BYTES: usize = 16 * 1024;
/// The maximum depth of brackets, negations and function calls.
pub const MAX_FILTER_DEPTH: usize = 100;
/// The maximum length of the prefix of `startswith` in characters.
pub const MAX_PREFIX_CHARS: usize = 1000;
/// The maximum number of searches for phrases in one filter. Each of them splits the searched text into words.
pub const MAX_PHRASES: usize = 64;
/// The maximum length in characters of a string that takes part in comparisons and orders. A longer one is like null.
pub const MAX_COMPARED_CHARS: usize = 4096;

/// The reason for which a filter is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// The filter cannot be parsed, is too long or too deep, has no property at the left of an operator, names a complex
    /// property, or compares the order of null or a boolean.
    #[error("the filter cannot be parsed")]
    Syntax,
    /// The filter uses an operator that is not supported, or has none.
    #[error("the filter uses an operator that is not supported")]
    UnsupportedOperator,
    /// The filter uses a function that is not supported.
    #[error("the filter uses a function that is not supported")]
    UnsupportedFunction,
    /// The entity type does not have the property.
    #[error("the filter uses the unknown property {0}")]
    UnknownProperty(String),
    /// A literal does not have the type of the property.
    #[error("the literal for {0} has a different type")]
    TypeMismatch(String),
    /// A literal is out of the range of the type of the property.
    #[error("the literal for {0} is out of range")]
    OutOfRange(String),
    /// An escape sequence in a string is malformed.
    #[error("the string {0} has a malformed escape sequence")]
    MalformedEscape(String),
    /// The prefix is longer than [`MAX_PREFIX_CHARS`].
    #[error("the prefix of startswith is too long")]
    PrefixTooLong,
    /// The filter has more than [`MAX_PHRASES`] searches for phrases.
    #[error("the filter has too many searches for phrases")]
    TooManyPhrases,
}

/// A filter in the state [`Parsed`] or [`Typed`].
#[derive(Clone, Debug, PartialEq)]
pub struct Filter<S> {
    state: S,
}

/// The state of a filter that was parsed.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    expr: syntax::Expr,
    dialect: Dialect,
}

/// The state of a filter that was checked against an entity type.
#[derive(Clone, Debug, PartialEq)]
pub struct Typed(Condition);

/// A reference to a property of the entity type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropertyRef {
    /// The name of the property.
    pub name: Arc<str>,
    /// The position in [`EntityType::properties`].
    pub position: usize,
    /// The type of one value.
    pub simple: SimpleType,
    /// Whether the property is a list.
    pub is_list: bool,
}

impl PropertyRef {
    /// A reference to a property of a primitive type, `None` for a complex type.
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
    /// All conditions are true.
    All(Vec<Condition>),
    /// At least one condition is true.
    Any(Vec<Condition>),
    /// The comparison of the value with a value that is not null is true.
    Compare(PropertyRef, CompareOp, Value),
    /// The value is null, absent or an empty list.
    IsNull(PropertyRef),
    /// The value is neither null nor absent nor an empty list.
    IsNotNull(PropertyRef),
    /// The string starts with the prefix.
    StartsWith(PropertyRef, String),
    /// The string contains the phrase.
    HasPhrase(PropertyRef, Phrase),
}

impl Condition {
    /// The number of searches for phrases.
    fn phrase_count(&self) -> usize {
        match self {
            Self::All(conditions) | Self::Any(conditions) => {
                conditions.iter().map(Self::phrase_count).sum()
            }
            Self::HasPhrase(..) => 1,
            Self::Compare(..) | Self::IsNull(_) | Self::IsNotNull(_) | Self::StartsWith(..) => 0,
        }
    }
}

impl Filter<Parsed> {
    /// Parses a filter that was decoded from the URL.
    ///
    /// # Errors
    /// [`FilterError::Syntax`], also for more than [`MAX_FILTER_BYTES`] or [`MAX_FILTER_DEPTH`];
    /// [`FilterError::UnsupportedOperator`]; [`FilterError::UnsupportedFunction`].
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        Self::parse_in(text, Dialect::Original)
    }

    /// As [`Filter::parse`]. In [`Dialect::Standard`] every kind of number is compared with every numeric property, also with
    /// the suffixes `f` and `m`.
    ///
    /// # Errors
    /// As [`Filter::parse`].
    pub fn parse_in(text: &str, dialect: Dialect) -> Result<Self, FilterError> {
        syntax::parse(text).map(|expr| Self {
            state: Parsed { expr, dialect },
        })
    }

    /// Checks the filter against an entity type.
    ///
    /// # Errors
    /// The first [`FilterError`] from left to right, an unknown property before its literal. At the end
    /// [`FilterError::TooManyPhrases`].
    pub fn check(self, entity_type: &EntityType) -> Result<Filter<Typed>, FilterError> {
        let condition = check::check(&self.state.expr, self.state.dialect, entity_type)?;
        if condition.phrase_count() > MAX_PHRASES {
            return Err(FilterError::TooManyPhrases);
        }
        Ok(Filter {
            state: Typed(condition),
        })
    }
}

impl std::str::FromStr for Filter<Parsed> {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        Self::parse(text)
    }
}

impl Filter<Typed> {
    /// The condition on an entity.
    #[must_use]
    pub fn condition(&self) -> &Condition {
        &self.state.0
    }

    /// Evaluates the filter on an entity. `get` returns the value of a property, null if absent.
    pub fn matches<'v>(&self, get: &dyn Fn(&PropertyRef) -> &'v Value) -> bool {
        eval::matches(&self.state.0, get)
    }

    /// Value ranges of properties that every matching entity is in, for the choice of an index.
    ///
    /// Bounds of one property are joined unless it is a list, where different elements may be in each range.
    #[must_use]
    pub fn necessary_ranges(&self) -> Vec<PropertyRange> {
        ranges::necessary_ranges(&self.state.0)
    }
}

#[cfg(test)]
mod tests;
