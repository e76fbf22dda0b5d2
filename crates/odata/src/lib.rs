//! The OData version 2 language as this unit speaks it.
//!
//! Everything here is a function from text and schema to text and values: no I/O, no clock, no randomness,
//! no HTTP, no storage. Fault enums carry no wire codes; they have one variant for each case that a caller
//! has to tell apart, with the texts a message needs.
//!
//! | Module | What it knows |
//! |---|---|
//! | [`edm`], [`control`] | entity types, properties and associations; the fixed schemas of unit, cell and collection |
//! | [`value`], [`constraint`] | typed values, their JSON form and their named formats |
//! | [`body`] | request bodies: reading, defaults, validation, merging |
//! | [`key`], [`path`] | entity keys and the paths below a service root |
//! | [`query`], [`filter`], [`order`], [`full_text`] | query options and what they select |
//! | [`json`], [`atom`], [`edmx`], [`service_document`] | response bodies; `edmx` also reads metadata documents |
//! | [`negotiate`], [`conditions`], [`batch`] | formats, conditional requests, `$batch` |

pub mod atom;
pub mod batch;
pub mod body;
pub mod conditions;
pub mod constraint;
pub mod control;
pub mod edm;
pub mod edmx;
pub mod entity_rules;
pub mod entity_view;
pub mod filter;
pub mod full_text;
pub mod json;
pub mod key;
pub mod negotiate;
pub mod order;
pub mod path;
pub mod query;
pub mod service_document;
pub mod value;
mod xml;
