//! The messages of the WebSocket feed. All are JSON texts.

use bytes::Bytes;
use personium_model::event::MAX_TEXT_UTF16_UNITS;
use personium_model::event_feed::FeedEvent;
use serde_json::{Map, Value, json};

/// A selection of events by the beginnings of their types and objects; `*` selects all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subscription {
    pub(super) kind: String,
    pub(super) object: String,
}

/// A message of a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ClientMessage {
    /// Authenticates the connection.
    Token(String),
    /// Adds a subscription; `None` if it is malformed.
    Subscribe(Option<Subscription>),
    /// Removes a subscription; `None` if it is malformed.
    Unsubscribe(Option<Subscription>),
    /// Asks for the state: with everything, or with the subscriptions only.
    State { everything: bool },
    /// Asks for another state.
    UnknownState,
    /// Posts an event.
    Post(PostedByClient),
    /// An object that says nothing that is known.
    Other,
}

/// An event that a client posts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PostedByClient {
    pub(super) kind: String,
    pub(super) object: String,
    pub(super) info: String,
    pub(super) request_key: Option<String>,
}

/// A member that must be a text, and is a value of another type.
struct OtherType;

/// The text of a member; `None` if it is absent or null.
fn text_in<'v>(members: &'v Map<String, Value>, name: &str) -> Result<Option<&'v str>, OtherType> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(OtherType),
    }
}

impl Subscription {
    /// A subscription; `None` if a member is absent.
    fn of(members: &Map<String, Value>) -> Result<Option<Self>, OtherType> {
        let (kind, object) = (text_in(members, "Type")?, text_in(members, "Object")?);
        Ok(kind.zip(object).map(|(kind, object)| Self {
            kind: kind.to_owned(),
            object: object.to_owned(),
        }))
    }

    /// Whether it selects an event. One without a type or an object is selected by none.
    pub(super) fn selects(&self, event: &FeedEvent) -> bool {
        let begins = |found: &Option<String>, wanted: &str| {
            found
                .as_deref()
                .is_some_and(|found| wanted == "*" || found.starts_with(wanted))
        };
        begins(&event.kind, &self.kind) && begins(&event.object, &self.object)
    }

    fn shown(&self) -> Value {
        json!({"Type": self.kind, "Object": self.object})
    }
}

impl ClientMessage {
    /// Reads a message; `None` if it is no JSON object, or its token is no text: neither has an answer. As at the original, commas between
    /// members may be absent or too many.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let strict = serde_json::from_str(text).ok();
        let Value::Object(members) =
            strict.or_else(|| serde_json::from_str(&with_commas(text)).ok())?
        else {
            return None;
        };
        let token = text_in(&members, "AccessToken").ok()?;
        Some(match token {
            Some(token) => Self::Token(token.to_owned()),
            // A value of another type makes that the message has no effect and no answer.
            None => Self::of(&members).unwrap_or(Self::Other),
        })
    }

    fn of(members: &Map<String, Value>) -> Result<Self, OtherType> {
        let object = |name| match members.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(members)) => Ok(Some(members)),
            Some(_) => Err(OtherType),
        };
        if let Some(wanted) = object("Subscribe")? {
            return Subscription::of(wanted).map(Self::Subscribe);
        }
        if let Some(unwanted) = object("Unsubscribe")? {
            return Subscription::of(unwanted).map(Self::Unsubscribe);
        }
        match text_in(members, "State")? {
            Some("All") => return Ok(Self::State { everything: true }),
            Some("Subscriptions") => return Ok(Self::State { everything: false }),
            Some(_) => return Ok(Self::UnknownState),
            None => {}
        }
        let text = |name| {
            let fits = |text: &&str| text.encode_utf16().count() <= MAX_TEXT_UTF16_UNITS;
            text_in(members, name).map(|text| text.filter(fits).map(str::to_owned))
        };
        let request_key = text("RequestKey")?;
        Ok(match (text("Type")?, text("Object")?, text("Info")?) {
            (Some(kind), Some(object), Some(info)) => Self::Post(PostedByClient {
                kind,
                object,
                info,
                request_key,
            }),
            _ => Self::Other,
        })
    }
}

