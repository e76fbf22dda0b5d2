//! `personium config`: the values of settings, where they were given, what is wrong with them, and how two sets of settings
//! differ.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Value, json};

use crate::check::CheckReport;
use crate::config::{
    Config, ConfigError, ConfigFindings, ConfigSources, KeyInfo, LoadedConfig, ineffective_key,
    reloadable_keys,
};

/// The text that is shown instead of a secret.
const MASK: &str = "***";

/// The name of the check of settings.
const CHECK: &str = "settings";

/// A setting with its effective value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectiveSetting {
    /// The name of the key, with its prefix.
    pub name: String,
    /// The value; `***` for a secret that was given.
    pub value: String,
    /// Where it was given; `default` if it was not.
    pub source: String,
    /// Whether it was given.
    pub is_given: bool,
    /// Why the key has no effect, if it has none.
    pub no_effect: Option<&'static str>,
}

/// A setting with two values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingDifference {
    /// The name of the key, with its prefix.
    pub name: String,
    /// The value in the settings; `***` for a secret, nothing if there is none.
    pub here: String,
    /// The value in the other settings.
    pub there: String,
    /// When a running unit takes a change over.
    pub change: ChangeTime,
}

/// When a running unit takes over the change of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeTime {
    /// When its settings are reloaded.
    Reload,
    /// When it is started again.
    Restart,
    /// Never: the key has no effect.
    Never,
}

impl ChangeTime {
    /// Returns the word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reload => "reload",
            Self::Restart => "restart",
            Self::Never => "no effect",
        }
    }
}

/// A line of output, which can also be printed as JSON.
pub trait ReportLine: fmt::Display {
    /// Returns it as JSON.
    fn json(&self) -> Value;
}

impl fmt::Display for EffectiveSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, value, source) = (&self.name, &self.value, &self.source);
        write!(f, "{name} = {value} ({source})")?;
        match self.no_effect.filter(|_| self.is_given) {
            Some(explanation) => write!(f, "; no effect: {explanation}"),
            None => Ok(()),
        }
    }
}

impl ReportLine for EffectiveSetting {
    fn json(&self) -> Value {
        json!({
            "key": self.name,
            "value": self.value,
            "source": self.source,
            "given": self.is_given,
            "noEffect": self.no_effect,
        })
    }
}

impl fmt::Display for SettingDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, here, there) = (&self.name, &self.here, &self.there);
        write!(f, "{name}: {here} | {there} ({})", self.change.as_str())
    }
}

impl ReportLine for SettingDifference {
    fn json(&self) -> Value {
        json!({
            "key": self.name,
            "value": self.here,
            "other": self.there,
            "change": self.change.as_str(),
        })
    }
}

