//! The lock of a bucket of back-ups: an object that names the process that writes there, and which that process writes again and again.
//!
//! A process that ended without removing it is recognized at once on the same machine, elsewhere by the age of the object by the clock of the
//! server. Who could not renew it for some time takes nothing for granted any more, by its own clock; so two processes write at the same time
//! only if one stood still between a look at the clock and a request.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use personium_object_store::SmallObjects;
use personium_store::StoreError;
use personium_types::error::chain;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::BackupResult;
use super::manifest::member;
use crate::{key_files, system, system_user};

/// The name of the object.
pub(super) const LOCK_OBJECT: &str = "lock";
/// The largest object, in bytes.
const MAX_BYTES: u64 = 4 << 10;
/// The time between two renewals.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(20);
/// The time since the last renewal after which the holder gives up.
const HELD_FOR: Duration = Duration::from_secs(90);
/// The time since the last renewal after which another process takes the lock.
const EXPIRES_AFTER: Duration = Duration::from_secs(150);
/// The time after which a lock that another process has is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// The times that the lock is tried while it changes.
const ATTEMPTS: u32 = 3;

/// A process, as others can look for it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ProcessName {
    host: String,
    /// The start of the kernel and the space of process numbers, which are the same in all processes that see each other.
    scope: String,
    number: u32,
}

impl ProcessName {
    fn own() -> Self {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        let space = std::fs::read_link("/proc/self/ns/pid");
        let scope = match (boot, space) {
            (Ok(boot), Ok(space)) => format!("{} {}", boot.trim(), space.display()),
            _ => String::new(),
        };
        Self {
            host: system_user::host_name(),
            scope,
            number: std::process::id(),
        }
    }

    /// Whether the process has certainly ended, seen from `own`.
    fn has_ended(&self, own: &Self) -> bool {
        let is_near = !self.scope.is_empty() && self.scope == own.scope;
        is_near && !Path::new(&format!("/proc/{}", self.number)).exists()
    }
}

/// The content of the object.
#[derive(Debug, Clone, PartialEq, Eq)]
struct LockText {
    /// A random name of the holder.
    token: String,
    process: ProcessName,
    /// The number of the renewal: no content is written twice.
    renewals: u64,
}

impl LockText {
    fn to_bytes(&self) -> Bytes {
        let text = json!({
            "token": self.token, "host": self.process.host, "scope": self.process.scope,
            "process": self.process.number, "renewals": self.renewals,
        });
        Bytes::from(text.to_string())
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(bytes).ok()?;
        let text = |name: &str| member(&value, name).as_str().map(str::to_owned);
        Some(Self {
            token: text("token")?,
            process: ProcessName {
                host: text("host")?,
                scope: text("scope")?,
                number: u32::try_from(member(&value, "process").as_u64()?).ok()?,
            },
            renewals: member(&value, "renewals").as_u64()?,
        })
    }

    /// Why a process must not take the lock that has this text and age; `None` if it may.
    fn refusal(&self, age: Option<Duration>, own: &ProcessName) -> Option<String> {
        let age = age.unwrap_or_default();
        if self.process.has_ended(own) || age >= EXPIRES_AFTER {
            return None;
        }
        let ProcessName { host, number, .. } = &self.process;
        Some(format!(
            "in use by another back-up (process {number} of {host}); if it has ended, repeat this in {} seconds",
            (EXPIRES_AFTER - age).as_secs() + 1
        ))
    }
}

/// The lock, which is renewed until it is released or dropped.
pub(super) struct Lease {
    held: Arc<HeldLease>,
    task: JoinHandle<()>,
}

