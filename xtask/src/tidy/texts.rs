//! Names and texts that must not occur, and links that must lead somewhere.

use std::path::{Component, Path, PathBuf};

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &[
    "utils", "util", "common", "misc", "core", "manager", "helpers",
];
/// Words that begin a clause instead of a noun phrase.
const CLAUSES: &[&str] = &["What", "Who", "Whose", "Whom"];
/// First folders of paths that exist on one machine only.
const MACHINE_FOLDERS: &[&str] = &["work", "root", "tmp", "home"];
/// Where packages come from is the business of each machine's own settings. Written in two halves, so that this file passes.
const REGISTRY_HOSTS: &[[&str; 2]] = &[
    ["index.crates", ".io"],
    ["static.crates", ".io"],
    ["registry.npmjs", ".org"],
    ["pypi", ".org"],
    ["proxy.golang", ".org"],
    ["repo1.maven", ".org"],
];

/// Every finding in names, texts and links.
pub(super) fn findings(files: &[PathBuf]) -> Vec<String> {
    let mut findings = Vec::new();
    for path in files {
        findings.extend(name_finding(path).map(|finding| format!("{}: {finding}", path.display())));
        if path.file_name().is_some_and(|n| n == "Cargo.lock") {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(path) else {
            continue;
        };
        let mut in_comment = false;
        for (number, line) in text.lines().enumerate() {
            let comment = doc_comment(line);
            let begins = comment.filter(|_| !in_comment);
            in_comment = comment.is_some();
            if let Some(finding) = begins
                .and_then(comment_finding)
                .or_else(|| line_finding(line))
            {
                findings.push(format!("{}:{}: {finding}", path.display(), number + 1));
            }
        }
        if path.extension().is_some_and(|e| e == "md") {
            for target in local_links(&text)
                .filter(|target| !path.parent().unwrap_or(Path::new("")).join(target).exists())
            {
                findings.push(format!(
                    "{}: the link to {target} leads nowhere",
                    path.display()
                ));
            }
        }
    }
    findings
}

fn name_finding(path: &Path) -> Option<String> {
    if path.file_name().is_some_and(|n| n == "mod.rs") {
        return Some("modules are files beside their folder".to_owned());
    }
    path.components().find_map(|part| {
        let Component::Normal(name) = part else {
            return None;
        };
        let stem = Path::new(name)
            .file_stem()
            .unwrap_or(name)
            .to_string_lossy();
        EMPTY_NAMES
            .contains(&stem.as_ref())
            .then(|| format!("the name {stem} says nothing"))
    })
}

/// The text of a line that is part of a doc comment.
fn doc_comment(line: &str) -> Option<&str> {
    let line = line.trim_start();
    line.strip_prefix("///")
        .or_else(|| line.strip_prefix("//!"))
        .map(str::trim)
}

/// A doc comment begins with a noun phrase, or with a verb in the third person.
fn comment_finding(text: &str) -> Option<String> {
    let first = text.split(' ').next()?;
    CLAUSES
        .contains(&first)
        .then(|| format!("a doc comment begins with {first}: name the thing with a noun"))
}

fn line_finding(line: &str) -> Option<String> {
    if let Some([a, b]) = REGISTRY_HOSTS
        .iter()
        .find(|[a, b]| line.contains(&format!("{a}{b}")))
    {
        return Some(format!("spells out the registry host {a}{b}"));
    }
    let module = line
        .trim_start()
        .trim_start_matches("pub ")
        .strip_prefix("mod ")
        .map(|rest| rest.trim_end_matches([';', '{', ' ']));
    if let Some(name) = module.filter(|name| EMPTY_NAMES.contains(name)) {
        return Some(format!("the module name {name} says nothing"));
    }
    MACHINE_FOLDERS
        .iter()
        .find(|folder| names_machine_path(line, folder))
        .map(|folder| format!("names a path below /{folder} of one machine"))
}

/// A path that begins with the folder: what stands before it is not part of a longer path or address.
fn names_machine_path(line: &str, folder: &str) -> bool {
    let needle = format!("/{folder}/");
    line.match_indices(&needle).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line
            .get(at + needle.len()..)
            .and_then(|text| text.chars().next());
        before.is_none_or(|c| {
            !c.is_alphanumeric() && !matches!(c, '.' | '_' | '-' | '/' | ')' | '}' | '~' | '$')
        }) && after.is_some_and(|c| c.is_alphanumeric() || c == '.')
    })
}

/// Targets of Markdown links that are files here, without the part after `#`.
fn local_links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| {
        let target = rest.split_once(')')?.0;
        let target = target.split_once('#').map_or(target, |(file, _)| file);
        (!target.is_empty() && !target.contains("://") && !target.starts_with("mailto:"))
            .then_some(target)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_names_are_found() {
        assert!(name_finding(Path::new("crates/a/src/mod.rs")).is_some());
        assert!(name_finding(Path::new("crates/common/src/lib.rs")).is_some());
        assert!(name_finding(Path::new("crates/a/src/manager.rs")).is_some());
        assert!(name_finding(Path::new("crates/a/src/score.rs")).is_none());
        assert!(line_finding("pub mod utils;").is_some());
        assert!(line_finding("mod filter;").is_none());
    }

    #[test]
    fn doc_comments_that_begin_with_a_clause_are_found() {
        for line in ["/// What it is.", "    //! Who asks."] {
            assert!(
                doc_comment(line).and_then(comment_finding).is_some(),
                "{line}"
            );
        }
        for line in [
            "/// The identity of the caller.",
            "// What a comment says.",
            "/// Whatever",
        ] {
            assert!(
                doc_comment(line).and_then(comment_finding).is_none(),
                "{line}"
            );
        }
    }

    #[test]
    fn machine_paths_are_found() {
        for folder in MACHINE_FOLDERS {
            assert!(
                line_finding(&format!("see /{folder}/x")).is_some(),
                "{folder}"
            );
            assert!(
                line_finding(&format!("\"/{folder}/.x\"")).is_some(),
                "{folder}"
            );
            assert!(
                line_finding(&format!("https://host/{folder}/x")).is_none(),
                "{folder}"
            );
            assert!(
                line_finding(&format!("target/{folder}/x")).is_none(),
                "{folder}"
            );
        }
    }

    #[test]
    fn registry_hosts_are_found() {
        for [a, b] in REGISTRY_HOSTS {
            assert!(line_finding(&format!("url = https://{a}{b}/x")).is_some());
        }
    }

    #[test]
    fn links_are_read() {
        let text = "[a](b.md) [c](https://d/) [e](f.md#g) [h](#i)";
        assert_eq!(local_links(text).collect::<Vec<_>>(), ["b.md", "f.md"]);
    }
}
