//! The command line.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{Config, ConfigError, Inputs, Loaded};
use crate::first_start::Administrator;
use crate::{check, first_start, logging, serve};
use personium_types::error::chain;

/// The settings file that is read from the data folder when no other is named.
const SETTINGS_FILE: &str = "personium-unit-config.properties";

/// The data folder when none is named.
const DATA: &str = "data";

/// A Personium unit: cells, boxes, files, data and tokens.
///
/// Without a command it serves. Without settings it is for this machine, at http://localhost:9998/, with everything
/// in the folder ./data.
#[derive(Debug, Parser)]
#[command(
    name = "personium",
    disable_version_flag = true,
    args_conflicts_with_subcommands = false
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
    /// Print the version.
    #[arg(long, short = 'V')]
    version: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the unit. A new one gets keys and an administrator, whose password is printed once.
    Serve,
    /// Make a new unit with keys and an administrator, without running it. Refuses a folder that holds a unit.
    Init,
    /// Tell whether a unit could run with these settings.
    Check {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
struct Options {
    /// The settings [default: personium-unit-config.properties in the data folder, if there].
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// The data folder [default: the setting data.dir, else data].
    #[arg(long, value_name = "DIR", global = true)]
    data: Option<PathBuf>,
    /// The port to listen on; stands in URLs too, where settings put one there.
    #[arg(long, value_name = "N", global = true)]
    port: Option<u16>,
    /// A setting that wins over the file, such as -c unitScheme=http. May be repeated.
    #[arg(short = 'c', value_name = "KEY=VALUE", value_parser = pair, global = true)]
    set: Vec<(String, String)>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("it must be KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

/// Does what the command line says.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    if cli.version {
        println!(
            "personium {} (API {})",
            crate::VERSION,
            personium_api::API_VERSION
        );
        return ExitCode::SUCCESS;
    }
    let done = cli
        .options
        .inputs()
        .map_err(|error| error.to_string())
        .and_then(|inputs| match cli.command {
            None | Some(Command::Serve) => serve(&inputs),
            Some(Command::Init) => init(&inputs),
            Some(Command::Check { json }) => {
                let report = check::check(&inputs);
                print(&if json {
                    format!("{}\n", report.json())
                } else {
                    report.text()
                });
                Ok(if report.is_good() {
                    ExitCode::SUCCESS
                } else {
                    ExitCode::FAILURE
                })
            }
        });
    done.unwrap_or_else(|problem| {
        eprintln!("personium: {problem}");
        ExitCode::FAILURE
    })
}

impl Options {
    /// Where the settings come from.
    fn inputs(&self) -> Result<Inputs, ConfigError> {
        let default = self
            .data
            .clone()
            .unwrap_or_else(|| PathBuf::from(DATA))
            .join(SETTINGS_FILE);
        let file = self
            .config
            .clone()
            .or_else(|| default.exists().then_some(default));
        let mut inputs = Inputs {
            file,
            environment: environment(),
            options: self.set.clone(),
        };
        if let Some(data) = &self.data {
            inputs
                .options
                .push(("data.dir".into(), data.display().to_string()));
        }
        if let Some(port) = self.port {
            let config = Loaded::from(&inputs)?.config;
            inputs
                .options
                .push(("listen".into(), format!("{}", with_port(&config, port))));
            if config.unit.port.is_some() {
                inputs.options.push(("unitPort".into(), port.to_string()));
            }
        }
        Ok(inputs)
    }
}

fn with_port(config: &Config, port: u16) -> std::net::SocketAddr {
    let mut address = config.listen.address;
    address.set_port(port);
    address
}

/// The variables of the environment that are text.
fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn load(inputs: &Inputs) -> Result<Loaded, String> {
    let loaded = Loaded::from(inputs).map_err(|error| error.to_string())?;
    logging::start(&loaded.config.log).map_err(|error| error.to_string())?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    Ok(loaded)
}

fn runtime(threads: usize) -> Result<tokio::runtime::Runtime, String> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if threads > 0 {
        builder.worker_threads(threads);
    }
    builder
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start threads: {error}"))
}

/// Writes to the standard output, as far as somebody reads it.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn welcome(administrator: &Administrator) {
    print(&administrator.welcome());
}

fn init(inputs: &Inputs) -> Result<ExitCode, String> {
    let loaded = load(inputs)?;
    let data = loaded.config.store.data_dir.clone();
    if !first_start::is_due(&data) {
        return Err(format!("{} holds a unit already", data.display()));
    }
    runtime(1)?
        .block_on(serve::init(loaded, welcome))
        .map_err(|error| chain(&error))?;
    Ok(ExitCode::SUCCESS)
}

fn serve(inputs: &Inputs) -> Result<ExitCode, String> {
    let loaded = load(inputs)?;
    let runtime = runtime(loaded.config.listen.threads)?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
        let running = serve::start(loaded, welcome)
            .await
            .map_err(|error| chain(&error))?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tokio::select! {
            () = running.stop() => Ok(ExitCode::SUCCESS),
            _ = terminate.recv() => Err("stopped at once".into()),
            _ = interrupt.recv() => Err("stopped at once".into()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(arguments: &[&str]) -> Result<Inputs, ConfigError> {
        let arguments = ["personium"].iter().chain(arguments);
        Cli::try_parse_from(arguments).unwrap().options.inputs()
    }

    fn config(arguments: &[&str]) -> Config {
        Loaded::from(&inputs(arguments).unwrap()).unwrap().config
    }

    #[test]
    fn the_port_stands_in_urls_where_settings_put_one_there() {
        let plain = config(&["--port", "7001"]);
        assert_eq!((plain.listen.address.port(), plain.unit.port), (7001, None));
        let public = config(&[
            "serve",
            "-c",
            "unitPort=9998",
            "-c",
            "listen=0.0.0.0:80",
            "--port",
            "7001",
        ]);
        assert_eq!(public.listen.address.to_string(), "0.0.0.0:7001");
        assert_eq!(public.unit.port, Some(7001));
    }

    #[test]
    fn settings_lie_in_the_data_folder_if_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let (data, other) = (
            folder.path().join("d"),
            folder.path().join("other.properties"),
        );
        std::fs::create_dir(&data).unwrap();
        std::fs::write(
            data.join(SETTINGS_FILE),
            "io.personium.core.dav.depth.maxnum=3\n",
        )
        .unwrap();
        std::fs::write(&other, "io.personium.core.dav.depth.maxnum=4\n").unwrap();
        let data = data.to_str().unwrap();
        assert_eq!(config(&["--data", data]).dav.depth_max, 3);
        assert_eq!(
            config(&["--data", data, "--config", other.to_str().unwrap()])
                .dav
                .depth_max,
            4
        );
        assert_eq!(
            config(&["--data", data]).store.data_dir,
            PathBuf::from(data)
        );
        assert!(Loaded::from(&inputs(&["--config", "no-such-file"]).unwrap()).is_err());
    }

    #[test]
    fn options_are_checked() {
        assert!(Cli::try_parse_from(["personium", "-c", "novalue"]).is_err());
        assert!(Cli::try_parse_from(["personium", "--port", "70000"]).is_err());
        assert!(Cli::try_parse_from(["personium", "dance"]).is_err());
        assert!(matches!(
            Cli::try_parse_from(["personium", "check", "--json"])
                .unwrap()
                .command,
            Some(Command::Check { json: true })
        ));
    }
}
