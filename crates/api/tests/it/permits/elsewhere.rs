//! What a cell answers besides control objects and boxes.

use personium_types::Operation as O;

use super::cases::{Case, case, case_on};

const GRANT_ALL: &str = "<D:acl xmlns:D='DAV:' xmlns:p='urn:x-personium:xmlns'><D:ace><D:principal><D:all/></D:principal>\
     <D:grant><D:privilege><p:sign/></D:privilege></D:grant></D:ace></D:acl>";

pub fn cases() -> Vec<Case> {
    let mut out = vec![
        case(O::ReadKeys, "GET", "c/__certs").gives(200, "\"RS256\""),
        case(
            O::ReadDiscovery,
            "GET",
            "c/.well-known/openid-configuration",
        )
        .gives(200, "http://unit.example/c/__token"),
        case(O::ReadErrorPage, "GET", "c/__html/error?code=PR400-AZ-0002")
            .gives(200, "<h1>Error</h1>"),
        case(O::AskCell, "OPTIONS", "c").gives(200, ""),
        case(O::ReadCellProperties, "PROPFIND", "c").gives(207, "cellstatus"),
        case(O::WriteCellAcl, "ACL", "c")
            .text(GRANT_ALL)
            .gives(200, "")
            .then("PROPFIND", "c", 207, "<p:sign/>"),
        case(O::ReadRolePages, "GET", "c/__role").gives(200, "b<br/>"),
        case(O::ReadRolePages, "GET", "c/__role/x").gives(200, "x"),
        case(O::ReadRolePages, "GET", "c/__role/x/y").gives(200, "xy"),
        case(O::AskIntrospect, "OPTIONS", "c/__introspect").gives(200, ""),
        case(O::Sign, "POST", "c/__sign").text("x").gives(200, "."),
        case_on(
            O::FindBox,
            "GET",
            "c/__box?schema=http://unit.example/appcell/",
            "c/app",
        )
        .gives(200, "http://unit.example/c/app/"),
    ];
    for endpoint in ["__token", "__authz", "__mypassword", "__certs", "__sign"] {
        out.push(case(O::AskEndpoint, "OPTIONS", &format!("c/{endpoint}")));
    }
    out
}
