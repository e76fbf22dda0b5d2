//! A connection of the WebSocket feed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use personium_model::event::feed::{self, FeedListener};
use personium_model::event::{self, Event};
use personium_model::event_feed::{FeedEnd, FeedEvent};
use personium_types::error::chain;
use personium_types::{Code, Operation, Result};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite::{Bytes, Message, Utf8Bytes};

use super::import_event;
use super::protocol::{Answer, ClientMessage, PostedByClient, Subscription, text_of};
use super::reader::EventReader;
use crate::event_cause::event_by;
use crate::web_socket::{self, SEND_TIMEOUT, Socket, SocketCell};

/// The time for which a token is accepted, seconds.
const TOKEN_SECS: u64 = 3_600;
/// The time within which a client must authenticate.
const AUTHENTICATION_TIMEOUT: Duration = Duration::from_secs(60);
/// The time between two pings: less than the time after which proxies close a silent connection, mostly a minute.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// The number of pings that may stay unanswered.
const UNANSWERED_PINGS_MAX: u32 = 30;
/// The content of a ping.
const PING: &[u8] = &[1, 2, 3];
/// The largest number of subscriptions of a connection.
const SUBSCRIPTIONS_MAX: usize = 1_000;

/// The step after a message or an event.
enum Next {
    /// The connection goes on.
    Continue,
    /// The connection is closed, for this reason if there is one.
    Close(Option<&'static str>),
}

/// A connection.
pub(super) struct Session {
    cell: SocketCell,
    socket: Socket,
    /// There while the client is subscribed to something: who is not costs no writer anything.
    listener: Option<FeedListener>,
    subscriptions: Vec<Subscription>,
    reader: Option<EventReader>,
    /// When the token was accepted.
    accepted: Instant,
    unanswered_pings: u32,
}

impl Session {
    pub(super) fn new(cell: SocketCell, socket: Socket) -> Self {
        Self {
            accepted: cell.unit.monotonic(),
            cell,
            socket,
            listener: None,
            subscriptions: Vec::new(),
            reader: None,
            unanswered_pings: 0,
        }
    }

    /// Serves the connection until it ends.
    pub(super) async fn run(mut self) {
        let mut pings = interval(PING_INTERVAL);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let next = tokio::select! {
                _ = pings.tick() => self.ping().await,
                message = self.socket.next() => match message {
                    Some(Ok(Message::Close(_))) => {
                        self.listener = None;
                        return Box::pin(web_socket::close_after_peer(self.socket)).await;
                    }
                    Some(Ok(message)) => self.receive(message).await,
                    Some(Err(error)) => {
                        self.listener = None;
                        return Box::pin(web_socket::close_after_error(self.socket, error)).await;
                    }
                    None => return,
                },
                event = next_event(&mut self.listener) => match event {
                    Ok(event) => self.pass_on(&event).await,
                    Err(FeedEnd::TooSlow) => Ok(Next::Close(Some("reader is too slow"))),
                    Err(FeedEnd::Missed) => Ok(Next::Close(Some("events were missed"))),
                    Err(FeedEnd::Stopped) => Box::pin(self.go_on_after_import()).await,
                },
            };
            match next {
                Ok(Next::Continue) => {}
                Ok(Next::Close(reason)) => {
                    return Box::pin(web_socket::close(self.socket, reason)).await;
                }
                Err(error) => {
                    tracing::warn!(
                        cell.id = %self.cell.context.cell().id,
                        error = %chain(&error),
                        "failed to serve an event feed"
                    );
                    return Box::pin(web_socket::close(self.socket, None)).await;
                }
            }
        }
    }

    /// Sends a ping. Closes a connection that does not answer pings, or is not authenticated or not any more.
    async fn ping(&mut self) -> Result<Next> {
        let age = self.age();
        if self.reader.is_some() && !self.may_read().await? {
            return Box::pin(self.go_on_after_import()).await;
        }
        let is_overdue = self.reader.is_none() && age >= AUTHENTICATION_TIMEOUT;
        if is_overdue || self.unanswered_pings > UNANSWERED_PINGS_MAX {
            return Ok(Next::Close(None));
        }
        self.unanswered_pings += 1;
        Ok(self.send(Message::Ping(Bytes::from_static(PING))).await)
    }

