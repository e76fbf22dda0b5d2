//! A PROPFIND response that is produced in chunks while it is sent.

use std::sync::Arc;
use std::vec;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{StatusCode, header};
use personium_dav::multistatus::Multistatus;
use personium_model::listing::{Member, Members};
use personium_model::node::Node;
use personium_model::{Access, AnswerReservation, BoxInfo, CellContext, Unit};
use personium_types::{ETag, Result};

use super::printer::{Printer, Printing, Shown};
use crate::answer;
use crate::body::{self, BoxError, CHUNK_BYTES, SMALL_CHUNK_BYTES};
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
    /// How far members of members are listed; `None`: not at all.
    descent: Option<Descent>,
    /// The memory of what was read and is not written yet.
    memory: AnswerReservation,
}

/// A collection whose members are being listed.
struct Level {
    /// Its URL.
    href: String,
    members: Members,
    /// Members that were read and are not written yet.
    page: vec::IntoIter<Member>,
    /// The memory that they had when they were read.
    page_bytes: usize,
    /// The memory of what is kept of the collection itself.
    own_bytes: usize,
}

/// The part of a box that a request with infinite depth may list below the target, which it may read.
pub struct Descent {
    /// The unit.
    pub unit: Arc<Unit>,
    /// The cell.
    pub context: Arc<CellContext>,
    /// The box.
    pub target_box: Arc<BoxInfo>,
    /// The access of the request.
    pub access: Access,
}

impl Descent {
    /// The members of a collection, unless it has none, or requires another authentication of the application than the request has. Privileges
    /// are inherited, so that they need no look.
    fn below(&self, members: &Members, collection: &Node) -> Option<Members> {
        let (urls, cell) = (self.unit.urls(), self.context.cell());
        let is_readable = collection.acl.schema_level.is_none_or(|level| {
            let checked = self
                .access
                .check_application(urls, cell, &self.target_box, level);
            checked.is_ok()
        });
        is_readable.then(|| members.below(collection)).flatten()
    }
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
    /// A response with the target, its members if they are to be listed, and what is below them.
    ///
    /// # Errors
    /// [`Code::ServerBusy`](personium_types::Code::ServerBusy) if there is no memory for it.
    pub async fn start(
        printer: Printer,
        target: ListedTarget<'_>,
        (members, descent): (Option<Members>, Option<Descent>),
        mut memory: AnswerReservation,
    ) -> Result<Self> {
        let known = printer.lists.memory_bytes() + target.node.memory_bytes();
        memory.wait_to_hold(known).await?;
        let mut out = String::new();
        let document = Multistatus::start(&mut out);
        let ListedTarget { href, name, node } = target;
        let shown = Shown {
            name,
            leads_inherited: true,
        };
        let open = printer.begin(&mut out, &document, &href, node.clone(), shown);
        let level = members.map(|members| Level::new(href, members, 0));
        Ok(Self {
            printer,
            etag: node.etag(),
            document: Some(document),
            out,
            open: Some(open),
            levels: level.into_iter().collect(),
            descent,
            memory,
        })
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
        let mut response = response::with_body(StatusCode::MULTI_STATUS, body);
        answer::mark_counted(&mut response);
        Ok(response
            .with_header(header::CONTENT_TYPE, "application/xml")
            .with_header(header::ETAG, &etag.strong().to_string()))
    }

    /// The next chunk of the document. It exceeds [`CHUNK_BYTES`], or [`SMALL_CHUNK_BYTES`] if there is no memory for more, by
    /// at most one entry, or by the dead properties of one resource.
    async fn next_chunk(&mut self) -> Result<Bytes> {
        let mut memory = self.memory.share().reservation();
        self.write(SMALL_CHUNK_BYTES).await?;
        if self.document.is_some() && memory.hold(CHUNK_BYTES).is_ok() {
            self.write(CHUNK_BYTES).await?;
        }
        let mut chunk = std::mem::take(&mut self.out);
        chunk.shrink_to_fit();
        memory.keep(chunk.len());
        Ok(body::held(chunk.into(), memory))
    }

    /// Writes until there are this many bytes, or the document ends.
    async fn write(&mut self, bytes: usize) -> Result<()> {
        while self.out.len() < bytes
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
                    let descent = self.descent.as_ref();
                    let below = descent.and_then(|it| it.below(&level.members, &node));
                    let shown = Shown {
                        name: &name,
                        leads_inherited: below.is_some(),
                    };
                    if let Some(members) = below {
                        self.printer.inherited.enter(&href, &node);
                        let own_bytes = 2 * href.len() + node.acl.memory_bytes();
                        self.memory.hold_anyway(own_bytes);
                        self.levels
                            .push(Level::new(href.clone(), members, own_bytes));
                    }
                    let out = &mut self.out;
                    self.open = Some(self.printer.begin(out, document, &href, node, shown));
                } else if level.members.is_finished() {
                    let left = self.levels.pop();
                    self.memory.free(left.map_or(0, |level| level.held_bytes()));
                    self.printer.inherited.leave();
                } else {
                    level.read_page(&mut self.memory).await?;
                }
            } else if let Some(document) = self.document.take() {
                document.finish(&mut self.out);
            }
        }
        Ok(())
    }
}

impl Level {
    fn new(href: String, members: Members, own_bytes: usize) -> Self {
        Self {
            href,
            members,
            page: Vec::new().into_iter(),
            page_bytes: 0,
            own_bytes,
        }
    }

    fn held_bytes(&self) -> usize {
        self.page_bytes + self.own_bytes
    }

    /// Reads the next members. If there is no memory for them, they are dropped and read again when there is.
    async fn read_page(&mut self, memory: &mut AnswerReservation) -> Result<()> {
        memory.free(std::mem::take(&mut self.page_bytes));
        let before = self.members.clone();
        let mut page = self.members.next_page().await?;
        let bytes = memory_bytes(&page);
        if memory.hold(bytes).is_err() {
            drop(page);
            self.members = before;
            memory.wait_to_hold(bytes).await?;
            page = self.members.next_page().await?;
        }
        self.page_bytes = memory_bytes(&page);
        memory.correct(bytes, self.page_bytes);
        self.page = page.into_iter();
        Ok(())
    }
}

/// The memory of members, in bytes. One that is being written has its dead properties twice.
fn memory_bytes(members: &[Member]) -> usize {
    let members = members.iter();
    let members = members.map(|member| member.name.len() + 2 * member.node.memory_bytes());
    members.sum()
}
