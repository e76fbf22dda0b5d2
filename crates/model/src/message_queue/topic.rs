//! Topics in the records of a cell.
//!
//! A message is a sequenced record, so all subscribers, on any server node, read the messages in one order and miss none. Each subscriber
//! remembers where it is and reads pages; those who are at the same place share the page. So a slow subscriber costs one page of memory,
//! and one that falls behind what is kept is told.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use personium_store::{
    Batch, Channel, Direction, Expect, Key, Limit, Message, SubscriptionEnd, TopicMessage,
    TopicSubscription,
};
use personium_types::error::chain;
use personium_types::{Code, Error, Result};
use tokio::time::timeout;

use super::counts::{self, MessageCounts};
use super::stored::StoredTopicMessage;
use super::{expiry_index, poll_interval};
use crate::event_feed::FeedPosition;
use crate::message_news::{MessageInterest, SharedPage, TopicPage};
use crate::records::{self, Records, Versioned, store_error};
use crate::{PostCommit, Unit, keys};

/// The size of a page.
const PAGE: Limit = Limit {
    records: 8,
    bytes: 32 << 10,
};
/// The messages that are removed by one batch.
const REMOVED_AT_ONCE: Limit = Limit {
    records: 100,
    bytes: 4 << 20,
};
/// The pause after a failure of the store.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// Where a topic without messages begins.
const BEGIN: FeedPosition = FeedPosition {
    seq: 0,
    number: 0,
    at: 0,
};

/// Adds a message to a topic. If the topic is full, its oldest messages are removed.
pub(super) async fn send(unit: &Unit, topic: &Channel, message: &Message) -> Result<()> {
    let records = super::limited_records(unit, &topic.cell).await?;
    let settings = &unit.settings().streams;
    let limits = (settings.queue_messages_max, settings.queue_max_bytes);
    let index = expiry_index::announce(unit, topic, message.expires_ms).await?;
    let bytes = message.body.len();
    let body = std::str::from_utf8(&message.body);
    let body = body.map_err(|error| Error::new(Code::MessageText).with_source(error))?;
    let stored = records::encode(&StoredTopicMessage {
        from: message.from.clone(),
        sent_ms: message.sent_ms,
        expires_ms: message.expires_ms,
        body: body.to_owned(),
    })?;
    let (records, index, stored) = (&records, &index, &stored);
    unit.transact_with(records, || async move {
        let mut batch = Batch::new();
        let mut counts = MessageCounts::read(records, topic).await?;
        if !counts.fits(bytes, limits) {
            drop_oldest(unit, records, topic, (&mut counts, &mut batch), bytes).await?;
        }
        if !counts.fits(bytes, limits) {
            return Err(Error::new(Code::QueueFull).with(&topic.name));
        }
        batch.put_sequenced(
            keys::topic_messages_prefix(&topic.collection, &topic.name),
            stored.clone(),
        );
        counts::add(&mut batch, topic, 1, counts::as_i64(bytes));
        batch.put(index.clone(), Vec::new());
        Ok((batch, PostCommit::none().wake_receivers(topic.cell), ()))
    })
    .await
}

/// Adds to a batch that the oldest messages of a topic are removed, as many as it takes for one more of this size.
async fn drop_oldest(
    unit: &Unit,
    records: &Records,
    topic: &Channel,
    (counts, batch): (&mut MessageCounts, &mut Batch),
    bytes: usize,
) -> Result<()> {
    let settings = &unit.settings().streams;
    let limits = (settings.queue_messages_max, settings.queue_max_bytes);
    let range = keys::topic_messages(&topic.collection, &topic.name);
    let (oldest, _) = records
        .list_within::<StoredTopicMessage>(&range, Direction::Up, REMOVED_AT_ONCE)
        .await?;
    let (mut messages, mut removed) = (0, 0);
    let mut last = None;
    for (key, stored) in oldest {
        if counts.fits(bytes, limits) {
            break;
        }
        let size = counts::as_i64(stored.value.body.len());
        (messages, removed) = (messages + 1, removed + size);
        counts.messages -= 1;
        counts.bytes -= size;
        batch.assert(key.clone(), Expect::Version(stored.version));
        batch.delete(key.clone());
        last = Some(key);
    }
    if let Some(last) = last {
        counts::add(batch, topic, -messages, -removed);
        let mark = keys::last_dropped_message(&topic.collection, &topic.name);
        batch.put(mark, last.as_bytes().to_vec());
    }
    Ok(())
}

