//! The command line.

mod admin_options;
mod audit_options;
mod backup_options;
mod cert_options;
mod config_options;
mod generated;
mod migrate_options;
mod options;
mod plugin_options;
mod selftest_options;
mod service_options;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use personium_types::error::chain;
use tokio::signal::unix::{SignalKind, signal};

use admin_options::{AdminSubcommand, UnitAdminSubcommand};
use audit_options::AuditSubcommand;
use backup_options::{BackupArguments, RestoreArguments};
use cert_options::CertSubcommand;
use config_options::ConfigSubcommand;
use migrate_options::MigrateArguments;
use options::Options;
use plugin_options::PluginSubcommand;
use selftest_options::{AddressOptions, SelfTestOptions};
use service_options::ServiceSubcommand;

use crate::administration::{self, AdminCommand, remote_mode};
use crate::check::CheckReport;
use crate::config::{ConfigError, ConfigSources, LoadedConfig, RecordStoreKind};
use crate::local_api::Administrator;
use crate::master_token::MasterTokenChange;
use crate::serve::StartError;
use crate::unit_rename::FormerName;
use crate::usage::UsageRequest;
use crate::verify::{VerifyOutcome, VerifyReport};
use crate::{
    check, components, copy, data_folder, first_start, logging, low_priority, progress,
    record_engine, serve, service_manager, system, unit_rename, usage, verify,
};

/// The status of a command line that cannot be read.
const USAGE_STATUS: u8 = 2;

/// The status of a start that waited in vain for a layer outside of the process (`EX_TEMPFAIL` of sysexits.h).
const LAYER_MISSING_STATUS: u8 = 75;

/// The status of a verification that found damage.
const DAMAGED_STATUS: u8 = 3;

