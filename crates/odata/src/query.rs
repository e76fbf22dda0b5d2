//! Query options of requests for lists, entities and links.
//!
//! ```
//! use personium_odata::control;
//! use personium_odata::dialect::Dialect;
//! use personium_odata::query::{ListKind, ParsedListQuery, QueryLimits, QueryOptions};
//!
//! let options = QueryOptions::parse("$filter=Name+eq+%27a%27&$top=5");
//! let limits = QueryLimits::default();
//! let query = ParsedListQuery::parse(&options, &limits, ListKind::Set, Dialect::Original)?;
//! let query = query.check(control::cell().entity_type("Role").unwrap())?;
//! assert_eq!((query.paging.top, query.paging.skip), (5, 0));
//! # Ok::<(), personium_odata::query::QueryError>(())
//! ```

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::dialect::Dialect;
use crate::edm::{EntityType, PUBLISHED, UPDATED};
use crate::filter::{Filter, FilterError, Parsed, Typed};
use crate::full_text::FullTextQuery;
use crate::order::{Order, OrderError, ParsedOrder};
use crate::skip_token::SkipToken;

/// Limits of query options. `$top` and `$skip` are numbers of entities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryLimits {
    /// The value of `$top` if absent.
    pub default_top: u32,
    /// The maximum of `$top`.
    pub max_top: u32,
    /// The maximum of `$skip`.
    pub max_skip: u32,
    /// The maximum of `$top` together with `$expand`.
    pub max_top_with_expand: u32,
    /// The maximum number of navigation properties in `$expand` of a list.
    pub max_list_expands: usize,
    /// The maximum number of navigation properties in `$expand` of an entity.
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

