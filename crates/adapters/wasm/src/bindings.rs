//! The types and functions of `plugins/wit`.
#![allow(missing_docs, reason = "the WIT describes them")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_errors_doc,
    reason = "generated"
)]

wasmtime::component::bindgen!({
    path: "../../../plugins/wit",
    world: "plugin-with-host",
    imports: { default: async | trappable },
    exports: { default: async },
});
