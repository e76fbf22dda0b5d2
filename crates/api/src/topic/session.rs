//! A connection of a topic.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use personium_model::stream::{SubscriptionEnd, TopicMessage, TopicSubscription};
use personium_types::error::chain;
use personium_types::{Code, Result};
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::place::TopicPlace;
use super::reader::TopicReader;
use super::text_of;
use crate::web_socket::{self, SEND_TIMEOUT, Socket, SocketCell};

/// The time within which a client must authenticate.
const AUTHENTICATION_TIMEOUT: Duration = Duration::from_secs(60);
/// The time between two pings: less than the time after which proxies close a silent connection, mostly a minute.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// The number of pings that may stay unanswered.
const UNANSWERED_PINGS_MAX: u32 = 30;

/// The step after a message.
enum SessionStep {
    /// The connection goes on.
    Continue,
    /// The connection is closed, for this reason if there is one.
    Close(Option<&'static str>),
}

/// A connection.
pub(super) struct TopicSession {
    cell: SocketCell,
    place: TopicPlace,
    socket: Socket,
    reader: Option<TopicReader>,
    subscription: Option<Box<dyn TopicSubscription>>,
    begun: Instant,
    unanswered_pings: u32,
}

impl TopicSession {
    pub(super) fn new(cell: SocketCell, place: TopicPlace, socket: Socket) -> Self {
        Self {
            begun: cell.unit.monotonic(),
            cell,
            place,
            socket,
            reader: None,
            subscription: None,
            unanswered_pings: 0,
        }
    }

    /// Serves the connection until it ends.
    pub(super) async fn run(mut self) {
        let mut pings = interval(PING_INTERVAL);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let left = self.time_left();
            let next = tokio::select! {
                _ = pings.tick() => self.ping().await,
                () = tokio::time::sleep(left) => self.end().await,
                message = self.socket.next() => match message {
                    Some(Ok(Message::Close(_))) => {
                        self.subscription = None;
                        return Box::pin(web_socket::close_after_peer(self.socket)).await;
                    }
                    Some(Ok(message)) => self.receive(message).await,
                    Some(Err(error)) => {
                        self.subscription = None;
                        return Box::pin(web_socket::close_after_error(self.socket, error)).await;
                    }
                    None => return,
                },
                message = next_message(&mut self.subscription) => match message {
                    Ok(message) => self.pass_on(&message).await,
                    Err(SubscriptionEnd::Missed) => Ok(SessionStep::Close(Some("messages were missed"))),
                    Err(SubscriptionEnd::Stopped) => Ok(SessionStep::Close(None)),
                },
            };
            match next {
                Ok(SessionStep::Continue) => {}
                Ok(SessionStep::Close(reason)) => {
                    return Box::pin(web_socket::close(self.socket, reason)).await;
                }
                Err(error) => {
                    tracing::warn!(
                        cell.id = %self.cell.context.cell().id,
                        error = %chain(&error),
                        "failed to serve a topic"
                    );
                    return Box::pin(web_socket::close(self.socket, None)).await;
                }
            }
        }
    }

    /// The time until the token ends, or within which the client must authenticate.
    fn time_left(&self) -> Duration {
        match &self.reader {
            Some(reader) => reader.time_left(),
            None => {
                let now = self.cell.unit.monotonic();
                let age = now.saturating_duration_since(self.begun);
                AUTHENTICATION_TIMEOUT.saturating_sub(age)
            }
        }
    }

    /// The end of the token, or of the time to send one.
    async fn end(&mut self) -> Result<SessionStep> {
        if self.reader.is_some() {
            let text = self.answer("AccessToken", "Session expired");
            self.send(Message::Text(text.into())).await;
        }
        Ok(SessionStep::Close(None))
    }

    /// Sends a ping. Closes a connection that does not answer pings, or whose client may not receive any more.
    async fn ping(&mut self) -> Result<SessionStep> {
        if self.unanswered_pings > UNANSWERED_PINGS_MAX || !self.may_read().await? {
            return Ok(SessionStep::Close(None));
        }
        self.unanswered_pings += 1;
        Ok(self.send(Message::Ping(Bytes::new())).await)
    }

