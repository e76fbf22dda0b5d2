//! The codes for errors of paths and queries.

use personium_odata::filter::FilterError;
use personium_odata::negotiate::FormatChoiceError;
use personium_odata::order::OrderError;
use personium_odata::path::PathError;
use personium_odata::query::QueryError;
use personium_types::{Code, Error};

pub(crate) fn path(error: &PathError) -> Error {
    match error {
        PathError::NoMatch => Code::NoSuchPath,
        PathError::NoSet => Code::NoSuchSet,
        PathError::Key { .. } => Code::KeyParse,
        PathError::TargetKey => Code::LinkKeyParse,
    }
    .into()
}

pub(crate) fn query(error: &QueryError) -> Error {
    match error {
        QueryError::NotInteger(name) => Error::new(Code::QueryParse).with(*name),
        QueryError::OutOfRange { name, value } => {
            Error::new(Code::QueryRange).with(*name).with(value)
        }
        QueryError::InlineCount(value) => Error::new(Code::InlineCount).with(value),
        QueryError::Select => Code::SelectParse.into(),
        QueryError::Expand => Code::ExpandParse.into(),
        QueryError::ExpandUnknown(name) => Error::new(Code::ExpandUnknown).with(name),
        QueryError::ExpandTooMany => Code::ExpandTooMany.into(),
        QueryError::Filter(error) => filter(error),
        QueryError::Order(error) => order(error),
    }
}

fn filter(error: &FilterError) -> Error {
    match error {
        FilterError::Syntax => Code::FilterParse.into(),
        FilterError::Operator => Code::FilterOperator.into(),
        FilterError::Function => Code::FilterFunction.into(),
        FilterError::UnknownProperty(name) => Error::new(Code::FilterProperty).with(name),
        FilterError::TypeMismatch(name) => Error::new(Code::FilterType).with(name),
        FilterError::OutOfRange(name) => Error::new(Code::FilterRange).with(name),
        FilterError::Escape(text) => Error::new(Code::FilterEscape).with(text),
        FilterError::PrefixTooLong | FilterError::TooManyPhrases => Code::QueryRefused.into(),
    }
}

fn order(error: &OrderError) -> Error {
    match error {
        OrderError::Syntax => Code::OrderbyParse.into(),
        OrderError::NoProperty => Code::FilterParse.into(),
        OrderError::List(_) => Code::OrderbyList.into(),
    }
}

pub(crate) fn format(error: FormatChoiceError) -> Error {
    match error {
        FormatChoiceError::Option(value) => Error::new(Code::FormatUnknown).with(value),
        FormatChoiceError::Accept(value) => Error::new(Code::NotAcceptableOdata).with(value),
    }
}
