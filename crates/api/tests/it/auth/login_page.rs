//! Custom login pages of cells.

use personium_testkit::{TestUnit, cell_url};

use super::authorize::{authorization_request, encode, get};
use super::unit_with_accounts;

/// Sets the URL of the login page of `c`.
pub(super) async fn set_form(unit: &TestUnit, url: &str) {
    let url = url.replace('&', "&amp;");
    let patch = format!(
        "<D:propertyupdate xmlns:D='DAV:' xmlns:p='urn:x-personium:xmlns'><D:set><D:prop>\
         <p:authorizationhtmlurl>{url}</p:authorizationhtmlurl></D:prop></D:set></D:propertyupdate>"
    );
    let response = unit
        .admin_request("PROPPATCH", "c")
        .body(&patch)
        .send()
        .await;
    assert_eq!(response.status, 207, "{}", response.text());
}

#[tokio::test]
async fn custom_login_page_pointing_to_itself_is_refused() {
    let unit = unit_with_accounts(|_| {}).await;
    let query = encode(&authorization_request("token"));
    for path in ["__authz", "%5F%5Fauthz", "%5f_authz/", "_%5Fa%75thz"] {
        for url in [
            format!("{}{path}?{query}", cell_url("c")),
            format!("personium-localcell:/{path}?{query}"),
        ] {
            set_form(&unit, &url).await;
            let response = get(&unit, &authorization_request("token")).await;
            assert_eq!(response.status, 200, "{url}");
            assert!(
                response.text().contains("<form"),
                "{url}: {}",
                response.text()
            );
        }
    }
}
