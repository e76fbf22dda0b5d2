//! The baselines of units over PostgreSQL: bare loops over the same driver, with a pool of the same size.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use deadpool_postgres::{Hook, HookError, Manager, Pool};
use futures_util::FutureExt;
use personium_testkit::SplitMix64;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, NoTls, Statement};

use crate::{BenchResult, rows};

/// The database and the amount of work.
#[derive(Args, Clone)]
pub(crate) struct DatabaseLoad {
    /// The port of the server on 127.0.0.1.
    #[arg(long)]
    port: u16,
    #[arg(long)]
    user: String,
    #[arg(long)]
    database: String,
    /// The size of the pool of connections.
    #[arg(long)]
    pool: usize,
    /// The number of tasks that work at the same time.
    #[arg(long)]
    tasks: u64,
    #[arg(long)]
    seconds: f64,
}

/// The transactions of a load that writes.
#[derive(Args, Clone)]
pub(crate) struct DatabaseWrites {
    #[command(flatten)]
    load: DatabaseLoad,
    /// The number of spaces; each belongs to one task.
    #[arg(long)]
    spaces: u64,
    /// Entities per transaction.
    #[arg(long)]
    group: f64,
    /// Index entries per entity.
    #[arg(long)]
    entries: u64,
}

/// The settings of a session, as those of a unit.
const SESSION: &str =
    "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET jit = off";
/// The time before the measurement.
const WARM_UP: Duration = Duration::from_secs(1);
/// The number of keys of entities from which the reading loop chooses.
const READ_KEYS: i64 = 50_000;
/// The least length of the value of a row in bytes: index entries are shorter.
const ROW_BYTES: i32 = 700;
/// The key of the counter of the bytes that a space has.
const USED_BYTES: &[u8] = b"bytes of entities";
/// The numbers of records of one statement.
const PUT_SIZES: [usize; 7] = [64, 32, 16, 8, 4, 2, 1];

/// Reads entities by their primary keys. Returns their number per second.
///
/// # Errors
/// A message if the database reports an error.
pub(crate) fn reads(load: DatabaseLoad) -> BenchResult<f64> {
    runtime()?.block_on(async move {
        let pool = pool(&load)?;
        let client = pool.get().await.map_err(failed)?;
        let found = client
            .query(
                "SELECT space, key FROM personium.records TABLESAMPLE SYSTEM (10) \
                 WHERE length(value) > $1 LIMIT $2",
                &[&ROW_BYTES, &READ_KEYS],
            )
            .await
            .map_err(failed)?;
        drop(client);
        open_all(&pool, load.pool).await?;
        let keys: Vec<(Vec<u8>, Vec<u8>)> =
            found.iter().map(|row| (row.get(0), row.get(1))).collect();
        let keys = Arc::new(keys);
        run(&load, move |task, period| {
            read(pool.clone(), Arc::clone(&keys), (task, period))
        })
        .await
    })
}

async fn read(
    pool: Pool,
    keys: Arc<Vec<(Vec<u8>, Vec<u8>)>>,
    (task, period): (u64, Period),
) -> BenchResult<f64> {
    const TEXT: &str = "SELECT value FROM personium.records WHERE space = $1 AND key = $2";
    let mut random = SplitMix64::new(task + 1);
    let mut count = 0.0;
    while let Some(is_counted) = period.now() {
        let index = usize::try_from(random.below(keys.len() as u64)).unwrap_or(0);
        let (space, key) = keys.get(index).ok_or("there are no rows")?;
        let client = pool.get().await.map_err(failed)?;
        let statement = client.prepare_cached(TEXT).await.map_err(failed)?;
        let row = client
            .query_one(&statement, &[space, key])
            .await
            .map_err(failed)?;
        let value: &[u8] = row.get(0);
        if value.is_empty() {
            return Err("a row is empty".to_owned());
        }
        count += is_counted;
    }
    Ok(count)
}

/// Writes entities with their index entries and adds their sizes to the counter of the space, as a unit does: the lock of the space
/// and the versions that are asserted in one round trip, the records and the commit in another. Returns the number of entities per
/// second.
///
/// # Errors
/// A message if the database reports an error.
pub(crate) fn writes(writes: DatabaseWrites) -> BenchResult<f64> {
    runtime()?.block_on(async move {
        let pool = pool(&writes.load)?;
        let client = pool.get().await.map_err(failed)?;
        for number in 0..writes.spaces {
            client
                .execute(
                    "INSERT INTO personium.spaces (space) VALUES ($1) ON CONFLICT DO NOTHING",
                    &[&space(number)],
                )
                .await
                .map_err(failed)?;
        }
        drop(client);
        open_all(&pool, writes.load.pool).await?;
        let load = writes.load.clone();
        let first = first_number();
        run(&load, move |task, period| {
            let writer = Writer {
                writes: writes.clone(),
                task,
                next: first,
            };
            writer.run(pool.clone(), period)
        })
        .await
    })
}

