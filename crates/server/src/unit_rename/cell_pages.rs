//! The properties of a cell that name its pages.

use std::fmt::Write as _;
use std::io;

use http::Method;
use regex::Regex;

use super::Rename;

/// The properties, which are in the namespace of Personium.
const PROPERTIES: [&str; 3] = [
    "relayhtmlurl",
    "authorizationhtmlurl",
    "authorizationpasswordchangehtmlurl",
];

impl<S: Fn(&str) -> io::Result<()>> Rename<'_, S> {
    /// The body of a PROPPATCH that gives the pages of a cell the present name; `None` if none has the former one.
    ///
    /// # Errors
    /// The refusal of the request for the properties.
    pub(super) async fn outdated_pages(&self, cell: &str) -> Result<Option<String>, String> {
        let asked: String = PROPERTIES
            .iter()
            .map(|name| format!("<p:{name}/>"))
            .collect();
        let body = format!(
            "<propfind xmlns=\"DAV:\" xmlns:p=\"urn:x-personium:xmlns\"><prop>{asked}</prop></propfind>"
        );
        let method = Method::from_bytes(b"PROPFIND").map_err(|error| error.to_string())?;
        let found = self.get(method, cell, Some(body)).await?;
        let found = String::from_utf8_lossy(&found);
        let element = format!(
            r"<(?:[A-Za-z0-9_-]+:)?({})(?:\s[^>]*)?>([^<]+)</",
            PROPERTIES.join("|")
        );
        let element = Regex::new(&element).map_err(|error| error.to_string())?;
        let mut properties = String::new();
        for (_, [name, url]) in element.captures_iter(&found).map(|c| c.extract()) {
            let url = url.trim().replace("&amp;", "&");
            if let Some(renamed) = self.former.renamed(&url, self.api.unit.urls()) {
                let escaped = renamed.replace('&', "&amp;").replace('<', "&lt;");
                let _ = write!(properties, "<p:{name}>{escaped}</p:{name}>");
            }
        }
        Ok((!properties.is_empty()).then(|| {
            format!(
                "<propertyupdate xmlns=\"DAV:\" xmlns:p=\"urn:x-personium:xmlns\"><set><prop>{properties}</prop></set></propertyupdate>"
            )
        }))
    }
}
