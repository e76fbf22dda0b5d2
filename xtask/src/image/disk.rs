//! The disk: partitions, boot loaders and the root file system, written without mounting anything.
//!
//! | Partition | For |
//! |---|---|
//! | 1, 1 MiB | GRUB for machines with a BIOS |
//! | 2, 32 MiB | GRUB for machines with UEFI |
//! | 3, the rest | the root file system, which is the last so that it can grow |

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::failed;
use crate::TaskResult;
use crate::package::output_of;

const SECTOR_BYTES: u64 = 512;
const MIB_BYTES: u64 = 1 << 20;
/// The place of each partition in MiB.
const BIOS_MIB: u64 = 1;
const UEFI_MIB: u64 = 2;
const ROOT_MIB: u64 = 34;

/// The label by which the boot loader and the kernel find the root file system.
const ROOT_LABEL: &str = "personium-root";

/// The modules of GRUB that it needs to read its menu.
const MODULES: &str =
    "part_gpt part_msdos ext2 search search_label normal configfile linux gzio echo test";

/// Commands of GRUB before it reads its menu.
const EARLY: &str = "search --no-floppy --label --set=root personium-root
set prefix=($root)/boot/grub
configfile /boot/grub/grub.cfg";

/// Writes a disk of a size in GiB with the files in `files`.
///
/// # Errors
/// A message if a program fails or a file cannot be written.
pub(super) fn write(files: &Path, raw: &Path, size_gib: u64) -> TaskResult {
    let size_bytes = size_gib << 30;
    let _ = fs::remove_file(raw);
    let disk = File::options()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(raw)
        .map_err(|error| failed(raw, &error))?;
    disk.set_len(size_bytes)
        .map_err(|error| failed(raw, &error))?;
    partition(raw)?;
    let read = |name: &str| {
        let path = files.join(name);
        fs::read(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))
    };
    write_bios_loader(
        &disk,
        read("usr/lib/grub/i386-pc/boot.img")?,
        read("boot/grub/core.img")?,
    )
    .map_err(|error| failed(raw, &error))?;
    write_uefi_loader(files, raw)?;
    // The last MiB belongs to the second partition table.
    let root_kib = (size_bytes - (ROOT_MIB + 1) * MIB_BYTES) / 1024;
    // GRUB 2.06 can read neither of these features.
    output_of(
        Command::new("mke2fs")
            .args([
                "-q",
                "-F",
                "-t",
                "ext4",
                "-O",
                "^metadata_csum_seed,^orphan_file",
            ])
            .args([
                "-L",
                ROOT_LABEL,
                "-E",
                &format!("offset={}", ROOT_MIB * MIB_BYTES),
            ])
            .arg("-d")
            .arg(files)
            .arg(raw)
            .arg(format!("{root_kib}k")),
    )?;
    disk.sync_all().map_err(|error| failed(raw, &error))
}

fn partition(raw: &Path) -> TaskResult {
    let sectors = |mib: u64| mib * MIB_BYTES / SECTOR_BYTES;
    let table = format!(
        "label: gpt\n\
         start={}, size={}, type=21686148-6449-6E6F-744E-656564454649, name=bios\n\
         start={}, size={}, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name=uefi\n\
         start={}, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, name=root\n",
        sectors(BIOS_MIB),
        sectors(UEFI_MIB - BIOS_MIB),
        sectors(UEFI_MIB),
        sectors(ROOT_MIB - UEFI_MIB),
        sectors(ROOT_MIB),
    );
    let mut child = Command::new("sfdisk")
        .args(["--quiet", "--no-reread", "--no-tell-kernel"])
        .arg(raw)
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot run sfdisk: {error}"))?;
    let written = child
        .stdin
        .take()
        .map(|mut input| input.write_all(table.as_bytes()));
    let status = child
        .wait()
        .map_err(|error| format!("cannot run sfdisk: {error}"))?;
    match (written, status.success()) {
        (Some(Ok(())), true) => Ok(()),
        _ => Err(format!("sfdisk failed: {status}")),
    }
}

/// A script that makes the boot loaders in a system, with its own programs.
pub(super) fn script_of_boot_loaders() -> String {
    let early = EARLY.lines().collect::<Vec<_>>().join("\\n");
    format!(
        "cd /boot/grub; printf '{early}\\n' > early.cfg; \
         make() {{ grub-mkimage --config early.cfg --prefix /boot/grub \"$@\"; }}; \
         make -O i386-pc -o core.img biosdisk {MODULES}; \
         make -O x86_64-efi -o bootx64.efi fat efi_gop efi_uga {MODULES}; \
         rm early.cfg"
    )
}

/// Writes the loader of the BIOS: its first sector knows where the rest begins, and the first sector of the rest where it goes on
/// (`boot.S` and `diskboot.S` of GRUB).
fn write_bios_loader(disk: &File, mut first: Vec<u8>, mut rest: Vec<u8>) -> std::io::Result<()> {
    /// The part of the first sector before its table of partitions.
    const CODE_BYTES: usize = 440;
    const START_OF_REST: usize = 0x5c;
    const START_OF_SECOND: usize = 0x1f4;
    let start = BIOS_MIB * MIB_BYTES / SECTOR_BYTES;
    put(&mut first, START_OF_REST, start)?;
    put(&mut rest, START_OF_SECOND, start + 1)?;
    if rest.len() as u64 > (UEFI_MIB - BIOS_MIB) * MIB_BYTES {
        return Err(std::io::Error::other("the boot loader is too large"));
    }
    disk.write_all_at(first.get(..CODE_BYTES).unwrap_or_default(), 0)?;
    disk.write_all_at(&rest, BIOS_MIB * MIB_BYTES)
}

fn put(bytes: &mut [u8], at: usize, value: u64) -> std::io::Result<()> {
    let place = bytes
        .get_mut(at..at + 8)
        .ok_or_else(|| std::io::Error::other("the boot loader is too small"))?;
    place.copy_from_slice(&value.to_le_bytes());
    Ok(())
}

/// Writes the file system with the loader of UEFI.
fn write_uefi_loader(files: &Path, raw: &Path) -> TaskResult {
    let place = format!("{}@@{}M", raw.display(), UEFI_MIB);
    let sectors = (ROOT_MIB - UEFI_MIB) * MIB_BYTES / SECTOR_BYTES;
    let mut format = Command::new("mformat");
    format.args(["-i", &place, "-T", &sectors.to_string(), "-v", "UEFI", "::"]);
    output_of(&mut format)?;
    output_of(Command::new("mmd").args(["-i", &place, "::/EFI", "::/EFI/BOOT"]))?;
    output_of(
        Command::new("mcopy")
            .args(["-i", &place])
            .arg(files.join("boot/grub/bootx64.efi"))
            .arg("::/EFI/BOOT/BOOTX64.EFI"),
    )?;
    Ok(())
}