/// Removes the messages of a topic that have expired, from its beginning up to the first that has not. Returns when that expires.
pub(super) async fn remove_expired(unit: &Unit, topic: &Channel) -> Result<Option<i64>> {
    let records = unit.cell_records(&topic.cell);
    let range = keys::topic_messages(&topic.collection, &topic.name);
    loop {
        let (found, _) = records
            .list_within::<StoredTopicMessage>(&range, Direction::Up, REMOVED_AT_ONCE)
            .await?;
        let now = unit.now_ms();
        let (mut messages, mut bytes) = (0, 0);
        let mut batch = Batch::new();
        let mut next = None;
        for (key, stored) in found {
            if stored.value.expires_ms > now {
                next = Some(next.unwrap_or(i64::MAX).min(stored.value.expires_ms));
                continue;
            }
            messages += 1;
            bytes += counts::as_i64(stored.value.body.len());
            batch.assert(key.clone(), Expect::Version(stored.version));
            batch.delete(key);
        }
        if messages == 0 {
            return Ok(next);
        }
        counts::add(&mut batch, topic, -messages, -bytes);
        match records.commit(batch).await {
            Ok(_) | Err(personium_store::StoreError::Conflict) => {}
            Err(other) => return Err(store_error(other)),
        }
    }
}

/// A subscriber of a topic.
pub(super) struct Subscription {
    unit: Arc<Unit>,
    topic: Channel,
    interest: MessageInterest,
    shared: Arc<SharedPage>,
    position: FeedPosition,
    page: Arc<TopicPage>,
    /// The number of messages of the page that were returned.
    returned: usize,
}

impl Subscription {
    /// Subscribes to what is sent from now on, or to what follows a position.
    pub(super) async fn begin(
        unit: &Unit,
        topic: &Channel,
        after: Option<&str>,
    ) -> Result<Option<Self>> {
        let interest = unit.message_news().wait_in(topic.cell);
        let interest = interest.ok_or(Code::ServerBusy)?;
        let shared = interest.shared_page(topic.collection, &topic.name);
        let records = unit.cell_records(&topic.cell);
        let range = keys::topic_messages(&topic.collection, &topic.name);
        let position = match after {
            None => {
                let last = records
                    .list::<StoredTopicMessage>(&range, Direction::Down, 1)
                    .await?;
                match last.first().and_then(|(key, last)| position_of(key, last)) {
                    Some(last) => last,
                    None => last_dropped(&records, topic).await?.unwrap_or(BEGIN),
                }
            }
            Some(after) => {
                let Ok(position) = after.parse::<FeedPosition>() else {
                    return Ok(None);
                };
                let key = key_at(topic, &position);
                let found = records.find::<StoredTopicMessage>(&key).await?;
                if found.is_none_or(|found| found.value.sent_ms != position.at) {
                    return Ok(None);
                }
                position
            }
        };
        Ok(Some(Self {
            unit: unit.share(),
            topic: topic.clone(),
            interest,
            shared,
            position,
            page: Arc::new(TopicPage {
                after: position,
                news: 0,
                messages: Vec::new(),
            }),
            returned: 0,
        }))
    }

