//! The formats of the image.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::failed;
use crate::TaskResult;
use crate::package::{output_of, write_tar};

/// Writes the disk in all formats. Returns the names of the files.
///
/// # Errors
/// A message if a program fails or a file cannot be written.
pub(super) fn write(raw: &Path, output: &Path, version: &str) -> TaskResult<Vec<String>> {
    let base = format!("personium-{version}-amd64");
    let (qcow2, vmdk) = (format!("{base}.qcow2"), format!("{base}.vmdk"));
    convert(
        raw,
        &output.join(&qcow2),
        &["-c", "-O", "qcow2", "-o", "compression_type=zstd"],
    )?;
    convert(
        raw,
        &output.join(&vmdk),
        &[
            "-O",
            "vmdk",
            "-o",
            "subformat=streamOptimized,adapter_type=ide",
        ],
    )?;
    let ova = appliance(raw, output, &base)?;
    Ok(vec![qcow2, vmdk, ova])
}

fn convert(raw: &Path, to: &Path, options: &[&str]) -> TaskResult {
    let mut command = Command::new("qemu-img");
    command
        .args(["convert", "-f", "raw", "-m", "4"])
        .args(options);
    output_of(command.arg(raw).arg(to)).map(drop)
}

/// Writes the appliance: an archive of the description (OVF 1.1, DSP0243), the checksums and the disk, in this order.
fn appliance(raw: &Path, output: &Path, base: &str) -> TaskResult<String> {
    let size = |path: &Path| {
        let found = fs::metadata(path).map(|metadata| metadata.len());
        found.map_err(|error| format!("cannot read {}: {error}", path.display()))
    };
    let disk = format!("{base}.vmdk");
    let template = "deploy/image/personium.ovf";
    let text = fs::read_to_string(template)
        .map_err(|error| format!("cannot read {template}: {error}"))?
        .replace("@DISK@", &disk)
        .replace("@DISK_SIZE@", &size(&output.join(&disk))?.to_string())
        .replace("@CAPACITY@", &size(raw)?.to_string());
    let description = format!("{base}.ovf");
    let path = output.join(&description);
    fs::write(&path, text).map_err(|error| failed(&path, &error))?;
    let sums = output_of(
        Command::new("sha256sum")
            .args(["--tag", &description, &disk])
            .current_dir(output),
    )?;
    // The manifest has the form that OpenSSL prints.
    let manifest = format!("{base}.mf");
    let path = output.join(&manifest);
    let text = sums.replace("SHA256 (", "SHA256(").replace(") = ", ")= ") + "\n";
    fs::write(&path, text).map_err(|error| failed(&path, &error))?;
    let ova = format!("{base}.ova");
    let names = [description, manifest, disk];
    write_tar(&output.join(&ova), output, &names, &["--format=ustar"])?;
    for name in names.iter().take(2) {
        let path = output.join(name);
        fs::remove_file(&path).map_err(|error| failed(&path, &error))?;
    }
    Ok(ova)
}
