//! The limit on open file descriptors, and how it is divided.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// File descriptors that an open database file may need: two for each of its connections, one of which writes.
const PER_DATABASE_FILE: u64 = 10;

/// File descriptors for everything that is neither a connection nor a database file.
const RESERVED: u64 = 64;

/// How many connections and database files may be open at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DescriptorBudget {
    /// Connections of clients.
    pub(crate) connections_max: usize,
    /// Database files.
    pub(crate) database_files_max: usize,
}

impl DescriptorBudget {
    /// Reduces both numbers until they fit into a number of file descriptors; neither becomes zero.
    pub(crate) fn reduced_to(self, descriptors: u64) -> Self {
        let available = descriptors.saturating_sub(RESERVED);
        let to_usize = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let (connections, files) = (
            to_usize(available / 2),
            to_usize(available / 2 / PER_DATABASE_FILE),
        );
        Self {
            connections_max: self.connections_max.min(connections).max(1),
            database_files_max: self.database_files_max.min(files).max(1),
        }
    }
}

/// Raises the soft limit on open file descriptors to the hard limit. Returns the limit that is in effect then.
pub(crate) fn raise_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let in_effect = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    in_effect.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_divided_between_connections_and_database_files() {
        for (descriptors, wanted, expected) in [
            (1024, (10_000, 500), (480, 48)),
            (20_000, (1_000, 500), (1_000, 500)),
            (u64::MAX, (10_000, 500), (10_000, 500)),
            (10, (10, 10), (1, 1)),
        ] {
            let budget = |(connections_max, database_files_max)| DescriptorBudget {
                connections_max,
                database_files_max,
            };
            let reduced = budget(wanted).reduced_to(descriptors);
            assert_eq!(reduced, budget(expected), "{descriptors}");
        }
    }
}
