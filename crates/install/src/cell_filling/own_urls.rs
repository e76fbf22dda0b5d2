//! URLs in a snapshot that lead to its own cell: they are adapted to the cell that it is imported into.

use personium_model::UnitUrls;
use serde_json::Value;

use crate::snapshot_package::SnapshotPackage;

/// The beginnings of URLs of the cell that a snapshot was made of, and those that replace them.
pub(super) struct OwnUrls(Vec<(String, String)>);

impl OwnUrls {
    pub fn new(urls: &UnitUrls, package: &SnapshotPackage, new: &str) -> Self {
        let properties = package.cell.source.properties.as_ref();
        let old = properties.and_then(|properties| properties.get("Name")?.as_str());
        match old {
            Some(old) => Self::of(urls, package.manifest.unit_url.as_deref(), old, new),
            None => Self(Vec::new()),
        }
    }

    /// Nothing is adapted: the cell keeps its name and its unit.
    pub fn unchanged() -> Self {
        Self(Vec::new())
    }

    fn of(urls: &UnitUrls, unit_url: Option<&str>, old: &str, new: &str) -> Self {
        let mut out = vec![
            (
                format!("personium-localunit:/{old}/"),
                format!("personium-localunit:/{new}/"),
            ),
            (
                format!("personium-localunit:{old}:/"),
                format!("personium-localunit:{new}:/"),
            ),
        ];
        if let Some((scheme, host)) = unit_url.and_then(|url| url.split_once("://")) {
            let host = host.trim_end_matches('/');
            let target = urls.cell(new);
            out.push((format!("{scheme}://{host}/{old}/"), target.clone()));
            out.push((format!("{scheme}://{old}.{host}/"), target));
        }
        out.retain(|(old, new)| old != new);
        Self(out)
    }

    /// Adapts the texts in a value that begin with such a URL.
    pub fn adapt(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                let found = self.0.iter().find_map(|(old, new)| {
                    let rest = text.strip_prefix(old.as_str())?;
                    Some(format!("{new}{rest}"))
                });
                if let Some(adapted) = found {
                    *text = adapted;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.adapt(item)),
            Value::Object(members) => members.values_mut().for_each(|value| self.adapt(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Adapts all such URLs in a property of the cell.
    pub fn adapt_text(&self, text: &str) -> String {
        let replaced = self.0.iter();
        replaced.fold(text.to_owned(), |text, (old, new)| text.replace(old, new))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_urls_of_the_own_cell_are_adapted() {
        let urls = UnitUrls::new("http", "new.example", None, true);
        let own = OwnUrls::of(&urls, Some("https://old.example/"), "a", "b");
        let mut value = json!({
            "list": ["personium-localunit:/a/x", "personium-localunit:a:/x", "personium-localunit:/ab/x"],
            "path": "https://old.example/a/#me",
            "host": "https://a.old.example/",
            "other": "https://old.example/c/",
            "inside": "see https://old.example/a/",
            "number": 1,
        });
        own.adapt(&mut value);
        assert_eq!(
            value,
            json!({
                "list": ["personium-localunit:/b/x", "personium-localunit:b:/x", "personium-localunit:/ab/x"],
                "path": "http://new.example/b/#me",
                "host": "http://new.example/b/",
                "other": "https://old.example/c/",
                "inside": "see https://old.example/a/",
                "number": 1,
            })
        );
        let text = own.adapt_text("<p>personium-localunit:/a/__/index.html</p>");
        assert_eq!(text, "<p>personium-localunit:/b/__/index.html</p>");
    }

    #[test]
    fn nothing_is_adapted_for_the_same_cell() {
        let urls = UnitUrls::new("http", "unit.example", None, true);
        let own = OwnUrls::of(&urls, Some("http://unit.example/"), "a", "a");
        let mut value = json!("http://unit.example/a/");
        own.adapt(&mut value);
        assert_eq!(value, json!("http://unit.example/a/"));
    }
}
