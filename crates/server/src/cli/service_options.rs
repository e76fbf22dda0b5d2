//! The options of `personium service`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use super::selftest_options::{AddressOptions, read_secret};
use super::{print, runtime};
use crate::service::{self, Deployment, ServiceAccess};

#[derive(Debug, Subcommand)]
pub(super) enum ServiceSubcommand {
    /// Copy the scripts of a folder to a service collection, and again whenever they change, until it is interrupted.
    Run {
        #[command(flatten)]
        target: ServiceTarget,
        /// Copy once and end.
        #[arg(long)]
        once: bool,
    },
    /// Copy the scripts of a folder to a service collection, send the requests of its folder tests, and compare the answers.
    Test {
        #[command(flatten)]
        target: ServiceTarget,
    },
}

/// The folder of a service, and where it is copied to.
#[derive(Debug, Args)]
pub(super) struct ServiceTarget {
    /// Folder with the scripts.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// URL of the service collection, which is made if it does not exist.
    #[arg(long, value_name = "URL")]
    url: String,
    #[command(flatten)]
    address: AddressOptions,
    /// File with a token.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["cell", "account", "password_file"])]
    token_file: Option<PathBuf>,
    /// URL of the cell of an account, instead of a token.
    #[arg(long, value_name = "URL", requires = "account")]
    cell: Option<String>,
    /// The account. Its password is read from the standard input, unless a file is given.
    #[arg(long, value_name = "NAME", requires = "cell")]
    account: Option<String>,
    /// File with the password.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl ServiceTarget {
    fn deployment(self) -> Result<(PathBuf, Deployment), String> {
        let access = match (self.token_file, self.cell, self.account) {
            (Some(file), ..) => ServiceAccess::Token(read_secret(Some(file))?),
            (None, Some(cell), Some(account)) => ServiceAccess::Account {
                cell: format!("{}/", cell.trim_end_matches('/')),
                account,
                password: read_secret(self.password_file)?,
            },
            _ => return Err("give --token-file, or --cell and --account".to_owned()),
        };
        let address = self.address;
        let deployment = Deployment::new(&self.url, |url| address.unit(url), access)?;
        Ok((self.folder, deployment))
    }
}

impl ServiceSubcommand {
    /// Runs the command.
    ///
    /// # Errors
    /// A text if the options or the folder are not usable, or the unit refuses the service.
    pub(super) fn run(self) -> Result<ExitCode, String> {
        let runtime = runtime(1)?;
        match self {
            Self::Run { target, once } => {
                let (folder, mut deployment) = target.deployment()?;
                runtime.block_on(async {
                    if once {
                        service::deploy(&folder, &mut deployment, print).await?;
                        return Ok(ExitCode::SUCCESS);
                    }
                    let to_text = |error: std::io::Error| error.to_string();
                    let mut terminate = signal(SignalKind::terminate()).map_err(to_text)?;
                    let mut interrupt = signal(SignalKind::interrupt()).map_err(to_text)?;
                    tokio::select! {
                        ended = service::watch(&folder, &mut deployment, print) => ended?,
                        _ = terminate.recv() => {}
                        _ = interrupt.recv() => {}
                    }
                    Ok(ExitCode::SUCCESS)
                })
            }
            Self::Test { target } => {
                let (folder, mut deployment) = target.deployment()?;
                runtime.block_on(async {
                    service::deploy(&folder, &mut deployment, print).await?;
                    let passed = service::test(&folder, &mut deployment, print).await?;
                    Ok(match passed {
                        true => ExitCode::SUCCESS,
                        false => ExitCode::FAILURE,
                    })
                })
            }
        }
    }
}
