//! The folder of a service.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use personium_script::{RouteTable, find_syntax_error};
use personium_xml::escape_attribute;
use serde::Deserialize;

use super::read_text;

/// The file with the routes. Without it, each script `x.js` answers at `x`.
const DESCRIPTION: &str = "service.json";
/// The ending of the names of scripts.
const SCRIPT_ENDING: &str = ".js";
/// The largest size of a file in bytes.
const MAX_FILE_BYTES: u64 = 8 << 20;
/// The largest number of scripts.
const MAX_SCRIPTS: usize = 1_000;

/// The sizes and times of change of the files of a service, by which a change is noticed.
pub(super) type Signature = Vec<(PathBuf, u64, Option<SystemTime>)>;

/// A service as it is in its folder.
#[derive(Debug)]
pub(super) struct LocalService {
    /// The scripts by their file names.
    pub scripts: BTreeMap<String, String>,
    /// The value of the property `service`.
    pub property: String,
}

/// The content of the file with the routes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    /// The account whose token `_p` has as the service subject.
    subject: Option<String>,
    paths: Vec<Route>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Route {
    /// The template of the path.
    name: String,
    /// The file name of the script.
    src: String,
    /// Whether its requests become jobs.
    #[serde(default, rename = "async")]
    is_async: bool,
}

impl LocalService {
    /// Reads a folder.
    ///
    /// # Errors
    /// A text if it cannot be read, has no script, too many or too large ones, its routes name a script that is missing, or have a path that
    /// the unit refuses, or a script of a route cannot be compiled.
    pub fn read(folder: &Path) -> Result<Self, String> {
        let mut scripts = BTreeMap::new();
        for (name, path) in files(folder)? {
            if name.ends_with(SCRIPT_ENDING) {
                scripts.insert(name, read_text(folder, &path, MAX_FILE_BYTES)?);
            }
        }
        if scripts.is_empty() {
            return Err(format!("{} has no script (*.js)", folder.display()));
        }
        if scripts.len() > MAX_SCRIPTS {
            return Err(format!(
                "{} has more than {MAX_SCRIPTS} scripts",
                folder.display()
            ));
        }
        let file = folder.join(DESCRIPTION);
        let description = match file.exists() {
            true => {
                let text = read_text(folder, &file, MAX_FILE_BYTES)?;
                serde_json::from_str(&text)
                    .map_err(|error| format!("{}: {error}", file.display()))?
            }
            false => Description::of_scripts(&scripts),
        };
        for route in &description.paths {
            if !scripts.contains_key(&route.src) {
                return Err(format!(
                    "{}: the path {:?} names the script {:?}, which is not in the folder",
                    file.display(),
                    route.name,
                    route.src
                ));
            }
        }
        let (shown, routes) = (file.display(), &description.paths);
        let table = RouteTable::new(routes.iter().map(|r| (r.name.as_str(), r.src.as_str())));
        table.map_err(|error| format!("{shown}: the unit refuses the path: {error}"))?;
        for source in routes
            .iter()
            .map(|route| &route.src)
            .collect::<BTreeSet<_>>()
        {
            let error = scripts
                .get(source)
                .and_then(|text| find_syntax_error(text, source));
            if let Some(error) = error {
                return Err(format!("{}: {error}", folder.display()));
            }
        }
        Ok(Self {
            property: description.property(),
            scripts,
        })
    }
}

impl Description {
    fn of_scripts(scripts: &BTreeMap<String, String>) -> Self {
        let route = |src: &String| Route {
            name: src.trim_end_matches(SCRIPT_ENDING).to_owned(),
            src: src.clone(),
            is_async: false,
        };
        Self {
            subject: None,
            paths: scripts.keys().map(route).collect(),
        }
    }

    fn property(&self) -> String {
        let mut out = String::from("<p:service language=\"JavaScript\"");
        let attribute = |out: &mut String, name: &str, value: &str| {
            out.push(' ');
            out.push_str(name);
            out.push_str("=\"");
            escape_attribute(out, value);
            out.push('"');
        };
        if let Some(subject) = &self.subject {
            attribute(&mut out, "subject", subject);
        }
        out.push('>');
        for route in &self.paths {
            out.push_str("<p:path");
            attribute(&mut out, "name", &route.name);
            attribute(&mut out, "src", &route.src);
            if route.is_async {
                attribute(&mut out, "async", "true");
            }
            out.push_str("/>");
        }
        out.push_str("</p:service>");
        out
    }
}

/// The files of a folder that may belong to a service, hidden ones and folders left out.
fn files(folder: &Path) -> Result<Vec<(String, PathBuf)>, String> {
    let unreadable = |error| format!("cannot read {}: {error}", folder.display());
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let path = entry.path();
        if let Ok(name) = entry.file_name().into_string()
            && !name.starts_with('.')
            && path.is_file()
        {
            out.push((name, path));
        }
    }
    out.sort();
    Ok(out)
}

