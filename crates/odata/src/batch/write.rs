//! The writer of responses to a batch.

use super::content_type::multipart;
use super::{ChangeSetFrame, ContentId};
use crate::value::push_int;

/// The response to one part of a batch.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponsePart<'a> {
    /// The status.
    pub status: u16,
    /// The reason phrase of the status.
    pub reason: &'a str,
    /// The headers, without `Content-Length`.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: Option<&'a [u8]>,
    /// The `Content-ID` of the request.
    pub content_id: Option<ContentId<'a>>,
}

/// Writes the response to a batch part by part. Lines end with CRLF.
#[derive(Clone, Debug)]
pub struct BatchWriter {
    out: Vec<u8>,
    boundary: String,
    /// Number and boundary of the change set that is not closed yet.
    open: Option<(usize, String)>,
}

impl BatchWriter {
    /// An empty response with the boundary of the request.
    pub fn new(boundary: impl Into<String>) -> Self {
        Self {
            out: Vec::new(),
            boundary: boundary.into(),
            open: None,
        }
    }

    /// The size of the response so far in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Returns true if there is no part yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// The `Content-Type` of the response.
    #[must_use]
    pub fn content_type(&self) -> String {
        multipart(&self.boundary)
    }

    /// Appends the response to one part. The parts of a change set have to follow each other. The one response to a change
    /// set that failed is not in a change set.
    pub fn push_part(&mut self, change_set: Option<ChangeSetFrame<'_>>, part: &ResponsePart<'_>) {
        self.enter(change_set);
        let boundary = match &self.open {
            Some((_, inner)) => inner.clone(),
            None => self.boundary.clone(),
        };
        self.line(&["--", &boundary]);
        self.line(&["Content-Type: application/http"]);
        self.line(&["Content-Transfer-Encoding: binary"]);
        self.content_id(part.content_id.filter(|id| id.is_of_part));
        self.line(&[]);
        self.text("HTTP/1.1 ");
        self.number(i64::from(part.status));
        self.line(&[" ", part.reason]);
        for (name, value) in part.headers {
            self.line(&[name, ": ", value]);
        }
        self.content_id(part.content_id.filter(|id| !id.is_of_part));
        if let Some(body) = part.body {
            self.text("Content-Length: ");
            self.number(i64::try_from(body.len()).unwrap_or(i64::MAX));
            self.line(&[]);
        }
        self.line(&[]);
        self.out.extend_from_slice(part.body.unwrap_or_default());
        self.line(&[]);
    }

    /// Returns the response.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.enter(None);
        let outer = self.boundary.clone();
        self.line(&["--", &outer, "--"]);
        self.out
    }

    /// Closes the open change set and starts another, unless it is the same.
    fn enter(&mut self, change_set: Option<ChangeSetFrame<'_>>) {
        let number = change_set.map(|change_set| change_set.number);
        if self.open.as_ref().map(|(number, _)| *number) == number {
            return;
        }
        if let Some((_, inner)) = self.open.take() {
            self.line(&["--", &inner, "--"]);
            self.line(&[]);
        }
        if let Some(change_set) = change_set {
            let outer = self.boundary.clone();
            self.line(&["--", &outer]);
            self.line(&["Content-Type: ", &multipart(change_set.boundary)]);
            self.line(&[]);
            self.open = Some((change_set.number, change_set.boundary.to_owned()));
        }
    }

    fn content_id(&mut self, content_id: Option<ContentId<'_>>) {
        if let Some(id) = content_id {
            self.line(&["Content-ID: ", id.value]);
        }
    }

    /// Appends a line of several texts.
    fn line(&mut self, texts: &[&str]) {
        texts.iter().for_each(|text| self.text(text));
        self.text("\r\n");
    }

    fn text(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn number(&mut self, number: i64) {
        let mut digits = String::new();
        push_int(&mut digits, number);
        self.text(&digits);
    }
}
