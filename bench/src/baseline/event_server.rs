//! The baseline of listening to events: axum, and a broadcast channel of tokio to all WebSockets. It receives the requests of rules too.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use tokio::sync::broadcast;

use crate::BenchResult;

/// The number of events by which a listener may be behind.
const CAPACITY: usize = 128;

/// The state of the server.
struct EventServer {
    events: broadcast::Sender<Utf8Bytes>,
    received: AtomicU64,
}

/// Serves until the process is stopped: `/subscribe` is a WebSocket that gets what is posted to `/publish`; `/received` says how many
/// requests were posted to `/receive`.
///
/// # Errors
/// A message if it cannot listen.
pub(crate) async fn serve(port: u16) -> BenchResult {
    let server = EventServer {
        events: broadcast::channel(CAPACITY).0,
        received: AtomicU64::new(0),
    };
    let app = Router::new()
        .route("/subscribe", get(subscribe))
        .route("/publish", post(publish))
        .route("/receive", post(receive))
        .route("/received", get(received))
        .with_state(Arc::new(server));
    super::serve(app, port).await
}

async fn subscribe(State(server): State<Arc<EventServer>>, upgrade: WebSocketUpgrade) -> Response {
    let events = server.events.subscribe();
    upgrade.on_upgrade(|socket| send_events(socket, events))
}

async fn send_events(mut socket: WebSocket, mut events: broadcast::Receiver<Utf8Bytes>) {
    while let Ok(event) = events.recv().await {
        if socket.send(Message::Text(event)).await.is_err() {
            return;
        }
    }
}

async fn publish(State(server): State<Arc<EventServer>>, body: String) -> StatusCode {
    // Without listeners nothing is sent.
    let _ = server.events.send(body.into());
    StatusCode::OK
}

async fn receive(State(server): State<Arc<EventServer>>, _body: String) -> StatusCode {
    server.received.fetch_add(1, Ordering::Relaxed);
    StatusCode::OK
}

async fn received(State(server): State<Arc<EventServer>>) -> String {
    server.received.load(Ordering::Relaxed).to_string()
}
