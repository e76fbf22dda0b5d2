//! Reads values by key out of the file, the environment and the command line, and collects the problems found.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use personium_types::Secret;

use super::ineffective_keys;
use super::key_info::{PREFIX, SectionInfo};
use super::nearest_key;
use super::value_parser::ValueParser;

/// The prefix under which the script engine of other implementations reads the same keys.
const ENGINE_PREFIX: &str = "io.personium.engine.";

/// The common prefix of all keys.
const COMMON_PREFIX: &str = "io.personium.";

/// The prefix of environment variables whose names are words in capitals.
const ENVIRONMENT_PREFIX: &str = "PERSONIUM_CORE_";

/// The text that is shown instead of a secret.
const MASK: &str = "***";

/// Where a value was given. A later one in this order takes precedence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ValueOrigin {
    /// A line of the properties file.
    File {
        /// The file.
        path: PathBuf,
        /// The number of the line, from 1.
        line: usize,
    },
    /// A variable of the environment.
    Environment {
        /// Its name.
        name: String,
    },
    /// An option of the command line.
    CommandLine,
}

impl fmt::Display for ValueOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}, line {line}", path.display()),
            Self::Environment { name } => write!(f, "environment variable {name}"),
            Self::CommandLine => f.write_str("command line"),
        }
    }
}

/// A value before it is parsed.
#[derive(Debug, Clone)]
pub struct RawValue {
    /// The text.
    pub text: String,
    /// Where it was given.
    pub origin: ValueOrigin,
}

/// The outcome of adding a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddedValue {
    /// Its name is that of a setting, known or not.
    Taken,
    /// Its name is none of a setting.
    Ignored,
}

/// A setting that was given, as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenSetting {
    /// The name of the key, with its prefix.
    pub name: String,
    /// The value; `***` for a secret or an unknown key.
    pub value: String,
    /// Where it was given.
    pub origin: String,
}

/// A value of a group of keys whose names share a prefix.
#[derive(Debug, Clone)]
pub(super) struct GroupValue {
    /// The name without the prefix.
    pub(super) suffix: String,
    /// The value.
    pub(super) value: RawValue,
}

/// The values that were given, and the problems found while they are read.
#[derive(Debug, Default)]
pub struct ConfigReader {
    values: BTreeMap<String, RawValue>,
    /// The names of the keys that were read.
    known: BTreeSet<String>,
    problems: Vec<String>,
    warnings: Vec<String>,
}

impl ConfigReader {
    /// Adds a value, unless one that takes precedence is there. An option without the common prefix gets [`PREFIX`].
    ///
    /// Other names without the common prefix are ignored; if a file has them, that is a warning.
    pub fn add(&mut self, key: &str, text: String, origin: ValueOrigin) -> AddedValue {
        let key = match key.strip_prefix(ENGINE_PREFIX) {
            Some(rest) => format!("{PREFIX}{rest}"),
            None if key.starts_with(COMMON_PREFIX) => key.to_owned(),
            None if origin == ValueOrigin::CommandLine => format!("{PREFIX}{key}"),
            None => {
                if matches!(origin, ValueOrigin::File { .. }) {
                    self.warnings.push(format!(
                        "{key} ({origin}) is ignored: no key of a unit has this name"
                    ));
                }
                return AddedValue::Ignored;
            }
        };
        if let (Some(earlier), ValueOrigin::File { .. }) = (self.values.get(&key), &origin) {
            self.warnings.push(format!(
                "{key} is given twice ({}; {origin}): the last line counts",
                earlier.origin
            ));
        }
        let takes_precedence = |earlier: &RawValue| match (&earlier.origin, &origin) {
            (ValueOrigin::File { .. }, ValueOrigin::File { .. }) => false,
            (earlier, new) => earlier > new,
        };
        if !self.values.get(&key).is_some_and(takes_precedence) {
            self.values.insert(key, RawValue { text, origin });
        }
        AddedValue::Taken
    }

    /// Adds the variables that name a key: by its whole name, or as `PERSONIUM_CORE_` and words in capitals.
    pub fn add_environment(&mut self, variables: &[(String, String)], sections: &[SectionInfo]) {
        let names = sections.iter().flat_map(|section| &section.keys);
        let by_words: BTreeMap<String, &str> = names
            .filter_map(|key| Some((words(key.name.strip_prefix(PREFIX)?), key.name.as_str())))
            .collect();
        for (name, value) in variables {
            let key = match name.strip_prefix(ENVIRONMENT_PREFIX).map(words) {
                Some(words) => by_words
                    .get(&words)
                    .map_or_else(|| format!("{PREFIX}{words}"), |key| (*key).to_owned()),
                None => name.clone(),
            };
            let origin = ValueOrigin::Environment { name: name.clone() };
            self.add(&key, value.clone(), origin);
        }
    }