    /// The page after the position.
    async fn load(&self, news: u64) -> Result<Arc<TopicPage>> {
        let mut shared = self.shared.lock().await;
        if let Some(page) = &*shared
            && page.after == self.position
            && (!page.messages.is_empty() || page.news >= news)
        {
            return Ok(Arc::clone(page));
        }
        let records = self.unit.cell_records(&self.topic.cell);
        let messages = read_page(&records, &self.topic, self.position).await?;
        let page = Arc::new(TopicPage {
            after: self.position,
            news,
            messages,
        });
        *shared = Some(Arc::clone(&page));
        Ok(page)
    }
}

#[async_trait]
impl TopicSubscription for Subscription {
    async fn next(&mut self) -> std::result::Result<TopicMessage, SubscriptionEnd> {
        loop {
            let now = self.unit.now_ms();
            while let Some((position, message)) = self.page.messages.get(self.returned) {
                self.returned += 1;
                self.position = *position;
                if message.expires_ms > now {
                    return Ok(TopicMessage {
                        position: position.to_string(),
                        message: message.clone(),
                    });
                }
            }
            let news = *self.interest.news.borrow_and_update();
            match self.load(news).await {
                Ok(page) if page.messages.is_empty() => {
                    let interval = poll_interval(&self.unit);
                    let _ = timeout(interval, self.interest.news.changed()).await;
                }
                Ok(page) => {
                    self.page = page;
                    self.returned = 0;
                }
                Err(error) => match error.code() {
                    Code::NoSuchCell => return Err(SubscriptionEnd::Stopped),
                    Code::MessagesMissed | Code::StoreCorrupt => {
                        return Err(SubscriptionEnd::Missed);
                    }
                    _ => {
                        tracing::warn!(
                            cell.id = %self.topic.cell,
                            error = %chain(&error),
                            "failed to read a topic, will retry"
                        );
                        tokio::time::sleep(RETRY_DELAY).await;
                    }
                },
            }
        }
    }

    fn position(&self) -> String {
        self.position.to_string()
    }
}

/// The messages of a topic after a position.
///
/// # Errors
/// [`Code::MessagesMissed`] if messages after the position were removed before their time; a failure of the store.
async fn read_page(
    records: &Records,
    topic: &Channel,
    after: FeedPosition,
) -> Result<Vec<(FeedPosition, Message)>> {
    let range = keys::topic_messages(&topic.collection, &topic.name);
    let last_read = key_at(topic, &after);
    let (found, _) = records
        .list_within::<StoredTopicMessage>(&range.after(&last_read), Direction::Up, PAGE)
        .await?;
    // After the page: what was removed before it was read is marked.
    if !found.is_empty()
        && let Some(dropped) = last_dropped(records, topic).await?
        && key_at(topic, &dropped) > last_read
    {
        return Err(Code::MessagesMissed.into());
    }
    let messages = found.into_iter().filter_map(|(key, stored)| {
        let position = position_of(&key, &stored)?;
        Some((position, stored.value.into_message()))
    });
    Ok(messages.collect())
}

/// The position of the last message that was removed before its time.
async fn last_dropped(records: &Records, topic: &Channel) -> Result<Option<FeedPosition>> {
    let mark = keys::last_dropped_message(&topic.collection, &topic.name);
    let found = records.find_bytes(&mark).await?;
    let key = found.map(|key| Key::from_bytes(key.to_vec()));
    let numbers = key.as_ref().and_then(keys::numbers_of_topic_message);
    Ok(numbers.map(|(seq, number)| FeedPosition { seq, number, at: 0 }))
}

fn position_of(key: &Key, stored: &Versioned<StoredTopicMessage>) -> Option<FeedPosition> {
    let (seq, number) = keys::numbers_of_topic_message(key)?;
    Some(FeedPosition {
        seq,
        number,
        at: stored.value.sent_ms,
    })
}

fn key_at(topic: &Channel, position: &FeedPosition) -> Key {
    let prefix = keys::topic_messages_prefix(&topic.collection, &topic.name);
    prefix.sequenced(position.seq, position.number)
}
