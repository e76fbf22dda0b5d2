//! Named formats of property values.

mod uri;

use crate::multiplicity::Multiplicity;

pub use uri::{
    MAX_URI_CHARS, is_box_url, is_cell_local_url, is_cell_url, is_http_url, is_schema_uri,
    is_unit_local_url, is_uri,
};

/// A named format of the values of a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// The name of a box, role, type or property.
    Name,
    /// The name of an account.
    AccountName,
    /// The name of a cell.
    CellName,
    /// The name of a relation.
    RelationName,
    /// The name of a rule.
    RuleName,
    /// The type of an event.
    EventType,
    /// The multiplicity of an association end: `0..1`, `1` or `*`.
    Multiplicity,
    /// The identifier of a message: 32 characters.
    MessageId,
    /// The identifier of user data: 1 to [`MAX_ENTITY_ID_CHARS`] characters.
    EntityId,
    /// An absolute URI.
    Uri,
    /// The URL of a cell.
    CellUrl,
    /// URLs of cells, separated by commas: at most [`MAX_URL_LIST_BYTES`] bytes.
    CellUrlList,
    /// The schema of a box: a `urn:` URI or the URL of a cell.
    SchemaUri,
    /// The authentication types of an account, separated by spaces.
    AccountType,
    /// IPv4 addresses and ranges, separated by commas.
    IpRange,
    /// One value of a fixed list.
    OneOf(AllowedValues),
    /// The event object of a rule, checked by [`crate::entity_rules`].
    RuleObject,
    /// The target of a rule, checked by [`crate::entity_rules`].
    RuleTargetUrl,
    /// The name in a request object, checked by [`crate::entity_rules`].
    RequestName,
    /// The target in a request object, checked by [`crate::entity_rules`].
    RequestTargetUrl,
    /// The class URL in a request object, checked by [`crate::entity_rules`].
    RequestClassUrl,
    /// The title of a message: at most [`MAX_TITLE_CHARS`] characters, no line break.
    Title,
    /// The body of a message: at most [`MAX_MESSAGE_BODY_BYTES`] bytes.
    MessageBody,
    /// The priority of a message: 1 to 5.
    Priority,
}

/// A fixed list of allowed values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AllowedValues {
    /// The status of an account.
    AccountStatus,
    /// The action of a rule.
    RuleAction,
    /// The type of a message.
    MessageType,
    /// The status of a received message.
    MessageStatus,
    /// The type of a request object.
    RequestType,
    /// The collection kind of a schema property.
    CollectionKind,
}

impl AllowedValues {
    /// The values.
    #[must_use]
    pub fn values(self) -> &'static [&'static str] {
        match self {
            Self::AccountStatus => &["active", "deactivated", "passwordChangeRequired"],
            Self::RuleAction => &[
                "exec",
                "relay",
                "relay.data",
                "relay.event",
                "log",
                "log.info",
                "log.warn",
                "log.error",
            ],
            Self::MessageType => &["message", "request"],
            Self::MessageStatus => &["unread", "read", "none", "approved", "rejected"],
            Self::RequestType => &[
                "relation.add",
                "relation.remove",
                "role.add",
                "role.remove",
                "rule.add",
                "rule.remove",
            ],
            Self::CollectionKind => &["None", "List"],
        }
    }
}

/// The reason for which a value is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The value does not have its format, which is none of the others.
    #[error("the value does not have its format")]
    InvalidValue,
    /// The value is not the URL of a cell.
    #[error("the value is not the URL of a cell")]
    InvalidCellUrl,
    /// The value is not the schema of a box.
    #[error("the value is not a schema URI")]
    InvalidSchemaUri,
}

/// The maximum length of the title of a message in characters.
pub const MAX_TITLE_CHARS: usize = 256;
/// The maximum size of the body of a message in bytes.
pub const MAX_MESSAGE_BODY_BYTES: usize = 65_536;
/// The maximum number of request objects in a message.
pub const MAX_REQUEST_OBJECTS: usize = 1000;
/// The maximum size of a list of cell URLs in bytes: a thousand URLs of the maximum length.
pub const MAX_URL_LIST_BYTES: usize = 1000 * (MAX_URI_CHARS + 1);
/// The maximum length of the identifier of user data in characters.
pub const MAX_ENTITY_ID_CHARS: usize = 400;
const MESSAGE_ID_CHARS: usize = 32;
const MAX_NAME_BYTES: usize = 128;
const MAX_RULE_NAME_BYTES: usize = 200;
const MAX_EVENT_TYPE_BYTES: usize = 127;

