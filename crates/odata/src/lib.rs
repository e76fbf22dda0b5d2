//! The OData version 2 language as this unit implements it.
//!
//! Every function here computes its result from text, a schema and values: no I/O, no clock, no randomness, no HTTP, no
//! storage. Error enums have no wire codes; they have one variant for each case that a caller distinguishes.
//!
//! | Module | Content |
//! |---|---|
//! | [`edm`], [`control`] | entity types, properties and associations; the fixed schemas of unit, cell and collection |
//! | [`value`], [`constraint`] | typed values and their JSON form; named value formats |
//! | [`body`], [`entity_rules`] | request bodies: parsing, defaults, validation, merging; rules across several members |
//! | [`key`], [`path`] | entity keys and the paths below a service root |
//! | [`query`], [`filter`], [`order`], [`full_text`], [`skip_token`] | query options and their evaluation |
//! | [`entity_view`], [`json`], [`atom`], [`edmx`], [`service_document`] | response bodies; `edmx` also reads metadata documents |
//! | [`dialect`], [`negotiate`], [`batch`] | response formats, `$batch` |

pub mod atom;
pub mod batch;
pub mod body;
pub mod constraint;
pub mod control;
pub mod dialect;
pub mod edm;
pub mod edmx;
pub mod entity_rules;
pub mod entity_view;
pub mod filter;
pub mod full_text;
pub mod json;
pub mod key;
mod multiplicity;
pub mod negotiate;
pub mod order;
pub mod path;
pub mod query;
pub mod service_document;
pub mod skip_token;
pub mod value;
mod xml;
