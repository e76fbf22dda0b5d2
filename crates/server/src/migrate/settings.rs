//! The settings file of the original.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use personium_install::OriginalFiles;
use personium_types::Secret;
use personium_types::error::chain;

use super::MigrateResult;
use crate::config::properties::{self, Property};
use crate::config::{self, PREFIX};
use crate::{data_folder, key_files};

/// The settings file that is written into a data folder without one.
const SETTINGS_FILE: &str = "personium-unit-config.properties";
/// Keys with the places of the original's data, which the unit here does not use.
const PLACES: [&str; 4] = [
    "blobStore.root",
    "event.log.current.dir",
    "cellSnapshot.root",
    "bar.tmp.dir",
];
/// Keys with paths that stay.
const FILES: [&str; 3] = ["x509.key", "x509.crt", "x509.root"];
/// The folders of the original by default.
const DEFAULT_ROOT: &str = "/personium_nfs/personium-core";

/// The settings of the original.
pub(super) struct OriginalSettings {
    /// Where they are, for people.
    pub place: String,
    /// Its folders.
    pub files: OriginalFiles,
    folder: PathBuf,
    properties: Vec<Property>,
}

impl OriginalSettings {
    /// Reads the settings file. With `tree`, its folders are those in that folder.
    ///
    /// # Errors
    /// A text for the operator if the file cannot be read, or a folder is missing.
    pub fn read(file: &Path, tree: Option<&Path>) -> MigrateResult<Self> {
        let cannot_read =
            |error: &dyn std::fmt::Display| format!("cannot read {}: {error}", file.display());
        let file = file.canonicalize().map_err(|error| cannot_read(&error))?;
        let bytes = fs::read(&file).map_err(|error| cannot_read(&error))?;
        let properties = properties::parse(&bytes).map_err(|error| cannot_read(&error))?;
        let folder = file.parent().map_or_else(PathBuf::new, Path::to_owned);
        let value = |key: &str| {
            let full = format!("{PREFIX}{key}");
            let found = properties.iter().rev().find(|found| found.key == full);
            found.map(|found| found.value.clone())
        };
        let place = |key: &str, name: &str| match tree {
            Some(tree) => tree.join(name),
            None => folder.join(value(key).unwrap_or_else(|| format!("{DEFAULT_ROOT}/{name}"))),
        };
        let dav = place("blobStore.root", "dav");
        if !dav.is_dir() {
            return Err(format!(
                "{} is no folder; name the folder of dav, eventlog and snapshot with --tree",
                dav.display()
            ));
        }
        let existing = |path: PathBuf| path.is_dir().then_some(path);
        let prefix = value("es.unitPrefix").unwrap_or_else(|| "u0".to_owned());
        let files = OriginalFiles {
            event_logs: existing(place("event.log.current.dir", "eventlog")),
            snapshots: existing(place("cellSnapshot.root", "snapshot")),
            dav,
            prefix,
            secret: value("security.secret16").map(Secret::new),
        };
        Ok(Self {
            place: file.display().to_string(),
            files,
            folder,
            properties,
        })
    }

    /// Writes the settings that have an effect here into a data folder, under a name that no unit reads. Returns the file, and what was left
    /// out.
    ///
    /// # Errors
    /// A text for the operator if the file cannot be written.
    pub fn write_to(&self, data_dir: &Path) -> MigrateResult<(WrittenSettings, Vec<String>)> {
        let mut text = String::new();
        let mut notes = Vec::new();
        for Property { key, value, .. } in &self.properties {
            let short = key.strip_prefix(PREFIX).unwrap_or(key);
            if PLACES.contains(&short) {
                continue;
            }
            if let Some(reason) = config::ineffective_key(key) {
                notes.push(format!("{key} is left out: {reason}"));
                continue;
            }
            let value = match FILES.contains(&short) {
                true => self.absolute(value),
                false => value.clone(),
            };
            text.push_str(&format!("{}={}\n", escape(key), escape(&value)));
        }
        let mut folder = fs::DirBuilder::new();
        let created = folder.recursive(true).mode(0o700).create(data_dir);
        created.map_err(|error| format!("cannot create {}: {error}", data_dir.display()))?;
        let place = data_dir.join(SETTINGS_FILE);
        let file = data_dir.join(format!("{SETTINGS_FILE}.{}", std::process::id()));
        key_files::write_private(&file, text.as_bytes()).map_err(|error| chain(&error))?;
        let written = WrittenSettings {
            file,
            place: Some(place),
        };
        Ok((written, notes))
    }