impl Format {
    /// Checks the text of a value. `account_types` are the authentication types of accounts besides `basic`.
    ///
    /// A format that [`crate::entity_rules`] checks accepts every text here.
    ///
    /// # Errors
    /// [`FormatError::InvalidCellUrl`] and [`FormatError::InvalidSchemaUri`] for the formats of these names,
    /// [`FormatError::InvalidValue`] for all others.
    pub fn check(self, text: &str, account_types: &[&str]) -> Result<(), FormatError> {
        let is_valid = match self {
            Self::Name => is_plain_name(text),
            Self::AccountName => {
                is_name(text, |byte| b"!$*=^`{|}~.@".contains(&byte), MAX_NAME_BYTES)
            }
            Self::CellName => is_cell_name(text),
            Self::RelationName => is_relation_name(text),
            Self::RuleName => is_name(text, |byte| byte == b':', MAX_RULE_NAME_BYTES),
            Self::EventType => is_event_type(text),
            Self::Multiplicity => Multiplicity::parse(text).is_some(),
            Self::MessageId => text.chars().count() == MESSAGE_ID_CHARS,
            Self::EntityId => is_entity_id(text),
            Self::Uri => is_uri(text),
            Self::CellUrl => is_cell_url(text),
            Self::SchemaUri => is_schema_uri(text),
            Self::CellUrlList => {
                text.len() <= MAX_URL_LIST_BYTES && urls_in_list(text).all(is_cell_url)
            }
            Self::AccountType => is_account_type(text, account_types),
            Self::IpRange => text.split(',').all(is_ip_range),
            Self::OneOf(allowed) => allowed.values().contains(&text),
            Self::Title => !text.contains(['\n', '\r']) && text.chars().count() <= MAX_TITLE_CHARS,
            Self::MessageBody => text.len() <= MAX_MESSAGE_BODY_BYTES,
            Self::Priority => text
                .parse()
                .is_ok_and(|number: i32| (1..=5).contains(&number)),
            Self::RuleObject
            | Self::RuleTargetUrl
            | Self::RequestName
            | Self::RequestTargetUrl
            | Self::RequestClassUrl => true,
        };
        match self {
            _ if is_valid => Ok(()),
            Self::CellUrl => Err(FormatError::InvalidCellUrl),
            Self::SchemaUri => Err(FormatError::InvalidSchemaUri),
            _ => Err(FormatError::InvalidValue),
        }
    }

    /// Returns true if the format has its own size limit instead of [`crate::value::MAX_STRING_BYTES`].
    #[must_use]
    pub fn has_own_limit(self) -> bool {
        matches!(self, Self::MessageBody | Self::CellUrlList)
    }

