//! Responses to requests that would change live properties: nothing is changed (RFC 4918, sections 9.2.1 and 16).

use personium_xml::escape_text;

use crate::DAV_NS;

/// The properties of a refused request, as self-contained XML.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RefusedProperties {
    /// The live ones.
    pub protected: Vec<String>,
    /// The others, which are not changed either.
    pub others: Vec<String>,
}

impl RefusedProperties {
    /// The body of a PROPPATCH response, whose status is 207.
    #[must_use]
    pub fn multistatus(&self, href: &str) -> String {
        let mut out = Lines::default();
        out.line(0, &format!("<multistatus xmlns=\"{DAV_NS}\">"));
        out.line(1, "<response>");
        let mut escaped = String::new();
        escape_text(&mut escaped, href);
        out.line(2, &format!("<href>{escaped}</href>"));
        self.print(&mut out, 2);
        out.line(1, "</response>");
        out.line(0, "</multistatus>");
        out.0
    }

    /// The body of a response to an extended MKCOL (RFC 5689, section 3), whose status is 403.
    #[must_use]
    pub fn mkcol_response(&self) -> String {
        let mut out = Lines::default();
        out.line(0, &format!("<mkcol-response xmlns=\"{DAV_NS}\">"));
        self.print(&mut out, 1);
        out.line(0, "</mkcol-response>");
        out.0
    }

    fn print(&self, out: &mut Lines, depth: usize) {
        out.propstat(depth, &self.protected, "403 Forbidden");
        out.line(depth + 1, "<error>");
        out.line(depth + 2, "<cannot-modify-protected-property/>");
        out.line(depth + 1, "</error>");
        out.line(depth, "</propstat>");
        if !self.others.is_empty() {
            out.propstat(depth, &self.others, "424 Failed Dependency");
            out.line(depth, "</propstat>");
        }
    }
}

/// A document with one element a line.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn line(&mut self, depth: usize, text: &str) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.0.push_str(&"    ".repeat(depth));
        self.0.push_str(text);
    }

    /// A `propstat` without its end.
    fn propstat(&mut self, depth: usize, props: &[String], status: &str) {
        self.line(depth, "<propstat>");
        self.line(depth + 1, "<prop>");
        for prop in props {
            self.line(depth + 2, prop);
        }
        self.line(depth + 1, "</prop>");
        self.line(depth + 1, &format!("<status>HTTP/1.1 {status}</status>"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_a_propstat() {
        let mut refused = RefusedProperties {
            protected: vec!["<D:getetag xmlns:D=\"DAV:\"/>".to_owned()],
            others: vec!["<a xmlns=\"\"/>".to_owned(), "<b xmlns=\"\"/>".to_owned()],
        };
        let joined = |text: &str| text.split('\n').map(str::trim).collect::<String>();
        let protected = "<propstat><prop><D:getetag xmlns:D=\"DAV:\"/></prop><status>HTTP/1.1 403 Forbidden</status>\
                         <error><cannot-modify-protected-property/></error></propstat>";
        let others = "<propstat><prop><a xmlns=\"\"/><b xmlns=\"\"/></prop>\
                      <status>HTTP/1.1 424 Failed Dependency</status></propstat>";
        assert_eq!(
            joined(&refused.multistatus("http://h/?a&b")),
            format!(
                "<multistatus xmlns=\"DAV:\"><response><href>http://h/?a&amp;b</href>{protected}{others}</response></multistatus>"
            )
        );
        refused.others.clear();
        assert_eq!(
            joined(&refused.mkcol_response()),
            format!("<mkcol-response xmlns=\"DAV:\">{protected}</mkcol-response>")
        );
    }
}
