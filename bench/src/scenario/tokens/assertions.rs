//! Another unit that issues assertions, with a certificate of an authority of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use personium_testkit::{RawConnection, text_member};

use crate::BenchResult;
use crate::unit::{BenchUnit, UnitSetup, request_tokens};

/// The host name in its URLs. It is never resolved.
const HOST: &str = "issuer.example";
/// The number of roles of each account, and so of role URLs in each assertion.
const ROLES: usize = 10;
/// The number of connections that request assertions.
const CONNECTIONS: usize = 16;
/// The audience of the assertions.
const TARGET: &str = "http://localhost/target/";

/// A unit that issues assertions.
pub(super) struct Issuer {
    unit: BenchUnit,
    /// The certificate of its authority.
    pub(super) authority: PathBuf,
    accounts: Arc<Vec<IssuingAccount>>,
}

/// An account of the issuing unit.
struct IssuingAccount {
    cell: String,
    refresh_token: String,
}

impl Issuer {
    /// Starts it with `cells` cells and an account with ten roles in each.
    ///
    /// # Errors
    /// A message if `openssl`, which generates its certificate, is missing or it does not start.
    pub(super) async fn start(program: &Path, folder: &Path, cells: usize) -> BenchResult<Self> {
        std::fs::create_dir_all(folder)
            .map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
        generate_certificates(folder)?;
        let path = |name: &str| folder.join(name).display().to_string();
        let settings = format!(
            "io.personium.core.x509.key={}\nio.personium.core.x509.crt={}\nio.personium.core.x509.root={}\n",
            path("unit.key"),
            path("unit.crt"),
            path("authority.crt")
        );
        let mut unit = BenchUnit::start_with(UnitSetup {
            program,
            folder,
            host: HOST,
            settings: &settings,
        })
        .await?;
        let mut accounts = Vec::new();
        for number in 0..cells {
            let cell = format!("c{number}");
            unit.create_cell(&cell).await?;
            // A new cell has three roles already.
            for role in 4..=ROLES {
                unit.create_role(&cell, &format!("role{role}")).await?;
            }
            let refresh_token = unit.refresh_token(&cell).await?;
            accounts.push(IssuingAccount {
                cell,
                refresh_token,
            });
        }
        Ok(Self {
            unit,
            authority: folder.join("authority.crt"),
            accounts: Arc::new(accounts),
        })
    }

    /// Returns `count` different assertions, of all cells in rotation.
    ///
    /// # Errors
    /// A message if one is refused.
    pub(super) async fn issue(&mut self, count: usize) -> BenchResult<Vec<String>> {
        let mut tasks = Vec::new();
        for first in 0..CONNECTIONS {
            let (port, accounts) = (self.unit.port(), Arc::clone(&self.accounts));
            tasks.push(tokio::spawn(async move {
                let mut connection = RawConnection::open(port)
                    .await
                    .map_err(|error| format!("cannot connect: {error}"))?;
                let mut assertions = Vec::new();
                for number in (first..count).step_by(CONNECTIONS) {
                    let account = accounts
                        .get(number % accounts.len().max(1))
                        .ok_or("there is no account")?;
                    assertions.push(issue_one(&mut connection, account).await?);
                }
                Ok::<_, String>(assertions)
            }));
        }
        let mut all = Vec::with_capacity(count);
        for task in tasks {
            let assertions = task
                .await
                .map_err(|error| format!("a connection task failed: {error}"))??;
            all.extend(assertions);
        }
        Ok(all)
    }
}

async fn issue_one(
    connection: &mut RawConnection,
    account: &IssuingAccount,
) -> BenchResult<String> {
    let token = &account.refresh_token;
    let form = format!("grant_type=refresh_token&refresh_token={token}&p_target={TARGET}");
    let response = request_tokens(connection, HOST, &account.cell, &form).await?;
    Ok(text_member(&response, "access_token"))
}

/// Generates an authority, and the unit's key with a certificate of that authority.
fn generate_certificates(folder: &Path) -> BenchResult {
    std::fs::write(
        folder.join("extensions"),
        format!("basicConstraints=CA:FALSE\nsubjectAltName=DNS:{HOST}\n"),
    )
    .map_err(|error| format!("cannot write: {error}"))?;
    let subject = format!("/CN={HOST}");
    for arguments in [
        "req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=Authority -keyout authority.key -out authority.crt",
        &format!("req -new -newkey rsa:2048 -nodes -subj {subject} -keyout unit.key -out unit.csr"),
        "x509 -req -days 30 -in unit.csr -CA authority.crt -CAkey authority.key -CAcreateserial -extfile extensions -out unit.crt",
    ] {
        let output = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(folder)
            .output()
            .map_err(|error| format!("cannot run openssl: {error}"))?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            return Err(format!("openssl {arguments}: {stderr}"));
        }
    }
    Ok(())
}