    /// The time since the token was accepted, or since the connection was made.
    fn age(&self) -> Duration {
        let now = self.cell.unit.monotonic();
        now.saturating_duration_since(self.accepted)
    }

    /// The seconds for which the token is accepted.
    fn seconds_left(&self) -> u64 {
        TOKEN_SECS.saturating_sub(self.age().as_secs())
    }

    /// Goes on with the feed of the cell that an import has put in the place of this one. Closes the connection if there is none, or
    /// if the client may not read any more; then it gets the event of the import before.
    async fn go_on_after_import(&mut self) -> Result<Next> {
        let (unit, cell) = (&self.cell.unit, self.cell.context.cell());
        if self.listener.is_none() {
            return Ok(Next::Close(None));
        }
        let Some((context, mut listener)) = feed::listen_to_replacement(unit, cell).await? else {
            return Ok(Next::Close(None));
        };
        if self.may_read().await? {
            self.cell.context = context;
            self.listener = Some(listener);
            return Ok(Next::Continue);
        }
        if let Some(event) = import_event(&mut listener).await
            && self.subscriptions.iter().any(|it| it.selects(&event))
            && let Ok(text) = Utf8Bytes::try_from(text_of(&event))
        {
            self.send(Message::Text(text)).await;
        }
        Ok(Next::Close(None))
    }

    /// Whether the client may still read the events.
    async fn may_read(&mut self) -> Result<bool> {
        if self.seconds_left() == 0 {
            return Ok(false);
        }
        match &mut self.reader {
            Some(reader) => reader.may_read().await,
            None => Ok(false),
        }
    }

    async fn receive(&mut self, message: Message) -> Result<Next> {
        match message {
            Message::Text(text) => match ClientMessage::parse(&text) {
                // Boxed: the future of a connection would have room for it as long as it listens.
                Some(message) => Box::pin(self.handle(message)).await,
                None => Ok(Next::Continue),
            },
            Message::Pong(_) => {
                self.unanswered_pings = 0;
                Ok(Next::Continue)
            }
            // Pings are answered by the library.
            Message::Binary(_) | Message::Ping(_) | Message::Frame(_) | Message::Close(_) => {
                Ok(Next::Continue)
            }
        }
    }

    async fn handle(&mut self, message: ClientMessage) -> Result<Next> {
        if let ClientMessage::Token(token) = message {
            return self.authenticate(token).await;
        }
        if self.reader.is_none() {
            let unauthorized = self.answer("AccessToken").error("Unauthorized");
            return Ok(self.send_text(unauthorized).await);
        }
        if !self.may_read().await? {
            return Ok(Next::Close(None));
        }
        let text = match message {
            ClientMessage::Subscribe(wanted) => self.subscribe(wanted).await?,
            ClientMessage::Unsubscribe(unwanted) => self.unsubscribe(unwanted.as_ref()),
            ClientMessage::State { everything } => {
                let seconds = i64::try_from(self.seconds_left()).unwrap_or(0);
                let cell = self.cell.context.cell().name.as_str();
                let everything = everything.then_some((seconds, cell));
                self.answer("State").state(&self.subscriptions, everything)
            }
            ClientMessage::UnknownState => self
                .answer("State")
                .error("Invalid state type. Allowed status type: [All, Subscriptions]"),
            ClientMessage::Post(posted) => {
                self.post(posted).await?;
                return Ok(Next::Continue);
            }
            ClientMessage::Token(_) | ClientMessage::Other => return Ok(Next::Continue),
        };
        Ok(self.send_text(text).await)
    }

    fn answer(&self, to: &'static str) -> Answer {
        Answer {
            to,
            now: self.cell.unit.now_ms(),
        }
    }

