//! A folder of real files synchronised with a box by rclone, a client that knows nothing about this server.
#![expect(
    clippy::disallowed_methods,
    reason = "a test may use the real clock and randomness"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends with the first surprise"
)]

#[path = "real_unit/process.rs"]
mod process;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use process::{Client, Scratch, Unit, installed};

const WANTED: usize = 2_000;
/// Larger ones add time and show nothing new.
const LARGEST: u64 = 256 * 1024;
/// A collection has at most so many members by default; we stay below.
const IN_ONE_FOLDER: usize = 500;

/// Folders in which some thousand real files lie on a machine that builds Rust.
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

/// Whether a resource may have this name; blanks and these signs are refused.
fn permitted(name: &str) -> bool {
    !name.contains(|c: char| c.is_control() || r#"\/:*?"<>| "#.contains(c))
}

/// Copies files with their folders until there are enough; gives their number.
fn gather(from: &Path, to: &Path, left: &mut usize) {
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
            entry
                .file_name()
                .to_str()
                .filter(|n| permitted(n))
                .map(str::to_owned),
        ) else {
            continue;
        };
        if kind.is_dir() {
            gather(&entry.path(), &to.join(name), left);
        } else if kind.is_file()
            && here < IN_ONE_FOLDER
            && entry.metadata().is_ok_and(|m| m.len() <= LARGEST)
        {
            std::fs::create_dir_all(to).unwrap();
            if std::fs::copy(entry.path(), to.join(name)).is_ok() {
                here += 1;
                *left -= 1;
            }
        }
    }
}

/// Path and content of every file below a folder.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fn walk(root: &Path, folder: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            if entry.path().is_dir() {
                walk(root, &entry.path(), found);
            } else {
                found.insert(
                    entry.path().strip_prefix(root).unwrap().to_owned(),
                    std::fs::read(entry.path()).unwrap(),
                );
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(folder, folder, &mut found);
    found
}

fn rclone(unit: &Unit, owner: &Client, arguments: &[&str]) {
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
        .env("RCLONE_CONFIG", unit.scratch.path().join("rclone.conf"))
        // It waits between calls out of politeness; newer versions let us shorten that.
        .env("RCLONE_CONFIG_BOX_PACER_MIN_SLEEP", "1ms")
        .env("RCLONE_CONFIG_BOX_TYPE", "webdav")
        .env("RCLONE_CONFIG_BOX_VENDOR", "other")
        .env("RCLONE_CONFIG_BOX_URL", format!("{}/sync/box", unit.url()))
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

#[test]
fn a_folder_of_real_files_survives_the_way_there_and_back() {
    if !installed("rclone") {
        return;
    }
    let unit = Unit::start("rclone");
    let owner = unit.cell_with_owner("sync");
    let here = Scratch::new("rclone-here");
    let mut left = WANTED + 200;
    for source in sources() {
        let name = source.file_name().unwrap_or_default().to_owned();
        gather(&source, &here.path().join(name), &mut left);
    }
    let count = tree(here.path()).len();
    assert!(count >= WANTED, "only {count} real files on this machine");
    std::fs::create_dir(here.path().join("names")).unwrap();
    for name in ["ümlaut-日本語.txt", "per%20cent&plus+.txt", "empty"] {
        std::fs::write(
            here.path().join("names").join(name),
            if name == "empty" { "" } else { name },
        )
        .unwrap();
    }
    let here_text = here.path().to_str().unwrap();

    rclone(&unit, &owner, &["copy", here_text, "box:"]);
    rclone(&unit, &owner, &["check", here_text, "box:"]);

    // Change some, remove some, add some, move a folder; then let rclone work out what to do.
    let before: Vec<PathBuf> = tree(here.path()).into_keys().collect();
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
    rclone(&unit, &owner, &["sync", here_text, "box:"]);

    let back = Scratch::new("rclone-back");
    rclone(
        &unit,
        &owner,
        &["copy", "box:", back.path().to_str().unwrap()],
    );
    let (sent, got) = (tree(here.path()), tree(back.path()));
    assert!(sent.len() >= WANTED);
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
