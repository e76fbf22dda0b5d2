//! The options of `personium selftest`, and of a check from outside.

use std::io::Read;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use personium_types::Secret;

use super::{print, runtime};
use crate::first_start;
use crate::outside::{UnitAccess, UnitAddress};
use crate::selftest;

/// The largest length of a password or token that is read.
const MAX_SECRET_BYTES: u64 = 65_536;

/// How a unit is reached from outside.
#[derive(Debug, Args)]
pub(super) struct AddressOptions {
    /// File with certificates (PEM) to trust besides those of this machine.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Address to connect to, whatever address the host names have.
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,
}

impl AddressOptions {
    /// Whether one of them is given.
    pub(super) const fn is_given(&self) -> bool {
        self.ca.is_some() || self.address.is_some()
    }

    /// The unit with this URL.
    ///
    /// # Errors
    /// A text if it is no URL of a unit.
    pub(super) fn unit(self, url: &str) -> Result<UnitAddress, String> {
        UnitAddress::new(url, self.ca, self.address)
    }
}

/// The authority of a command over a unit that runs.
#[derive(Debug, Args)]
pub(super) struct AccessOptions {
    /// Cell of an account that administrates the unit.
    #[arg(long, value_name = "NAME", default_value = first_start::ADMIN_NAME)]
    cell: String,
    /// The account. Its password is read from the standard input, unless a file is given.
    #[arg(long, value_name = "NAME", default_value = first_start::ADMIN_NAME)]
    account: String,
    /// File with the password.
    #[arg(long, value_name = "FILE", conflicts_with = "token_file")]
    password_file: Option<PathBuf>,
    /// File with a token of a unit user or the master token, instead of an account.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl AccessOptions {
    /// Whether a file is given.
    pub(super) const fn has_file(&self) -> bool {
        self.password_file.is_some() || self.token_file.is_some()
    }

    /// Reads the token, or the password.
    ///
    /// # Errors
    /// A text if it cannot be read.
    pub(super) fn read(self) -> Result<UnitAccess, String> {
        Ok(match self.token_file {
            Some(file) => UnitAccess::Token(read_secret(Some(file))?),
            None => UnitAccess::Account {
                cell: self.cell,
                account: self.account,
                password: read_secret(self.password_file)?,
            },
        })
    }
}

#[derive(Debug, Args)]
pub(super) struct SelfTestOptions {
    /// URL of the unit.
    #[arg(long, value_name = "URL")]
    url: String,
    #[command(flatten)]
    address: AddressOptions,
    #[command(flatten)]
    access: AccessOptions,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl SelfTestOptions {
    /// Runs the test.
    ///
    /// # Errors
    /// A text if the URL is none, or a password or token cannot be read.
    pub(super) fn run(self) -> Result<ExitCode, String> {
        let address = self.address.unit(&self.url)?;
        let access = self.access.read()?;
        let report = runtime(1)?.block_on(Box::pin(selftest::run(&address, access)));
        let text = match self.json {
            true => format!("{}\n", report.json()),
            false => report.to_string(),
        };
        print(&text).map_err(|error| format!("the report could not be written: {error}"))?;
        Ok(match report.passed() {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }
}

/// Reads the first line of a file or of the standard input.
pub(super) fn read_secret(file: Option<PathBuf>) -> Result<Secret<String>, String> {
    let name = file.as_ref().map_or_else(
        || "the standard input".to_owned(),
        |path| path.display().to_string(),
    );
    let mut text = String::new();
    let read = match file {
        Some(path) => std::fs::File::open(path)
            .and_then(|file| file.take(MAX_SECRET_BYTES).read_to_string(&mut text)),
        None => std::io::stdin()
            .lock()
            .take(MAX_SECRET_BYTES)
            .read_to_string(&mut text),
    };
    read.map_err(|error| format!("cannot read {name}: {error}"))?;
    let line = text.lines().next().unwrap_or_default().trim();
    match line.is_empty() {
        true => Err(format!("{name} has no password or token in its first line")),
        false => Ok(Secret::new(line.to_owned())),
    }
}
