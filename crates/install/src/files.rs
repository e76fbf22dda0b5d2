//! Stores the files of the archive, and passes the other entries to their OData collections.

use std::collections::{BTreeMap, HashSet};

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use personium_archive::{BarEntry, paths};
use personium_dav::multistatus::ResourceKind;
use personium_dav::rootprops::DescribedResource;
use personium_model::file::{self, FileContent, FileHeaders, Upload};
use personium_model::node::SERVICE_SOURCE;
use personium_types::Result;

use crate::collections::Description;
use crate::error::{InEntry, InstallError, InstallReason, InstallResult};
use crate::installer::Installer;

/// The number of files that are stored at the same time, and their length in bytes from which on no more are added.
const FILES_AT_ONCE: usize = 32;
const FILE_BYTES_AT_ONCE: u64 = 16 << 20;

/// The length of a file in bytes up to which it is read into memory. A longer one is extracted to a temporary file.
const MEMORY_BYTES: u64 = 512 << 10;

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
    pub(crate) async fn install_contents(&self, tree: &Description) -> InstallResult {
        if !self.package.is_legacy() && !self.package.has_contents() {
            let reason = InstallReason::Misplaced;
            return Err(InstallError::new(reason, paths::CONTENTS, "missing"));
        }
        let mut odata: BTreeMap<Vec<String>, Vec<(Vec<String>, BarEntry)>> = tree
            .resources()
            .filter(|described| described.kind == ResourceKind::OData)
            .map(|described| (described.path.clone(), Vec::new()))
            .collect();
        if !self.package.is_legacy() {
            self.report_folders(&self.package.content_folders(|path| is_shown(tree, path)))
                .await;
        }
        let mut stored = HashSet::new();
        let (mut pending, mut pending_bytes) = (Vec::new(), 0);
        for entry in self.package.below(paths::CONTENTS) {
            match entry_target(tree, &entry) {
                EntryTarget::OData { collection, path } => {
                    odata.entry(collection).or_default().push((path, entry));
                }
                EntryTarget::File(path) if tree.find(&path).is_none() && is_system_file(&entry) => {
                    self.count_entry();
                }
                EntryTarget::File(path) => {
                    let described = find_file(tree, &path, &entry)?;
                    if !stored.insert(&described.path) {
                        let reason = InstallReason::Misplaced;
                        let detail = "another entry is the same file";
                        return Err(InstallError::new(reason, entry.name(), detail));
                    }
                    pending_bytes += entry.size();
                    pending.push((described, entry));
                    if pending.len() >= FILES_AT_ONCE || pending_bytes >= FILE_BYTES_AT_ONCE {
                        self.install_files(std::mem::take(&mut pending)).await?;
                        pending_bytes = 0;
                    }
                }
            }
        }
        self.install_files(pending).await?;
        for (path, entries) in odata {
            self.install_odata_collection(&path, entries).await?;
        }
        Ok(())
    }

    /// Stores some files at the same time: each waits for the disk. Their events are posted in their order.
    async fn install_files(&self, files: Vec<(&DescribedResource, BarEntry)>) -> InstallResult {
        let entries: Vec<&BarEntry> = files.iter().map(|(_, entry)| entry).collect();
        self.start_entries(&entries).await;
        let mut installed = FuturesOrdered::new();
        for (described, entry) in &files {
            installed.push_back(Box::pin(self.install_file(described, entry)));
        }
        let (mut ended, mut outcome) = (0, Ok(()));
        // After a failure the others end too: whoever has stored a body and is dropped would leave it without a file.
        while let Some(done) = installed.next().await {
            match (&outcome, done) {
                (Ok(()), Ok(())) => ended += 1,
                (Ok(()), failed) => outcome = failed,
                (Err(_), _) => {}
            }
        }
        self.end_entries(entries.get(..ended).unwrap_or_default())
            .await;
        outcome
    }

    async fn install_file(&self, described: &DescribedResource, entry: &BarEntry) -> InstallResult {
        let media_type = described
            .media_type
            .as_deref()
            .filter(|text| !text.is_empty());
        if let Some(text) = media_type.filter(|text| !is_media_type(text)) {
            let reason = InstallReason::MediaType;
            let detail = format!("{text}, 90_rootprops.xml line {}", described.line);
            return Err(InstallError::new(reason, entry.name(), detail));
        }
        let content = match entry.size() > MEMORY_BYTES {
            true => {
                let folder = &self.unit.settings().archives.temp_dir;
                let extracted = self.package.extract(entry, folder).await?;
                FileContent::Chunks(Box::new(extracted))
            }
            false => FileContent::Whole(self.package.read(entry).await?.into()),
        };
        let headers = FileHeaders {
            media_type: media_type.map(str::to_owned),
            content_encoding: described.content_encoding.clone(),
        };
        self.put_file(&described.path, content, headers)
            .await
            .in_entry(entry)?;
        self.set_properties(described, entry).await
    }

    async fn put_file(
        &self,
        path: &[String],
        mut content: FileContent,
        headers: FileHeaders,
    ) -> Result<()> {
        let resource = self.resource(path).await?;
        let target = resource.locate().await?;
        let checked = file::check_put(&resource, target).await?;
        let mut upload = Upload::without_permit(&self.unit, &resource);
        let mut at = 0;
        while let Some(chunk) = content.chunk_at(at).await? {
            at += chunk.len() as u64;
            upload.write(chunk).await?;
        }
        let received = upload.finish(headers).await?;
        file::put(&resource, checked, received).await?;
        Ok(())
    }
}

/// The description of a file.
fn find_file<'t>(
    tree: &'t Description,
    path: &[String],
    entry: &BarEntry,
) -> InstallResult<&'t DescribedResource> {
    let described = tree
        .find(path)
        .filter(|described| described.kind == ResourceKind::File);
    described
        .ok_or_else(|| InstallError::new(InstallReason::NotDescribed, entry.name(), path.join("/")))
}

/// Whether events tell of a folder of the contents, by its path in the box: not of folders within OData collections, which have
/// events of their own, and not of those that desktop systems added.
fn is_shown(tree: &Description, path: &str) -> bool {
    let segments: Vec<String> = path.split('/').map(str::to_owned).collect();
    let described = |length| tree.find(segments.get(..length).unwrap_or_default());
    let in_odata = (1..=segments.len()).any(|length| {
        described(length).is_some_and(|described| described.kind == ResourceKind::OData)
    });
    let is_system = segments.iter().any(|name| paths::is_system_file(name));
    !in_odata && (!is_system || described(segments.len()).is_some())
}

/// The target of an entry, according to the description. A script may lie directly in its service collection.
fn entry_target(tree: &Description, entry: &BarEntry) -> EntryTarget {
    let segments: Vec<String> = entry.path().split('/').skip(1).map(str::to_owned).collect();
    for length in 1..segments.len() {
        let (above, rest) = segments.split_at(length);
        let Some(described) = tree.find(above) else {
            continue;
        };
        match described.kind {
            ResourceKind::OData => {
                return EntryTarget::OData {
                    collection: described.path.clone(),
                    path: rest.to_vec(),
                };
            }
            ResourceKind::Service if rest.len() == 1 => {
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

/// Whether an entry is a file that a desktop system added, or is in a folder of such files.
fn is_system_file(entry: &BarEntry) -> bool {
    entry.path().split('/').any(paths::is_system_file)
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
