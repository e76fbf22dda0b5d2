//! The sources of a service.

use personium_model::Resource;
use personium_model::file;
use personium_model::locate::Target;
use personium_model::node::NodeKind;
use personium_types::name::is_dot_segment;
use personium_types::{Code, Error, Result};

/// The collection of the sources.
const SOURCES: &str = "__src";
/// The largest source in bytes.
const SOURCE_MAX_BYTES: u64 = 4 << 20;

/// The sources of one service.
pub(super) struct Sources(Resource);

impl Sources {
    /// Those of the service that a path leads to.
    pub(super) fn of(resource: &Resource, target: &Target) -> Self {
        let mut sources = resource.clone();
        let above = sources.segments.len().saturating_sub(target.rest.len());
        sources.segments.truncate(above);
        sources.segments.push(SOURCES.to_owned());
        Self(sources)
    }

    /// The text of a file, with U+FFFD for what is not UTF-8; `None` if there is none. Whoever may execute the service need not be
    /// allowed to read its sources.
    ///
    /// # Errors
    /// [`Code::BodyTooLarge`]; a failure of the store.
    pub(super) async fn read(&self, name: &str) -> Result<Option<String>> {
        if name.is_empty() || name.contains('/') || is_dot_segment(name) {
            return Ok(None);
        }
        let mut resource = self.0.clone();
        resource.segments.push(name.to_owned());
        let target = resource.locate().await?;
        if !target.exists() || target.node().value().kind != NodeKind::File {
            return Ok(None);
        }
        let mut content = file::open(&resource, &target).await?.content;
        if content.length() > SOURCE_MAX_BYTES {
            return Err(Error::new(Code::BodyTooLarge).with(SOURCE_MAX_BYTES.to_string()));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = content.chunk_at(bytes.len() as u64).await? {
            bytes.extend_from_slice(&chunk);
        }
        let text = String::from_utf8(bytes);
        Ok(Some(text.unwrap_or_else(|error| {
            String::from_utf8_lossy(error.as_bytes()).into_owned()
        })))
    }
}
