//! `personium admin`: who administrates the unit. The commands work on the data folder of a unit that does not run.

mod mode;
mod overview;
mod quota;
pub mod remote_mode;
mod repair;

use std::fmt;
use std::io;

use http::Method;
use personium_model::administrator_cells;
use personium_model::auth::account;
use personium_model::odata::ownership;
use personium_model::quota::{NewQuota, QuotaSubject};
use personium_model::url::encode_segment;
use personium_model::{CellContext, PermitTarget};
use personium_types::error::chain;
use personium_types::{Operation, Secret};
use serde_json::{Value, json};

use crate::administrator_file;
use crate::command_audit::AuditedCommand;
use crate::components::{self, Components};
use crate::config::{Config, LoadedConfig};
use crate::first_start;
use crate::local_api::{ADMIN_ROLES, Administrator, LocalApi, LocalRequest};
use crate::{passwords, serve, system};

/// An account of a cell.
#[derive(Debug, Clone)]
pub struct AccountAddress {
    /// The name of the cell.
    pub cell: String,
    /// The name of the account.
    pub account: String,
}

/// A command, with its parameters.
#[derive(Debug, Clone)]
pub enum AdminCommand {
    /// Lists the administrators, the cells and their owners.
    List,
    /// Makes an administrator in a new cell, with this password or a generated one.
    Create(AccountAddress, Option<Secret<String>>),
    /// Sets this password, or a generated one.
    SetPassword(AccountAddress, Option<Secret<String>>),
    /// Renames an account; its cells stay its own.
    RenameAccount(AccountAddress, String),
    /// Renames a cell; the cells of its accounts stay theirs.
    RenameCell(String, String),
    /// Makes an account an administrator of the unit.
    Grant(AccountAddress),
    /// Gives the cells of an owner to an account.
    Transfer(String, AccountAddress),
    /// Shows the modes of maintenance.
    ShowMode,
    /// Lets requests read and delete only, or ends that.
    SetReadDeleteOnly(bool),
    /// Lets requests only read the cells of an owner, or ends that.
    SetReadOnly(String, bool),
    /// Shows the quotas that were set.
    ShowQuotas,
    /// Sets the quota of the cell with this name.
    SetCellQuota(String, NewQuota),
    /// Sets the quota of all cells of an owner.
    SetOwnerQuota(String, NewQuota),
    /// Counts anew what the cells store, and repairs indexes, links and numbers; of all, or only of the cell with this name.
    Repair(Option<String>),
}

impl AdminCommand {
    /// The command for the audit log; `None` if it changes nothing.
    fn audited(&self) -> Option<AuditedCommand> {
        let (operation, target) = match self {
            Self::List | Self::ShowMode | Self::ShowQuotas => return None,
            Self::Create(address, _) => ("admin.create", address.to_string()),
            Self::SetPassword(address, _) => ("admin.password", address.to_string()),
            Self::RenameAccount(address, name) => {
                ("admin.renameAccount", format!("{address}, to {name}"))
            }
            Self::RenameCell(cell, name) => ("admin.renameCell", format!("{cell}, to {name}")),
            Self::Grant(address) => ("admin.grant", address.to_string()),
            Self::Transfer(owner, address) => {
                ("admin.transfer", format!("cells of {owner}, to {address}"))
            }
            Self::SetReadDeleteOnly(is_on) => ("admin.readDeleteMode", on_or_off(*is_on)),
            Self::SetReadOnly(owner, is_on) => {
                let mode = on_or_off(*is_on);
                ("admin.readOnlyMode", format!("cells of {owner}, {mode}"))
            }
            Self::SetCellQuota(cell, quota) => ("admin.cellQuota", format!("{cell}, {quota:?}")),
            Self::SetOwnerQuota(owner, quota) => {
                ("admin.ownerQuota", format!("cells of {owner}, {quota:?}"))
            }
            Self::Repair(cell) => {
                let cell = cell.clone();
                (
                    "admin.repair",
                    cell.unwrap_or_else(|| "all cells".to_owned()),
                )
            }
        };
        Some(AuditedCommand { operation, target })
    }
}

