//! The descriptions of cells, boxes, collections and files in a snapshot.

use personium_archive::snapshot::NodeMeta;
use personium_model::node::{Node, NodeKind};
use personium_model::{Ace, Acl, Principal};
use serde_json::{Map, Value, json};

/// The description of a node.
pub(super) fn describe(node: &Node) -> NodeMeta {
    let file = node.file.as_ref();
    NodeMeta {
        id: node.id.to_string(),
        kind: kind_name(node.kind).to_owned(),
        created: node.created,
        updated: node.updated,
        version: node.version,
        acl: acl(&node.acl),
        properties: node.properties.clone(),
        media_type: file.map(|file| file.media_type.clone().unwrap_or_default()),
        length: file.map(|file| file.length),
        encryption: file.map(|_| "NONE".to_owned()),
        cell_status: (node.kind == NodeKind::Cell).then(|| "normal".to_owned()),
        content_encoding: file.and_then(|file| file.content_encoding.clone()),
        name: None,
    }
}

/// The kinds of nodes with their names in descriptions.
pub(crate) const KINDS: [(NodeKind, &str); 7] = [
    (NodeKind::Cell, "Cell"),
    (NodeKind::Box, "col.box"),
    (NodeKind::Collection, "col.webdav"),
    (NodeKind::Odata, "col.odata"),
    (NodeKind::Service, "col.svc"),
    (NodeKind::Stream, "col.stream"),
    (NodeKind::File, "dav.file"),
];

fn kind_name(kind: NodeKind) -> &'static str {
    let found = KINDS.iter().find(|(known, _)| *known == kind);
    found.map_or("", |(_, name)| name)
}

fn acl(acl: &Acl) -> Value {
    let mut out = Map::new();
    if let Some(level) = acl.schema_level {
        out.insert("@p.requireSchemaAuthz".to_owned(), level.as_str().into());
    }
    if !acl.aces.is_empty() {
        out.insert("D.ace".to_owned(), acl.aces.iter().map(ace).collect());
    }
    Value::Object(out)
}

fn ace(ace: &Ace) -> Value {
    let principal = match &ace.principal {
        Principal::All => json!({"D.all": ""}),
        Principal::Role(id) => json!({"D.href": id}),
    };
    let privileges = ace.grants.iter().map(|privilege| {
        let prefix = privilege.namespace().prefix();
        json!({format!("{prefix}.{}", privilege.local_name()): {}})
    });
    json!({
        "D.principal": principal,
        "D.grant": {"D.privilege": privileges.collect::<Vec<_>>()},
    })
}
