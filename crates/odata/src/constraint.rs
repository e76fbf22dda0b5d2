//! Named value formats and the rules that tie several members of one entity together.

mod uri;

use crate::edm::multiplicity::Multiplicity;

pub use uri::{
    MAX_URI_CHARS, is_box_url, is_cell_local_url, is_cell_url, is_http_url, is_schema_uri,
    is_unit_local_url, is_uri,
};

/// A named value format: what its values look like and how metadata writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Names of boxes, roles, types and properties.
    Name,
    /// Names of accounts.
    AccountName,
    /// Names of cells.
    CellName,
    /// Names of relations.
    RelationName,
    /// Names of rules.
    RuleName,
    /// Event types.
    EventType,
    /// `0..1`, `1` or `*`.
    Multiplicity,
    /// Any 32 characters.
    MessageId,
    /// Identifiers of user data: 1 to 400 characters.
    EntityId,
    /// An absolute URI.
    Uri,
    /// URL of a cell.
    CellUrl,
    /// Comma-separated URLs of cells.
    CellUrlList,
    /// Schema of a box.
    SchemaUri,
    /// Authentication types of an account, allowed ones given at validation.
    AccountType,
    /// Comma-separated IPv4 addresses and ranges.
    IpRange,
    /// One of a fixed list.
    OneOf(AllowedValues),
    /// Object of a rule; checked together with other members.
    RuleObject,
    /// Target of a rule; checked together with other members.
    RuleTargetUrl,
    /// Name in a request object; checked together with other members.
    RequestName,
    /// Target in a request object; checked together with other members.
    RequestTargetUrl,
    /// Class in a request object; checked together with other members.
    RequestClassUrl,
    /// Title of a message: at most 256 characters, no line break.
    Title,
    /// Body of a message: at most 65536 bytes.
    MessageBody,
    /// Priority of a message: 1 to 5.
    Priority,
}

/// A fixed list of allowed values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AllowedValues {
    /// Status of an account.
    AccountStatus,
    /// Action of a rule.
    RuleAction,
    /// Kind of a message.
    MessageType,
    /// Status of a received message.
    MessageStatus,
    /// Kind of a request object.
    RequestType,
    /// Collection kind of a schema property.
    CollectionKind,
}

impl AllowedValues {
    /// The allowed values.
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

/// Which kind of fault a value that breaks its format is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatError {
    /// The general case.
    InvalidValue,
    /// A cell URL was expected.
    InvalidCellUrl,
    /// A schema URI was expected.
    InvalidSchemaUri,
}

/// Longest title of a message in characters.
pub const MAX_TITLE_CHARS: usize = 256;
/// Longest body of a message in bytes.
pub const MAX_MESSAGE_BODY_BYTES: usize = 65_536;
/// Most request objects in a message.
pub const MAX_REQUEST_OBJECTS: usize = 1000;
/// Longest list of cell URLs in bytes: a thousand of the longest URLs.
pub const MAX_URL_LIST_BYTES: usize = 1000 * (MAX_URI_CHARS + 1);
/// Longest identifier of user data in characters.
pub const MAX_ENTITY_ID_CHARS: usize = 400;

impl Format {
    /// Checks the text of a value. `account_types` are the registered authentication types besides `basic`.
    ///
    /// The formats that depend on other members ([`Format::RuleObject`] and its like) accept every text here.
    ///
    /// # Errors
    /// The kind of fault, which decides the message.
    pub fn check(self, text: &str, account_types: &[&str]) -> Result<(), FormatError> {
        let fine = match self {
            Self::Name => is_name(text, |_| false, 128),
            Self::AccountName => is_name(text, |byte| b"!$*=^`{|}~.@".contains(&byte), 128),
            Self::CellName => is_cell_name(text),
            Self::RelationName => is_relation_name(text),
            Self::RuleName => is_name(text, |byte| byte == b':', 200),
            Self::EventType => {
                text.len() <= 127
                    && text
                        .bytes()
                        .all(|byte| is_word(byte) || matches!(byte, b'+' | b':' | b'.'))
            }
            Self::Multiplicity => Multiplicity::parse(text).is_some(),
            Self::MessageId => text.chars().count() == 32,
            Self::EntityId => {
                !text.is_empty()
                    && (text.len() <= MAX_ENTITY_ID_CHARS
                        || text.chars().count() <= MAX_ENTITY_ID_CHARS)
            }
            Self::Uri => is_uri(text),
            Self::CellUrl => {
                return if is_cell_url(text) {
                    Ok(())
                } else {
                    Err(FormatError::InvalidCellUrl)
                };
            }
            Self::SchemaUri => {
                return if is_schema_uri(text) {
                    Ok(())
                } else {
                    Err(FormatError::InvalidSchemaUri)
                };
            }
            Self::CellUrlList => {
                text.len() <= MAX_URL_LIST_BYTES && text.split(',').all(is_cell_url)
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
        if fine {
            Ok(())
        } else {
            Err(FormatError::InvalidValue)
        }
    }

    /// Whether texts of this format have a limit of their own in place of the general one of strings.
    #[must_use]
    pub fn has_own_limit(self) -> bool {
        matches!(self, Self::MessageBody | Self::CellUrlList)
    }

    /// The text of `p:Format` in metadata, `None` for formats that metadata does not show.
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
            Self::OneOf(AllowedValues::MessageStatus)
            | Self::Title
            | Self::MessageBody
            | Self::Priority => return None,
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

fn alternatives(values: &[&str]) -> String {
    let each: Vec<String> = values.iter().map(|value| format!("({value})")).collect();
    format!("regEx('^{}$')", each.join("|"))
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

fn is_name(text: &str, further: impl Fn(u8) -> bool, max: usize) -> bool {
    let mut bytes = text.bytes();
    text.len() <= max
        && bytes
            .next()
            .is_some_and(|first| first.is_ascii_alphanumeric())
        && bytes.all(|byte| is_word(byte) || further(byte))
}

fn is_cell_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut bytes = text.bytes();
    text.len() <= 128
        && bytes.next().is_some_and(plain)
        && bytes.all(|byte| plain(byte) || byte == b'-')
}

fn is_relation_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= 128
        && bytes
            .next()
            .is_some_and(|first| first.is_ascii_alphanumeric() || matches!(first, b'-' | b'+'))
        && bytes.all(|byte| is_word(byte) || matches!(byte, b'+' | b':'))
}

/// True for a name that an undeclared member of user data may have.
#[must_use]
pub fn is_dynamic_name(text: &str) -> bool {
    is_name(text, |_| false, 128)
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
    fn names_follow_their_character_sets_and_lengths() {
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
    fn lists_and_ranges() {
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
                && !fits(Format::CellUrlList, "http://h/c/,")
        );
    }

    #[test]
    fn metadata_text_brackets_alternatives() {
        assert_eq!(
            Format::OneOf(AllowedValues::MessageType)
                .metadata_text()
                .as_deref(),
            Some("regEx('^(message)|(request)$')")
        );
        assert_eq!(
            Format::OneOf(AllowedValues::CollectionKind).metadata_text(),
            None
        );
        assert_eq!(Format::Uri.metadata_text().as_deref(), Some("uri"));
    }
}
