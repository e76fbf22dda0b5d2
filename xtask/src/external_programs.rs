//! Programs that are not part of the project and that some tests use as clients or validators.

use std::path::Path;
use std::process::Command;

/// A program and its Debian package.
struct ExternalProgram {
    /// Its name, or the path of a file of a package without programs.
    program: &'static str,
    package: &'static str,
    purpose: &'static str,
}

const PROGRAMS: &[ExternalProgram] = &[
    ExternalProgram {
        program: "curl",
        package: "curl",
        purpose: "the commands of the README",
    },
    ExternalProgram {
        program: "rclone",
        package: "rclone",
        purpose: "synchronizing a folder with a box",
    },
    ExternalProgram {
        program: "rsync",
        package: "rsync",
        purpose: "the commands of the page about restoring a database",
    },
    ExternalProgram {
        program: "xmlsec1",
        package: "xmlsec1",
        purpose: "validating signed assertions",
    },
    ExternalProgram {
        program: "python3",
        package: "python3-venv",
        purpose: "Python clients, and replaying recorded exchanges",
    },
    ExternalProgram {
        program: "node",
        package: "nodejs",
        purpose: "clients and providers of OpenID Connect",
    },
    ExternalProgram {
        program: "npm",
        package: "npm",
        purpose: "installing those",
    },
    ExternalProgram {
        program: "java",
        package: "default-jdk-headless",
        purpose: "an OData client",
    },
    ExternalProgram {
        program: "mvn",
        package: "maven",
        purpose: "installing its packages",
    },
    ExternalProgram {
        program: "go",
        package: "golang-go",
        purpose: "building the object stores and the authority of tests",
    },
    ExternalProgram {
        program: "chromium",
        package: "chromium",
        purpose: "an OData client in a browser",
    },
    ExternalProgram {
        program: "litmus",
        package: "litmus",
        purpose: "testing WebDAV",
    },
    ExternalProgram {
        program: "mount.davfs",
        package: "davfs2",
        purpose: "mounting a box as a file system",
    },
    ExternalProgram {
        program: "cadaver",
        package: "cadaver",
        purpose: "a command line for WebDAV",
    },
    ExternalProgram {
        program: "prometheus",
        package: "prometheus",
        purpose: "reading the metrics, and testing the alert rules",
    },
    ExternalProgram {
        program: "faketime",
        package: "faketime",
        purpose: "starting the server at a wrong clock",
    },
    ExternalProgram {
        program: "memcached",
        package: "memcached",
        purpose: "the cache that nodes share",
    },
    ExternalProgram {
        program: "activemq",
        package: "activemq",
        purpose: "a broker of queues and topics",
    },
    ExternalProgram {
        program: "nginx",
        package: "nginx-light",
        purpose: "the web layer, and the baseline of file downloads in the bench",
    },
    ExternalProgram {
        program: "openssl",
        package: "openssl",
        purpose: "certificates of the web layer, and bytes over TLS that no HTTP client sends",
    },
    ExternalProgram {
        program: "debootstrap",
        package: "debootstrap",
        purpose: "a Debian system in which packages are installed",
    },
    ExternalProgram {
        program: "systemd-nspawn",
        package: "systemd-container",
        purpose: "booting that system",
    },
    ExternalProgram {
        program: "nsenter",
        package: "util-linux",
        purpose: "running commands in it",
    },
    ExternalProgram {
        program: "dpkg-deb",
        package: "dpkg",
        purpose: "making the Debian package",
    },
    ExternalProgram {
        program: "dpkg-scanpackages",
        package: "dpkg-dev",
        purpose: "a source of packages for booted systems without a network",
    },
    ExternalProgram {
        program: "ip",
        package: "iproute2",
        purpose: "networks of booted systems",
    },
    ExternalProgram {
        program: "ssh",
        package: "openssh-client",
        purpose: "running playbooks on them",
    },
    ExternalProgram {
        program: "strip",
        package: "binutils",
        purpose: "removing debug symbols from packaged programs",
    },
    ExternalProgram {
        program: "patchelf",
        package: "patchelf",
        purpose: "making packages",
    },
    ExternalProgram {
        program: "podman",
        package: "podman",
        purpose: "building and running the container of the unit",
    },
    ExternalProgram {
        program: "runc",
        package: "runc",
        purpose: "running it",
    },
    ExternalProgram {
        program: "psql",
        package: "postgresql",
        purpose: "a database server for the record store",
    },
    ExternalProgram {
        program: "pgbouncer",
        package: "pgbouncer",
        purpose: "a pooler in front of the database server",
    },
    ExternalProgram {
        program: "etcd",
        package: "etcd-server",
        purpose: "where Patroni decides which database server is the primary",
    },
    ExternalProgram {
        program: "patroni",
        package: "patroni",
        purpose: "a primary and a standby of the database server",
    },
    ExternalProgram {
        program: "slapd",
        package: "slapd",
        purpose: "a directory that authenticates users",
    },
    ExternalProgram {
        program: "clang",
        package: "clang",
        purpose: "building a plugin in C",
    },
    ExternalProgram {
        program: "wasm-ld",
        package: "lld",
        purpose: "linking it",
    },
    ExternalProgram {
        program: "/usr/lib/wasm32-wasi/libc.a",
        package: "wasi-libc",
        purpose: "its standard library",
    },
    ExternalProgram {
        program: "/usr/lib/llvm-14/lib/clang/14.0.6/lib/wasi/libclang_rt.builtins-wasm32.a",
        package: "libclang-rt-14-dev-wasm32",
        purpose: "functions that the compiler calls",
    },
    ExternalProgram {
        program: "/usr/bin/rustc",
        package: "rustc",
        purpose: "building a plugin in Rust",
    },
    ExternalProgram {
        program: "/usr/lib/rustlib/wasm32-unknown-unknown/lib/libaddr2line-65c170aa096039e5.rlib",
        package: "libstd-rust-dev-wasm32",
        purpose: "its standard library",
    },
    ExternalProgram {
        program: "wrk",
        package: "wrk",
        purpose: "load from a second generator",
    },
];

