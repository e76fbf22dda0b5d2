//! The check of the limits of a process other than that on open files: those of the unit if it runs, otherwise those of the check itself.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::report::{CheckOutcome, CheckReport};
use crate::config::LoadedConfig;
use crate::data_folder::RECORDS_DIR;

/// The number of threads below which a limit causes a warning: up to 512 wait for disks at the same time, and others do the rest.
const THREADS_WARNING: u64 = 1_024;

/// The memory below which a limit causes a warning.
const MEMORY_WARNING_BYTES: u64 = 512 << 20;

/// The value from which on version 1 of control groups means no limit; it is the largest number of whole pages.
const UNLIMITED_BYTES: u64 = 1 << 62;

/// Reports the limits.
pub(super) fn check(report: &mut CheckReport, loaded: &LoadedConfig) {
    let lock = loaded.config.store.data_dir.join(RECORDS_DIR).join("lock");
    let holder = fs::read_to_string("/proc/locks")
        .ok()
        .and_then(|locks| holder_of(&locks, &lock));
    let limits = holder.and_then(|process| {
        let folder = Path::new("/proc").join(process.to_string());
        Limits::read(&folder, Path::new("/sys/fs/cgroup"))
    });
    let (whose, limits) = match (holder, limits) {
        (Some(process), Some(limits)) => {
            let whose = format!("of process {process}, the unit that runs");
            (whose, limits)
        }
        _ => {
            let limits = Limits::read(Path::new("/proc/self"), Path::new("/sys/fs/cgroup"));
            let whose = "of this command; a service has its own".to_owned();
            (whose, limits.unwrap_or_default())
        }
    };
    report.ok("limits", whose);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    limits.report(report, &memory);
}

/// The process that has locked a file, from the text of /proc/locks (proc_locks(5)).
fn holder_of(locks: &str, file: &Path) -> Option<u32> {
    let found = fs::metadata(file).ok()?;
    let (major, minor) = (
        rustix::fs::major(found.dev()),
        rustix::fs::minor(found.dev()),
    );
    let wanted = format!("{major:02x}:{minor:02x}:{}", found.ino());
    locks.lines().find_map(|line| {
        // Number, FLOCK, ADVISORY, WRITE, process, file; who waits has an arrow after the number.
        let mut fields = line.split_whitespace().skip(1);
        let is_lock = fields.next()? == "FLOCK";
        let mut fields = fields.skip(2);
        let process = fields.next()?.parse().ok().filter(|id| *id > 0)?;
        (is_lock && fields.next()? == wanted).then_some(process)
    })
}

/// The limits of a process. `None` is no limit, or not known.
#[derive(Debug, Default, PartialEq, Eq)]
struct Limits {
    /// The processes and threads of its user (`RLIMIT_NPROC`).
    user_threads: Option<u64>,
    /// The processes and threads of its control group (`TasksMax`).
    group_threads: Option<u64>,
    /// The memory of its control group, in bytes (`MemoryMax`).
    group_memory: Option<u64>,
    /// Its address space, in bytes (`RLIMIT_AS`).
    address_space: Option<u64>,
    /// The size of a file, in bytes (`RLIMIT_FSIZE`).
    file_size: Option<u64>,
    /// The size of a core dump, in bytes (`RLIMIT_CORE`); 0 is none.
    core_dump: Option<u64>,
}

impl Limits {
    /// Reads the limits of a process from its folder in /proc, and from the folder of control groups.
    fn read(process: &Path, groups: &Path) -> Option<Self> {
        let limits = fs::read_to_string(process.join("limits")).ok()?;
        let memberships = fs::read_to_string(process.join("cgroup")).unwrap_or_default();
        let soft = |name: &str| {
            let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        let least = |controller: &str, files: [&str; 2]| {
            let found = folders_of(&memberships, controller, groups)
                .into_iter()
                .flat_map(|folder| files.map(|file| folder.join(file)))
                .filter_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok());
            found.filter(|limit| *limit < UNLIMITED_BYTES).min()
        };
        Some(Self {
            user_threads: soft("Max processes"),
            group_threads: least("pids", ["pids.max", "pids.max"]),
            group_memory: least("memory", ["memory.max", "memory.limit_in_bytes"]),
            address_space: soft("Max address space"),
            file_size: soft("Max file size"),
            core_dump: soft("Max core file size"),
        })
    }

