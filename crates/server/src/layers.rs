//! The layers that a unit needs besides its own process, such as a database or a shared folder. A start waits for those that are
//! required, and `/ready` tells the state of each.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use personium_postgres::{PostgresStore, SchemaError};
use personium_store::RecordStore;
use personium_types::Clock;
use personium_types::error::chain;
use tokio::time::{sleep, timeout};

use crate::cache_servers;
use crate::components::body_place;
use crate::config::{BlobStoreKind, Config, RecordStoreKind};
use crate::data_folder::{BodyPlace, DataFolder};
use crate::file_system;
use crate::message_broker::{self, StreamQueue};
use crate::record_engine::{self, RecordEngine};
use crate::system;

/// The time that a layer has to show its state.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// The pause between two looks at a layer that is missing.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// The time between two log lines about it.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// Why a layer cannot be used at present.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayerProblem {
    /// It is not there, or does not answer. Waiting may help.
    #[error("{0}")]
    Absent(String),
    /// It is not what the unit needs, or the settings for it cannot be used. Waiting does not help.
    #[error("{0}")]
    Unfit(String),
}

/// Looks at a layer.
pub type LayerCheck = Box<dyn Fn() -> LayerLook + Send + Sync>;

/// A look at a layer: it can be used, and what it says about its kind and version, if anything.
pub type LayerLook = BoxFuture<'static, Result<Option<String>, LayerProblem>>;

/// Whether a unit can work without a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerNeed {
    /// It cannot: a start waits for the layer, and the unit is not ready without it.
    Required,
    /// It can, if more slowly.
    Optional,
}

/// A layer outside of the process.
pub struct Layer {
    /// The name in logs and in `/ready`, such as `database`.
    pub name: &'static str,
    /// Whether the unit can work without it.
    pub need: LayerNeed,
    /// Looks at it.
    pub check: LayerCheck,
}

/// A required layer that was missing for too long.
#[derive(Debug, thiserror::Error)]
#[error(
    "the {layer} cannot be used: {reason} (waited for {waited_secs} s, see server.start.waitInSec)"
)]
pub struct LayerMissing {
    layer: &'static str,
    reason: String,
    waited_secs: u64,
}

impl Layer {
    /// Looks at the layer. Returns what it says about its kind and version.
    ///
    /// # Errors
    /// The reason why it cannot be used at present.
    pub async fn state(&self) -> Result<Option<String>, LayerProblem> {
        match timeout(CHECK_TIMEOUT, (self.check)()).await {
            Ok(state) => state,
            Err(_) => {
                let late = format!("no answer in {} s", CHECK_TIMEOUT.as_secs());
                Err(LayerProblem::Absent(late))
            }
        }
    }
}

/// The name of the database in logs and in `/ready`.
const DATABASE: &str = "database";

/// Returns the layers that the settings name, in the order in which a start needs them.
#[must_use]
pub fn layers(config: &Config) -> Vec<Layer> {
    let database = (config.store.kind == RecordStoreKind::Postgres).then(|| database(config));
    database.into_iter().chain(beside_records(config)).collect()
}

/// Returns the layers of a unit that runs. The database is looked at by the connections that the unit has.
#[must_use]
pub fn of_running(config: &Config, records: &RecordEngine) -> Vec<Layer> {
    let database = match records {
        RecordEngine::Sqlite(_) => None,
        RecordEngine::Postgres(store) => Some(opened_database(Arc::clone(store))),
    };
    database.into_iter().chain(beside_records(config)).collect()
}

fn beside_records(config: &Config) -> impl Iterator<Item = Layer> {
    let bodies = match config.files.kind {
        BlobStoreKind::Folder => bodies(config),
        BlobStoreKind::S3 => Some(bucket(config)),
    };
    bodies
        .into_iter()
        .chain(cache(config))
        .chain(broker(config))
}

