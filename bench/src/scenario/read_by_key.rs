//! W1: one entity by its key, any of 200,000, by 32 connections.

use std::process::Command;
use std::sync::Arc;

use super::Bench;
use crate::connection::request;
use crate::floor::document_server;
use crate::load::{Maker, Shot};
use crate::process::{Running, free_port};
use crate::report::{Bound, Section};
use crate::{Outcome, rows};

pub(super) const CONNECTIONS: usize = 32;
const ROWS: u64 = 200_000;

/// The load of this scenario, for others that need it beside theirs.
pub(super) async fn maker(bench: &mut Bench) -> Outcome<Maker> {
    let count = if bench.options.quick { ROWS / 5 } else { ROWS };
    bench.rows("middle", count).await?;
    let bearer = bench.fresh_bearer().await?;
    let path = format!("/{}/box/middle/Row", bench.cell.name);
    Ok(Arc::new(move |random, _| {
        let path = format!("{path}('{}')?$format=json", rows::key(random.below(count)));
        Shot {
            bytes: request(
                "GET",
                &path,
                &[("Authorization", &bearer), ("Accept", "application/json")],
                b"",
            ),
            wished: &[200],
        }
    }))
}

pub(super) async fn run(bench: &mut Bench) -> Outcome<Section> {
    let ours = maker(bench).await?;
    let count = bench.loaded.get("middle").copied().unwrap_or_default();
    let file = bench.scratch.join("floor-documents.db");
    document_server::fill(&file, count)?;
    let port = free_port()?;
    let mut command =
        Command::new(std::env::current_exe().map_err(|e| format!("cannot find myself: {e}"))?);
    command
        .args(["floor", "documents", "--port", &port.to_string(), "--file"])
        .arg(&file);
    let (floor, _) = Running::start(&mut command, port)?;
    let plain: Maker = Arc::new(move |random, _| {
        let path = format!("/{}", rows::key(random.below(count)));
        Shot {
            bytes: request("GET", &path, &[("Accept", "application/json")], b""),
            wished: &[200],
        }
    });
    let (subject, least) = bench
        .beside(CONNECTIONS, &ours, (floor.port, floor.watched(), &plain))
        .await?;
    let mut section = Section::new("W1");
    section.side(format!("OData GET by key of {count}"), subject);
    section.side("floor: axum and one SQLite read", least);
    section.demand(
        "processor time for a request over the floor's",
        subject.cpu / least.cpu,
        Bound::AtMost,
        4.0,
    );
    Ok(section)
}