/// The reason for which a query is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// `$top` or `$skip` is not an integer.
    #[error("{0} is not an integer")]
    NotInteger(&'static str),
    /// `$top`, `$skip` or `q` is out of its range, or `$skiptoken` is not from the link to a next page of such a list.
    #[error("{name} is out of range: {value}")]
    OutOfRange {
        /// The name of the option.
        name: &'static str,
        /// The value of the option.
        value: String,
    },
    /// `$inlinecount` is neither `allpages` nor `none`.
    #[error("$inlinecount does not have the value {0}")]
    UnknownInlineCount(String),
    /// `$select` cannot be parsed.
    #[error("$select cannot be parsed")]
    MalformedSelect,
    /// `$expand` cannot be parsed.
    #[error("$expand cannot be parsed")]
    MalformedExpand,
    /// `$expand` has a navigation property that the entity type does not have.
    #[error("$expand has the unknown navigation property {0}")]
    UnknownExpand(String),
    /// `$expand` has too many navigation properties.
    #[error("$expand has too many navigation properties")]
    TooManyExpands,
    /// `$filter` is invalid.
    #[error("$filter is invalid")]
    InvalidFilter(#[source] FilterError),
    /// `$orderby` is invalid.
    #[error("$orderby is invalid")]
    InvalidOrder(#[source] OrderError),
}

/// The decoded options of a query string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryOptions<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> QueryOptions<'a> {
    /// Splits and decodes a query string (`application/x-www-form-urlencoded`). Bytes that are not UTF-8 become U+FFFD.
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

    /// The value of the first option with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|(known, _)| known == name)
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

/// The properties in a response (`$select`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Select {
    /// All properties.
    #[default]
    All,
    /// The key, the time stamps and these.
    Only(Vec<String>),
}

impl Select {
    fn from_options(options: &QueryOptions<'_>) -> Result<Self, QueryError> {
        options.get("$select").map_or(Ok(Self::All), Self::parse)
    }

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

    /// Returns true if a response has the property of the entity type.
    #[must_use]
    pub fn includes(&self, entity_type: &EntityType, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => {
                name == PUBLISHED
                    || name == UPDATED
                    || entity_type.is_key(name)
                    || names.iter().any(|known| known == name)
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

/// The navigation properties whose targets are in a response (`$expand`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expand {
    names: Vec<String>,
}

impl Expand {
    fn from_options(options: &QueryOptions<'_>, max: usize) -> Result<Self, QueryError> {
        match options.get("$expand") {
            None | Some("") => Ok(Self::default()),
            Some(text) => Self::parse(text, max),
        }
    }

    fn parse(text: &str, max: usize) -> Result<Self, QueryError> {
        let mut names: Vec<String> = Vec::new();
        for item in text.split(',') {
            let name = item.trim_matches(' ');
            if !name.starts_with('_') || !is_name(name) {
                return Err(QueryError::MalformedExpand);
            }
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        if names.len() > max {
            Err(QueryError::TooManyExpands)
        } else {
            Ok(Self { names })
        }
    }

    /// The names in the order of the option, without duplicates.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns true if there are no names.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Checks the names against an entity type.
    ///
    /// # Errors
    /// [`QueryError::UnknownExpand`] for the first unknown navigation property.
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

/// Whether a list has the number of matching entities, before `$skip` and `$top` (`$inlinecount`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InlineCount {
    /// The list does not have the number.
    #[default]
    None,
    /// The list has the number.
    AllPages,
}

/// The part of the matching entities that a list has (`$top` and `$skip`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paging {
    /// The maximum number of entities.
    pub top: u32,
    /// The number of entities that are skipped before.
    pub skip: u32,
}

impl Paging {
    /// Parses `$top` and `$skip`.
    ///
    /// # Errors
    /// [`QueryError::NotInteger`] or [`QueryError::OutOfRange`], for `$top` first.
    pub fn parse(options: &QueryOptions<'_>, limits: &QueryLimits) -> Result<Self, QueryError> {
        let top = number(options, "$top", limits.max_top)?.unwrap_or(limits.default_top);
        let skip = number(options, "$skip", limits.max_skip)?.unwrap_or(0);
        Ok(Self { top, skip })
    }
}

/// Parses an option that is a number from 0 to `max`, `None` if absent.
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

/// Whether a list has a link to its next page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NextLink {
    /// The list ends where `$top` says, or the dialect has no links.
    #[default]
    Never,
    /// The list has a link if there are more entities than the page holds.
    IfMore,
}

/// The kind of list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListKind {
    /// The entities of a set. Every option applies.
    Set,
    /// The targets of a navigation property. `q` is ignored.
    Navigation,
}

/// A list query in one of two states: [`ParsedListQuery`] or [`TypedListQuery`].
#[derive(Clone, Debug, PartialEq)]
pub struct ListQuery<F, O> {
    /// The part of the matching entities.
    pub paging: Paging,
    /// The position after which the list begins.
    pub after: Option<SkipToken>,
    /// Whether the list has a link to its next page.
    pub next_link: NextLink,
    /// The condition on entities.
    pub filter: Option<Filter<F>>,
    /// The order of entities.
    pub order: O,
    /// The properties in the response.
    pub select: Select,
    /// The navigation properties to expand.
    pub expand: Expand,
    /// Whether to count the matching entities.
    pub count: InlineCount,
    /// The full-text query.
    pub full_text: Option<FullTextQuery>,
}

/// A list query that was parsed.
pub type ParsedListQuery = ListQuery<Parsed, ParsedOrder>;
/// A list query that was checked against an entity type.
pub type TypedListQuery = ListQuery<Typed, Order>;

impl ParsedListQuery {
    /// Parses the options of a list in the order `$top`, `$skip`, `$filter`, `$select`, `$expand`, `$inlinecount`,
    /// `$orderby`, `q`, `$top` with `$expand`. `$format` belongs to [`crate::negotiate`].
    ///
    /// # Errors
    /// The first [`QueryError`] in this order.
    pub fn parse(
        options: &QueryOptions<'_>,
        limits: &QueryLimits,
        kind: ListKind,
        dialect: Dialect,
    ) -> Result<Self, QueryError> {
        let paging = Paging::parse(options, limits)?;
        let filter = options
            .get("$filter")
            .map(|text| Filter::parse_in(text, dialect))
            .transpose()
            .map_err(QueryError::InvalidFilter)?;
        let select = Select::from_options(options)?;
        let expand = Expand::from_options(options, limits.max_list_expands)?;
        let count = match options.get("$inlinecount") {
            None | Some("none") => InlineCount::None,
            Some("allpages") => InlineCount::AllPages,
            Some(other) => return Err(QueryError::UnknownInlineCount(other.to_owned())),
        };
        let (after, next_link) = pages(options, dialect)?;
        let order = options
            .get("$orderby")
            .map(ParsedOrder::parse)
            .transpose()
            .map_err(QueryError::InvalidOrder)?;
        let full_text = match options.get("q") {
            Some(text) if kind == ListKind::Set => Some(FullTextQuery::parse(text).map_err(
                |_| QueryError::OutOfRange {
                    name: "q",
                    value: text.to_owned(),
                },
            )?),
            _ => None,
        };
        if !expand.is_empty() && paging.top > limits.max_top_with_expand {
            return Err(QueryError::OutOfRange {
                name: "$top",
                value: paging.top.to_string(),
            });
        }
        Ok(Self {
            paging,
            after,
            next_link,
            filter,
            order: order.unwrap_or_default(),
            select,
            expand,
            count,
            full_text,
        })
    }

    /// Checks the query against an entity type.
    ///
    /// # Errors
    /// [`QueryError::InvalidFilter`], [`QueryError::InvalidOrder`], [`QueryError::UnknownExpand`] or
    /// [`QueryError::OutOfRange`] for `$skiptoken`, the first in this order.
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
        if let Some(token) = &self.after
            && let Some(values) = &token.values
            && values.len() != order.terms().len()
        {
            return Err(invalid_skip_token(&token.to_string()));
        }
        Ok(ListQuery {
            paging: self.paging,
            after: self.after,
            next_link: self.next_link,
            filter,
            order,
            select: self.select,
            expand: self.expand,
            count: self.count,
            full_text: self.full_text,
        })
    }
}

