//! Python, Node and Java packages that tests of the server use as clients, identity providers and validators.
//!
//! Lists with their versions and hashes are next to those tests. The packages are installed in the target folder, never in
//! the source tree.

use std::path::Path;
use std::process::Command;

use crate::{TaskResult, child_process, workspace};

/// The folder of the lists.
const LISTS: &str = "crates/server/tests/clients";
/// The list of Ansible and its linter, which operators can use too.
const ANSIBLE_LIST: &str = "deploy/ansible/requirements.txt";
/// The list of the library of OpenStack Heat, which checks templates.
const HEAT_LIST: &str = "deploy/heat/requirements.txt";
/// The list of the programs that check compose files and manifests.
const CONTAINER_LIST: &str = "deploy/container/requirements.txt";
/// The list of the Java packages of a Kafka broker.
const KAFKA_LIST: &str = "crates/testkit/kafka/packages.sha256";
/// The copy of the list from which a folder was installed; the tests compare it with the list.
const INSTALLED_LIST: &str = "installed.lock";

/// Installs the packages that are missing or were installed from another list.
///
/// # Errors
/// A message if Python, Node or Maven is missing, or a package cannot be downloaded.
pub(crate) fn install() -> TaskResult {
    let folder = workspace::target_folder()?.join("clients");
    let lists = Path::new(LISTS);
    install_if_outdated(
        &folder.join("python"),
        &lists.join("requirements.txt"),
        install_python,
    )?;
    install_if_outdated(
        &folder.join("mail"),
        &lists.join("mail-requirements.txt"),
        install_python,
    )?;
    install_if_outdated(
        &folder.join("plugin-tools"),
        &lists.join("plugin-requirements.txt"),
        install_python,
    )?;
    install_if_outdated(
        &folder.join("plugin-tools-node"),
        &lists.join("plugins/package-lock.json"),
        install_node,
    )?;
    for (name, list) in [
        ("ansible", ANSIBLE_LIST),
        ("heat", HEAT_LIST),
        ("container", CONTAINER_LIST),
    ] {
        install_if_outdated(&folder.join(name), Path::new(list), install_python)?;
    }
    install_if_outdated(
        &folder.join("node"),
        &lists.join("package-lock.json"),
        install_node,
    )?;
    for name in ["olingo", "elasticsearch"] {
        install_if_outdated(
            &folder.join(name),
            &lists.join(name).join("packages.sha256"),
            install_java,
        )?;
    }
    // Several target folders use one: a broker is large.
    let home = std::env::var_os("HOME").ok_or("the variable HOME is not set")?;
    install_if_outdated(
        &Path::new(&home).join(".cache/personium-tests/kafka"),
        Path::new(KAFKA_LIST),
        install_java,
    )
}

/// Installs into an empty folder, unless the folder was installed from the list as it is now.
fn install_if_outdated(
    folder: &Path,
    list: &Path,
    install: fn(&Path, &Path) -> TaskResult,
) -> TaskResult {
    let wanted =
        std::fs::read(list).map_err(|error| format!("cannot read {}: {error}", list.display()))?;
    let installed_list = folder.join(INSTALLED_LIST);
    if std::fs::read(&installed_list).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    if folder.exists() {
        std::fs::remove_dir_all(folder)
            .map_err(|error| format!("cannot remove {}: {error}", folder.display()))?;
    }
    std::fs::create_dir_all(folder)
        .map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
    install(folder, list)?;
    std::fs::write(&installed_list, wanted)
        .map_err(|error| format!("cannot write {}: {error}", installed_list.display()))
}

fn install_python(folder: &Path, list: &Path) -> TaskResult {
    child_process::run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
    child_process::run(
        Command::new(folder.join("bin").join("pip"))
            .args(["install", "--quiet", "--require-hashes", "--requirement"])
            .arg(list),
    )
}

/// Installs the packages of a lock file and of the `package.json` beside it.
fn install_node(folder: &Path, lock: &Path) -> TaskResult {
    for list in ["package.json", "package-lock.json"] {
        std::fs::copy(lock.with_file_name(list), folder.join(list))
            .map_err(|error| format!("cannot copy {list}: {error}"))?;
    }
    child_process::run(
        Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(folder),
    )
}

/// Installs the packages of the `pom.xml` beside a list of their hashes. Maven has no lock file, so the hashes of the packages are compared afterwards.
fn install_java(folder: &Path, list: &Path) -> TaskResult {
    let hashes = std::path::absolute(list)
        .map_err(|error| format!("cannot find the hashes of the Java packages: {error}"))?;
    let mut output = std::ffi::OsString::from("-DoutputDirectory=");
    output.push(folder);
    child_process::run(
        Command::new("mvn")
            .args(["--batch-mode", "--quiet", "--file"])
            .arg(list.with_file_name("pom.xml"))
            .arg("dependency:copy-dependencies")
            .arg(output),
    )?;
    child_process::run(
        Command::new("sha256sum")
            .args(["--check", "--strict", "--quiet"])
            .arg(hashes)
            .current_dir(folder),
    )
}
