//! The load generator: some connections, each asking again as soon as it was answered, for a fixed time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::connection::{Body, Connection};
use crate::process::Watched;
use crate::random::Random;

const WARMING: u8 = 0;
const MEASURING: u8 = 1;
const OVER: u8 = 2;

/// One request and the statuses that count as success.
pub(crate) struct Shot {
    /// The whole request.
    pub(crate) bytes: Vec<u8>,
    /// Any of these is an answer as wished.
    pub(crate) wished: &'static [u16],
}

/// Makes the next request; the number counts all requests of the run.
pub(crate) type Maker = Arc<dyn Fn(&mut Random, u64) -> Shot + Send + Sync>;

/// How a run is driven.
#[derive(Clone, Copy)]
pub(crate) struct Drive {
    /// Connections that ask at the same time.
    pub(crate) connections: usize,
    /// Time before figures are taken.
    pub(crate) warm_up: Duration,
    /// Time during which they are.
    pub(crate) time: Duration,
}

/// Figures of one run.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Figures {
    /// Answers as wished per second.
    pub(crate) per_second: f64,
    /// Half of the answers came within so many microseconds.
    pub(crate) p50: f64,
    /// 99 of 100 answers came within so many microseconds.
    pub(crate) p99: f64,
    /// Microseconds of processor time that the server spent for an answer.
    pub(crate) cpu: f64,
    /// Bytes of bodies per second.
    pub(crate) bytes_per_second: f64,
    /// The most memory the server held during the run, in bytes.
    pub(crate) peak: u64,
}

struct Shared {
    phase: AtomicU8,
    sequence: AtomicU64,
}

#[derive(Default)]
struct Tally {
    latencies: Vec<u32>,
    bytes: u64,
    wrong: u64,
    first_wrong: Option<String>,
}

/// Runs the load against a port while watching the server's process.
///
/// # Errors
/// When a connection breaks, or more than one in a thousand answers is not as wished: such a run is void.
pub(crate) async fn run(
    port: u16,
    drive: Drive,
    watched: &Watched,
    maker: &Maker,
) -> Outcome<Figures> {
    let shared = Arc::new(Shared {
        phase: AtomicU8::new(WARMING),
        sequence: AtomicU64::new(0),
    });
    let mut tasks = Vec::new();
    for number in 0..drive.connections {
        let connection = Connection::open(port)
            .await
            .map_err(|e| format!("cannot connect to port {port}: {e}"))?;
        tasks.push(tokio::spawn(ask(
            connection,
            number as u64,
            Arc::clone(&shared),
            Arc::clone(maker),
        )));
    }
    tokio::time::sleep(drive.warm_up).await;
    watched.forget_peak();
    let (before, began) = (watched.cpu()?, Instant::now());
    shared.phase.store(MEASURING, Ordering::Relaxed);
    tokio::time::sleep(drive.time).await;
    shared.phase.store(OVER, Ordering::Relaxed);
    let (elapsed, after, peak) = (began.elapsed(), watched.cpu()?, watched.peak());
    let mut all = Tally::default();
    for task in tasks {
        let tally = task
            .await
            .map_err(|e| format!("a connection ended: {e}"))??;
        all.latencies.extend(tally.latencies);
        all.bytes += tally.bytes;
        all.wrong += tally.wrong;
        all.first_wrong = all.first_wrong.or(tally.first_wrong);
    }
    figures(all, elapsed, after.saturating_sub(before), peak)
}

fn figures(mut all: Tally, elapsed: Duration, cpu: Duration, peak: u64) -> Outcome<Figures> {
    let answers = all.latencies.len() as u64;
    if all.wrong * 1000 > answers + all.wrong || answers == 0 {
        let first = all
            .first_wrong
            .unwrap_or_else(|| "no answer at all".to_owned());
        return Err(format!(
            "void: {} of {} answers are not as wished; the first: {first}",
            all.wrong,
            answers + all.wrong
        ));
    }
    all.latencies.sort_unstable();
    let at = |share: f64| {
        let position = (all.latencies.len() as f64 * share) as usize;
        all.latencies
            .get(position.min(all.latencies.len() - 1))
            .copied()
            .map_or(0.0, f64::from)
    };
    Ok(Figures {
        per_second: answers as f64 / elapsed.as_secs_f64(),
        p50: at(0.5),
        p99: at(0.99),
        cpu: cpu.as_secs_f64() * 1e6 / answers as f64,
        bytes_per_second: all.bytes as f64 / elapsed.as_secs_f64(),
        peak,
    })
}

