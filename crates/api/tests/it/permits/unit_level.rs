//! What the unit answers, and what concerns a cell as a whole.

use personium_types::Operation as O;

use super::callers::OWNER;
use super::cases::{Case, case};
use crate::auth::cell_url;
use crate::harness::World;

const PATCH: &str = "<propertyupdate xmlns='DAV:'><set><prop><x xmlns='urn:x'>patched</x></prop></set></propertyupdate>";

/// The cell `owned` of a unit user, with an account that has every privilege in it.
pub async fn make(world: &World) {
    let ask = world
        .ask("POST", "__ctl/Cell")
        .with("x-personium-unit-user", OWNER);
    assert_eq!(ask.text(r#"{"Name":"owned"}"#).send().await.status, 201);
    world.make("owned/__ctl/Role", r#"{"Name":"all"}"#).await;
    world.account("owned", r#"{"Name":"all"}"#).await;
    world
        .link("owned", "Account('all')", "_Role", "Role('all')")
        .await;
    let ace = format!(
        "<D:ace><D:principal><D:href>{}__role/__/all</D:href></D:principal>\
         <D:grant><D:privilege><p:root/></D:privilege></D:grant></D:ace>",
        cell_url("owned")
    );
    world.set_acl("owned", &ace).await;
}

pub fn cases() -> Vec<Case> {
    let json = |c: Case| c.with("accept", "application/json");
    vec![
        case(O::ReadUnit, "GET", "").gives(200, "path_based_cellurl_enabled"),
        case(O::ReadUnit, "OPTIONS", "").gives(200, ""),
        case(O::ReadUnit, "GET", "crossdomain.xml").gives(200, "cross-domain-policy"),
        case(O::ReadStatus, "GET", "__status").gives(200, "\"a setting\":\"its value\""),
        case(O::ReadStatus, "OPTIONS", "__status").gives(200, ""),
        case(O::ReloadSettings, "POST", "__status").gives(204, ""),
        case(O::DescribeUnitControl, "GET", "__ctl").gives(200, "<atom:title>Cell</atom:title>"),
        case(O::DescribeUnitControl, "OPTIONS", "__ctl").gives(200, ""),
        case(O::DescribeUnitControl, "OPTIONS", "__ctl/$metadata").gives(200, ""),
        json(case(O::ReadCells, "GET", "__ctl/Cell")).gives(200, "\"owned\""),
        json(case(O::ReadCells, "GET", "__ctl/Cell('owned')")).gives(200, "\"owned\""),
        case(O::ReadCells, "OPTIONS", "__ctl/Cell").gives(200, ""),
        case(O::ReadCells, "OPTIONS", "__ctl/Cell('owned')").gives(200, ""),
        case(O::WriteCells, "POST", "__ctl/Cell")
            .text(r#"{"Name":"fresh"}"#)
            .gives(201, "\"fresh\"")
            .then("GET", "__ctl/Cell('fresh')", 200, "\"fresh\""),
        case(O::WriteCells, "PUT", "__ctl/Cell('owned')")
            .with("if-match", "*")
            .text(r#"{"Name":"renamed"}"#)
            .gives(204, "")
            .then("GET", "__ctl/Cell('renamed')", 200, "\"renamed\""),
        case(O::WriteCells, "MERGE", "__ctl/Cell('owned')")
            .with("if-match", "*")
            .text(r#"{"Name":"renamed"}"#)
            .gives(204, "")
            .then("GET", "__ctl/Cell('renamed')", 200, "\"renamed\""),
        case(O::WriteCells, "DELETE", "__ctl/Cell('owned')")
            .with("if-match", "*")
            .gives(409, "PR409-OD-0001"),
        case(O::ReadControlSchema, "GET", "__ctl/$metadata").gives(200, "UnitCtl"),
        case(O::ReadControlSchema, "GET", "c/__ctl/$metadata").gives(200, "CellCtl"),
        json(case(O::ReadCell, "GET", "c")).gives(200, "\"name\":\"c\""),
        case(O::WriteCellProperties, "PROPPATCH", "owned")
            .text(PATCH)
            .gives(207, "patched")
            .then("PROPFIND", "owned", 207, "patched"),
        case(O::RemoveCell, "DELETE", "owned")
            .with("x-personium-recursive", "true")
            .gives(204, "")
            .then("GET", "owned", 404, "PR404-DV-0003"),
    ]
}
