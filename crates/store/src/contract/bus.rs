//! The suite for [`Bus`].

use std::sync::Arc;

use bytes::Bytes;
use personium_types::BlobId;

use crate::Bus;

/// Checks everything that [`Bus`] promises for receivers that keep up.
pub async fn bus(bus: Arc<dyn Bus>) {
    let topic = BlobId::random().to_string();
    let other = BlobId::random().to_string();
    bus.publish(&topic, Bytes::from_static(b"nobody listens"))
        .await
        .unwrap();

    let mut first = bus.subscribe(&topic).await.unwrap();
    let mut second = bus.subscribe(&topic).await.unwrap();
    let mut elsewhere = bus.subscribe(&other).await.unwrap();
    for n in 0..100 {
        bus.publish(&topic, n.to_string().into()).await.unwrap();
    }
    bus.publish(&other, Bytes::from_static(b"other"))
        .await
        .unwrap();
    for n in 0..100 {
        assert_eq!(first.next().await.unwrap(), n.to_string());
        assert_eq!(second.next().await.unwrap(), n.to_string());
    }
    assert_eq!(elsewhere.next().await.unwrap(), "other");

    drop(first);
    bus.publish(&topic, Bytes::from_static(b"one left"))
        .await
        .unwrap();
    assert_eq!(second.next().await.unwrap(), "one left");
    drop(second);
    bus.publish(&topic, Bytes::from_static(b"none left"))
        .await
        .unwrap();
    let mut late = bus.subscribe(&topic).await.unwrap();
    bus.publish(&topic, Bytes::from_static(b"late"))
        .await
        .unwrap();
    assert_eq!(late.next().await.unwrap(), "late");
}
