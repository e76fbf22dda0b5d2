//! Tests of publishing to real clusters, and to servers that answer nonsense.

#![expect(clippy::disallowed_methods, reason = "a test may use the real clock")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use personium_kafka::partition::partition_of;
use personium_kafka::{BrokerHost, KafkaPublisher, KafkaSettings, SaslMechanism, SaslUser};
use personium_operator_files::tls::{ClientCertificate, client_config};
use personium_store::{EventPublisher, OutgoingEvent, PublishError};
use personium_testkit::{Kafka, wait_until};
use personium_types::{Secret, SystemClock, SystemRandom};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// The number of partitions that the brokers of tests give a topic.
const PARTITIONS: usize = 3;

fn host_of(address: &str) -> BrokerHost {
    let (name, port) = address.rsplit_once(':').unwrap();
    BrokerHost {
        name: name.to_owned(),
        port: port.parse().unwrap(),
    }
}

fn settings(host: &str) -> KafkaSettings {
    KafkaSettings {
        hosts: vec![host_of(host)],
        tls: None,
        user: None,
        timeout: Duration::from_secs(10),
    }
}

fn publisher(settings: KafkaSettings, topic: &str) -> KafkaPublisher {
    let clock = Arc::new(SystemClock::new());
    KafkaPublisher::new(settings, topic, clock, Arc::new(SystemRandom::new()))
}

fn event(cell: &str, id: &str, body: String) -> OutgoingEvent {
    OutgoingEvent {
        id: id.to_owned(),
        cell: format!("https://unit.example/{cell}/"),
        kind: "app.did".to_owned(),
        body: body.into(),
    }
}

