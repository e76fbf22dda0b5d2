//! A model of what units of several sizes need, from measured costs.
//!
//! What people do is an assumption, in constants; what it costs is measured by the scenario `layers`.

use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::BenchResult;

/// The numbers of people of the table.
const PEOPLE: [f64; 4] = [100.0, 10_000.0, 100_000.0, 1_000_000.0];
/// The requests a second that a person causes in the busiest hour.
const REQUESTS_PER_PERSON: f64 = 0.05;
/// The requests of people in the busiest hour.
const PEOPLE_MIX: Mix = Mix {
    read: 0.6,
    list: 0.2,
    file_read: 0.1,
    create: 0.06,
    file_write: 0.04,
};
/// The load of the runs with several nodes.
const NODES_MIX: Mix = Mix {
    read: 0.9,
    list: 0.0,
    file_read: 0.0,
    create: 0.1,
    file_write: 0.0,
};
/// The share of people with an open connection in the busiest hour.
const CONNECTED_SHARE: f64 = 0.1;
/// The seconds between two logins of a person.
const LOGIN_INTERVAL_SECS: f64 = 8.0 * 3600.0;
/// The processor time of a login with the default password hash, by the scenario w10.
const LOGIN_US: f64 = 23_158.0;
/// Entities and bytes of files of a person.
const ENTITIES_PER_PERSON: f64 = 2_000.0;
const FILE_BYTES_PER_PERSON: f64 = 100e6;
/// The processors of a machine for nodes.
const NODE_PROCESSORS: f64 = 8.0;
/// The processors of the largest machine for one PostgreSQL.
const DATABASE_PROCESSORS_MAX: f64 = 32.0;
/// The share of the processors that is to be used in the busiest hour.
const USED_SHARE: f64 = 0.5;
/// The connections of each node to the database: `store.postgres.poolSize`.
const POOL: f64 = 20.0;
/// The largest number of cells that a node keeps in its memory.
const CACHED_CELLS: f64 = 2_000.0;
/// The memory of a database for what it reads often, as a share of its records, and its limits in bytes.
const DATABASE_CACHE_SHARE: f64 = 0.1;
const DATABASE_CACHE_MIN: f64 = 1e9;
const DATABASE_CACHE_MAX: f64 = 128e9;

/// The processor time of a request in microseconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Cost {
    pub(crate) node_us: f64,
    pub(crate) database_us: f64,
}

impl Cost {
    /// That of node and database together.
    pub(crate) fn total_us(self) -> f64 {
        self.node_us + self.database_us
    }
}

/// The share of each kind of requests.
struct Mix {
    /// GET of an entity by its key.
    read: f64,
    /// GET of a list of 25 entities.
    list: f64,
    /// GET of a file of 1 KB.
    file_read: f64,
    /// POST of an entity.
    create: f64,
    /// PUT of a file of 1 KB.
    file_write: f64,
}

/// The measured costs.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct MeasuredCosts {
    pub(crate) read: Cost,
    pub(crate) list: Cost,
    pub(crate) create: Cost,
    pub(crate) file_read: Cost,
    pub(crate) file_write: Cost,
    /// An entity with its index entries.
    pub(crate) database_bytes_of_entity: f64,
    pub(crate) database_bytes_of_connection: f64,
    /// A node after a load.
    pub(crate) node_bytes: f64,
    pub(crate) node_bytes_of_connection: f64,
    pub(crate) node_bytes_of_cell: f64,
    /// Runs with several nodes: their number, requests per second, and the cost of a request.
    pub(crate) nodes: Vec<(usize, f64, Cost)>,
}

/// The needs of a unit.
#[derive(Debug)]
struct Needs {
    requests: f64,
    node_processors: f64,
    nodes: f64,
    database_processors: f64,
    databases: f64,
    client_connections: f64,
    database_connections: f64,
    node_bytes: f64,
    database_bytes: f64,
    record_bytes: f64,
    file_bytes: f64,
}

