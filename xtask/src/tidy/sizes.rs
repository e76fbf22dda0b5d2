//! Files have a size: 600 lines without their tests are a warning, 800 a fault.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::{Outcome, workspace};

const WARN: usize = 600;
const FAIL: usize = 800;
/// A path and the lines it may have, one a line. The list may only shrink, in entries and in numbers.
const EXCEPTIONS: &str = "xtask/tidy-exceptions.txt";

/// Files that are too long, and exceptions that are new, grown or no longer needed.
pub(super) fn faults(files: &[PathBuf]) -> Outcome<Vec<String>> {
    let allowed = exceptions(&std::fs::read_to_string(EXCEPTIONS).unwrap_or_default());
    let mut faults = Vec::new();
    if let Some(before) = workspace::text_before(EXCEPTIONS) {
        faults.extend(grown(&exceptions(&before), &allowed));
    }
    let mut needed = Vec::new();
    for path in files
        .iter()
        .filter(|p| p.extension().is_some_and(|e| e == "rs"))
    {
        let text = std::fs::read_to_string(path)
            .map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        let lines = lines_without_tests(&text);
        let limit = allowed.get(path.as_path()).copied();
        if lines > limit.unwrap_or(FAIL) {
            faults.push(format!(
                "{}: {lines} lines without tests, at most {}",
                path.display(),
                limit.unwrap_or(FAIL)
            ));
        } else if lines > WARN {
            println!(
                "tidy: warning: {}: {lines} lines without tests, aim at 300",
                path.display()
            );
        }
        if lines > FAIL {
            needed.push(path.clone());
        }
    }
    for path in allowed.keys().filter(|p| !needed.contains(p)) {
        faults.push(format!(
            "{EXCEPTIONS}: {} needs no exception any more",
            path.display()
        ));
    }
    Ok(faults)
}

fn exceptions(text: &str) -> BTreeMap<PathBuf, usize> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let (path, lines) = line.trim().rsplit_once(' ')?;
            Some((Path::new(path.trim()).to_owned(), lines.parse().ok()?))
        })
        .collect()
}

fn grown(before: &BTreeMap<PathBuf, usize>, now: &BTreeMap<PathBuf, usize>) -> Vec<String> {
    now.iter()
        .filter(|(path, lines)| before.get(*path).is_none_or(|earlier| *lines > earlier))
        .map(|(path, _)| {
            format!(
                "{EXCEPTIONS}: the exception for {} is new or has grown",
                path.display()
            )
        })
        .collect()
}

/// Lines before the module of tests, which stands last in a file.
fn lines_without_tests(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    lines
        .windows(2)
        .position(|pair| matches!(pair, [first, second] if first.trim() == "#[cfg(test)]" && second.starts_with("mod ") && second.ends_with('{')))
        .unwrap_or(lines.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_do_not_count() {
        assert_eq!(
            lines_without_tests("a\nb\n#[cfg(test)]\nmod tests {\n}\n"),
            2
        );
        assert_eq!(lines_without_tests("a\n#[cfg(test)]\nmod tests;\nb\n"), 4);
    }

    #[test]
    fn exceptions_only_shrink() {
        let before = exceptions("# why\na.rs 900\nb.rs 850\n");
        assert!(grown(&before, &exceptions("a.rs 880\n")).is_empty());
        assert_eq!(grown(&before, &exceptions("a.rs 901\nc.rs 850\n")).len(), 2);
    }
}
