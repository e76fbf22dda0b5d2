//! The codes for faults of paths and queries.

use personium_odata::filter::FilterFault;
use personium_odata::negotiate::FormatChoiceFault;
use personium_odata::order::OrderFault;
use personium_odata::path::PathFault;
use personium_odata::query::QueryFault;
use personium_types::{Code, Error};

pub(crate) fn path(fault: &PathFault) -> Error {
    match fault {
        PathFault::NoMatch => Code::NoSuchPath,
        PathFault::NoSet => Code::NoSuchSet,
        PathFault::Key { .. } => Code::KeyParse,
        PathFault::TargetKey => Code::LinkKeyParse,
    }
    .into()
}

pub(crate) fn query(fault: &QueryFault) -> Error {
    match fault {
        QueryFault::NotInteger(name) => Error::new(Code::QueryParse).with(*name),
        QueryFault::OutOfRange { name, value } => {
            Error::new(Code::QueryRange).with(*name).with(value)
        }
        QueryFault::InlineCount(value) => Error::new(Code::InlineCount).with(value),
        QueryFault::Select => Code::SelectParse.into(),
        QueryFault::Expand => Code::ExpandParse.into(),
        QueryFault::ExpandUnknown(name) => Error::new(Code::ExpandUnknown).with(name),
        QueryFault::ExpandTooMany => Code::ExpandTooMany.into(),
        QueryFault::Filter(fault) => filter(fault),
        QueryFault::Order(fault) => order(fault),
    }
}

fn filter(fault: &FilterFault) -> Error {
    match fault {
        FilterFault::Syntax => Code::FilterParse.into(),
        FilterFault::Operator => Code::FilterOperator.into(),
        FilterFault::Function => Code::FilterFunction.into(),
        FilterFault::UnknownProperty(name) => Error::new(Code::FilterProperty).with(name),
        FilterFault::TypeMismatch(name) => Error::new(Code::FilterType).with(name),
        FilterFault::OutOfRange(name) => Error::new(Code::FilterRange).with(name),
        FilterFault::Escape(text) => Error::new(Code::FilterEscape).with(text),
        FilterFault::PrefixTooLong | FilterFault::TooManyPhrases => Code::QueryRefused.into(),
    }
}

fn order(fault: &OrderFault) -> Error {
    match fault {
        OrderFault::Syntax => Code::OrderbyParse.into(),
        OrderFault::NoProperty => Code::FilterParse.into(),
        OrderFault::List(_) => Code::OrderbyList.into(),
    }
}

pub(crate) fn format(fault: FormatChoiceFault) -> Error {
    match fault {
        FormatChoiceFault::Option(value) => Error::new(Code::FormatUnknown).with(value),
        FormatChoiceFault::Accept(value) => Error::new(Code::NotAcceptableOdata).with(value),
    }
}
