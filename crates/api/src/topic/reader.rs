//! The right to receive the messages of a topic, which a subscriber must keep.

use std::sync::Arc;
use std::time::{Duration, Instant};

use personium_model::auth::{bearer, introspect};
use personium_model::locate::Prefetch;
use personium_model::stream::Channel;
use personium_model::{CellContext, Resource, Unit, stream};
use personium_types::{Code, Preconditions, Result};

/// The time for which a right is relied on without asking the store, if this process knows of no change.
const RECHECK: Duration = Duration::from_secs(1);
/// The time for which a token without an end is accepted, milliseconds.
const TOKEN_MS: i64 = 3_600_000;

/// The name of a box, the path of a collection in it, and the name of a topic.
type Place = (String, Vec<String>, String);

/// A token whose bearer may receive the messages of a topic, as of the last check.
pub(crate) struct TopicReader {
    unit: Arc<Unit>,
    token: String,
    place: Place,
    context: Arc<CellContext>,
    channel: Channel,
    /// When the token ends, milliseconds since 1970.
    expires_ms: i64,
    checked: Instant,
}

impl TopicReader {
    /// The reader with a token; `None` if it may not receive the messages, or there is no such topic.
    ///
    /// # Errors
    /// A failure of the store.
    pub(crate) async fn find(
        unit: &Arc<Unit>,
        context: Arc<CellContext>,
        (token, place): (String, Place),
    ) -> Result<Option<Self>> {
        let access = bearer::cell_access(unit, &context, &token, None).await?;
        let (box_name, segments, topic) = place.clone();
        let resource = Resource {
            unit: Arc::clone(unit),
            context: Arc::clone(&context),
            access,
            box_name,
            box_id: None,
            segments,
            url: String::new(),
            conditions: Preconditions::default(),
            prefetch: Prefetch::Nothing,
            events: None,
        };
        let channel = match stream::find_topic(&resource, &topic).await {
            Ok(Some(channel)) => channel,
            Ok(None) => return Ok(None),
            Err(error) if error.code() == Code::NoSuchBox => return Ok(None),
            Err(error) => return Err(error),
        };
        let info = introspect::introspect(unit, &context, &token).await?;
        let expires_ms = match info {
            Some(info) => info.expires_at,
            None => unit.now_ms().saturating_add(TOKEN_MS),
        };
        Ok(Some(Self {
            unit: Arc::clone(unit),
            checked: unit.monotonic(),
            token,
            place,
            context,
            channel,
            expires_ms,
        }))
    }

    /// The topic.
    pub(super) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// The time until the token ends.
    pub(super) fn time_left(&self) -> Duration {
        let left = self.expires_ms.saturating_sub(self.unit.now_ms());
        Duration::from_millis(u64::try_from(left).unwrap_or(0))
    }

    /// Whether the bearer may still receive the messages: the token is valid, the topic is there, and nobody has taken the right.
    ///
    /// # Errors
    /// A failure of the store.
    pub(crate) async fn may_read(&mut self) -> Result<bool> {
        if self.time_left().is_zero() {
            return Ok(false);
        }
        let now = self.unit.monotonic();
        let is_recent = now.saturating_duration_since(self.checked) < RECHECK;
        if is_recent && self.unit.is_cached(&self.context) {
            return Ok(true);
        }
        let Some(context) = self.unit.find_cell_by_id(&self.channel.cell).await? else {
            return Ok(false);
        };
        let expires_ms = self.expires_ms;
        let credential = (self.token.clone(), self.place.clone());
        // Boxed: it would be a part of the future of each subscriber.
        match Box::pin(Self::find(&self.unit, context, credential)).await? {
            // Another collection with the same name has other messages.
            Some(renewed) if renewed.channel.collection == self.channel.collection => {
                *self = Self {
                    expires_ms,
                    ..renewed
                };
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}
