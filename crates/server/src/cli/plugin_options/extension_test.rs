//! `personium plugin test` for a script extension.

use std::process::ExitCode;

use personium_plugin::{ExtensionCall, LoadedExtension, PluginHost};
use personium_types::ExtensionValue;
use personium_types::error::chain;
use serde_json::Value;

use super::{runtime, show};

const METHOD: &str = "method";
const ARGUMENTS: &str = "arguments";
const CONSTRUCTOR: &str = "constructor";

/// Calls a method, and prints its result as JSON. Fails if it has none.
///
/// # Errors
/// A text for the operator.
pub(super) fn run(
    extension: &LoadedExtension,
    host: &dyn PluginHost,
    (cell_url, fields): (&str, &[(String, String)]),
) -> Result<ExitCode, String> {
    let known = [METHOD, ARGUMENTS, CONSTRUCTOR];
    if let Some((name, _)) = fields
        .iter()
        .find(|(name, _)| !known.contains(&name.as_str()))
    {
        return Err(format!(
            "{name}: the fields of an extension are {}",
            known.join(", ")
        ));
    }
    let field = |name: &str| {
        let found = fields.iter().find(|(field, _)| field == name);
        found.map(|(_, value)| value.as_str())
    };
    let method = field(METHOD).ok_or("the field method is missing")?;
    let values = |name: &str| values(field(name)).map_err(|reason| format!("{name}: {reason}"));
    let call = ExtensionCall {
        cell_url,
        method,
        created_with: &values(CONSTRUCTOR)?,
        arguments: &values(ARGUMENTS)?,
        host,
    };
    let (text, status) = match runtime(1)?.block_on(extension.invoke(&call)) {
        Ok(value) => (shown(value), ExitCode::SUCCESS),
        Err(error) => (chain(&error), ExitCode::FAILURE),
    };
    show(&format!("{text}\n"))?;
    Ok(status)
}

/// The values of a JSON array, as scripts pass them.
fn values(text: Option<&str>) -> Result<Vec<ExtensionValue>, String> {
    let text = text.unwrap_or("[]");
    let parsed: Vec<Value> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let value = |value: Value| match value {
        Value::Null => ExtensionValue::Absent,
        Value::Bool(value) => ExtensionValue::Boolean(value),
        Value::Number(number) => ExtensionValue::Number(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => ExtensionValue::Text(text),
        other => ExtensionValue::Json(other.to_string()),
    };
    Ok(parsed.into_iter().map(value).collect())
}

fn shown(value: ExtensionValue) -> String {
    match value {
        ExtensionValue::Absent => "null".to_owned(),
        ExtensionValue::Boolean(value) => value.to_string(),
        ExtensionValue::Number(value) => value.to_string(),
        ExtensionValue::Text(text) => Value::String(text).to_string(),
        ExtensionValue::Json(text) => text,
        ExtensionValue::Bytes(bytes) => format!("{} bytes", bytes.len()),
    }
}