fn on_or_off(is_on: bool) -> String {
    match is_on {
        true => "on".to_owned(),
        false => "off".to_owned(),
    }
}

impl fmt::Display for AccountAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.cell, self.account)
    }
}

/// A command that failed. Its text says what to do.
type CommandResult<T = ()> = Result<T, String>;

/// Runs a command. `show` gets what it has to say; a password is shown before it is set.
///
/// # Errors
/// A text for the operator.
pub async fn run(
    loaded: LoadedConfig,
    command: AdminCommand,
    show: impl Fn(&str) -> io::Result<()>,
) -> CommandResult {
    let data_dir = loaded.config.store.data_dir.clone();
    if first_start::is_due(&loaded.config) {
        return Err(format!(
            "{} contains no unit yet; the first start makes one",
            data_dir.display()
        ));
    }
    let files_max = loaded.config.store.open_files_max;
    let (clock, random) = (system::clock(), system::random());
    // Boxed, because the future is large.
    let components = Box::pin(Components::build(loaded, files_max, clock, random)).await;
    let components = components
        .map_err(|error| error.for_command("These commands need the unit to be stopped"))?;
    let session = Session::new(&components)?;
    let done = match command.audited() {
        None => session.run(command, &show).await,
        Some(audited) => {
            let running = session.run(command, &show);
            Box::pin(audited.run(&session.api.unit, running)).await
        }
    };
    components::leave_unit(&session.api.unit).await;
    serve::close(&*components.records.port()).await;
    done
}

/// The opened unit of a command.
struct Session<'a> {
    config: &'a Config,
    components: &'a Components,
    api: LocalApi,
}

impl<'a> Session<'a> {
    fn new(components: &'a Components) -> CommandResult<Self> {
        Ok(Self {
            config: &components.config,
            components,
            api: LocalApi::new(components).map_err(|error| chain(&error))?,
        })
    }

    async fn run(
        &self,
        command: AdminCommand,
        show: &impl Fn(&str) -> io::Result<()>,
    ) -> CommandResult {
        let text = match command {
            AdminCommand::List => overview::text(&self.api.unit, self.config).await?,
            AdminCommand::Create(address, password) => {
                return self.create(address, password, show).await;
            }
            AdminCommand::SetPassword(address, password) => {
                return self.set_password(&address, password, show).await;
            }
            AdminCommand::RenameAccount(address, name) => {
                self.rename_account(&address, &name).await?
            }
            AdminCommand::RenameCell(cell, name) => self.rename_cell(&cell, &name).await?,
            AdminCommand::Grant(address) => self.grant(&address).await?,
            AdminCommand::Transfer(owner, address) => self.transfer(&owner, &address).await?,
            AdminCommand::ShowMode => mode::show(&self.api.unit).await?,
            AdminCommand::SetReadDeleteOnly(is_on) => {
                mode::set_read_delete_only(&self.api.unit, is_on).await?
            }
            AdminCommand::SetReadOnly(owner, is_on) => {
                mode::set_read_only(&self.api.unit, &owner, is_on).await?
            }
            AdminCommand::ShowQuotas => quota::show(&self.api.unit).await?,
            AdminCommand::SetCellQuota(name, quota) => {
                let cell = self.cell(&name).await?.cell().id;
                quota::set(&self.api, QuotaSubject::Cell(cell), quota).await?
            }
            AdminCommand::SetOwnerQuota(owner, quota) => {
                let owner = mode::owner(&self.api.unit, &owner)?;
                quota::set(&self.api, QuotaSubject::Owner(owner), quota).await?
            }
            AdminCommand::Repair(cell) => {
                let (unit, cell) = (&self.api.unit, cell.as_deref());
                // The counters are those of what is there afterwards.
                let repaired = repair::derived_records(unit, cell).await?;
                quota::recount(unit, cell).await? + &repaired
            }
        };
        show(&text).map_err(|error| format!("done, but the result could not be written: {error}"))
    }

