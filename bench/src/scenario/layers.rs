//! Units over PostgreSQL beside bare loops over the same driver, and one, two and four nodes on one database.

mod database;
mod growth;
mod loads;
mod requests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use self::database::LayersDatabase;
use self::growth::Growth;
use self::loads::LayersMeasurement;
use super::{BenchContext, create_entities, list_entities};
use crate::BenchResult;
use crate::load::{self, LoadProfile, RequestGenerator};
use crate::report::{Bound, Section};
use crate::sizing::{Cost, MeasuredCosts};
use crate::unit::{BenchCell, BenchUnit};

/// The connections of a load that reads.
const READERS: usize = 32;
/// The connections of a load for each node, when nodes are compared.
const READERS_OF_NODE: usize = 8;
/// The number of rows of the small collection.
const SMALL_ROWS: u64 = 10_000;
/// The number of cells of W3.
const CELLS: usize = 100;
/// The numbers of nodes that are compared.
const NODES: [usize; 3] = [1, 2, 4];
/// The requests per second of each node, when their costs are compared: with the most nodes about half of what the machine can do. If
/// all processors were busy, a node would have a fourth of the load of one alone, and a process does less work for a request the more it
/// has at once.
const RATE_OF_NODE: f64 = 1_700.0;
/// The rounds of runs with each number of nodes at equal rates, for each run of other loads.
const ROUNDS_PER_RUN: usize = 2;

/// Returns the processor time of one part of a unit.
type PartOfCost = fn(Cost) -> f64;

/// The units of this scenario, which are nodes of one unit.
struct LayersBench<'c> {
    context: &'c BenchContext,
    database: LayersDatabase,
    nodes: Vec<BenchUnit>,
    cell: BenchCell,
    section: Section,
    costs: MeasuredCosts,
}

/// Runs this scenario.
pub(super) async fn run(context: &BenchContext) -> BenchResult<Section> {
    let database = LayersDatabase::start(context)?;
    let mut first = database.start_node(context, 0).await?;
    let cell = first.create_cell("load").await?;
    let mut bench = LayersBench {
        context,
        database,
        nodes: vec![first],
        cell,
        section: Section::new("layers"),
        costs: MeasuredCosts::default(),
    };
    if let Err(error) = bench.run().await {
        // What was measured before is worth something.
        let note = format!("the rest could not be measured: {error}");
        bench.section.note(note);
    }
    Ok(bench.section)
}

