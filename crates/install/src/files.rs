//! Stores the files of the archive, and passes the other entries to their OData collections.

use std::collections::BTreeMap;

use bytes::Bytes;
use personium_archive::{BarEntry, paths};
use personium_dav::multistatus::ResourceKind;
use personium_model::file::{self, FileHeaders, Upload};
use personium_model::node::SERVICE_SOURCE;
use personium_types::Result;

use crate::collections::DescribedTree;
use crate::error::{InEntry, InstallError, InstallReason, InstallResult};
use crate::installer::Installer;

/// The target of an entry of the contents.
enum EntryTarget {
    /// A file with this path in the box.
    File(Vec<String>),
    /// An OData collection.
    OData {
        /// The path of the collection in the box.
        collection: Vec<String>,
        /// The path of the entry in the collection.
        path: Vec<String>,
    },
}

impl Installer {
    /// Stores the files of the archive, then fills its OData collections.
    pub(crate) async fn install_contents(&self, tree: &DescribedTree) -> InstallResult {
        if !self.package.is_legacy() && !self.package.has_contents() {
            let reason = InstallReason::Misplaced;
            return Err(InstallError::new(reason, paths::CONTENTS, "missing"));
        }
        let mut odata: BTreeMap<Vec<String>, Vec<(Vec<String>, BarEntry)>> = tree
            .values()
            .filter(|described| described.kind == ResourceKind::OData)
            .map(|described| (described.path.clone(), Vec::new()))
            .collect();
        for entry in self.package.below(paths::CONTENTS) {
            match entry_target(tree, &entry) {
                EntryTarget::OData { collection, path } => {
                    odata.entry(collection).or_default().push((path, entry));
                }
                EntryTarget::File(path) => {
                    self.start_entry(&entry).await;
                    self.install_file(tree, &path, &entry).await?;
                    self.end_entry(&entry).await;
                }
            }
        }
        for (path, entries) in odata {
            self.install_odata_collection(&path, entries).await?;
        }
        Ok(())
    }

    async fn install_file(
        &self,
        tree: &DescribedTree,
        path: &[String],
        entry: &BarEntry,
    ) -> InstallResult {
        let described = tree
            .get(path)
            .filter(|described| described.kind == ResourceKind::File);
        let described = described.ok_or_else(|| {
            InstallError::new(InstallReason::NotDescribed, entry.name(), path.join("/"))
        })?;
        let media_type = described
            .media_type
            .as_deref()
            .filter(|text| !text.is_empty());
        if let Some(text) = media_type.filter(|text| !is_media_type(text)) {
            let reason = InstallReason::MediaType;
            return Err(InstallError::new(reason, entry.name(), text));
        }
        let bytes = self.package.read(entry).await?;
        self.put_file(path, bytes.into(), media_type)
            .await
            .in_entry(entry)?;
        self.set_properties(described).await.in_entry(entry)
    }

    async fn put_file(
        &self,
        path: &[String],
        bytes: Bytes,
        media_type: Option<&str>,
    ) -> Result<()> {
        let resource = self.resource(path).await?;
        let target = resource.locate().await?;
        let checked = file::check_put(&resource, &target).await?;
        let headers = FileHeaders {
            media_type: media_type.map(str::to_owned),
            content_encoding: None,
        };
        let mut upload = Upload::without_permit(&self.unit, &resource);
        upload.write(bytes).await?;
        let received = upload.finish(headers).await?;
        file::put(&resource, checked, received).await?;
        Ok(())
    }
}

/// The target of an entry, according to the description. A script may lie directly in its service collection.
fn entry_target(tree: &DescribedTree, entry: &BarEntry) -> EntryTarget {
    let segments: Vec<String> = entry.path().split('/').skip(1).map(str::to_owned).collect();
    for length in 1..segments.len() {
        let (above, rest) = segments.split_at(length);
        match tree.get(above).map(|described| described.kind) {
            Some(ResourceKind::OData) => {
                return EntryTarget::OData {
                    collection: above.to_vec(),
                    path: rest.to_vec(),
                };
            }
            Some(ResourceKind::Service) if rest.len() == 1 => {
                let mut path = above.to_vec();
                path.push(SERVICE_SOURCE.to_owned());
                path.extend_from_slice(rest);
                return EntryTarget::File(path);
            }
            _ => {}
        }
    }
    EntryTarget::File(segments)
}

/// Whether a text is `type/subtype`, with or without parameters (RFC 9110 section 8.3.1).
fn is_media_type(text: &str) -> bool {
    let is_token = |text: &str| {
        let is_special = |c: char| "!#$%&'*+-.^_`|~".contains(c);
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || is_special(c))
    };
    let essence = text.split(';').next().unwrap_or_default().trim();
    let is_visible = text.chars().all(|c| !c.is_control());
    is_visible && matches!(essence.split_once('/'), Some((a, b)) if is_token(a) && is_token(b))
}

#[cfg(test)]
mod tests {
    use super::is_media_type;

    #[test]
    fn media_types_need_type_and_subtype() {
        for valid in [
            "text/plain",
            "application/vnd.x+json; charset=UTF-8",
            "a/b ; c=\"d/e\"",
        ] {
            assert!(is_media_type(valid), "{valid}");
        }
        for invalid in ["", "text", "/", "a/", "/b", "a b/c", "a/b\n", "a/b/c"] {
            assert!(!is_media_type(invalid), "{invalid}");
        }
    }
}
