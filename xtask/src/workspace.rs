//! The workspace: its root, its packages and its files.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::TaskResult;

/// A package of the workspace with its dependencies on other packages of the workspace, all without the common prefix.
pub(crate) struct Package {
    /// The name.
    pub(crate) name: String,
    /// `[dependencies]` and `[build-dependencies]`, sorted.
    pub(crate) normal: Vec<String>,
    /// `[dev-dependencies]`, sorted.
    pub(crate) tests: Vec<String>,
}

/// Returns the cargo that runs this program, or the one in `PATH`.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Makes the root of the workspace the current folder.
///
/// # Errors
/// A message if the task was not started by cargo.
pub(crate) fn enter_root() -> TaskResult {
    // Read at run time: checkouts can share a target folder, and with it this program.
    let manifest_folder = std::env::var_os("CARGO_MANIFEST_DIR")
        .ok_or("this program must be started as `cargo xtask`")?;
    let root = Path::new(&manifest_folder)
        .parent()
        .ok_or("xtask has no parent folder")?;
    std::env::set_current_dir(root)
        .map_err(|error| format!("cannot enter {}: {error}", root.display()))
}

fn metadata() -> TaskResult<Value> {
    metadata_with(&["--no-deps"])
}

fn metadata_with(options: &[&str]) -> TaskResult<Value> {
    let out = cargo()
        .args(["metadata", "--format-version", "1"])
        .args(options)
        .output()
        .map_err(|error| format!("cannot run cargo metadata: {error}"))?;
    if !out.status.success() {
        return Err(format!(
            "cargo metadata failed: {}",
            String::from_utf8_lossy(&out.stderr)
        ));
    }
    serde_json::from_slice(&out.stdout)
        .map_err(|error| format!("cargo metadata is not JSON: {error}"))
}

/// Returns the packages of the workspace and all that they depend on, with the versions in `Cargo.lock`.
///
/// # Errors
/// A message if cargo fails.
pub(crate) fn resolved_metadata() -> TaskResult<Value> {
    metadata_with(&["--locked"])
}

/// Returns the version of the workspace.
///
/// # Errors
/// A message if cargo fails.
pub(crate) fn version() -> TaskResult<String> {
    let all = metadata()?;
    let mut listed = all
        .get("packages")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    listed
        .find(|package| text_of(package, "name") == Some("personium-server"))
        .and_then(|package| text_of(package, "version"))
        .map(str::to_owned)
        .ok_or_else(|| "cargo metadata contains no version".into())
}

/// Returns the target folder of cargo.
///
/// # Errors
/// A message if cargo fails.
pub(crate) fn target_folder() -> TaskResult<PathBuf> {
    metadata()?
        .get("target_directory")
        .and_then(Value::as_str)
        .map(PathBuf::from)
        .ok_or_else(|| "cargo metadata contains no target folder".into())
}

/// Builds the program for development, and returns its path.
///
/// # Errors
/// A message if cargo fails.
pub(crate) fn built_program() -> TaskResult<PathBuf> {
    let built = cargo()
        .args(["build", "-q", "--workspace", "--bin", "personium"])
        .status()
        .map_err(|error| format!("cannot run cargo build: {error}"))?;
    if !built.success() {
        return Err("cargo build failed".into());
    }
    Ok(target_folder()?.join("debug/personium"))
}

/// Returns the packages of the workspace, sorted by name.
///
/// # Errors
/// A message if cargo fails.
pub(crate) fn packages() -> TaskResult<Vec<Package>> {
    let all = metadata()?;
    let listed = all
        .get("packages")
        .and_then(Value::as_array)
        .ok_or("cargo metadata contains no packages")?;
    let mut packages: Vec<Package> = listed
        .iter()
        .map(|package| Package {
            name: short_name(text_of(package, "name").unwrap_or_default()),
            normal: workspace_dependencies(package, |kind| kind != Some("dev")),
            tests: workspace_dependencies(package, |kind| kind == Some("dev")),
        })
        .collect();
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(packages)
}

/// Returns the dependencies in the workspace, which are those with a path.
fn workspace_dependencies(package: &Value, wanted: impl Fn(Option<&str>) -> bool) -> Vec<String> {
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

/// Returns the files of the project: tracked ones, and new ones that are not ignored. Without git, it returns all files but
/// those of builds and logs.
///
/// # Errors
/// A message if a folder cannot be listed.
pub(crate) fn files() -> TaskResult<Vec<PathBuf>> {
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
            collect_files(Path::new("."), &mut found)?;
            found
        }
    };
    files.sort();
    files.dedup();
    Ok(files)
}

fn collect_files(folder: &Path, found: &mut Vec<PathBuf>) -> TaskResult {
    let entries = std::fs::read_dir(folder)
        .map_err(|error| format!("cannot list {}: {error}", folder.display()))?;
    for entry in entries {
        let path = entry
            .map_err(|error| format!("cannot list {}: {error}", folder.display()))?
            .path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            if !matches!(name.as_str(), ".git" | "target" | "data") {
                collect_files(&path, found)?;
            }
        } else if !name.ends_with(".log") {
            found.push(path.strip_prefix(".").unwrap_or(&path).to_owned());
        }
    }
    Ok(())
}

/// Returns the text of a file in the commit before the last one; `None` if there is no such commit or file.
pub(crate) fn text_before(path: &str) -> Option<String> {
    let out = Command::new("git")
        .args(["show", &format!("HEAD~1:{path}")])
        .output()
        .ok()?;
    out.status
        .success()
        .then(|| String::from_utf8_lossy(&out.stdout).into_owned())
}