    /// Returns the cell of this name.
    async fn cell(&self, name: &str) -> CommandResult<std::sync::Arc<CellContext>> {
        let found = self.api.unit.find_cell(name).await;
        found.map_err(|error| chain(&error))?.ok_or_else(|| {
            format!("the unit has no cell {name}; `personium admin list` lists them")
        })
    }

    /// Checks that the account exists.
    async fn check_account(&self, address: &AccountAddress) -> CommandResult {
        let AccountAddress { cell, account } = address;
        let context = self.cell(cell).await?;
        let found = account::find(&context, account).await;
        match found.map_err(|error| chain(&error))? {
            Some(_) => Ok(()),
            None => Err(format!("the cell {cell} has no account {account}")),
        }
    }

    fn cell_url(&self, cell: &str) -> String {
        self.api.unit.urls().cell(cell)
    }

    fn account_url(&self, address: &AccountAddress) -> String {
        let AccountAddress { cell, account } = address;
        format!("{}__ctl/Account({})", self.cell_url(cell), key(account))
    }

    /// The given password, or a generated one that follows the rule of the unit.
    fn password(&self, given: Option<Secret<String>>) -> CommandResult<Secret<String>> {
        match given {
            Some(password) => Ok(password),
            None => passwords::generate(&self.config.passwords.pattern, &self.components.random)
                .map_err(|error| chain(&error)),
        }
    }

    async fn create(
        &self,
        address: AccountAddress,
        given: Option<Secret<String>>,
        show: &impl Fn(&str) -> io::Result<()>,
    ) -> CommandResult {
        let is_generated = given.is_none();
        let AccountAddress { cell, account } = address.clone();
        let found = self.api.unit.find_cell(&cell).await;
        if found.map_err(|error| chain(&error))?.is_some() {
            return Err(format!(
                "the cell {cell} exists; `personium admin grant` makes one of its accounts an administrator"
            ));
        }
        let administrator = Administrator {
            unit: self.api.unit.urls().unit(),
            cell: self.cell_url(&cell),
            account,
            password: self.password(given)?,
        };
        let created = self.api.create_administrator(&cell, &administrator).await;
        created.map_err(|error| chain(&error))?;
        let note = self.add_issuer(&cell).await?;
        let text = if is_generated {
            administrator.welcome()
        } else {
            format!(
                "The administrator is {}#{}\n",
                administrator.cell, administrator.account
            )
        };
        if let Err(error) = show(&format!("{text}{note}")) {
            let removed = self.api.delete_cell_if_exists(&administrator.cell).await;
            removed.map_err(|error| chain(&error))?;
            return Err(format!(
                "the password could not be written, nothing was made: {error}"
            ));
        }
        Ok(())
    }

    async fn set_password(
        &self,
        address: &AccountAddress,
        given: Option<Secret<String>>,
        show: &impl Fn(&str) -> io::Result<()>,
    ) -> CommandResult {
        self.check_account(address).await?;
        let is_generated = given.is_none();
        let password = self.password(given)?;
        // Shown first: a password that is set and was not written would be lost.
        let text = match is_generated {
            true => format!("password  {}\n", password.reveal()),
            false => String::new(),
        };
        show(&text).map_err(|error| {
            format!("the password could not be written and is not changed: {error}")
        })?;
        let headers = [("x-personium-credential", password.reveal().as_str())];
        let changed = self
            .merge(
                &self.account_url(address),
                &headers,
                json!({"Status": "active"}),
            )
            .await;
        changed.map_err(|error| format!("the password is not changed: {error}"))
    }

    async fn rename_account(&self, address: &AccountAddress, name: &str) -> CommandResult<String> {
        self.check_account(address).await?;
        self.merge(&self.account_url(address), &[], json!({"Name": name}))
            .await?;
        let AccountAddress { cell, account } = address;
        Ok(format!(
            "The account {account} of the cell {cell} is {name} now, and so is the owner of its cells.\n"
        ))
    }