impl LayersBench<'_> {
    async fn run(&mut self) -> BenchResult {
        self.load_rows().await?;
        self.read_by_key().await?;
        self.list().await?;
        self.files().await?;
        self.create_in_one_cell().await?;
        let cells = self.create_in_many_cells().await?;
        self.several_nodes(&cells).await?;
        self.growth(&cells).await?;
        let options = &self.context.options;
        match &options.report {
            Some(report) if !options.quick => {
                self.costs.write(&report.with_file_name("costs.json"))
            }
            _ => Ok(()),
        }
    }

    fn first(&mut self) -> BenchResult<&mut BenchUnit> {
        self.nodes
            .first_mut()
            .ok_or_else(|| "there is no node".to_owned())
    }

    /// Creates the rows: first the small collection, then the large one.
    async fn load_rows(&mut self) -> BenchResult {
        let large = self.context.options.many;
        let cell = self.cell.name.clone();
        for (name, count) in [("small", SMALL_ROWS), ("many", large)] {
            let before = self.database.size_bytes();
            let start = std::time::Instant::now();
            let node = self.first()?;
            node.create_collection(&cell, name).await?;
            node.load_rows(&cell, name, count).await?;
            let seconds = start.elapsed().as_secs_f64();
            eprintln!("created {count} rows in {seconds:.1} s");
            self.costs.database_bytes_of_entity =
                self.database.size_bytes().saturating_sub(before) as f64 / count as f64;
            if name == "many" {
                let rate = count as f64 / seconds;
                self.section.note(format!(
                    "{rate:.0} rows per s were created by $batch of 1,000 over one connection"
                ));
            }
        }
        self.database.settle();
        Ok(())
    }

    /// W1.
    async fn read_by_key(&mut self) -> BenchResult {
        let generator = requests::reads(&self.cell, self.context.options.many);
        let (mut runs, mut bare, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.context.options.runs {
            let found = self.measure(1, READERS, &generator).await?;
            let rate = self.database.bare_reads(self.context, READERS)?;
            ratios.push(found.nodes.per_second / rate);
            bare.push(rate);
            runs.push(found);
        }
        let found = loads::median(&runs);
        self.report("W1, OData GET by key", found);
        self.section.measured_rate(
            "W1, bare loop: SELECT by primary key, same driver, pool and concurrency",
            load::median_of(bare),
        );
        self.section.require(
            "W1: rate over the bare loop's",
            load::median_of(ratios),
            Bound::AtLeast,
            0.5,
        );
        self.costs.read = found.cost();
        Ok(())
    }

    /// W2.
    async fn list(&mut self) -> BenchResult {
        let mut totals = Vec::new();
        let large = self.context.options.many;
        for (name, count) in [("small", SMALL_ROWS), ("many", large)] {
            let path = format!("/{}/box/{name}/Row", self.cell.name);
            let generator = list_entities::generator(&path, &self.cell.bearer, "");
            let found = self.measure_runs(&generator).await?;
            self.report(&format!("W2, list of 25 out of {count}"), found);
            totals.push(found.cost().total_us());
            self.costs.list = found.cost();
        }
        if let [small, large] = totals[..] {
            self.section.require(
                "W2: processor time of node and database out of the large collection over the small one's",
                large / small,
                Bound::AtMost,
                1.5,
            );
        }
        Ok(())
    }

    /// Small files: GET and PUT of 1 KB.
    async fn files(&mut self) -> BenchResult {
        let cell = self.cell.name.clone();
        for number in 0..requests::FILES {
            let path = format!("/{cell}/box/file{number}");
            self.first()?.call("PUT", &path, &[], b"x").await?;
        }
        let (get, put) = (
            requests::files(&self.cell, "GET"),
            requests::files(&self.cell, "PUT"),
        );
        for (name, generator, is_get) in [("PUT", put, false), ("GET", get, true)] {
            let found = self.measure_runs(&generator).await?;
            self.report(&format!("{name} of files of 1 KB"), found);
            if is_get {
                self.costs.file_read = found.cost();
            } else {
                self.costs.file_write = found.cost();
            }
        }
        Ok(())
    }

    /// W4.
    async fn create_in_one_cell(&mut self) -> BenchResult {
        let node = self.first()?;
        let cell = node.create_cell("createone").await?;
        node.create_collection(&cell.name, "rows").await?;
        let ratio = self
            .create("W4, creations in one cell", &[cell], 64)
            .await?;
        self.section.require(
            "W4: rate over that of a bare loop of equal transactions",
            ratio,
            Bound::AtLeast,
            0.5,
        );
        Ok(())
    }

    /// W3.
    async fn create_in_many_cells(&mut self) -> BenchResult<Vec<BenchCell>> {
        let mut cells = Vec::new();
        for number in 0..CELLS {
            let node = self.first()?;
            let cell = node.create_cell(&format!("create{number:03}")).await?;
            node.create_collection(&cell.name, "rows").await?;
            cells.push(cell);
        }
        let ratio = self
            .create("W3, creations in 100 cells", &cells, 16)
            .await?;
        self.section.require(
            "W3: rate over that of a bare loop of equal transactions",
            ratio,
            Bound::AtLeast,
            0.6,
        );
        Ok(cells)
    }

    /// Creates entities. Returns the rate over that of a bare loop.
    async fn create(
        &mut self,
        name: &str,
        cells: &[BenchCell],
        connections: usize,
    ) -> BenchResult<f64> {
        let created = Arc::new(AtomicU64::new(0));
        let generator = create_entities::generator(cells, Arc::clone(&created));
        let spaces = cells.len() as u64;
        let mut runs = Vec::new();
        let (mut bare, mut groups, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.context.options.runs {
            let before = self.database.commits()?;
            let found = self.measure(1, connections, &generator).await?;
            let group = self.database.commits()?.mean_group_since(before);
            let tasks = spaces.min(connections as u64);
            let load = (spaces, tasks, group);
            let rate = self.database.bare_writes(self.context, load)?;
            ratios.push(found.nodes.per_second / rate);
            runs.push(found);
            bare.push(rate);
            groups.push(group);
        }
        let acknowledged = created.load(Ordering::Relaxed);
        let found = create_entities::count_rows(self.first()?, cells).await?;
        if found != acknowledged {
            return Err(format!(
                "{acknowledged} rows were acknowledged, {found} were found"
            ));
        }
        let (found, bare, group) = (
            loads::median(&runs),
            load::median_of(bare),
            load::median_of(groups),
        );
        self.report(&format!("{name}, {connections} connections"), found);
        self.section.measured_rate(
            format!("{name}: bare loop, {group:.1} entities in a transaction"),
            bare,
        );
        self.costs.create = found.cost();
        Ok(load::median_of(ratios))
    }

    /// One, two and four nodes.
    async fn several_nodes(&mut self, cells: &[BenchCell]) -> BenchResult {
        for number in 1..NODES.into_iter().max().unwrap_or(1) {
            let node = self.database.start_node(self.context, number).await?;
            self.nodes.push(node);
        }
        let generator = requests::mixed(&self.cell, self.context.options.many, cells);
        let busy = self
            .rounds(self.context.options.runs, None, &generator)
            .await?;
        for (runs, count) in busy.iter().zip(NODES) {
            let found = loads::median(runs);
            self.report(&format!("{count} nodes, 1 of 10 creates"), found);
            self.costs
                .nodes
                .push((count, found.nodes.per_second, found.cost()));
        }
        let rounds = ROUNDS_PER_RUN * self.context.options.runs;
        let at_rate = self.rounds(rounds, Some(RATE_OF_NODE), &generator).await?;
        for (runs, count) in at_rate.iter().zip(NODES) {
            let name = format!("{count} nodes, 1 of 10 creates, {RATE_OF_NODE} per s and node");
            self.report(&name, loads::median(runs));
        }
        self.require_equal_costs(&at_rate);
        Ok(())
    }

    /// Runs the load with each number of nodes in turn, so many times. `rate`: the requests per second of each node. Returns the runs of
    /// each number.
    async fn rounds(
        &self,
        rounds: usize,
        rate: Option<f64>,
        generator: &RequestGenerator,
    ) -> BenchResult<Vec<Vec<LayersMeasurement>>> {
        let mut runs: Vec<Vec<LayersMeasurement>> = vec![Vec::new(); NODES.len()];
        for round in 0..rounds {
            // What the database does by itself, such as a checkpoint, must not meet the same number of nodes each time.
            let mut order: Vec<usize> = (0..NODES.len()).collect();
            order.rotate_left(round % NODES.len());
            for place in order {
                let (Some(of_count), Some(&count)) = (runs.get_mut(place), NODES.get(place)) else {
                    continue;
                };
                let profile = LoadProfile {
                    rate: rate.map(|rate| rate * count as f64),
                    ..self.context.profile(READERS_OF_NODE * count)
                };
                of_count.push(self.measure_load(count, profile, generator).await?);
            }
        }
        Ok(runs)
    }

    /// A request must not cost more with several nodes than with one, at the same rate of each, in all runs together.
    fn require_equal_costs(&mut self, runs: &[Vec<LayersMeasurement>]) {
        let Some(one) = runs.first() else {
            return;
        };
        let parts: [(&str, PartOfCost); 2] = [
            ("nodes", |cost| cost.node_us),
            ("database", |cost| cost.database_us),
        ];
        for (runs, count) in runs.iter().zip(NODES).skip(1) {
            for (name, of) in parts {
                self.section.require(
                    format!(
                        "{count} nodes: processor time of {name} a request over that with one node"
                    ),
                    loads::mean_cost(runs, of) / loads::mean_cost(one, of),
                    Bound::AtMost,
                    1.1,
                );
            }
        }
    }

    /// Measures the growth of memory and disk.
    async fn growth(&mut self, cells: &[BenchCell]) -> BenchResult {
        let Some(last) = self.nodes.last() else {
            return Ok(());
        };
        let growth = Growth::measure(last, cells).await?;
        self.costs.node_bytes = last.monitor().resident_bytes() as f64;
        self.costs.node_bytes_of_connection = growth.of_connection;
        self.costs.node_bytes_of_cell = growth.of_cell;
        self.costs.database_bytes_of_connection =
            self.database.monitor().private_bytes_of_children();
        self.section.note(format!(
            "memory: {:.1} KB for a connection of a client, {:.1} KB for a cell in the memory of a node, {:.1} MB for a connection to the database; \
             {:.0} bytes of the database for an entity with its index entries",
            growth.of_connection / 1e3,
            growth.of_cell / 1e3,
            self.costs.database_bytes_of_connection / 1e6,
            self.costs.database_bytes_of_entity,
        ));
        Ok(())
    }

    async fn measure(
        &self,
        nodes: usize,
        connections: usize,
        generator: &RequestGenerator,
    ) -> BenchResult<LayersMeasurement> {
        let profile = self.context.profile(connections);
        self.measure_load(nodes, profile, generator).await
    }

    async fn measure_load(
        &self,
        nodes: usize,
        profile: LoadProfile,
        generator: &RequestGenerator,
    ) -> BenchResult<LayersMeasurement> {
        let targets: Vec<_> = self
            .nodes
            .iter()
            .take(nodes)
            .map(BenchUnit::target)
            .collect();
        loads::run(&targets, self.database.monitor(), profile, generator).await
    }

    async fn measure_runs(&self, generator: &RequestGenerator) -> BenchResult<LayersMeasurement> {
        let mut runs = Vec::new();
        for _ in 0..self.context.options.runs {
            runs.push(self.measure(1, READERS, generator).await?);
        }
        Ok(loads::median(&runs))
    }

    fn report(&mut self, name: &str, found: LayersMeasurement) {
        self.section.measured(name, found.nodes);
        let cost = found.cost();
        let (node, database) = (cost.node_us, cost.database_us);
        let note = format!("{name}: {node:.0} µs of node, {database:.0} µs of database a request");
        eprintln!("{note}");
        self.section.note(note);
    }
}
