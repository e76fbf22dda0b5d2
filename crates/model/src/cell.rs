//! The catalogue of cells.

use personium_dav::PERSONIUM_NS;
use personium_dav::proppatch;
use personium_odata::value::Properties;
use personium_types::{CellId, NodeId, Result};
use personium_xml::{Element, XmlLimits};

use crate::CellContext;
use crate::entity::StoredEntity;

/// A cell as the catalogue knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// Stays the same when the cell is renamed.
    pub id: CellId,
    /// Its name in URLs.
    pub name: String,
    /// The subject of the unit user it belongs to, in unit-local form where it is of this unit.
    pub owner: Option<String>,
    /// When it was created, milliseconds since 1970.
    pub published: i64,
    /// Whether its last import failed: then only import, token and deletion work.
    pub import_failed: bool,
}

/// The hidden value of a cell entity that holds its owner.
pub const OWNER: &str = "Owner";
/// The hidden value of a cell entity that says that its import failed.
pub const IMPORT_FAILED: &str = "ImportFailed";

impl Cell {
    /// Reads the catalogue entry; `None` if the id or document is not that of a cell.
    #[must_use]
    pub fn from_entity(id: &str, entity: &StoredEntity, properties: &Properties) -> Option<Self> {
        Some(Self {
            id: id.parse().ok()?,
            name: properties.text("Name")?.to_owned(),
            owner: entity.hidden.get(OWNER).cloned(),
            published: entity.published,
            import_failed: entity.hidden.contains_key(IMPORT_FAILED),
        })
    }

    /// The id of the main box and of the cell's own node.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        NodeId::from_bytes(*self.id.as_bytes())
    }
}

/// What a cell can insist on. Each is a property in the server's own namespace, and holds when its text is `true`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OAuthPolicy {
    /// Codes only for applications that prove that they asked for them (RFC 7636).
    RequiresPkce,
    /// No tokens in redirects: no implicit grant (RFC 9700 section 2.1.2).
    RefusesImplicit,
    /// No tokens for a password that was given to an application: no password grant (RFC 9700 section 2.4).
    RefusesPassword,
    /// Answers in redirects that name the cell they come from, so that none passes for another's (RFC 9207).
    NamesIssuer,
}

impl OAuthPolicy {
    /// The name of the property.
    #[must_use]
    pub const fn property(self) -> &'static str {
        match self {
            Self::RequiresPkce => "authorizationrequirespkce",
            Self::RefusesImplicit => "authorizationrefusesimplicit",
            Self::RefusesPassword => "tokenrefusespassword",
            Self::NamesIssuer => "authorizationnamesissuer",
        }
    }
}

/// Whether a cell policy_enabled on something.
pub async fn policy_enabled(context: &CellContext, on: OAuthPolicy) -> Result<bool> {
    Ok(cell_property(context, on.property()).await?.as_deref() == Some("true"))
}

/// The text of a property of the cell in the server's own namespace; `None` if it is not set.
pub async fn cell_property(context: &CellContext, name: &str) -> Result<Option<String>> {
    let node = context.cell_node().await?;
    let key = proppatch::key(PERSONIUM_NS, name);
    Ok(node.value.properties.get(&key).and_then(|xml| {
        let element = Element::parse(xml.as_bytes(), &XmlLimits::REQUEST).ok()?;
        Some(element.text().trim().to_owned())
    }))
}
