//! Ids of traces and spans (W3C Trace Context, section 3.2.2).

use std::fmt;

use personium_types::Random;

/// The id of a trace: 16 bytes, not all zero. The last 7 bytes of one that is made here are random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// The id of a span: 8 bytes, not all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

impl TraceId {
    /// An id; `None` if all bytes are zero.
    #[must_use]
    pub fn new(bytes: [u8; 16]) -> Option<Self> {
        bytes.iter().any(|byte| *byte != 0).then_some(Self(bytes))
    }

    /// A new id.
    #[must_use]
    pub fn random(random: &dyn Random) -> Self {
        Self(random.uuid().into_bytes())
    }

    /// The bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The last 7 bytes as a number: what sampling decides by (W3C Trace Context Level 2, section 3.2.2.3).
    #[must_use]
    pub(crate) fn randomness(&self) -> u64 {
        let tail = self.0.iter().skip(9);
        tail.fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

impl SpanId {
    /// An id; `None` if all bytes are zero.
    #[must_use]
    pub fn new(bytes: [u8; 8]) -> Option<Self> {
        bytes.iter().any(|byte| *byte != 0).then_some(Self(bytes))
    }

    /// A new id.
    #[must_use]
    pub fn random(random: &dyn Random) -> Self {
        let [a, b, c, d, e, f, version, _, g, ..] = random.uuid().into_bytes();
        // The byte with the version of a UUID is never zero.
        Self([a, b, c, d, e, f, g, version])
    }

    /// The bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
