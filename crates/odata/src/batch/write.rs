//! The writer of responses to a batch.

use super::Changeset;
use crate::value::push_int;

/// Writes the response to a batch part by part. Lines end with LF.
#[derive(Clone, Debug)]
pub struct BatchWriter {
    out: String,
    boundary: String,
    /// Number and boundary of the changeset that is not closed yet.
    open: Option<(usize, String)>,
}

impl BatchWriter {
    /// An empty response with the boundary of the request.
    pub fn new(boundary: impl Into<String>) -> Self {
        Self {
            out: String::new(),
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
        format!("multipart/mixed; boundary={}", self.boundary)
    }

    /// Appends the response to one part. The parts of a changeset have to follow each other.
    pub fn push_part(
        &mut self,
        changeset: Option<Changeset<'_>>,
        status: u16,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) {
        self.enter(changeset);
        match &self.open {
            Some((_, inner)) => {
                let inner = inner.clone();
                self.line(&["--", &inner]);
                self.line(&["Content-Type: application/http"]);
                self.line(&["Content-Transfer-Encoding: binary"]);
            }
            None => {
                let outer = self.boundary.clone();
                self.line(&["--", &outer]);
                self.line(&["Content-Type: application/http"]);
            }
        }
        self.line(&[]);
        self.out.push_str("HTTP/1.1 ");
        push_int(&mut self.out, i64::from(status));
        self.line(&[" ", reason(status)]);
        for (name, value) in headers {
            self.line(&[name, ": ", value]);
        }
        self.line(&[]);
        if let Some(body) = body {
            self.line(&[body]);
            self.line(&[]);
        }
    }

    /// Returns the response.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.enter(None);
        self.out.push_str("--");
        self.out.push_str(&self.boundary);
        self.out.push_str("--");
        self.out
    }

    /// Closes the open changeset and starts another, unless it is the same.
    fn enter(&mut self, changeset: Option<Changeset<'_>>) {
        let number = changeset.map(|changeset| changeset.number);
        if self.open.as_ref().map(|(number, _)| *number) == number {
            return;
        }
        if let Some((_, inner)) = self.open.take() {
            self.line(&["--", &inner, "--"]);
            self.line(&[]);
        }
        if let Some(changeset) = changeset {
            let outer = self.boundary.clone();
            self.line(&["--", &outer]);
            self.line(&[
                "Content-Type: multipart/mixed; boundary=",
                changeset.boundary,
            ]);
            self.line(&[]);
            self.open = Some((changeset.number, changeset.boundary.to_owned()));
        }
    }

    /// Appends a line of several parts.
    fn line(&mut self, parts: &[&str]) {
        parts.iter().for_each(|part| self.out.push_str(part));
        self.out.push('\n');
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        _ => "",
    }
}
