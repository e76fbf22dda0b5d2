//! The parts of the program, as a list in the format CycloneDX 1.5.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::{Value, json};

use super::Release;
use crate::{TaskResult, workspace};

/// The package of the program.
const ROOT: &str = "personium-server";

/// Writes the list. Returns its file name.
///
/// # Errors
/// A message if cargo fails or the file cannot be written.
pub(super) fn write(release: &Release) -> TaskResult<String> {
    let name = format!("personium-{}.cdx.json", release.version);
    let path = release.output.join(&name);
    let metadata = workspace::resolved_metadata()?;
    let lock = fs::read_to_string("Cargo.lock")
        .map_err(|error| format!("cannot read Cargo.lock: {error}"))?;
    let list = list(&metadata, &checksums(&lock)?, &release.version)?;
    let text = format!("{list:#}\n");
    fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(name)
}

/// The checksums of crates by name and version.
fn checksums(lock: &str) -> TaskResult<BTreeMap<(String, String), String>> {
    let lock: toml::Table = lock
        .parse()
        .map_err(|error| format!("Cargo.lock cannot be read: {error}"))?;
    let packages = lock.get("package").and_then(toml::Value::as_array);
    let entry = |package: &toml::Value| {
        let text = |name| package.get(name)?.as_str().map(str::to_owned);
        Some(((text("name")?, text("version")?), text("checksum")?))
    };
    Ok(packages.into_iter().flatten().filter_map(entry).collect())
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn array<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    value
        .get(name)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// The ids of the packages that a node needs at run time or to be built.
fn needed(node: &Value) -> BTreeSet<&str> {
    let is_normal = |dependency: &&Value| {
        array(dependency, "dep_kinds").any(|kind| text(kind, "kind") != "dev")
    };
    array(node, "deps")
        .filter(is_normal)
        .map(|dependency| text(dependency, "pkg"))
        .collect()
}

fn list(
    metadata: &Value,
    checksums: &BTreeMap<(String, String), String>,
    version: &str,
) -> TaskResult<Value> {
    let resolve = metadata
        .get("resolve")
        .ok_or("cargo metadata resolves nothing")?;
    let nodes: BTreeMap<&str, &Value> = array(resolve, "nodes")
        .map(|node| (text(node, "id"), node))
        .collect();
    let packages: BTreeMap<&str, &Value> = array(metadata, "packages")
        .map(|package| (text(package, "id"), package))
        .collect();
    let root = packages
        .iter()
        .find(|(_, package)| text(package, "name") == ROOT);
    let (root, _) = root.ok_or("cargo metadata has no package of the program")?;
    let mut found = BTreeSet::from([*root]);
    let mut open = vec![*root];
    while let Some(id) = open.pop() {
        for next in nodes.get(id).map(|node| needed(node)).unwrap_or_default() {
            if found.insert(next) {
                open.push(next);
            }
        }
    }
    let url = |id: &str| packages.get(id).map(|package| package_url(package));
    let components: Vec<Value> = found
        .iter()
        .filter_map(|id| packages.get(id))
        .map(|package| component(package, checksums))
        .collect();
    let dependencies: Vec<Value> = found
        .iter()
        .filter_map(|id| {
            let on: Vec<String> = needed(nodes.get(id)?).into_iter().filter_map(url).collect();
            Some(json!({"ref": url(id)?, "dependsOn": on}))
        })
        .collect();
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {
            "type": "application", "bom-ref": "personium", "name": "personium", "version": version,
        }},
        "components": components,
        "dependencies": dependencies,
    }))
}

fn package_url(package: &Value) -> String {
    format!(
        "pkg:cargo/{}@{}",
        text(package, "name"),
        text(package, "version")
    )
}

fn component(package: &Value, checksums: &BTreeMap<(String, String), String>) -> Value {
    let (name, version) = (text(package, "name"), text(package, "version"));
    let url = package_url(package);
    let licenses = match text(package, "license") {
        "" => Value::Array(Vec::new()),
        license => json!([{"expression": license.replace('/', " OR ")}]),
    };
    let hashes = match checksums.get(&(name.to_owned(), version.to_owned())) {
        Some(sum) => json!([{"alg": "SHA-256", "content": sum}]),
        None => Value::Array(Vec::new()),
    };
    json!({
        "type": "library", "bom-ref": url, "name": name, "version": version, "purl": url,
        "licenses": licenses, "hashes": hashes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_has_what_the_program_needs_with_versions_and_checksums() {
        let package = |id: &str, name: &str| json!({"id": id, "name": name, "version": "1.0.0", "license": "MIT/Apache-2.0"});
        let needs = |id: &str, on: &[(&str, Value)]| {
            let deps: Vec<Value> = on
                .iter()
                .map(|(id, kind)| json!({"pkg": id, "dep_kinds": [{"kind": kind}]}))
                .collect();
            json!({"id": id, "deps": deps})
        };
        let metadata = json!({
            "packages": [package("r", ROOT), package("a", "one"), package("b", "two"), package("t", "tests"), package("x", "other")],
            "resolve": {"nodes": [
                needs("r", &[("a", Value::Null), ("t", "dev".into())]),
                needs("a", &[("b", "build".into())]),
                needs("b", &[]), needs("t", &[]), needs("x", &[("t", Value::Null)]),
            ]},
        });
        let lock = "[[package]]\nname = \"one\"\nversion = \"1.0.0\"\nchecksum = \"abc\"\n";
        let list = list(&metadata, &checksums(lock).unwrap(), "9.9").unwrap();
        let names: Vec<&str> = array(&list, "components")
            .map(|part| text(part, "name"))
            .collect();
        assert_eq!(names, ["one", "two", ROOT]);
        assert_eq!(list["components"][0]["hashes"][0]["content"], "abc");
        assert_eq!(
            list["components"][0]["licenses"][0]["expression"],
            "MIT OR Apache-2.0"
        );
        assert_eq!(
            list["dependencies"][0]["dependsOn"][0],
            "pkg:cargo/two@1.0.0"
        );
        assert_eq!(list["metadata"]["component"]["version"], "9.9");
    }
}
