//! Query options of list, entity and link requests.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::edm::{EntityType, PUBLISHED, UPDATED};
use crate::filter::{Filter, FilterError, Parsed, Typed};
use crate::full_text::FullTextQuery;
use crate::order::{Order, OrderError, ParsedOrder};

/// Bounds of query options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryLimits {
    /// Entities of a list without `$top`.
    pub default_top: u32,
    /// Largest `$top`.
    pub max_top: u32,
    /// Largest `$skip`.
    pub max_skip: u32,
    /// Largest `$top` together with `$expand`.
    pub max_top_with_expand: u32,
    /// Most navigation properties expanded in a list.
    pub max_list_expands: usize,
    /// Most navigation properties expanded in one entity.
    pub max_entity_expands: usize,
}

impl Default for QueryLimits {
    fn default() -> Self {
        Self {
            default_top: 25,
            max_top: 10_000,
            max_skip: 100_000,
            max_top_with_expand: 100,
            max_list_expands: 2,
            max_entity_expands: 10,
        }
    }
}

/// Why a query is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// `$top` or `$skip` is no integer.
    #[error("{0} is no integer")]
    NotInteger(&'static str),
    /// `$top`, `$skip` or `q` is out of its range.
    #[error("{name} is out of range: {value}")]
    OutOfRange {
        /// Name of the option.
        name: &'static str,
        /// Its value.
        value: String,
    },
    /// `$inlinecount` is neither `allpages` nor `none`.
    #[error("$inlinecount has no such value: {0}")]
    UnknownInlineCount(String),
    /// `$select` cannot be parsed.
    #[error("$select cannot be parsed")]
    MalformedSelect,
    /// `$expand` cannot be parsed.
    #[error("$expand cannot be parsed")]
    MalformedExpand,
    /// `$expand` names a navigation property that the type lacks.
    #[error("$expand names the unknown navigation property {0}")]
    UnknownExpand(String),
    /// `$expand` names too many navigation properties.
    #[error("$expand names too many navigation properties")]
    TooManyExpands,
    /// `$filter` is refused.
    #[error("$filter is refused")]
    InvalidFilter(#[source] FilterError),
    /// `$orderby` is refused.
    #[error("$orderby is refused")]
    InvalidOrder(#[source] OrderError),
}

/// The options of a query string by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryOptions<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> QueryOptions<'a> {
    /// Splits and decodes a raw query string (`application/x-www-form-urlencoded`); bytes that are no UTF-8 become
    /// U+FFFD.
    #[must_use]
    pub fn parse(raw: &'a str) -> Self {
        let pairs = raw.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        Self {
            pairs: pairs.collect(),
        }
    }

    /// The value of the first option of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| &**value)
    }
}

fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains(['+', '%']) {
        return Cow::Borrowed(text);
    }
    let spaced = text.replace('+', " ");
    Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
}

/// Which properties an answer shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Select {
    /// All.
    #[default]
    All,
    /// Key, stamps and these.
    Only(Vec<String>),
}

impl Select {
    fn parse(text: &str) -> Result<Self, QueryError> {
        let mut names = Vec::new();
        let mut all = false;
        for item in text.split(',') {
            match item.trim_matches(' ') {
                "*" => all = true,
                name if is_name(name) => names.push(name.to_owned()),
                _ => return Err(QueryError::MalformedSelect),
            }
        }
        Ok(if all { Self::All } else { Self::Only(names) })
    }

    /// True when an answer shows that property of the type.
    #[must_use]
    pub fn shows(&self, entity_type: &EntityType, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => {
                name == PUBLISHED
                    || name == UPDATED
                    || entity_type.is_key(name)
                    || names.iter().any(|own| own == name)
            }
        }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

/// Navigation properties whose targets an answer shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expand {
    names: Vec<String>,
}

impl Expand {
    fn parse(text: &str, max: usize) -> Result<Self, QueryError> {
        let mut names: Vec<String> = Vec::new();
        if text.is_empty() {
            return Ok(Self { names });
        }
        for item in text.split(',') {
            let name = item.trim_matches(' ');
            if !name.starts_with('_') || !is_name(name) {
                return Err(QueryError::MalformedExpand);
            }
            if !names.iter().any(|own| own == name) {
                names.push(name.to_owned());
            }
        }
        if names.len() > max {
            Err(QueryError::TooManyExpands)
        } else {
            Ok(Self { names })
        }
    }

    /// The names in order, each once.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// True without names.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Fits the names to an entity type.
    ///
    /// # Errors
    /// [`QueryError::ExpandUnknown`]
    pub fn check(&self, entity_type: &EntityType) -> Result<(), QueryError> {
        match self
            .names
            .iter()
            .find(|name| entity_type.navigation(name).is_none())
        {
            Some(unknown) => Err(QueryError::UnknownExpand(unknown.clone())),
            None => Ok(()),
        }
    }
}

/// Whether a list tells how many entities there are before `$skip` and `$top`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InlineCount {
    /// It does not.
    #[default]
    None,
    /// It does.
    AllPages,
}

