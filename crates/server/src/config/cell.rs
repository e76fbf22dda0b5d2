//! Pages of cells that have none of their own.

use super::rule::{Maybe, WebAddress};
use super::section::section;

section! {
    /// Pages of cells that have none of their own.
    CellPages "Pages of cells" {
        /// The page that a browser gets at the root of a cell.
        relay: Option<String> = "cell.relayhtmlurl.default", "", Maybe(WebAddress);
        /// The login form of the authorization endpoint.
        authorization: Option<String> = "cell.authorizationhtmlurl.default", "", Maybe(WebAddress);
        /// The form for changing a password that must be changed.
        password_change: Option<String> = "cell.authorizationpasswordchangehtmlurl.default", "", Maybe(WebAddress);
    }
}
