//! A loaded script extension, which is held to its declaration and to limits.

use std::sync::Arc;
use std::time::Duration;

use personium_types::ExtensionValue;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::extension::{ExtensionCall, ExtensionError, ScriptExtension};
use crate::extension_declaration::ExtensionDeclaration;

/// The time for one call. Kinds of plugins have shorter ones.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest number of arguments, those of the constructor included.
const MAX_ARGUMENTS: usize = 100;
/// The largest length of the text of an extension that refuses, in characters.
const MAX_REFUSAL_CHARS: usize = 2_000;

/// An extension that can be called. A call that would be one too many at once is refused.
pub struct LoadedExtension {
    declaration: ExtensionDeclaration,
    calls: Semaphore,
    extension: Arc<dyn ScriptExtension>,
}

impl LoadedExtension {
    /// An extension of which at most `calls_max` calls run at once.
    #[must_use]
    pub fn new(
        declaration: ExtensionDeclaration,
        extension: Arc<dyn ScriptExtension>,
        calls_max: usize,
    ) -> Self {
        Self {
            declaration,
            calls: Semaphore::new(calls_max),
            extension,
        }
    }

    /// Its declaration.
    #[must_use]
    pub fn declaration(&self) -> &ExtensionDeclaration {
        &self.declaration
    }

    /// Calls a method. The result is bounded, and JSON in it is valid.
    ///
    /// # Errors
    /// [`ExtensionError`]
    pub async fn invoke(&self, call: &ExtensionCall<'_>) -> Result<ExtensionValue, ExtensionError> {
        if !self.declaration.methods.iter().any(|m| m == call.method) {
            return Err(ExtensionError::Refused(
                "there is no such method".to_owned(),
            ));
        }
        let arguments = || call.created_with.iter().chain(call.arguments);
        let size: usize = arguments().map(ExtensionValue::size).sum();
        if arguments().count() > MAX_ARGUMENTS || size > ExtensionValue::MAX_BYTES {
            let text = format!(
                "there are more than {MAX_ARGUMENTS} arguments, or more than {} bytes in them",
                ExtensionValue::MAX_BYTES
            );
            return Err(ExtensionError::Refused(text));
        }
        let permit = self.calls.try_acquire();
        let _permit = permit.map_err(|_| {
            ExtensionError::Unavailable("too many calls of the extension at once".into())
        })?;
        let answer = tokio::time::timeout(CALL_TIMEOUT, self.extension.invoke(call)).await;
        let answer = answer.map_err(|late| ExtensionError::Unavailable(late.into()))?;
        match answer {
            Ok(value) => checked(value),
            Err(ExtensionError::Refused(text)) => Err(ExtensionError::Refused(
                text.chars().take(MAX_REFUSAL_CHARS).collect(),
            )),
            Err(error) => Err(error),
        }
    }
}

fn checked(value: ExtensionValue) -> Result<ExtensionValue, ExtensionError> {
    if value.size() > ExtensionValue::MAX_BYTES {
        return Err(ExtensionError::Broken("its result is too large".into()));
    }
    if let ExtensionValue::Json(text) = &value {
        // This has a limit of nesting.
        let parsed = serde_json::from_str::<Value>(text);
        let reason = "its result is not JSON, or is nested too deeply";
        parsed.map_err(|_| ExtensionError::Broken(reason.into()))?;
    }
    Ok(value)
}
