//! Everything in a cell in open formats, for the person whose cell it is: the files as they are, all else as JSON Lines, and a page
//! that leads to them.
//!
//! | Entry | Content |
//! |---|---|
//! | `index.html` | the page |
//! | `files/{box}/...` | the files of boxes |
//! | `data/{box}/{collection}/{type}.jsonl` | the entities of OData collections, one a line; `_links.jsonl` has the links between them |
//! | `objects/{set}.jsonl` | accounts, roles, messages and other control objects; `_links.jsonl` has the links between them |
//! | `descriptions.jsonl` | types, times, properties and access control of boxes, collections and files |
//! | `log/...` | the event log |
//!
//! Hashes of passwords, keys and tokens are not in it.

use std::collections::BTreeMap;
use std::fmt::Write;

use personium_model::auth::login_history;
use personium_model::entity::{EntityPages, StoredEntity};
use personium_model::event::log::EventLog;
use personium_model::keys::{self, ControlSet, SetKey};
use personium_model::listing::{Member, Members};
use personium_model::node::{Node, NodeKind};
use personium_model::odata::CollectionReader;
use personium_model::records::Records;
use personium_odata::control;
use personium_types::time::iso_time;
use personium_types::{Error, NodeId, Result};
use personium_xml::escape_text_and_quotes;
use serde_json::{Map, Value, json};

use super::lines::Lines;
use super::stored_names::plain_members;
use super::{CellExport, meta};
use crate::export::{MemberPages, open_current};

/// The number of links that are read at once.
const PAGE_LINKS: usize = 1_000;

/// A file that the page leads to.
struct ListedEntry {
    path: String,
    /// The number of lines, or of bytes.
    size: String,
}

/// An OData collection with its path below the boxes.
struct PlacedCollection {
    path: String,
    id: NodeId,
}

/// The content that was written so far.
#[derive(Default)]
struct OpenData {
    collections: Vec<PlacedCollection>,
    /// By the folder, the entries that the page leads to.
    listed: BTreeMap<&'static str, Vec<ListedEntry>>,
    files: u64,
    file_bytes: u64,
}

/// A collection whose members are being written.
struct OpenLevel {
    path: String,
    node: Node,
    members: MemberPages,
}

