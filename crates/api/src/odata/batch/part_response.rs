//! The response to one part of a batch.

use std::borrow::Cow;

use bytes::Bytes;
use http::{StatusCode, header};
use personium_types::{Error, Result};

use crate::error_format::ErrorFormat;
use crate::response::Response;
use crate::{body, error};

/// The response to one part of a batch.
pub(super) struct PartResponse {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(Cow<'static, str>, String)>,
    pub(super) body: Option<Bytes>,
    /// The path of the entity that the part created.
    pub(super) entity: Option<String>,
}

impl PartResponse {
    fn new(status: StatusCode) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: None,
            entity: None,
        }
    }

    /// The response to a request that stands alone.
    ///
    /// # Errors
    /// [`Code::BodyTooLarge`](personium_types::Code::BodyTooLarge), or the failure of a body that is produced while it is read.
    pub(super) async fn of(response: Response, max_bytes: usize) -> Result<Self> {
        let (head, body) = response.into_parts();
        let bytes = body::read_all(body, max_bytes).await?;
        let headers = head.headers.iter().filter_map(|(name, value)| {
            let value = value.to_str().ok()?.to_owned();
            (name != header::CONTENT_LENGTH).then(|| (canonical(name.as_str()), value))
        });
        Ok(Self {
            headers: headers.collect(),
            body: (!bytes.is_empty()).then_some(bytes),
            ..Self::new(head.status)
        })
    }

    /// A JSON document.
    pub(super) fn json(status: StatusCode, body: String) -> Self {
        Self {
            body: Some(body.into()),
            ..Self::new(status)
        }
        .with_header("Content-Type", "application/json".to_owned())
        .with_version()
    }

    /// 204.
    pub(super) fn no_content() -> Self {
        Self::new(StatusCode::NO_CONTENT).with_version()
    }

    /// The refusal of the part.
    pub(super) fn refused(refusal: &Error, request_key: &str, format: ErrorFormat) -> Self {
        let body = error::formatted_body(refusal, request_key, format);
        Self {
            body: Some(body.into()),
            ..Self::new(error::status(refusal))
        }
        .with_header("Content-Type", format.media_type().to_owned())
    }

    /// Adds a header.
    pub(super) fn with_header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name.into(), value));
        self
    }

    /// Removes a header.
    pub(super) fn without_header(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self
    }

    fn with_version(self) -> Self {
        self.with_header("DataServiceVersion", "2.0".to_owned())
    }

    /// Adds the path of the entity that the part created.
    pub(super) fn with_entity(self, path: String) -> Self {
        Self {
            entity: Some(path),
            ..self
        }
    }
}

/// The usual form of the name of a header. Some clients compare names with it.
fn canonical(name: &str) -> Cow<'static, str> {
    match name {
        "dataserviceversion" => "DataServiceVersion".into(),
        "etag" => "ETag".into(),
        "content-type" => "Content-Type".into(),
        "location" => "Location".into(),
        _ => name.to_owned().into(),
    }
}