    async fn rename_cell(&self, cell: &str, name: &str) -> CommandResult<String> {
        self.cell(cell).await?;
        let url = format!("{}__ctl/Cell({})", self.api.unit.urls().unit(), key(cell));
        self.merge(&url, &[], json!({"Name": name})).await?;
        self.write_administrator_file().await?;
        let old = self.cell_url(cell);
        let urls = self.api.unit.urls();
        let mut issuers = self.config.unit.issuers.iter();
        let note = match issuers.any(|issuer| urls.resolve(issuer).as_deref() == Some(old.as_str()))
        {
            true => format!(
                "Replace the cell in the setting unitUser.issuers: personium-localunit:{name}:/\n"
            ),
            false => String::new(),
        };
        Ok(format!(
            "The cell {cell} is {name} now, and so are the owners of the cells of its accounts.\n{note}"
        ))
    }

    async fn grant(&self, address: &AccountAddress) -> CommandResult<String> {
        self.check_account(address).await?;
        let AccountAddress { cell, account } = address;
        let cell_url = self.cell_url(cell);
        for role in ADMIN_ROLES {
            let granted = self.api.grant_role(&cell_url, account, role).await;
            granted.map_err(|error| chain(&error))?;
        }
        let note = self.add_issuer(cell).await?;
        Ok(format!(
            "The account {account} of the cell {cell} administrates the unit now. So does everybody who may give the \
             roles {} in that cell.\n{note}",
            ADMIN_ROLES.join(" and ")
        ))
    }

    async fn transfer(&self, owner: &str, address: &AccountAddress) -> CommandResult<String> {
        self.check_account(address).await?;
        let urls = self.api.unit.urls();
        let from = urls.resolve(owner).ok_or_else(|| {
            format!("{owner} is no owner: give it as `personium admin list` shows it")
        })?;
        let to = format!("{}#{}", self.cell_url(&address.cell), address.account);
        let permit = self
            .api
            .server
            .permit(Operation::WriteCells, PermitTarget::Unit);
        let changed = ownership::transfer_cells(&self.api.unit, &permit, &from, &to).await;
        let changed = changed.map_err(|error| chain(&error))?;
        Ok(format!("{changed} cells belong to {to} now.\n"))
    }

    /// Makes a cell one whose accounts can administrate the unit. Returns what is left to do.
    async fn add_issuer(&self, cell: &str) -> CommandResult<String> {
        let added = administrator_cells::add(&self.api.unit.records(), cell).await;
        added.map_err(|error| chain(&error))?;
        self.write_administrator_file().await?;
        let urls = self.api.unit.urls();
        let url = urls.cell(cell);
        let issuers = &self.config.unit.issuers;
        let is_issuer = |issuer: &String| urls.resolve(issuer).as_deref() == Some(url.as_str());
        if issuers.is_empty() || issuers.iter().any(is_issuer) {
            return Ok(String::new());
        }
        Ok(format!(
            "The setting unitUser.issuers does not name the cell: add personium-localunit:{cell}:/ to it.\n"
        ))
    }

    /// Writes the recorded cells with administrators into the file of this node.
    async fn write_administrator_file(&self) -> CommandResult {
        let unit = self.api.unit.records();
        let written = administrator_file::synchronize(&self.config.store.data_dir, &unit).await;
        written.map_err(|error| chain(&error))
    }

    async fn merge(&self, url: &str, headers: &[(&str, &str)], body: Value) -> CommandResult {
        let method = Method::from_bytes(b"MERGE").map_err(|error| error.to_string())?;
        let request = LocalRequest {
            method,
            url,
            headers,
            body: Some(body.to_string()),
        };
        let done = self.api.send(request).await;
        done.map(drop).map_err(|error| chain(&error))
    }
}

/// A name as the key of an entity in a URL.
fn key(name: &str) -> String {
    format!("'{}'", encode_segment(&name.replace('\'', "''")))
}
