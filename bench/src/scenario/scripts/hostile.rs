//! Services that use all the processor time and memory that they get, and the API's latency meanwhile.

use std::time::Duration;

use personium_testkit::{RawConnection, request_bytes};

use super::{gets, put_source};
use crate::load::{self, LoadProfile, Measurement};
use crate::report::{Bound, Section};
use crate::scenario::BenchContext;
use crate::unit::{BenchCell, BenchUnit};
use crate::{BenchResult, load::median_of};

/// The number of requests to each of the services, which run until their time is over.
const REQUESTS_OF_EACH: usize = 4;
/// The longest measurement: a service is ended after 20 seconds.
const MEASUREMENT_MAX: Duration = Duration::from_secs(6);
/// The connections that measure the latency, and the requests that they send together in a second.
const CONNECTIONS: usize = 4;
const REQUESTS_PER_SECOND: f64 = 200.0;

/// The sources: a loop, memory that grows, recursion that begins again, a regular expression that backtracks.
const SOURCES: [&str; 4] = [
    "function () { for (;;) {} }",
    "function () { for (;;) { try { for (var kept = [];;) { kept.push(new Array(1000).join('x') + kept.length); } } catch (e) {} } }",
    "function () { function deeper() { return 1 + deeper(); } for (;;) { try { deeper(); } catch (e) {} } }",
    "function () { for (;;) { /^(a+)+$/.test(new Array(30).join('a') + 'b'); } }",
];

/// Measures the GET of a file without these services, and beside them.
///
/// # Errors
/// A message if the unit does not answer as expected.
pub(super) async fn measure(
    context: &BenchContext,
    (unit, cell): (&mut BenchUnit, &BenchCell),
    section: &mut Section,
) -> BenchResult {
    let profile = LoadProfile {
        rate: Some(REQUESTS_PER_SECOND),
        duration: MEASUREMENT_MAX.min(Duration::from_secs(context.options.seconds)),
        ..context.profile(CONNECTIONS)
    };
    let file = gets(cell, |_| "file".to_owned());
    let mut sent = Vec::new();
    let (mut before, mut during) = (Vec::new(), Vec::new());
    for source in SOURCES {
        put_source(unit, &cell.name, ("cold.js", source)).await?;
        before.push(load::run(unit.target(), profile, &file).await?);
        for _ in 0..REQUESTS_OF_EACH {
            sent.push(send(unit, cell).await?);
        }
        during.push(load::run(unit.target(), profile, &file).await?);
    }
    drop(sent);
    report(section, &before, &during);
    Ok(())
}

/// Sends a request to the service, without reading its answer.
async fn send(unit: &BenchUnit, cell: &BenchCell) -> BenchResult<RawConnection> {
    let failed = |error| format!("a hostile service does not start: {error}");
    let headers = [("Authorization", cell.bearer.as_str())];
    let path = format!("/{}/box/svc/cold", cell.name);
    let mut client = RawConnection::open(unit.target().port)
        .await
        .map_err(failed)?;
    let request = request_bytes("GET", &path, &headers, b"");
    client.send(&request).await.map_err(failed)?;
    Ok(client)
}

fn report(section: &mut Section, before: &[Measurement], during: &[Measurement]) {
    section.measured(
        "GET of a file, no hostile service runs",
        load::median(before),
    );
    section.measured(
        "GET of a file, 4 to 16 hostile services run",
        load::median(during),
    );
    let ratio = |of: fn(&Measurement) -> f64| {
        let ratios = before.iter().zip(during);
        median_of(ratios.map(|(a, b)| of(b) / of(a)).collect())
    };
    section.require(
        "median of the GET while hostile services run over that without them",
        ratio(|measured| measured.p50_us),
        Bound::AtMost,
        2.0,
    );
    section.note(format!(
        "hostile services: the 99th percentile of the GET is {:.2} times that without them",
        ratio(|measured| measured.p99_us)
    ));
}
