//! Services that wait for another server, all at once: their memory, and the API's latency meanwhile.

use std::time::{Duration, Instant};

use personium_testkit::{RawConnection, request_bytes};
use tokio::net::{TcpListener, TcpStream};

use super::{EMPTY, gets, put_source};
use crate::load::{self, LoadProfile};
use crate::report::{Bound, Section};
use crate::scenario::BenchContext;
use crate::unit::{BenchCell, BenchUnit, UnitSetup};
use crate::{BenchResult, load::Measurement};

/// The number of services.
const SERVICES: usize = 1_000;
/// The time within which all of them have sent their requests.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest measurement: the unit gives up an outgoing request after 20 seconds.
const MEASUREMENT_MAX: Duration = Duration::from_secs(6);
/// The connections that measure the latency, and the requests that they send together in a second.
const CONNECTIONS: usize = 4;
const REQUESTS_PER_SECOND: f64 = 200.0;
const KIB: f64 = 1024.0;

/// Measures the services in a unit of their own.
///
/// # Errors
/// A message if the unit does not start, or a service does not reach the other server.
pub(super) async fn measure(context: &BenchContext, section: &mut Section) -> BenchResult {
    let folder = context.scratch.join("waiting-scripts");
    super::super::create_folder(&folder)?;
    let settings = format!(
        "io.personium.core.engine.script.running.maxNum={0}\n\
         io.personium.core.engine.script.running.maxNumOfCell={0}\n\
         io.personium.core.outgoing.privateNetworks.enabled=true\n",
        SERVICES + 100
    );
    let mut unit = BenchUnit::start_with(UnitSetup {
        program: &context.options.server,
        folder: &folder.join("unit"),
        host: "localhost",
        settings: &settings,
    })
    .await?;
    let cell = unit.create_cell("waiting").await?;
    super::prepare_service(&mut unit, &cell).await?;
    let failed = |error: std::io::Error| format!("the other server fails: {error}");
    let other = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
    let port = other.local_addr().map_err(failed)?.port();
    let source = format!(
        "function (request) {{ new _p.extension.HttpClient().get('http://127.0.0.1:{port}/'); }}"
    );
    put_source(&mut unit, &cell.name, ("cold.js", &source)).await?;
    put_source(&mut unit, &cell.name, ("empty.js", EMPTY)).await?;

    let profile = LoadProfile {
        rate: Some(REQUESTS_PER_SECOND),
        duration: MEASUREMENT_MAX.min(Duration::from_secs(context.options.seconds)),
        ..context.profile(CONNECTIONS)
    };
    let file = gets(&cell, |_| "file".to_owned());
    let service = gets(&cell, |_| "svc/empty".to_owned());
    let before = load::run(unit.target(), profile, &file).await?;
    load::run(unit.target(), profile, &service).await?;
    let resident_before = unit.target().monitor.resident_bytes();
    let waiting = Waiting::start(&unit, &cell, &other).await?;
    let resident = unit.target().monitor.resident_bytes();
    let during = load::run(unit.target(), profile, &file).await?;
    drop(waiting);
    report(
        section,
        (before, during),
        resident.saturating_sub(resident_before),
    );
    Ok(())
}

fn report(section: &mut Section, (before, during): (Measurement, Measurement), bytes: u64) {
    section.measured("GET of a file, no service waits", before);
    section.measured(format!("GET of a file, {SERVICES} services wait"), during);
    section.require(
        format!("{SERVICES} services that wait: KiB each"),
        bytes as f64 / KIB / SERVICES as f64,
        Bound::AtMost,
        512.0,
    );
    section.require(
        format!("median of the GET while {SERVICES} services wait over that without them"),
        during.p50_us / before.p50_us,
        Bound::AtMost,
        2.0,
    );
}

/// Services that wait. Dropping them breaks off their requests.
struct Waiting {
    _clients: Vec<RawConnection>,
    _accepted: Vec<TcpStream>,
}

impl Waiting {
    async fn start(unit: &BenchUnit, cell: &BenchCell, other: &TcpListener) -> BenchResult<Self> {
        let headers = [("Authorization", cell.bearer.as_str())];
        let path = format!("/{}/box/svc/cold", cell.name);
        let request = request_bytes("GET", &path, &headers, b"");
        let (mut clients, mut accepted) = (Vec::new(), Vec::new());
        let end = Instant::now() + START_TIMEOUT;
        for number in 0..SERVICES {
            let failed = |error| format!("service {number} does not start: {error}");
            let mut client = RawConnection::open(unit.target().port)
                .await
                .map_err(failed)?;
            client.send(&request).await.map_err(failed)?;
            clients.push(client);
            let left = end.saturating_duration_since(Instant::now());
            let reached = tokio::time::timeout(left, other.accept()).await;
            let reached = reached.map_err(|_| format!("service {number} sends no request"))?;
            accepted.push(reached.map_err(failed)?.0);
        }
        Ok(Self {
            _clients: clients,
            _accepted: accepted,
        })
    }
}