impl MeasuredCosts {
    /// Reads the costs of an earlier run.
    ///
    /// # Errors
    /// A message if the file cannot be read.
    pub(crate) fn read(file: &Path) -> BenchResult<Self> {
        let failed = |error: String| format!("cannot read {}: {error}", file.display());
        let text = std::fs::read(file).map_err(|error| failed(error.to_string()))?;
        serde_json::from_slice(&text).map_err(|error| failed(error.to_string()))
    }

    /// Writes the costs.
    ///
    /// # Errors
    /// A message if the file cannot be written.
    pub(crate) fn write(&self, file: &Path) -> BenchResult {
        let text = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        std::fs::write(file, text + "\n")
            .map_err(|error| format!("cannot write {}: {error}", file.display()))
    }

    /// The mean cost of a request of a mix.
    fn mean(&self, mix: &Mix) -> Cost {
        let parts = [
            (mix.read, self.read),
            (mix.list, self.list),
            (mix.file_read, self.file_read),
            (mix.create, self.create),
            (mix.file_write, self.file_write),
        ];
        Cost {
            node_us: parts.iter().map(|(share, cost)| share * cost.node_us).sum(),
            database_us: parts
                .iter()
                .map(|(share, cost)| share * cost.database_us)
                .sum(),
        }
    }

    fn needs(&self, people: f64) -> Needs {
        let (requests, mean) = (people * REQUESTS_PER_PERSON, self.mean(&PEOPLE_MIX));
        let logins = people / LOGIN_INTERVAL_SECS;
        let node_processors = (requests * mean.node_us + logins * LOGIN_US) / 1e6;
        let database_processors = requests * mean.database_us / 1e6;
        let nodes = (node_processors / (NODE_PROCESSORS * USED_SHARE))
            .ceil()
            .max(1.0);
        let databases = (database_processors / (DATABASE_PROCESSORS_MAX * USED_SHARE))
            .ceil()
            .max(1.0);
        let client_connections = people * CONNECTED_SHARE;
        let database_connections = nodes * POOL;
        let record_bytes = people * ENTITIES_PER_PERSON * self.database_bytes_of_entity;
        let cells = people.min(CACHED_CELLS);
        let cache = (record_bytes / databases * DATABASE_CACHE_SHARE)
            .clamp(DATABASE_CACHE_MIN, DATABASE_CACHE_MAX);
        Needs {
            requests,
            node_processors,
            nodes,
            database_processors,
            databases,
            client_connections,
            database_connections,
            node_bytes: self.node_bytes
                + self.node_bytes_of_connection * client_connections / nodes
                + self.node_bytes_of_cell * cells,
            database_bytes: cache + self.database_bytes_of_connection * database_connections,
            record_bytes,
            file_bytes: people * FILE_BYTES_PER_PERSON,
        }
    }

    /// The needs as Markdown, and the check of the model against the runs with several nodes.
    pub(crate) fn table(&self) -> String {
        let mut text = String::from(
            "| People | Requests per s | Node processors busy | Nodes of 8 processors | Memory of each | Database processors busy | PostgreSQL machines | \
             Memory of each | Client connections | Database connections | Records | Files |\n|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
        );
        for people in PEOPLE {
            let needs = self.needs(people);
            let _ = writeln!(
                text,
                "| {people:.0} | {:.0} | {:.2} | {:.0} | {} | {:.2} | {:.0} | {} | {:.0} | {:.0} | {} | {} |",
                needs.requests,
                needs.node_processors,
                needs.nodes,
                bytes(needs.node_bytes),
                needs.database_processors,
                needs.databases,
                bytes(needs.database_bytes),
                needs.client_connections,
                needs.database_connections,
                bytes(needs.record_bytes),
                bytes(needs.file_bytes),
            );
        }
        self.push_check(&mut text);
        text
    }

