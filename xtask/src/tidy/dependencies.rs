//! The table of rooms in the architecture page against the manifests.

use std::collections::BTreeMap;

use crate::Outcome;
use crate::workspace::Package;

const PAGE: &str = "docs/ARCHITECTURE.md";
const BEGIN: &str = "<!-- tidy:dependencies -->";
const END: &str = "<!-- /tidy -->";

/// Crate, what it depends on, what its tests add.
type Rows = BTreeMap<String, (Vec<String>, Vec<String>)>;

/// Every difference between the page and the manifests.
pub(super) fn faults(packages: &[Package]) -> Outcome<Vec<String>> {
    let page = std::fs::read_to_string(PAGE).map_err(|e| format!("cannot read {PAGE}: {e}"))?;
    let rows =
        rows(&page).ok_or_else(|| format!("{PAGE} has no table between {BEGIN} and {END}"))?;
    Ok(compare(&rows, packages))
}

fn compare(rows: &Rows, packages: &[Package]) -> Vec<String> {
    let mut faults = Vec::new();
    for package in packages {
        match rows.get(&package.name) {
            None => faults.push(format!("{PAGE} has no row for crate {}", package.name)),
            Some((normal, tests)) => {
                differences(
                    &package.name,
                    "dependencies",
                    normal,
                    &package.normal,
                    &mut faults,
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
                    &mut faults,
                );
            }
        }
    }
    for name in rows
        .keys()
        .filter(|name| !packages.iter().any(|p| p.name == **name))
    {
        faults.push(format!("{PAGE} names crate {name}, which does not exist"));
    }
    faults
}

fn differences(
    name: &str,
    kind: &str,
    told: &[String],
    found: &[String],
    faults: &mut Vec<String>,
) {
    for extra in found.iter().filter(|d| !told.contains(d)) {
        faults.push(format!(
            "{name}: {extra} stands in its {kind} but not in {PAGE}"
        ));
    }
    for absent in told.iter().filter(|d| !found.contains(d)) {
        faults.push(format!(
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
    fn each_difference_is_a_fault() {
        let told = rows(TABLE).unwrap();
        let found = compare(
            &told,
            &[
                package("a", &["b"], &[]),
                package("b", &[], &["c"]),
                package("d", &[], &[]),
            ],
        );
        assert_eq!(found.len(), 3, "{found:?}");
        assert_eq!(
            compare(&told, &[package("a", &[], &[])]).len(),
            1,
            "a row without a crate"
        );
        assert!(rows("no table").is_none());
    }
}
