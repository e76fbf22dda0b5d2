//! The broker of queues and topics.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use personium_activemq::settings::tls;
use personium_activemq::{ActiveMqQueue, BrokerAddress, BrokerSettings, BrokerState};
use personium_store::MessageQueue;
use personium_types::error::chain;
use personium_types::{Clock, Random, Secret};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::config::{StreamBroker, StreamConfig};

/// The address of a broker on this machine.
const DEFAULT_ADDRESS: (&str, u16) = ("localhost", 61_613);

/// The settings of a broker cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The file of the password cannot be read.
    #[error("cannot read {} (stream.passwordFile)", path.display())]
    PasswordFile {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file of certificates cannot be used.
    #[error("cannot use stream.broker.caFile: {0}")]
    CaFile(String),
}

/// The broker of queues and topics.
#[derive(Clone)]
pub struct StreamQueue(Arc<ActiveMqQueue>);

/// Returns the configured broker; `None` if messages are in the records. It is connected to when something is sent or received.
///
/// # Errors
/// [`BrokerError`]
pub fn open(
    config: &StreamConfig,
    clock: &Arc<dyn Clock>,
    random: &Arc<dyn Random>,
) -> Result<Option<StreamQueue>, BrokerError> {
    let Some(StreamBroker::ActiveMq) = config.broker_kind else {
        return Ok(None);
    };
    let settings = settings(config)?;
    let queue = ActiveMqQueue::new(settings, Arc::clone(clock), Arc::clone(random));
    Ok(Some(StreamQueue(Arc::new(queue))))
}

fn settings(config: &StreamConfig) -> Result<BrokerSettings, BrokerError> {
    let password = match &config.password_file {
        None => config.password.clone(),
        Some(path) => Some(read_password(path)?),
    };
    let default = || {
        let (host, port) = DEFAULT_ADDRESS;
        vec![BrokerAddress {
            host: host.to_owned(),
            port,
            is_encrypted: false,
        }]
    };
    let addresses = config.broker.clone().unwrap_or_else(default);
    let tls = match addresses.iter().any(|it| it.is_encrypted) {
        true => Some(tls(config.broker_ca_file.as_deref()).map_err(BrokerError::CaFile)?),
        false => None,
    };
    Ok(BrokerSettings {
        addresses,
        credentials: config.username.clone().zip(password),
        tls,
        timeout: Duration::from_secs(config.broker_timeout_secs),
        message_max_bytes: config.message_max_bytes,
    })
}

fn read_password(path: &Path) -> Result<Secret<String>, BrokerError> {
    let text = fs::read_to_string(path).map_err(|source| BrokerError::PasswordFile {
        path: path.to_owned(),
        source,
    })?;
    Ok(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

impl StreamQueue {
    /// The port.
    #[must_use]
    pub fn port(&self) -> Arc<dyn MessageQueue> {
        Arc::clone(&self.0) as Arc<dyn MessageQueue>
    }

    /// Connects to the broker. Returns what it says about itself.
    ///
    /// # Errors
    /// The reason why it cannot be used.
    pub async fn check(&self) -> Result<String, String> {
        let checked = self.0.check().await;
        checked.map_err(|error| chain(&error))
    }

    /// The metrics of the broker.
    #[must_use]
    pub fn collector(&self) -> Box<dyn Collector> {
        Box::new(BrokerCollector(Arc::clone(&self.0)))
    }
}

/// Metrics of a broker.
struct BrokerCollector(Arc<ActiveMqQueue>);

impl fmt::Debug for BrokerCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BrokerCollector")
    }
}

impl Collector for BrokerCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let BrokerState {
            is_failing,
            errors,
            set_aside,
        } = self.0.state();
        let mut counter = |name: &str, help: &str, value: u64| {
            let counter = ConstCounter::new(value);
            let metric_type = counter.metric_type();
            counter.encode(encoder.encode_descriptor(name, help, None, metric_type)?)
        };
        counter(
            "personium_stream_broker_errors",
            "Operations of the broker of streams that failed or took too long.",
            errors,
        )?;
        counter(
            "personium_stream_broker_dead_letters",
            "Messages of other systems that were put into the queue of dead letters of the broker.",
            set_aside,
        )?;
        let gauge = ConstGauge::new(i64::from(is_failing));
        let metric = encoder.encode_descriptor(
            "personium_stream_broker_failing",
            "Whether the last operation of the broker of streams failed.",
            None,
            gauge.metric_type(),
        )?;
        gauge.encode(metric)
    }
}
