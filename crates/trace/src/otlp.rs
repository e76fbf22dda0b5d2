//! The messages of the OpenTelemetry protocol (OTLP 1.x, `opentelemetry/proto/collector/trace/v1/trace_service.proto`) in the binary
//! encoding of Protocol Buffers: the request with spans, and its answer.

use crate::span_data::{AttributeValue, FinishedSpan, SpanKind, SpanName};

/// The schema of the names of attributes.
const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.37.0";

/// The flag of a span of which it is known whether its parent is in another process, and the one that says so.
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;
/// The flag of a recorded trace.
const SAMPLED: u32 = 1;

/// The attributes that all spans of a process have in common: names and values, such as `service.name`.
pub type Resource = [(&'static str, String)];

/// An `ExportTraceServiceRequest`. One without spans is empty, and a collector accepts it.
#[must_use]
pub fn request(resource: &Resource, version: &str, spans: &[FinishedSpan]) -> Vec<u8> {
    let mut out = Message::default();
    if spans.is_empty() {
        return out.0;
    }
    out.message(1, |resource_spans| {
        resource_spans.message(1, |out| {
            for (name, value) in resource {
                out.message(1, |out| {
                    out.text(1, name);
                    out.message(2, |out| out.text(1, value));
                });
            }
        });
        resource_spans.message(2, |scope_spans| {
            scope_spans.message(1, |scope| {
                scope.text(1, "personium");
                scope.text(2, version);
            });
            for span in spans {
                scope_spans.message(2, |out| write_span(out, span));
            }
            scope_spans.text(3, SCHEMA_URL);
        });
        resource_spans.text(3, SCHEMA_URL);
    });
    out.0
}

/// The number of spans that a collector has refused, by its answer, an `ExportTraceServiceResponse`. 0 if the answer is none.
#[must_use]
pub fn rejected_spans(answer: &[u8]) -> u64 {
    let partial_success = field(answer, 1).and_then(|found| match found {
        Field::Bytes(bytes) => Some(bytes),
        Field::Number(_) => None,
    });
    match partial_success.and_then(|message| field(message, 1)) {
        // A negative number is one of 64 bits.
        Some(Field::Number(count)) if i64::try_from(count).is_ok() => count,
        _ => 0,
    }
}

fn write_span(out: &mut Message, span: &FinishedSpan) {
    out.bytes(1, span.trace.bytes());
    out.bytes(2, span.id.bytes());
    if let Some(state) = &span.state {
        out.text(3, state);
    }
    if let Some(parent) = &span.parent {
        out.bytes(4, parent.bytes());
    }
    match span.name {
        SpanName::Fixed(name) => out.text(5, name),
        SpanName::Request { method, route } => out.text(5, &format!("{method} {route}")),
    }
    out.number(
        6,
        match span.kind {
            SpanKind::Internal => 1,
            SpanKind::Server => 2,
            SpanKind::Client => 3,
        },
    );
    out.fixed64(7, span.start_ns);
    out.fixed64(8, span.end_ns);
    for (name, value) in &span.attributes {
        out.message(9, |out| {
            out.text(1, name);
            out.message(2, |out| match value {
                AttributeValue::Word(word) => out.text(1, word),
                AttributeValue::Id(id) => out.text(1, id),
                AttributeValue::Number(number) => out.number(3, number.cast_unsigned()),
            });
        });
    }
    if span.has_failed {
        out.message(15, |status| status.number(3, 2));
    }
    let remote = match span.parent_is_remote {
        true => IS_REMOTE,
        false => 0,
    };
    out.fixed32(16, SAMPLED | HAS_IS_REMOTE | remote);
}

/// A message that is being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number > 0x7f {
            let low = u8::try_from(number & 0x7f).unwrap_or_default();
            self.0.push(low | 0x80);
            number >>= 7;
        }
        self.0.push(u8::try_from(number).unwrap_or_default());
    }

    fn tag(&mut self, field: u64, wire_type: u64) {
        self.varint(field << 3 | wire_type);
    }

    fn number(&mut self, field: u64, number: u64) {
        self.tag(field, 0);
        self.varint(number);
    }

    fn fixed64(&mut self, field: u64, number: u64) {
        self.tag(field, 1);
        self.0.extend(number.to_le_bytes());
    }

    fn fixed32(&mut self, field: u64, number: u32) {
        self.tag(field, 5);
        self.0.extend(number.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.tag(field, 2);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
    }

    fn text(&mut self, field: u64, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    fn message(&mut self, field: u64, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.bytes(field, &inner.0);
    }
}

/// A field of a message.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The first field with this number; `None` if there is none, or the message is malformed before.
fn field(mut message: &[u8], wanted: u64) -> Option<Field<'_>> {
    loop {
        let tag = read_varint(&mut message)?;
        let found = match tag & 7 {
            0 => Field::Number(read_varint(&mut message)?),
            1 => Field::Bytes(message.split_off(..8)?),
            2 => {
                let length = usize::try_from(read_varint(&mut message)?).ok()?;
                Field::Bytes(message.split_off(..length)?)
            }
            5 => Field::Bytes(message.split_off(..4)?),
            _ => return None,
        };
        if tag >> 3 == wanted {
            return Some(found);
        }
    }
}

fn read_varint(message: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = *message.split_off_first()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}
