//! Settings of a cell that its owner sets as properties of the cell.

use personium_dav::{PERSONIUM_NS, proppatch};
use personium_types::Result;
use personium_xml::{Element, XmlLimits};

use crate::CellContext;

/// A restriction of OAuth2 that a cell can switch on. Each is a property in the namespace of the server; the text `true`
/// switches it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OAuthPolicy {
    /// Authorization codes are issued only to clients that use PKCE (RFC 7636).
    RequiresPkce,
    /// The implicit grant is refused: no tokens in redirects (RFC 9700 section 2.1.2).
    RefusesImplicit,
    /// The password grant is refused (RFC 9700 section 2.4).
    RefusesPassword,
    /// Authorization responses name the cell that issues them (RFC 9207).
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

/// Whether a cell has switched on a policy.
///
/// # Errors
/// A failure of the store.
pub async fn policy_enabled(context: &CellContext, policy: OAuthPolicy) -> Result<bool> {
    let text = cell_property(context, policy.property()).await?;
    Ok(text.as_deref() == Some("true"))
}

/// The text of a property of the cell in the namespace of the server; `None` if it is not set.
///
/// # Errors
/// A failure of the store.
pub async fn cell_property(context: &CellContext, name: &str) -> Result<Option<String>> {
    let node = context.cell_node().await?;
    let key = proppatch::key(PERSONIUM_NS, name);
    Ok(node.value.properties.get(&key).and_then(|xml| {
        let element = Element::parse(xml.as_bytes(), &XmlLimits::REQUEST).ok()?;
        Some(element.text().trim().to_owned())
    }))
}
