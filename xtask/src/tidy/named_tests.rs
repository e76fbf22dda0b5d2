//! The tests that the page about lost layers names must exist: each of its rows is what a test shows.

use std::fs;

/// The page.
const PAGE: &str = "docs/operate/failures.md";
/// The folder of the files that it names without a path.
const TESTS: &str = "crates/server/tests/it";

/// Findings about the page.
pub(super) fn findings() -> Vec<String> {
    match fs::read_to_string(PAGE) {
        Ok(text) => check(&text, |file| fs::read_to_string(file).ok()),
        Err(error) => vec![format!("{PAGE}: {error}")],
    }
}

fn check(text: &str, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut findings = Vec::new();
    let rows = text.lines().filter(|line| {
        let is_head = line.ends_with("| Tests |") || line.starts_with("|-");
        line.starts_with('|') && !is_head
    });
    for row in rows {
        let column = row.trim_end_matches('|').rsplit('|').next();
        let (mut file, mut tests) = (None, 0);
        for name in column.unwrap_or_default().split('`').skip(1).step_by(2) {
            if name.ends_with(".rs") {
                let path = match name.starts_with("crates/") {
                    true => name.to_owned(),
                    false => format!("{TESTS}/{name}"),
                };
                file = Some((read(&path).unwrap_or_default(), path));
                continue;
            }
            tests += 1;
            let is_there = file
                .as_ref()
                .is_some_and(|(text, _)| text.contains(&format!("fn {name}(")));
            if !is_there {
                let path = file.as_ref().map_or("no file", |(_, path)| path.as_str());
                findings.push(format!("{PAGE}: there is no test {name} in {path}"));
            }
        }
        if tests == 0 {
            let row: String = row.chars().take(60).collect();
            findings.push(format!("{PAGE}: a row names no test: {row}"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_without_a_test_and_tests_that_are_not_there_are_found() {
        let read = |file: &str| match file {
            "crates/server/tests/it/a.rs" => Some("async fn known() {}".to_owned()),
            "crates/x/b.rs" => Some("fn other() {}".to_owned()),
            _ => None,
        };
        let page = |column: &str| format!("| Lost | Tests |\n|---|---|\n| `x` | {column} |\n");
        for (column, count) in [
            ("`a.rs`: `known`; `crates/x/b.rs`: `other`", 0),
            ("`a.rs`: `known`, `other`", 1),
            ("`c.rs`: `known`", 1),
            ("`known`", 1),
            ("", 1),
        ] {
            let found = check(&page(column), read);
            assert_eq!(found.len(), count, "{column}: {found:?}");
        }
    }
}
