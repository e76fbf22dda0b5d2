//! Facts about the workspace: its root, its packages, its files.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::Outcome;

/// A package of the workspace with its dependencies on other packages of the workspace, by short name.
pub(crate) struct Package {
    /// Name without the prefix that all crates share.
    pub(crate) name: String,
    /// `[dependencies]` and `[build-dependencies]`, sorted.
    pub(crate) normal: Vec<String>,
    /// `[dev-dependencies]`, sorted.
    pub(crate) tests: Vec<String>,
}

/// The cargo that runs this program, or the one on the path.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Makes the root of the workspace the current folder, wherever the task was called.
pub(crate) fn enter_root() -> Outcome {
    // As it is now, not as it was compiled: checkouts may share a target folder, and with it this program.
    let here = std::env::var_os("CARGO_MANIFEST_DIR").ok_or("call this as `cargo xtask`")?;
    let root = Path::new(&here)
        .parent()
        .ok_or("xtask has no parent folder")?;
    std::env::set_current_dir(root).map_err(|e| format!("cannot enter {}: {e}", root.display()))
}

fn metadata() -> Outcome<Value> {
    let out = cargo()
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .output()
        .map_err(|e| format!("cannot run cargo metadata: {e}"))?;
    if !out.status.success() {
        return Err(format!(
            "cargo metadata failed: {}",
            String::from_utf8_lossy(&out.stderr)
        ));
    }
    serde_json::from_slice(&out.stdout).map_err(|e| format!("cargo metadata is not JSON: {e}"))
}

/// Where cargo puts what it builds.
pub(crate) fn target_folder() -> Outcome<PathBuf> {
    metadata()?
        .get("target_directory")
        .and_then(Value::as_str)
        .map(PathBuf::from)
        .ok_or_else(|| "cargo metadata names no target folder".into())
}

/// All packages of the workspace, sorted by name.
pub(crate) fn packages() -> Outcome<Vec<Package>> {
    let all = metadata()?;
    let listed = all
        .get("packages")
        .and_then(Value::as_array)
        .ok_or("cargo metadata lists no packages")?;
    let mut packages: Vec<Package> = listed
        .iter()
        .map(|package| Package {
            name: short_name(text_of(package, "name").unwrap_or_default()),
            normal: inner_dependencies(package, |kind| kind != Some("dev")),
            tests: inner_dependencies(package, |kind| kind == Some("dev")),
        })
        .collect();
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(packages)
}

/// A dependency is one of ours when it has a path.
fn inner_dependencies(package: &Value, wanted: impl Fn(Option<&str>) -> bool) -> Vec<String> {
    let mut names: Vec<String> = package
        .get("dependencies")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|d| text_of(d, "path").is_some() && wanted(text_of(d, "kind")))
        .map(|d| short_name(text_of(d, "name").unwrap_or_default()))
        .collect();
    names.sort();
    names.dedup();
    names
}

fn text_of<'v>(value: &'v Value, member: &str) -> Option<&'v str> {
    value.get(member).and_then(Value::as_str)
}

fn short_name(name: &str) -> String {
    name.strip_prefix("personium-").unwrap_or(name).to_owned()
}

/// Every file that belongs to the project: tracked, or new and not ignored. Without git: all but hidden and built ones.
pub(crate) fn files() -> Outcome<Vec<PathBuf>> {
    let listed = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .output();
    let mut files = match listed {
        Ok(out) if out.status.success() => String::from_utf8_lossy(&out.stdout)
            .split('\0')
            .filter(|name| !name.is_empty())
            .map(PathBuf::from)
            .filter(|path| path.is_file())
            .collect(),
        _ => {
            let mut found = Vec::new();
            walk(Path::new("."), &mut found)?;
            found
        }
    };
    files.sort();
    files.dedup();
    Ok(files)
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Outcome {
    let entries =
        std::fs::read_dir(folder).map_err(|e| format!("cannot list {}: {e}", folder.display()))?;
    for entry in entries {
        let path = entry
            .map_err(|e| format!("cannot list {}: {e}", folder.display()))?
            .path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            if !matches!(name.as_str(), ".git" | "target" | "data") {
                walk(&path, found)?;
            }
        } else if !name.ends_with(".log") {
            found.push(path.strip_prefix(".").unwrap_or(&path).to_owned());
        }
    }
    Ok(())
}

/// The text of a file as the commit before the newest one had it; `None` without history or without that file.
pub(crate) fn text_before(path: &str) -> Option<String> {
    let out = Command::new("git")
        .args(["show", &format!("HEAD~1:{path}")])
        .output()
        .ok()?;
    out.status
        .success()
        .then(|| String::from_utf8_lossy(&out.stdout).into_owned())
}
