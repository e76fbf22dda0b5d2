//! Settings of the default pages of cells.

use super::section::section;
use super::value_parser::{Optional, Url};

section! {
    /// The pages of cells that configure none of their own.
    CellPageConfig "Pages of cells" {
        /// The URL of the page that a browser gets at the root of a cell.
        home_url: Option<String> = "cell.relayhtmlurl.default", "", Optional(Url);
        /// The URL of the login form of the authorization endpoint.
        login_url: Option<String> = "cell.authorizationhtmlurl.default", "", Optional(Url);
        /// The URL of the form for an account whose password must be changed.
        password_change_url: Option<String> = "cell.authorizationpasswordchangehtmlurl.default", "", Optional(Url);
    }
}
