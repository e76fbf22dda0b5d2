//! Synchronisation of a folder with a box by rclone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use personium_testkit::{ProcessUnit, TestClient};

use crate::external_programs::is_installed;

/// The number of files.
const MIN_FILES: usize = 2_000;
/// The size of the largest file in bytes.
const MAX_FILE_BYTES: u64 = 256 * 1024;
/// The number of files in one folder, below the default limit of members of a collection.
const MAX_FILES_IN_FOLDER: usize = 500;

/// Folders with some thousand files on a machine that builds Rust.
fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    if let Some(home) = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))
    {
        found.push(home.join("registry").join("src"));
    }
    if let Ok(out) = Command::new("rustc").args(["--print", "sysroot"]).output() {
        found.push(PathBuf::from(String::from_utf8_lossy(&out.stdout).trim()));
    }
    found.push(PathBuf::from("/usr/share/doc"));
    found.push(PathBuf::from("/usr/share"));
    found
}

/// Copies files with their folders until `left` is 0.
fn copy_files(from: &Path, to: &Path, left: &mut usize) {
    let Ok(entries) = std::fs::read_dir(from) else {
        return;
    };
    let mut here = 0;
    let mut entries: Vec<_> = entries.flatten().collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        if *left == 0 {
            return;
        }
        let (Ok(kind), Some(name)) = (
            entry.file_type(),
            entry.file_name().to_str().map(str::to_owned),
        ) else {
            continue;
        };
        if kind.is_dir() {
            copy_files(&entry.path(), &to.join(name), left);
        } else if kind.is_file()
            && here < MAX_FILES_IN_FOLDER
            && entry.metadata().is_ok_and(|m| m.len() <= MAX_FILE_BYTES)
        {
            std::fs::create_dir_all(to).unwrap();
            if std::fs::copy(entry.path(), to.join(name)).is_ok() {
                here += 1;
                *left -= 1;
            }
        }
    }
}

/// The path and the content of every file below a folder.
fn read_tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fn collect(root: &Path, folder: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            if entry.path().is_dir() {
                collect(root, &entry.path(), found);
            } else {
                found.insert(
                    entry.path().strip_prefix(root).unwrap().to_owned(),
                    std::fs::read(entry.path()).unwrap(),
                );
            }
        }
    }
    let mut found = BTreeMap::new();
    collect(folder, folder, &mut found);
    found
}

/// Names that are hard for a client or a server.
const NAMES: &[&str] = &[
    "My Documents",
    "ümlaut-日本語.txt",
    "emoji 😀👩‍👩‍👧.txt",
    "per%20cent&plus+#.txt",
    " begins with a space",
    "quote'apostrophe;semicolon=,",
    ".hidden",
    "(Artist) [Album] {1}",
    "colon: star* question? <pipe|>",
];

fn run_rclone(unit: &ProcessUnit, owner: &TestClient, arguments: &[&str]) {
    let out = Command::new("rclone")
        .args(arguments)
        .args([
            "--transfers",
            "8",
            "--checkers",
            "8",
            "--retries",
            "1",
            "--low-level-retries",
            "1",
        ])
        .env("RCLONE_CONFIG", unit.folder().join("rclone.conf"))
        // The pause between calls; only newer versions have this setting.
        .env("RCLONE_CONFIG_BOX_PACER_MIN_SLEEP", "1ms")
        .env("RCLONE_CONFIG_BOX_TYPE", "webdav")
        .env("RCLONE_CONFIG_BOX_VENDOR", "other")
        // Characters that no member of a box has are stored as similar ones; rclone turns them back.
        .env(
            "RCLONE_CONFIG_BOX_ENCODING",
            "Slash,LtGt,DoubleQuote,Colon,Question,Asterisk,Pipe,BackSlash,Ctl,RightSpace,Dot",
        )
        .env("RCLONE_CONFIG_BOX_URL", format!("{}sync/box", unit.url()))
        .env("RCLONE_CONFIG_BOX_BEARER_TOKEN", owner.token())
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "rclone {arguments:?}: {}\n{}",
        out.status,
        String::from_utf8_lossy(&out.stderr)
    );
}

#[tokio::test]
async fn folder_copied_and_synchronised_by_rclone_comes_back_unchanged() {
    if !is_installed("rclone") {
        return;
    }
    let _load = crate::machine_load().read().await;
    let unit = crate::unit().start();
    let owner = unit.create_cell_with_owner("sync").await;
    let here = tempfile::tempdir().unwrap();
    let mut left = MIN_FILES + 200;
    for source in sources() {
        let name = source.file_name().unwrap_or_default().to_owned();
        copy_files(&source, &here.path().join(name), &mut left);
    }
    let count = read_tree(here.path()).len();
    assert!(count >= MIN_FILES, "only {count} files on this machine");
    std::fs::create_dir(here.path().join("names")).unwrap();
    for name in NAMES {
        let folder = here
            .path()
            .join("names")
            .join(format!("{name} in a folder"));
        std::fs::create_dir(&folder).unwrap();
        for path in [folder.join(name), here.path().join("names").join(name)] {
            std::fs::write(path, name).unwrap();
        }
        std::fs::write(folder.join("empty"), "").unwrap();
    }
    let here_text = here.path().to_str().unwrap();

    run_rclone(&unit, &owner, &["copy", here_text, "box:"]);
    run_rclone(&unit, &owner, &["check", here_text, "box:"]);

    // rclone finds out what was changed, removed, added and moved.
    let before: Vec<PathBuf> = read_tree(here.path()).into_keys().collect();
    for (number, path) in before.iter().enumerate() {
        let path = here.path().join(path);
        match number % 100 {
            0 => std::fs::write(&path, format!("changed {number} {}", "x".repeat(number))).unwrap(),
            1 => std::fs::remove_file(&path).unwrap(),
            2 => std::fs::write(path.with_extension("added"), "added").unwrap(),
            _ => {}
        }
    }
    std::fs::rename(here.path().join("names"), here.path().join("moved-names")).unwrap();
    run_rclone(&unit, &owner, &["sync", here_text, "box:"]);

    let back = tempfile::tempdir().unwrap();
    run_rclone(
        &unit,
        &owner,
        &["copy", "box:", back.path().to_str().unwrap()],
    );
    let (sent, got) = (read_tree(here.path()), read_tree(back.path()));
    assert!(sent.len() >= MIN_FILES);
    assert_eq!(
        sent.keys().collect::<Vec<_>>(),
        got.keys().collect::<Vec<_>>()
    );
    for (path, content) in &sent {
        assert!(
            got.get(path) == Some(content),
            "{} came back different",
            path.display()
        );
    }
}
