//! Loads on several nodes, with the processor time of nodes and database.

use std::sync::Arc;

use crate::BenchResult;
use crate::load::{self, LoadProfile, Measurement, RequestGenerator, Target};
use crate::server_process::ProcessMonitor;
use crate::sizing::Cost;

/// The results of a load on nodes over one database.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LayersMeasurement {
    /// That of the nodes together: sums of rates, means of times and of the processor time of a request.
    pub(super) nodes: Measurement,
    /// The processor time of the database per request in microseconds.
    pub(super) database_cpu_us: f64,
}

impl LayersMeasurement {
    /// The processor time of a request.
    pub(super) fn cost(&self) -> Cost {
        Cost {
            node_us: self.nodes.cpu_us,
            database_us: self.database_cpu_us,
        }
    }
}

/// Runs a load, divided equally among nodes.
///
/// # Errors
/// As [`load::run`].
pub(super) async fn run(
    nodes: &[Target],
    database: ProcessMonitor,
    profile: LoadProfile,
    generator: &RequestGenerator,
) -> BenchResult<LayersMeasurement> {
    let each = LoadProfile {
        connections: (profile.connections / nodes.len().max(1)).max(1),
        rate: profile.rate.map(|rate| rate / nodes.len().max(1) as f64),
        ..profile
    };
    let loads: Vec<_> = nodes
        .iter()
        .map(|node| {
            let (node, generator) = (*node, Arc::clone(generator));
            tokio::spawn(async move { load::run(node, each, &generator).await })
        })
        .collect();
    tokio::time::sleep(profile.warm_up).await;
    let before = database.cpu_time()?;
    tokio::time::sleep(profile.duration).await;
    let cpu = database.cpu_time()?.saturating_sub(before);
    let mut found = Vec::new();
    for load in loads {
        let measured = load
            .await
            .map_err(|error| format!("a load failed: {error}"))?;
        found.push(measured?);
    }
    let nodes = sum(&found);
    let requests = nodes.per_second * profile.duration.as_secs_f64();
    Ok(LayersMeasurement {
        nodes,
        database_cpu_us: cpu.as_secs_f64() * 1e6 / requests,
    })
}

fn sum(found: &[Measurement]) -> Measurement {
    let total = |field: fn(&Measurement) -> f64| found.iter().map(field).sum::<f64>();
    let per_second = total(|m| m.per_second);
    let mean = |field: fn(&Measurement) -> f64| {
        let weighted: f64 = found.iter().map(|m| field(m) * m.per_second).sum();
        weighted / per_second
    };
    Measurement {
        per_second,
        p50_us: mean(|m| m.p50_us),
        p99_us: mean(|m| m.p99_us),
        cpu_us: mean(|m| m.cpu_us),
        bytes_per_second: total(|m| m.bytes_per_second),
        peak_bytes: found.iter().map(|m| m.peak_bytes).sum(),
    }
}

/// Returns the median of each result.
pub(super) fn median(runs: &[LayersMeasurement]) -> LayersMeasurement {
    let nodes: Vec<Measurement> = runs.iter().map(|run| run.nodes).collect();
    LayersMeasurement {
        nodes: load::median(&nodes),
        database_cpu_us: load::median_of(runs.iter().map(|run| run.database_cpu_us).collect()),
    }
}

/// Returns a part of the processor time of a request: that of all runs over all their requests, which take the same time each.
pub(super) fn mean_cost(runs: &[LayersMeasurement], part: fn(Cost) -> f64) -> f64 {
    let requests: f64 = runs.iter().map(|run| run.nodes.per_second).sum();
    let of_run = |run: &LayersMeasurement| run.nodes.per_second * part(run.cost());
    runs.iter().map(of_run).sum::<f64>() / requests
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cost_of_runs_is_weighted_by_their_requests() {
        let of = |per_second, database_cpu_us| LayersMeasurement {
            nodes: Measurement {
                per_second,
                ..Measurement::default()
            },
            database_cpu_us,
        };
        let found = mean_cost(&[of(300.0, 10.0), of(100.0, 50.0)], |cost| cost.database_us);
        assert!((found - 20.0).abs() < 1e-9);
    }

    #[test]
    fn nodes_are_summed_and_their_times_weighted_by_their_rates() {
        let of = |per_second, cpu_us| Measurement {
            per_second,
            cpu_us,
            ..Measurement::default()
        };
        let found = sum(&[of(300.0, 10.0), of(100.0, 50.0)]);
        assert_eq!((found.per_second, found.cpu_us), (400.0, 20.0));
    }
}
