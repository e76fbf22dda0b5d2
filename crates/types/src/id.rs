//! Identifiers that the server generates: 128 bits, printed as 32 lower-case hexadecimal digits.

use std::fmt;
use std::str::FromStr;

use crate::Random;

/// The text does not consist of 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id of 32 hexadecimal digits")]
pub struct ParseIdError;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 16]);

        impl $name {
            /// Creates a random id.
            #[must_use]
            pub fn random(random: &dyn Random) -> Self {
                Self(random.uuid().into_bytes())
            }

            /// Creates an id that sorts after ids of earlier milliseconds: 48 bits of time, 80 random ones.
            #[must_use]
            pub fn at(now_ms: i64, random: &dyn Random) -> Self {
                let mut bytes = random.uuid().into_bytes();
                let time = now_ms.to_be_bytes();
                if let (Some(to), Some(from)) = (bytes.get_mut(..6), time.get(2..)) {
                    to.copy_from_slice(from);
                }
                Self(bytes)
            }

            /// The id with these bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 16 bytes of the id.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut digits = [0; uuid::fmt::Simple::LENGTH];
                f.write_str(uuid::Uuid::from_bytes(self.0).simple().encode_lower(&mut digits))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                parse(text).map(Self)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id! {
    /// The id of a cell. A renamed cell keeps its id.
    CellId
}
id! {
    /// The id of a box, collection, file or control object. A renamed or moved object keeps its id.
    NodeId
}
id! {
    /// The id of a server node: of one run of a process of the unit. It is never used again.
    ServerNodeId
}
id! {
    /// The id of a stored file body. Bodies are immutable: a new body gets a new id.
    BlobId
}

fn parse(text: &str) -> Result<[u8; 16], ParseIdError> {
    let digits = text.as_bytes();
    if digits.len() != 32 {
        return Err(ParseIdError);
    }
    let mut out = [0u8; 16];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        let &[high, low] = pair else {
            return Err(ParseIdError);
        };
        *byte = nibble(high)? << 4 | nibble(low)?;
    }
    Ok(out)
}

fn nibble(digit: u8) -> Result<u8, ParseIdError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(ParseIdError),
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "a test may use the real clock and randomness"
)]
mod tests {
    use super::*;
    use crate::SystemRandom;

    const RANDOM: SystemRandom = SystemRandom::new();

    #[test]
    fn printed_ids_parse_to_the_same_id() {
        let id = NodeId::random(&RANDOM);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().len(), 32);
        assert_ne!(NodeId::random(&RANDOM), id);
    }

    #[test]
    fn ids_of_later_times_sort_later() {
        assert!(NodeId::at(1, &RANDOM) < NodeId::at(2, &RANDOM));
        assert!(NodeId::at(1_700_000_000_000, &RANDOM) < NodeId::at(1_700_000_000_001, &RANDOM));
        assert_ne!(NodeId::at(5, &RANDOM), NodeId::at(5, &RANDOM));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "00",
            "zz000000000000000000000000000000",
            "é0000000000000000000000000000000",
        ] {
            assert_eq!(text.parse::<CellId>(), Err(ParseIdError), "{text}");
        }
    }
}