impl TypedListQuery {
    /// Whether the list is one of several pages, so that the order of entities with equal values matters.
    #[must_use]
    pub fn is_page(&self) -> bool {
        self.after.is_some() || self.next_link == NextLink::IfMore
    }
}

/// The position of `$skiptoken`, and whether the list has a link to its next page: in [`Dialect::Standard`] if the client did
/// not say how many entities it wants. In [`Dialect::Original`] a value that is no position is ignored.
fn pages(
    options: &QueryOptions<'_>,
    dialect: Dialect,
) -> Result<(Option<SkipToken>, NextLink), QueryError> {
    let text = options.get("$skiptoken");
    let after = text.and_then(SkipToken::parse);
    if let Some(text) = text
        && after.is_none()
        && dialect == Dialect::Standard
    {
        return Err(invalid_skip_token(text));
    }
    let is_paged = after.is_some() || dialect == Dialect::Standard;
    let next_link = if is_paged && options.get("$top").is_none() {
        NextLink::IfMore
    } else {
        NextLink::Never
    };
    Ok((after, next_link))
}

fn invalid_skip_token(text: &str) -> QueryError {
    QueryError::OutOfRange {
        name: "$skiptoken",
        value: text.to_owned(),
    }
}

/// The query of the URL of the next page: that of the request, still percent-encoded, with another position.
#[must_use]
pub fn next_page_query(raw: &str, token: &SkipToken) -> String {
    let is_kept = |pair: &&str| {
        let name = pair.split_once('=').map_or(*pair, |(name, _)| name);
        !pair.is_empty() && !matches!(&*decode(name), "$skip" | "$skiptoken")
    };
    let mut query: Vec<&str> = raw.split('&').filter(is_kept).collect();
    let token = format!("$skiptoken={token}");
    query.push(&token);
    query.join("&")
}

/// The options of a request for one entity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntityQuery {
    /// The properties in the response.
    pub select: Select,
    /// The navigation properties to expand.
    pub expand: Expand,
}

