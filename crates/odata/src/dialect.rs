//! The two forms of the protocol.

/// The form of the protocol that a client expects, where the original unit and the OData 2.0 documents differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// That of the original unit: one entity is in `results`, expanded entities are a list, lists have no link to the next
    /// page, names in metadata documents may have hyphens.
    #[default]
    Original,
    /// That of the OData 2.0 documents, which general clients expect.
    Standard,
}

/// The parts of a request by which its dialect is recognized.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DialectHints<'a> {
    /// The header `DataServiceVersion`.
    pub version: Option<&'a str>,
    /// The header `MaxDataServiceVersion`.
    pub max_version: Option<&'a str>,
    /// The header `Accept`.
    pub accept: Option<&'a str>,
}

impl DialectHints<'_> {
    /// The dialect of the request. Clients of the original unit send neither a version of the protocol nor `odata=verbose` in
    /// `Accept`. Any of them chooses [`Dialect::Standard`]; otherwise it is `default`.
    #[must_use]
    pub fn dialect(&self, default: Dialect) -> Dialect {
        let names_version = |header: Option<&str>| {
            header.is_some_and(|text| text.trim_start().starts_with(|c: char| c.is_ascii_digit()))
        };
        let is_verbose = self.accept.is_some_and(|accept| {
            accept
                .split([',', ';'])
                .any(|part| part.trim().eq_ignore_ascii_case("odata=verbose"))
        });
        if names_version(self.version) || names_version(self.max_version) || is_verbose {
            Dialect::Standard
        } else {
            default
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_headers_and_verbose_json_choose_the_standard_dialect() {
        let hints = |version, max_version, accept| DialectHints {
            version,
            max_version,
            accept,
        };
        for standard in [
            hints(Some("2.0"), None, None),
            hints(Some("1.0;NetFx"), Some("2.0"), Some("*/*")),
            hints(None, Some(" 3.0"), Some("application/json")),
            hints(
                None,
                None,
                Some("text/html, application/json;odata=Verbose"),
            ),
            hints(None, None, Some("application/json; q=1; odata=verbose")),
        ] {
            let found = standard.dialect(Dialect::Original);
            assert_eq!(found, Dialect::Standard, "{standard:?}");
        }
        for original in [
            hints(None, None, None),
            hints(Some(""), Some("x"), Some("application/json")),
            hints(None, None, Some("application/json;charset=utf-8")),
        ] {
            for default in [Dialect::Original, Dialect::Standard] {
                assert_eq!(original.dialect(default), default, "{original:?}");
            }
        }
    }
}
