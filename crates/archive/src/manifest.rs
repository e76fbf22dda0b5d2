//! The manifest of a bar file.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::BarError;
use crate::json::{self, scalar};
use crate::version::BarVersion;

/// The content of the manifest without its version. It is not validated.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manifest {
    /// The URL of the schema of the box.
    pub schema: Option<String>,
    /// The version of the box of the application.
    pub box_version: Option<String>,
    /// The default name of the box.
    pub default_path: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ManifestDocument {
    bar_version: Option<Value>,
    #[serde(default, deserialize_with = "scalar::text")]
    box_version: Option<String>,
    #[serde(default, deserialize_with = "scalar::text")]
    default_path: Option<String>,
    /// The name in older archives.
    #[serde(rename = "DefaultPath", default, deserialize_with = "scalar::text")]
    old_default_path: Option<String>,
    schema: Option<String>,
}

#[derive(Serialize)]
struct WrittenManifest<'a> {
    bar_version: &'static str,
    box_version: Option<&'a str>,
    default_path: Option<&'a str>,
    schema: Option<&'a str>,
}

impl Manifest {
    /// Prints the manifest of an archive of version 2.
    #[must_use]
    pub fn print(&self) -> String {
        let written = WrittenManifest {
            bar_version: "2",
            box_version: self.box_version.as_deref(),
            default_path: self.default_path.as_deref(),
            schema: self.schema.as_deref(),
        };
        serde_json::to_string(&written).unwrap_or_default()
    }

    /// Parses the manifest of an archive with the layout of `version`.
    pub(crate) fn parse(bytes: &[u8], version: BarVersion) -> Result<Manifest, BarError> {
        let unreadable = |source| BarError::ManifestUnreadable { version, source };
        let document: ManifestDocument =
            json::object(bytes).map_err(|error| unreadable(error.into()))?;
        let text = match document.bar_version {
            None => return Err(BarError::ManifestField("bar_version")),
            Some(Value::String(text)) => text,
            Some(Value::Number(number)) => number.to_string(),
            Some(_) => {
                return Err(unreadable(
                    "bar_version is neither text nor a number".into(),
                ));
            }
        };
        match text.parse::<i64>() {
            Err(_) => Err(BarError::ManifestField("bar_version")),
            Ok(number) if number != version.number() => Err(BarError::Version(text)),
            Ok(_) => Ok(Manifest {
                schema: document.schema,
                box_version: document.box_version,
                default_path: document.default_path.or(document.old_default_path),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, version: BarVersion) -> Result<Manifest, BarError> {
        Manifest::parse(text.as_bytes(), version)
    }

    #[test]
    fn manifests_of_both_versions_are_parsed() {
        let full =
            r#"{"bar_version":"1","box_version":"3","DefaultPath":"app","schema":"https://app/"}"#;
        let manifest = parse(full, BarVersion::V1).unwrap();
        assert_eq!(manifest.schema.as_deref(), Some("https://app/"));
        assert_eq!(manifest.box_version.as_deref(), Some("3"));
        assert_eq!(manifest.default_path.as_deref(), Some("app"));
        let manifest = parse(
            r#"{"bar_version":2,"default_path":"x","DefaultPath":"y","box_version":1,"schema":null}"#,
            BarVersion::V2,
        )
        .unwrap();
        assert_eq!(manifest.default_path.as_deref(), Some("x"));
        assert_eq!(manifest.schema, None);
        assert_eq!(manifest.box_version.as_deref(), Some("1"));
        assert_eq!(
            parse(r#"{"bar_version":"2"}"#, BarVersion::V2).unwrap(),
            Manifest::default()
        );
    }

    #[test]
    fn printed_manifest_is_parsed_as_what_was_printed() {
        let manifest = Manifest {
            schema: None,
            box_version: Some("1".to_owned()),
            default_path: Some("a".to_owned()),
        };
        let text = r#"{"bar_version":"2","box_version":"1","default_path":"a","schema":null}"#;
        assert_eq!(manifest.print(), text);
        assert_eq!(parse(text, BarVersion::V2).unwrap(), manifest);
    }

    #[test]
    fn invalid_documents_are_unreadable() {
        for bad in [
            "",
            "1",
            "null",
            "\"x\"",
            "[]",
            r#"["1",null,null,null]"#,
            r#"{"bar_version":"1""#,
            r#"{"bar_version":"1"} x"#,
            r#"{"bar_version":"1","Schema":"x"}"#,
            r#"{"bar_version":"1","schema":1}"#,
            r#"{"bar_version":"1","box_version":[1]}"#,
            r#"{"bar_version":true}"#,
            r#"{"bar_version":["1"]}"#,
            r#"{"bar_version":{}}"#,
            r#"{"bar_version":"1","bar_version":"1"}"#,
            r#"{"bar_version":"1","default_path":"a","default_path":"b"}"#,
        ] {
            assert!(
                matches!(
                    parse(bad, BarVersion::V1),
                    Err(BarError::ManifestUnreadable { .. })
                ),
                "{bad}"
            );
        }
        let with_mark = b"\xef\xbb\xbf{\r\n\"bar_version\":\"1\"\r\n}";
        assert!(Manifest::parse(with_mark, BarVersion::V1).is_ok());
        for bad in [
            &b"\xef\xbb\xbf"[..],
            b"\xff\xfe{\0}\0",
            b"{\"bar_version\":\"1\",\"schema\":\"\x95s\"}",
        ] {
            assert!(matches!(
                Manifest::parse(bad, BarVersion::V1),
                Err(BarError::ManifestUnreadable { .. })
            ));
        }
    }

    #[test]
    fn bar_version_must_be_an_integer_and_match_the_layout() {
        for bad in [
            "{}",
            r#"{"bar_version":null}"#,
            r#"{"bar_version":""}"#,
            r#"{"bar_version":"one"}"#,
            r#"{"bar_version":1.0}"#,
            r#"{"bar_version":"1.0"}"#,
            r#"{"bar_version":"99999999999999999999"}"#,
        ] {
            assert!(
                matches!(
                    parse(bad, BarVersion::V1),
                    Err(BarError::ManifestField("bar_version"))
                ),
                "{bad}"
            );
        }
        for (text, version, value) in [
            (r#"{"bar_version":"2"}"#, BarVersion::V1, "2"),
            (r#"{"bar_version":1}"#, BarVersion::V2, "1"),
            (r#"{"bar_version":"3"}"#, BarVersion::V2, "3"),
            (r#"{"bar_version":-1}"#, BarVersion::V1, "-1"),
        ] {
            let Err(BarError::Version(shown)) = parse(text, version) else {
                panic!("{text}");
            };
            assert_eq!(shown, value);
        }
    }
}
