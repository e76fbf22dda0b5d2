//! A PROPFIND response that is produced in chunks while it is sent.

use std::vec;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{StatusCode, header};
use personium_dav::multistatus::Multistatus;
use personium_model::listing::{Member, Members};
use personium_model::node::Node;
use personium_types::{ETag, Result};

use super::printer::{Printer, Printing, Shown};
use crate::body::{self, BoxError, CHUNK_BYTES};
use crate::hrefs::member_url;
use crate::response::{self, Response, WithHeader};

/// A response that is being produced.
pub struct Listing {
    printer: Printer,
    href: String,
    etag: ETag,
    /// The document; `None` after its end.
    document: Option<Multistatus>,
    /// The text that was written but not sent.
    out: String,
    /// The resource that is being written.
    open: Option<Printing>,
    /// Members that were read and are not written yet.
    page: vec::IntoIter<Member>,
    members: Option<Members>,
}

impl Listing {
    /// A response with the target, which has this URL, and its members if there are any to list.
    pub fn start(printer: Printer, href: String, node: &Node, members: Option<Members>) -> Self {
        let mut out = String::new();
        let document = Multistatus::start(&mut out);
        let open = printer.begin(&mut out, &document, &href, node.clone(), Shown::Target);
        Self {
            printer,
            href,
            etag: node.etag(),
            document: Some(document),
            out,
            open: Some(open),
            page: Vec::new().into_iter(),
            members,
        }
    }

    /// The response. If it fits into one chunk, it has a length and no stream.
    ///
    /// # Errors
    /// The error of the store for the first chunk. A later one ends the connection.
    pub async fn into_response(mut self) -> Result<Response> {
        let etag = self.etag;
        let first = self.next_chunk().await?;
        let body = if self.document.is_none() {
            body::full(first)
        } else {
            let first = stream::once(async { Ok::<_, BoxError>(first) });
            let rest = stream::try_unfold(self, |mut listing| async {
                if listing.document.is_none() {
                    return Ok::<_, BoxError>(None);
                }
                let chunk = listing.next_chunk().await?;
                Ok(Some((chunk, listing)))
            });
            body::of_stream(first.chain(rest))
        };
        Ok(response::with_body(StatusCode::MULTI_STATUS, body)
            .with_header(header::CONTENT_TYPE, "application/xml")
            .with_header(header::ETAG, &etag.strong().to_string()))
    }

    /// The next chunk of the document. It exceeds [`CHUNK_BYTES`] by at most one entry, or by the dead properties of one
    /// resource.
    async fn next_chunk(&mut self) -> Result<Bytes> {
        while self.out.len() < CHUNK_BYTES
            && let Some(document) = &self.document
        {
            if let Some(mut open) = self.open.take() {
                if self.printer.entry(&mut self.out, &mut open) {
                    self.open = Some(open);
                } else {
                    open.finish(&mut self.out);
                }
            } else if let Some(member) = self.page.next() {
                let href = member_url(&self.href, &member.name);
                let (out, node) = (&mut self.out, member.node);
                let open = self
                    .printer
                    .begin(out, document, &href, node, Shown::Member);
                self.open = Some(open);
            } else if let Some(members) = self.members.as_mut().filter(|m| !m.is_finished()) {
                self.page = members.next_page().await?.into_iter();
            } else if let Some(document) = self.document.take() {
                document.finish(&mut self.out);
            }
        }
        Ok(Bytes::from(std::mem::take(&mut self.out)))
    }
}
