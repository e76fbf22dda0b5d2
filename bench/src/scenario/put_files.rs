//! W8: storing files of 1 KB, new and replaced, of 4 KB and of 1 MB; durable before the response.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use personium_testkit::request_bytes;

use super::BenchContext;
use crate::load::{self, LoadRequest, Measurement, RequestGenerator};
use crate::report::{Bound, Section};
use crate::{BenchResult, baseline};

const CONNECTIONS: usize = 16;

/// The files of one measurement.
struct PutLoad {
    description: &'static str,
    bytes: usize,
    /// The number of files that are replaced again and again; `None` creates new ones.
    replaced: Option<u64>,
    /// The least rate, divided by that of the baseline.
    min_ratio: f64,
}

const LOADS: [PutLoad; 4] = [
    PutLoad {
        description: "new files of 1 KB",
        bytes: 1024,
        replaced: None,
        min_ratio: 0.5,
    },
    PutLoad {
        description: "replaced files of 1 KB",
        bytes: 1024,
        replaced: Some(200),
        min_ratio: 0.5,
    },
    PutLoad {
        description: "new files of 4 KB",
        bytes: 4096,
        replaced: None,
        min_ratio: 0.7,
    },
    PutLoad {
        description: "new files of 1 MB",
        bytes: 1 << 20,
        replaced: None,
        min_ratio: 0.5,
    },
];

/// The rates of the unit and of the baseline.
struct PutRates {
    subject: Measurement,
    baseline_per_second: f64,
}

pub(super) async fn run(context: &mut BenchContext) -> BenchResult<Section> {
    let bearer = context.new_bearer().await?;
    let mkcol = "<D:mkcol xmlns:D=\"DAV:\"><D:set><D:prop><D:resourcetype><D:collection/></D:resourcetype></D:prop></D:set></D:mkcol>";
    let folder = format!("/{}/box/put", context.cell.name);
    let headers = [("Content-Type", "application/xml")];
    context
        .unit
        .call("MKCOL", &folder, &headers, mkcol.as_bytes())
        .await?;
    let mut section = Section::new("W8");
    for load in &LOADS {
        let rates = measure(context, load, &generator(load, &folder, &bearer)).await?;
        let (description, bytes) = (load.description, load.bytes);
        section.measured(
            format!("PUT of {description}, {CONNECTIONS} connections"),
            rates.subject,
        );
        section.measured_rate(
            format!("baseline: {CONNECTIONS} threads write, sync and rename {bytes} bytes"),
            rates.baseline_per_second,
        );
        section.require(
            format!("{description}: rate over the baseline's"),
            rates.subject.per_second / rates.baseline_per_second,
            Bound::AtLeast,
            load.min_ratio,
        );
    }
    Ok(section)
}

fn generator(load: &PutLoad, folder: &str, bearer: &str) -> RequestGenerator {
    let body = vec![b'x'; load.bytes];
    let kind = load.replaced.map_or("new", |_| "replaced");
    let prefix = format!("{folder}/{}-{kind}", load.bytes);
    let (bearer, replaced) = (bearer.to_owned(), load.replaced);
    let created = AtomicU64::new(0);
    Arc::new(move |random, _| {
        let number = replaced.map_or_else(
            || created.fetch_add(1, Ordering::Relaxed),
            |count| random.below(count),
        );
        let headers = [
            ("Authorization", bearer.as_str()),
            ("Content-Type", "application/octet-stream"),
        ];
        LoadRequest {
            bytes: request_bytes("PUT", &format!("{prefix}{number}"), &headers, &body),
            expected: &[201, 204],
        }
    })
}

async fn measure(
    context: &BenchContext,
    load: &PutLoad,
    generator: &RequestGenerator,
) -> BenchResult<PutRates> {
    let profile = context.profile(CONNECTIONS);
    let folder = context.scratch.join("baseline-bodies");
    let (mut subject_runs, mut baseline_rates) = (Vec::new(), Vec::new());
    for _ in 0..context.options.runs {
        subject_runs.push(load::run(context.unit.target(), profile, generator).await?);
        baseline_rates.push(baseline::per_second(&[
            "bodies",
            "--folder",
            &folder.display().to_string(),
            "--threads",
            &CONNECTIONS.to_string(),
            "--size",
            &load.bytes.to_string(),
            "--seconds",
            &context.seconds(),
        ])?);
        let _ = std::fs::remove_dir_all(&folder);
    }
    Ok(PutRates {
        subject: load::median(&subject_runs),
        baseline_per_second: load::median_of(baseline_rates),
    })
}
