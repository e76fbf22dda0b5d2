//! W1: one entity by its key, any of 200,000, over 32 connections.

use std::process::Command;
use std::sync::Arc;

use personium_testkit::{free_port, request_bytes};

use super::{BaselineServer, BenchContext};
use crate::baseline::document_server;
use crate::load::{LoadRequest, RequestGenerator, Target};
use crate::report::{Bound, Section};
use crate::server_process::ServerProcess;
use crate::{BenchResult, rows};

pub(super) const CONNECTIONS: usize = 32;
const ROWS: u64 = 200_000;
const COLLECTION: &str = "middle";

/// Returns the load of this scenario, also for scenarios that run it beside their own.
pub(super) async fn generator(context: &mut BenchContext) -> BenchResult<RequestGenerator> {
    let count = if context.options.quick {
        ROWS / 5
    } else {
        ROWS
    };
    context.ensure_rows(COLLECTION, count).await?;
    let bearer = context.new_bearer().await?;
    Ok(reads(&context.cell.name, COLLECTION, count, bearer))
}

/// Returns reads of the first `count` rows of a collection, in no order.
pub(super) fn reads(cell: &str, collection: &str, count: u64, bearer: String) -> RequestGenerator {
    let path = format!("/{cell}/box/{collection}/Row");
    Arc::new(move |random, _| {
        let key = rows::key(random.below(count));
        let path = format!("{path}('{key}')?$format=json");
        let headers = [
            ("Authorization", bearer.as_str()),
            ("Accept", "application/json"),
        ];
        LoadRequest {
            bytes: request_bytes("GET", &path, &headers, b""),
            expected: &[200],
        }
    })
}

pub(super) async fn run(context: &mut BenchContext) -> BenchResult<Section> {
    let generator = generator(context).await?;
    let count = context
        .collections
        .get(COLLECTION)
        .copied()
        .unwrap_or_default();
    let file = context.scratch.join("baseline-documents.db");
    document_server::fill(&file, count)?;
    let port = free_port();
    let program =
        std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let mut command = Command::new(program);
    command
        .args(["baseline", "documents"])
        .args(["--port", &port.to_string(), "--file"])
        .arg(&file);
    let server = ServerProcess::start(&mut command, port)?;
    let baseline_generator: RequestGenerator = Arc::new(move |random, _| {
        let path = format!("/{}", rows::key(random.below(count)));
        LoadRequest {
            bytes: request_bytes("GET", &path, &[("Accept", "application/json")], b""),
            expected: &[200],
        }
    });
    let baseline = BaselineServer {
        target: Target {
            port,
            monitor: server.monitor(),
        },
        generator: &baseline_generator,
    };
    let compared = context.compare(CONNECTIONS, &generator, baseline).await?;
    let mut section = Section::new("W1");
    section.measured(format!("OData GET by key of {count}"), compared.subject);
    section.measured("baseline: axum and one SQLite read", compared.baseline);
    section.require(
        "processor time per request over the baseline's",
        compared.subject.cpu_us / compared.baseline.cpu_us,
        Bound::AtMost,
        4.0,
    );
    Ok(section)
}