/// A number that no earlier run has used for a row.
fn first_number() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(0))
}

fn space(number: u64) -> Vec<u8> {
    format!("bare-space-{number:05}").into_bytes()
}

/// One task that writes.
struct Writer {
    writes: DatabaseWrites,
    task: u64,
    next: u64,
}

impl Writer {
    async fn run(mut self, pool: Pool, period: Period) -> BenchResult<f64> {
        let tasks = self.writes.load.tasks;
        let spaces: Vec<Vec<u8>> = (0..self.writes.spaces)
            .filter(|number| number % tasks == self.task)
            .map(space)
            .collect();
        let (mut written, mut due, mut transactions) = (0.0, 0.0, 0);
        while let Some(is_counted) = period.now() {
            // The mean of the groups need not be a whole number.
            due += self.writes.group;
            let group = (due as u64).max(1);
            due -= group as f64;
            let index = transactions % spaces.len().max(1);
            let space = spaces
                .get(index)
                .ok_or("there are more tasks than spaces")?;
            let client = pool.get().await.map_err(failed)?;
            self.transaction(&client, space, group).await?;
            written += is_counted * group as f64;
            transactions += 1;
        }
        Ok(written)
    }

    async fn transaction(
        &mut self,
        client: &deadpool_postgres::Object,
        space: &Vec<u8>,
        group: u64,
    ) -> BenchResult {
        const LOCK: &str = "UPDATE personium.spaces SET stamp = stamp + $2, writes = writes + 1, \
             writers = substr($3 || writers, 1, 256) WHERE space = $1 \
             RETURNING stamp, structure, sealed, dropped, writes, writers";
        const VERSIONS: &str = "SELECT key, version, sum, CASE WHEN length(value) = 8 THEN value END \
             FROM personium.records WHERE space = $1 AND key = ANY($2)";
        let records = self.records(group);
        let asserted: Vec<&[u8]> = records
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, _)| &key[..])
            .chain([USED_BYTES])
            .collect();
        let lock = client
            .prepare_typed_cached(LOCK, &[Type::BYTEA, Type::INT8, Type::BYTEA])
            .await
            .map_err(failed)?;
        let versions = client
            .prepare_typed_cached(VERSIONS, &[Type::BYTEA, Type::BYTEA_ARRAY])
            .await
            .map_err(failed)?;
        let (commits, id) = (group as i64, &b"12345678"[..]);
        let locking: [&(dyn ToSql + Sync); 3] = [space, &commits, &id];
        let reading: [&(dyn ToSql + Sync); 2] = [space, &asserted];
        let (begun, locked, read) = tokio::join!(
            client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED"),
            client.query(&lock, &locking),
            client.query(&versions, &reading),
        );
        begun.map_err(failed)?;
        locked.map_err(failed)?;
        read.map_err(failed)?;
        self.put_and_commit(client, space, &records).await
    }

    async fn put_and_commit(
        &self,
        client: &deadpool_postgres::Object,
        space: &Vec<u8>,
        records: &[(Vec<u8>, Vec<u8>)],
    ) -> BenchResult {
        let (version, sum) = (1_i64, 7_i64);
        let counter = [(USED_BYTES.to_vec(), self.next.to_le_bytes().to_vec())];
        let mut puts: Vec<(Statement, Vec<&(dyn ToSql + Sync)>)> = Vec::new();
        for now in statements(records).chain([&counter[..]]) {
            let size = now.len();
            let (text, types) = put_statement(size);
            let statement = client
                .prepare_typed_cached(&text, &types)
                .await
                .map_err(failed)?;
            let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![space];
            for (key, value) in now {
                parameters.extend([key as &(dyn ToSql + Sync), value, &version, &sum]);
            }
            puts.push((statement, parameters));
        }
        let sent = puts
            .iter()
            .map(|(statement, parameters)| client.query(statement, parameters));
        let (put, committed) = tokio::join!(
            futures_util::future::try_join_all(sent),
            client.batch_execute("COMMIT"),
        );
        put.map_err(failed)?;
        committed.map_err(failed)
    }

    /// The records of some entities: each has its value, and index entries without one.
    fn records(&mut self, group: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut records = Vec::new();
        for _ in 0..group {
            let number = self.next * self.writes.load.tasks + self.task;
            self.next += 1;
            let key = rows::key(number);
            records.push((
                format!("entity of one set/{key}").into_bytes(),
                rows::json(number).into_bytes(),
            ));
            for entry in 0..self.writes.entries {
                let key = super::record_writes::index_key(number, entry, self.writes.entries);
                records.push((key.into_bytes(), Vec::new()));
            }
        }
        records
    }
}

