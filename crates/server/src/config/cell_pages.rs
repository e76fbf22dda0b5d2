//! Settings of the default pages of cells.

use personium_model::settings::{ContentSandbox, SameSite};

use super::section::section;
use super::value_parser::{OneOf, Optional, Url};

section! {
    /// The pages of cells that configure none of their own.
    CellPageConfig "Pages of cells" {
        /// The URL of the page that a browser gets at the root of a cell.
        home_url: Option<String> = "cell.relayhtmlurl.default", "", Optional(Url);
        /// The URL of the login form of the authorization endpoint.
        login_url: Option<String> = "cell.authorizationhtmlurl.default", "", Optional(Url);
        /// The URL of the form for an account whose password must be changed.
        password_change_url: Option<String> = "cell.authorizationpasswordchangehtmlurl.default", "", Optional(Url);
        /// Whether browsers keep stored files and pages that cells choose apart from the origin that serves them. Where the
        /// URL of a cell is a path of the unit, all cells have one origin, and a page of one cell could act in others; a page
        /// that is kept apart sends requests with tokens, but has no cookies and no storage in the browser. With pathBased,
        /// this is so where cell URLs are paths; with never, trust the authors of all cells.
        sandbox: ContentSandbox = "security.content.sandbox", "pathBased", OneOf(&[
            ("pathBased", ContentSandbox::PathBased),
            ("always", ContentSandbox::Always),
            ("never", ContentSandbox::Never),
        ]);
        /// The attribute SameSite of the cookie of a cell: the sites from whose pages browsers send it. With None, pages of
        /// all sites can send it, over https only.
        cookie_same_site: SameSite = "security.cookie.sameSite", "Lax", OneOf(&[
            ("Lax", SameSite::Lax),
            ("Strict", SameSite::Strict),
            ("None", SameSite::None),
        ]);
    }
}