/// Which entities of the matching ones a list holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paging {
    /// How many at most.
    pub top: u32,
    /// How many are passed over before.
    pub skip: u32,
}

impl Paging {
    /// Reads `$top` and `$skip`.
    ///
    /// # Errors
    /// [`QueryError::NotInteger`] and [`QueryError::OutOfRange`], `$top` first.
    pub fn parse(options: &QueryOptions<'_>, limits: &QueryLimits) -> Result<Self, QueryError> {
        let top = number(options, "$top", limits.max_top)?.unwrap_or(limits.default_top);
        let skip = number(options, "$skip", limits.max_skip)?.unwrap_or(0);
        Ok(Self { top, skip })
    }
}

fn number(
    options: &QueryOptions<'_>,
    name: &'static str,
    max: u32,
) -> Result<Option<u32>, QueryError> {
    let Some(text) = options.get(name) else {
        return Ok(None);
    };
    let number: i64 = text.parse().map_err(|_| QueryError::NotInteger(name))?;
    match u32::try_from(number) {
        Ok(number) if number <= max => Ok(Some(number)),
        _ => Err(QueryError::OutOfRange {
            name,
            value: text.to_owned(),
        }),
    }
}

/// Which list a query asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListKind {
    /// The entities of a set: every option applies.
    Set,
    /// The targets of a navigation property: `q` does not apply.
    Navigation,
}

/// A list query in one of two states: with a filter as [`Parsed`] and an order as [`ParsedOrder`], or both
/// fitted to a type.
#[derive(Clone, Debug, PartialEq)]
pub struct ListQuery<F, O> {
    /// The part of the list that is asked for.
    pub paging: Paging,
    /// Condition on each entity.
    pub filter: Option<Filter<F>>,
    /// Order of the list.
    pub order: O,
    /// Properties to show.
    pub select: Select,
    /// Navigation properties to expand.
    pub expand: Expand,
    /// Whether to count.
    pub count: InlineCount,
    /// Full-text search.
    pub full_text: Option<FullTextQuery>,
}

/// A list query whose syntax is right.
pub type ParsedListQuery = ListQuery<Parsed, ParsedOrder>;
/// A list query that fits an entity type.
pub type TypedListQuery = ListQuery<Typed, Order>;

impl ParsedListQuery {
    /// Reads the options of a list in the order `$top`, `$skip`, `$filter`, `$select`, `$expand`, `$inlinecount`,
    /// `$orderby`, `q`, `$top` with `$expand`. `$format` is left to [`crate::negotiate`], `$callback` to
    /// [`Options::get`].
    ///
    /// # Errors
    /// The first [`QueryError`] in that order.
    pub fn parse(
        options: &QueryOptions<'_>,
        limits: &QueryLimits,
        kind: ListKind,
    ) -> Result<Self, QueryError> {
        let page = Paging::parse(options, limits)?;
        let filter = options
            .get("$filter")
            .map(Filter::parse)
            .transpose()
            .map_err(QueryError::InvalidFilter)?;
        let select = options
            .get("$select")
            .map(Select::parse)
            .transpose()?
            .unwrap_or_default();
        let expand = Expand::parse(
            options.get("$expand").unwrap_or(""),
            limits.max_list_expands,
        )?;
        let count = match options.get("$inlinecount") {
            None | Some("none") => InlineCount::None,
            Some("allpages") => InlineCount::AllPages,
            Some(other) => return Err(QueryError::UnknownInlineCount(other.to_owned())),
        };
        let order = options
            .get("$orderby")
            .map(ParsedOrder::parse)
            .transpose()
            .map_err(QueryError::InvalidOrder)?;
        let text = match options.get("q") {
            Some(text) if kind == ListKind::Set => Some(FullTextQuery::parse(text).map_err(
                |_| QueryError::OutOfRange {
                    name: "q",
                    value: text.to_owned(),
                },
            )?),
            _ => None,
        };
        if !expand.is_empty() && page.top > limits.max_top_with_expand {
            return Err(QueryError::OutOfRange {
                name: "$top",
                value: page.top.to_string(),
            });
        }
        Ok(Self {
            paging: page,
            filter,
            order: order.unwrap_or_default(),
            select,
            expand,
            count,
            full_text: text,
        })
    }

    /// Fits the query to an entity type.
    ///
    /// # Errors
    /// The first [`QueryError`] of `$filter`, `$orderby`, `$expand` in this order.
    pub fn check(self, entity_type: &EntityType) -> Result<TypedListQuery, QueryError> {
        let filter = self
            .filter
            .map(|filter| filter.check(entity_type))
            .transpose()
            .map_err(QueryError::InvalidFilter)?;
        let order = self
            .order
            .check(entity_type)
            .map_err(QueryError::InvalidOrder)?;
        self.expand.check(entity_type)?;
        Ok(ListQuery {
            paging: self.paging,
            filter,
            order,
            select: self.select,
            expand: self.expand,
            count: self.count,
            full_text: self.full_text,
        })
    }
}

/// The options of a request for one entity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntityQuery {
    /// Properties to show.
    pub select: Select,
    /// Navigation properties to expand.
    pub expand: Expand,
}