async fn ask(
    mut connection: Connection,
    number: u64,
    shared: Arc<Shared>,
    maker: Maker,
) -> Outcome<Tally> {
    let mut random = Random::new(number + 1);
    let mut tally = Tally::default();
    loop {
        let shot = maker(&mut random, shared.sequence.fetch_add(1, Ordering::Relaxed));
        let asked = Instant::now();
        let answer = connection
            .exchange(&shot.bytes, Body::Count)
            .await
            .map_err(|e| format!("a connection broke: {e}"))?;
        let took = asked.elapsed();
        let phase = shared.phase.load(Ordering::Relaxed);
        if phase == OVER {
            return Ok(tally);
        }
        if !shot.wished.contains(&answer.status) {
            tally.wrong += 1;
            tally.first_wrong.get_or_insert_with(|| {
                let line = shot.bytes.split(|b| *b == b'\r').next().unwrap_or_default();
                format!("{} to {}", answer.status, String::from_utf8_lossy(line))
            });
        } else if phase == MEASURING {
            tally
                .latencies
                .push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
            tally.bytes += answer.length;
        }
    }
}

/// The median of each figure over some runs; the peak is the largest.
pub(crate) fn median(runs: &[Figures]) -> Figures {
    let middle = |pick: fn(&Figures) -> f64| {
        let mut values: Vec<f64> = runs.iter().map(pick).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    Figures {
        per_second: middle(|f| f.per_second),
        p50: middle(|f| f.p50),
        p99: middle(|f| f.p99),
        cpu: middle(|f| f.cpu),
        bytes_per_second: middle(|f| f.bytes_per_second),
        peak: runs.iter().map(|f| f.peak).max().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_with_many_faults_is_void() {
        let tally = |wrong| Tally {
            latencies: vec![10; 1000],
            bytes: 0,
            wrong,
            first_wrong: Some("500".into()),
        };
        assert!(figures(tally(1), Duration::from_secs(1), Duration::from_secs(1), 0).is_ok());
        assert!(figures(tally(2), Duration::from_secs(1), Duration::from_secs(1), 0).is_err());
        assert!(figures(Tally::default(), Duration::from_secs(1), Duration::ZERO, 0).is_err());
    }

    #[test]
    fn figures_are_what_they_say() {
        let tally = Tally {
            latencies: (1..=100).rev().collect(),
            bytes: 400,
            ..Tally::default()
        };
        let found = figures(tally, Duration::from_secs(2), Duration::from_millis(1), 7).unwrap();
        assert_eq!(
            (
                found.per_second,
                found.p50,
                found.p99,
                found.cpu,
                found.bytes_per_second
            ),
            (50.0, 51.0, 100.0, 10.0, 200.0)
        );
        let other = Figures {
            p50: 1.0,
            peak: 9,
            ..found
        };
        let middle = median(&[found, other, Figures { p50: 60.0, ..found }]);
        assert_eq!((middle.p50, middle.peak), (51.0, 9));
    }

    #[tokio::test]
    async fn a_load_counts_what_was_answered_as_wished() {
        let app = axum::Router::new().route("/there", axum::routing::get(|| async { "abc" }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { axum::serve(listener, app).await });
        let drive = Drive {
            connections: 3,
            warm_up: Duration::from_millis(50),
            time: Duration::from_millis(200),
        };
        let asking = |path: &'static str| -> Maker {
            Arc::new(move |_, _| Shot {
                bytes: crate::connection::request("GET", path, &[], b""),
                wished: &[200],
            })
        };
        let found = run(port, drive, &Watched::this(), &asking("/there"))
            .await
            .unwrap();
        assert!(
            found.per_second > 0.0 && found.p99 >= found.p50 && found.peak > 0,
            "{found:?}"
        );
        assert!(
            (found.bytes_per_second / found.per_second - 3.0).abs() < 1e-6,
            "{found:?}"
        );
        assert!(
            run(port, drive, &Watched::this(), &asking("/absent"))
                .await
                .unwrap_err()
                .contains("404")
        );
    }
}