/// The programs that make and boot the virtual image. Only `cargo xtask deploy` needs it.
const PROGRAMS_OF_IMAGES: &[ExternalProgram] = &[
    ExternalProgram {
        program: "qemu-system-x86_64",
        package: "qemu-system-x86",
        purpose: "booting the virtual image",
    },
    ExternalProgram {
        program: "/usr/share/OVMF/OVMF_CODE_4M.fd",
        package: "ovmf",
        purpose: "booting it by UEFI",
    },
    ExternalProgram {
        program: "qemu-img",
        package: "qemu-utils",
        purpose: "its formats",
    },
    ExternalProgram {
        program: "sfdisk",
        package: "fdisk",
        purpose: "its partitions",
    },
    ExternalProgram {
        program: "mformat",
        package: "mtools",
        purpose: "its boot loader for UEFI",
    },
    ExternalProgram {
        program: "genisoimage",
        package: "genisoimage",
        purpose: "what a cloud says to it",
    },
];

/// Installs missing programs if this is Debian and the user is root. Returns a line for each program that is still missing.
pub(crate) fn install_missing() -> Vec<String> {
    install_missing_of(PROGRAMS)
}

/// As [`install_missing`], for the tests of the virtual image.
pub(crate) fn install_missing_for_images() -> Vec<String> {
    install_missing_of(PROGRAMS_OF_IMAGES)
}

fn install_missing_of(programs: &[ExternalProgram]) -> Vec<String> {
    let missing: Vec<&ExternalProgram> = programs
        .iter()
        .filter(|external| !is_installed(external.program))
        .collect();
    if missing.is_empty() {
        return Vec::new();
    }
    let packages: Vec<&str> = missing.iter().map(|external| external.package).collect();
    if is_installed("apt-get") && is_root() {
        println!("installing {}", packages.join(" "));
        if !install(&packages) {
            let _ = apt_get(&["update", "-q"]);
            if !install(&packages) {
                // A package that cannot be installed must not prevent the others.
                for package in &packages {
                    install(&[package]);
                }
            }
        }
    }
    missing
        .iter()
        .filter(|external| !is_installed(external.program))
        .map(|external| {
            let ExternalProgram {
                program,
                package,
                purpose,
            } = external;
            format!("{program} (package {package}): {purpose}")
        })
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
        .is_ok_and(|status| status.success())
}

fn is_root() -> bool {
    Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout.starts_with(b"0\n"))
}

/// Whether a program is in a folder of `PATH` or in `/usr/sbin`.
pub(crate) fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
        || Path::new("/usr/sbin").join(program).is_file()
}