    /// The value of the attribute `p:Format` in metadata, `None` for a format that metadata does not show.
    #[must_use]
    pub fn metadata_text(self) -> Option<String> {
        let pattern = match self {
            Self::Name => "^[a-zA-Z0-9][a-zA-Z0-9-_]{0,127}$",
            Self::AccountName => "^[a-zA-Z0-9][a-zA-Z0-9-_!$*=^`{|}~.@]{0,127}$",
            Self::CellName => "^[a-z0-9][a-z0-9-]{0,127}$",
            Self::RelationName => "^[a-zA-Z0-9-\\+][a-zA-Z0-9-_\\+:]{0,127}$",
            Self::RuleName => "^[a-zA-Z0-9][a-zA-Z0-9-_:]{0,199}$",
            Self::EventType => "[a-zA-Z0-9-_\\+:.]{0,127}",
            Self::Multiplicity => "0\\.\\.1|1|\\*",
            Self::MessageId => "^.{32}$",
            Self::EntityId => "^.{1,400}$",
            Self::OneOf(AllowedValues::AccountStatus) => {
                "^(active|deactivated|passwordChangeRequired)$"
            }
            Self::OneOf(AllowedValues::CollectionKind) | Self::CellUrlList => return None,
            Self::OneOf(AllowedValues::MessageStatus) | Self::MessageBody => return None,
            Self::Title => "^.{0,256}$",
            Self::Priority => "^[1-5]$",
            Self::OneOf(allowed) => return Some(alternatives(allowed.values())),
            Self::Uri => return Some("uri".to_owned()),
            Self::CellUrl => return Some("cell-url".to_owned()),
            Self::SchemaUri => return Some("schema-uri".to_owned()),
            Self::AccountType => {
                return Some("unordered-set-of-unique-space-separated-tokens".to_owned());
            }
            Self::IpRange => return Some("ip-address-range".to_owned()),
            Self::RuleObject => return Some("rule-object".to_owned()),
            Self::RuleTargetUrl => return Some("rule-targeturl".to_owned()),
            Self::RequestName => return Some("request-name".to_owned()),
            Self::RequestTargetUrl => return Some("request-target-url".to_owned()),
            Self::RequestClassUrl => return Some("request-class-url".to_owned()),
        };
        Some(format!("regEx('{pattern}')"))
    }
}

/// The URLs of a list. Commas at its end are ignored.
pub fn urls_in_list(list: &str) -> impl Iterator<Item = &str> {
    list.trim_end_matches(',').split(',')
}

/// The regular expression of a list of values. Clients expect that the anchors are not grouped.
fn alternatives(values: &[&str]) -> String {
    let escaped = |value: &&str| format!("({})", value.replace('.', "\\."));
    let each: Vec<String> = values.iter().map(escaped).collect();
    format!("regEx('^{}$')", each.join("|"))
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

fn is_plain_name(text: &str) -> bool {
    is_name(text, |_| false, MAX_NAME_BYTES)
}

/// Returns true for a letter or digit, followed by letters, digits, `-`, `_` and those that `is_extra` accepts.
fn is_name(text: &str, is_extra: impl Fn(u8) -> bool, max_bytes: usize) -> bool {
    let mut bytes = text.bytes();
    text.len() <= max_bytes
        && bytes
            .next()
            .is_some_and(|first| first.is_ascii_alphanumeric())
        && bytes.all(|byte| is_word(byte) || is_extra(byte))
}

fn is_cell_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut bytes = text.bytes();
    text.len() <= MAX_NAME_BYTES
        && bytes.next().is_some_and(plain)
        && bytes.all(|byte| plain(byte) || byte == b'-')
}

fn is_relation_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= MAX_NAME_BYTES
        && bytes
            .next()
            .is_some_and(|first| first.is_ascii_alphanumeric() || matches!(first, b'-' | b'+'))
        && bytes.all(|byte| is_word(byte) || matches!(byte, b'+' | b':'))
}

fn is_event_type(text: &str) -> bool {
    text.len() <= MAX_EVENT_TYPE_BYTES
        && text
            .bytes()
            .all(|byte| is_word(byte) || matches!(byte, b'+' | b':' | b'.'))
}

fn is_entity_id(text: &str) -> bool {
    // Counting the characters of a long text is avoided where its bytes suffice.
    !text.is_empty()
        && (text.len() <= MAX_ENTITY_ID_CHARS || text.chars().count() <= MAX_ENTITY_ID_CHARS)
}

/// Returns true if an undeclared member of user data may have this name.
#[must_use]
pub fn is_dynamic_name(text: &str) -> bool {
    is_plain_name(text)
}

fn is_account_type(text: &str, registered: &[&str]) -> bool {
    let mut seen: Vec<&str> = Vec::new();
    text.split(' ').all(|token| {
        let fresh = !seen.contains(&token);
        seen.push(token);
        fresh && (token == "basic" || registered.contains(&token)) && !token.is_empty()
    })
}

