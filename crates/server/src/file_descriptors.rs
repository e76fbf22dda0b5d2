//! The limit on open file descriptors, and how it is divided.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;

/// File descriptors that an open database file may need: two for each of its connections, one of which writes.
const PER_DATABASE_FILE: u64 = 10;

/// File descriptors that a connection may need: itself, and the file that it receives or sends.
const PER_CONNECTION: u64 = 2;

/// File descriptors for everything that is neither a connection nor a database file; half of all if there are few.
const RESERVED: u64 = 64;

/// The number of connections below which a unit soon makes clients wait.
const FEW_CONNECTIONS: usize = 256;

/// How many connections and database files may be open at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DescriptorBudget {
    /// Connections of clients.
    pub(crate) connections_max: usize,
    /// Database files.
    pub(crate) database_files_max: usize,
}

impl DescriptorBudget {
    /// The numbers that the settings ask for.
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            connections_max: config.listen.connections_max,
            database_files_max: config.store.open_files_max,
        }
    }

    /// Raises the limit of the process, and reduces both numbers until they fit into it. Returns a warning if that leaves
    /// few connections.
    pub(crate) fn within_limit(self) -> (Self, Option<String>) {
        let descriptors = raise_limit();
        let reduced = self.reduced_to(descriptors);
        (reduced, self.warning(reduced, descriptors))
    }

    fn warning(self, reduced: Self, descriptors: u64) -> Option<String> {
        let Self {
            connections_max,
            database_files_max,
        } = reduced;
        let few = connections_max < self.connections_max.min(FEW_CONNECTIONS);
        few.then(|| {
            format!(
                "the limit on open files is {descriptors}, so that there can be {connections_max} connections and \
                 {database_files_max} open database files at the same time; raise it (ulimit -Hn, or LimitNOFILE of the \
                 service)"
            )
        })
    }

    /// Reduces both numbers until they fit into a number of file descriptors; neither becomes zero.
    pub(crate) fn reduced_to(self, descriptors: u64) -> Self {
        let available = descriptors - RESERVED.min(descriptors / 2);
        let to_usize = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        // Two thirds for connections, the rest for database files.
        let share = available / 3;
        let (connections, files) = (
            to_usize(share.saturating_mul(2) / PER_CONNECTION),
            to_usize(share / PER_DATABASE_FILE),
        );
        Self {
            connections_max: self.connections_max.min(connections).max(1),
            database_files_max: self.database_files_max.min(files).max(1),
        }
    }
}

/// Raises the soft limit on open file descriptors to the hard limit. Returns the limit that is in effect then.
fn raise_limit() -> u64 {
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
            (1024, (10_000, 500), (320, 32)),
            (20_000, (1_000, 500), (1_000, 500)),
            (u64::MAX, (10_000, 500), (10_000, 500)),
            (64, (10_000, 500), (10, 1)),
            (10, (10, 10), (1, 1)),
            (0, (10, 10), (1, 1)),
        ] {
            let budget = |(connections_max, database_files_max)| DescriptorBudget {
                connections_max,
                database_files_max,
            };
            let reduced = budget(wanted).reduced_to(descriptors);
            assert_eq!(reduced, budget(expected), "{descriptors}");
        }
    }

    #[test]
    fn few_connections_cause_a_warning_with_the_limit() {
        for (descriptors, wanted, warns) in [
            (64, 10_000, true),
            (256, 10_000, true),
            (64, 10, false),
            (4096, 10_000, false),
        ] {
            let budget = DescriptorBudget {
                connections_max: wanted,
                database_files_max: 500,
            };
            let warning = budget.warning(budget.reduced_to(descriptors), descriptors);
            assert_eq!(warning.is_some(), warns, "{descriptors}");
            let part = format!("is {descriptors},");
            assert!(warning.is_none_or(|warning| warning.contains(&part)));
        }
    }
}
