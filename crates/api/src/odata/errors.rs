//! The codes for errors of paths and queries.

use personium_odata::filter::FilterError;
use personium_odata::negotiate::NegotiationError;
use personium_odata::order::OrderError;
use personium_odata::path::PathError;
use personium_odata::query::QueryError;
use personium_types::{Code, Error};

pub(crate) fn path(error: &PathError) -> Error {
    match error {
        PathError::UnknownResource => Code::NoSuchPath,
        PathError::UnknownSet => Code::NoSuchSet,
        PathError::MalformedKey { .. } => Code::KeyParse,
        PathError::MalformedTargetKey => Code::LinkKeyParse,
    }
    .into()
}

pub(crate) fn query(error: &QueryError) -> Error {
    match error {
        QueryError::NotInteger(name) => Error::new(Code::QueryParse).with(*name),
        QueryError::OutOfRange { name, value } => {
            Error::new(Code::QueryRange).with(*name).with(value)
        }
        QueryError::UnknownInlineCount(value) => Error::new(Code::InlineCount).with(value),
        QueryError::MalformedSelect => Code::SelectParse.into(),
        QueryError::MalformedExpand => Code::ExpandParse.into(),
        QueryError::UnknownExpand(name) => Error::new(Code::ExpandUnknown).with(name),
        QueryError::TooManyExpands => Code::ExpandTooMany.into(),
        QueryError::InvalidFilter(error) => filter(error),
        QueryError::InvalidOrder(error) => order(error),
    }
}

fn filter(error: &FilterError) -> Error {
    match error {
        FilterError::Syntax => Code::FilterParse.into(),
        FilterError::UnsupportedOperator => Code::FilterOperator.into(),
        FilterError::UnsupportedFunction => Code::FilterFunction.into(),
        FilterError::UnknownProperty(name) => Error::new(Code::FilterProperty).with(name),
        FilterError::TypeMismatch(name) => Error::new(Code::FilterType).with(name),
        FilterError::OutOfRange(name) => Error::new(Code::FilterRange).with(name),
        FilterError::MalformedEscape(text) => Error::new(Code::FilterEscape).with(text),
        FilterError::PrefixTooLong | FilterError::TooManyPhrases => Code::QueryRefused.into(),
    }
}

fn order(error: &OrderError) -> Error {
    match error {
        OrderError::Syntax => Code::OrderbyParse.into(),
        OrderError::NotAProperty => Code::FilterParse.into(),
        OrderError::ListProperty(_) => Code::OrderbyList.into(),
    }
}

pub(crate) fn format(error: NegotiationError) -> Error {
    match error {
        NegotiationError::UnknownFormat(value) => Error::new(Code::FormatUnknown).with(value),
        NegotiationError::NotAcceptable(value) => Error::new(Code::NotAcceptableOdata).with(value),
    }
}
