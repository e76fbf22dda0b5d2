//! News between processes that records were sequenced: `NOTIFY` and `LISTEN`.
//!
//! A process tells the others after its commit, at most one message at a time; what comes meanwhile waits for the next one. The
//! connection that listens is made when somebody first waits for news. Behind a pooler nobody can listen, so nobody tells.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::poll_fn;
use parking_lot::Mutex;
use personium_store::Space;
use personium_types::{Random, hex};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, Client, NoTls};

use crate::connections::{self, Connections};
use crate::settings::{PostgresSettings, TlsMode};
use crate::{space_key, statement, tls};

/// The command that begins to listen. The channel has the name of the schema.
const LISTEN: &str = "LISTEN personium";

/// The largest number of spaces that one message names. A message has less than 8,000 bytes.
const SPACES_PER_MESSAGE: usize = 100;

/// The largest number of messages that wait to be read.
const MESSAGES_MAX: usize = 256;

/// The pause before the second attempt to listen; it doubles up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause between two attempts to listen.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// The beginning of the messages of a process, so that it knows its own.
type Sender = String;

/// The news that a process tells and hears.
#[derive(Debug)]
pub(crate) struct News {
    connections: Arc<Connections>,
    settings: PostgresSettings,
    sender: Sender,
    /// The spaces that others are to be told of.
    untold: Mutex<BTreeSet<Space>>,
    is_telling: AtomicBool,
    /// Whether the connection that listens is there.
    is_listening: Arc<AtomicBool>,
    hearing: tokio::sync::Mutex<Hearing>,
}

/// The state of whoever waits for news.
#[derive(Debug, Default)]
struct Hearing {
    listener: Option<Listener>,
    /// The spaces of the last message that were not returned yet.
    heard: VecDeque<Space>,
    /// The number of attempts to listen that failed in a row.
    failed: u32,
}

/// A connection that listens.
#[derive(Debug)]
struct Listener {
    /// The connection ends with it.
    _client: Client,
    messages: mpsc::Receiver<String>,
    /// Whether messages were dropped because too many waited.
    is_cut: Arc<AtomicBool>,
}

impl News {
    pub(crate) fn new(
        connections: &Arc<Connections>,
        settings: &PostgresSettings,
        random: &dyn Random,
    ) -> Self {
        Self {
            connections: Arc::clone(connections),
            settings: settings.clone(),
            sender: random.uuid().simple().to_string(),
            untold: Mutex::default(),
            is_telling: AtomicBool::new(false),
            is_listening: Arc::default(),
            hearing: tokio::sync::Mutex::default(),
        }
    }

    /// Whether news can be heard at present.
    pub(crate) fn is_listening(&self) -> bool {
        self.is_listening.load(Ordering::Acquire)
    }

    /// Tells the other processes, in the background, that records were sequenced in a space.
    pub(crate) fn tell(self: &Arc<Self>, space: &Space) {
        if !self.settings.prepared_statements {
            return;
        }
        self.untold.lock().insert(*space);
        if !self.is_telling.swap(true, Ordering::AcqRel) {
            let news = Arc::clone(self);
            tokio::spawn(async move { news.tell_all().await });
        }
    }

    async fn tell_all(&self) {
        loop {
            let spaces = self.take_untold();
            if spaces.is_empty() {
                self.is_telling.store(false, Ordering::Release);
                // Something may have come between the two.
                let is_over = self.untold.lock().is_empty();
                if is_over || self.is_telling.swap(true, Ordering::AcqRel) {
                    return;
                }
                continue;
            }
            let message = message(&self.sender, &spaces);
            let told = self.connections.read(&statement::NOTIFY, &[&message]).await;
            if let Err(failure) = told {
                tracing::debug!(?failure, "failed to tell other processes of records");
            }
        }
    }

    fn take_untold(&self) -> Vec<Space> {
        let mut untold = self.untold.lock();
        let mut spaces = Vec::new();
        while spaces.len() < SPACES_PER_MESSAGE
            && let Some(space) = untold.pop_first()
        {
            spaces.push(space);
        }
        spaces
    }

    /// Waits for news; see [`personium_store::RecordStore::next_sequenced`].
    pub(crate) async fn next(&self) -> Option<Space> {
        if !self.settings.prepared_statements {
            return std::future::pending().await;
        }
        let mut hearing = self.hearing.lock().await;
        loop {
            if let Some(space) = hearing.heard.pop_front() {
                return Some(space);
            }
            let Some(listener) = &mut hearing.listener else {
                self.listen(&mut hearing).await;
                if hearing.listener.is_some() {
                    // What was told before was missed.
                    return None;
                }
                continue;
            };
            match listener.messages.recv().await {
                None => {
                    hearing.listener = None;
                    tracing::debug!("the connection that hears news of other processes was lost");
                }
                Some(_) if listener.is_cut.swap(false, Ordering::AcqRel) => return None,
                Some(message) => hearing.heard = spaces_of(&self.sender, &message),
            }
        }
    }