impl CellExport<'_> {
    /// Writes everything.
    pub(super) async fn write_open_data(&mut self) -> Result<()> {
        let mut open = OpenData::default();
        let mut descriptions = self.lines();
        let cell = self.context.cell_node().await?;
        push_description(&mut descriptions, "", &cell.value).await?;
        let boxes = self.context.boxes().await?;
        let main_box = self.context.main_box();
        for info in boxes.iter().chain([&main_box]) {
            let root = self.context.box_node(info).await?;
            push_description(&mut descriptions, &info.name, &root.value).await?;
            let root = (info.name.clone(), root.value.clone());
            self.write_open_box(&mut open, &mut descriptions, root)
                .await?;
        }
        self.add_lines(&mut open, "descriptions.jsonl", descriptions)
            .await?;
        self.end_step().await;
        for (kind, _) in personium_archive::snapshot::DOCUMENTS {
            let set = ControlSet::named(kind).filter(|set| !super::is_of_schema(*set));
            if let Some(set) = set {
                self.write_open_set(&mut open, set).await?;
            }
            self.end_step().await;
        }
        self.write_open_links(&mut open).await?;
        for place in std::mem::take(&mut open.collections) {
            self.write_open_collection(&mut open, &place).await?;
        }
        self.write_open_logs(&mut open).await?;
        let page = self.page(&open);
        self.out.file("index.html", page.into()).await
    }

    fn lines(&self) -> Lines {
        Lines::new(self.unit().settings().archives.temp_dir.clone())
    }

    /// Adds a file of lines to the archive and to the page, unless it is empty.
    async fn add_lines(&mut self, open: &mut OpenData, path: &str, lines: Lines) -> Result<()> {
        let count = lines.count();
        if count == 0 {
            return Ok(());
        }
        match lines.finish().await? {
            (text, None) => self.out.file(path, text.into()).await?,
            (_, Some(file)) => {
                self.out.start_file(path, file.length()).await?;
                self.out.copy(Box::new(file), &mut self.memory).await?;
            }
        }
        self.list(open, path, format!("{count}")).await
    }

    /// Adds an entry to the page.
    async fn list(&mut self, open: &mut OpenData, path: &str, size: String) -> Result<()> {
        let folder = match path.split('/').next() {
            Some("files") => "files",
            Some("data") => "data",
            Some("objects") => "objects",
            Some("log") => "log",
            _ => "",
        };
        // The page needs the paths in memory.
        self.memory.wait_to_hold(4 * path.len() + 128).await?;
        let path = path.to_owned();
        let listed = open.listed.entry(folder).or_default();
        listed.push(ListedEntry { path, size });
        Ok(())
    }

    async fn write_open_box(
        &mut self,
        open: &mut OpenData,
        descriptions: &mut Lines,
        (name, root): (String, Node),
    ) -> Result<()> {
        let mut levels = vec![self.open_level(name, root)];
        while let Some(level) = levels.last_mut() {
            let Some(Member { name, node }) = level.members.next(&mut self.memory).await? else {
                levels.pop();
                continue;
            };
            let parent = level.node.clone();
            let path = format!("{}/{name}", level.path);
            let node = match node.kind {
                NodeKind::File => {
                    let key = keys::node(&parent.id, &name);
                    let opened = (&key, node);
                    let opened = open_current(self.unit(), &self.records, opened, |_| Ok(()));
                    let Some((node, body, content)) = opened.await? else {
                        continue;
                    };
                    let entry = format!("files/{path}");
                    self.out
                        .body(&entry, (&body, content), &mut self.memory)
                        .await?;
                    open.files += 1;
                    open.file_bytes += body.length;
                    let size = format!("{} bytes", body.length);
                    self.list(open, &entry, size).await?;
                    node
                }
                _ => node,
            };
            push_description(descriptions, &path, &node).await?;
            match node.kind {
                NodeKind::Odata => open
                    .collections
                    .push(PlacedCollection { path, id: node.id }),
                NodeKind::Collection | NodeKind::Service => {
                    levels.push(self.open_level(path, node));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn open_level(&self, path: String, node: Node) -> OpenLevel {
        OpenLevel {
            path,
            members: MemberPages::new(Members::of_collection(self.records.clone(), &node.id)),
            node,
        }
    }

    async fn write_open_set(&mut self, open: &mut OpenData, set: ControlSet) -> Result<()> {
        let mut lines = self.lines();
        let mut pages = EntityPages::of(&self.records, &SetKey::control(set));
        loop {
            let page = pages.next_page().await?;
            if page.is_empty() {
                break;
            }
            for (id, stored) in page {
                let mut line = described(&stored);
                if set == ControlSet::Account {
                    let history = login_history::find(&self.records, &id).await?;
                    let last = history.last_authenticated.map(iso_time);
                    line.insert("_LastLogin".to_owned(), json!(last));
                }
                line.insert("_id".to_owned(), json!(id));
                line.insert("_links".to_owned(), json!(stored.links));
                lines.push_value(&Value::from(line)).await?;
            }
        }
        let path = format!("objects/{}.jsonl", set.name());
        self.add_lines(open, &path, lines).await
    }

    /// Writes the links between control objects of which both may have many.
    async fn write_open_links(&mut self, open: &mut OpenData) -> Result<()> {
        let mut lines = self.lines();
        for association in control::cell().associations() {
            let (a, b) = (&association.a, &association.b);
            let sets = (
                ControlSet::named(&a.entity_type),
                ControlSet::named(&b.entity_type),
            );
            let (Some(one), Some(other)) = sets else {
                continue;
            };
            if !a.multiplicity.is_many() || !b.multiplicity.is_many() {
                continue;
            }
            push_links(&self.records, &mut lines, one, other).await?;
        }
        self.add_lines(open, "objects/_links.jsonl", lines).await
    }

    async fn write_open_collection(
        &mut self,
        open: &mut OpenData,
        place: &PlacedCollection,
    ) -> Result<()> {
        let reader = CollectionReader::open(&self.records, place.id).await?;
        let mut links = self.lines();
        for entity_type in reader.edm().entity_types() {
            let Some(mut pages) = reader.entities(entity_type) else {
                continue;
            };
            let mut lines = self.lines();
            loop {
                let page = pages.next_page().await?;
                if page.is_empty() {
                    break;
                }
                for entity in page {
                    let line = plain_members(&entity.properties);
                    lines.push_value(&Value::from(line)).await?;
                }
            }
            let path = format!("data/{}/{}.jsonl", place.path, entity_type.name);
            self.add_lines(open, &path, lines).await?;
            let Some(mut pages) = reader.links(entity_type) else {
                continue;
            };
            while let Some(page) = pages.next_page().await? {
                for link in page {
                    let line = json!({
                        "from": {"type": &*entity_type.name, "id": link.source},
                        "to": {"type": link.target_type, "id": link.target},
                    });
                    links.push_value(&line).await?;
                }
            }
        }
        let path = format!("data/{}/_links.jsonl", place.path);
        self.add_lines(open, &path, links).await
    }

    async fn write_open_logs(&mut self, open: &mut OpenData) -> Result<()> {
        let log = EventLog::open(&self.context).await?;
        let mut files = log.list_archives().await?;
        files.extend(log.find_current().await?);
        for file in files {
            let text = log.read(&file).await?;
            let path = format!("log/{}", file.name);
            let size = format!("{} bytes", text.len());
            self.out.file(&path, text).await?;
            self.list(open, &path, size).await?;
        }
        Ok(())
    }

    /// The page that leads to all entries.
    fn page(&self, open: &OpenData) -> String {
        let cell = self.context.cell();
        let url = self.unit().urls().cell(&cell.name);
        let mut out = String::from(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<title>Data of a cell</title>\n\
             <style>body{font-family:sans-serif;max-width:60em;margin:2em auto;padding:0 1em}\
             td{padding:.1em 1em .1em 0}td+td{text-align:right}</style></head><body>\n<h1>",
        );
        escape_text_and_quotes(&mut out, &cell.name);
        out.push_str("</h1>\n<p>All data of the cell ");
        escape_text_and_quotes(&mut out, &url);
        let _ = writeln!(
            out,
            ", as of {}. The cell was created at {}. It has {} files with {} bytes.</p>",
            iso_time(self.unit().now_ms()),
            iso_time(cell.published),
            open.files,
            open.file_bytes
        );
        out.push_str(
            "<p>Files are as they were stored. All else is in files whose lines are one JSON object each \
             (JSON Lines). Times that are numbers are milliseconds since 1970.</p>\n",
        );
        for (folder, title) in [
            (
                "objects",
                "Accounts, roles, messages and other objects: lines",
            ),
            ("data", "Data of applications: lines"),
            ("files", "Files"),
            ("log", "Event log"),
            ("", "Properties and access control: lines"),
        ] {
            let Some(listed) = open.listed.get(folder) else {
                continue;
            };
            let _ = writeln!(out, "<h2>{title}</h2>\n<table>");
            for entry in listed {
                out.push_str("<tr><td><a href=\"");
                escape_text_and_quotes(&mut out, &relative_url(&entry.path));
                out.push_str("\">");
                escape_text_and_quotes(&mut out, &entry.path);
                let _ = writeln!(out, "</a></td><td>{}</td></tr>", entry.size);
            }
            out.push_str("</table>\n");
        }
        out + "</body></html>\n"
    }
}

/// The properties of an object, without what clients never see.
fn described(stored: &StoredEntity) -> Map<String, Value> {
    let mut out = plain_members(&stored.doc);
    out.insert("__published".to_owned(), json!(iso_time(stored.published)));
    out.insert("__updated".to_owned(), json!(iso_time(stored.updated)));
    out
}

async fn push_description(lines: &mut Lines, path: &str, node: &Node) -> Result<()> {
    let mut line = match serde_json::to_value(meta::describe(node)).map_err(Error::internal)? {
        Value::Object(line) => line,
        _ => Map::new(),
    };
    line.insert("path".to_owned(), json!(path));
    lines.push_value(&Value::from(line)).await
}

async fn push_links(
    records: &Records,
    lines: &mut Lines,
    one: ControlSet,
    other: ControlSet,
) -> Result<()> {
    let (set, other_set) = (SetKey::control(one), SetKey::control(other));
    let mut range = keys::links_of_set(&set);
    loop {
        let found = records.list_records(&range, PAGE_LINKS).await?;
        let Some((last, _)) = found.last() else {
            return Ok(());
        };
        range = range.after(last);
        for (key, _) in &found {
            match keys::parts_of_link(key, &set) {
                Some((id, target, target_id)) if target == other_set.as_bytes() => {
                    let line = json!({
                        "from": {"type": one.name(), "_id": id},
                        "to": {"type": other.name(), "_id": target_id},
                    });
                    lines.push_value(&line).await?;
                }
                _ => {}
            }
        }
    }
}

/// A path as a relative URL.
fn relative_url(path: &str) -> String {
    let segments = path.split('/').map(personium_model::url::encode_segment);
    segments.collect::<Vec<_>>().join("/")
}
