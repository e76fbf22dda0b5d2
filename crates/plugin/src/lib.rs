//! Authentication plugins and script extensions: the contracts, the set of the loaded ones, the folder that they are loaded from, and
//! the plugin that asks a service of the operator over HTTP.
//!
//! An authentication plugin declares a grant type and account types ([`Declaration`]). It gets the form fields of a token request ([`PluginCall`])
//! and returns the name and type of an account ([`PluginIdentity`]), nothing, or an error of OAuth2 ([`PluginError`]). It reaches
//! the network, the time and randomness through a [`PluginHost`], which the crate `api` implements. [`LoadedPlugin`] holds each
//! plugin to its declaration and to limits.
//!
//! A script extension declares a class and its methods ([`ExtensionDeclaration`]), gets the arguments of a call ([`ExtensionCall`])
//! and returns a value. [`LoadedExtension`] holds it to its declaration and to limits.

mod call;
mod declaration;
mod extension;
mod extension_declaration;
mod folder;
mod http_plugin;
mod identity;
mod loaded;
mod loaded_extension;
mod manifest;
mod oauth_error;
mod registry;
mod service_url;
mod signature;

pub use call::{BoxError, PluginCall, PluginHost};
pub use declaration::Declaration;
pub use extension::{ExtensionCall, ExtensionError, ScriptExtension};
pub use extension_declaration::ExtensionDeclaration;
pub use folder::{Fingerprint, FolderError, FoundPlugin, PluginFolder, PluginState};
pub use http_plugin::HttpPluginKind;
pub use identity::{AuthPlugin, PluginError, PluginIdentity};
pub use loaded::LoadedPlugin;
pub use loaded_extension::LoadedExtension;
pub use manifest::{ExtensionSource, PluginKind, PluginSource};
pub use oauth_error::{OAuthError, printable_description};
pub use registry::{PluginRegistry, PluginSet};
pub use service_url::check_service_url;