/// The database of records before the unit has opened it.
fn database(config: &Config) -> Layer {
    let config = config.clone();
    let check = move || -> LayerLook {
        let config = config.clone();
        Box::pin(async move {
            let unfit = |error: &dyn std::error::Error| LayerProblem::Unfit(chain(error));
            let settings = record_engine::database_settings(&config, &Arc::default());
            let settings = settings.map_err(|error| unfit(&error))?;
            let store = PostgresStore::new(&settings, system::random());
            let store = store.map_err(|error| unfit(&error))?;
            let found = store.check_schema().await;
            let facts = match found {
                Ok(()) => store.server_facts().await.ok(),
                Err(_) => None,
            };
            // Closes the connection. A look that failed has left nothing to close.
            let _ = store.close().await;
            let version = facts.map(|facts| format!("PostgreSQL {}", facts.version));
            found.map(|()| version).map_err(|error| {
                let reason = format!("{}: {}", settings.address(), chain(&error));
                match error {
                    SchemaError::Store(error) if error.is_retryable() => {
                        LayerProblem::Absent(reason)
                    }
                    _ => LayerProblem::Unfit(reason),
                }
            })
        })
    };
    Layer {
        name: DATABASE,
        need: LayerNeed::Required,
        check: Box::new(check),
    }
}

/// The database of records that the unit has opened.
fn opened_database(store: Arc<PostgresStore>) -> Layer {
    let check = move || -> LayerLook {
        let store = Arc::clone(&store);
        Box::pin(async move {
            let checked = store.check().await;
            let checked = checked.map(|()| None);
            checked.map_err(|error| LayerProblem::Absent(chain(&error)))
        })
    };
    Layer {
        name: DATABASE,
        need: LayerNeed::Required,
        check: Box::new(check),
    }
}

/// The memcached servers, if the settings name any.
fn cache(config: &Config) -> Option<Layer> {
    let config = config.cache.clone();
    if config.memcached_servers().is_empty() {
        return None;
    }
    let check = move || -> LayerLook {
        let config = config.clone();
        Box::pin(async move {
            let looked = tokio::task::spawn_blocking(move || cache_servers::check(&config));
            let looked = looked.await.unwrap_or_else(|error| Err(error.to_string()));
            looked.map(Some).map_err(LayerProblem::Absent)
        })
    };
    Some(Layer {
        name: "memcached",
        need: LayerNeed::Optional,
        check: Box::new(check),
    })
}

/// The message broker, if the settings name one.
fn broker(config: &Config) -> Option<Layer> {
    let queue = message_broker::open(&config.stream, &system::clock(), &system::random());
    let queue = match queue {
        Ok(queue) => Ok(queue?),
        Err(error) => Err(chain(&error)),
    };
    let check = move || -> LayerLook {
        let queue = queue.clone();
        Box::pin(async move {
            let queue: StreamQueue = queue.map_err(LayerProblem::Unfit)?;
            let looked = queue.check().await;
            looked.map(Some).map_err(LayerProblem::Absent)
        })
    };
    Some(Layer {
        name: "message broker",
        need: LayerNeed::Optional,
        check: Box::new(check),
    })
}

/// The folder of file bodies, if it is not a part of the data folder: it may be on a share that is not mounted yet.
fn bodies(config: &Config) -> Option<Layer> {
    if config.files.kind != BlobStoreKind::Folder || config.files.root.is_none() {
        return None;
    }
    let path = config.files.root.clone()?;
    let folder = DataFolder::new(config, BodyPlace::folder(config));
    let check = move || -> LayerLook {
        let (folder, path) = (folder.clone(), path.clone());
        Box::pin(async move {
            let looked = tokio::task::spawn_blocking(move || folder.missing_files());
            match looked.await {
                Ok(Some(reason)) => Err(LayerProblem::Absent(reason)),
                Ok(None) => {
                    Ok(file_system::kind_of(&path).map(|kind| format!("file system {kind}")))
                }
                Err(error) => Err(LayerProblem::Absent(error.to_string())),
            }
        })
    };
    Some(Layer {
        name: "folder of file bodies",
        need: LayerNeed::Required,
        check: Box::new(check),
    })
}

/// The bucket of file bodies: it answers, with or without the mark of a unit.
fn bucket(config: &Config) -> Layer {
    let (clock, random) = (system::clock(), system::random());
    let place = body_place(config, &clock, &random, &Arc::default()).map_err(|e| chain(&e));
    let check = move || -> LayerLook {
        let place = place.clone();
        Box::pin(async move {
            let place = place.map_err(LayerProblem::Unfit)?;
            let found = place.find_mark().await;
            found
                .map(|_| place.server_name())
                .map_err(|error| LayerProblem::Absent(chain(&error)))
        })
    };
    Layer {
        name: "object store",
        need: LayerNeed::Required,
        check: Box::new(check),
    }
}

