//! Limits of OData.

use personium_model::settings::Dialect;

use super::section::section;
use super::value_parser::{LevelLimits, Number, OneOf};

section! {
    /// Limits of OData requests.
    ODataConfig "OData" {
        /// The form of OData responses for clients that send neither DataServiceVersion nor MaxDataServiceVersion:
        /// original (one entity is in "results", lists have no "__next", as in units of version 1) or standard, which
        /// general OData clients expect.
        dialect: Dialect = "odata.dialect", "original",
            OneOf(&[("original", Dialect::Original), ("standard", Dialect::Standard)]);
        /// The largest number of requests in a batch.
        batch_max: usize = "odata.batch.bulkRequestMaxSize", "1000", Number(1..=100_000);
        /// The number of milliseconds that a batch may take; its remaining requests are refused then.
        batch_timeout_ms: u64 = "odata.batch.timeoutInMillis", "270000", Number(1..=86_400_000);
        /// The pause within a batch in milliseconds.
        _batch_sleep_ms: u64 = "odata.batch.sleepInMillis", "50", Number(0..=86_400_000);
        /// The time between two pauses in milliseconds.
        _batch_sleep_interval_ms: u64 = "odata.batch.sleepIntervalInMillis", "1000", Number(1..=86_400_000);
        /// The largest number of links of one entity in a relation of many to many entities.
        links_max: u64 = "odata.links.NtoN.maxnum", "150000", Number(1..=u64::from(u32::MAX));
        /// The largest number of entities that a property in $expand adds to each entity of a list.
        expand_list_max: usize = "odata.expand.list.maxnum", "100", Number(1..=1_000_000);
        /// The largest number of entities that a property in $expand adds to a single entity.
        expand_retrieve_max: usize = "odata.expand.retrieve.maxnum", "1000", Number(1..=1_000_000);
        /// The largest value of $top.
        top_max: u32 = "odata.query.top.maxnum", "10000", Number(1..=1_000_000);
        /// The largest value of $skip.
        skip_max: u32 = "odata.query.skip.maxnum", "100000", Number(0..=1_000_000_000);
        /// The largest sum of $skip and $top.
        result_window_max: u64 = "es.index.maxResultWindow", "150000", Number(1..=u64::from(u32::MAX));
        /// The page size of a list without $top.
        top_default: u32 = "odata.query.top.default", "25", Number(0..=1_000_000);
        /// The largest value of $top together with $expand.
        expand_top_max: u32 = "odata.query.expand.top.maxnum", "100", Number(1..=1_000_000);
        /// The largest number of properties in $expand of a list.
        expand_list_properties_max: usize = "odata.query.expand.property.maxnum.list", "2", Number(1..=1000);
        /// The largest number of properties in $expand of a single entity.
        expand_retrieve_properties_max: usize = "odata.query.expand.property.maxnum.retrieve", "10", Number(1..=1000);
        /// The largest size of a request body with an entity in bytes.
        body_max_bytes: usize = "odata.body.maxBytes", "33554432", Number(1024..=1 << 30);
        /// The largest size of a batch body in bytes.
        batch_body_max_bytes: usize = "odata.batch.maxBytes", "67108864", Number(1024..=1 << 30);
        /// The largest total size of the values of one entity in bytes; a larger entity is refused.
        entity_max_bytes: usize = "odata.entity.maxBytes", "4194304", Number(1024..=1 << 30);
        /// The largest total size of the values in a response in bytes, expanded entities and all responses of a batch
        /// included. A request whose response would be larger is refused.
        response_max_bytes: usize = "odata.response.maxBytes", "67108864", Number(1024..=1 << 40);
        /// The number of milliseconds that a query may take; it is refused then.
        query_timeout_ms: u64 = "odata.query.timeoutInMillis", "60000", Number(1..=86_400_000);
    }
}

section! {
    /// Limits of the schemas that users define.
    SchemaConfig "OData schemas" {
        /// The largest number of entity types of a collection.
        entity_types_max: u64 = "box.odata.schema.MaxEntityTypes", "100", Number(1..=100_000);
        /// The largest number of properties of an entity type, those of its complex types included.
        properties_max: usize = "box.odata.schema.MaxProperties", "400", Number(1..=100_000);
        /// The largest number of simple properties on each level of nesting; * means that only the other limits apply.
        simple_layers: Vec<Option<usize>> = "box.odata.schema.property.LayerLimits.SimpleType", "*,50,30,10", LevelLimits;
        /// The largest number of complex properties on each level of nesting.
        complex_layers: Vec<Option<usize>> = "box.odata.schema.property.LayerLimits.ComplexType", "20,5,2,0", LevelLimits;
    }
}