    /// Adds a finding for each limit. `memory` is the text of /proc/meminfo.
    fn report(&self, report: &mut CheckReport, memory: &str) {
        self.report_threads(report);
        self.report_memory(report, memory);
        let (outcome, detail) = match self.address_space {
            None => (CheckOutcome::Ok, "not limited".to_owned()),
            Some(bytes) => (
                CheckOutcome::Warning,
                format!(
                    "at most {}: the process ends when it has no more; let it be unlimited (LimitAS) and bound the memory of the \
                     service (MemoryMax)",
                    mebibytes(bytes)
                ),
            ),
        };
        let values = numbers([("maxBytes", json!(self.address_space))]);
        report.add_with_values("address space", outcome, detail, values);
        let (outcome, detail) = match self.file_size {
            None => (CheckOutcome::Ok, "not limited".to_owned()),
            Some(bytes) => (
                CheckOutcome::Warning,
                format!(
                    "at most {}: larger files and databases are refused; let it be unlimited (LimitFSIZE)",
                    mebibytes(bytes)
                ),
            ),
        };
        let values = numbers([("maxBytes", json!(self.file_size))]);
        report.add_with_values("size of a file", outcome, detail, values);
        let detail = match self.core_dump {
            Some(0) => "off".to_owned(),
            Some(bytes) => format!(
                "on, up to {}: they contain keys; LimitCORE=0 switches them off",
                mebibytes(bytes)
            ),
            None => "on: they contain keys; LimitCORE=0 switches them off".to_owned(),
        };
        let values = numbers([("maxBytes", json!(self.core_dump))]);
        report.add_with_values("core dumps", CheckOutcome::Ok, detail, values);
    }

    fn report_threads(&self, report: &mut CheckReport) {
        let known = [
            (self.user_threads, "of the user (LimitNPROC)"),
            (self.group_threads, "of the service (TasksMax)"),
        ];
        let known = known.map(|(limit, whose)| {
            let limit = limit?;
            Some(format!("{limit} {whose}"))
        });
        let known: Vec<String> = known.into_iter().flatten().collect();
        let values = numbers([
            ("ofUser", json!(self.user_threads)),
            ("ofService", json!(self.group_threads)),
        ]);
        let least = self
            .user_threads
            .into_iter()
            .chain(self.group_threads)
            .min();
        let (outcome, detail) = match least {
            None => (CheckOutcome::Ok, "not limited".to_owned()),
            Some(least) if least < THREADS_WARNING => (
                CheckOutcome::Warning,
                format!(
                    "at most {}: raise it to {THREADS_WARNING} or more",
                    known.join(", ")
                ),
            ),
            Some(_) => (CheckOutcome::Ok, format!("at most {}", known.join(", "))),
        };
        report.add_with_values("threads", outcome, detail, values);
    }

    fn report_memory(&self, report: &mut CheckReport, memory: &str) {
        let of_machine = |name: &str| {
            let line = memory.lines().find_map(|line| line.strip_prefix(name))?;
            let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
            kibibytes.checked_mul(1 << 10)
        };
        let (all, available) = (of_machine("MemTotal:"), of_machine("MemAvailable:"));
        let shown = |bytes: Option<u64>| bytes.map_or_else(|| "unknown".to_owned(), mebibytes);
        let limit = self
            .group_memory
            .filter(|limit| all.is_none_or(|all| *limit < all));
        let of_service = match limit {
            Some(limit) => format!("at most {} of the service (MemoryMax)", mebibytes(limit)),
            None => "not limited for the service".to_owned(),
        };
        let detail = format!(
            "{} of the machine, {} of it free; {of_service}",
            shown(all),
            shown(available)
        );
        let least = limit.into_iter().chain(all).min();
        let (outcome, detail) = match least {
            Some(least) if least < MEMORY_WARNING_BYTES => (
                CheckOutcome::Warning,
                format!(
                    "{detail}: {} or more are advised",
                    mebibytes(MEMORY_WARNING_BYTES)
                ),
            ),
            _ => (CheckOutcome::Ok, detail),
        };
        let values = numbers([
            ("ofMachineBytes", json!(all)),
            ("availableBytes", json!(available)),
            ("ofServiceBytes", json!(limit)),
        ]);
        report.add_with_values("memory", outcome, detail, values);
    }
}

/// The folders of the control group of a process and of those above it, for a controller, from the text of /proc/PID/cgroup
/// (cgroups(7)).
fn folders_of(memberships: &str, controller: &str, groups: &Path) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for line in memberships.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let roots = match controllers {
            "" => vec![groups.to_owned(), groups.join("unified")],
            list if list.split(',').any(|found| found == controller) => {
                vec![groups.join(controllers), groups.join(controller)]
            }
            _ => continue,
        };
        let path = Path::new(path.trim_start_matches('/'));
        for root in roots {
            folders.extend(path.ancestors().map(|above| root.join(above)));
        }
    }
    folders
}

