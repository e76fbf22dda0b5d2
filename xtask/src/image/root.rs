//! The files of the image.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use super::{ImageOptions, disk, failed, remove_tree};
use crate::TaskResult;
use crate::package::output_of;

/// The packages of the system, without the kernel and what each Debian has.
const PACKAGES: &str = "avahi-daemon ca-certificates cloud-guest-utils cloud-init dosfstools e2fsprogs fdisk grub-efi-amd64-bin \
    grub-pc-bin grub2-common initramfs-tools iproute2 kmod less libnss-myhostname logrotate \
    nano netbase nginx-light openssh-server openssl sudo systemd-resolved systemd-sysv systemd-timesyncd udev";

/// The file of the system that says how it was made.
const RECIPE: &str = "usr/lib/personium-image/recipe";

/// Files of the sources with their place and mode.
const FILES: &[(&str, &str, u32)] = &[
    (
        "image/first-boot",
        "usr/lib/personium-image/first-boot",
        0o755,
    ),
    ("image/console", "usr/lib/personium-image/console", 0o755),
    ("image/grow", "usr/lib/personium-image/grow", 0o755),
    (
        "image/personium-first-boot.service",
        "etc/systemd/system/personium-first-boot.service",
        0o644,
    ),
    (
        "image/personium-console.service",
        "etc/systemd/system/personium-console.service",
        0o644,
    ),
    (
        "image/personium-grow.service",
        "etc/systemd/system/personium-grow.service",
        0o644,
    ),
    (
        "image/personium-host-keys.service",
        "etc/systemd/system/personium-host-keys.service",
        0o644,
    ),
    (
        "image/after-first-boot.conf",
        "etc/systemd/system/personium.service.d/first-boot.conf",
        0o644,
    ),
    (
        "image/after-first-boot.conf",
        "etc/systemd/system/nginx.service.d/first-boot.conf",
        0o644,
    ),
    ("image/nginx.conf", "etc/nginx/nginx.conf", 0o644),
    (
        "image/cloud.cfg",
        "etc/cloud/cloud.cfg.d/90_personium.cfg",
        0o644,
    ),
    (
        "image/dhcp.network",
        "etc/systemd/network/80-dhcp.network",
        0o644,
    ),
    ("image/grub.cfg", "boot/grub/grub.cfg", 0o644),
    ("image/grub-defaults.cfg", "etc/default/grub", 0o644),
    (
        "nginx/site.conf.template",
        "usr/lib/personium-image/site.conf.template",
        0o644,
    ),
];

/// The folder of Nginx's files that are the same for all units.
const NGINX: &str = "deploy/nginx/personium";

/// Makes the system without the unit in a folder, unless it was made with the same options.
///
/// # Errors
/// A message if a program fails.
pub(super) fn make_base(options: &ImageOptions, base: &Path) -> TaskResult {
    let sources = match &options.sources {
        Some(path) => Some(
            fs::read_to_string(path)
                .map_err(|error| format!("cannot read {}: {error}", path.display()))?,
        ),
        None => None,
    };
    let ImageOptions { suite, kernel, .. } = options;
    let recipe = format!(
        "{suite} {} {kernel} {PACKAGES}\n{}",
        options.mirror.as_deref().unwrap_or_default(),
        sources.as_deref().unwrap_or_default()
    );
    if fs::read_to_string(base.join(RECIPE)).is_ok_and(|found| found == recipe) {
        return Ok(());
    }
    if base.exists() && !base.join(RECIPE).exists() {
        return Err(format!("{} is no system of an image", base.display()));
    }
    let new = base.with_extension("new");
    remove_tree(&new)?;
    let mut command = Command::new("debootstrap");
    command.arg("--variant=minbase").arg(suite).arg(&new);
    output_of(command.args(options.mirror.as_deref()))?;
    if let Some(sources) = sources {
        write(&new, "etc/apt/sources.list", &sources)?;
    }
    // The programs that packages bring must not be started here.
    write(&new, "usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n")?;
    set_mode(&new.join("usr/sbin/policy-rc.d"), 0o755)?;
    run_inside(
        &new,
        &format!(
            "apt-get update -q && apt-get dist-upgrade -y -q && \
             apt-get install -y -q --no-install-recommends {kernel} {PACKAGES} && apt-get clean"
        ),
    )?;
    write(&new, RECIPE, &recipe)?;
    remove_tree(base)?;
    fs::rename(&new, base).map_err(|error| failed(base, &error))
}