    /// Paths, separated by spaces, which do not depend on the place of the settings file.
    fn absolute(&self, paths: &str) -> String {
        let paths = paths.split_whitespace();
        let paths = paths.map(|path| self.folder.join(path).display().to_string());
        paths.collect::<Vec<_>>().join(" ")
    }
}

/// A settings file that is not in its place yet. Dropping it removes it.
pub(super) struct WrittenSettings {
    file: PathBuf,
    /// The place; `None` once it is there.
    place: Option<PathBuf>,
}

impl WrittenSettings {
    /// Its path until it is put in its place.
    pub fn path(&self) -> &Path {
        &self.file
    }

    /// Puts it in its place, where the unit reads it when it starts.
    ///
    /// # Errors
    /// A text for the operator if it cannot be renamed.
    pub fn keep(mut self) -> MigrateResult {
        let Some(place) = self.place.take() else {
            return Ok(());
        };
        let renamed = data_folder::rename_durably(&self.file, &place);
        if let Err(error) = renamed {
            self.place = Some(place);
            return Err(format!("cannot write the settings file: {error}"));
        }
        remove_interrupted(&place);
        Ok(())
    }
}

/// Removes the files of runs that were killed before they put them in their place. What cannot be removed stays.
fn remove_interrupted(place: &Path) {
    let Some(entries) = place.parent().and_then(|folder| fs::read_dir(folder).ok()) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| {
            let rest = name.strip_prefix(SETTINGS_FILE)?;
            rest.strip_prefix('.')
        });
        if process.is_some_and(|id| id.bytes().all(|byte| byte.is_ascii_digit())) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

impl Drop for WrittenSettings {
    fn drop(&mut self) {
        if self.place.is_some() {
            let _ = fs::remove_file(&self.file);
        }
    }
}

/// A key or value as it is written in a properties file.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            ' ' | '=' | ':' | '#' | '!' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (tempfile::TempDir, OriginalSettings) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("data/dav")).unwrap();
        let file = folder.path().join("unit.properties");
        fs::write(&file, text).unwrap();
        let read = OriginalSettings::read(&file, None).unwrap();
        (folder, read)
    }

    #[test]
    fn settings_with_an_effect_are_taken_over_and_others_named() {
        let (folder, original) = read(
            "io.personium.core.blobStore.root=data/dav\n\
             io.personium.core.es.hosts=a:9200\n\
             io.personium.core.es.unitPrefix=u7\n\
             io.personium.core.security.secret16=0123456789abcdef\n\
             io.personium.core.x509.root=x509/a.crt x509/b.crt\n\
             io.personium.core.security.auth.password.regex=^[a-z\\\\d !#:=]+$\n",
        );
        assert_eq!(original.files.prefix, "u7");
        let target = folder.path().join("target");
        let (file, _) = original.write_to(&target).unwrap();
        drop(file);
        assert_eq!(fs::read_dir(&target).unwrap().count(), 0);
        let (file, notes) = original.write_to(&target).unwrap();
        assert!(!target.join(SETTINGS_FILE).exists());
        assert!(file.path().is_file());
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(notes[0].contains("es.hosts"), "{notes:?}");
        file.keep().unwrap();
        assert_eq!(fs::read_dir(&target).unwrap().count(), 1);
        let file = target.join(SETTINGS_FILE);
        let written = properties::parse(&fs::read(file).unwrap()).unwrap();
        let written: Vec<_> = written.into_iter().map(|found| found.value).collect();
        let root = original.folder.join("x509");
        let roots = format!("{0}/a.crt {0}/b.crt", root.display());
        assert_eq!(written, ["0123456789abcdef", &roots, "^[a-z\\d !#:=]+$"]);
    }

    #[test]
    fn missing_folders_are_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("unit.properties");
        fs::write(&file, "io.personium.core.blobStore.root=nowhere\n").unwrap();
        let refused = OriginalSettings::read(&file, None);
        assert!(refused.err().unwrap().contains("--tree"));
        assert!(OriginalSettings::read(&folder.path().join("x"), None).is_err());
    }
}