fn is_ip_range(text: &str) -> bool {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let digits = |text: &str, max: u16| {
        (1..=3).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && text.parse().is_ok_and(|number: u16| number <= max)
    };
    let octets =
        address.split('.').count() == 4 && address.split('.').all(|octet| digits(octet, 255));
    octets
        && bits.is_none_or(|bits| {
            digits(bits, 32) && bits.parse().is_ok_and(|number: u16| number >= 1)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(format: Format, text: &str) -> bool {
        format.check(text, &["oidc:google"]).is_ok()
    }

    #[test]
    fn names_have_their_characters_and_length() {
        let long = "a".repeat(128);
        let longer = "a".repeat(129);
        for (format, good, bad) in [
            (
                Format::Name,
                vec!["a", "A-_9", &long],
                vec!["", "-a", "_a", "a.b", "あ", "a ", &longer],
            ),
            (
                Format::AccountName,
                vec!["a!$*=^`{|}~.@", &long],
                vec!["", "!a", "a+b", &longer],
            ),
            (
                Format::CellName,
                vec!["a", "0-", &long],
                vec!["", "A", "a_b", "-a", &longer],
            ),
            (
                Format::RelationName,
                vec!["-a", "+a:b_c", &long],
                vec!["", ":a", "_a", "a.b", &longer],
            ),
            (
                Format::RuleName,
                vec!["a:b", &"a".repeat(200)],
                vec!["", ":a", &"a".repeat(201)],
            ),
            (
                Format::EventType,
                vec!["", "a.b:c+d-_", &"a".repeat(127)],
                vec!["a b", &long],
            ),
            (
                Format::Multiplicity,
                vec!["0..1", "1", "*"],
                vec!["", "0", "0..*"],
            ),
            (
                Format::MessageId,
                vec![&"あ".repeat(32)],
                vec!["", &"a".repeat(31), &"a".repeat(33)],
            ),
            (
                Format::EntityId,
                vec!["/", " ", &"あ".repeat(400)],
                vec!["", &"あ".repeat(401)],
            ),
        ] {
            for text in good {
                assert!(fits(format, text), "{format:?} {text}");
            }
            for text in bad {
                assert!(!fits(format, text), "{format:?} {text}");
            }
        }
    }

    #[test]
    fn lists_ranges_and_message_members_are_checked() {
        for text in ["basic", "basic oidc:google", "oidc:google basic"] {
            assert!(fits(Format::AccountType, text), "{text}");
        }
        for text in [
            "",
            " ",
            "basic ",
            "basic  oidc:google",
            "basic basic",
            "other",
            "Basic",
        ] {
            assert!(!fits(Format::AccountType, text), "{text}");
        }
        for text in ["1.2.3.4", "0.0.0.0/1,255.255.255.255/32"] {
            assert!(fits(Format::IpRange, text), "{text}");
        }
        for text in [
            "",
            "1.2.3",
            "1.2.3.256",
            "1.2.3.4/0",
            "1.2.3.4/33",
            "1.2.3.4,",
            "1.2.3.4 ",
            "a.b.c.d",
            "::1",
        ] {
            assert!(!fits(Format::IpRange, text), "{text}");
        }
        assert!(
            fits(Format::Priority, "5")
                && !fits(Format::Priority, "6")
                && !fits(Format::Priority, "0")
        );
        assert!(
            fits(Format::Title, "")
                && !fits(Format::Title, "a\nb")
                && !fits(Format::Title, &"a".repeat(257))
        );
        assert!(
            fits(Format::CellUrlList, "http://h/c/,https://h/d/")
                && fits(Format::CellUrlList, "http://h/c/,,")
                && !fits(Format::CellUrlList, "http://h/c/,,http://h/d/")
                && !fits(Format::CellUrlList, ",")
        );
    }

    #[test]
    fn metadata_text_is_a_regular_expression_a_name_or_absent() {
        assert_eq!(
            Format::OneOf(AllowedValues::MessageType)
                .metadata_text()
                .as_deref(),
            Some("regEx('^(message)|(request)$')")
        );
        let action = Format::OneOf(AllowedValues::RuleAction).metadata_text();
        assert!(action.is_some_and(|text| text.contains(r"(relay\.data)")));
        assert_eq!(
            Format::OneOf(AllowedValues::CollectionKind).metadata_text(),
            None
        );
        assert_eq!(Format::Uri.metadata_text().as_deref(), Some("uri"));
    }
}
