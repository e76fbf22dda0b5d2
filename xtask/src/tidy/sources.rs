//! The modules of each crate, parsed. Modules that exist only in tests are left out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use syn::{Attribute, Item};

use crate::TaskResult;

/// A path of modules below the root of a crate; empty for the root itself.
pub(super) type ModulePath = Vec<String>;

/// A crate: one library or program.
pub(super) struct CrateSource {
    /// The folder of the sources, as it identifies the crate to a reader.
    pub(super) folder: String,
    /// Its modules by path.
    pub(super) modules: BTreeMap<ModulePath, syn::File>,
}

/// Parses all crates of the workspace. Sources are the files below a folder `src` that contains `lib.rs` or `main.rs`.
///
/// # Errors
/// When a file cannot be read or is not Rust.
pub(super) fn load(files: &[PathBuf]) -> TaskResult<Vec<CrateSource>> {
    let mut crates: BTreeMap<PathBuf, BTreeMap<ModulePath, syn::File>> = BTreeMap::new();
    for path in files
        .iter()
        .filter(|p| p.extension().is_some_and(|e| e == "rs"))
    {
        let Some((folder, module)) = place(path) else {
            continue;
        };
        let text = std::fs::read_to_string(path)
            .map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        let parsed =
            syn::parse_file(&text).map_err(|e| format!("cannot parse {}: {e}", path.display()))?;
        crates.entry(folder).or_default().insert(module, parsed);
    }
    Ok(crates
        .into_iter()
        .map(|(folder, mut modules)| {
            remove_test_modules(&mut modules);
            let folder = folder.display().to_string();
            CrateSource { folder, modules }
        })
        .collect())
}

/// The crate and the module that a file belongs to; `None` for files outside a folder `src`.
fn place(path: &Path) -> Option<(PathBuf, ModulePath)> {
    let folder = path
        .ancestors()
        .skip(1)
        .find(|folder| folder.ends_with("src"))?;
    let below = path.strip_prefix(folder).ok()?.with_extension("");
    let mut module: ModulePath = below
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    if module == ["lib"] || module == ["main"] {
        module.clear();
    }
    Some((folder.to_owned(), module))
}

fn remove_test_modules(modules: &mut BTreeMap<ModulePath, syn::File>) {
    let mut only_tests: Vec<ModulePath> = Vec::new();
    for (path, file) in &*modules {
        for item in &file.items {
            if let Item::Mod(module) = item
                && is_test_only(&module.attrs)
            {
                only_tests.push(child(path, &module.ident.to_string()));
            }
        }
    }
    modules.retain(|path, _| !only_tests.iter().any(|tests| path.starts_with(tests)));
}

/// The path of a child module.
pub(super) fn child(parent: &[String], name: &str) -> ModulePath {
    let mut path = parent.to_vec();
    path.push(name.to_owned());
    path
}

/// Whether an item has the attribute `#[cfg(test)]` or `#[test]`.
pub(super) fn is_test_only(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let path = attribute.path();
        let is_cfg_test = path.is_ident("cfg")
            && attribute
                .parse_args::<syn::Path>()
                .is_ok_and(|condition| condition.is_ident("test"));
        is_cfg_test || path.is_ident("test")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_assigned_to_crates_and_modules() {
        for (path, folder, module) in [
            ("crates/a/src/lib.rs", "crates/a/src", ""),
            ("crates/a/src/b.rs", "crates/a/src", "b"),
            ("crates/a/src/b/c.rs", "crates/a/src", "b/c"),
            ("xtask/src/main.rs", "xtask/src", ""),
        ] {
            let found = place(Path::new(path)).unwrap();
            assert_eq!(
                (found.0, found.1.join("/")),
                (folder.into(), module.to_owned())
            );
        }
        assert!(place(Path::new("crates/a/tests/it/main.rs")).is_none());
    }

    #[test]
    fn modules_of_tests_are_left_out() {
        let parse = |text: &str| syn::parse_file(text).unwrap();
        let mut modules = BTreeMap::from([
            (vec![], parse("mod a;\n#[cfg(test)]\nmod tests;")),
            (vec!["a".to_owned()], parse("")),
            (vec!["tests".to_owned()], parse("")),
            (vec!["tests".to_owned(), "deep".to_owned()], parse("")),
        ]);
        remove_test_modules(&mut modules);
        assert_eq!(modules.len(), 2);
    }
}
