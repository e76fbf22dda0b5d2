//! Programs from outside that some tests use as clients or judges.

use std::path::Path;
use std::process::Command;

/// A program and the Debian package that has it.
struct Outside {
    program: &'static str,
    package: &'static str,
    used_for: &'static str,
}

const OUTSIDE: &[Outside] = &[
    Outside {
        program: "curl",
        package: "curl",
        used_for: "the walk of the README",
    },
    Outside {
        program: "rclone",
        package: "rclone",
        used_for: "synchronising a folder with a box",
    },
    Outside {
        program: "xmlsec1",
        package: "xmlsec1",
        used_for: "judging signed assertions",
    },
    Outside {
        program: "python3",
        package: "python3-venv",
        used_for: "clients from its package index, and replaying recorded exchanges",
    },
    Outside {
        program: "node",
        package: "nodejs",
        used_for: "clients and providers of OpenID Connect",
    },
    Outside {
        program: "npm",
        package: "npm",
        used_for: "installing those",
    },
    Outside {
        program: "litmus",
        package: "litmus",
        used_for: "checking WebDAV",
    },
    Outside {
        program: "nginx",
        package: "nginx-light",
        used_for: "the floor of file downloads in the bench",
    },
    Outside {
        program: "wrk",
        package: "wrk",
        used_for: "load from a second generator",
    },
];

/// Installs what is missing when this is Debian and we are root; gives a line for each program that is still missing.
pub(crate) fn provide() -> Vec<String> {
    let missing: Vec<&Outside> = OUTSIDE.iter().filter(|o| !present(o.program)).collect();
    if missing.is_empty() {
        return Vec::new();
    }
    let packages: Vec<&str> = missing.iter().map(|o| o.package).collect();
    if present("apt-get") && we_are_root() {
        println!("installing {}", packages.join(" "));
        if !install(&packages) {
            let _ = apt_get(&["update", "-q"]);
            if !install(&packages) {
                // One that is not to be had must not keep the others away.
                for package in &packages {
                    install(&[package]);
                }
            }
        }
    }
    missing
        .iter()
        .filter(|o| !present(o.program))
        .map(|o| format!("{} (package {}): {}", o.program, o.package, o.used_for))
        .collect()
}

fn install(packages: &[&str]) -> bool {
    let mut arguments = vec!["install", "-y", "-q", "--no-install-recommends"];
    arguments.extend_from_slice(packages);
    apt_get(&arguments)
}

fn apt_get(arguments: &[&str]) -> bool {
    Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .status()
        .is_ok_and(|s| s.success())
}

fn we_are_root() -> bool {
    Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|out| out.stdout.starts_with(b"0\n"))
}

/// Whether a program is on the path or among the system's own programs.
pub(crate) fn present(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
        || Path::new("/usr/sbin").join(program).is_file()
}
