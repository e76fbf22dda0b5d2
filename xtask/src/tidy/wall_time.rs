//! The wall time, which can be set, must not decide what state of this process paces, limits or caches: that takes the monotonic
//! time of the clock.

use std::path::{Path, PathBuf};

use crate::TaskResult;

/// Names of the wall time.
const WALL_TIME: &[&str] = &["now_ms", "SystemTime", "Timestamp::now"];
/// Names of what holds state in this process.
const STATE: &[&str] = &[
    "AtomicI64",
    "AtomicU64",
    "AtomicU32",
    "AtomicUsize",
    "Mutex",
    "OnceLock",
    "RwLock",
    "moka",
];
/// The files that may have both.
const EXCEPTIONS: &[(&str, &str)] = &[
    (
        "crates/install/src/installer.rs",
        "stored times of an installation; its counters count entries",
    ),
    (
        "crates/model/src/credentials/unit_keys.rs",
        "certificates are valid by the wall time",
    ),
    (
        "crates/server/src/running_settings.rs",
        "certificates are valid by the wall time",
    ),
    (
        "crates/model/src/monotonic_ids.rs",
        "ids are ordered by the wall time, and never go back",
    ),
    ("crates/model/src/unit.rs", "the unit passes the clock on"),
    (
        "crates/token/src/trust.rs",
        "certificates are valid by the wall time; keys are cached without one",
    ),
];

/// Returns one finding for each source file, apart from tests, that names the wall time and state of this process.
///
/// # Errors
/// When a file cannot be read.
pub(super) fn findings(files: &[PathBuf]) -> TaskResult<Vec<String>> {
    let mut findings = Vec::new();
    for path in files.iter().filter(|path| is_source(path)) {
        let shown = path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|e| format!("cannot read {shown}: {e}"))?;
        if let Some((time, state)) = mixes(&text)
            && !EXCEPTIONS.iter().any(|(path, _)| *path == shown)
        {
            findings.push(format!(
                "{shown}: names the wall time ({time}) and state of this process ({state}): take `Clock::monotonic`"
            ));
        }
    }
    Ok(findings)
}

/// Whether a path is a source file of a crate that runs in production.
fn is_source(path: &Path) -> bool {
    let text = path.display().to_string();
    text.starts_with("crates/")
        && !text.starts_with("crates/testkit/")
        && text.contains("/src/")
        && text.ends_with(".rs")
        && !text.ends_with("tests.rs")
        && !text.contains("/tests/")
}

/// The names of the wall time and of state that a text contains before its tests, if it contains both.
fn mixes(text: &str) -> Option<(&'static str, &'static str)> {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    let find = |names: &'static [&'static str]| {
        names.iter().copied().find(|name| contains_word(text, name))
    };
    Some((find(WALL_TIME)?, find(STATE)?))
}

fn contains_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text.get(..at).and_then(|t| t.chars().next_back());
        let after = text.get(at + word.len()..).and_then(|t| t.chars().next());
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::mixes;

    #[test]
    fn wall_time_beside_state_is_found() {
        for (text, found) in [
            ("fn a(now_ms: i64) { bucket: AtomicI64 }", true),
            ("clock.now_ms(); cached: Mutex<u8>", true),
            ("clock.now_ms();", false),
            ("clock.monotonic(); cached: Mutex<u8>", false),
            ("not_now_ms(); cached: Mutex<u8>", false),
            (
                "cached: Mutex<u8>\n#[cfg(test)]\nmod tests { now_ms }",
                false,
            ),
        ] {
            assert_eq!(mixes(text).is_some(), found, "{text}");
        }
    }
}
