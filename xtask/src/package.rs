//! The packages of a release: a Debian package, a tarball, the list of parts, and checksums.

mod deb;
mod own_libraries;
mod parts;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use crate::{TaskResult, workspace};

/// The options of `cargo xtask package`.
#[derive(Debug, Default, Args)]
pub(crate) struct PackageOptions {
    /// Program to package instead of one that is built for this.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Version of the packages [default: that of the workspace].
    #[arg(long, value_name = "V")]
    package_version: Option<String>,
    /// Folder to write to [default: package in the target folder].
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// The facts that all packages share.
struct Release {
    program: PathBuf,
    version: String,
    /// The name of the architecture as Debian has it.
    architecture: String,
    output: PathBuf,
}

/// Makes all packages.
///
/// # Errors
/// A message if the program cannot be built, or a package cannot be made.
pub(crate) fn run(options: PackageOptions) -> TaskResult {
    let release = Release {
        program: match options.program {
            Some(program) => program,
            None => release_program()?,
        },
        version: match options.package_version {
            Some(version) => checked_version(version)?,
            None => workspace::version()?,
        },
        architecture: output_of(Command::new("dpkg").arg("--print-architecture"))?,
        output: match options.output {
            Some(output) => output,
            None => workspace::target_folder()?.join("package"),
        },
    };
    let failed = |path: &Path, error| format!("cannot write {}: {error}", path.display());
    fs::create_dir_all(&release.output).map_err(|error| failed(&release.output, error))?;
    let tree = release.output.join("tree");
    let _ = fs::remove_dir_all(&tree);
    tree::fill(&tree, &release)?;
    let package = deb::make(&tree, &release)?;
    let files = [tarball(&tree, &release)?, parts::write(&release)?, package];
    fs::remove_dir_all(&tree).map_err(|error| failed(&tree, error))?;
    for name in write_checksums(&release.output, &files)? {
        println!("{}", release.output.join(name).display());
    }
    Ok(())
}

/// Writes the checksums of files to `SHA256SUMS` in their folder. Returns the names of the files.
///
/// # Errors
/// A message if one cannot be read, or the list cannot be written.
pub(crate) fn write_checksums<'n>(folder: &Path, files: &'n [String]) -> TaskResult<&'n [String]> {
    let sums = output_of(Command::new("sha256sum").args(files).current_dir(folder))?;
    let path = folder.join("SHA256SUMS");
    fs::write(&path, sums + "\n")
        .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(files)
}

/// Makes the packages of this version. Returns the path of the Debian package.
///
/// # Errors
/// As [`run`].
pub(crate) fn made_deb() -> TaskResult<PathBuf> {
    run(PackageOptions::default())?;
    let architecture = output_of(Command::new("dpkg").arg("--print-architecture"))?;
    let name = deb::file_name(&workspace::version()?, &architecture);
    Ok(workspace::target_folder()?.join("package").join(name))
}

/// Versions that Debian and file names accept alike.
fn checked_version(version: String) -> TaskResult<String> {
    let is_permitted = |c: char| c.is_ascii_alphanumeric() || ".+~".contains(c);
    let is_version = version.starts_with(|c: char| c.is_ascii_digit());
    match is_version && version.chars().all(is_permitted) {
        true => Ok(version),
        false => Err(format!(
            "{version} is no version such as 1.2.3 or 1.2.3~rc1"
        )),
    }
}

/// Builds the program for a release.
fn release_program() -> TaskResult<PathBuf> {
    let built = workspace::cargo()
        .args(["build", "--release", "--locked", "-p", "personium-server"])
        .status();
    match built {
        Ok(status) if status.success() => Ok(workspace::target_folder()?.join("release/personium")),
        Ok(status) => Err(format!("cargo build ended with {status}")),
        Err(error) => Err(format!("cannot run cargo build: {error}")),
    }
}

/// The time of the last commit, which all files of packages have: the same source makes the same packages.
fn source_time() -> String {
    let time = output_of(Command::new("git").args(["log", "-1", "--format=%ct"]));
    time.unwrap_or_else(|_| "0".to_owned())
}

/// Makes the tarball of the files in `tree`, from which the Debian package was made.
fn tarball(tree: &Path, release: &Release) -> TaskResult<String> {
    let control = tree.join("DEBIAN");
    fs::remove_dir_all(&control)
        .map_err(|error| format!("cannot remove {}: {error}", control.display()))?;
    own_libraries::bring(tree, &tree.join(tree::PROGRAM))?;
    let name = format!(
        "personium-{}-{}-linux.tar.gz",
        release.version, release.architecture
    );
    let options = ["--sort=name", "--use-compress-program=gzip -n"];
    let all = [".".to_owned()];
    write_tar(&release.output.join(&name), tree, &all, &options)?;
    Ok(name)
}

/// Writes an archive of files in a folder, with the time of the last commit and without owners.
///
/// # Errors
/// A message if it cannot be written.
pub(crate) fn write_tar(
    path: &Path,
    folder: &Path,
    names: &[String],
    options: &[&str],
) -> TaskResult {
    let mut command = Command::new("tar");
    command
        .args(["--owner=0", "--group=0", "--numeric-owner"])
        .arg(format!("--mtime=@{}", source_time()))
        .args(options)
        .arg("-cf")
        .arg(path)
        .arg("-C")
        .arg(folder)
        .args(names);
    output_of(&mut command).map(drop)
}

/// Runs a command; returns its output without the final line break.
///
/// # Errors
/// A message if it cannot be run or fails.
pub(crate) fn output_of(command: &mut Command) -> TaskResult<String> {
    let program = command.get_program().display().to_string();
    let output = command
        .output()
        .map_err(|error| format!("cannot run {program}: {error}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{program} failed: {text}"));
    }
    Ok(String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_debian_would_misread_are_refused() {
        for version in ["0.1.0", "1.2.3~rc1", "1.0+git1"] {
            assert_eq!(checked_version(version.to_owned()).as_deref(), Ok(version));
        }
        for version in ["", "v1.0", "1.0-1", "1:2", "1 0", "1/0"] {
            assert!(checked_version(version.to_owned()).is_err(), "{version}");
        }
    }
}