    /// Compares the cost of the requests that one, two and four nodes answered with the sum of the costs of their parts, which were
    /// measured with one node: the model says that the number of nodes does not matter.
    fn push_check(&self, text: &mut String) {
        text.push_str(
            "\n| Nodes | Requests per s | µs of node | model | µs of database | model |\n|--:|--:|--:|--:|--:|--:|\n",
        );
        let model = self.mean(&NODES_MIX);
        for (count, per_second, cost) in &self.nodes {
            let _ = writeln!(
                text,
                "| {count} | {per_second:.0} | {:.0} | {:+.0} % | {:.0} | {:+.0} % |",
                cost.node_us,
                (model.node_us / cost.node_us - 1.0) * 100.0,
                cost.database_us,
                (model.database_us / cost.database_us - 1.0) * 100.0,
            );
        }
    }
}

fn bytes(bytes: f64) -> String {
    match bytes {
        1e12.. => format!("{:.1} TB", bytes / 1e12),
        1e9.. => format!("{:.1} GB", bytes / 1e9),
        _ => format!("{:.0} MB", bytes / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The difference between the model and a run that is accepted: the runs have 8 connections to each node, so that fewer reads share a
    /// round trip than where the costs were measured, and a request may cost twice as much.
    const MODEL_TOLERANCE: f64 = 0.5;

    fn costs() -> MeasuredCosts {
        let cost = Cost {
            node_us: 100.0,
            database_us: 200.0,
        };
        MeasuredCosts {
            read: cost,
            list: cost,
            create: cost,
            file_read: cost,
            file_write: cost,
            database_bytes_of_entity: 2_000.0,
            nodes: vec![
                (1, 1_000.0, cost),
                (
                    2,
                    900.0,
                    Cost {
                        node_us: 110.0,
                        ..cost
                    },
                ),
            ],
            ..MeasuredCosts::default()
        }
    }

    #[test]
    fn needs_grow_with_the_people_and_round_up_to_machines() {
        let costs = costs();
        let few = costs.needs(100.0);
        assert_eq!((few.nodes, few.databases), (1.0, 1.0));
        let many = costs.needs(10_000_000.0);
        // 500,000 requests a second: 50 processors for them, and 8 for the logins; 100 for the database.
        assert!((many.node_processors - 58.04).abs() < 0.01, "{many:?}");
        assert_eq!((many.nodes, many.databases), (15.0, 7.0));
        assert_eq!(many.database_connections, 300.0);
    }

    #[test]
    fn table_has_a_line_for_each_size_and_the_check_of_the_model() {
        let table = costs().table();
        assert_eq!(table.lines().count(), 2 + PEOPLE.len() + 1 + 2 + 2);
        assert!(table.contains("| 1000000 | 50000 |"), "{table}");
        // The model says 100 µs of node, and the run with two nodes had 110.
        assert!(
            table.contains("| 2 | 900 | 110 | -9 % | 200 | +0 % |"),
            "{table}"
        );
    }

    /// The costs of the last run of the scenario `layers`.
    fn measured() -> MeasuredCosts {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/costs.json");
        MeasuredCosts::read(Path::new(file)).unwrap()
    }

    #[test]
    fn page_about_sizing_has_the_tables_of_the_measured_figures() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operate/sizing.md");
        let page = std::fs::read_to_string(page).unwrap();
        let table = measured().table();
        for part in table.split("\n\n") {
            assert!(page.contains(part.trim()), "{part}");
        }
    }

    #[test]
    fn model_agrees_with_the_runs_of_one_two_and_four_nodes() {
        let costs = measured();
        let counts: Vec<usize> = costs.nodes.iter().map(|(count, ..)| *count).collect();
        assert_eq!(counts, [1, 2, 4]);
        let model = costs.mean(&NODES_MIX);
        for (count, _, cost) in &costs.nodes {
            for (model, measured) in [
                (model.node_us, cost.node_us),
                (model.database_us, cost.database_us),
            ] {
                let difference = (model / measured - 1.0).abs();
                assert!(difference < MODEL_TOLERANCE, "{count} nodes: {difference}");
            }
        }
    }

    #[test]
    fn figures_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("costs.json");
        costs().write(&file).unwrap();
        assert_eq!(MeasuredCosts::read(&file).unwrap().table(), costs().table());
        assert!(MeasuredCosts::read(&folder.path().join("none")).is_err());
    }
}
