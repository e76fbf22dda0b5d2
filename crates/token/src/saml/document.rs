//! The fields of an assertion, and its written form.

/// The XML namespace of the assertion.
pub(super) const ASSERTION_NS: &str = "urn:oasis:names:tc:SAML:2.0:assertion";
/// The SAML version.
pub(super) const VERSION: &str = "2.0";
/// The confirmation method: the bearer of the assertion is the subject.
pub(super) const BEARER: &str = "urn:oasis:names:tc:SAML:2.0:cm:bearer";
/// The authentication context class of every assertion.
pub(super) const CONTEXT_CLASS: &str =
    "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport";
/// The name of the attribute with the roles.
pub(super) const ROLES: &str = "Roles";
/// The name format of the attribute `Roles`.
pub(super) const ROLES_FORMAT: &str = "urn:x-personium:xmlns";
/// The name of the attribute with the scopes.
pub(super) const SCOPES: &str = "Scopes";

/// The variable parts of an assertion as text, with entities resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Document {
    pub(super) id: String,
    pub(super) issue_instant: String,
    pub(super) issuer: String,
    pub(super) subject: String,
    pub(super) not_on_or_after: Option<String>,
    pub(super) recipient: String,
    pub(super) target: String,
    pub(super) schema: String,
    pub(super) authn_instant: String,
    pub(super) roles: Vec<String>,
    /// `None` if the document has no such attribute.
    pub(super) scopes: Option<Vec<String>>,
}

/// The written form of empty elements and carriage returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum XmlForm {
    /// As sent: `<Audience/>`.
    Wire,
    /// Canonical XML 1.0: `<Audience></Audience>`.
    Canonical,
}

impl Document {
    /// Returns the canonical form of the document without its signature.
    pub(super) fn canonical(&self) -> String {
        let mut out = String::with_capacity(2048);
        self.open(XmlForm::Canonical, &mut out);
        self.close(&mut out);
        out
    }

    /// Writes the document up to the position of the signature.
    pub(super) fn open(&self, form: XmlForm, out: &mut String) {
        let mut xml = XmlWriter { form, out };
        xml.start(
            "Assertion",
            &[
                ("xmlns", ASSERTION_NS),
                ("ID", &self.id),
                ("IssueInstant", &self.issue_instant),
                ("Version", VERSION),
            ],
        );
        xml.leaf("Issuer", &[], &self.issuer);
        xml.start("Subject", &[]);
        xml.leaf("NameID", &[], &self.subject);
        xml.start("SubjectConfirmation", &[("Method", BEARER)]);
        match &self.not_on_or_after {
            Some(end) => xml.leaf(
                "SubjectConfirmationData",
                &[("NotOnOrAfter", end), ("Recipient", &self.recipient)],
                "",
            ),
            None => xml.leaf(
                "SubjectConfirmationData",
                &[("Recipient", &self.recipient)],
                "",
            ),
        }
        xml.end("SubjectConfirmation");
        xml.end("Subject");
        xml.start("Conditions", &[]);
        xml.start("AudienceRestriction", &[]);
        xml.leaf("Audience", &[], &self.target);
        xml.leaf("Audience", &[], &self.schema);
        xml.end("AudienceRestriction");
        xml.end("Conditions");
        xml.start("AuthnStatement", &[("AuthnInstant", &self.authn_instant)]);
        xml.start("AuthnContext", &[]);
        xml.leaf("AuthnContextClassRef", &[], CONTEXT_CLASS);
        xml.end("AuthnContext");
        xml.end("AuthnStatement");
        xml.start("AttributeStatement", &[]);
        xml.values(
            &[("Name", ROLES), ("NameFormat", ROLES_FORMAT)],
            &self.roles,
        );
        if let Some(scopes) = &self.scopes {
            xml.values(&[("Name", SCOPES)], scopes);
        }
        xml.end("AttributeStatement");
    }

    /// Writes the end of the document after the signature.
    pub(super) fn close(&self, out: &mut String) {
        out.push_str("</Assertion>");
    }
}

/// A writer for elements. The caller passes attributes in canonical order.
pub(super) struct XmlWriter<'o> {
    pub(super) form: XmlForm,
    pub(super) out: &'o mut String,
}

impl XmlWriter<'_> {
    pub(super) fn start(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.tag(name, attributes);
        self.out.push('>');
    }

    pub(super) fn end(&mut self, name: &str) {
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push('>');
    }

    /// Writes an element that contains only text, or nothing.
    pub(super) fn leaf(&mut self, name: &str, attributes: &[(&str, &str)], text: &str) {
        self.tag(name, attributes);
        if text.is_empty() && self.form == XmlForm::Wire {
            self.out.push_str("/>");
            return;
        }
        self.out.push('>');
        self.text(text);
        self.end(name);
    }

    fn values(&mut self, attributes: &[(&str, &str)], values: &[String]) {
        if values.is_empty() {
            self.leaf("Attribute", attributes, "");
            return;
        }
        self.start("Attribute", attributes);
        for value in values {
            self.leaf("AttributeValue", &[], value);
        }
        self.end("Attribute");
    }

    fn tag(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.out.push('<');
        self.out.push_str(name);
        for (name, value) in attributes {
            self.out.push(' ');
            self.out.push_str(name);
            self.out.push_str("=\"");
            self.escaped(value, |c| match c {
                '&' => Some("&amp;"),
                '<' => Some("&lt;"),
                '"' => Some("&quot;"),
                '\t' => Some("&#x9;"),
                '\n' => Some("&#xA;"),
                '\r' => Some("&#xD;"),
                _ => None,
            });
            self.out.push('"');
        }
    }

    fn text(&mut self, text: &str) {
        let carriage_return = match self.form {
            XmlForm::Wire => "&#13;",
            XmlForm::Canonical => "&#xD;",
        };
        self.escaped(text, |c| match c {
            '&' => Some("&amp;"),
            '<' => Some("&lt;"),
            '>' => Some("&gt;"),
            '\r' => Some(carriage_return),
            _ => None,
        });
    }

    fn escaped(&mut self, text: &str, replacement: impl Fn(char) -> Option<&'static str>) {
        for c in text.chars() {
            match replacement(c) {
                Some(escape) => self.out.push_str(escape),
                None => self.out.push(c),
            }
        }
    }
}