/// The state of the files of a service. A folder that cannot be read has none.
pub(super) fn signature(folder: &Path) -> Signature {
    let found = files(folder).unwrap_or_default().into_iter();
    let found = found.filter(|(name, _)| name.ends_with(SCRIPT_ENDING) || name == DESCRIPTION);
    found
        .map(|(_, path)| {
            let metadata = std::fs::metadata(&path).ok();
            let length = metadata.as_ref().map_or(0, std::fs::Metadata::len);
            (
                path,
                length,
                metadata.and_then(|found| found.modified().ok()),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        folder
    }

    #[test]
    fn scripts_without_a_description_answer_at_their_names() {
        let folder = folder(&[
            ("a.js", "1"),
            (".hidden.js", "2"),
            ("a.js~", "3"),
            ("b.js", "4"),
        ]);
        let local = LocalService::read(folder.path()).unwrap();
        assert_eq!(local.scripts.len(), 2);
        assert_eq!(
            local.property,
            "<p:service language=\"JavaScript\"><p:path name=\"a\" src=\"a.js\"/><p:path name=\"b\" src=\"b.js\"/></p:service>"
        );
    }

    #[test]
    fn asynchronous_path_has_an_attribute() {
        let description =
            r#"{"paths":[{"name":"x","src":"a.js","async":true},{"name":"y","src":"a.js"}]}"#;
        let folder = folder(&[("a.js", "1"), (DESCRIPTION, description)]);
        let local = LocalService::read(folder.path()).unwrap();
        assert_eq!(
            local.property,
            "<p:service language=\"JavaScript\"><p:path name=\"x\" src=\"a.js\" async=\"true\"/>\
             <p:path name=\"y\" src=\"a.js\"/></p:service>"
        );
    }

    #[test]
    fn values_of_a_description_are_escaped() {
        let description = r#"{"subject":"a&b","paths":[{"name":"x/{id: [<\"]+}","src":"a.js"}]}"#;
        let folder = folder(&[("a.js", "1"), (DESCRIPTION, description)]);
        let local = LocalService::read(folder.path()).unwrap();
        assert!(local.property.contains("subject=\"a&amp;b\""));
        assert!(!local.property.contains("[<"));
    }

    #[test]
    fn folders_that_are_no_service_are_refused_with_the_reason() {
        for (files, reason) in [
            (&[][..], "has no script"),
            (&[("a.js", "1"), (DESCRIPTION, "{")][..], "service.json"),
            (
                &[("a.js", "1"), (DESCRIPTION, r#"{"paths":[],"pathes":[]}"#)][..],
                "unknown field",
            ),
            (
                &[
                    ("a.js", "1"),
                    (DESCRIPTION, r#"{"paths":[{"name":"b","src":"b.js"}]}"#),
                ][..],
                "which is not in the folder",
            ),
            (
                &[
                    ("a.js", "1"),
                    (
                        DESCRIPTION,
                        r#"{"paths":[{"name":"greet/{id","src":"a.js"}]}"#,
                    ),
                ][..],
                "name=greet/{id, src=a.js",
            ),
            (
                &[("a.js", "function (request) {\n  return {{;\n}")][..],
                "a.js:2",
            ),
        ] {
            let folder = folder(files);
            let refused = LocalService::read(folder.path()).unwrap_err();
            assert!(refused.contains(reason), "{refused}");
        }
    }

    #[test]
    fn files_outside_of_the_folder_and_devices_are_not_read() {
        let outside = folder(&[("secret.js", "a password")]);
        let inside = folder(&[("a.js", "1"), ("b.txt", "2")]);
        let link = |target: &Path, name: &str| {
            std::os::unix::fs::symlink(target, inside.path().join(name)).unwrap();
            let read = LocalService::read(inside.path());
            std::fs::remove_file(inside.path().join(name)).unwrap();
            read.map(|local| local.scripts.len())
        };
        assert_eq!(link(Path::new("b.txt"), "b.js"), Ok(2));
        for (target, name, reason) in [
            (
                outside.path().join("secret.js"),
                "b.js",
                "outside of the folder",
            ),
            ("/dev/zero".into(), DESCRIPTION, "outside of the folder"),
        ] {
            let refused = link(&target, name).unwrap_err();
            assert!(refused.contains(reason), "{refused}");
        }
        std::fs::create_dir(inside.path().join(DESCRIPTION)).unwrap();
        let refused = LocalService::read(inside.path()).unwrap_err();
        assert!(refused.contains("is no file"), "{refused}");
    }

    #[test]
    fn changed_file_has_another_signature() {
        let folder = folder(&[("a.js", "1")]);
        let before = signature(folder.path());
        assert_eq!(signature(folder.path()), before);
        std::fs::write(folder.path().join("a.js"), "other").unwrap();
        assert_ne!(signature(folder.path()), before);
    }
}
