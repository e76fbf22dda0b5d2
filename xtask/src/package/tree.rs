//! The files of a package, as they are installed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::{Release, output_of};
use crate::TaskResult;

/// The scripts of the package.
pub(super) const SCRIPTS: [&str; 4] = ["preinst", "postinst", "prerm", "postrm"];

/// The program.
pub(super) const PROGRAM: &str = "usr/bin/personium";

/// The folder of documents.
const DOCS: &str = "usr/share/doc/personium";

/// The files of the web layer.
const WEB_LAYER: &str = "usr/share/personium/nginx";

/// The contract of plugins, and templates.
const PLUGINS: &str = "usr/share/personium/plugins";

/// The rules of alerts, and the dashboard.
const MONITORING: &str = "usr/share/personium/monitoring";

/// Files of the sources with their place.
const FILES: &[(&str, &str)] = &[
    (
        "deploy/package/personium.service",
        "usr/lib/systemd/system/personium.service",
    ),
    (
        "deploy/package/personium-backup.service",
        "usr/lib/systemd/system/personium-backup.service",
    ),
    (
        "deploy/package/personium-backup.timer",
        "usr/lib/systemd/system/personium-backup.timer",
    ),
    (
        "deploy/package/personium-drill.service",
        "usr/lib/systemd/system/personium-drill.service",
    ),
    (
        "deploy/package/personium-drill.timer",
        "usr/lib/systemd/system/personium-drill.timer",
    ),
    (
        "deploy/package/personium-journal.service",
        "usr/lib/systemd/system/personium-journal.service",
    ),
    (
        "deploy/package/sysusers.conf",
        "usr/lib/sysusers.d/personium.conf",
    ),
    (
        "deploy/package/personium-unit-config.properties",
        "etc/personium/personium-unit-config.properties",
    ),
    ("deploy/package/logrotate.conf", "etc/logrotate.d/personium"),
    (
        "deploy/package/README.md",
        "usr/share/doc/personium/README.md",
    ),
    ("LICENSE", "usr/share/doc/personium/copyright"),
    (
        "personium-unit-config.example.properties",
        "usr/share/doc/personium/personium-unit-config.example.properties",
    ),
];

/// Writes all files of the package to a folder.
///
/// # Errors
/// A message if a file cannot be read or written, or the program cannot be run.
pub(super) fn fill(tree: &Path, release: &Release) -> TaskResult {
    for (from, to) in FILES {
        install(Path::new(from), &tree.join(to), 0o644)?;
    }
    web_layer(&tree.join(WEB_LAYER))?;
    install_folder(Path::new("plugins"), &tree.join(PLUGINS))?;
    install_folder(Path::new("deploy/monitoring"), &tree.join(MONITORING))?;
    let program = tree.join(PROGRAM);
    install(&release.program, &program, 0o755)?;
    output_of(Command::new("strip").arg("--strip-unneeded").arg(&program))?;
    for name in SCRIPTS {
        let text = script(name, release)?;
        write(&tree.join(DOCS).join("scripts").join(name), &text, 0o644)?;
    }
    let changes = tree.join(DOCS).join("changelog");
    install(Path::new("CHANGELOG.md"), &changes, 0o644)?;
    output_of(Command::new("gzip").args(["-9n"]).arg(&changes))?;
    manual_pages(tree, &program)?;
    for (shell, path) in [
        ("bash", "usr/share/bash-completion/completions/personium"),
        ("zsh", "usr/share/zsh/vendor-completions/_personium"),
        ("fish", "usr/share/fish/vendor_completions.d/personium.fish"),
    ] {
        let text = output_of(Command::new(&program).args(["completions", shell]))?;
        write(&tree.join(path), &(text + "\n"), 0o644)?;
    }
    Ok(())
}

/// Installs what makes Nginx the web layer of a unit.
fn web_layer(to: &Path) -> TaskResult {
    let sources = Path::new("deploy/nginx");
    for name in ["README.md", "site.conf.template"] {
        install(&sources.join(name), &to.join(name), 0o644)?;
    }
    install_folder(&sources.join("personium"), &to.join("personium"))
}

/// Installs the files of a folder, and of those in it.
fn install_folder(from: &Path, to: &Path) -> TaskResult {
    for entry in fs::read_dir(from).map_err(|error| failed(from, &error))? {
        let from = entry.map_err(|error| failed(from, &error))?.path();
        let to = to.join(from.file_name().unwrap_or_default());
        match from.is_dir() {
            true => install_folder(&from, &to)?,
            false => install(&from, &to, 0o644)?,
        }
    }
    Ok(())
}

fn manual_pages(tree: &Path, program: &Path) -> TaskResult {
    let folder = tree.join("usr/share/man/man1");
    make_folder(&folder)?;
    output_of(Command::new(program).arg("man").arg(&folder))?;
    let pages = fs::read_dir(&folder).map_err(|error| error.to_string())?;
    for page in pages {
        let page = page.map_err(|error| error.to_string())?.path();
        set_mode(&page, 0o644)?;
        output_of(Command::new("gzip").arg("-9n").arg(&page))?;
    }
    Ok(())
}

/// Returns a script of the package for its version.
///
/// # Errors
/// A message if it cannot be read.
pub(super) fn script(name: &str, release: &Release) -> TaskResult<String> {
    let path = format!("deploy/package/{name}");
    let text = fs::read_to_string(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
    Ok(text.replace("@VERSION@", &release.version))
}

/// Writes a text to a file, and makes its folder.
///
/// # Errors
/// A message if it cannot be written.
pub(super) fn write(path: &Path, text: &str, mode: u32) -> TaskResult {
    make_folder(path.parent().unwrap_or(path))?;
    fs::write(path, text).map_err(|error| failed(path, &error))?;
    set_mode(path, mode)
}

/// Copies a file, and makes its folder.
///
/// # Errors
/// A message if it cannot be read or written.
pub(super) fn install(from: &Path, to: &Path, mode: u32) -> TaskResult {
    make_folder(to.parent().unwrap_or(to))?;
    fs::copy(from, to).map_err(|error| failed(from, &error))?;
    set_mode(to, mode)
}

/// Makes a folder that everybody may enter, whatever the umask is.
fn make_folder(path: &Path) -> TaskResult {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent() {
        make_folder(above)?;
    }
    fs::create_dir(path).map_err(|error| failed(path, &error))?;
    set_mode(path, 0o755)
}

fn set_mode(path: &Path, mode: u32) -> TaskResult {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(|error| failed(path, &error))
}

fn failed(path: &Path, error: &std::io::Error) -> String {
    format!("cannot install {}: {error}", path.display())
}
