//! Writing of indented XML: one element a line, four spaces for each level. Clients in the field count on the text nodes
//! between the elements and on one element a line, so this is part of the format.

use crate::{DAV_NS, PERSONIUM_NS};
use personium_xml::{escape_attribute, escape_text};

const LEVEL: &str = "    ";

/// Appends lines to a text. The depth is that of the next line.
pub(super) struct IndentedXml<'o> {
    out: &'o mut String,
    depth: usize,
}

impl<'o> IndentedXml<'o> {
    pub(super) fn at_depth(out: &'o mut String, depth: usize) -> Self {
        Self { out, depth }
    }

    /// The text, for what is written between [`Self::start_line`] and [`Self::end_line`].
    pub(super) fn out(&mut self) -> &mut String {
        self.out
    }

    pub(super) fn start_line(&mut self) {
        for _ in 0..self.depth {
            self.out.push_str(LEVEL);
        }
    }

    pub(super) fn end_line(&mut self) {
        self.out.push('\n');
    }

    fn line(&mut self, parts: &[&str]) {
        self.start_line();
        self.out.extend(parts.iter().copied());
        self.end_line();
    }

    /// `<name>`; what follows is one level deeper.
    pub(super) fn open(&mut self, name: &str) {
        self.line(&["<", name, ">"]);
        self.depth += 1;
    }

    /// The start tag of a root element in `DAV:`.
    pub(super) fn open_root(&mut self, name: &str) {
        self.line(&["<", name, " xmlns=\"", DAV_NS, "\">"]);
        self.depth += 1;
    }

    /// A start tag that was written as a line of its own precedes what follows.
    pub(super) fn descend(&mut self) {
        self.depth += 1;
    }

    /// `</name>`, one level less deep.
    pub(super) fn close(&mut self, name: &str) {
        self.depth = self.depth.saturating_sub(1);
        self.line(&["</", name, ">"]);
    }

    /// `<name/>`.
    pub(super) fn empty(&mut self, name: &str) {
        self.line(&["<", name, "/>"]);
    }

    /// An element without content in any namespace.
    pub(super) fn empty_in(&mut self, namespace: &str, local: &str) {
        if namespace == DAV_NS {
            return self.empty(local);
        }
        self.start_line();
        self.out.extend(["<", local, " xmlns=\""]);
        escape_attribute(self.out, namespace);
        self.out.push_str("\"/>");
        self.end_line();
    }

    /// `<name>text</name>`.
    pub(super) fn text(&mut self, name: &str, text: &str) {
        self.start_line();
        self.out.extend(["<", name, ">"]);
        escape_text(self.out, text);
        self.out.extend(["</", name, ">"]);
        self.end_line();
    }

    /// `<p:name>text</p:name>` with its namespace declaration; `<p:name/>` without a text.
    pub(super) fn personium(&mut self, name: &str, text: Option<&str>) {
        self.start_line();
        self.out
            .extend(["<p:", name, " xmlns:p=\"", PERSONIUM_NS, "\""]);
        match text {
            None => self.out.push_str("/>"),
            Some(text) => {
                self.out.push('>');
                escape_text(self.out, text);
                self.out.extend(["</p:", name, ">"]);
            }
        }
        self.end_line();
    }

    /// A self-contained element, copied as it is: white space in it may have a meaning.
    pub(super) fn verbatim(&mut self, xml: &str) {
        self.line(&[xml]);
    }

    /// The end of a `propstat`: the end of its `prop`, and its status.
    pub(super) fn close_propstat(&mut self, status: &str) {
        self.close("prop");
        self.line(&["<status>HTTP/1.1 ", status, "</status>"]);
        self.close("propstat");
    }
}
