//! Contracts of components: what they export, and what they may import.

use wasmtime::Store;
use wasmtime::component::{InstancePre, Linker};

use crate::host::GuestState;
use crate::memory_budget::MemoryUse;
use crate::settings::Grant;

/// A contract of `plugins/wit`. A value is a component that is linked with what it may use.
pub(crate) trait Contract: Sized + Send + Sync + 'static {
    /// The name of the package in WIT, with `/` behind it. Every version 1 is understood.
    const PACKAGE: &'static str;
    /// The interface that a component exports.
    const EXPORT: &'static str;
    /// The purpose of its calls.
    const MEMORY: MemoryUse;
    /// A question to a component.
    type Question: Send + 'static;
    /// The answer to one.
    type Answer: Send + 'static;

    /// Lets components import what is granted.
    ///
    /// # Errors
    /// A failure of the engine.
    fn grant(linker: &mut Linker<GuestState>, grant: Grant) -> wasmtime::Result<()>;

    /// The component, if its exports have the types of the contract.
    ///
    /// # Errors
    /// They do not.
    fn link(instance: InstancePre<GuestState>) -> wasmtime::Result<Self>;

    /// Makes an instance, and asks it. Without a question, it is only made.
    ///
    /// # Errors
    /// The code has trapped, was interrupted, or breaks the rules of components.
    fn enter(
        &self,
        store: &mut Store<GuestState>,
        question: Option<Self::Question>,
    ) -> impl Future<Output = wasmtime::Result<Option<Self::Answer>>> + Send;
}

/// The version of the contracts.
const VERSION: &str = "@1.";

/// The interface of a contract that a name of an import or export means; `None` for other names.
pub(crate) fn interface<C: Contract>(name: &str) -> Option<&str> {
    let (interface, _) = name.strip_prefix(C::PACKAGE)?.split_once(VERSION)?;
    Some(interface)
}
