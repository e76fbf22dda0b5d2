//! The time from sending a change to its arrival at a listener. The change is durable in between.

use std::time::{Duration, Instant};

use personium_testkit::{RawBody, RawConnection, request_bytes};

use super::EventsBench;
use crate::listener::{EventStreamListener, WebSocketListener};
use crate::load::{Measurement, percentile};
use crate::report::Bound;
use crate::{BenchResult, rows};

/// The time from one change to the next.
const INTERVAL: Duration = Duration::from_millis(10);
/// The number of changes for each second of measurement.
const CHANGES_PER_SECOND: u64 = 100;
/// The limits of the median and of the 99th percentile.
const MEDIAN_MAX_MS: f64 = 5.0;
const P99_MAX_MS: f64 = 20.0;
/// The type of the event of a created entity.
const CREATED: &str = "odata.create";

/// A client that listens.
enum Listener {
    WebSocket(WebSocketListener),
    Stream(EventStreamListener),
}

impl Listener {
    async fn next(&mut self) -> BenchResult {
        match self {
            Self::WebSocket(listener) => listener.next().await.map(drop),
            Self::Stream(listener) => listener.next().await,
        }
    }
}

impl EventsBench<'_> {
    pub(super) async fn delays(&mut self) -> BenchResult {
        let (port, cell) = (self.context.unit.port(), &self.cell);
        let mut listener =
            WebSocketListener::open(port, &format!("/{}/__event", cell.name)).await?;
        listener.subscribe(&cell.bearer, CREATED).await?;
        let web_socket = self.delays_of(Listener::WebSocket(listener), 0).await?;
        let listener = EventStreamListener::open(port, &cell.name, &cell.bearer, CREATED).await?;
        let stream = self.delays_of(Listener::Stream(listener), 1).await?;
        let bare = self.bare_delays().await?;
        for (name, measured) in [("a WebSocket", web_socket), ("Server-Sent Events", stream)] {
            self.section
                .measured(format!("creation to {name}"), measured);
            for (text, value_us, limit) in [
                ("median", measured.p50_us, MEDIAN_MAX_MS),
                ("99th percentile", measured.p99_us, P99_MAX_MS),
            ] {
                let text = format!("creation to {name}: milliseconds, {text}");
                self.section
                    .require(text, value_us / 1e3, Bound::AtMost, limit);
            }
        }
        self.section
            .measured("baseline: axum, request to WebSocket, nothing stored", bare);
        Ok(())
    }

    /// Creates entities with a listener to them. Their keys are those of no other round.
    async fn delays_of(&self, listener: Listener, round: u64) -> BenchResult<Measurement> {
        let path = format!("/{}/box/rows/Row", self.cell.name);
        let headers = [
            ("Authorization", self.cell.bearer.as_str()),
            ("Content-Type", "application/json"),
            ("Accept", "application/json"),
        ];
        let create = |number: u64| {
            let row = rows::json(number + (round << 32));
            request_bytes("POST", &path, &headers, row.as_bytes())
        };
        self.measure_delays(self.context.unit.port(), (listener, 201), create)
            .await
    }

    async fn bare_delays(&self) -> BenchResult<Measurement> {
        let port = self.server.port;
        let listener = WebSocketListener::open(port, "/subscribe").await?;
        let publish =
            |number: u64| request_bytes("POST", "/publish", &[], rows::json(number).as_bytes());
        self.measure_delays(port, (Listener::WebSocket(listener), 200), publish)
            .await
    }

    async fn measure_delays(
        &self,
        port: u16,
        (mut listener, status): (Listener, u16),
        change: impl Fn(u64) -> Vec<u8>,
    ) -> BenchResult<Measurement> {
        let options = &self.context.options;
        let count = options.seconds * options.runs as u64 * CHANGES_PER_SECOND;
        let mut writer = RawConnection::open(port)
            .await
            .map_err(|error| format!("cannot connect to port {port}: {error}"))?;
        let mut delays_us = Vec::new();
        for number in 0..count {
            let request = change(number);
            let start = Instant::now();
            let arrival = async {
                listener.next().await?;
                Ok::<_, String>(start.elapsed())
            };
            let (response, delay) =
                tokio::join!(writer.exchange(&request, RawBody::Count), arrival);
            let response = response.map_err(|error| format!("a connection failed: {error}"))?;
            if response.status != status {
                return Err(format!("a change was answered {}", response.status));
            }
            delays_us.push(u32::try_from(delay?.as_micros()).unwrap_or(u32::MAX));
            tokio::time::sleep_until((start + INTERVAL).into()).await;
        }
        delays_us.sort_unstable();
        Ok(Measurement {
            p50_us: percentile(&delays_us, 0.5),
            p99_us: percentile(&delays_us, 0.99),
            ..Measurement::default()
        })
    }
}