impl EntityQuery {
    /// Reads `$select` and `$expand`; whether the type has the navigation properties is checked by
    /// [`Expand::check`].
    ///
    /// # Errors
    /// [`QueryError::Select`], then [`QueryError::Expand`] and [`QueryError::ExpandTooMany`].
    pub fn parse(options: &QueryOptions<'_>, limits: &QueryLimits) -> Result<Self, QueryError> {
        Ok(Self {
            select: options
                .get("$select")
                .map(Select::parse)
                .transpose()?
                .unwrap_or_default(),
            expand: Expand::parse(
                options.get("$expand").unwrap_or(""),
                limits.max_entity_expands,
            )?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::control;

    fn list(raw: &str) -> Result<TypedListQuery, QueryError> {
        let role = control::cell().entity_type("Role").unwrap();
        ParsedListQuery::parse(
            &QueryOptions::parse(raw),
            &QueryLimits::default(),
            ListKind::Set,
        )?
        .check(role)
    }

    fn range(name: &'static str, value: &str) -> QueryError {
        QueryError::OutOfRange {
            name,
            value: value.to_owned(),
        }
    }

    #[test]
    fn defaults_apply() {
        let query = list("").unwrap();
        assert_eq!(query.paging, Paging { top: 25, skip: 0 });
        assert_eq!(
            (query.filter, query.select, query.count),
            (None, Select::All, InlineCount::None)
        );
        assert!(
            query.expand.is_empty() && query.full_text.is_none() && query.order.terms().is_empty()
        );
    }

    #[test]
    fn every_fault_is_told_apart() {
        for (raw, fault) in [
            ("$top=a", QueryError::NotInteger("$top")),
            ("$top=", QueryError::NotInteger("$top")),
            ("$top=%27test%27", QueryError::NotInteger("$top")),
            ("$top=-1", range("$top", "-1")),
            ("$top=10001", range("$top", "10001")),
            ("$skip=x", QueryError::NotInteger("$skip")),
            ("$skip=100001", range("$skip", "100001")),
            (
                "$inlinecount=",
                QueryError::UnknownInlineCount(String::new()),
            ),
            (
                "$inlinecount=All",
                QueryError::UnknownInlineCount("All".into()),
            ),
            ("$select=", QueryError::MalformedSelect),
            ("$select='a'", QueryError::MalformedSelect),
            ("$select=a,,b", QueryError::MalformedSelect),
            ("$expand=Box", QueryError::MalformedExpand),
            ("$expand=_Box,", QueryError::MalformedExpand),
            ("$expand=_", QueryError::UnknownExpand("_".into())),
            (
                "$expand=_Box,_Other",
                QueryError::UnknownExpand("_Other".into()),
            ),
            ("$expand=_Box,_Account,_ExtCell", QueryError::TooManyExpands),
            ("$expand=_Box&$top=101", range("$top", "101")),
            ("$filter=", QueryError::InvalidFilter(FilterError::Syntax)),
            (
                "$filter=x+eq+1",
                QueryError::InvalidFilter(FilterError::UnknownProperty("x".into())),
            ),
            ("$orderby=", QueryError::InvalidOrder(OrderError::Syntax)),
            ("q=", range("q", "")),
        ] {
            assert_eq!(list(raw).unwrap_err(), fault, "{raw}");
        }
    }

    #[test]
    fn the_first_fault_and_the_first_option_win() {
        assert_eq!(
            list("$orderby=&$select=&$top=x").unwrap_err(),
            QueryError::NotInteger("$top")
        );
        assert_eq!(
            list("$orderby=&$inlinecount=x").unwrap_err(),
            QueryError::UnknownInlineCount("x".into())
        );
        assert_eq!(
            list("$filter=x+eq+1&$orderby=").unwrap_err(),
            QueryError::InvalidOrder(OrderError::Syntax)
        );
        assert_eq!(list("$top=3&$top=x").unwrap().paging.top, 3);
        assert_eq!(list("$top=0&$skiptoken=x&other").unwrap().paging.top, 0);
        assert_eq!(list("$expand=&$top=10000").unwrap().paging.top, 10_000);
    }

    #[test]
    fn selection_keeps_key_and_stamps() {
        let role = control::cell().entity_type("Role").unwrap();
        let account = control::cell().entity_type("Account").unwrap();
        let query = list("$select=Unknown,Type").unwrap();
        assert!(query.select.shows(role, "Name") && query.select.shows(role, "_Box.Name"));
        assert!(query.select.shows(account, "Type") && !query.select.shows(account, "Cell"));
        assert_eq!(list("$select=*,Name").unwrap().select, Select::All);
        let one = EntityQuery::parse(
            &QueryOptions::parse("$select=Type&$expand=_Role&$top=x"),
            &QueryLimits::default(),
        );
        assert_eq!(one.unwrap().expand.names(), ["_Role"]);
    }

    proptest! {
        #[test]
        fn any_query_is_answered(raw in "(\\$(top|skip|filter|select|expand|orderby|inlinecount)=[a-zA-Z0-9_'(),%+ -]*&?)*|\\PC*") {
            let _ = list(&raw);
        }
    }
}
