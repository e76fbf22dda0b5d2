//! W10: logins with a password, 8 and 200 at a time, one of fifty with a wrong one; and W1 beside them.

use std::sync::Arc;
use std::time::Duration;

use personium_testkit::request_bytes;

use super::{BenchContext, read_by_key};
use crate::load::{self, LoadProfile, LoadRequest, Measurement, RequestGenerator};
use crate::report::{Bound, Section};
use crate::{BenchResult, baseline};

/// The number of accounts. It is so large that no account gets a request within the second in which it refuses logins
/// after a wrong password.
const ACCOUNTS: u64 = 400;
/// Every 50th login has a wrong password.
const WRONG_PASSWORD_EVERY: u64 = 50;
const CONNECTIONS: usize = 8;
const MANY_CONNECTIONS: usize = 200;

pub(super) async fn run(context: &mut BenchContext) -> BenchResult<Section> {
    let mut section = Section::new("W10");
    compare_with_hashing(context, &mut section).await?;
    let logins = generator(&ensure_accounts(context).await?);
    let many = LoadProfile {
        connections: MANY_CONNECTIONS,
        rate: None,
        warm_up: Duration::from_secs(8),
        duration: Duration::from_secs(10),
    };
    let many = load::run(context.unit.target(), many, &logins).await?;
    section.measured(format!("logins, {MANY_CONNECTIONS} at a time"), many);
    measure_reads_beside_logins(context, &mut section, &logins).await?;
    Ok(section)
}

/// Measures logins, 8 at a time, and scrypt on all processors.
pub(super) async fn compare_with_hashing(
    context: &mut BenchContext,
    section: &mut Section,
) -> BenchResult {
    let threads = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .to_string();
    let logins = generator(&ensure_accounts(context).await?);
    let profile = context.profile(CONNECTIONS);
    let (mut subject_runs, mut baseline_rates) = (Vec::new(), Vec::new());
    for _ in 0..context.options.runs {
        subject_runs.push(load::run(context.unit.target(), profile, &logins).await?);
        baseline_rates.push(baseline::per_second(&[
            "hashes",
            "--threads",
            &threads,
            "--seconds",
            &context.seconds(),
        ])?);
    }
    let (subject, hashes) = (load::median(&subject_runs), load::median_of(baseline_rates));
    section.measured(format!("logins, {CONNECTIONS} at a time"), subject);
    section.measured_rate(format!("baseline: scrypt on {threads} threads"), hashes);
    section.require(
        "logins over scrypt alone",
        subject.per_second / hashes,
        Bound::AtLeast,
        0.9,
    );
    Ok(())
}

/// Returns the cell with the accounts, which is created at the first call.
async fn ensure_accounts(context: &mut BenchContext) -> BenchResult<String> {
    if let Some(cell) = &context.login_cell {
        return Ok(cell.clone());
    }
    let cell = context.unit.create_cell("login").await?.name;
    for number in 0..ACCOUNTS {
        context
            .unit
            .create_account(&cell, &format!("a{number}"))
            .await?;
    }
    context.login_cell = Some(cell.clone());
    Ok(cell)
}

async fn measure_reads_beside_logins(
    context: &mut BenchContext,
    section: &mut Section,
    logins: &RequestGenerator,
) -> BenchResult {
    let reads = read_by_key::generator(context).await?;
    let alone = context
        .measure_unit(read_by_key::CONNECTIONS, &reads)
        .await?;
    let (mut read_runs, mut login_runs) = (Vec::new(), Vec::new());
    for _ in 0..context.options.runs {
        let target = context.unit.target();
        let (reads, logins) = tokio::join!(
            load::run(target, context.profile(read_by_key::CONNECTIONS), &reads),
            load::run(target, context.profile(CONNECTIONS), logins)
        );
        read_runs.push(reads?);
        login_runs.push(logins?);
    }
    // Processor time and memory belong to both loads together.
    let without_resources = |measurement: Measurement| Measurement {
        cpu_us: 0.0,
        peak_bytes: 0,
        ..measurement
    };
    let beside = without_resources(load::median(&read_runs));
    section.measured("W1 alone", alone);
    section.measured(format!("W1 beside {CONNECTIONS} logins at a time"), beside);
    section.measured("those logins", without_resources(load::median(&login_runs)));
    section.require(
        "W1 beside logins over W1 alone",
        beside.per_second / alone.per_second,
        Bound::AtLeast,
        0.5,
    );
    Ok(())
}

fn generator(cell: &str) -> RequestGenerator {
    let path = format!("/{cell}/__token");
    Arc::new(move |_, sequence| {
        let is_wrong = sequence % WRONG_PASSWORD_EVERY == WRONG_PASSWORD_EVERY - 1;
        let account = sequence % ACCOUNTS;
        let password = if is_wrong { "password2" } else { "password1" };
        let form = format!("grant_type=password&username=a{account}&password={password}");
        let headers = [("Content-Type", "application/x-www-form-urlencoded")];
        LoadRequest {
            bytes: request_bytes("POST", &path, &headers, form.as_bytes()),
            expected: if is_wrong { &[400] } else { &[200] },
        }
    })
}
