//! Limits of OData.

use super::rule::{Layers, Number};
use super::section::section;

section! {
    /// Limits of OData requests.
    Odata "OData" {
        /// Requests in a batch.
        batch_max: usize = "odata.batch.bulkRequestMaxSize", "1000", Number(1..=100_000);
        /// Milliseconds that a whole batch may take; what is left then is refused.
        batch_timeout_ms: u64 = "odata.batch.timeoutInMillis", "270000", Number(1..=86_400_000);
        /// Pause within batches; no effect, since a batch makes room for others by itself.
        _batch_sleep: u64 = "odata.batch.sleepInMillis", "50", Number(0..=86_400_000);
        /// How often to pause; no effect.
        _batch_sleep_interval: u64 = "odata.batch.sleepIntervalInMillis", "1000", Number(1..=86_400_000);
        /// Links of one entity into one other set, where both sides may have many.
        link_max: u64 = "odata.links.NtoN.maxnum", "150000", Number(1..=u64::from(u32::MAX));
        /// Entities that each property of $expand brings with each entity of a list.
        expand_list_max: usize = "odata.expand.list.maxnum", "100", Number(1..=1_000_000);
        /// Entities that each property of $expand brings with a single entity.
        expand_retrieve_max: usize = "odata.expand.retrieve.maxnum", "1000", Number(1..=1_000_000);
        /// The largest $top.
        top_max: u32 = "odata.query.top.maxnum", "10000", Number(1..=1_000_000);
        /// The largest $skip.
        skip_max: u32 = "odata.query.skip.maxnum", "100000", Number(0..=1_000_000_000);
        /// The size of a page without $top.
        top_default: u32 = "odata.query.top.default", "25", Number(0..=1_000_000);
        /// The largest $top together with $expand.
        expand_top_max: u32 = "odata.query.expand.top.maxnum", "100", Number(1..=1_000_000);
        /// Properties in $expand of a list.
        expand_list_properties: usize = "odata.query.expand.property.maxnum.list", "2", Number(1..=1000);
        /// Properties in $expand of a single entity.
        expand_retrieve_properties: usize = "odata.query.expand.property.maxnum.retrieve", "10", Number(1..=1000);
        /// Bytes of the body of an entity.
        body_max: usize = "odata.body.maxBytes", "33554432", Number(1024..=1 << 30);
        /// Bytes of the body of a batch.
        batch_body_max: usize = "odata.batch.maxBytes", "67108864", Number(1024..=1 << 30);
        /// Bytes of the values of one entity; a larger one is not stored.
        entity_max: usize = "odata.entity.maxBytes", "4194304", Number(1024..=1 << 30);
        /// Bytes of the values in an answer with many entities, expanded ones and those of a batch included; what has more is refused.
        answer_max: usize = "odata.answer.maxBytes", "67108864", Number(1024..=1 << 40);
        /// Milliseconds that a list may take; a query that takes longer is refused.
        query_timeout_ms: u64 = "odata.query.timeoutInMillis", "60000", Number(1..=86_400_000);
    }
}

section! {
    /// Limits of schemas that people define.
    UserSchema "OData schemas" {
        /// Entity types of a collection.
        entity_types_max: u64 = "box.odata.schema.MaxEntityTypes", "100", Number(1..=100_000);
        /// Properties of an entity type, those of its complex types included.
        properties_max: usize = "box.odata.schema.MaxProperties", "400", Number(1..=100_000);
        /// Simple properties on each level of nesting; * is what the other limits leave.
        simple_layers: Vec<Option<usize>> = "box.odata.schema.property.LayerLimits.SimpleType", "*,50,30,10", Layers;
        /// Complex properties on each level of nesting.
        complex_layers: Vec<Option<usize>> = "box.odata.schema.property.LayerLimits.ComplexType", "20,5,2,0", Layers;
    }
}
