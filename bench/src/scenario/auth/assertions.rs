//! Another unit that issues assertions, with a certificate under an authority of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use crate::Outcome;
use crate::connection::{Body, Connection, request};
use crate::unit::{Unit, text_of};

/// The host in its URLs. Nobody resolves it.
const HOST: &str = "issuer.example";
/// Roles of each account, and so role URLs in each assertion.
const ROLES: usize = 10;
/// Connections that ask for assertions.
const CONNECTIONS: usize = 16;
/// Whom the assertions are for.
const TARGET: &str = "http://localhost/target/";

/// The unit that issues.
pub(super) struct Issuer {
    unit: Unit,
    /// The certificate of its authority.
    pub(super) authority: PathBuf,
    /// Each cell with a refresh token of its account.
    accounts: Arc<Vec<(String, String)>>,
}

impl Issuer {
    /// Starts it with so many cells, an account with ten roles in each.
    ///
    /// # Errors
    /// When there is no `openssl` to make its certificate, or it does not start.
    pub(super) async fn start(program: &Path, folder: &Path, cells: usize) -> Outcome<Self> {
        std::fs::create_dir_all(folder)
            .map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
        make_keys(folder)?;
        let path = |name: &str| folder.join(name).display().to_string();
        let more = format!(
            "io.personium.core.x509.key={}\nio.personium.core.x509.crt={}\nio.personium.core.x509.root={}\n",
            path("unit.key"),
            path("unit.crt"),
            path("authority.crt")
        );
        let mut unit = Unit::start_as(program, folder, HOST, &more).await?;
        let mut accounts = Vec::new();
        for number in 0..cells {
            let cell = format!("c{number}");
            unit.make_cell(&cell).await?;
            // A new cell has three roles already.
            for role in 4..=ROLES {
                add_role(&mut unit, &cell, &format!("role{role}")).await?;
            }
            let form = "grant_type=password&username=me&password=password1";
            let refresh = text_of(&unit.tokens(&cell, form).await?, "refresh_token")?;
            accounts.push((cell, refresh));
        }
        Ok(Self {
            unit,
            authority: folder.join("authority.crt"),
            accounts: Arc::new(accounts),
        })
    }

    /// So many assertions, no two alike, of all cells in turn.
    ///
    /// # Errors
    /// When one is refused.
    pub(super) async fn issue(&mut self, count: usize) -> Outcome<Vec<String>> {
        let mut tasks = Vec::new();
        for first in 0..CONNECTIONS {
            let (port, accounts) = (self.unit.port(), Arc::clone(&self.accounts));
            tasks.push(tokio::spawn(async move {
                let mut connection = Connection::open(port)
                    .await
                    .map_err(|e| format!("cannot connect: {e}"))?;
                let mut made = Vec::new();
                for number in (first..count).step_by(CONNECTIONS) {
                    let (cell, refresh) = accounts
                        .get(number % accounts.len().max(1))
                        .ok_or("no account issues")?;
                    made.push(one(&mut connection, cell, refresh).await?);
                }
                Ok::<_, String>(made)
            }));
        }
        let mut all = Vec::with_capacity(count);
        for task in tasks {
            all.extend(
                task.await
                    .map_err(|e| format!("a connection ended: {e}"))??,
            );
        }
        Ok(all)
    }
}

async fn one(connection: &mut Connection, cell: &str, refresh: &str) -> Outcome<String> {
    let form = format!("grant_type=refresh_token&refresh_token={refresh}&p_target={TARGET}");
    let headers = [
        ("Host", HOST),
        ("Content-Type", "application/x-www-form-urlencoded"),
    ];
    let asked = request(
        "POST",
        &format!("/{cell}/__token"),
        &headers,
        form.as_bytes(),
    );
    let mut answer = Vec::new();
    let got = connection
        .exchange(&asked, Body::Keep(&mut answer))
        .await
        .map_err(|e| format!("a connection broke: {e}"))?;
    if got.status != 200 {
        let text = String::from_utf8_lossy(&answer);
        return Err(format!("no assertion, but {}: {text}", got.status));
    }
    let json = serde_json::from_slice(&answer)
        .map_err(|e| format!("the token answer is not JSON: {e}"))?;
    text_of(&json, "access_token")
}

async fn add_role(unit: &mut Unit, cell: &str, role: &str) -> Outcome {
    let body = format!("{{\"Name\":\"{role}\"}}");
    unit.call("POST", &format!("/{cell}/__ctl/Role"), &[], body.as_bytes())
        .await?;
    let link = format!("{{\"uri\":\"http://{HOST}/{cell}/__ctl/Role('{role}')\"}}");
    let path = format!("/{cell}/__ctl/Account('me')/$links/_Role");
    unit.call("POST", &path, &[], link.as_bytes()).await?;
    Ok(())
}

/// An authority, and the unit's key with a certificate of that authority.
fn make_keys(folder: &Path) -> Outcome {
    std::fs::write(
        folder.join("extensions"),
        format!("basicConstraints=CA:FALSE\nsubjectAltName=DNS:{HOST}\n"),
    )
    .map_err(|e| format!("cannot write: {e}"))?;
    let subject = format!("/CN={HOST}");
    for arguments in [
        "req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=Authority -keyout authority.key -out authority.crt",
        &format!("req -new -newkey rsa:2048 -nodes -subj {subject} -keyout unit.key -out unit.csr"),
        "x509 -req -days 30 -in unit.csr -CA authority.crt -CAkey authority.key -CAcreateserial -extfile extensions -out unit.crt",
    ] {
        let out = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(folder)
            .output()
            .map_err(|e| format!("cannot run openssl: {e}"))?;
        if !out.status.success() {
            let text = String::from_utf8_lossy(&out.stderr);
            return Err(format!("openssl {arguments}: {text}"));
        }
    }
    Ok(())
}