    /// Makes the connection that listens, or waits before the next attempt.
    async fn listen(&self, hearing: &mut Hearing) {
        match self.connect().await {
            Ok(listener) => {
                hearing.failed = 0;
                hearing.listener = Some(listener);
            }
            Err(error) => {
                if hearing.failed == 0 {
                    let error = crate::error::text(&*error);
                    tracing::warn!(error, "failed to listen for news of other processes");
                }
                hearing.failed = hearing.failed.saturating_add(1);
                let factor = 1_u32 << hearing.failed.min(16);
                tokio::time::sleep((FIRST_PAUSE * factor).min(MAX_PAUSE)).await;
            }
        }
    }

    async fn connect(&self) -> Result<Listener, Box<dyn std::error::Error + Send + Sync>> {
        let config = connections::config(&self.settings);
        let (sender, messages) = mpsc::channel(MESSAGES_MAX);
        let is_cut = Arc::new(AtomicBool::new(false));
        let state = ConnectionState {
            sender,
            is_cut: Arc::clone(&is_cut),
            is_listening: Arc::clone(&self.is_listening),
        };
        let client = match &self.settings.tls {
            TlsMode::Off => {
                let (client, connection) = config.connect(NoTls).await?;
                tokio::spawn(state.drive(connection));
                client
            }
            TlsMode::Verify { roots, client } => {
                let connector = tls::connector(roots.as_deref(), client.as_ref())?;
                let (client, connection) = config.connect(connector).await?;
                tokio::spawn(state.drive(connection));
                client
            }
        };
        let listening = client.batch_execute(LISTEN);
        tokio::time::timeout(self.settings.statement_timeout, listening).await??;
        self.is_listening.store(true, Ordering::Release);
        Ok(Listener {
            _client: client,
            messages,
            is_cut,
        })
    }
}

/// The state that the task of a connection that listens needs.
struct ConnectionState {
    sender: mpsc::Sender<String>,
    is_cut: Arc<AtomicBool>,
    is_listening: Arc<AtomicBool>,
}

impl ConnectionState {
    /// Reads from the connection until it ends.
    async fn drive<S, T>(self, mut connection: tokio_postgres::Connection<S, T>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
        T: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            match poll_fn(|context| connection.poll_message(context)).await {
                Some(Ok(AsyncMessage::Notification(notification))) => {
                    let message = notification.payload().to_owned();
                    if self.sender.try_send(message).is_err() {
                        self.is_cut.store(true, Ordering::Release);
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            }
        }
        self.is_listening.store(false, Ordering::Release);
    }
}

/// A message: the sender, then the names of the spaces.
fn message(sender: &str, spaces: &[Space]) -> String {
    let mut message = sender.to_owned();
    for space in spaces {
        message.push(' ');
        message.push_str(&hex::encode(&space_key::of(space)));
    }
    message
}

/// The spaces in a message of another process. What is no message of this kind has none.
fn spaces_of(own: &str, message: &str) -> VecDeque<Space> {
    let mut words = message.split(' ');
    if words.next() == Some(own) {
        return VecDeque::new();
    }
    words.filter_map(space_of).collect()
}

fn space_of(word: &str) -> Option<Space> {
    let digits = word.as_bytes().chunks(2);
    let bytes = digits.map(|pair| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    });
    space_key::parse(&bytes.collect::<Option<Vec<u8>>>()?)
}

#[cfg(test)]
mod tests {
    use personium_types::CellId;

    use super::*;

    #[test]
    fn message_gives_back_its_spaces_to_others_only() {
        let spaces = [7, 255].map(|byte| Space::Cell(CellId::from_bytes([byte; 16])));
        let text = message("me", &spaces);
        assert_eq!(spaces_of("other", &text), VecDeque::from(spaces));
        assert!(spaces_of("me", &text).is_empty());
        let many = vec![spaces[0]; SPACES_PER_MESSAGE];
        assert!(message(&"0".repeat(32), &many).len() < 8_000);
    }

    #[test]
    fn foreign_messages_name_no_space() {
        for text in ["", "x", "x é", "x 0", "x zz", "x 00ff", "x +1+1"] {
            assert!(spaces_of("me", text).is_empty(), "{text}");
        }
    }
}
