//! The check of owners and modes of the files and folders of a unit.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::report::{CheckOutcome, CheckReport};
use crate::acme::AcmeFolder;
use crate::config::{Config, LoadedConfig};
use crate::key_files::{self, SECRET_FILE};
use crate::{folders, system_user};

/// The permission bits of everybody but owner and group.
const OTHERS: u32 = 0o007;

/// The readers of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Readers {
    /// Owner and group: it has a secret.
    Few,
    /// Everybody.
    All,
}

/// Reports owner and mode of each file and folder that exists. One with a secret that everybody can read is a warning.
pub(super) fn check(report: &mut CheckReport, loaded: &LoadedConfig) {
    for (path, readers) in paths(loaded) {
        add(report, &path, readers);
    }
}

fn paths(loaded: &LoadedConfig) -> Vec<(PathBuf, Readers)> {
    let config = &loaded.config;
    let mut all = Vec::new();
    if let Some(file) = &loaded.sources.file {
        let readers = match has_secret(loaded, file) {
            true => Readers::Few,
            false => Readers::All,
        };
        all.push((file.clone(), readers));
    }
    all.extend(folders::used(config).into_iter().map(|folder| {
        let readers = match folder.setting {
            "log.access.file" => Readers::All,
            _ => Readers::Few,
        };
        (folder.path, readers)
    }));
    all.extend(key_paths(config));
    all
}

fn key_paths(config: &Config) -> Vec<(PathBuf, Readers)> {
    let (key, certificate) = key_files::key_and_certificate(config);
    let secret = config.store.data_dir.join(SECRET_FILE);
    let roots = config.certificates.roots.iter().cloned();
    [
        (secret, Readers::Few),
        (key, Readers::Few),
        (certificate, Readers::All),
    ]
    .into_iter()
    .chain(roots.map(|root| (root, Readers::All)))
    .chain(config.tls.key.clone().map(|key| (key, Readers::Few)))
    .chain(
        config
            .tls
            .certificate
            .clone()
            .map(|path| (path, Readers::All)),
    )
    .chain(acme_paths(config))
    .collect()
}

/// The files and folders of the authority of the TLS port. The certificate is in one file with its key.
fn acme_paths(config: &Config) -> Vec<(PathBuf, Readers)> {
    if config.acme.directory.is_none() {
        return Vec::new();
    }
    let folder = config.acme.folder.clone();
    let folder = folder.unwrap_or_else(|| config.store.data_dir.join("acme"));
    let certificate = AcmeFolder::new(&folder).certificate_path();
    let account = config.acme.account.clone();
    let all = [Some(folder), Some(certificate), account];
    let all = all.into_iter().flatten();
    all.map(|path| (path, Readers::Few)).collect()
}

/// Whether a settings file gives a secret. Values of secrets and of unknown keys are masked.
fn has_secret(loaded: &LoadedConfig, file: &Path) -> bool {
    let in_file = format!("{}, line ", file.display());
    let mut given = loaded.given.iter();
    given.any(|setting| setting.value == "***" && setting.origin.starts_with(&in_file))
}

fn add(report: &mut CheckReport, path: &Path, readers: Readers) {
    const CHECK: &str = "path";
    // One that does not exist is made by the start, or is an error of another check.
    let Ok(metadata) = fs::metadata(path) else {
        return;
    };
    let mode = metadata.permissions().mode() & 0o7777;
    let user = system_user::user(metadata.uid());
    let group = system_user::group(metadata.gid());
    let path_text = path.display();
    let detail = format!("{path_text}: mode {mode:04o}, user {user}, group {group}");
    match readers == Readers::Few && mode & OTHERS != 0 {
        true => report.add(
            CHECK,
            CheckOutcome::Warning,
            format!("{detail}: everybody on this machine can use it; chmod o= {path_text}"),
        ),
        false => report.add(CHECK, CheckOutcome::Ok, detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConfigSources;

    #[test]
    fn settings_with_a_secret_that_everybody_can_read_are_a_warning() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("unit.properties");
        for (text, mode, is_warned) in [
            (
                "io.personium.core.masterToken=a-long-hidden-master-token\n",
                0o644,
                true,
            ),
            (
                "io.personium.core.masterToken=a-long-hidden-master-token\n",
                0o640,
                false,
            ),
            ("io.personium.core.unitPort=9\n", 0o644, false),
        ] {
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            let loaded = LoadedConfig::load(&ConfigSources {
                file: Some(file.clone()),
                options: vec![("data.dir".to_owned(), "/no/such/folder".to_owned())],
                ..ConfigSources::default()
            });
            let mut report = CheckReport::default();
            check(&mut report, &loaded.unwrap());
            let line = format!("{}: mode {mode:04o}", file.display());
            assert!(report.text().contains(&line), "{}", report.text());
            assert_eq!(report.has_warnings(), is_warned, "{}", report.text());
        }
    }
}
