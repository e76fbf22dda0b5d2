//! A PROPFIND response that is produced in chunks while it is sent.

use std::vec;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{StatusCode, header};
use personium_dav::headers::Depth;
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
    etag: ETag,
    /// The document; `None` after its end.
    document: Option<Multistatus>,
    /// The text that was written but not sent.
    out: String,
    /// The resource that is being written.
    open: Option<Printing>,
    /// The collections whose members are being listed, the deepest last.
    levels: Vec<Level>,
    /// Whether the members of members are listed too.
    is_recursive: bool,
}

/// A collection whose members are being listed.
struct Level {
    /// Its URL.
    href: String,
    members: Members,
    /// Members that were read and are not written yet.
    page: vec::IntoIter<Member>,
}

/// The target of a request.
pub struct ListedTarget<'n> {
    /// Its URL.
    pub href: String,
    /// The name that is shown to people.
    pub name: &'n str,
    /// Its node.
    pub node: &'n Node,
}

impl Listing {
    /// A response with the target, and its members if there are any to list.
    pub fn start(
        printer: Printer,
        target: ListedTarget<'_>,
        members: Option<Members>,
        depth: Depth,
    ) -> Self {
        let mut out = String::new();
        let document = Multistatus::start(&mut out);
        let ListedTarget { href, name, node } = target;
        let shown = Shown {
            name,
            leads_inherited: true,
        };
        let open = printer.begin(&mut out, &document, &href, node.clone(), shown);
        let level = members.map(|members| Level::new(href, members));
        Self {
            printer,
            etag: node.etag(),
            document: Some(document),
            out,
            open: Some(open),
            levels: level.into_iter().collect(),
            is_recursive: depth == Depth::Infinity,
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
            } else if let Some(level) = self.levels.last_mut() {
                if let Some(Member { name, node }) = level.page.next() {
                    let href = member_url(&level.href, &name);
                    let below = match self.is_recursive {
                        true => level.members.below(&node),
                        false => None,
                    };
                    let shown = Shown {
                        name: &name,
                        leads_inherited: below.is_some(),
                    };
                    if let Some(members) = below {
                        self.printer.inherited.enter(&href, &node);
                        self.levels.push(Level::new(href.clone(), members));
                    }
                    let out = &mut self.out;
                    self.open = Some(self.printer.begin(out, document, &href, node, shown));
                } else if level.members.is_finished() {
                    self.levels.pop();
                    self.printer.inherited.leave();
                } else {
                    level.page = level.members.next_page().await?.into_iter();
                }
            } else if let Some(document) = self.document.take() {
                document.finish(&mut self.out);
            }
        }
        Ok(Bytes::from(std::mem::take(&mut self.out)))
    }
}

impl Level {
    fn new(href: String, members: Members) -> Self {
        Self {
            href,
            members,
            page: Vec::new().into_iter(),
        }
    }
}
