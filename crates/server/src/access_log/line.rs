//! The lines of the access log.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderValue, Method, Uri, Version};
use personium_api::masking;
use personium_types::time::iso_time;

use super::LineFormat;

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// The values of a line.
#[derive(Debug, Clone)]
pub(super) struct AccessLine {
    /// The address of the client, as trusted proxies report it.
    pub(super) client: IpAddr,
    /// The time of the request, in milliseconds since 1970.
    pub(super) time_ms: i64,
    pub(super) method: Method,
    /// The target; `None` if the head of the request could not be read.
    pub(super) uri: Option<Uri>,
    pub(super) version: Version,
    pub(super) status: u16,
    /// Bytes of the response body that were sent.
    pub(super) bytes: u64,
    /// The time from the request to the end of the response.
    pub(super) elapsed: Duration,
    pub(super) request_key: Option<HeaderValue>,
}

impl AccessLine {
    /// Appends the line, with a line break at its end.
    pub(super) fn write_to(&self, format: LineFormat, out: &mut String) {
        match format {
            LineFormat::Common => self.write_common(out),
            LineFormat::Json => self.write_json(out),
        }
        out.push('\n');
    }

    fn request_key(&self) -> &str {
        let key = self.request_key.as_ref();
        key.and_then(|key| key.to_str().ok()).unwrap_or("-")
    }

    /// `client - - [time] "method target version" status bytes seconds key`
    fn write_common(&self, out: &mut String) {
        let (client, time) = (self.client, common_time(self.time_ms));
        let _ = write!(out, "{client} - - [{time}] \"");
        match &self.uri {
            None => out.push('-'),
            Some(uri) => {
                push_escaped(out, self.method.as_str());
                out.push(' ');
                push_escaped(out, &masking::path(uri.path()));
                if let Some(query) = uri.query() {
                    out.push('?');
                    push_escaped(out, &masking::query(query));
                }
                let _ = write!(out, " {:?}", self.version);
            }
        }
        let (status, bytes) = (self.status, self.bytes);
        let seconds = self.elapsed.as_secs_f64();
        let _ = write!(
            out,
            "\" {status} {bytes} {seconds:.6} {}",
            self.request_key()
        );
    }

    fn write_json(&self, out: &mut String) {
        let time = iso_time(self.time_ms);
        let _ = write!(
            out,
            r#"{{"timestamp":"{time}","level":"INFO","message":"access","client.address":"{}""#,
            self.client
        );
        if let Some(uri) = &self.uri {
            push_json(out, "request.method", self.method.as_str());
            push_json(out, "request.path", &masking::path(uri.path()));
            if let Some(query) = uri.query() {
                push_json(out, "request.query", &masking::query(query));
            }
        }
        let elapsed_us = self.elapsed.as_micros();
        let _ = write!(
            out,
            r#","response.status":{},"response.bytes":{},"elapsed_us":{elapsed_us}"#,
            self.status, self.bytes
        );
        push_json(out, "request.key", self.request_key());
        out.push('}');
    }
}

/// Appends a member with a text to a JSON object that has members already.
fn push_json(out: &mut String, name: &str, text: &str) {
    // A text can always be written.
    let text = serde_json::to_string(text).unwrap_or_default();
    let _ = write!(out, r#","{name}":{text}"#);
}

/// The time of the Common Log Format in UTC: `31/Jan/2024:09:15:30 +0000`.
fn common_time(ms: i64) -> String {
    // 2024-01-31T09:15:30.123Z
    let iso = iso_time(ms);
    let part = |from: usize, to: usize| iso.get(from..to).unwrap_or_default();
    let month = part(5, 7)
        .parse::<usize>()
        .ok()
        .and_then(|month| MONTHS.get(month.checked_sub(1)?))
        .unwrap_or(&"Jan");
    let (day, year, time) = (part(8, 10), part(0, 4), part(11, 19));
    format!("{day}/{month}/{year}:{time} +0000")
}

/// Appends a text with escapes for quotes, backslashes and everything that is no visible ASCII character.
fn push_escaped(out: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            0x21..=0x7e => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> AccessLine {
        AccessLine {
            client: "192.0.2.7".parse().unwrap(),
            time_ms: 1_706_692_530_123,
            method: Method::GET,
            uri: Some(Uri::from_static("/c/b/f.txt?password=x&$top=1")),
            version: Version::HTTP_11,
            status: 206,
            bytes: 42,
            elapsed: Duration::from_micros(1_500),
            request_key: Some(HeaderValue::from_static("k_1")),
        }
    }

    #[test]
    fn common_line_has_its_fields_in_order() {
        let mut out = String::new();
        line().write_to(LineFormat::Common, &mut out);
        assert_eq!(
            out,
            "192.0.2.7 - - [31/Jan/2024:09:15:30 +0000] \"GET /c/b/f.txt?password=***&$top=1 HTTP/1.1\" 206 42 0.001500 k_1\n"
        );
        let mut out = String::new();
        let unreadable = AccessLine {
            uri: None,
            request_key: None,
            status: 400,
            bytes: 0,
            ..line()
        };
        unreadable.write_to(LineFormat::Common, &mut out);
        assert!(out.ends_with("\"-\" 400 0 0.001500 -\n"), "{out}");
    }

    #[test]
    fn json_line_is_one_object() {
        let mut out = String::new();
        line().write_to(LineFormat::Json, &mut out);
        assert_eq!(out.lines().count(), 1);
        let value: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(value["timestamp"], "2024-01-31T09:15:30.123Z");
        assert_eq!(value["client.address"], "192.0.2.7");
        assert_eq!(value["request.method"], "GET");
        assert_eq!(value["request.path"], "/c/b/f.txt");
        assert_eq!(value["request.query"], "password=***&$top=1");
        assert_eq!(value["response.status"], 206);
        assert_eq!(value["response.bytes"], 42);
        assert_eq!(value["elapsed_us"], 1_500);
        assert_eq!(value["request.key"], "k_1");
    }

    #[test]
    fn quotes_and_controls_are_escaped() {
        let mut out = String::new();
        push_escaped(&mut out, "a\"b\\c\r\nd é");
        assert_eq!(out, "a\\\"b\\\\c\\x0d\\x0ad\\x20\\xc3\\xa9");
    }
}