    async fn authenticate(&mut self, token: String) -> Result<Next> {
        let unit = &self.cell.unit;
        let cell = self.cell.context.cell().id;
        let Some(context) = unit.find_cell_by_id(&cell).await? else {
            return Ok(Next::Close(None));
        };
        self.reader = EventReader::find(unit, context, token).await?;
        if self.reader.is_none() {
            return Ok(Next::Close(None));
        }
        self.accepted = unit.monotonic();
        self.socket.get_mut().lift_limit();
        let seconds = i64::try_from(TOKEN_SECS).unwrap_or(0);
        let text = self.answer("AccessToken").valid_for(seconds);
        Ok(self.send_text(text).await)
    }

    async fn subscribe(&mut self, wanted: Option<Subscription>) -> Result<String> {
        let answer = self.answer("Subscribe");
        Ok(match wanted {
            None => answer.error("Format error"),
            Some(_) if self.subscriptions.len() >= SUBSCRIPTIONS_MAX => {
                answer.error("Too many subscriptions")
            }
            Some(wanted) => {
                if self.listener.is_none() {
                    let (unit, context) = (&self.cell.unit, &self.cell.context);
                    match Box::pin(feed::listen(unit, context)).await {
                        Ok(listener) => self.listener = Some(listener),
                        Err(error) if error.code() == Code::ServerBusy => {
                            return Ok(answer.error("Too many listeners"));
                        }
                        Err(error) => return Err(error),
                    }
                }
                self.subscriptions.push(wanted);
                answer.success()
            }
        })
    }

    fn unsubscribe(&mut self, unwanted: Option<&Subscription>) -> String {
        let answer = self.answer("Unsubscribe");
        let Some(unwanted) = unwanted else {
            return answer.error("Format error");
        };
        match self.subscriptions.iter().position(|it| it == unwanted) {
            Some(index) => {
                self.subscriptions.remove(index);
                if self.subscriptions.is_empty() {
                    self.listener = None;
                }
                answer.success()
            }
            None => answer.error("Subscriptions not found"),
        }
    }

    /// Posts an event, if the client may. Nobody is told if not.
    async fn post(&mut self, posted: PostedByClient) -> Result<()> {
        let Some(reader) = &self.reader else {
            return Ok(());
        };
        let Ok(permit) = reader.permit(Operation::PostEvent).await else {
            return Ok(());
        };
        let event = Event {
            external: true,
            kind: Some(posted.kind),
            object: Some(posted.object),
            info: Some(posted.info),
            request_key: posted.request_key,
            ..event_by(reader.access(), &self.cell.cell_url())
        };
        let unit = &self.cell.unit;
        // That of the reader may not know yet who listens on other server nodes.
        let Some(context) = unit.find_cell_by_id(&reader.context().cell().id).await? else {
            return Ok(());
        };
        event::post(unit, &context, &permit, event).await
    }

    /// Sends an event if the client is subscribed to it.
    async fn pass_on(&mut self, event: &FeedEvent) -> Result<Next> {
        if !self.subscriptions.iter().any(|it| it.selects(event)) {
            return Ok(Next::Continue);
        }
        if !self.may_read().await? {
            return Box::pin(self.go_on_after_import()).await;
        }
        Ok(match Utf8Bytes::try_from(text_of(event)) {
            Ok(text) => self.send(Message::Text(text)).await,
            Err(_) => Next::Continue,
        })
    }

    async fn send_text(&mut self, text: String) -> Next {
        self.send(Message::Text(text.into())).await
    }

    async fn send(&mut self, message: Message) -> Next {
        match timeout(SEND_TIMEOUT, self.socket.send(message)).await {
            Ok(Ok(())) => Next::Continue,
            Ok(Err(_)) => Next::Close(None),
            Err(_) => Next::Close(Some("reader is too slow")),
        }
    }
}

/// The next event for a listener; never one if there is none.
async fn next_event(listener: &mut Option<FeedListener>) -> Result<Arc<FeedEvent>, FeedEnd> {
    match listener {
        Some(listener) => listener.next().await,
        None => std::future::pending().await,
    }
}
