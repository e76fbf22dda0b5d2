//! The page that describes all settings, generated from the sections.

use std::fmt::Write as _;

use super::{Config, KeyInfo, PREFIX, reloadable_keys, retired_keys};

const HEAD: &str = "\
# Settings

Written by `personium config docs` (`cargo xtask gen-settings`). The names of keys stand without their prefix `io.personium.core.`.

| Source | Example | Takes precedence over |
|---|---|---|
| option of the command line | `-c unitPort=9998` | all others |
| environment | `PERSONIUM_CORE_UNIT_PORT=9998` or `io.personium.core.unitPort=9998` | file |
| file, `--config FILE`, or `personium-unit-config.properties` in the data folder | `io.personium.core.unitPort=9998` | defaults |

Paths in the file are relative to its folder. Keys that begin with `io.personium.engine.` are read as `io.personium.core.`.

| Command | What it prints |
|---|---|
| `personium config show` | each setting with its value and where it was given; secrets as `***`; `--given` leaves the defaults out |
| `personium config check` | what is wrong or doubtful, unknown and retired keys with their replacement; status 1 if a unit would not start; with `--strict` also because of warnings |
| `personium config check FILE` | the same of a file alone, such as that of another implementation, without starting anything |
| `personium config diff` | what differs from the defaults |
| `personium config diff FILE` | what differs from another file, and whether a change needs a restart |

`show`, `check` and `diff` print JSON with `--json`.

In the column *Change*, `reload` means that a running unit takes a new value over by SIGHUP or `POST __status`; `restart` that it needs to be
started again.
";

const PROVIDERS: &str = "
## OpenID Connect

A group of keys for each provider; `{id}` is any word. The prefix is `io.personium.plugin.oidc.{id}.`. A change needs a restart.

| Key | Default | Meaning |
|---|---|---|
| `enabled` | `false` | whether ID tokens of the provider are accepted |
| `configURL` | | the URL of its discovery document; required |
| `trustedClientIds` | | client ids separated by spaces, or `*`; required |
| `pluginName` | `Generic OIDC Plugin` | the display name |
| `accountType` | `oidc:generic` | the `Type` of accounts that log in with it; no two providers share one |
| `accountNameKey` | `username` | the claim with the name of the account |
| `grantType` | `urn:x-personium:oidc:generic` | the value of `grant_type`; no two providers share one |
";

const RETIRED: &str = "
## Keys of other implementations without effect

They are accepted, and `personium config check` names them. A final `*` stands for any suffix. The prefix is `io.personium.`.

| Key | Why, and what to use |
|---|---|
";

/// Returns the text of the page.
#[must_use]
pub fn text() -> String {
    let reloadable = reloadable_keys();
    let mut out = String::from(HEAD);
    for section in Config::sections() {
        let keys: Vec<&KeyInfo> = section.keys.iter().filter(|key| key.has_effect).collect();
        if keys.is_empty() {
            continue;
        }
        let _ = write!(
            out,
            "\n## {}\n\n| Key | Default | Permitted | Change | Meaning |\n|---|---|---|---|---|\n",
            section.title
        );
        for key in keys {
            let name = key.name.strip_prefix(PREFIX).unwrap_or(&key.name);
            let change = match reloadable.contains(&key.name) {
                true => "reload",
                false => "restart",
            };
            let secret = if key.is_secret { " Secret." } else { "" };
            let _ = writeln!(
                out,
                "| `{name}` | {} | {} | {change} | {}{secret} |",
                code(key.default),
                cell(&key.permitted),
                cell(&key.doc),
            );
        }
    }
    out.push_str(PROVIDERS);
    out.push_str(RETIRED);
    for (key, explanation) in retired_keys() {
        let _ = writeln!(out, "| `{key}` | {} |", cell(explanation));
    }
    out
}

/// A text as a cell of a table. What looks like an element of HTML stays text.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
        .replace('<', "&lt;")
        .replace('*', "\\*")
}

/// A value as code in a cell of a table.
fn code(text: &str) -> String {
    let text = text.replace('|', "\\|");
    match (text.is_empty(), text.contains('`')) {
        (true, _) => String::new(),
        (false, false) => format!("`{text}`"),
        (false, true) => format!("`` {text} ``"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ineffective_key;

    #[test]
    fn page_has_a_row_for_each_key_with_an_effect_and_for_each_retired_one() {
        let text = text();
        for section in Config::sections() {
            for key in section.keys {
                let name = key.name.strip_prefix(PREFIX).unwrap();
                let row = format!("\n| `{name}` | ");
                assert_eq!(text.contains(&row), key.has_effect, "{name}");
                assert_eq!(key.has_effect, ineffective_key(&key.name).is_none());
            }
        }
        assert!(text.contains("| `core.bar.installfile.dir` | use bar.tmp.dir |"));
        for line in text.lines().filter(|line| line.starts_with("| `")) {
            let cells = line.replace("\\|", "").matches('|').count() - 1;
            assert!(matches!(cells, 2 | 3 | 5), "{line}");
        }
    }
}
