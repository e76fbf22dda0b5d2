//! The options of `personium admin`.

use std::io::{BufRead, Read};

use clap::{Args, Subcommand, ValueEnum};
use personium_model::quota::NewQuota;
use personium_types::Secret;

use super::load_settings;
use super::options::Options;
use super::selftest_options::{AccessOptions, AddressOptions};
use crate::administration::remote_mode::RemoteUnit;
use crate::administration::{AccountAddress, AdminCommand};
use crate::config::ConfigSources;
use crate::master_token::MasterTokenChange;
use crate::{first_start, master_token};

/// The largest length of a password that is read from the standard input.
const MAX_PASSWORD_BYTES: u64 = 4096;

#[derive(Debug, Subcommand)]
pub(super) enum AdminSubcommand {
    #[command(flatten)]
    Unit(UnitAdminSubcommand),
    /// Say whether there is a master token, or change it in the settings file. The unit may run; it takes the change over when its
    /// settings are reloaded.
    MasterToken {
        /// Generate another one, which is printed.
        #[arg(long = "new", conflicts_with = "off")]
        is_new: bool,
        /// Remove it.
        #[arg(long)]
        off: bool,
    },
}

/// Commands that open the unit.
#[derive(Debug, Subcommand)]
pub(super) enum UnitAdminSubcommand {
    /// List the administrators, the cells and their owners.
    List,
    /// Make an administrator in a new cell.
    Create {
        #[command(flatten)]
        account: AccountOptions,
        #[command(flatten)]
        password: PasswordOptions,
    },
    /// Set a new password of an account; it is printed once, or read from the standard input.
    Password {
        #[command(flatten)]
        account: AccountOptions,
        #[command(flatten)]
        password: PasswordOptions,
    },
    /// Rename an account (--new-account) or a cell (--new-cell). The cells that it owns stay its own.
    Rename {
        #[command(flatten)]
        account: AccountOptions,
        /// New name of the account.
        #[arg(
            long,
            value_name = "NAME",
            conflicts_with = "new_cell",
            required_unless_present = "new_cell"
        )]
        new_account: Option<String>,
        /// New name of the cell.
        #[arg(long, value_name = "NAME")]
        new_cell: Option<String>,
    },
    /// Make an account an administrator of the unit.
    Grant {
        #[command(flatten)]
        account: AccountOptions,
    },
    /// Show the modes of maintenance, or set one. Those of an owner (--owner) are `read-only` and `normal`. With --url those of a unit
    /// that runs, on any of its nodes.
    Mode {
        /// Mode of the unit or of the owner.
        mode: Option<ModeName>,
        /// Owner whose cells are meant, as `list` shows it.
        #[arg(long, value_name = "OWNER", requires = "mode")]
        owner: Option<String>,
        /// URL of the unit, if it runs.
        #[arg(long, value_name = "URL")]
        url: Option<String>,
        #[command(flatten)]
        running: RunningOptions,
    },
    /// Show the quotas, or set one. A running unit takes them over HTTP too, at __quota.
    Quota {
        /// Bytes that may be stored, `unlimited`, or `default` for what the settings say.
        #[arg(value_name = "BYTES")]
        quota: Option<String>,
        /// Name of the cell that is meant.
        #[arg(
            long,
            value_name = "NAME",
            requires = "quota",
            conflicts_with = "owner"
        )]
        cell: Option<String>,
        /// Owner whose cells are meant all together, as `list` shows it.
        #[arg(long, value_name = "OWNER", requires = "quota")]
        owner: Option<String>,
    },
    /// Give all cells of an owner to an account.
    Transfer {
        /// Owner, as `list` shows it.
        #[arg(long, value_name = "OWNER")]
        from: String,
        #[command(flatten)]
        account: AccountOptions,
    },
}

/// How a running unit is reached, and as whom.
#[derive(Debug, Args)]
pub(super) struct RunningOptions {
    #[command(flatten)]
    address: AddressOptions,
    #[command(flatten)]
    access: AccessOptions,
}

/// The modes of the unit and of owners.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum ModeName {
    /// Everything is possible.
    Normal,
    /// The cells of the owner can be read.
    ReadOnly,
    /// The unit can be read and deleted from.
    ReadDelete,
}

/// The command about quotas.
fn set_quota(
    quota: Option<&str>,
    cell: Option<String>,
    owner: Option<String>,
) -> Result<AdminCommand, String> {
    let Some(text) = quota else {
        return Ok(AdminCommand::ShowQuotas);
    };
    let quota = match text {
        "unlimited" => NewQuota::Unlimited,
        "default" => NewQuota::Default,
        text => NewQuota::Bytes(text.parse().map_err(|_| {
            format!("{text} is no quota: give a number of bytes, `unlimited` or `default`")
        })?),
    };
    match (cell, owner) {
        (Some(cell), _) => Ok(AdminCommand::SetCellQuota(cell, quota)),
        (None, Some(owner)) => Ok(AdminCommand::SetOwnerQuota(owner, quota)),
        (None, None) => Err("give --cell or --owner".to_owned()),
    }
}