/// Makes the files of the image from those of the system without the unit.
///
/// # Errors
/// A message if a program fails or a file cannot be written.
pub(super) fn make(base: &Path, deb: &Path, root: &Path) -> TaskResult {
    remove_tree(root)?;
    output_of(
        Command::new("cp")
            .args(["-a", "--reflink=auto"])
            .arg(base)
            .arg(root),
    )?;
    for (from, to, mode) in FILES {
        install(&Path::new("deploy").join(from), &root.join(to), *mode)?;
    }
    let shared = fs::read_dir(NGINX).map_err(|error| format!("cannot read {NGINX}: {error}"))?;
    for file in shared {
        let file = file.map_err(|error| format!("cannot read {NGINX}: {error}"))?;
        let to = root.join("etc/nginx/personium").join(file.file_name());
        install(&file.path(), &to, 0o644)?;
    }
    write(
        root,
        "etc/fstab",
        "LABEL=personium-root / ext4 errors=remount-ro 0 1\n",
    )?;
    write(root, "etc/hostname", "personium\n")?;
    write(
        root,
        "etc/hosts",
        "127.0.0.1 localhost\n127.0.1.1 personium\n::1 localhost ip6-localhost\n",
    )?;
    install(deb, &root.join("opt/personium.deb"), 0o644)?;
    run_inside(
        root,
        "dpkg -i /opt/personium.deb && rm /opt/personium.deb && \
         systemctl enable -q personium nginx systemd-networkd systemd-resolved personium-grow personium-host-keys \
             personium-first-boot personium-console && \
         systemctl disable -q e2scrub_reap.service e2scrub_all.timer && \
         cp -r /usr/lib/grub/i386-pc /boot/grub/i386-pc",
    )?;
    run_inside(root, &disk::script_of_boot_loaders())?;
    clean(root)
}

/// Removes what is made anew by each machine, or belongs to this one.
fn clean(root: &Path) -> TaskResult {
    run_inside(
        root,
        "rm -rf /etc/ssh/ssh_host_* /var/lib/systemd/random-seed /var/lib/dbus/machine-id /etc/ssl/private/* \
             /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/debconf/*-old /var/lib/dpkg/*-old \
             /usr/sbin/policy-rc.d /var/lib/cloud && \
         find /var/log -type f -delete",
    )?;
    for name in ["run", "tmp"] {
        empty(&root.join(name))?;
    }
    // Empty: the first boot makes another one, without taking the system for one that was never set up.
    write(root, "etc/machine-id", "")?;
    let resolver = root.join("etc/resolv.conf");
    let _ = fs::remove_file(&resolver);
    symlink("../run/systemd/resolve/stub-resolv.conf", &resolver)
        .map_err(|error| failed(&resolver, &error))
}

/// Removes what is in a folder.
fn empty(folder: &Path) -> TaskResult {
    let entries = fs::read_dir(folder).map_err(|error| failed(folder, &error))?;
    for entry in entries {
        let path = entry.map_err(|error| failed(folder, &error))?.path();
        let removed = match path.is_dir() && !path.is_symlink() {
            true => fs::remove_dir_all(&path),
            false => fs::remove_file(&path),
        };
        removed.map_err(|error| failed(&path, &error))?;
    }
    Ok(())
}

/// Runs a script in a system. It has processes and mounts of its own, and the name server of this machine.
///
/// # Errors
/// A message if it fails.
fn run_inside(root: &Path, script: &str) -> TaskResult {
    let resolver = root.join("etc/resolv.conf");
    let _ = fs::remove_file(&resolver);
    let servers = fs::read("/etc/resolv.conf").unwrap_or_default();
    fs::write(&resolver, servers).map_err(|error| failed(&resolver, &error))?;
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--pid", "--fork", "--kill-child", "chroot"])
        .arg(root)
        .args(["/bin/sh", "-e"])
        .env_clear()
        .envs(proxies())
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .map_err(|error| format!("cannot run unshare: {error}"))?;
    if let Some(mut input) = child.stdin.take() {
        let text = format!("mount -t proc proc /proc\n{{ {script}\n}} </dev/null\n");
        input
            .write_all(text.as_bytes())
            .map_err(|error| format!("cannot run a script in {}: {error}", root.display()))?;
    }
    let output = child
        .wait_with_output()
        .map_err(|error| format!("cannot run a script in {}: {error}", root.display()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "a script in {} failed: {}{}",
        root.display(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    ))
}

/// The variables by which programs find a proxy.
fn proxies() -> impl Iterator<Item = (String, String)> {
    std::env::vars().filter(|(name, _)| name.to_ascii_lowercase().ends_with("_proxy"))
}

fn write(root: &Path, name: &str, text: &str) -> TaskResult {
    let path = root.join(name);
    super::make_folder(path.parent().unwrap_or(root))?;
    fs::write(&path, text).map_err(|error| failed(&path, &error))?;
    set_mode(&path, 0o644)
}

fn install(from: &Path, to: &Path, mode: u32) -> TaskResult {
    super::make_folder(to.parent().unwrap_or(to))?;
    fs::copy(from, to).map_err(|error| format!("cannot copy {}: {error}", from.display()))?;
    set_mode(to, mode)
}

fn set_mode(path: &Path, mode: u32) -> TaskResult {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(|error| failed(path, &error))
}
