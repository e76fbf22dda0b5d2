//! The login page that a cell chooses.

use super::authorize::{asked, body, get};
use super::{cell_url, world};
use crate::harness::World;

/// Sets where the login page of `c` is.
async fn set_form(world: &World, url: &str) {
    let url = url.replace('&', "&amp;");
    let patch = format!(
        "<D:propertyupdate xmlns:D='DAV:' xmlns:p='urn:x-personium:xmlns'><D:set><D:prop>\
         <p:authorizationhtmlurl>{url}</p:authorizationhtmlurl></D:prop></D:set></D:propertyupdate>"
    );
    let reply = world.ask("PROPPATCH", "c").text(&patch).send().await;
    assert_eq!(reply.status, 207, "{}", reply.text());
}

#[tokio::test]
async fn a_login_page_does_not_lead_to_itself() {
    let world = world(|_| {}).await;
    let query = body(&asked("token"));
    for path in ["__authz", "%5F%5Fauthz", "%5f_authz/", "_%5Fa%75thz"] {
        for url in [
            format!("{}{path}?{query}", cell_url("c")),
            format!("personium-localcell:/{path}?{query}"),
        ] {
            set_form(&world, &url).await;
            let reply = get(&world, &asked("token")).await;
            assert_eq!(reply.status, 200, "{url}");
            assert!(reply.text().contains("<form"), "{url}: {}", reply.text());
        }
    }
}
