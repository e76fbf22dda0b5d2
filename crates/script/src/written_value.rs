//! Values of extensions on their way between a script, its worker and the unit.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use personium_types::ExtensionValue;
use serde::{Deserialize, Serialize};

use crate::host::{ExtensionCall, HostError, HostErrorKind};

const ABSENT: &str = "absent";
const BOOLEAN: &str = "boolean";
const NUMBER: &str = "number";
const TEXT: &str = "text";
const JSON: &str = "json";
const BYTES: &str = "bytes";
/// The handle of a stream of the script.
const STREAM: &str = "stream";

/// The kind of a value, and the value as text. Bytes are Base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WrittenValue(String, String);

/// A call of a method of an extension.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WrittenCall {
    pub(crate) extension: String,
    pub(crate) method: String,
    pub(crate) created_with: Vec<WrittenValue>,
    pub(crate) arguments: Vec<WrittenValue>,
}

impl WrittenValue {
    fn new(kind: &str, text: impl Into<String>) -> Self {
        Self(kind.to_owned(), text.into())
    }

    /// The stream with this handle.
    pub(crate) fn of_stream(handle: u32) -> Self {
        Self::new(STREAM, handle.to_string())
    }

    /// The handle, if it is a stream.
    pub(crate) fn stream(&self) -> Option<u32> {
        let text = (self.0 == STREAM).then_some(&self.1)?;
        Some(text.parse().unwrap_or(u32::MAX))
    }

    /// The value.
    ///
    /// # Errors
    /// [`HostErrorKind::Argument`] if it is none, or a stream.
    pub(crate) fn read(self) -> Result<ExtensionValue, HostError> {
        let Self(kind, text) = self;
        let read = match kind.as_str() {
            ABSENT => Some(ExtensionValue::Absent),
            BOOLEAN => text.parse().ok().map(ExtensionValue::Boolean),
            NUMBER => text.parse().ok().map(ExtensionValue::Number),
            TEXT => Some(ExtensionValue::Text(text)),
            JSON => Some(ExtensionValue::Json(text)),
            BYTES => STANDARD.decode(text).ok().map(ExtensionValue::Bytes),
            _ => None,
        };
        read.ok_or_else(|| HostError::new(HostErrorKind::Argument, "invalid argument"))
    }
}

impl From<ExtensionValue> for WrittenValue {
    fn from(value: ExtensionValue) -> Self {
        match value {
            ExtensionValue::Absent => Self::new(ABSENT, ""),
            ExtensionValue::Boolean(value) => Self::new(BOOLEAN, value.to_string()),
            // The names of JavaScript.
            ExtensionValue::Number(value) if value == f64::INFINITY => {
                Self::new(NUMBER, "Infinity")
            }
            ExtensionValue::Number(value) if value == f64::NEG_INFINITY => {
                Self::new(NUMBER, "-Infinity")
            }
            ExtensionValue::Number(value) => Self::new(NUMBER, value.to_string()),
            ExtensionValue::Text(text) => Self::new(TEXT, text),
            ExtensionValue::Json(text) => Self::new(JSON, text),
            ExtensionValue::Bytes(bytes) => Self::new(BYTES, STANDARD.encode(bytes)),
        }
    }
}

impl WrittenCall {
    /// The call.
    ///
    /// # Errors
    /// [`HostErrorKind::Argument`] if an argument is no value, or a stream.
    pub(crate) fn read(self) -> Result<ExtensionCall, HostError> {
        let values = |written: Vec<WrittenValue>| written.into_iter().map(WrittenValue::read);
        Ok(ExtensionCall {
            created_with: values(self.created_with).collect::<Result<_, _>>()?,
            arguments: values(self.arguments).collect::<Result<_, _>>()?,
            extension: self.extension,
            method: self.method,
        })
    }
}

impl From<ExtensionCall> for WrittenCall {
    fn from(call: ExtensionCall) -> Self {
        let values = |values: Vec<ExtensionValue>| values.into_iter().map(Into::into).collect();
        Self {
            created_with: values(call.created_with),
            arguments: values(call.arguments),
            extension: call.extension,
            method: call.method,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_they_were_written_and_others_refused() {
        for value in [
            ExtensionValue::Absent,
            ExtensionValue::Boolean(true),
            ExtensionValue::Number(-1.5e300),
            ExtensionValue::Number(f64::INFINITY),
            ExtensionValue::Number(f64::NEG_INFINITY),
            ExtensionValue::Text("\u{1f600}\0".to_owned()),
            ExtensionValue::Json("{}".to_owned()),
            ExtensionValue::Bytes(vec![0, 0xff]),
        ] {
            assert_eq!(WrittenValue::from(value.clone()).read().unwrap(), value);
        }
        assert_eq!(WrittenValue::of_stream(7).stream(), Some(7));
        for (kind, text) in [
            ("stream", "7"),
            ("number", "x"),
            ("boolean", "1"),
            ("bytes", "?"),
            ("", ""),
        ] {
            assert!(WrittenValue::new(kind, text).read().is_err(), "{kind}");
        }
    }
}
