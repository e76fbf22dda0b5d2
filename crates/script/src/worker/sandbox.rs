//! The isolation of a worker process: what it may ask the system for.

use std::collections::BTreeMap;
use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// The memory of a worker beyond that of its script, in bytes.
const WORKER_BYTES: u64 = 2 << 30;
/// The number of open files, all of which a worker has from its start.
const FILES_MAX: u64 = 16;

/// The system calls that need nothing but the process itself and its open sockets.
const ALLOWED: &[libc::c_long] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_close,
    libc::SYS_futex,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigaction,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Those that are allowed unless they make memory executable.
const NOT_EXECUTABLE: &[libc::c_long] = &[libc::SYS_mmap, libc::SYS_mprotect];

/// Gives up, for all threads of this process and for good, everything but computing and the open sockets: files, network,
/// processes and threads.
///
/// # Errors
/// The system does not support it.
pub(super) fn enter(memory_max_bytes: usize) -> io::Result<()> {
    let memory = WORKER_BYTES.saturating_add(memory_max_bytes as u64);
    for (resource, max) in [
        (Resource::Data, memory),
        (Resource::Nofile, FILES_MAX),
        (Resource::Fsize, 0),
        (Resource::Core, 0),
        (Resource::Memlock, 0),
    ] {
        limit(resource, max)?;
    }
    seccompiler::apply_filter_all_threads(&filter()?).map_err(io::Error::other)
}

/// Lowers a limit; one that is lower already stays.
fn limit(resource: Resource, max: u64) -> io::Result<()> {
    let old = rustix::process::getrlimit(resource);
    let lower = |old: Option<u64>| Some(old.map_or(max, |old| old.min(max)));
    let new = Rlimit {
        current: lower(old.current),
        maximum: lower(old.maximum),
    };
    setrlimit(resource, new).map_err(io::Error::from)
}

/// The filter of system calls. Others fail as if the process had no permission.
fn filter() -> io::Result<BpfProgram> {
    let condition = SeccompCondition::new(
        2,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::MaskedEq(u64::from(libc::PROT_EXEC.unsigned_abs())),
        0,
    );
    let rule = SeccompRule::new(vec![condition.map_err(io::Error::other)?]);
    let rule = rule.map_err(io::Error::other)?;
    let allowed = ALLOWED.iter().map(|call| (*call, Vec::new()));
    let without_code = NOT_EXECUTABLE
        .iter()
        .map(|call| (*call, vec![rule.clone()]));
    let rules: BTreeMap<_, _> = allowed.chain(without_code).collect();
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let arch = std::env::consts::ARCH
        .try_into()
        .map_err(io::Error::other)?;
    let filter = SeccompFilter::new(rules, refused, SeccompAction::Allow, arch);
    let filter = filter.map_err(io::Error::other)?;
    filter.try_into().map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::net::UnixStream;
    use std::process::Command;

    use super::*;

    /// Runs a function on a thread that has only the allowed system calls.
    fn isolated<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
        let filter = filter().unwrap();
        let thread = std::thread::spawn(move || {
            seccompiler::apply_filter(&filter).unwrap();
            act()
        });
        thread.join().unwrap()
    }

    #[test]
    fn files_network_processes_and_threads_are_refused() {
        type Attempt = (&'static str, fn() -> io::Result<()>);
        let attempts: [Attempt; 8] = [
            ("open", || File::open("/etc/passwd").map(drop)),
            ("create", || File::create("script-worker").map(drop)),
            ("list", || std::fs::read_dir("/").map(drop)),
            ("remove", || std::fs::remove_file("script-worker")),
            ("listen", || TcpListener::bind("127.0.0.1:0").map(drop)),
            ("connect", || TcpStream::connect("127.0.0.1:1").map(drop)),
            ("send", || UdpSocket::bind("127.0.0.1:0").map(drop)),
            ("run", || Command::new("/bin/true").spawn().map(drop)),
        ];
        for (name, attempt) in attempts {
            let refused = isolated(attempt).unwrap_err();
            assert_eq!(
                refused.raw_os_error(),
                Some(libc::EPERM),
                "{name}: {refused}"
            );
        }
        let thread = isolated(|| std::thread::Builder::new().spawn(|| {}).is_err());
        assert!(thread);
    }

    #[test]
    fn computing_and_open_sockets_are_allowed() {
        use std::io::{Read, Write};
        let (mut here, mut there) = UnixStream::pair().unwrap();
        let length = isolated(move || {
            let memory = vec![1_u8; 64 << 20];
            here.write_all(b"said").unwrap();
            memory.iter().map(|byte| usize::from(*byte)).sum::<usize>()
        });
        assert_eq!(length, 64 << 20);
        let mut said = [0; 4];
        there.read_exact(&mut said).unwrap();
        assert_eq!(&said, b"said");
    }
}