    /// Whether the client may still receive, or has not authenticated yet.
    async fn may_read(&mut self) -> Result<bool> {
        match &mut self.reader {
            Some(reader) => reader.may_read().await,
            None => Ok(true),
        }
    }

    async fn receive(&mut self, message: Message) -> Result<SessionStep> {
        match message {
            Message::Text(text) => Box::pin(self.authenticate(&text)).await,
            Message::Pong(_) => {
                self.unanswered_pings = 0;
                Ok(SessionStep::Continue)
            }
            // Pings are answered by the library.
            Message::Ping(_) | Message::Frame(_) | Message::Close(_) => Ok(SessionStep::Continue),
            Message::Binary(_) => Ok(self.refuse("Unknown", "Invalid message").await),
        }
    }

    /// Accepts a token, the first one or one that replaces it.
    async fn authenticate(&mut self, text: &str) -> Result<SessionStep> {
        let message = serde_json::from_str::<Value>(text).ok();
        let token = message
            .as_ref()
            .and_then(|it| it.get("AccessToken")?.as_str());
        let Some(token) = token else {
            return Ok(self.refuse("Unknown", "Invalid message").await);
        };
        let reader = self.find_reader(token).await?;
        let Some(reader) = reader else {
            return Ok(self.refuse("AccessToken", "Token inactive").await);
        };
        let is_other = self
            .reader
            .as_ref()
            .is_none_or(|known| known.channel() != reader.channel());
        if is_other {
            let queue = self.cell.unit.message_queue();
            match queue.subscribe(reader.channel(), None).await {
                Ok(subscription) => self.subscription = Some(subscription),
                Err(error) if error.code() == Code::ServerBusy => {
                    return Ok(self.refuse("AccessToken", "Too many subscribers").await);
                }
                Err(error) => return Err(error),
            }
        }
        let answer = json!({
            "Response": "AccessToken",
            "Result": "Success",
            "ExpiresIn": reader.time_left().as_secs(),
            "Timestamp": self.cell.unit.now_ms(),
        });
        self.reader = Some(reader);
        self.socket.get_mut().lift_limit();
        Ok(self.send(Message::Text(answer.to_string().into())).await)
    }

    async fn find_reader(&mut self, token: &str) -> Result<Option<TopicReader>> {
        let unit = &self.cell.unit;
        let cell = self.cell.context.cell().id;
        let Some(context) = unit.find_cell_by_id(&cell).await? else {
            return Ok(None);
        };
        for path in &self.place.paths {
            let place = (
                self.place.box_name.clone(),
                path.clone(),
                self.place.topic.clone(),
            );
            let credential = (token.to_owned(), place);
            match TopicReader::find(unit, context.clone(), credential).await {
                Ok(None) => {}
                // The token of an account that was removed.
                Err(error) if !error.code().is_server_error() => {}
                found => return found,
            }
        }
        Ok(None)
    }

    /// The answer that a message had no effect.
    fn answer(&self, to: &str, reason: &str) -> String {
        let answer = json!({
            "Response": to,
            "Result": "Error",
            "Reason": reason,
            "Timestamp": self.cell.unit.now_ms(),
        });
        answer.to_string()
    }

    async fn refuse(&mut self, to: &str, reason: &str) -> SessionStep {
        let text = self.answer(to, reason);
        self.send(Message::Text(text.into())).await;
        SessionStep::Close(None)
    }

    async fn pass_on(&mut self, message: &TopicMessage) -> Result<SessionStep> {
        if !self.may_read().await? {
            return Ok(SessionStep::Close(None));
        }
        let text = text_of(&message.message);
        Ok(self.send(Message::Text(text.into())).await)
    }

    async fn send(&mut self, message: Message) -> SessionStep {
        match timeout(SEND_TIMEOUT, self.socket.send(message)).await {
            Ok(Ok(())) => SessionStep::Continue,
            Ok(Err(_)) => SessionStep::Close(None),
            Err(_) => SessionStep::Close(Some("reader is too slow")),
        }
    }
}

/// The next message for a subscriber; never one if there is none.
async fn next_message(
    subscription: &mut Option<Box<dyn TopicSubscription>>,
) -> std::result::Result<TopicMessage, SubscriptionEnd> {
    match subscription {
        Some(subscription) => subscription.next().await,
        None => std::future::pending().await,
    }
}
