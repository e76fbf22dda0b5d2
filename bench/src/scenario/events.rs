//! Events: posting them beside W1, listening to them, and what a listener costs those who write.

mod arrivals;
mod broker;
mod delays;
mod kafka;
mod listened_writes;
mod posting;
mod subscribers;

use std::process::Command;

use personium_testkit::free_port;

use super::BenchContext;
use crate::BenchResult;
use crate::load::Target;
use crate::report::Section;
use crate::server_process::ServerProcess;
use crate::unit::BenchCell;

/// The units of this scenario: the unit of all scenarios, and a bare server.
struct EventsBench<'c> {
    context: &'c mut BenchContext,
    /// The server of the baselines, which receives the requests of rules too.
    server: ServerProcess,
    /// The cell whose events are posted and listened to.
    cell: BenchCell,
    section: Section,
}

/// Runs this scenario.
pub(super) async fn run(context: &mut BenchContext) -> BenchResult<Section> {
    let cell = context.unit.create_cell("events").await?;
    context.unit.create_collection(&cell.name, "rows").await?;
    context.unit.grant_events(&cell.name).await?;
    let mut bench = EventsBench {
        server: start_server()?,
        context,
        cell,
        section: Section::new("events"),
    };
    if let Err(error) = bench.run().await {
        // What was measured before is worth something.
        let note = format!("the rest could not be measured: {error}");
        bench.section.note(note);
    }
    Ok(bench.section)
}

impl EventsBench<'_> {
    async fn run(&mut self) -> BenchResult {
        // Listeners first: what they get must not compete with requests of rules that wait.
        self.delays().await?;
        self.listened_writes().await?;
        self.subscribers().await?;
        self.posting().await?;
        self.broker().await?;
        self.kafka().await
    }

    /// Returns the server of the baselines as the target of a load.
    fn bare_target(&self) -> Target {
        Target {
            port: self.server.port,
            monitor: self.server.monitor(),
        }
    }
}

fn start_server() -> BenchResult<ServerProcess> {
    let program =
        std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let port = free_port();
    let mut command = Command::new(program);
    command.args(["baseline", "events", "--port", &port.to_string()]);
    ServerProcess::start(&mut command, port)
}