/// A Personium unit server.
///
/// Without a command, it runs the unit. Without settings, the unit is at http://localhost:9998/ and stores all data in
/// the folder ./data.
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
    /// Run the unit. The first start generates keys and an administrator, whose password is printed once.
    Serve {
        /// Fail if the data folder contains no unit yet, as a service whose output is logged.
        #[arg(long)]
        existing: bool,
    },
    /// Create keys and an administrator without running the unit, and with store.type=postgres the tables of the database.
    /// Fails if the data folder contains a unit.
    Init {
        /// Only print the statements by which a database administrator makes role, database and tables.
        #[arg(long)]
        print_sql: bool,
    },
    /// Administrators of the unit: list them, make one, set a lost password, rename, grant; modes of maintenance. A unit
    /// with its database in itself must be stopped.
    Admin {
        #[command(subcommand)]
        command: AdminSubcommand,
    },
    /// Take what is in the data folder for one whole unit, although parts of it are missing or of another unit. What is
    /// missing is lost.
    Adopt,
    /// Copy a whole unit to other stores, for example from SQLite to PostgreSQL or from a folder to a bucket, and compare the copy.
    /// The unit must be stopped. An interrupted copy goes on when the command is repeated.
    Copy {
        /// Settings file of the unit, or its data folder.
        #[arg(long, value_name = "SETTINGS")]
        from: PathBuf,
        /// Settings file of the copy, which must not have a unit yet.
        #[arg(long, value_name = "SETTINGS")]
        to: PathBuf,
    },
    /// Look for damage in all that the unit stores: records, file bodies, indexes, numbers and links. Changes nothing. The status is
    /// 3 if something is damaged.
    Verify {
        /// Print one JSON object for each finding and one for the outcome, a line each.
        #[arg(long)]
        json: bool,
        /// Name of a cell that alone is looked at.
        #[arg(long, value_name = "NAME")]
        cell: Option<String>,
        /// First count anew what the cells store, and repair indexes, links back and numbers. A unit with its database in itself must
        /// be stopped.
        #[arg(long)]
        repair: bool,
    },
    /// Show how many bytes the cells store, in all and for each owner, and their quotas. The unit may run.
    Usage {
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// Name of a cell that alone is shown.
        #[arg(long, value_name = "NAME")]
        cell: Option<String>,
        /// Read the journals of `store.journalInHours` too, and show what they take. No quota limits it.
        #[arg(long)]
        journals: bool,
    },
    /// The audit log of what administrators have done: verify that nothing in it was changed, or print it. The unit may run.
    Audit {
        #[command(subcommand)]
        command: AuditSubcommand,
    },
    /// Make a generation of back-ups of the whole unit in a folder or a bucket, also while it runs. What is there is not copied again.
    Backup(BackupArguments),
    /// Restore a generation of back-ups to stores without a unit, list or check generations, or try a restore in a folder of its own.
    Restore(RestoreArguments),
    /// Take over a unit of the original: its documents, its files and its settings. Repeated, it takes over what has changed since.
    /// The unit here must be stopped, that one may run until the last time. The status is 3 if cells could not be taken over.
    Migrate(MigrateArguments),
    /// After the settings name the unit anew: give the URLs of its own cells that are stored in it the new name too. The unit must
    /// be stopped. An interrupted run goes on when the command is repeated.
    RenameUnit {
        /// URL that the unit had, such as https://old.example/.
        #[arg(long, value_name = "URL")]
        from: FormerName,
        /// Only print what would be changed.
        #[arg(long)]
        dry_run: bool,
    },
    /// Check whether the unit can run with these settings, or how a unit that runs is reached from outside.
    Check {
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
        /// URL of a unit that is to be looked at from outside. No settings are read.
        #[arg(long, value_name = "URL")]
        url: Option<String>,
        #[command(flatten)]
        address: AddressOptions,
    },
    /// Make a cell in a unit that runs, use what belongs to a cell, and remove it again.
    Selftest(SelfTestOptions),
    /// Develop the scripts of a service in a local folder, with a unit that runs.
    Service {
        #[command(subcommand)]
        command: ServiceSubcommand,
    },
    /// Make, sign, trust, list and renew keys and certificates.
    Cert {
        #[command(subcommand)]
        command: CertSubcommand,
    },
    /// Authentication plugins: list, check, try, enable or disable them.
    Plugin {
        #[command(subcommand)]
        command: PluginSubcommand,
    },
    /// Print the completions of this command line for a shell.
    Completions {
        /// Shell.
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Write the manual pages of the program and its commands to a folder.
    Man {
        /// Folder.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Run scripts for the unit that has started this process.
    #[command(hide = true, name = personium_script::WORKER_ARGUMENT)]
    ScriptWorker,
    /// Show, check, describe and compare settings.
    Config {
        #[command(subcommand)]
        command: ConfigSubcommand,
    },
}

/// Runs the command that the command line names.
#[must_use]
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return report_usage(&error),
    };
    if cli.version {
        let (version, api) = (crate::VERSION, personium_api::API_VERSION);
        return match print(&format!("personium {version} (API {api})\n")) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    let options = cli.options;
    let sources = options.sources();
    let is_plain = options.are_absent();
    let result = match (cli.command, sources) {
        (
            Some(Command::Check {
                json,
                url: Some(url),
                address,
            }),
            _,
        ) => check_from_outside(&url, address, json),
        (Some(Command::Check { json, .. }), sources) => check(sources, json),
        (Some(Command::Selftest(options)), _) => options.run(),
        (Some(Command::Service { command }), _) => command.run(),
        (Some(Command::Config { command }), sources) => command.run(sources),
        (Some(Command::ScriptWorker), _) => personium_script::run_worker(system::clock())
            .map(|()| ExitCode::SUCCESS)
            .map_err(|error| error.to_string()),
        (Some(Command::Completions { shell }), _) => completions(shell),
        (Some(Command::Man { folder }), _) => {
            generated::write_manual(&folder).map(|()| ExitCode::SUCCESS)
        }
        (_, Err(error)) => Err(error.to_string()),
        (Some(Command::Cert { command }), Ok(sources)) => command.run(&sources, &options),
        (Some(Command::Serve { existing: true }), Ok(sources)) => serve_existing(&sources),
        (None | Some(Command::Serve { existing: false }), Ok(sources)) => serve(&sources),
        (Some(Command::Init { print_sql: true }), Ok(sources)) => print_sql(&sources),
        (Some(Command::Init { print_sql: false }), Ok(sources)) => init(&sources),
        (Some(Command::Adopt), Ok(sources)) => adopt(&sources),
        (Some(Command::Copy { from, to }), Ok(_)) => copy_unit(&from, &to, is_plain),
        (Some(Command::Audit { command }), Ok(sources)) => command.run(&sources),
        (Some(Command::Backup(arguments)), Ok(sources)) => arguments.run(&sources),
        (Some(Command::Restore(arguments)), Ok(_)) => arguments.run(is_plain),
        (Some(Command::Migrate(arguments)), Ok(sources)) => {
            arguments.run(sources, options.data_dir())
        }
        (Some(Command::Verify { json, cell, repair }), Ok(sources)) => {
            verify_unit(&sources, (json, repair), cell)
        }
        (
            Some(Command::Usage {
                json,
                cell,
                journals,
            }),
            Ok(sources),
        ) => show_usage(&sources, cell.as_deref(), (json, journals)),
        (Some(Command::RenameUnit { from, dry_run }), Ok(sources)) => {
            rename_unit(&sources, &from, dry_run)
        }
        (Some(Command::Plugin { command }), Ok(sources)) => command.run(&sources),
        (Some(Command::Admin { command }), Ok(sources)) => match command {
            AdminSubcommand::Unit(command) => administrate(&sources, command),
            AdminSubcommand::MasterToken { is_new, off } => {
                let change = match (is_new, off) {
                    (true, _) => Some(MasterTokenChange::New),
                    (false, true) => Some(MasterTokenChange::Off),
                    (false, false) => None,
                };
                master_token(&sources, &options, change)
            }
        },
    };
    result.unwrap_or_else(|error| {
        progress::say(&format!("personium: {error}"));
        ExitCode::FAILURE
    })
}

