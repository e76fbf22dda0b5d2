//! Keys: sequences of parts, encoded so that keys sort by their parts.

use std::ops::Deref;

/// The number of bytes that a key is given room for at once.
const USUAL_BYTES: usize = 64;

/// An encoded key. The order of the bytes is the order of the parts.
///
/// ```
/// use personium_store::Key;
///
/// let key = |name: &str, number: i64| Key::table(7).text(name).i64(number).build();
/// assert!(key("a", 9) < key("a\0", 1));
/// assert!(key("a", -1) < key("a", 0));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Vec<u8>);

impl Key {
    /// Creates a key from its encoded bytes, as an engine returns them.
    #[must_use]
    pub const fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Starts a key in the table with this tag. Each kind of record has its own tag.
    #[must_use]
    pub fn table(tag: u8) -> KeyBuilder {
        let mut key = Vec::with_capacity(USUAL_BYTES);
        key.push(tag);
        KeyBuilder(key)
    }

    /// Returns the encoded bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The key of a sequenced record with this key as its prefix: the number of its commit, and its number in the batch, follow.
    #[must_use]
    pub fn sequenced(&self, seq: u64, number: u32) -> Self {
        let mut bytes = self.0.clone();
        bytes.extend_from_slice(&seq.to_be_bytes());
        bytes.extend_from_slice(&number.to_be_bytes());
        Self(bytes)
    }

    /// Returns the smallest key greater than every key that begins with this one; `None` if there is none.
    #[must_use]
    pub fn after_prefix(&self) -> Option<Self> {
        let mut bytes = self.0.clone();
        while let Some(last) = bytes.pop() {
            if last < u8::MAX {
                bytes.push(last + 1);
                return Some(Self(bytes));
            }
        }
        None
    }
}

impl Deref for Key {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// A builder that appends parts to a key.
///
/// Every part is self-delimiting: a key is a byte prefix of exactly those keys that begin with its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyBuilder(Vec<u8>);

impl KeyBuilder {
    /// Appends fixed bytes without a delimiter, for parts of constant length such as ids.
    #[must_use]
    pub fn fixed(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Appends one byte, for example a tag.
    #[must_use]
    pub fn byte(mut self, byte: u8) -> Self {
        self.0.push(byte);
        self
    }

    /// Appends bytes of any length: `00` becomes `00 FF`, and `00 01` ends the part.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.push_escaped(bytes);
        self.0.extend_from_slice(&[0, 1]);
        self
    }

    /// Appends text, ordered by its UTF-8 bytes.
    #[must_use]
    pub fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    /// Appends text without its delimiter, so that the key is a prefix of all keys whose part begins with this text.
    #[must_use]
    pub fn text_prefix(mut self, text: &str) -> Self {
        self.push_escaped(text.as_bytes());
        self
    }

    fn push_escaped(&mut self, bytes: &[u8]) {
        if !bytes.contains(&0) {
            self.0.extend_from_slice(bytes);
            return;
        }
        for &byte in bytes {
            self.0.push(byte);
            if byte == 0 {
                self.0.push(0xff);
            }
        }
    }

    /// Appends an unsigned number.
    #[must_use]
    pub fn u64(self, n: u64) -> Self {
        self.fixed(&n.to_be_bytes())
    }

    /// Appends a signed number, negative ones first.
    #[must_use]
    pub fn i64(self, n: i64) -> Self {
        self.fixed(&(n.cast_unsigned() ^ (1 << 63)).to_be_bytes())
    }

    /// Appends a floating-point number in numeric order; `-0` equals `0`. NaN sorts last.
    #[must_use]
    pub fn f64(self, n: f64) -> Self {
        let bits = if n == 0.0 { 0 } else { n.to_bits() };
        let ordered = if bits >> 63 == 1 {
            !bits
        } else {
            bits | 1 << 63
        };
        self.fixed(&ordered.to_be_bytes())
    }

    /// Returns the key.
    #[must_use]
    pub fn build(self) -> Key {
        Key(self.0)
    }
}

/// A range of keys from `start` (inclusive) to `end` (exclusive; `None` is the end of the space).
///
/// ```
/// use personium_store::{Key, KeyRange};
///
/// let range = KeyRange::prefix(&Key::table(7).text("a").build());
/// assert!(range.contains(&Key::table(7).text("a").u64(1).build()));
/// assert!(!range.contains(&Key::table(7).text("ab").build()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    /// The smallest key of the range.
    pub start: Key,
    /// The first key after the range.
    pub end: Option<Key>,
}

impl KeyRange {
    /// Creates the range of all keys.
    #[must_use]
    pub fn all() -> Self {
        Self {
            start: Key(Vec::new()),
            end: None,
        }
    }

    /// Creates the range of all keys that begin with `prefix`.
    #[must_use]
    pub fn prefix(prefix: &Key) -> Self {
        Self {
            start: prefix.clone(),
            end: prefix.after_prefix(),
        }
    }

    /// Returns the part of this range after `key`: the next page of an ascending scan.
    #[must_use]
    pub fn after(&self, key: &Key) -> Self {
        let mut start = key.0.clone();
        start.push(0);
        Self {
            start: Key(start),
            end: self.end.clone(),
        }
    }

    /// Returns the part of this range before `key`: the next page of a descending scan.
    #[must_use]
    pub fn before(&self, key: &Key) -> Self {
        Self {
            start: self.start.clone(),
            end: Some(key.clone()),
        }
    }

    /// Whether the key lies in the range.
    #[must_use]
    pub fn contains(&self, key: &Key) -> bool {
        *key >= self.start && self.end.as_ref().is_none_or(|end| key < end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn encoded_text_sorts_like_text(a: String, b: String) {
            let (x, y) = (Key::table(1).text(&a).u64(1).build(), Key::table(1).text(&b).u64(1).build());
            prop_assert_eq!(x.cmp(&y), a.as_bytes().cmp(b.as_bytes()));
        }

        #[test]
        fn encoded_numbers_sort_like_numbers(a: f64, b: f64, i: i64, j: i64) {
            if let Some(order) = a.partial_cmp(&b) {
                prop_assert_eq!(Key::table(1).f64(a).build().cmp(&Key::table(1).f64(b).build()), order);
            }
            prop_assert_eq!(Key::table(1).i64(i).build().cmp(&Key::table(1).i64(j).build()), i.cmp(&j));
        }

        #[test]
        fn prefix_range_contains_exactly_the_keys_with_that_prefix(a: String, b: String) {
            let range = KeyRange::prefix(&Key::table(1).text(&a).build());
            prop_assert_eq!(range.contains(&Key::table(1).text(&b).u64(7).build()), a == b);
            let open = KeyRange::prefix(&Key::table(1).text_prefix(&a).build());
            prop_assert_eq!(open.contains(&Key::table(1).text(&b).build()), b.starts_with(&a));
        }
    }

    #[test]
    fn prefix_of_highest_bytes_has_no_upper_bound() {
        assert_eq!(Key::from_bytes(vec![255, 255]).after_prefix(), None);
        assert_eq!(
            Key::from_bytes(vec![1, 255]).after_prefix(),
            Some(Key::from_bytes(vec![2]))
        );
    }
}