    /// Returns the value of a key (without prefix), or its default; `None` after adding a problem.
    pub(super) fn read<T>(
        &mut self,
        key: &str,
        default: &str,
        parser: &dyn ValueParser<T>,
    ) -> Option<T> {
        let name = format!("{PREFIX}{key}");
        self.known.insert(name.clone());
        let Some(given) = self.values.get(&name) else {
            return self.read_default(&name, default, parser);
        };
        let folder = match &given.origin {
            ValueOrigin::File { path, .. } => path.parent().unwrap_or(Path::new("")),
            _ => Path::new(""),
        };
        let value = parser.parse(&given.text, folder);
        if value.is_none() {
            let shown = if parser.is_secret() {
                MASK
            } else {
                given.text.as_str()
            };
            let problem = format!(
                "{name} = {shown} ({}): it must be {}",
                given.origin,
                parser.permitted()
            );
            self.problems.push(problem);
        }
        value
    }

    fn read_default<T>(
        &mut self,
        name: &str,
        default: &str,
        parser: &dyn ValueParser<T>,
    ) -> Option<T> {
        let value = parser.parse(default, Path::new(""));
        if value.is_none() {
            self.problems
                .push(format!("{name} must be given: {}", parser.permitted()));
        }
        value
    }

    /// Returns the values of all keys whose names begin with `prefix`.
    pub(super) fn read_group(&mut self, prefix: &str) -> Vec<GroupValue> {
        let mut found = Vec::new();
        for (name, value) in &self.values {
            if let Some(suffix) = name.strip_prefix(prefix) {
                self.known.insert(name.clone());
                found.push(GroupValue {
                    suffix: suffix.to_owned(),
                    value: value.clone(),
                });
            }
        }
        found
    }

    /// Adds a problem of a key (without prefix).
    pub(super) fn add_key_problem(&mut self, key: &str, problem: &str) {
        self.problems.push(format!("{PREFIX}{key}: {problem}"));
    }

    /// Adds a problem whose text names the key.
    pub(super) fn add_problem(&mut self, problem: String) {
        self.problems.push(problem);
    }

    /// Adds a warning about a key (without prefix).
    pub(super) fn add_key_warning(&mut self, key: &str, warning: &str) {
        self.warnings.push(format!("{PREFIX}{key}: {warning}"));
    }

    /// Returns the problems found so far.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Returns the warnings so far, and one for each given key that is unknown or has no effect.
    #[must_use]
    pub(super) fn warnings(&self) -> Vec<String> {
        let known = || self.known.iter().map(String::as_str);
        let warning = |(name, given): (&String, &RawValue)| {
            let origin = &given.origin;
            match ineffective_keys::explanation(name) {
                Some(explanation) => {
                    Some(format!("{name} ({origin}) has no effect: {explanation}"))
                }
                None if self.known.contains(name) => None,
                None => Some(match nearest_key::find(name, known()) {
                    Some(nearest) => {
                        format!("{name} ({origin}) is not a known key; is {nearest} meant?")
                    }
                    None => format!("{name} ({origin}) is not a known key"),
                }),
            }
        };
        let of_keys = self.values.iter().filter_map(warning);
        self.warnings.iter().cloned().chain(of_keys).collect()
    }

    /// Returns the values of all keys that were given.
    #[must_use]
    pub(super) fn values(&self) -> BTreeMap<String, Secret<String>> {
        let value = |(name, given): (&String, &RawValue)| {
            (name.clone(), Secret::new(given.text.trim().to_owned()))
        };
        self.values.iter().map(value).collect()
    }

    /// Returns the settings that were given; values of secrets and of unknown keys are masked.
    #[must_use]
    pub(super) fn given(&self, sections: &[SectionInfo]) -> Vec<GivenSetting> {
        let keys = sections.iter().flat_map(|section| &section.keys);
        let public: BTreeSet<&str> = keys
            .filter(|key| !key.is_secret)
            .map(|key| key.name.as_str())
            .collect();
        let shown = |(name, given): (&String, &RawValue)| GivenSetting {
            name: name.clone(),
            value: if public.contains(name.as_str()) {
                given.text.clone()
            } else {
                MASK.to_owned()
            },
            origin: given.origin.to_string(),
        };
        self.values.iter().map(shown).collect()
    }
}

/// Returns the letters and digits of a name, in lower case.
fn words(name: &str) -> String {
    let bare: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    bare.to_ascii_lowercase()
}
