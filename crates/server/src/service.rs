//! `personium service`: develops the scripts of a service in a local folder.

mod cases;
mod deployment;
mod local;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use personium_types::Secret;

use self::cases::CaseOutcome;
pub use self::deployment::Deployment;
use self::local::LocalService;

/// The pause between two looks at the folder.
const WATCH_INTERVAL: Duration = Duration::from_millis(300);
/// The pause before what failed is tried again, although nothing was changed.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// The authority with which a service is deployed and called.
#[derive(Debug)]
pub enum ServiceAccess {
    /// A token.
    Token(Secret<String>),
    /// An account, which logs in again when its token expires.
    Account {
        /// The URL of its cell, with a final slash.
        cell: String,
        /// The name.
        account: String,
        /// The password.
        password: Secret<String>,
    },
}

/// Copies the service in a folder to its collection.
///
/// # Errors
/// A text if the folder is not that of a service, the unit refuses something, or the output cannot be written.
pub async fn deploy(
    folder: &Path,
    deployment: &mut Deployment,
    report: fn(&str) -> io::Result<()>,
) -> Result<(), String> {
    let local = LocalService::read(folder)?;
    for line in deployment.update(&local).await? {
        write(report, &line)?;
    }
    Ok(())
}

/// Copies the service in a folder to its collection, and again whatever is changed, without an end. What fails is reported, and
/// tried again after the next change and from time to time.
///
/// # Errors
/// A text if the output cannot be written.
pub async fn watch(
    folder: &Path,
    deployment: &mut Deployment,
    report: fn(&str) -> io::Result<()>,
) -> Result<(), String> {
    let mut seen = None;
    let mut failed = None;
    loop {
        let now = local::signature(folder);
        if seen.as_ref() != Some(&now) {
            match deploy(folder, deployment, report).await {
                Ok(()) if failed.take().is_some() || seen.is_none() => {
                    write(report, &format!("the service is at {}", deployment.url()))?;
                }
                Ok(()) => {}
                Err(why) => {
                    if failed.as_ref() != Some(&why) {
                        write(report, &why)?;
                    }
                    failed = Some(why);
                }
            }
            seen = Some(now);
        }
        match failed {
            Some(_) => {
                wait_for_change(folder, seen.as_ref()).await;
                seen = None;
            }
            None => tokio::time::sleep(WATCH_INTERVAL).await,
        }
    }
}

/// Waits until something was changed in a folder, for five seconds at most.
async fn wait_for_change(folder: &Path, seen: Option<&local::Signature>) {
    let mut waited = Duration::ZERO;
    while waited < RETRY_INTERVAL && seen == Some(&local::signature(folder)) {
        tokio::time::sleep(WATCH_INTERVAL).await;
        waited += WATCH_INTERVAL;
    }
}

/// Sends the requests of the cases in the folder `tests` of a service and compares the answers. Returns whether all are as
/// expected.
///
/// # Errors
/// A text if there is no case, one cannot be read, or the output cannot be written.
pub async fn test(
    folder: &Path,
    deployment: &mut Deployment,
    report: fn(&str) -> io::Result<()>,
) -> Result<bool, String> {
    let cases = cases::read(&folder.join(cases::FOLDER))?;
    let (mut passed, mut failed) = (0_usize, 0_usize);
    for case in &cases {
        match case.run(deployment).await {
            CaseOutcome::Passed => {
                passed += 1;
                write(report, &format!("ok      {}", case.name()))?;
            }
            CaseOutcome::Failed(why) => {
                failed += 1;
                write(report, &format!("FAILED  {}: {why}", case.name()))?;
            }
        }
    }
    write(report, &format!("{passed} passed, {failed} failed"))?;
    Ok(failed == 0)
}

fn write(report: fn(&str) -> io::Result<()>, line: &str) -> Result<(), String> {
    report(&format!("{line}\n"))
        .map_err(|error| format!("the output could not be written: {error}"))
}

/// The text of a file of at most this number of bytes, which is in a folder also if links are followed. So a service of somebody else
/// cannot name files of the user, which would be copied.
fn read_text(folder: &Path, path: &Path, max_bytes: u64) -> Result<String, String> {
    let shown = path.display();
    let failed = |error: io::Error| format!("cannot read {shown}: {error}");
    let real = path.canonicalize().map_err(failed)?;
    if !real.starts_with(folder.canonicalize().map_err(failed)?) {
        return Err(format!(
            "{shown} is a link to a place outside of the folder"
        ));
    }
    // A pipe could wait without an end, a device have none.
    if !real.metadata().map_err(failed)?.is_file() {
        return Err(format!("{shown} is no file"));
    }
    let file = File::open(&real).map_err(failed)?;
    let mut text = String::new();
    let read = file
        .take(max_bytes.saturating_add(1))
        .read_to_string(&mut text);
    match u64::try_from(read.map_err(failed)?) {
        Ok(read) if read <= max_bytes => Ok(text),
        _ => Err(format!("{shown} has more than {max_bytes} bytes")),
    }
}
