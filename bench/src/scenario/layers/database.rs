//! The private PostgreSQL and memcached of the scenario, and the nodes on them.

use std::fmt::Write as _;

use personium_testkit::{Memcached, PostgresCluster, create_unit_database, make_unit_key};

use crate::scenario::{BenchContext, create_folder};
use crate::server_process::ProcessMonitor;
use crate::unit::{BenchUnit, UnitSetup};
use crate::{BenchResult, baseline};

/// The host name in the URLs of the unit.
const HOST: &str = "localhost";
/// The size of the pool of each node, which is the default of a unit.
const POOL: usize = 20;
/// The index entries of a row, as in the baseline of W4.
const INDEX_ENTRIES: u64 = 7;
/// The settings of the server. Checkpoints would fall into some runs and not into others.
const SERVER_SETTINGS: &[&str] = &[
    "shared_buffers=512MB",
    "max_connections=200",
    "max_wal_size=16GB",
    "checkpoint_timeout=1h",
    "fsync=on",
    "synchronous_commit=on",
];

/// A database server with the database of a unit, and one for the bare loops.
pub(super) struct LayersDatabase {
    cluster: PostgresCluster,
    _memcached: Memcached,
    /// The name of the database of the unit.
    name: String,
    /// The name of the database of the bare loops, with the same tables.
    bare_name: String,
    /// The lines of the settings of each node.
    settings: String,
}

/// The numbers of commits and of transactions of all spaces.
#[derive(Clone, Copy)]
pub(super) struct Commits {
    batches: f64,
    transactions: f64,
}

impl Commits {
    /// The mean number of batches in a transaction since then.
    pub(super) fn mean_group_since(self, before: Self) -> f64 {
        (self.batches - before.batches) / (self.transactions - before.transactions).max(1.0)
    }
}

impl LayersDatabase {
    /// Starts the server and makes the databases.
    ///
    /// # Errors
    /// A message if a folder cannot be created.
    pub(super) fn start(context: &BenchContext) -> BenchResult<Self> {
        let folder = tempfile::tempdir_in(&context.scratch)
            .map_err(|error| format!("cannot create a folder: {error}"))?;
        let lines = SERVER_SETTINGS
            .iter()
            .map(|line| (*line).to_owned())
            .collect();
        let cluster = PostgresCluster::start_with(folder, |_| lines);
        let server = &context.options.server;
        let of_unit = create_unit_database(&cluster, server);
        let bare = create_unit_database(&cluster, server);
        let name_in = |settings: &[(&'static str, String)]| {
            let found = settings
                .iter()
                .find(|(key, _)| *key == "store.postgres.database");
            found.map(|(_, name)| name.clone()).unwrap_or_default()
        };
        let (name, bare_name) = (name_in(&of_unit), name_in(&bare));
        let bodies = context.scratch.join("layers-bodies");
        let keys = context.scratch.join("layers-keys");
        create_folder(&keys)?;
        // All nodes of a unit sign tokens with one key.
        let mut settings = make_unit_key(&keys, HOST);
        let _ = writeln!(
            settings,
            "io.personium.core.blobStore.root={}",
            bodies.display()
        );
        let memcached = Memcached::start();
        let address = memcached.address();
        let _ = writeln!(settings, "io.personium.core.cache.memcached.host={address}");
        for (key, value) in of_unit {
            let _ = writeln!(settings, "io.personium.core.{key}={value}");
        }
        Ok(Self {
            cluster,
            _memcached: memcached,
            name,
            bare_name,
            settings,
        })
    }

    /// Starts a node.
    ///
    /// # Errors
    /// A message if it does not start.
    pub(super) async fn start_node(
        &self,
        context: &BenchContext,
        number: usize,
    ) -> BenchResult<BenchUnit> {
        let folder = context.scratch.join(format!("layers-node-{number}"));
        create_folder(&folder)?;
        BenchUnit::start_with(UnitSetup {
            program: &context.options.server,
            folder: &folder,
            host: HOST,
            settings: &self.settings,
        })
        .await
    }

    /// A monitor of the server with its processes.
    pub(super) fn monitor(&self) -> ProcessMonitor {
        ProcessMonitor::new(self.cluster.process_id().unwrap_or_default())
    }

    /// The size of the database of the unit.
    pub(super) fn size_bytes(&self) -> u64 {
        let size = format!("SELECT pg_database_size('{}')", self.name);
        self.cluster
            .sql(&self.name, &size)
            .parse()
            .unwrap_or_default()
    }

    /// Brings statistics and visibility up to date, so that the server does not do that while it is measured.
    pub(super) fn settle(&self) {
        self.cluster.sql(&self.name, "VACUUM ANALYZE");
        self.cluster.sql(&self.name, "CHECKPOINT");
    }

    /// The numbers of commits and transactions so far.
    ///
    /// # Errors
    /// A message if the database says something else.
    pub(super) fn commits(&self) -> BenchResult<Commits> {
        let line = self.cluster.sql(
            &self.name,
            "SELECT sum(stamp), sum(writes) FROM personium.spaces",
        );
        let mut numbers = line.split('|').map(str::parse::<f64>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(batches)), Some(Ok(transactions))) => Ok(Commits {
                batches,
                transactions,
            }),
            _ => Err(format!("the database answered {line}")),
        }
    }

    /// The rate of a bare loop that reads rows by their primary keys.
    ///
    /// # Errors
    /// A message if it fails.
    pub(super) fn bare_reads(&self, context: &BenchContext, tasks: usize) -> BenchResult<f64> {
        self.bare("database-reads", &self.name, context, tasks as u64, &[])
    }

    /// The rate of a bare loop of equal transactions: in so many spaces, by so many tasks, with so many entities in each.
    ///
    /// # Errors
    /// A message if it fails.
    pub(super) fn bare_writes(
        &self,
        context: &BenchContext,
        (spaces, tasks, group): (u64, u64, f64),
    ) -> BenchResult<f64> {
        let more = [
            "--spaces".to_owned(),
            spaces.to_string(),
            "--group".to_owned(),
            group.to_string(),
            "--entries".to_owned(),
            INDEX_ENTRIES.to_string(),
        ];
        self.bare("database-writes", &self.bare_name, context, tasks, &more)
    }

    fn bare(
        &self,
        name: &str,
        database: &str,
        context: &BenchContext,
        tasks: u64,
        more: &[String],
    ) -> BenchResult<f64> {
        let (port, pool, tasks, seconds) = (
            self.cluster.port().to_string(),
            POOL.to_string(),
            tasks.to_string(),
            context.seconds(),
        );
        let mut arguments = vec![
            name,
            "--port",
            &port,
            "--user",
            self.cluster.user(),
            "--database",
            database,
            "--pool",
            &pool,
            "--tasks",
            &tasks,
            "--seconds",
            &seconds,
        ];
        arguments.extend(more.iter().map(String::as_str));
        baseline::per_second(&arguments)
    }
}