/// Waits until each required layer can be used, for at most `wait` in total. What waiting does not cure is left to whoever opens
/// the layer.
///
/// # Errors
/// [`LayerMissing`] if the time is over.
pub async fn wait_for(
    layers: &[Layer],
    wait: Duration,
    clock: &dyn Clock,
) -> Result<(), LayerMissing> {
    let start = clock.monotonic();
    let waited = || clock.monotonic().saturating_duration_since(start);
    for layer in layers {
        let mut logged: Option<Duration> = None;
        while let Err(LayerProblem::Absent(reason)) = layer.state().await {
            if layer.need == LayerNeed::Optional {
                tracing::warn!(layer = layer.name, reason, "starting without a layer");
                break;
            }
            let now = waited();
            if now >= wait {
                return Err(LayerMissing {
                    layer: layer.name,
                    reason,
                    waited_secs: now.as_secs(),
                });
            }
            if logged.is_none_or(|last| now.saturating_sub(last) >= LOG_INTERVAL) {
                let left_s = wait.saturating_sub(now).as_secs();
                tracing::warn!(layer = layer.name, reason, left_s, "waiting for a layer");
                logged = Some(now);
            }
            sleep(RETRY_PAUSE.min(wait.saturating_sub(now))).await;
        }
        if logged.is_some() {
            let waited_s = waited().as_secs();
            tracing::info!(layer = layer.name, waited_s, "the layer is there");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A layer that can be used from this look on.
    fn usable_from(look: u32, need: LayerNeed) -> (Layer, Arc<AtomicU32>) {
        let looks = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&looks);
        let check = move || -> LayerLook {
            let is_usable = counted.fetch_add(1, Ordering::Relaxed) + 1 >= look;
            let absent = LayerProblem::Absent("refused".to_owned());
            Box::pin(async move { is_usable.then_some(None).ok_or(absent) })
        };
        let layer = Layer {
            name: "database",
            need,
            check: Box::new(check),
        };
        (layer, looks)
    }

    #[tokio::test]
    async fn start_waits_until_a_layer_can_be_used() {
        let (layer, looks) = usable_from(3, LayerNeed::Required);
        let waited = wait_for(&[layer], Duration::from_secs(60), &*system::clock()).await;
        waited.unwrap();
        assert_eq!(looks.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn start_gives_up_after_its_time_and_says_for_what_it_waited() {
        let (layer, looks) = usable_from(u32::MAX, LayerNeed::Required);
        let waited = wait_for(&[layer], Duration::from_millis(700), &*system::clock()).await;
        let error = waited.unwrap_err().to_string();
        assert!(
            error.starts_with("the database cannot be used: refused"),
            "{error}"
        );
        assert!(looks.load(Ordering::Relaxed) >= 2);
    }

    #[tokio::test]
    async fn start_does_not_wait_for_an_optional_layer() {
        let (layer, looks) = usable_from(u32::MAX, LayerNeed::Optional);
        let waited = wait_for(&[layer], Duration::from_secs(60), &*system::clock()).await;
        waited.unwrap();
        assert_eq!(looks.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn layer_that_does_not_answer_is_missing() {
        let layer = Layer {
            name: "database",
            need: LayerNeed::Required,
            check: Box::new(|| Box::pin(std::future::pending())),
        };
        let late = LayerProblem::Absent("no answer in 5 s".to_owned());
        assert_eq!(layer.state().await, Err(late));
    }

    #[tokio::test]
    async fn start_does_not_wait_for_what_waiting_does_not_cure() {
        let looks = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&looks);
        let check = move || -> LayerLook {
            counted.fetch_add(1, Ordering::Relaxed);
            Box::pin(async { Err(LayerProblem::Unfit("another version".to_owned())) })
        };
        let layer = Layer {
            name: "database",
            need: LayerNeed::Required,
            check: Box::new(check),
        };
        let waited = wait_for(&[layer], Duration::from_secs(60), &*system::clock()).await;
        waited.unwrap();
        assert_eq!(looks.load(Ordering::Relaxed), 1);
    }
}