/// Returns one line for each, or a JSON array.
#[must_use]
pub fn text_of<L: ReportLine>(lines: &[L], as_json: bool) -> String {
    if as_json {
        let all: Vec<Value> = lines.iter().map(ReportLine::json).collect();
        return format!("{}\n", Value::from(all));
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Returns every setting with its effective value: the known keys in the order of their description, then others that were
/// given.
#[must_use]
pub fn effective(loaded: &LoadedConfig) -> Vec<EffectiveSetting> {
    let mut given: BTreeMap<&str, _> = loaded
        .given
        .iter()
        .map(|setting| (setting.name.as_str(), setting))
        .collect();
    let mut settings = Vec::new();
    for key in keys() {
        let found = given.remove(key.name.as_str());
        let default = || key.default.to_owned();
        settings.push(EffectiveSetting {
            value: found.map_or_else(default, |setting| setting.value.clone()),
            source: found.map_or_else(|| "default".to_owned(), |setting| setting.origin.clone()),
            is_given: found.is_some(),
            no_effect: ineffective_key(&key.name),
            name: key.name,
        });
    }
    settings.extend(given.into_values().map(|setting| EffectiveSetting {
        name: setting.name.clone(),
        value: setting.value.clone(),
        source: setting.origin.clone(),
        is_given: true,
        no_effect: ineffective_key(&setting.name),
    }));
    settings
}

fn keys() -> impl Iterator<Item = KeyInfo> {
    Config::sections()
        .into_iter()
        .flat_map(|section| section.keys)
}

/// Checks the settings and reports what is wrong and what is doubtful.
#[must_use]
pub fn check(sources: Result<ConfigSources, ConfigError>) -> CheckReport {
    let findings = match sources {
        Ok(sources) => ConfigFindings::of(&sources),
        Err(error) => return CheckReport::of_settings(error),
    };
    let mut report = CheckReport::default();
    for problem in &findings.problems {
        report.error(CHECK, problem);
    }
    for warning in &findings.warnings {
        report.warning(CHECK, warning);
    }
    if !report.has_errors() {
        let given = findings.given;
        report.ok(CHECK, format!("{given} given; a unit starts with them"));
    }
    report
}

/// Returns the settings whose values differ, sorted by name.
#[must_use]
pub fn differences(here: &LoadedConfig, there: &LoadedConfig) -> Vec<SettingDifference> {
    let known: BTreeMap<String, KeyInfo> = keys().map(|key| (key.name.clone(), key)).collect();
    let reloadable = reloadable_keys();
    let value = |loaded: &LoadedConfig, name: &str| {
        let given = loaded.values.get(name).map(|value| value.reveal().clone());
        given.unwrap_or_else(|| {
            let default = known.get(name).map(|key| key.default);
            default.unwrap_or_default().to_owned()
        })
    };
    let shown = |text: String, name: &str| {
        let is_public = known.get(name).is_some_and(|key| !key.is_secret);
        match is_public || text.is_empty() {
            true => text,
            false => MASK.to_owned(),
        }
    };
    let names: BTreeSet<&String> = here.values.keys().chain(there.values.keys()).collect();
    let mut found = Vec::new();
    for name in names {
        let (one, other) = (value(here, name), value(there, name));
        if one == other {
            continue;
        }
        let change = match (ineffective_key(name), reloadable.contains(name)) {
            (Some(_), _) => ChangeTime::Never,
            (None, true) => ChangeTime::Reload,
            (None, false) => ChangeTime::Restart,
        };
        found.push(SettingDifference {
            name: name.clone(),
            here: shown(one, name),
            there: shown(other, name),
            change,
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(options: &[(&str, &str)]) -> LoadedConfig {
        let options = options
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        LoadedConfig::load(&ConfigSources {
            options,
            ..ConfigSources::default()
        })
        .unwrap()
    }

    #[test]
    fn every_key_is_shown_with_its_source_and_no_secret() {
        let settings = effective(&loaded(&[
            ("masterToken", "a-long-hidden-master-token"),
            ("odata.query.top.default", "7"),
            ("es.hosts", "db:9200"),
            ("misspelt", "hidden"),
        ]));
        let text = text_of(&settings, false);
        assert!(!text.contains("hidden"), "{text}");
        for line in [
            "io.personium.core.masterToken = *** (command line)\n",
            "io.personium.core.odata.query.top.default = 7 (command line)\n",
            "io.personium.core.odata.query.top.maxnum = 10000 (default)\n",
            "io.personium.core.misspelt = *** (command line)\n",
            "io.personium.core.es.hosts = db:9200 (command line); no effect: records",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert_eq!(settings.len(), keys().count() + 1);
        let json: Value = serde_json::from_str(&text_of(&settings, true)).unwrap();
        assert_eq!(json[0]["source"], "default");
    }

    #[test]
    fn differences_say_when_a_change_takes_effect_and_show_no_secret() {
        let one = loaded(&[
            ("odata.query.top.default", "7"),
            ("unitPort", "9"),
            ("security.secret16", "hidden-hidden-hidden"),
            ("es.hosts", "db:9200"),
        ]);
        let other = loaded(&[
            ("odata.query.top.default", "25"),
            ("unitPort", "9"),
            ("security.secret16", "another-hidden-text-"),
        ]);
        let prefix = "io.personium.core.";
        let lines = text_of(&differences(&one, &other), false);
        assert_eq!(
            lines,
            format!(
                "{prefix}es.hosts: db:9200 | localhost:9200 (no effect)\n\
                 {prefix}odata.query.top.default: 7 | 25 (reload)\n\
                 {prefix}security.secret16: *** | *** (restart)\n"
            )
        );
        assert_eq!(differences(&one, &one), Vec::new());
    }
}
