//! What was given: values by key, with where each comes from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use super::rule::Rule;
use super::section::KeyInfo;
use super::{PREFIX, retired};

/// The prefix under which scripts engines read the same keys.
const ENGINE_PREFIX: &str = "io.personium.engine.";

/// What all names begin with that concern a unit.
const FAMILY: &str = "io.personium.";

/// What environment variables of the second form begin with.
const ENVIRONMENT_PREFIX: &str = "PERSONIUM_CORE_";

/// Where a value comes from. Later ones win.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A line of the properties file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// A variable of the environment.
    Environment {
        /// Its name.
        name: String,
    },
    /// An option of the command line.
    Option,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}, line {line}", path.display()),
            Self::Environment { name } => write!(f, "environment variable {name}"),
            Self::Option => f.write_str("command line"),
        }
    }
}

/// A value that was given.
#[derive(Debug, Clone)]
pub struct Given {
    /// The text.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// All values that were given, and the problems found while they are read.
#[derive(Debug, Default)]
pub struct Source {
    given: BTreeMap<String, Given>,
    taken: BTreeSet<String>,
    problems: Vec<String>,
}

impl Source {
    /// Adds a value, unless one of higher rank is there. A name without the family's beginning gets the prefix.
    ///
    /// From a file and the environment, only names of the family count; whoever calls has seen to that.
    pub fn add(&mut self, key: &str, value: String, origin: Origin) {
        let key = match key.strip_prefix(ENGINE_PREFIX) {
            Some(rest) => format!("{PREFIX}{rest}"),
            None if key.starts_with(FAMILY) => key.to_owned(),
            None if origin == Origin::Option => format!("{PREFIX}{key}"),
            None => return,
        };
        let higher = |held: &Given| match (&held.origin, &origin) {
            (Origin::File { .. }, Origin::File { .. }) => false,
            (held, new) => held > new,
        };
        if !self.given.get(&key).is_some_and(higher) {
            self.given.insert(key, Given { value, origin });
        }
    }

    /// Adds the variables that name a key: with its whole name, or as `PERSONIUM_CORE_` and words in capitals.
    pub fn add_environment(
        &mut self,
        variables: &[(String, String)],
        table: &[(&str, Vec<KeyInfo>)],
    ) {
        let bare =
            |name: &str| -> String { name.chars().filter(char::is_ascii_alphanumeric).collect() };
        let by_words: BTreeMap<String, &str> = table
            .iter()
            .flat_map(|(_, keys)| keys)
            .filter_map(|key| {
                Some((
                    bare(key.name.strip_prefix(PREFIX)?).to_ascii_lowercase(),
                    key.name.as_str(),
                ))
            })
            .collect();
        for (name, value) in variables {
            let words = name
                .strip_prefix(ENVIRONMENT_PREFIX)
                .map(|rest| bare(rest).to_ascii_lowercase());
            let key = match &words {
                Some(words) => by_words
                    .get(words)
                    .map_or_else(|| format!("{PREFIX}{words}"), |key| (*key).to_owned()),
                None => name.clone(),
            };
            self.add(
                &key,
                value.clone(),
                Origin::Environment { name: name.clone() },
            );
        }
    }

    /// The value of a key (without prefix), or its default. `None` after noting a problem.
    pub(super) fn take<T>(&mut self, key: &str, default: &str, rule: &dyn Rule<T>) -> Option<T> {
        let name = format!("{PREFIX}{key}");
        self.taken.insert(name.clone());
        let Some(given) = self.given.get(&name) else {
            return self.read_default(&name, default, rule);
        };
        let folder = match &given.origin {
            Origin::File { path, .. } => path.parent().unwrap_or(Path::new("")),
            _ => Path::new(""),
        };
        let value = rule.read(&given.value, folder);
        if value.is_none() {
            let shown = if rule.is_secret() {
                "***"
            } else {
                given.value.as_str()
            };
            let problem = format!(
                "{name} = {shown} ({}): it must be {}",
                given.origin,
                rule.allowed()
            );
            self.problems.push(problem);
        }
        value
    }

    fn read_default<T>(&mut self, name: &str, default: &str, rule: &dyn Rule<T>) -> Option<T> {
        let value = rule.read(default, Path::new(""));
        if value.is_none() {
            self.problems
                .push(format!("{name} must be given: {}", rule.allowed()));
        }
        value
    }

    /// Takes all keys (whole names) that begin with `prefix`: rest of the name, value.
    pub(super) fn take_family(&mut self, prefix: &str) -> Vec<(String, Given)> {
        let found = self.given.iter().filter_map(|(name, given)| {
            let rest = name.strip_prefix(prefix)?;
            Some((name.clone(), rest.to_owned(), given.clone()))
        });
        let found: Vec<_> = found.collect();
        found
            .into_iter()
            .map(|(name, rest, given)| {
                self.taken.insert(name);
                (rest, given)
            })
            .collect()
    }

    /// Notes a problem with a key (without prefix).
    pub(super) fn problem(&mut self, key: &str, what: &str) {
        self.problems.push(format!("{PREFIX}{key}: {what}"));
    }

    /// Notes a problem that names its key itself.
    pub(super) fn note(&mut self, problem: String) {
        self.problems.push(problem);
    }

    /// What was found wrong.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Warnings about given keys that do nothing here.
    #[must_use]
    pub(super) fn leftovers(&self) -> Vec<String> {
        let warn = |(name, given): (&String, &Given)| {
            let Given { origin, .. } = given;
            match (retired::instead(name), self.taken.contains(name)) {
                (Some(instead), _) => Some(format!("{name} ({origin}) has no effect: {instead}")),
                (None, true) => None,
                (None, false) => Some(format!("{name} ({origin}) is not a known key")),
            }
        };
        self.given.iter().filter_map(warn).collect()
    }

    /// What was given: key, origin, value; secrets and unknown values masked.
    #[must_use]
    pub(super) fn given(&self, table: &[(&str, Vec<KeyInfo>)]) -> Vec<(String, String, String)> {
        let open: BTreeSet<&str> = table
            .iter()
            .flat_map(|(_, keys)| keys)
            .filter(|key| !key.secret)
            .map(|key| key.name.as_str())
            .collect();
        self.given
            .iter()
            .map(|(name, given)| {
                let shown = if open.contains(name.as_str()) {
                    given.value.as_str()
                } else {
                    "***"
                };
                (name.clone(), given.origin.to_string(), shown.to_owned())
            })
            .collect()
    }
}
