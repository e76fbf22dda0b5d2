//! The folders of a unit: where its file tree, event logs and snapshots are.

use std::path::{Path, PathBuf};

use personium_archive::snapshot::Document;
use personium_model::cell::OWNER;
use personium_types::{Result, Secret};

use super::tree::subfolder;

/// The folder of the cells without an owner.
const NO_OWNER: &str = "anon";

/// The folders of a unit, and what their files are encrypted with.
#[derive(Debug, Clone)]
pub struct OriginalFiles {
    /// The file tree (`blobStore.root`).
    pub dav: PathBuf,
    /// The event logs (`event.log.current.dir`).
    pub event_logs: Option<PathBuf>,
    /// The snapshots (`cellSnapshot.root`).
    pub snapshots: Option<PathBuf>,
    /// The beginning of the names of indexes and folders (`es.unitPrefix`).
    pub prefix: String,
    /// The secret (`security.secret16`) of encrypted files.
    pub secret: Option<Secret<String>>,
}

/// The folders of a cell.
#[derive(Debug, Clone, Default)]
pub(crate) struct CellFolders {
    pub dav: Option<PathBuf>,
    pub event_log: Option<PathBuf>,
    pub snapshots: Option<PathBuf>,
}

impl OriginalFiles {
    /// Finds the folders of a cell. Its data bundle follows from its owner; if it is not there, all of them are looked through.
    ///
    /// # Errors
    /// [`Code::SnapshotEntry`](personium_types::Code::SnapshotEntry) if a folder is a link, or cannot be read.
    pub(crate) async fn of_cell(&self, document: &Document) -> Result<CellFolders> {
        let id = document.id.as_str();
        let hidden = document.source.hidden.as_ref();
        let owner = hidden.and_then(|hidden| hidden.get(OWNER)?.as_str());
        let bundle = owner.map_or_else(|| NO_OWNER.to_owned(), bundle);
        let mut folders = CellFolders {
            dav: subfolder(&self.dav, &[&format!("{}_{bundle}", self.prefix), id]).await?,
            ..CellFolders::default()
        };
        let mut found_bundle = bundle;
        if folders.dav.is_none()
            && let Some((bundle, path)) = self.search(id).await?
        {
            (folders.dav, found_bundle) = (Some(path), bundle);
        }
        if let (Some(root), Some(first), Some(second)) =
            (&self.event_logs, id.get(..2), id.get(2..4))
        {
            folders.event_log = subfolder(root, &[&found_bundle, first, second, id]).await?;
        }
        if let Some(root) = &self.snapshots {
            folders.snapshots = subfolder(root, &[id]).await?;
        }
        Ok(folders)
    }

    /// Looks for a cell in all data bundles.
    async fn search(&self, id: &str) -> Result<Option<(String, PathBuf)>> {
        let prefix = format!("{}_", self.prefix);
        let Ok(mut bundles) = tokio::fs::read_dir(&self.dav).await else {
            return Ok(None);
        };
        while let Ok(Some(entry)) = bundles.next_entry().await {
            let name = entry.file_name();
            let Some(bundle) = name.to_str().and_then(|name| name.strip_prefix(&prefix)) else {
                continue;
            };
            if let Some(path) =
                subfolder(Path::new(&self.dav), &[&format!("{prefix}{bundle}"), id]).await?
            {
                return Ok(Some((bundle.to_owned(), path)));
            }
        }
        Ok(None)
    }
}

/// The data bundle of an owner: what follows the last `#`, or the URL without its scheme.
fn bundle(owner: &str) -> String {
    let owner = owner.to_lowercase();
    let text = match owner.rsplit_once('#') {
        Some((_, fragment)) => fragment,
        None => owner
            .split_once("://")
            .map_or(owner.as_str(), |(_, rest)| rest)
            .trim_end_matches('/'),
    };
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '/' | ':' | '#' => out.push_str("__"),
            '.' => out.push('_'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_bundles_follow_from_owners() {
        for (owner, expected) in [
            (
                "http://localhost:9998/unitadmincell/#owner.one",
                "owner_one",
            ),
            ("personium-localunit:unitadmincell:/#Me", "me"),
            ("https://Example.com/a/", "example_com__a"),
        ] {
            assert_eq!(bundle(owner), expected);
        }
    }
}
