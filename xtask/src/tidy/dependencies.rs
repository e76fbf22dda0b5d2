//! The dependencies of the crates: the table in the architecture page against the manifests, and the workspace table against its use.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::TaskResult;
use crate::workspace::Package;

const PAGE: &str = "docs/ARCHITECTURE.md";
const BEGIN: &str = "<!-- tidy:dependencies -->";
const END: &str = "<!-- /tidy -->";

/// Crate, what it depends on, what its tests add.
type Rows = BTreeMap<String, (Vec<String>, Vec<String>)>;

/// Every difference between the page and the manifests.
pub(super) fn findings(packages: &[Package]) -> TaskResult<Vec<String>> {
    let page = std::fs::read_to_string(PAGE).map_err(|e| format!("cannot read {PAGE}: {e}"))?;
    let rows =
        rows(&page).ok_or_else(|| format!("{PAGE} has no table between {BEGIN} and {END}"))?;
    Ok(compare(&rows, packages))
}

fn compare(rows: &Rows, packages: &[Package]) -> Vec<String> {
    let mut findings = Vec::new();
    for package in packages {
        match rows.get(&package.name) {
            None => findings.push(format!("{PAGE} has no row for crate {}", package.name)),
            Some((normal, tests)) => {
                differences(
                    &package.name,
                    "dependencies",
                    normal,
                    &package.normal,
                    &mut findings,
                );
                let only_tests: Vec<String> = package
                    .tests
                    .iter()
                    .filter(|t| !package.normal.contains(t))
                    .cloned()
                    .collect();
                differences(
                    &package.name,
                    "dev-dependencies",
                    tests,
                    &only_tests,
                    &mut findings,
                );
            }
        }
    }
    for name in rows
        .keys()
        .filter(|name| !packages.iter().any(|p| p.name == **name))
    {
        findings.push(format!("{PAGE} names crate {name}, which does not exist"));
    }
    findings
}

fn differences(
    name: &str,
    kind: &str,
    listed: &[String],
    found: &[String],
    findings: &mut Vec<String>,
) {
    for extra in found.iter().filter(|d| !listed.contains(d)) {
        findings.push(format!(
            "{name}: {extra} stands in its {kind} but not in {PAGE}"
        ));
    }
    for absent in listed.iter().filter(|d| !found.contains(d)) {
        findings.push(format!(
            "{name}: {PAGE} says it depends on {absent}, its {kind} do not"
        ));
    }
}

fn rows(page: &str) -> Option<Rows> {
    let table = page.split_once(BEGIN)?.1.split_once(END)?.0;
    let mut rows = Rows::new();
    for line in table.lines().filter(|l| l.starts_with('|')).skip(2) {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        let (name, normal, tests) = (cells.next()?, cells.next()?, cells.next()?);
        rows.insert(name.to_owned(), (names(normal), names(tests)));
    }
    (!rows.is_empty()).then_some(rows)
}

fn names(cell: &str) -> Vec<String> {
    cell.split(',')
        .map(str::trim)
        .filter(|n| !n.is_empty() && *n != "-")
        .map(str::to_owned)
        .collect()
}

/// Returns one finding for each entry of `[workspace.dependencies]` that no crate uses.
///
/// # Errors
/// When a manifest cannot be read.
pub(super) fn unused(files: &[PathBuf]) -> TaskResult<Vec<String>> {
    let mut table = Vec::new();
    let mut used = BTreeSet::new();
    for path in files
        .iter()
        .filter(|p| p.file_name().is_some_and(|n| n == "Cargo.toml"))
    {
        let shown = path.display();
        let text =
            std::fs::read_to_string(path).map_err(|e| format!("cannot read {shown}: {e}"))?;
        let manifest: toml::Table = text
            .parse()
            .map_err(|e| format!("cannot parse {shown}: {e}"))?;
        let keys = |table: Option<&toml::Value>| -> Vec<String> {
            table
                .and_then(toml::Value::as_table)
                .map(|t| t.keys().cloned().collect())
                .unwrap_or_default()
        };
        table.extend(keys(
            manifest
                .get("workspace")
                .and_then(|w| w.get("dependencies")),
        ));
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            used.extend(keys(manifest.get(kind)));
        }
    }
    table.retain(|name| !used.contains(name));
    Ok(table
        .into_iter()
        .map(|name| format!("Cargo.toml: no crate uses the workspace dependency {name}"))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "x\n<!-- tidy:dependencies -->\n| C | D | T | N |\n|---|---|---|---|\n| a | - | - | x |\n| b | a | c | y |\n<!-- /tidy -->";

    fn package(name: &str, normal: &[&str], tests: &[&str]) -> Package {
        let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        Package {
            name: name.to_owned(),
            normal: owned(normal),
            tests: owned(tests),
        }
    }

    #[test]
    fn equal_tables_have_no_fault() {
        let found = compare(
            &rows(TABLE).unwrap(),
            &[package("a", &[], &[]), package("b", &["a"], &["a", "c"])],
        );
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn each_difference_is_a_finding() {
        let listed = rows(TABLE).unwrap();
        let found = compare(
            &listed,
            &[
                package("a", &["b"], &[]),
                package("b", &[], &["c"]),
                package("d", &[], &[]),
            ],
        );
        assert_eq!(found.len(), 3, "{found:?}");
        assert_eq!(
            compare(&listed, &[package("a", &[], &[])]).len(),
            1,
            "a row without a crate"
        );
        assert!(rows("no table").is_none());
    }
}
