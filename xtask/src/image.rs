//! The virtual image: a disk with Debian and the package, which makes its unit when it boots for the first time.

mod disk;
mod formats;
mod root;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use crate::package::{self, output_of};
use crate::{TaskResult, workspace};

/// The options of `cargo xtask image`.
#[derive(Debug, Args)]
pub(crate) struct ImageOptions {
    /// Debian package of the unit instead of one that is made for this.
    #[arg(long, value_name = "FILE")]
    deb: Option<PathBuf>,
    /// Release of Debian.
    #[arg(long, value_name = "NAME", default_value = "bookworm")]
    suite: String,
    /// Mirror of Debian's packages [default: that of debootstrap].
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
    /// File with the sources of packages of the image, such as that of security updates, in the format of sources.list
    /// [default: the mirror].
    #[arg(long, value_name = "FILE")]
    sources: Option<PathBuf>,
    /// Package of the kernel. That of clouds knows the hardware of QEMU, of clouds and of VMware; linux-image-amd64 knows more.
    #[arg(
        long,
        value_name = "PACKAGE",
        default_value = "linux-image-cloud-amd64"
    )]
    kernel: String,
    /// Size of the disk in GiB. Copies can be larger: the first boot grows the root file system.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u64).range(2..=2048))]
    size: u64,
    /// Folder with the system without the unit, made if it is missing and used again if it was made with the same options
    /// [default: image-base in the target folder].
    #[arg(long, value_name = "DIR")]
    base: Option<PathBuf>,
    /// Folder to write to [default: image in the target folder].
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// Makes the image in all formats.
///
/// # Errors
/// A message if this is not root on an amd64 machine, or a step fails.
pub(crate) fn run(options: ImageOptions) -> TaskResult {
    if output_of(Command::new("id").arg("-u"))? != "0" {
        return Err("only root can make a system with the owners of its files".into());
    }
    if output_of(Command::new("dpkg").arg("--print-architecture"))? != "amd64" {
        return Err("the boot loader of the image is that of amd64".into());
    }
    let target = workspace::target_folder()?;
    let base = options
        .base
        .clone()
        .unwrap_or_else(|| target.join("image-base"));
    let output = options
        .output
        .clone()
        .unwrap_or_else(|| target.join("image"));
    let deb = match options.deb.clone() {
        Some(deb) => deb,
        None => package::made_deb()?,
    };
    let version = output_of(
        Command::new("dpkg-deb")
            .arg("--field")
            .arg(&deb)
            .arg("Version"),
    )?;
    make_folder(&output)?;
    root::make_base(&options, &base)?;
    let root = output.join("root");
    root::make(&base, &deb, &root)?;
    let raw = output.join("disk.raw");
    disk::write(&root, &raw, options.size)?;
    remove_tree(&root)?;
    let files = formats::write(&raw, &output, &version)?;
    fs::remove_file(&raw).map_err(|error| failed(&raw, &error))?;
    for name in package::write_checksums(&output, &files)? {
        println!("{}", output.join(name).display());
    }
    Ok(())
}

fn make_folder(path: &Path) -> TaskResult {
    fs::create_dir_all(path).map_err(|error| failed(path, &error))
}

/// Removes a folder with all that is in it, if it exists.
fn remove_tree(path: &Path) -> TaskResult {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(path, &error)),
        _ => Ok(()),
    }
}

fn failed(path: &Path, error: &std::io::Error) -> String {
    format!("cannot write {}: {error}", path.display())
}