/// The reason why an event cannot be published; it is not the event itself.
async fn problem(settings: KafkaSettings, topic: &str) -> String {
    let unit = publisher(settings, topic);
    match unit.publish(&[event("c", "1", "{}".to_owned())]).await {
        Err(PublishError::Down(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

/// Tries to publish until the reason of the failure has this text. A busy machine may be too slow for the first time-outs.
async fn wait_for_problem(settings: &KafkaSettings, reason: &str) {
    wait_until(reason, async || {
        problem(settings.clone(), "events").await.contains(reason)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_a_cell_keep_their_order_in_one_partition() {
    let broker = Kafka::start();
    let long_settings = KafkaSettings {
        timeout: Duration::from_secs(60),
        ..settings(&broker.host())
    };
    let unit = publisher(long_settings, "events");
    // A cluster that is busy may need long for a new topic.
    let first = [event("first", "0", "0 first".to_owned())];
    wait_until("the topic is created", async || {
        unit.publish(&first).await.is_ok()
    })
    .await;
    let cells = ["c", "d", "é", "a-longer-name"];
    let large = "x".repeat(100_000);
    for cell in cells {
        // Together they are larger than what the broker stores at once.
        let events: Vec<_> = (0..32)
            .map(|number| event(cell, &format!("{number}"), format!("{number} {large}")))
            .collect();
        unit.publish(&events).await.unwrap();
    }
    let too_large = event("c", "large", "x".repeat(2 << 20));
    let refused = unit.publish(&[too_large]).await.unwrap_err();
    assert!(
        matches!(&refused, PublishError::Refused(it) if it.contains("MESSAGE_TOO_LARGE")),
        "{refused:?}"
    );

    let reader = broker.reader("events");
    let mut numbers: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    while numbers.values().map(Vec::len).sum::<usize>() < cells.len() * 32 {
        let record = reader.next();
        if record.key.ends_with("/first/") {
            continue;
        }
        let expected = partition_of(record.key.as_bytes(), PARTITIONS);
        assert_eq!(usize::try_from(record.partition).unwrap(), expected);
        let header = |name: &str| record.headers.get(name).unwrap().clone();
        assert_eq!(header("personium-cell"), record.key);
        assert_eq!(header("personium-type"), "app.did");
        assert_eq!(header("content-type"), "application/json;charset=utf-8");
        let (number, _) = record.value.split_once(' ').unwrap();
        assert_eq!(header("personium-id"), number);
        let of_cell = numbers.entry(record.key.clone()).or_default();
        of_cell.push(number.parse().unwrap());
    }
    let all: Vec<usize> = (0..32).collect();
    assert_eq!(numbers.len(), cells.len());
    assert!(numbers.values().all(|it| *it == all), "{numbers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secured_cluster_is_used_by_those_who_trust_and_know_it_and_may_write() {
    let authorizer = "org.apache.kafka.metadata.authorizer.StandardAuthorizer";
    let mut broker = Kafka::builder()
        .with_client_certificate()
        .user("unit", "pass:word")
        .setting("authorizer.class.name", authorizer)
        .setting("super.users", "User:ANONYMOUS;User:unit")
        .start_with("auto.create.topics.enable=false\n");
    let (certificate, key) = broker.client_certificate();
    let own = ClientCertificate { certificate, key };
    let tls = |roots: Option<&Path>, own: Option<&ClientCertificate>| {
        Some(Arc::new(client_config(roots, own).unwrap()))
    };
    let user = |mechanism, password: &str| {
        Some(SaslUser {
            mechanism,
            name: "unit".to_owned(),
            password: Secret::new(password.to_owned()),
        })
    };
    let right = KafkaSettings {
        tls: tls(Some(&broker.certificate()), Some(&own)),
        user: user(SaslMechanism::ScramSha512, "pass:word"),
        ..settings(&broker.host())
    };
    for (changed, reason) in [
        (
            KafkaSettings {
                user: user(SaslMechanism::ScramSha512, "word"),
                ..right.clone()
            },
            "SASL_AUTHENTICATION_FAILED",
        ),
        (
            KafkaSettings {
                user: user(SaslMechanism::Plain, "word"),
                ..right.clone()
            },
            "SASL_AUTHENTICATION_FAILED",
        ),
        (
            KafkaSettings {
                user: user(SaslMechanism::ScramSha256, "pass:word"),
                ..right.clone()
            },
            "UNSUPPORTED_SASL_MECHANISM",
        ),
        (
            KafkaSettings {
                user: None,
                ..right.clone()
            },
            "",
        ),
        (
            KafkaSettings {
                tls: None,
                ..right.clone()
            },
            "",
        ),
        (
            KafkaSettings {
                tls: tls(None, Some(&own)),
                ..right.clone()
            },
            "certificate",
        ),
        (
            KafkaSettings {
                tls: tls(Some(&broker.certificate()), None),
                ..right.clone()
            },
            "",
        ),
        (
            KafkaSettings {
                hosts: vec![host_of(&broker.host().replace("127.0.0.1", "localhost"))],
                ..right.clone()
            },
            "certificate",
        ),
    ] {
        wait_for_problem(&changed, reason).await;
    }
    // A user that is known, and may not write; a topic that is missing.
    let stranger = SaslUser {
        mechanism: SaslMechanism::Plain,
        name: "stranger".to_owned(),
        password: Secret::new("pass:word".to_owned()),
    };
    let stranger = KafkaSettings {
        user: Some(stranger),
        ..right.clone()
    };
    wait_for_problem(&stranger, "TOPIC_AUTHORIZATION_FAILED").await;
    wait_for_problem(&right, "UNKNOWN_TOPIC").await;
    broker.kill();
    broker.start_again_with("auto.create.topics.enable=true\n");
    for mechanism in [SaslMechanism::ScramSha512, SaslMechanism::Plain] {
        // The first of several addresses does not answer.
        let unit = publisher(
            KafkaSettings {
                hosts: vec![host_of("127.0.0.1:1"), host_of(&broker.host())],
                user: user(mechanism, "pass:word"),
                ..right.clone()
            },
            "events",
        );
        wait_until("it may write", async || {
            let events = [event("c", "1", "{}".to_owned())];
            unit.publish(&events).await.is_ok()
        })
        .await;
    }
}

#[tokio::test]
async fn server_that_answers_nonsense_makes_calls_fail() {
    for answer in [
        Vec::new(),
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        vec![0xff; 64],
        vec![0x7f; 64],
        vec![0; 64],
        // An answer to the first request, with versions that none has.
        [&[0, 0, 0, 10][..], &[0; 4], &[0; 6]].concat(),
        [&[0, 0, 0, 10][..], &[0; 4], &[0, 0, 0x7f, 0xff, 0xff, 0xff]].concat(),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let serving = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = [0; 512];
                let _ = stream.read(&mut head).await;
                let _ = stream.write_all(&answer).await;
                // The connection is closed.
            }
        });
        problem(settings(&host), "events").await;
        serving.abort();
    }
}
