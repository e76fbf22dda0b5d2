//! The unfinished multipart uploads of a bucket.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use jiff::Timestamp;
use object_store::client::{HttpClient, HttpRequestBody};
use object_store::path::Path;
use object_store::signer::{SignedUrlOptions, Signer};
use personium_store::{ErrorDetail, Result, StoreError};
use quick_xml::Reader;
use quick_xml::events::Event;

use crate::failure;

/// The time for which the URL of a request is valid.
const URL_VALIDITY: Duration = Duration::from_secs(300);

/// The message of errors.
const FAILED: &str = "failed to list unfinished uploads";

/// An upload that is not finished.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct UnfinishedUpload {
    pub(crate) name: String,
    pub(crate) upload: String,
    /// When it was begun, in milliseconds since 1970; `None` if the server does not say.
    pub(crate) begun_ms: Option<i64>,
}

/// Lists the first 1000 unfinished uploads of objects whose names begin with `prefix` and a slash.
///
/// # Errors
/// [`StoreError::Down`] also if the server does not support the request.
pub(crate) async fn list(
    signer: &dyn Signer,
    client: &HttpClient,
    prefix: &Path,
) -> Result<Vec<UnfinishedUpload>> {
    let mut begins = prefix.to_string();
    if !begins.is_empty() {
        begins.push('/');
    }
    let query = SignedUrlOptions::new().with_query([("uploads", ""), ("prefix", &begins)]);
    let bucket = Path::default();
    let signed = signer.signed_url_opts(Method::GET, &bucket, URL_VALIDITY, &query);
    let url = failure::run_existing(FAILED, signed).await?;
    let failed =
        |source: String| StoreError::Down(ErrorDetail::new(FAILED).with_source(Text(source)));
    let request = Request::get(url.as_str()).body(HttpRequestBody::empty());
    let request = request.map_err(|error| failed(error.to_string()))?;
    let response = client.execute(request).await;
    let response = response.map_err(|error| failed(error.to_string()))?;
    if !response.status().is_success() {
        return Err(failed(format!("status {}", response.status())));
    }
    let body: Bytes = response
        .into_body()
        .bytes()
        .await
        .map_err(|error| failed(error.to_string()))?;
    parse(&body).map_err(|error| failed(error.to_string()))
}

/// A cause as text.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Text(String);

fn parse(body: &[u8]) -> Result<Vec<UnfinishedUpload>, quick_xml::Error> {
    let text = String::from_utf8_lossy(body);
    let mut reader = Reader::from_str(&text);
    let (mut found, mut upload) = (Vec::new(), None);
    let mut element = String::new();
    loop {
        match reader.read_event()? {
            Event::Start(start) => {
                start.local_name().as_ref().clone_into(&mut element);
                if element == "Upload" {
                    upload = Some(UnfinishedUpload::default());
                }
            }
            Event::Text(text) => {
                let text: &str = &text;
                if let Some(upload) = &mut upload {
                    match element.as_str() {
                        "Key" => upload.name.push_str(text),
                        "UploadId" => upload.upload.push_str(text),
                        "Initiated" => {
                            let time = text.parse::<Timestamp>().ok();
                            upload.begun_ms = time.map(Timestamp::as_millisecond);
                        }
                        _ => {}
                    }
                }
            }
            Event::End(end) => {
                if end.local_name().as_ref() == "Upload" {
                    found.extend(upload.take());
                }
                element.clear();
            }
            Event::Eof => return Ok(found),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uploads_are_read_from_the_response_of_a_server() {
        let body = b"<?xml version=\"1.0\"?><ListMultipartUploadsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
            <Bucket>b</Bucket><Upload><Key>p/unit/ab/abcd</Key><UploadId>u-1</UploadId><Initiator><ID>x</ID></Initiator>\
            <Initiated>2010-11-10T20:48:33.000Z</Initiated></Upload>\
            <Upload><Key>k</Key><UploadId>u-2</UploadId></Upload></ListMultipartUploadsResult>";
        let first = UnfinishedUpload {
            name: "p/unit/ab/abcd".to_owned(),
            upload: "u-1".to_owned(),
            begun_ms: Some(1_289_422_113_000),
        };
        let second = UnfinishedUpload {
            name: "k".to_owned(),
            upload: "u-2".to_owned(),
            begun_ms: None,
        };
        assert_eq!(parse(body).unwrap(), [first, second]);
        assert!(parse(b"<a></b>").is_err());
        assert!(parse(b"not found").unwrap().is_empty());
    }
}