fn numbers<const N: usize>(values: [(&str, Value); N]) -> Map<String, Value> {
    let values = values.into_iter();
    values
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: &str = "Limit                     Soft Limit           Hard Limit           Units     \n\
        Max file size             unlimited            unlimited            bytes     \n\
        Max core file size        0                    unlimited            bytes     \n\
        Max processes             96364                96364                processes \n\
        Max address space         unlimited            unlimited            bytes     \n";

    const MEMORY: &str =
        "MemTotal:        4000000 kB\nMemFree: 1 kB\nMemAvailable:    3000000 kB\n";

    fn read(limits: &str, memberships: &str, files: &[(&str, &str)]) -> Limits {
        let folder = tempfile::tempdir().unwrap();
        let process = folder.path().join("process");
        fs::create_dir(&process).unwrap();
        fs::write(process.join("limits"), limits).unwrap();
        fs::write(process.join("cgroup"), memberships).unwrap();
        let groups = folder.path().join("groups");
        for (name, text) in files {
            let path = groups.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Limits::read(&process, &groups).unwrap()
    }

    /// The outcome of a check and its details.
    fn finding(limits: &Limits, check: &str) -> (CheckOutcome, String) {
        let mut report = CheckReport::default();
        limits.report(&mut report, MEMORY);
        let found = report.0.into_iter().find(|found| found.check == check);
        let found = found.unwrap();
        (found.outcome, found.detail)
    }

    #[test]
    fn limits_of_a_process_are_the_least_of_its_control_groups() {
        let service = "0::/system.slice/personium.service\n";
        let limits = read(
            LIMITS,
            service,
            &[
                ("system.slice/personium.service/pids.max", "4915\n"),
                ("system.slice/pids.max", "max\n"),
                ("system.slice/personium.service/memory.max", "max\n"),
                ("system.slice/memory.max", "1073741824\n"),
                ("other.slice/memory.max", "1\n"),
            ],
        );
        let expected = Limits {
            user_threads: Some(96_364),
            group_threads: Some(4_915),
            group_memory: Some(1 << 30),
            core_dump: Some(0),
            ..Limits::default()
        };
        assert_eq!(limits, expected);
        for (check, text) in [
            (
                "threads",
                "at most 96364 of the user (LimitNPROC), 4915 of the service (TasksMax)",
            ),
            (
                "memory",
                "3906 MiB of the machine, 2929 MiB of it free; at most 1024 MiB of the service (MemoryMax)",
            ),
            ("address space", "not limited"),
            ("size of a file", "not limited"),
            ("core dumps", "off"),
        ] {
            assert_eq!(finding(&limits, check), (CheckOutcome::Ok, text.to_owned()));
        }
        // Version 1, whose largest number is no limit.
        let first = "9:name=systemd:/a\n8:pids:/a\n4:memory:/a/b\n0::/\n";
        let limits = read(
            "Max processes unlimited unlimited processes\n",
            first,
            &[
                ("pids/a/pids.max", "20\n"),
                ("memory/a/b/memory.limit_in_bytes", "9223372036854771712\n"),
            ],
        );
        let expected = Limits {
            group_threads: Some(20),
            ..Limits::default()
        };
        assert_eq!(limits, expected);
    }

    #[test]
    fn limits_that_are_too_low_are_warnings_with_what_to_do() {
        let limits = Limits {
            user_threads: Some(100),
            group_memory: Some(100 << 20),
            address_space: Some(8 << 30),
            file_size: Some(10 << 20),
            core_dump: None,
            ..Limits::default()
        };
        for (check, text) in [
            ("threads", "at most 100 of the user (LimitNPROC): raise it"),
            (
                "memory",
                "at most 100 MiB of the service (MemoryMax): 512 MiB",
            ),
            ("address space", "at most 8192 MiB"),
            ("size of a file", "at most 10 MiB"),
        ] {
            let (outcome, detail) = finding(&limits, check);
            assert_eq!(outcome, CheckOutcome::Warning, "{detail}");
            assert!(detail.contains(text), "{detail}");
        }
        assert_eq!(finding(&limits, "core dumps").0, CheckOutcome::Ok);
    }

    #[test]
    fn process_that_has_locked_a_file_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        fs::write(&path, "").unwrap();
        let found = fs::metadata(&path).unwrap();
        let (major, minor) = (
            rustix::fs::major(found.dev()),
            rustix::fs::minor(found.dev()),
        );
        let file = format!("{major:02x}:{minor:02x}:{}", found.ino());
        let locks = format!(
            "1: POSIX  ADVISORY  READ  7 {file} 0 EOF\n\
             2: FLOCK  ADVISORY  WRITE 8 {file}9 0 EOF\n\
             2: -> FLOCK  ADVISORY  WRITE 10 {file} 0 EOF\n\
             3: FLOCK  ADVISORY  WRITE 9 {file} 0 EOF\n"
        );
        assert_eq!(holder_of(&locks, &path), Some(9));
        for wrong in ["", "1:", "1: FLOCK ADVISORY WRITE 0 00:00:0 0 EOF"] {
            assert_eq!(holder_of(wrong, &path), None);
        }
    }
}
