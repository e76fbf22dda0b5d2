//! The context that a client sends: the headers `traceparent` and `tracestate` of W3C Trace Context.

use std::sync::Arc;

use crate::ids::{SpanId, TraceId};

/// The name of the header with the ids.
pub const TRACEPARENT: &str = "traceparent";

/// The name of the header with what other systems want to keep.
pub const TRACESTATE: &str = "tracestate";

/// The length of a `traceparent` of version 00.
const LENGTH: usize = 55;

/// The longest `tracestate` that is passed on (section 3.3.1.5).
const STATE_MAX_BYTES: usize = 512;

/// The largest number of members of a `tracestate` (section 3.3.1.1).
const STATE_MAX_MEMBERS: usize = 32;

/// The flag of a trace that the sender records.
const SAMPLED: u8 = 1;

/// The span of a client that caused a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteContext {
    pub(crate) trace: TraceId,
    pub(crate) span: SpanId,
    pub(crate) is_sampled: bool,
    pub(crate) state: Option<Arc<str>>,
}

impl RemoteContext {
    /// Reads the header `traceparent` (section 3.2) and the values of all headers `tracestate` (section 3.3). `None` if the former is
    /// malformed. A malformed or too long state is left out.
    #[must_use]
    pub fn parse<'a>(parent: &str, states: impl Iterator<Item = &'a str>) -> Option<Self> {
        let (head, rest) = parent.split_at_checked(LENGTH)?;
        let mut parts = head.split('-');
        let [version] = hex(parts.next()?)?;
        let trace = TraceId::new(hex(parts.next()?)?)?;
        let span = SpanId::new(hex(parts.next()?)?)?;
        let [flags] = hex(parts.next()?)?;
        let is_whole = match version {
            0xff => false,
            0 => rest.is_empty(),
            // Later versions may append fields.
            _ => rest.is_empty() || rest.starts_with('-'),
        };
        (is_whole && parts.next().is_none()).then(|| Self {
            trace,
            span,
            is_sampled: flags & SAMPLED != 0,
            state: state(states),
        })
    }
}

/// The value of a header `traceparent`.
pub(crate) fn traceparent(trace: TraceId, span: SpanId, is_sampled: bool) -> String {
    let flags = if is_sampled { SAMPLED } else { 0 };
    format!("00-{trace}-{span}-{flags:02x}")
}

/// The bytes of a text of lower-case hexadecimal digits.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut out = [0; N];
    let mut digits = text.bytes();
    for byte in &mut out {
        *byte = digit(digits.next()?)? << 4 | digit(digits.next()?)?;
    }
    digits.next().is_none().then_some(out)
}

/// The members of all headers, in their order.
fn state<'a>(states: impl Iterator<Item = &'a str>) -> Option<Arc<str>> {
    let mut joined = String::new();
    let mut count = 0;
    for member in states.flat_map(|header| header.split(',')) {
        let member = member.trim_matches([' ', '\t']);
        if member.is_empty() {
            continue;
        }
        count += 1;
        if !is_member(member)
            || count > STATE_MAX_MEMBERS
            || joined.len() + member.len() >= STATE_MAX_BYTES
        {
            return None;
        }
        if !joined.is_empty() {
            joined.push(',');
        }
        joined.push_str(member);
    }
    (!joined.is_empty()).then(|| joined.into())
}

/// Whether a text is `key=value` (section 3.3.1.3).
fn is_member(text: &str) -> bool {
    let Some((key, value)) = text.split_once('=') else {
        return false;
    };
    let is_of_key = |b: u8| {
        b.is_ascii_lowercase()
            || b.is_ascii_digit()
            || matches!(b, b'_' | b'-' | b'*' | b'/' | b'@')
    };
    let is_of_value = |b: u8| matches!(b, 0x20..=0x7e) && b != b',' && b != b'=';
    let starts_well = key
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    starts_well
        && key.len() <= 256
        && key.bytes().all(is_of_key)
        && (1..=256).contains(&value.len())
        && value.bytes().all(is_of_value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn parse(parent: &str) -> Option<RemoteContext> {
        RemoteContext::parse(parent, std::iter::empty())
    }

    #[test]
    fn well_formed_parent_is_read_and_written() {
        for (flags, is_sampled) in [("00", false), ("01", true), ("03", true), ("02", false)] {
            let found = parse(&format!("00-{TRACE}-{SPAN}-{flags}")).unwrap();
            assert_eq!(found.is_sampled, is_sampled);
            assert_eq!(found.trace.to_string(), TRACE);
            assert_eq!(found.span.to_string(), SPAN);
        }
        let whole = format!("00-{TRACE}-{SPAN}-01");
        let found = parse(&whole).unwrap();
        assert_eq!(traceparent(found.trace, found.span, true), whole);
        assert!(parse(&format!("cc-{TRACE}-{SPAN}-01-what-the-future-brings")).is_some());
    }

    #[test]
    fn malformed_parent_is_refused() {
        let zeros = "0".repeat(32);
        for bad in [
            String::new(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-01-x"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("cc-{TRACE}-{SPAN}-01x"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{zeros}-{SPAN}-01"),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00_{TRACE}_{SPAN}_01"),
            format!("00-{TRACE}-{SPAN}-é"),
        ] {
            assert_eq!(parse(&bad), None, "{bad}");
        }
    }

    #[test]
    fn state_is_joined_and_dropped_if_malformed() {
        let of = |states: &[&str]| {
            let parent = format!("00-{TRACE}-{SPAN}-01");
            let found = RemoteContext::parse(&parent, states.iter().copied()).unwrap();
            found.state.map(|state| state.to_string())
        };
        assert_eq!(
            of(&["a=1, b@c=2,,", "d=3"]),
            Some("a=1,b@c=2,d=3".to_owned())
        );
        let (long, many) = (format!("a={}", "x".repeat(300)), "a=1,".repeat(33));
        for bad in [
            "", " , ", "a", "=1", "A=1", "a=b=c", "a=é", "a=", &long, &many,
        ] {
            assert_eq!(of(&[bad]), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(parent in ".{0,80}", state in ".{0,80}") {
            let _ = RemoteContext::parse(&parent, std::iter::once(state.as_str()));
        }
    }
}
