//! The options of `personium plugin`.

mod extension_test;

use std::fs::File;
use std::io::Read;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Subcommand;
use personium_api::NetworkPluginHost;
use personium_plugin::{
    FoundPlugin, LoadedExtension, LoadedPlugin, PluginCall, PluginError, PluginFolder, PluginHost,
    PluginState,
};
use personium_types::error::chain;
use serde_json::{Map, Value, json};

use super::{load_settings, print, runtime};
use crate::config::{Config, ConfigSources};
use crate::model_settings::model_settings;
use crate::{data_folder, plugins, system};

/// The largest value of a field in bytes.
const MAX_FIELD_BYTES: u64 = 65_536;

#[derive(Debug, Subcommand)]
pub(super) enum PluginSubcommand {
    /// List the plugins in the folder of plugins, and the providers of OpenID Connect in the settings.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Load the plugins that are enabled, and ask what they depend on whether it works. Fails if one does not.
    Check {
        /// Plugin that alone is checked.
        #[arg(value_name = "NAME")]
        name: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Call an authentication plugin as the token endpoint does, and print what it returns. Fails unless it names an account. Call a
    /// method of a script extension with the fields method, arguments and constructor, the last two as JSON arrays.
    Test {
        /// Plugin.
        #[arg(value_name = "NAME")]
        name: String,
        /// Form fields: NAME=VALUE, or NAME@FILE with the first line of a file as the value, or NAME@- with that of the standard
        /// input.
        #[arg(value_name = "FIELD", value_parser = parse_field)]
        fields: Vec<FieldArgument>,
        /// URL of the cell that the plugin gets.
        #[arg(long, value_name = "URL", default_value = "https://cell.example/")]
        cell: String,
    },
    /// Let a plugin be loaded again. A unit that runs follows within seconds.
    Enable {
        /// Plugin.
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Do not load a plugin any more. A unit that runs follows within seconds.
    Disable {
        /// Plugin.
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// A form field of the command line.
#[derive(Debug, Clone)]
pub(super) enum FieldArgument {
    /// Name and value.
    Value(String, String),
    /// Name, and the file with the value.
    File(String, String),
}

fn parse_field(text: &str) -> Result<FieldArgument, String> {
    let at = text.find(['=', '@']).filter(|at| *at > 0);
    let at = at.ok_or("a field is NAME=VALUE or NAME@FILE")?;
    let (name, rest) = text.split_at(at);
    let (name, value) = (
        name.to_owned(),
        rest.get(1..).unwrap_or_default().to_owned(),
    );
    Ok(match rest.starts_with('=') {
        true => FieldArgument::Value(name, value),
        false => FieldArgument::File(name, value),
    })
}

impl FieldArgument {
    /// Name and value.
    fn read(self) -> Result<(String, String), String> {
        let (name, file) = match self {
            Self::Value(name, value) => return Ok((name, value)),
            Self::File(name, file) => (name, file),
        };
        let mut text = String::new();
        let read = match file.as_str() {
            "-" => std::io::stdin()
                .take(MAX_FIELD_BYTES)
                .read_to_string(&mut text),
            _ => File::open(&file)
                .and_then(|opened| opened.take(MAX_FIELD_BYTES).read_to_string(&mut text)),
        };
        read.map_err(|error| format!("{file}: {error}"))?;
        Ok((name, text.lines().next().unwrap_or_default().to_owned()))
    }
}

impl PluginSubcommand {
    /// Runs the command.
    ///
    /// # Errors
    /// A text for the operator.
    pub(super) fn run(self, sources: &ConfigSources) -> Result<ExitCode, String> {
        let config = load_settings(sources)?.config;
        if let Self::List { json } = self {
            return list(&config, json);
        }
        let folder = plugins::folder(&config)
            .ok_or("the settings name no folder of plugins (plugin.path)")?;
        match self {
            Self::List { .. } => Ok(ExitCode::SUCCESS),
            Self::Check { name, json } => check(&config, &folder, name.as_deref(), json),
            Self::Test { name, fields, cell } => {
                let fields: Result<Vec<_>, String> =
                    fields.into_iter().map(FieldArgument::read).collect();
                test(&config, &folder, &name, (&cell, &fields?))
            }
            Self::Enable { name } => set_enabled(&folder, &name, true),
            Self::Disable { name } => set_enabled(&folder, &name, false),
        }
    }
}

fn set_enabled(folder: &PluginFolder, name: &str, is_enabled: bool) -> Result<ExitCode, String> {
    data_folder::restrict_new_files();
    folder
        .set_enabled(name, is_enabled)
        .map_err(|error| chain(&error))?;
    let done = if is_enabled { "enabled" } else { "disabled" };
    show(&format!(
        "{name} is {done}; a unit that runs follows within seconds.\n"
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn load(folder: &PluginFolder) -> Result<Vec<FoundPlugin>, String> {
    folder.load().map_err(|error| chain(&error))
}

fn show(text: &str) -> Result<(), String> {
    print(text).map_err(|error| format!("the output could not be written: {error}"))
}

fn host(config: &Config) -> NetworkPluginHost {
    NetworkPluginHost::new(&model_settings(config), system::clock(), system::random())
}

/// One line of a list or a report.
struct Row {
    name: String,
    state: &'static str,
    detail: String,
    plugin: Option<Value>,
}

impl Row {
    fn of(found: &FoundPlugin) -> Self {
        let (state, detail, plugin) = match &found.state {
            PluginState::Loaded(plugin) => {
                let declared = plugin.declaration();
                let types = declared.account_types.join(" ");
                let detail = format!("{} {} for {types}", declared.kind, declared.grant_type);
                ("enabled", detail, Some(described(plugin)))
            }
            PluginState::Extension(extension) => {
                let declared = extension.declaration();
                let methods = declared.methods.join(" ");
                let detail = format!(
                    "{} extension {} with {methods}",
                    declared.kind, declared.class
                );
                ("enabled", detail, Some(described_extension(extension)))
            }
            PluginState::Disabled => ("disabled", String::new(), None),
            PluginState::Broken(reason) => ("broken", reason.trim().to_owned(), None),
        };
        Self {
            name: found.name.clone(),
            state,
            detail,
            plugin,
        }
    }

    fn text(&self) -> String {
        let detail = self.detail.replace('\n', "\n    ");
        format!("{:<9} {}  {detail}\n", self.state, self.name)
    }

    fn json(&self) -> Value {
        let mut out = Map::new();
        out.insert("name".to_owned(), json!(self.name));
        out.insert("state".to_owned(), json!(self.state));
        let is_bad = matches!(self.state, "broken" | "failed");
        if is_bad {
            out.insert("reason".to_owned(), json!(self.detail));
        }
        if let Some(plugin) = &self.plugin {
            out.insert("plugin".to_owned(), plugin.clone());
        }
        Value::Object(out)
    }
}

fn described(plugin: &LoadedPlugin) -> Value {
    let declared = plugin.declaration();
    json!({
        "kind": declared.kind,
        "label": declared.label,
        "grantType": declared.grant_type,
        "accountTypes": declared.account_types,
    })
}

fn described_extension(extension: &LoadedExtension) -> Value {
    let declared = extension.declaration();
    json!({
        "kind": declared.kind,
        "label": declared.label,
        "extension": declared.class,
        "methods": declared.methods,
    })
}

fn show_rows(rows: &[Row], as_json: bool) -> Result<(), String> {
    show(&match as_json {
        true => format!("{}\n", Value::from_iter(rows.iter().map(Row::json))),
        false => rows.iter().map(Row::text).collect(),
    })
}

fn list(config: &Config, as_json: bool) -> Result<ExitCode, String> {
    let mut rows: Vec<Row> = config
        .oidc
        .iter()
        .map(|provider| Row {
            name: provider.id.clone(),
            state: "built-in",
            detail: format!("oidc {} for {}", provider.grant_type, provider.account_type),
            plugin: Some(json!({
                "kind": "oidc",
                "label": provider.plugin_name,
                "grantType": provider.grant_type,
                "accountTypes": [provider.account_type],
            })),
        })
        .collect();
    if let Some(folder) = plugins::folder(config) {
        rows.extend(load(&folder)?.iter().map(Row::of));
    }
    show_rows(&rows, as_json)?;
    Ok(ExitCode::SUCCESS)
}

fn check(
    config: &Config,
    folder: &PluginFolder,
    only: Option<&str>,
    as_json: bool,
) -> Result<ExitCode, String> {
    let mut found = load(folder)?;
    if let Some(only) = only {
        found.retain(|plugin| plugin.name == only);
        if found.is_empty() {
            return Err(format!("there is no plugin {only}"));
        }
    }
    let runtime = runtime(1)?;
    let host = host(config);
    let mut rows = Vec::new();
    for plugin in &found {
        let mut row = Row::of(plugin);
        match &plugin.state {
            PluginState::Loaded(loaded) => match runtime.block_on(probe(loaded, &host)) {
                Ok(()) => row.state = "ok",
                Err(error) => {
                    row.state = "failed";
                    row.detail = chain(&error);
                }
            },
            // An instance of it was made. A method could do what nobody wants.
            PluginState::Extension(_) => row.state = "ok",
            PluginState::Disabled | PluginState::Broken(_) => {}
        }
        rows.push(row);
    }
    show_rows(&rows, as_json)?;
    let is_bad = rows
        .iter()
        .any(|row| matches!(row.state, "failed" | "broken"));
    Ok(if is_bad {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

async fn probe(plugin: &LoadedPlugin, host: &dyn PluginHost) -> Result<(), PluginError> {
    let call = PluginCall {
        cell_url: "https://cell.example/",
        fields: &[],
        host,
    };
    plugin.probe(&call).await
}

fn test(
    config: &Config,
    folder: &PluginFolder,
    name: &str,
    (cell_url, fields): (&str, &[(String, String)]),
) -> Result<ExitCode, String> {
    let found = load(folder)?.into_iter().find(|plugin| plugin.name == name);
    let host = host(config);
    let plugin: Arc<LoadedPlugin> = match found.map(|found| found.state) {
        Some(PluginState::Loaded(plugin)) => plugin,
        Some(PluginState::Extension(extension)) => {
            return extension_test::run(&extension, &host, (cell_url, fields));
        }
        Some(PluginState::Disabled) => return Err(format!("{name} is disabled")),
        Some(PluginState::Broken(reason)) => return Err(format!("{name} is broken: {reason}")),
        None => return Err(format!("there is no plugin {name}")),
    };
    let call = PluginCall {
        cell_url,
        fields,
        host: &host,
    };
    let answer = runtime(1)?.block_on(plugin.authenticate(&call));
    let (text, status) = match answer {
        Ok(Some(identity)) => (
            format!(
                "account {} of type {}\n",
                identity.name, identity.account_type
            ),
            ExitCode::SUCCESS,
        ),
        Ok(None) => ("nobody is authenticated\n".to_owned(), ExitCode::FAILURE),
        Err(error) => (format!("{}\n", chain(&error)), ExitCode::FAILURE),
    };
    show(&text)?;
    Ok(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_values_or_files() {
        let read = |text: &str| parse_field(text).and_then(FieldArgument::read);
        let pair = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        assert_eq!(read("a=b=c@d"), pair("a", "b=c@d"));
        assert_eq!(read("a="), pair("a", ""));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "word \nsecond line\n").unwrap();
        assert_eq!(
            read(&format!("a@{}", file.path().display())),
            pair("a", "word ")
        );
        assert!(read("a@/nonexistent/file").is_err());
        for bad in ["", "a", "=x", "@x"] {
            assert!(parse_field(bad).is_err(), "{bad}");
        }
    }
}
