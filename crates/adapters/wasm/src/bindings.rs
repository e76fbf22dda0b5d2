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

/// The contract of authentication plugins.
pub(crate) mod authentication {
    wasmtime::component::bindgen!({
        path: "../../../plugins/wit",
        world: "plugin-with-host",
        imports: { default: async | trappable },
        exports: { default: async },
    });
}

/// The contract of script extensions.
pub(crate) mod extension {
    wasmtime::component::bindgen!({
        path: "../../../plugins/wit/extension",
        world: "extension-with-host",
        imports: { default: async | trappable },
        exports: { default: async },
    });
}