struct HeldLease {
    objects: Arc<SmallObjects>,
    token: String,
    /// When the last successful renewal was begun.
    renewed: Mutex<Instant>,
    is_lost: AtomicBool,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Lease {
    /// Takes the lock. Waits at most `patience` while another process has it.
    ///
    /// # Errors
    /// A text for the operator, also if another process still has it.
    pub(super) async fn take(
        objects: &Arc<SmallObjects>,
        place: &str,
        patience: Duration,
    ) -> BackupResult<Self> {
        let begun = system::clock().monotonic();
        loop {
            let refusal = match Self::try_take(objects, place).await? {
                Ok(lease) => return Ok(lease),
                Err(refusal) => refusal,
            };
            let waited = system::clock().monotonic().saturating_duration_since(begun);
            if waited >= patience {
                return Err(refusal);
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// As [`take`](Self::take), once. The inner error says that another process has the lock.
    async fn try_take(
        objects: &Arc<SmallObjects>,
        place: &str,
    ) -> BackupResult<Result<Self, String>> {
        let failed = |error: StoreError| format!("{place}: {}", chain(&error));
        let token = key_files::random_text(24, &system::random()).map_err(|e| chain(&e))?;
        let mut text = LockText {
            token,
            process: ProcessName::own(),
            renewals: 0,
        };
        for _ in 0..ATTEMPTS {
            let found = objects.find(LOCK_OBJECT, MAX_BYTES).await.map_err(failed)?;
            let begun = system::clock().monotonic();
            let written = match &found {
                None => objects.create(LOCK_OBJECT, text.to_bytes()).await,
                Some(found) => {
                    let refusal = match LockText::parse(&found.bytes) {
                        // That of a folder which was copied.
                        _ if found.bytes.is_empty() => None,
                        Some(holder) => holder.refusal(found.age, &text.process),
                        None => Some(format!("locked: {LOCK_OBJECT} in it cannot be read")),
                    };
                    if let Some(refusal) = refusal {
                        return Ok(Err(format!("{place} is {refusal}")));
                    }
                    let bytes = text.to_bytes();
                    objects.replace(LOCK_OBJECT, bytes, &found.version).await
                }
            };
            // The answer can have been lost, and servers that ignore conditions write in any case.
            let now = objects.find(LOCK_OBJECT, MAX_BYTES).await.map_err(failed)?;
            let now = now.and_then(|now| LockText::parse(&now.bytes));
            if now.as_ref() == Some(&text) {
                let held = Arc::new(HeldLease {
                    objects: Arc::clone(objects),
                    token: text.token.clone(),
                    renewed: Mutex::new(begun),
                    is_lost: AtomicBool::new(false),
                });
                text.renewals += 1;
                let task = tokio::spawn(Arc::clone(&held).renew(text));
                return Ok(Ok(Self { held, task }));
            }
            written.map_err(failed)?;
        }
        Ok(Err(format!("{place} is in use by another back-up")))
    }

    /// Whether this process still has the lock, as far as it knows.
    ///
    /// # Errors
    /// A text for the operator if it has lost it.
    pub(super) fn check(&self) -> BackupResult {
        let renewed = *self.held.renewed.lock();
        let since = system::clock()
            .monotonic()
            .saturating_duration_since(renewed);
        match self.held.is_lost.load(Ordering::Acquire) || since > HELD_FOR {
            false => Ok(()),
            true => Err(
                "the lock of the back-ups was lost: it could not be renewed, or another process has taken it"
                    .to_owned(),
            ),
        }
    }

    /// As [`check`](Self::check), by a look at the object.
    ///
    /// # Errors
    /// A text for the operator if it is lost, or cannot be read.
    pub(super) async fn confirm(&self) -> BackupResult {
        self.check()?;
        let found = self.held.objects.find(LOCK_OBJECT, MAX_BYTES).await;
        let found =
            found.map_err(|error| format!("the lock of the back-ups: {}", chain(&error)))?;
        if !found.is_some_and(|found| self.held.is_own(&found.bytes)) {
            self.held.is_lost.store(true, Ordering::Release);
        }
        self.check()
    }

    /// Removes the lock.
    pub(super) async fn release(self) {
        self.task.abort();
        if self.confirm().await.is_ok() {
            // Another process that runs on this machine finds out itself; elsewhere it expires.
            let _ = self.held.objects.remove(LOCK_OBJECT).await;
        }
    }
}

impl HeldLease {
    fn is_own(&self, bytes: &[u8]) -> bool {
        LockText::parse(bytes).is_some_and(|found| found.token == self.token)
    }

    async fn renew(self: Arc<Self>, mut text: LockText) {
        loop {
            tokio::time::sleep(RENEWAL_INTERVAL).await;
            let begun = system::clock().monotonic();
            // What fails is tried again, until too much time has passed.
            let Ok(found) = self.objects.find(LOCK_OBJECT, MAX_BYTES).await else {
                continue;
            };
            let Some(found) = found.filter(|found| self.is_own(&found.bytes)) else {
                self.is_lost.store(true, Ordering::Release);
                return;
            };
            let written = self
                .objects
                .replace(LOCK_OBJECT, text.to_bytes(), &found.version)
                .await;
            // If the answer was lost, the next look finds the object as it was written.
            if matches!(written, Ok(true)) {
                *self.renewed.lock() = begun;
            }
            text.renewals += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(scope: &str, number: u32) -> LockText {
        LockText {
            token: "t".to_owned(),
            process: ProcessName {
                host: "h".to_owned(),
                scope: scope.to_owned(),
                number,
            },
            renewals: 3,
        }
    }

    #[test]
    fn lock_is_taken_from_a_process_that_ended_and_from_an_old_one_only() {
        let own = ProcessName {
            scope: "here".to_owned(),
            ..ProcessName::own()
        };
        let (alive, ended) = (own.number, u32::MAX);
        let fresh = Some(Duration::from_secs(1));
        let refusal = |scope: &str, number, age| text(scope, number).refusal(age, &own);
        assert!(refusal("here", ended, fresh).is_none());
        for (scope, number) in [("here", alive), ("elsewhere", ended), ("", ended)] {
            assert!(refusal(scope, number, fresh).is_some(), "{scope}");
            // A server that says no time.
            assert!(refusal(scope, number, None).is_some(), "{scope}");
            assert!(refusal(scope, number, Some(EXPIRES_AFTER)).is_none());
        }
        let wait = refusal("elsewhere", ended, Some(Duration::from_secs(100)));
        assert!(wait.unwrap().contains("in 51 seconds"));
        let unknown = ProcessName {
            scope: String::new(),
            ..own
        };
        assert!(text("", ended).refusal(fresh, &unknown).is_some());
        // The holder gives up long before others take the lock.
        assert!(HELD_FOR + 2 * RENEWAL_INTERVAL < EXPIRES_AFTER);
    }

    #[test]
    fn text_is_read_as_it_was_written() {
        let written = text("s", 7);
        assert_eq!(LockText::parse(&written.to_bytes()), Some(written));
        for wrong in [&b""[..], b"{}", b"{\"token\":1}", b"\xff"] {
            assert_eq!(LockText::parse(wrong), None);
        }
    }
}