/// Reports a command line that cannot be read, or prints the help. A check that is to print JSON prints JSON here too.
fn report_usage(error: &clap::Error) -> ExitCode {
    let wants_json = {
        let is_given = |wanted: &str| arguments().iter().any(|argument| argument == wanted);
        is_given("check") && is_given("--json")
    };
    if wants_json && error.use_stderr() {
        let mut report = CheckReport::default();
        report.error("command line", error.to_string().trim());
        let _ = print(&format!("{}\n", report.json()));
    } else {
        let _ = error.print();
    }
    if error.use_stderr() {
        ExitCode::from(USAGE_STATUS)
    } else {
        ExitCode::SUCCESS
    }
}

/// Returns the arguments of the process that are valid UTF-8.
fn arguments() -> Vec<String> {
    std::env::args_os()
        .filter_map(|argument| argument.into_string().ok())
        .collect()
}

/// Reads the settings, for a command that writes no log.
fn load_settings(sources: &ConfigSources) -> Result<LoadedConfig, String> {
    LoadedConfig::load(sources).map_err(|error| error.to_string())
}

fn load(sources: &ConfigSources) -> Result<LoadedConfig, String> {
    let loaded = load_settings(sources)?;
    logging::start(&loaded.config.log, system::clock()).map_err(|error| error.to_string())?;
    data_folder::restrict_new_files();
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
        .map_err(|error| format!("cannot start the runtime: {error}"))
}

/// Writes to the standard output.
fn print(text: &str) -> io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush())
}

fn show(administrator: &Administrator) -> io::Result<()> {
    print(&administrator.welcome())
}

fn file_size_signal() -> SignalKind {
    SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw())
}

fn check(sources: Result<ConfigSources, ConfigError>, as_json: bool) -> Result<ExitCode, String> {
    let report = match sources {
        Ok(sources) => check::check(&sources),
        Err(error) => CheckReport::of_settings(error),
    };
    print_report(&report, as_json)
}

fn check_from_outside(
    url: &str,
    address: AddressOptions,
    as_json: bool,
) -> Result<ExitCode, String> {
    let address = address.unit(url)?;
    let report = runtime(1)?.block_on(Box::pin(check::check_from_outside(&address)));
    print_report(&report, as_json)
}