/// The command for a mode of the unit or of an owner.
fn set_mode(mode: ModeName, owner: Option<String>) -> Result<AdminCommand, String> {
    match (mode, owner) {
        (ModeName::Normal, None) => Ok(AdminCommand::SetReadDeleteOnly(false)),
        (ModeName::ReadDelete, None) => Ok(AdminCommand::SetReadDeleteOnly(true)),
        (ModeName::Normal, Some(owner)) => Ok(AdminCommand::SetReadOnly(owner, false)),
        (ModeName::ReadOnly, Some(owner)) => Ok(AdminCommand::SetReadOnly(owner, true)),
        (ModeName::ReadOnly, None) => {
            Err("read-only is a mode of an owner: name it with --owner".to_owned())
        }
        (ModeName::ReadDelete, Some(_)) => {
            Err("read-delete is a mode of the whole unit, without --owner".to_owned())
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct AccountOptions {
    /// Cell of the account.
    #[arg(long, value_name = "NAME", default_value = first_start::ADMIN_NAME)]
    cell: String,
    /// Account.
    #[arg(long, value_name = "NAME", default_value = first_start::ADMIN_NAME)]
    account: String,
}

#[derive(Debug, Args)]
pub(super) struct PasswordOptions {
    /// Read the password from the standard input instead of generating one.
    #[arg(long)]
    stdin: bool,
}

impl From<AccountOptions> for AccountAddress {
    fn from(options: AccountOptions) -> Self {
        Self {
            cell: options.cell,
            account: options.account,
        }
    }
}

impl PasswordOptions {
    /// Reads the password, if it is on the standard input.
    fn read(&self) -> Result<Option<Secret<String>>, String> {
        if !self.stdin {
            return Ok(None);
        }
        let mut line = String::new();
        let input = std::io::stdin().lock();
        let read = input.take(MAX_PASSWORD_BYTES).read_line(&mut line);
        read.map_err(|error| format!("cannot read the password: {error}"))?;
        let password = line.trim_end_matches(['\r', '\n']);
        if password.is_empty() {
            return Err("the standard input has no password".to_owned());
        }
        Ok(Some(Secret::new(password.to_owned())))
    }
}

/// Shows or changes the master token. Returns what to print.
///
/// # Errors
/// A text if the settings file cannot be read or edited.
pub(super) fn run_master_token(
    sources: &ConfigSources,
    options: &Options,
    change: Option<MasterTokenChange>,
) -> Result<String, String> {
    let loaded = load_settings(sources)?;
    match change {
        None => Ok(master_token::describe(&loaded)),
        Some(change) => {
            let file = options.settings_file(&loaded.config);
            master_token::change(&loaded, &file, change)
        }
    }
}

impl UnitAdminSubcommand {
    /// The running unit that the command is for, if one is named, and the command.
    ///
    /// # Errors
    /// As [`Self::parse`]; a text if the URL is none, or the password or token cannot be read.
    pub(super) fn parse_for_running(self) -> Result<(Option<RemoteUnit>, AdminCommand), String> {
        match self {
            Self::Mode {
                mode,
                owner,
                url: Some(url),
                running,
            } => {
                let command = match mode {
                    Some(mode) => set_mode(mode, owner)?,
                    None => AdminCommand::ShowMode,
                };
                let unit = RemoteUnit {
                    address: running.address.unit(&url)?,
                    access: running.access.read()?,
                };
                Ok((Some(unit), command))
            }
            Self::Mode { running, .. }
                if running.address.is_given() || running.access.has_file() =>
            {
                Err("these options are for a unit that runs: give its URL with --url".to_owned())
            }
            other => Ok((None, other.parse()?)),
        }
    }

    /// Reads what belongs to the command besides the command line.
    ///
    /// # Errors
    /// A text if there is no password on the standard input, or the mode is one of another thing.
    pub(super) fn parse(self) -> Result<AdminCommand, String> {
        Ok(match self {
            Self::List => AdminCommand::List,
            Self::Create { account, password } => {
                AdminCommand::Create(account.into(), password.read()?)
            }
            Self::Password { account, password } => {
                AdminCommand::SetPassword(account.into(), password.read()?)
            }
            Self::Rename {
                account,
                new_account: Some(name),
                ..
            } => AdminCommand::RenameAccount(account.into(), name),
            Self::Rename {
                account, new_cell, ..
            } => AdminCommand::RenameCell(account.cell, new_cell.unwrap_or_default()),
            Self::Mode { mode: None, .. } => AdminCommand::ShowMode,
            Self::Mode {
                mode: Some(mode),
                owner,
                ..
            } => set_mode(mode, owner)?,
            Self::Quota { quota, cell, owner } => set_quota(quota.as_deref(), cell, owner)?,
            Self::Grant { account } => AdminCommand::Grant(account.into()),
            Self::Transfer { from, account } => AdminCommand::Transfer(from, account.into()),
        })
    }
}
