//! The brokers of queues and topics, and of events for other systems.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use personium_activemq::{
    ActiveMqPublisher, ActiveMqQueue, BrokerAddress, BrokerSettings, BrokerState,
};
use personium_kafka::{BrokerHost, KafkaPublisher, KafkaSettings, SaslMechanism, SaslUser};
use personium_operator_files::tls::{ClientCertificate, TlsError, client_config};
use personium_store::{EventPublisher, MessageQueue};
use personium_types::error::chain;
use personium_types::{Clock, Random, Secret};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::config::{BrokerKind, EventConfig, StreamConfig};

/// The address of a broker on this machine.
const DEFAULT_ADDRESS: (&str, u16) = ("localhost", 61_613);
/// The address of a Kafka broker on this machine.
const DEFAULT_KAFKA: (&str, u16) = ("localhost", 9_092);

/// The settings of a broker cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The file of the password cannot be read.
    #[error("cannot read {} ({section}.passwordFile)", path.display())]
    PasswordFile {
        /// The beginning of the names of its settings.
        section: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file of certificates cannot be used.
    #[error("cannot use {section}.broker.caFile")]
    CaFile {
        /// The beginning of the names of its settings.
        section: &'static str,
        /// The cause.
        source: TlsError,
    },
    /// The files of TLS cannot be used.
    #[error("cannot use {section}.broker.caFile, .certificateFile or .keyFile")]
    TlsFiles {
        /// The beginning of the names of its settings.
        section: &'static str,
        /// The cause.
        source: TlsError,
    },
}

/// The broker of queues and topics.
#[derive(Clone)]
pub struct StreamQueue(Arc<ActiveMqQueue>);

/// The settings of one use of a broker.
struct BrokerKeys<'a> {
    section: &'static str,
    addresses: Option<&'a Vec<BrokerAddress>>,
    ca_file: Option<&'a Path>,
    timeout_secs: u64,
    username: Option<&'a String>,
    password: Option<&'a Secret<String>>,
    password_file: Option<&'a Path>,
    message_max_bytes: usize,
}

/// Returns the configured broker; `None` if messages are in the records. It is connected to when something is sent or received.
///
/// # Errors
/// [`BrokerError`]
pub fn open(
    config: &StreamConfig,
    clock: &Arc<dyn Clock>,
    random: &Arc<dyn Random>,
) -> Result<Option<StreamQueue>, BrokerError> {
    let Some(BrokerKind::ActiveMq) = config.broker_kind else {
        return Ok(None);
    };
    let keys = BrokerKeys {
        section: "stream",
        addresses: config.broker.as_ref(),
        ca_file: config.broker_ca_file.as_deref(),
        timeout_secs: config.broker_timeout_secs,
        username: config.username.as_ref(),
        password: config.password.as_ref(),
        password_file: config.password_file.as_deref(),
        message_max_bytes: config.message_max_bytes,
    };
    let queue = ActiveMqQueue::new(keys.settings()?, Arc::clone(clock), Arc::clone(random));
    Ok(Some(StreamQueue(Arc::new(queue))))
}

/// Returns the publisher of events to the configured broker; `None` if they are not published.
///
/// # Errors
/// [`BrokerError`]
pub fn open_publisher(
    config: &EventConfig,
    clock: &Arc<dyn Clock>,
    random: &Arc<dyn Random>,
) -> Result<Option<Arc<dyn EventPublisher>>, BrokerError> {
    let Some(kind) = config.broker_kind else {
        return Ok(None);
    };
    let keys = BrokerKeys {
        section: "eventbus",
        addresses: config.broker.as_ref(),
        ca_file: config.broker_ca_file.as_deref(),
        timeout_secs: config.broker_timeout_secs,
        username: config.username.as_ref(),
        password: config.password.as_ref(),
        password_file: config.password_file.as_deref(),
        // Nothing is received.
        message_max_bytes: 0,
    };
    Ok(Some(match kind {
        BrokerKind::ActiveMq => {
            let settings = keys.settings()?;
            Arc::new(ActiveMqPublisher::new(
                settings,
                &config.topic,
                Arc::clone(clock),
            ))
        }
        BrokerKind::Kafka => {
            let own = config
                .broker_certificate
                .clone()
                .zip(config.broker_key.clone());
            let own = own.map(|(certificate, key)| ClientCertificate { certificate, key });
            let settings = keys.kafka_settings(own.as_ref(), config.sasl)?;
            let (clock, random) = (Arc::clone(clock), Arc::clone(random));
            Arc::new(KafkaPublisher::new(settings, &config.topic, clock, random))
        }
    }))
}

impl BrokerKeys<'_> {
    fn settings(&self) -> Result<BrokerSettings, BrokerError> {
        let section = self.section;
        let password = self.password()?;
        let default = || {
            let (host, port) = DEFAULT_ADDRESS;
            vec![BrokerAddress {
                host: host.to_owned(),
                port,
                is_encrypted: false,
            }]
        };
        let addresses = self.addresses.cloned().unwrap_or_else(default);
        let tls = match addresses.iter().any(|it| it.is_encrypted) {
            true => {
                let config = client_config(self.ca_file, None);
                let failed = |source| BrokerError::CaFile { section, source };
                Some(Arc::new(config.map_err(failed)?))
            }
            false => None,
        };
        Ok(BrokerSettings {
            addresses,
            credentials: self.username.cloned().zip(password),
            tls,
            timeout: Duration::from_secs(self.timeout_secs),
            message_max_bytes: self.message_max_bytes,
        })
    }

    /// The settings of a Kafka cluster, with the certificate that the unit shows.
    fn kafka_settings(
        &self,
        own: Option<&ClientCertificate>,
        mechanism: SaslMechanism,
    ) -> Result<KafkaSettings, BrokerError> {
        let section = self.section;
        let addresses = self.addresses.map(Vec::as_slice).unwrap_or_default();
        let host = |(name, port): (&str, u16)| BrokerHost {
            name: name.to_owned(),
            port,
        };
        let given = addresses.iter().map(|it| host((&it.host, it.port)));
        let mut hosts: Vec<BrokerHost> = given.collect();
        if hosts.is_empty() {
            hosts.push(host(DEFAULT_KAFKA));
        }
        let tls = match addresses.iter().any(|it| it.is_encrypted) {
            true => {
                let config = client_config(self.ca_file, own);
                let failed = |source| BrokerError::TlsFiles { section, source };
                Some(Arc::new(config.map_err(failed)?))
            }
            false => None,
        };
        let user = self.username.cloned().zip(self.password()?);
        let user = user.map(|(name, password)| SaslUser {
            mechanism,
            name,
            password,
        });
        Ok(KafkaSettings {
            hosts,
            tls,
            user,
            timeout: Duration::from_secs(self.timeout_secs),
        })
    }

    /// The password, of the settings or of its file.
    fn password(&self) -> Result<Option<Secret<String>>, BrokerError> {
        let Some(path) = self.password_file else {
            return Ok(self.password.cloned());
        };
        let text = fs::read_to_string(path);
        let text = text.map_err(|source| BrokerError::PasswordFile {
            section: self.section,
            path: path.to_owned(),
            source,
        })?;
        let text = text.trim_end_matches(['\r', '\n']);
        Ok(Some(Secret::new(text.to_owned())))
    }
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