/// The records of each statement.
fn statements<R>(records: &[R]) -> impl Iterator<Item = &[R]> {
    let mut rest = records;
    std::iter::from_fn(move || {
        let mut sizes = PUT_SIZES.into_iter();
        let size = sizes.find(|size| *size <= rest.len())?;
        let (now, later) = rest.split_at(size);
        rest = later;
        Some(now)
    })
}

fn put_statement(records: usize) -> (String, Vec<Type>) {
    let row = |n: usize| {
        let first = 4 * n + 2;
        format!(
            "($1, ${first}, ${}, ${}, ${})",
            first + 1,
            first + 2,
            first + 3
        )
    };
    let values: Vec<String> = (0..records).map(row).collect();
    let text = format!(
        "INSERT INTO personium.records (space, key, value, version, sum) VALUES {} \
         ON CONFLICT (space, key) DO UPDATE \
         SET value = excluded.value, version = excluded.version, sum = excluded.sum",
        values.join(", ")
    );
    let of_row = [Type::BYTEA, Type::BYTEA, Type::INT8, Type::INT8];
    let types = std::iter::once(Type::BYTEA).chain((0..records).flat_map(|_| of_row.clone()));
    (text, types.collect())
}

/// The time in which tasks work.
#[derive(Clone, Copy)]
struct Period {
    /// The end of the warm-up.
    start: Instant,
    end: Instant,
}

impl Period {
    /// The count of what begins now: 0 during the warm-up, then 1; `None` after the end.
    fn now(self) -> Option<f64> {
        let now = Instant::now();
        let count = if now < self.start { 0.0 } else { 1.0 };
        (now < self.end).then_some(count)
    }
}

/// Runs the tasks until the time is over. Returns the sum of their counts per second.
async fn run<F, Fut>(load: &DatabaseLoad, task: F) -> BenchResult<f64>
where
    F: Fn(u64, Period) -> Fut,
    Fut: Future<Output = BenchResult<f64>> + Send + 'static,
{
    let start = Instant::now() + WARM_UP;
    let end = start + Duration::from_secs_f64(load.seconds);
    let period = Period { start, end };
    let tasks: Vec<_> = (0..load.tasks)
        .map(|number| tokio::spawn(task(number, period)))
        .collect();
    let mut count = 0.0;
    for task in tasks {
        count += task
            .await
            .map_err(|error| format!("a task failed: {error}"))??;
    }
    Ok(count / start.elapsed().as_secs_f64())
}

/// Opens all connections of a pool.
async fn open_all(pool: &Pool, size: usize) -> BenchResult {
    let opened = (0..size).map(|_| pool.get());
    futures_util::future::try_join_all(opened)
        .await
        .map(drop)
        .map_err(failed)
}

fn pool(load: &DatabaseLoad) -> BenchResult<Pool> {
    let mut config = Config::new();
    config
        .host("127.0.0.1")
        .port(load.port)
        .user(&load.user)
        .dbname(&load.database);
    let session = Hook::async_fn(|client, _| {
        let client: &Client = client;
        async move {
            client
                .batch_execute(SESSION)
                .await
                .map_err(HookError::Backend)
        }
        .boxed()
    });
    Pool::builder(Manager::new(config, NoTls))
        .max_size(load.pool)
        .post_create(session)
        .build()
        .map_err(|error| format!("cannot make a pool: {error}"))
}

fn runtime() -> BenchResult<tokio::runtime::Runtime> {
    crate::runtime(&mut tokio::runtime::Builder::new_multi_thread())
}

fn failed(error: impl std::error::Error) -> String {
    format!(
        "the database failed: {error} {:?}",
        error.source().map(ToString::to_string)
    )
}
