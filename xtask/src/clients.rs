//! Python and Node packages that tests of the server use as clients, providers and judges. Their lists, with versions and
//! hashes, stand beside those tests; they are installed in the target folder, never in the tree.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Outcome, process, workspace};

/// Where the lists are.
const LISTS: &str = "crates/server/tests/clients";
/// Says which list a folder was made from; the tests look at it.
const MADE_FROM: &str = "installed.lock";

/// Installs what is missing or was made from another list.
///
/// # Errors
/// When Python or Node is missing, or a package cannot be had.
pub(crate) fn install() -> Outcome {
    let folder = workspace::target_folder()?.join("clients");
    fresh(&folder.join("python"), "requirements.txt", python)?;
    fresh(&folder.join("node"), "package-lock.json", node)
}

/// Makes a folder anew unless it was made from the list as it is now.
fn fresh(folder: &Path, list: &str, make: fn(&Path) -> Outcome) -> Outcome {
    let list = PathBuf::from(LISTS).join(list);
    let wanted =
        std::fs::read(&list).map_err(|e| format!("cannot read {}: {e}", list.display()))?;
    let mark = folder.join(MADE_FROM);
    if std::fs::read(&mark).is_ok_and(|there| there == wanted) {
        return Ok(());
    }
    if folder.exists() {
        std::fs::remove_dir_all(folder)
            .map_err(|e| format!("cannot remove {}: {e}", folder.display()))?;
    }
    std::fs::create_dir_all(folder)
        .map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
    make(folder)?;
    std::fs::write(&mark, wanted).map_err(|e| format!("cannot write {}: {e}", mark.display()))
}

fn python(folder: &Path) -> Outcome {
    process::run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
    process::run(
        Command::new(folder.join("bin").join("pip"))
            .args(["install", "--quiet", "--require-hashes", "--requirement"])
            .arg(Path::new(LISTS).join("requirements.txt")),
    )
}

fn node(folder: &Path) -> Outcome {
    for list in ["package.json", "package-lock.json"] {
        std::fs::copy(Path::new(LISTS).join(list), folder.join(list))
            .map_err(|e| format!("cannot copy {list}: {e}"))?;
    }
    process::run(
        Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(folder),
    )
}