/// Prints a report. The status says whether it has errors.
fn print_report(report: &CheckReport, as_json: bool) -> Result<ExitCode, String> {
    let text = if as_json {
        format!("{}\n", report.json())
    } else {
        report.text()
    };
    print(&text).map_err(|error| format!("the report could not be written: {error}"))?;
    Ok(if report.has_errors() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn master_token(
    sources: &ConfigSources,
    options: &Options,
    change: Option<MasterTokenChange>,
) -> Result<ExitCode, String> {
    let text = admin_options::run_master_token(sources, options, change)?;
    print(&text).map_err(|error| format!("done, but the result could not be written: {error}"))?;
    Ok(ExitCode::SUCCESS)
}

fn administrate(sources: &ConfigSources, command: UnitAdminSubcommand) -> Result<ExitCode, String> {
    let (unit, command) = command.parse_for_running()?;
    if let Some(unit) = unit {
        let done = runtime(1)?.block_on(Box::pin(remote_mode::run(unit, &command)))?;
        let written = print(&done);
        written.map_err(|error| format!("done, but the result could not be written: {error}"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let loaded = load(sources)?;
    let done = runtime(1)?.block_on(administration::run(loaded, command, print));
    done.map(|()| ExitCode::SUCCESS)
}

fn rename_unit(
    sources: &ConfigSources,
    former: &FormerName,
    dry_run: bool,
) -> Result<ExitCode, String> {
    let loaded = load(sources)?;
    let done = runtime(1)?.block_on(unit_rename::run(loaded, former, dry_run, print));
    done.map(|()| ExitCode::SUCCESS)
}

fn init(sources: &ConfigSources) -> Result<ExitCode, String> {
    let loaded = load(sources)?;
    let runtime = runtime(1)?;
    if loaded.config.store.kind == RecordStoreKind::Postgres {
        let random = system::random();
        let created = record_engine::create_tables(&loaded.config, &random);
        runtime.block_on(created).map_err(|error| chain(&error))?;
    }
    if !first_start::is_due(&loaded.config) {
        let data_dir = loaded.config.store.data_dir.display();
        return Err(format!("{data_dir} already contains a unit"));
    }
    runtime
        .block_on(serve::init(loaded, show))
        .map_err(|error| chain(&error))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints what a database administrator has to run.
fn print_sql(sources: &ConfigSources) -> Result<ExitCode, String> {
    let config = LoadedConfig::load(sources)
        .map_err(|error| error.to_string())?
        .config;
    let sql = record_engine::administrator_sql(&config).map_err(|error| chain(&error))?;
    print(&sql).map_err(|error| format!("the statements could not be written: {error}"))?;
    Ok(ExitCode::SUCCESS)
}

fn copy_unit(from: &Path, to: &Path, is_plain: bool) -> Result<ExitCode, String> {
    if !is_plain {
        let text = "copy takes all settings from the files that --from and --to name; leave --config, --data, --port and -c out";
        return Err(text.to_owned());
    }
    data_folder::restrict_new_files();
    let text = copy::run_command(from, to, &runtime(0)?)?;
    print(&text).map_err(|error| format!("the outcome could not be written: {error}"))?;
    Ok(ExitCode::SUCCESS)
}

fn show_usage(
    sources: &ConfigSources,
    cell: Option<&str>,
    (as_json, with_journals): (bool, bool),
) -> Result<ExitCode, String> {
    let config = load_settings(sources)?.config;
    let request = UsageRequest {
        cell,
        with_journals,
        as_json,
    };
    let read = Box::pin(usage::run(&config, request));
    let (text, is_complete) = runtime(1)?.block_on(read)?;
    print(&text).map_err(|error| format!("the usage could not be written: {error}"))?;
    Ok(match is_complete {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn verify_unit(
    sources: &ConfigSources,
    (as_json, repair): (bool, bool),
    cell: Option<String>,
) -> Result<ExitCode, String> {
    if repair {
        let show = |text: &str| match as_json {
            true => Ok(()),
            false => print(text),
        };
        let command = AdminCommand::Repair(cell.clone());
        let loaded = load(sources)?;
        runtime(1)?.block_on(administration::run(loaded, command, show))?;
    }
    let config = load_settings(sources)?.config;
    data_folder::restrict_new_files();
    low_priority::lower();
    let report = VerifyReport::new(as_json, print);
    let done = runtime(1)?.block_on(Box::pin(verify::run(&config, cell.as_deref(), report)))?;
    Ok(match done {
        VerifyOutcome::Whole => ExitCode::SUCCESS,
        VerifyOutcome::Damaged => ExitCode::from(DAMAGED_STATUS),
        VerifyOutcome::Unknown => ExitCode::FAILURE,
    })
}

fn adopt(sources: &ConfigSources) -> Result<ExitCode, String> {
    let loaded = load(sources)?;
    runtime(1)?
        .block_on(components::adopt(
            &loaded.config,
            &system::clock(),
            &system::random(),
        ))
        .map_err(|error| chain(&error))?;
    let folder = loaded.config.store.data_dir.display();
    print(&format!("The data in {folder} is one unit now.\n"))
        .map_err(|error| format!("the outcome could not be written: {error}"))?;
    Ok(ExitCode::SUCCESS)
}

fn completions(shell: clap_complete::Shell) -> Result<ExitCode, String> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(&generated::completions(shell));
    written.map_err(|error| format!("the output could not be written: {error}"))?;
    Ok(ExitCode::SUCCESS)
}

/// Runs a unit that was made before.
fn serve_existing(sources: &ConfigSources) -> Result<ExitCode, String> {
    let config = load_settings(sources)?.config;
    if first_start::is_due(&config) {
        let folder = config.store.data_dir.display();
        return Err(format!(
            "{folder} contains no unit; make it and its administrator by `personium init`, with the same options and as the \
             same user"
        ));
    }
    serve(sources)
}

fn serve(sources: &ConfigSources) -> Result<ExitCode, String> {
    let loaded = load(sources)?;
    let runtime = runtime(loaded.config.listen.threads)?;
    runtime.block_on(async {
        // With a handler, a write beyond the limit on the size of files fails instead of ending the process.
        let _limit_reached = signal(file_size_signal()).map_err(|error| error.to_string())?;
        let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
        let mut hangup = signal(SignalKind::hangup()).map_err(|error| error.to_string())?;
        let started = tokio::select! {
            started = Box::pin(serve::start(loaded, show)) => started,
            _ = terminate.recv() => return Err("stopped during the start".into()),
            _ = interrupt.recv() => return Err("stopped during the start".into()),
        };
        let running = match started {
            Ok(running) => running,
            Err(error @ StartError::Layer(_)) => {
                progress::say(&format!("personium: {}", chain(&error)));
                return Ok(ExitCode::from(LAYER_MISSING_STATUS));
            }
            Err(error) => return Err(chain(&error)),
        };
        service_manager::notify_ready();
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => running.reload(),
            }
        }
        service_manager::notify_stopping();
        tokio::select! {
            () = running.stop() => Ok(ExitCode::SUCCESS),
            _ = terminate.recv() => Err("aborted by a second signal".into()),
            _ = interrupt.recv() => Err("aborted by a second signal".into()),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::options::SETTINGS_FILE;
    use super::*;
    use crate::config::Config;

    fn sources(arguments: &[&str]) -> Result<ConfigSources, ConfigError> {
        let arguments = ["personium"].iter().chain(arguments);
        Cli::try_parse_from(arguments).unwrap().options.sources()
    }

    fn config(arguments: &[&str]) -> Config {
        LoadedConfig::load(&sources(arguments).unwrap())
            .unwrap()
            .config
    }

    #[test]
    fn port_option_replaces_the_port_in_urls_if_one_is_set() {
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
    fn settings_file_is_read_from_the_data_folder_by_default() {
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
        assert!(LoadedConfig::load(&sources(&["--config", "no-such-file"]).unwrap()).is_err());
    }

    #[test]
    fn malformed_options_are_refused() {
        assert!(Cli::try_parse_from(["personium", "-c", "novalue"]).is_err());
        assert!(Cli::try_parse_from(["personium", "--port", "70000"]).is_err());
        assert!(Cli::try_parse_from(["personium", "dance"]).is_err());
        assert!(matches!(
            Cli::try_parse_from(["personium", "check", "--json"])
                .unwrap()
                .command,
            Some(Command::Check { json: true, .. })
        ));
        for arguments in [
            &["admin"][..],
            &["admin", "rename"],
            &["admin", "rename", "--new-cell", "a", "--new-account", "b"],
            &["admin", "transfer"],
        ] {
            let arguments = ["personium"].iter().chain(arguments);
            assert!(Cli::try_parse_from(arguments).is_err());
        }
    }
}
