//! The master token in the settings file: whether there is one, another one, none.

use std::fs;
use std::path::Path;

use personium_types::error::chain;

use crate::config::{LoadedConfig, PREFIX};
use crate::{administrator_file, first_start, key_files, settings_file, system, written_file};

/// The key of the master token, without prefix.
const KEY: &str = "masterToken";

/// The number of characters of a generated token. Each has 5 bits, so it has 200 bits.
const TOKEN_CHARS: usize = 40;

/// A change of the master token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MasterTokenChange {
    /// Another one, which is generated.
    New,
    /// None.
    Off,
}

/// Says whether there is a master token, and where it was given; never the token.
pub(crate) fn describe(loaded: &LoadedConfig) -> String {
    match origin(loaded).filter(|_| loaded.config.unit.master_token.is_some()) {
        Some(origin) => format!("master token ENABLED ({origin})\n"),
        None => "master token disabled\n".to_owned(),
    }
}

/// Where the setting was given, if it was.
fn origin(loaded: &LoadedConfig) -> Option<&str> {
    let name = format!("{PREFIX}{KEY}");
    let mut given = loaded.given.iter();
    let found = given.find(|setting| setting.name == name);
    found.map(|setting| setting.origin.as_str())
}

/// Changes the master token in a settings file, which is made if it does not exist. Returns what was done, with the new token. A
/// running unit takes the change over when its settings are reloaded.
///
/// # Errors
/// A text if the token is given elsewhere than in the file, or the file cannot be read, edited or written.
pub(crate) fn change(
    loaded: &LoadedConfig,
    file: &Path,
    change: MasterTokenChange,
) -> Result<String, String> {
    let path = file.display();
    let in_file = format!("{path}, line ");
    if let Some(origin) = origin(loaded).filter(|origin| !origin.starts_with(&in_file)) {
        return Err(format!(
            "masterToken is given by the {origin}: change it there"
        ));
    }
    let failed = |error: std::io::Error| format!("cannot use {path}: {error}");
    let is_new = !file.try_exists().map_err(failed)?;
    let before = match is_new {
        true => String::new(),
        false => fs::read_to_string(file).map_err(failed)?,
    };
    let token = match change {
        MasterTokenChange::Off => None,
        MasterTokenChange::New => {
            let made = key_files::random_text(TOKEN_CHARS, &system::random());
            Some(made.map_err(|error| chain(&error))?)
        }
    };
    let given = loaded.values.get(&format!("{PREFIX}{KEY}"));
    let given = given
        .map(|value| value.reveal().as_str())
        .unwrap_or_default();
    let after = settings_file::with_value(&before, KEY, given, token.as_deref());
    let after = after
        .ok_or_else(|| format!("{path} cannot be edited safely: change masterToken by hand"))?;
    if after != before {
        match is_new {
            true => written_file::write_new(file, &after, written_file::PRIVATE_MODE),
            false => written_file::replace(file, &after),
        }
        .map_err(failed)?;
    }
    Ok(match token {
        Some(token) => format!(
            "master token  {token}\nIt is in {path}. A running unit takes it over by SIGHUP, and refuses the one before from then on.\n"
        ),
        None => format!(
            "{path} has no master token. A running unit refuses the one before from SIGHUP on.\n{}",
            note_without_token(loaded)
        ),
    })
}

/// A note for an operator if nobody else administrates the unit.
fn note_without_token(loaded: &LoadedConfig) -> String {
    let mut config = loaded.config.clone();
    config.unit.master_token = None;
    let cells = administrator_file::read(&config.store.data_dir);
    let is_new = first_start::is_due(&config);
    let note = first_start::administration_note(&config, is_new, !cells.is_empty());
    note.map(|note| format!("{note}\n")).unwrap_or_default()
}
