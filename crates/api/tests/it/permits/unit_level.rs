//! Operations on the unit, and on cells as a whole.

use personium_testkit::{TestUnit, cell_url};
use personium_types::Operation as O;

use super::callers::OWNER;
use super::cases::{Case, case};

const PATCH: &str = "<propertyupdate xmlns='DAV:'><set><prop><x xmlns='urn:x'>patched</x></prop></set></propertyupdate>";

/// The cell `owned` of a unit user, with an account that has every privilege in it.
pub async fn make(unit: &TestUnit) {
    let request = unit
        .admin_request("POST", "__ctl/Cell")
        .header("x-personium-unit-user", OWNER);
    assert_eq!(request.body(r#"{"Name":"owned"}"#).send().await.status, 201);
    unit.create("owned/__ctl/Role", r#"{"Name":"all"}"#).await;
    unit.create_account("owned", r#"{"Name":"all"}"#).await;
    unit.link("owned", "Account('all')", "_Role", "Role('all')")
        .await;
    let ace = format!(
        "<D:ace><D:principal><D:href>{}__role/__/all</D:href></D:principal>\
         <D:grant><D:privilege><p:root/></D:privilege></D:grant></D:ace>",
        cell_url("owned")
    );
    unit.set_acl("owned", &ace).await;
}

pub fn cases() -> Vec<Case> {
    let json = |c: Case| c.header("accept", "application/json");
    vec![
        case(O::ReadUnit, "GET", "").expect(200, "path_based_cellurl_enabled"),
        case(O::ReadUnit, "OPTIONS", "").expect(200, ""),
        case(O::ReadUnit, "PROPFIND", "").expect(207, "<collection/>"),
        case(O::ReadUnit, "GET", "crossdomain.xml").expect(200, "cross-domain-policy"),
        case(O::ReadStatus, "GET", "__status").expect(200, "\"a setting\":\"its value\""),
        case(O::ReadStatus, "OPTIONS", "__status").expect(200, ""),
        case(O::ReloadSettings, "POST", "__status").expect(204, ""),
        case(O::ReadQuotas, "GET", "__quota").expect(200, "\"unitUsers\":{}"),
        case(O::ReadQuotas, "GET", "__quota?cell=c").expect(200, "\"usedBytes\":"),
        case(O::ReadQuotas, "OPTIONS", "__quota").expect(200, ""),
        case(O::WriteQuotas, "POST", "__quota")
            .body_text(r#"{"cell":"owned","quota":123456789}"#)
            .expect(204, "")
            .then("GET", "__quota", 200, "\"owned\":123456789"),
        case(O::ReadMaintenance, "GET", "__maintenance").expect(200, "\"unitUsers\":{}"),
        case(O::ReadMaintenance, "OPTIONS", "__maintenance").expect(200, ""),
        case(O::WriteMaintenance, "PUT", "__maintenance")
            .body_text(r#"{"mode":"readOnly","unitUser":"http://unit.example/d/#me"}"#)
            .expect(204, "")
            .then("GET", "__maintenance", 200, "/d/#me\":\"readOnly\""),
        case(O::WriteMaintenance, "DELETE", "__maintenance").expect(204, ""),
        case(O::DescribeUnitControl, "GET", "__ctl").expect(200, "<atom:title>Cell</atom:title>"),
        case(O::DescribeUnitControl, "OPTIONS", "__ctl").expect(200, ""),
        case(O::DescribeUnitControl, "OPTIONS", "__ctl/$metadata").expect(200, ""),
        json(case(O::ReadCells, "GET", "__ctl/Cell")).expect(200, "\"owned\""),
        json(case(O::ReadCells, "GET", "__ctl/Cell('owned')")).expect(200, "\"owned\""),
        case(O::ReadCells, "OPTIONS", "__ctl/Cell").expect(200, ""),
        case(O::ReadCells, "OPTIONS", "__ctl/Cell('owned')").expect(200, ""),
        case(O::WriteCells, "POST", "__ctl/Cell")
            .body_text(r#"{"Name":"fresh"}"#)
            .expect(201, "\"fresh\"")
            .then("GET", "__ctl/Cell('fresh')", 200, "\"fresh\""),
        case(O::WriteCells, "PUT", "__ctl/Cell('owned')")
            .header("if-match", "*")
            .body_text(r#"{"Name":"renamed"}"#)
            .expect(204, "")
            .then("GET", "__ctl/Cell('renamed')", 200, "\"renamed\""),
        case(O::WriteCells, "MERGE", "__ctl/Cell('owned')")
            .header("if-match", "*")
            .body_text(r#"{"Name":"renamed"}"#)
            .expect(204, "")
            .then("GET", "__ctl/Cell('renamed')", 200, "\"renamed\""),
        case(O::WriteCells, "PATCH", "__ctl/Cell('owned')")
            .header("if-match", "*")
            .body_text(r#"{"Name":"renamed"}"#)
            .expect(204, "")
            .then("GET", "__ctl/Cell('renamed')", 200, "\"renamed\""),
        case(O::WriteCells, "DELETE", "__ctl/Cell('owned')")
            .header("if-match", "*")
            .expect(409, "PR409-OD-0001"),
        case(O::ReadControlSchema, "GET", "__ctl/$metadata").expect(200, "UnitCtl"),
        case(O::ReadControlSchema, "GET", "c/__ctl/$metadata").expect(200, "CellCtl"),
        json(case(O::ReadCell, "GET", "c")).expect(200, "\"name\":\"c\""),
        case(O::WriteCellProperties, "PROPPATCH", "owned")
            .body_text(PATCH)
            .expect(207, "patched")
            .then("PROPFIND", "owned", 207, "patched"),
        case(O::RemoveCell, "DELETE", "owned")
            .header("x-personium-recursive", "true")
            .expect(204, "")
            .then("GET", "owned", 404, "PR404-DV-0003"),
    ]
}
