//! Files have a size: more than 600 lines without their tests are a warning, more than 800 a finding.

use std::path::PathBuf;

use super::exceptions;
use crate::TaskResult;

const WARN: usize = 600;
const FAIL: usize = 800;
/// The kind of exceptions from this rule. The subject is a path, the number the lines that it may have.
const KIND: &str = "size";

/// Returns one finding for each file that is too long.
///
/// # Errors
/// When a file cannot be read.
pub(super) fn findings(files: &[PathBuf]) -> TaskResult<Vec<String>> {
    let allowed = exceptions::of_kind(KIND);
    let (mut findings, mut needed) = (Vec::new(), Vec::new());
    for path in files
        .iter()
        .filter(|p| p.extension().is_some_and(|e| e == "rs"))
    {
        let shown = path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|e| format!("cannot read {shown}: {e}"))?;
        let lines = lines_without_tests(&text);
        let limit = allowed.get(&shown).copied().unwrap_or(FAIL);
        if lines > limit {
            findings.push(format!(
                "{shown}: {lines} lines without tests, at most {limit}"
            ));
        } else if lines > WARN {
            println!("tidy: warning: {shown}: {lines} lines without tests, aim at 300");
        }
        if lines > FAIL {
            needed.push(shown);
        }
    }
    findings.extend(exceptions::unneeded(KIND, &allowed, &needed));
    Ok(findings)
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
    fn lines_of_tests_are_not_counted() {
        assert_eq!(
            lines_without_tests("a\nb\n#[cfg(test)]\nmod tests {\n}\n"),
            2
        );
        assert_eq!(lines_without_tests("a\n#[cfg(test)]\nmod tests;\nb\n"), 4);
    }
}
