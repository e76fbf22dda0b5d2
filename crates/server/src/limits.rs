//! Limits that the system sets on the process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// File descriptors that an open database file may need: two for each of its connections, one of which writes.
const PER_FILE: u64 = 10;

/// File descriptors for everything that is neither a connection nor a database file.
const RESERVED: u64 = 64;

/// Raises the number of file descriptors to what the system permits, and gives it.
pub(crate) fn raise_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let now = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    now.unwrap_or(u64::MAX)
}

/// How many connections and open database files fit into so many descriptors, at most those that are wanted.
pub(crate) fn share(descriptors: u64, connections: usize, files: usize) -> (usize, usize) {
    let room = descriptors.saturating_sub(RESERVED);
    let half = usize::try_from(room / 2).unwrap_or(usize::MAX);
    let files = files
        .min(usize::try_from(room / 2 / PER_FILE).unwrap_or(usize::MAX))
        .max(1);
    (connections.min(half).max(1), files)
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn descriptors_are_shared() {
        assert_eq!(share(1024, 10_000, 500), (480, 48));
        assert_eq!(share(20_000, 1_000, 500), (1_000, 500));
        assert_eq!(share(u64::MAX, 10_000, 500), (10_000, 500));
        assert_eq!(share(10, 10, 10), (1, 1));
    }
}