impl EntityQuery {
    /// Parses `$select` and `$expand`. [`Expand::check`] looks up the navigation properties.
    ///
    /// # Errors
    /// [`QueryError::MalformedSelect`], [`QueryError::MalformedExpand`] or [`QueryError::TooManyExpands`], the first in this
    /// order.
    pub fn parse(options: &QueryOptions<'_>, limits: &QueryLimits) -> Result<Self, QueryError> {
        Ok(Self {
            select: Select::from_options(options)?,
            expand: Expand::from_options(options, limits.max_entity_expands)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::control;
    use crate::value::Value;

    fn list(raw: &str) -> Result<TypedListQuery, QueryError> {
        list_in(raw, Dialect::Original)
    }

    fn list_in(raw: &str, dialect: Dialect) -> Result<TypedListQuery, QueryError> {
        let role = control::cell().entity_type("Role").unwrap();
        ParsedListQuery::parse(
            &QueryOptions::parse(raw),
            &QueryLimits::default(),
            ListKind::Set,
            dialect,
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
    fn absent_options_have_defaults() {
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
    fn invalid_options_have_their_own_errors() {
        for (raw, error) in [
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
            assert_eq!(list(raw).unwrap_err(), error, "{raw}");
        }
    }

    #[test]
    fn first_error_and_first_option_take_precedence() {
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
    fn list_without_top_has_a_next_page_in_the_standard_dialect() {
        let token = SkipToken::new("r", vec![Value::from("r")]).to_string();
        let standard = |raw: &str| list_in(raw, Dialect::Standard);
        for (raw, next_link) in [
            ("", NextLink::IfMore),
            ("$skip=5", NextLink::IfMore),
            ("$top=5", NextLink::Never),
        ] {
            assert_eq!(standard(raw).unwrap().next_link, next_link, "{raw}");
            assert_eq!(list(raw).unwrap().next_link, NextLink::Never, "{raw}");
        }
        let next = format!("$orderby=Name&$skiptoken={token}");
        for found in [standard(&next), list(&next)] {
            let found = found.unwrap();
            assert!(found.is_page() && found.after.is_some());
            assert_eq!(found.next_link, NextLink::IfMore);
        }
        for bad in ["x", "", &token] {
            let found = standard(&format!("$skiptoken={bad}"));
            assert_eq!(found, Err(range("$skiptoken", bad)), "{bad}");
        }
        assert!(!list("$skiptoken=x").unwrap().is_page());
    }

    #[test]
    fn query_of_the_next_page_keeps_other_options() {
        let token = SkipToken::new("1", Vec::new());
        let text = token.to_string();
        for (raw, kept) in [
            ("", ""),
            ("$skip=5&", ""),
            (
                "%24skip=5&$filter=a%20eq%20'%26'&q=x",
                "$filter=a%20eq%20'%26'&q=x&",
            ),
            ("$skiptoken=old&$expand=_A&x", "$expand=_A&x&"),
        ] {
            let found = next_page_query(raw, &token);
            assert_eq!(found, format!("{kept}$skiptoken={text}"), "{raw}");
        }
    }

    #[test]
    fn select_includes_key_and_timestamps() {
        let role = control::cell().entity_type("Role").unwrap();
        let account = control::cell().entity_type("Account").unwrap();
        let query = list("$select=Unknown,Type").unwrap();
        assert!(query.select.includes(role, "Name") && query.select.includes(role, "_Box.Name"));
        assert!(query.select.includes(account, "Type") && !query.select.includes(account, "Cell"));
        assert_eq!(list("$select=*,Name").unwrap().select, Select::All);
        let one = EntityQuery::parse(
            &QueryOptions::parse("$select=Type&$expand=_Role&$top=x"),
            &QueryLimits::default(),
        );
        assert_eq!(one.unwrap().expand.names(), ["_Role"]);
    }

    proptest! {
        #[test]
        fn arbitrary_query_does_not_panic(raw in "(\\$(top|skip|filter|select|expand|orderby|inlinecount)=[a-zA-Z0-9_'(),%+ -]*&?)*|\\PC*") {
            let _ = list(&raw);
        }
    }
}