/// JSON with one comma between two values, wherever they were or were not.
fn with_commas(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    let mut is_after_value = false;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        let length = match first {
            '"' => string_length(rest),
            _ if is_word(first) => rest.find(|c: char| !is_word(c)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let (token, tail) = rest.split_at_checked(length).unwrap_or((rest, ""));
        rest = tail;
        if first == ',' || first.is_whitespace() {
            continue;
        }
        let is_scalar = first == '"' || is_word(first);
        if is_after_value && (is_scalar || matches!(first, '{' | '[')) {
            out.push(',');
        }
        out.push_str(token);
        is_after_value = is_scalar || matches!(first, '}' | ']');
    }
    out
}

/// The length in bytes of a string at the start of a text, with its quotes.
fn string_length(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The answer to a message of this kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    /// The kind: the name of the member of the message.
    pub(super) to: &'static str,
    /// Now, milliseconds since 1970.
    pub(super) now: i64,
}

impl Answer {
    /// The answer that the message had effect.
    pub(super) fn success(self) -> String {
        self.with("Success", json!({}))
    }

    /// The answer that the message had no effect.
    pub(super) fn error(self, reason: &str) -> String {
        self.with("Error", json!({"Reason": reason}))
    }

    /// The answer to a valid token.
    pub(super) fn valid_for(self, seconds: i64) -> String {
        self.with("Success", json!({"ExpiresIn": seconds}))
    }

    /// The answer with the state. `everything` is the seconds for which the token is valid, and the name of the cell.
    pub(super) fn state(
        self,
        subscriptions: &[Subscription],
        everything: Option<(i64, &str)>,
    ) -> String {
        let shown: Vec<Value> = subscriptions.iter().map(Subscription::shown).collect();
        let members = match everything {
            Some((seconds, cell)) => {
                json!({"Subscriptions": shown, "ExpiresIn": seconds, "Cell": cell})
            }
            None => json!({"Subscriptions": shown}),
        };
        self.with("Success", members)
    }

    fn with(self, result: &str, mut members: Value) -> String {
        if let Some(members) = members.as_object_mut() {
            members.insert("Response".to_owned(), self.to.into());
            members.insert("Result".to_owned(), result.into());
            members.insert("Timestamp".to_owned(), self.now.into());
        }
        members.to_string()
    }
}

/// The text of an event, made once for all who get it.
pub(super) fn text_of(event: &FeedEvent) -> Bytes {
    let text = event.text.get_or_init(|| {
        let shown = json!({
            "RequestKey": event.request_key,
            "External": event.external,
            "Schema": event.schema,
            "Subject": event.subject,
            "Type": event.kind,
            "Object": event.object,
            "Info": event.info,
            "Timestamp": event.position.at,
        });
        shown.to_string().into()
    });
    text.clone()
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use personium_model::event_feed::FeedPosition;

    use super::*;

    fn subscription(kind: &str, object: &str) -> Subscription {
        Subscription {
            kind: kind.to_owned(),
            object: object.to_owned(),
        }
    }

    #[test]
    fn messages_are_distinguished() {
        let all = subscription("*", "*");
        for (text, expected) in [
            ("", None),
            ("no json", None),
            ("[]", None),
            (
                r#"{"AccessToken":"t"}"#,
                Some(ClientMessage::Token("t".to_owned())),
            ),
            (r#"{"AccessToken":5}"#, None),
            (r#"{"AccessToken":{},"State":"All"}"#, None),
            (
                r#"{"AccessToken":null,"State":"All"}"#,
                Some(ClientMessage::State { everything: true }),
            ),
            (
                r#"{,"Subscribe":{"Type":"*" "Object":",\\\",",},}"#,
                Some(ClientMessage::Subscribe(Some(subscription("*", ",\\\",")))),
            ),
            (r#"{"State" "All"}"#, None),
            (r#"{"State":"All""#, None),
            (
                r#"{"Subscribe":"x","State":"All"}"#,
                Some(ClientMessage::Other),
            ),
            (
                r#"{"Subscribe":{"Type":1,"Object":"*"}}"#,
                Some(ClientMessage::Other),
            ),
            (
                r#"{"Unsubscribe":{"Type":"*","Object":5}}"#,
                Some(ClientMessage::Other),
            ),
            (r#"{"State":5}"#, Some(ClientMessage::Other)),
            (
                r#"{"Type":"t","Object":"o","Info":"i","RequestKey":5}"#,
                Some(ClientMessage::Other),
            ),
            (r#"{"hello":1}"#, Some(ClientMessage::Other)),
            (
                r#"{"Type":1,"Object":2,"Info":3}"#,
                Some(ClientMessage::Other),
            ),
            (r#"{"Type":"t","Object":"o"}"#, Some(ClientMessage::Other)),
            (r#"{"Subscribe":"x"}"#, Some(ClientMessage::Other)),
            (
                r#"{"Subscribe":{"Type":"*"}}"#,
                Some(ClientMessage::Subscribe(None)),
            ),
            (
                r#"{"Subscribe":{"Type":"*","Object":"*"}}"#,
                Some(ClientMessage::Subscribe(Some(all.clone()))),
            ),
            (
                r#"{"Unsubscribe":{"Type":"*","Object":"*"}}"#,
                Some(ClientMessage::Unsubscribe(Some(all))),
            ),
            (
                r#"{"State":"All"}"#,
                Some(ClientMessage::State { everything: true }),
            ),
            (r#"{"State":"x"}"#, Some(ClientMessage::UnknownState)),
        ] {
            assert_eq!(ClientMessage::parse(text), expected, "{text}");
        }
        let long = format!(
            r#"{{"Type":"{}","Object":"o","Info":"i"}}"#,
            "x".repeat(51_201)
        );
        assert_eq!(ClientMessage::parse(&long), Some(ClientMessage::Other));
    }

    #[test]
    fn subscription_selects_by_the_beginnings_of_type_and_object() {
        let event = |object: Option<&str>| FeedEvent {
            position: FeedPosition {
                seq: 1,
                number: 0,
                at: 0,
            },
            external: true,
            schema: None,
            subject: None,
            kind: Some("davfile.create".to_owned()),
            object: object.map(str::to_owned),
            info: None,
            request_key: None,
            text: OnceLock::new(),
        };
        let found = event(Some("https://u/c/b/f"));
        for (kind, object, expected) in [
            ("*", "*", true),
            ("dav", "https://u/c/b/", true),
            ("file", "*", false),
            ("*", "https://u/c/d/", false),
            ("*", "personium-localcell:/b/", false),
            ("", "", true),
        ] {
            let selected = subscription(kind, object).selects(&found);
            assert_eq!(selected, expected, "{kind} {object}");
        }
        assert!(!subscription("*", "*").selects(&event(None)));
    }
}
