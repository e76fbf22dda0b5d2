//! Endpoints of a cell besides control objects and boxes.

use personium_testkit::{TestUnit, cell_url};
use personium_types::{Operation as O, Privilege as P};
use serde_json::{Value, json};

use super::cases::{Case, case, case_on};
use crate::message::{deliver, message_body};

const GRANT_ALL: &str = "<D:acl xmlns:D='DAV:' xmlns:p='urn:x-personium:xmlns'><D:ace><D:principal><D:all/></D:principal>\
     <D:grant><D:privilege><p:sign/></D:privilege></D:grant></D:ace></D:acl>";

pub fn cases() -> Vec<Case> {
    let mut out = vec![
        case(O::ReadKeys, "GET", "c/__certs").expect(200, "\"RS256\""),
        case(
            O::ReadDiscovery,
            "GET",
            "c/.well-known/openid-configuration",
        )
        .expect(200, "http://unit.example/c/__token"),
        case(O::ReadErrorPage, "GET", "c/__html/error?code=PR400-AZ-0002")
            .expect(200, "<h1>Error</h1>"),
        case(O::OptionsCell, "OPTIONS", "c").expect(200, ""),
        case(O::ReadCellProperties, "PROPFIND", "c").expect(207, "cellstatus"),
        case(O::WriteCellAcl, "ACL", "c")
            .body_text(GRANT_ALL)
            .expect(200, "")
            .then("PROPFIND", "c", 207, "<p:sign/>"),
        case(O::ReadRolePages, "GET", "c/__role").expect(200, "b<br/>"),
        case(O::ReadRolePages, "GET", "c/__role/x").expect(200, "x"),
        case(O::ReadRolePages, "GET", "c/__role/x/y").expect(200, "xy"),
        case(O::OptionsIntrospect, "OPTIONS", "c/__introspect").expect(200, ""),
        case(O::Sign, "POST", "c/__sign")
            .body_text("x")
            .expect(200, "."),
        case_on(
            O::FindBox,
            "GET",
            "c/__box?schema=http://unit.example/appcell/",
            "c/app",
        )
        .expect(200, "http://unit.example/c/app/"),
    ];
    out.extend(message_cases());
    out.extend(event_cases());
    out.extend(snapshot_cases());
    for endpoint in [
        "__token",
        "__authz",
        "__mypassword",
        "__certs",
        "__sign",
        "__message/send",
        "__message/port",
        "__message/received/x",
        "__event",
        "__rule",
        "__rule/state",
        "__rule/failed",
        "__rule/failed/x",
        "__rule/test",
        "__log/current",
        "__log/archive",
        "__log/current/default.log",
        "__log/current/x",
        "__log/archive/default.log.1",
        "__log/archive/x",
    ] {
        out.push(case(
            O::OptionsEndpoint,
            "OPTIONS",
            &format!("c/{endpoint}"),
        ));
    }
    out
}

/// The id of a received message: 1 is plain, 2 requests a relation, 3 requests a rule, 4 requests a role.
fn id(number: u8) -> String {
    format!("{number:032}")
}

/// Delivers the messages that cases use.
pub async fn make_messages(unit: &TestUnit) {
    deliver(unit, &message_body(json!({"__id": id(1)}))).await;
    let relation =
        json!({"RequestType": "relation.add", "Name": "free", "TargetUrl": "http://far.example/"});
    let rule =
        json!({"RequestType": "rule.add", "Name": "asked", "Action": "log", "EventType": "never"});
    let role =
        json!({"RequestType": "role.add", "Name": "lacks", "TargetUrl": "http://far.example/"});
    for (number, object) in [(2, relation), (3, rule), (4, role)] {
        let members: Value = json!({
            "__id": id(number), "Type": "request", "Status": "none", "RequestObjects": [object],
        });
        deliver(unit, &message_body(members)).await;
    }
}

fn message_cases() -> Vec<Case> {
    let path = |id: &str| format!("c/__message/received/{id}");
    let decide = |operation, number, command: &str| {
        case(operation, "POST", &path(&id(number)))
            .body_text(&json!({"Command": command}).to_string())
            .expect(204, "")
    };
    let request = |number| case(O::OptionsEndpoint, "OPTIONS", &path(&id(number)));
    vec![
        request(1),
        request(2),
        request(3),
        request(4),
        case(O::ChangeMessageStatus, "POST", &path("x"))
            .body_text(r#"{"Command":"read"}"#)
            .expect(404, "PR404-OD-0002"),
        case(O::SendMessage, "POST", "c/__message/send")
            .body_text(&json!({"To": cell_url("d"), "Title": "fresh"}).to_string())
            .expect(201, "\"Created.\"")
            .then("GET", "c/__ctl/SentMessage", 200, "\"fresh\""),
        decide(O::ChangeMessageStatus, 1, "read").then(
            "GET",
            "c/__ctl/ReceivedMessage",
            200,
            "\"read\"",
        ),
        decide(O::ApproveSocial, 2, "approved")
            .also_needs(P::Message)
            .then(
                "GET",
                "c/__ctl/Relation('free')/$links/_ExtCell",
                200,
                "far.example",
            ),
        decide(O::ApproveRoles, 4, "approved")
            .also_needs(P::Message)
            .also_needs(P::Social)
            .then(
                "GET",
                "c/__ctl/Role('lacks')/$links/_ExtCell",
                200,
                "far.example",
            ),
        decide(O::ApproveRules, 3, "approved")
            .also_needs(P::Message)
            .then("GET", "c/__ctl/Rule('asked')", 200, "\"asked\""),
    ]
}

/// Creates the rule that matches the event of the cases below.
pub async fn make_rule(unit: &TestUnit) {
    let rule =
        json!({"Name": "heard", "EventExternal": true, "EventType": "heard", "Action": "log"});
    unit.create("c/__ctl/Rule", &rule.to_string()).await;
}

/// The snapshot that cases use.
pub async fn make_snapshot(unit: &TestUnit) {
    unit.put_file("c/__snapshot/s.zip", "snapshot").await;
}

fn snapshot_cases() -> Vec<Case> {
    let depth = |case: Case| case.header("depth", "1");
    let mut out = vec![
        case(O::ReadSnapshots, "OPTIONS", "c/__snapshot").expect(200, ""),
        depth(case(O::ReadSnapshots, "PROPFIND", "c/__snapshot")).expect(207, "/s.zip</href>"),
    ];
    for (operation, path, status, says) in [
        (O::ExportCell, "c/__export", 400, "PR400-CM-0002"),
        (O::ImportCell, "c/__import", 400, "PR400-CM-0002"),
    ] {
        out.push(case(operation, "OPTIONS", path).expect(200, ""));
        out.push(case(operation, "GET", path).expect(200, "\"ready\""));
        let invalid = case(operation, "POST", path).body_text(r#"{"Name":"a/b"}"#);
        out.push(invalid.expect(status, says));
    }
    for (name, exists) in [("s.zip", true), ("x", false)] {
        let path = format!("c/__snapshot/{name}");
        let read = |method| case(O::ReadSnapshots, method, &path);
        let or_missing = |case: Case, status, says| match exists {
            true => case.expect(status, says),
            false => case.expect(404, "PR404-DV-0001"),
        };
        out.push(read("OPTIONS").expect(200, ""));
        out.push(or_missing(read("GET"), 200, "snapshot"));
        out.push(or_missing(depth(read("PROPFIND")), 207, "getcontentlength"));
        out.push(or_missing(read("REPORT"), 501, "PR501-MC-0001"));
        let removed = case(O::WriteSnapshots, "DELETE", &path);
        out.push(or_missing(removed, 204, ""));
        let put = case(O::WriteSnapshots, "PUT", &path).body_text("another");
        let status = if exists { 204 } else { 201 };
        out.push(put.expect(status, "").then("GET", &path, 200, "another"));
    }
    out
}

fn event_cases() -> Vec<Case> {
    let mut out = vec![
        case(O::PostEvent, "POST", "c/__event")
            .body_text(r#"{"Type":"heard"}"#)
            .expect(200, "")
            .then(
                "GET",
                "c/__log/current/default.log",
                200,
                "\"heard\",null,null",
            ),
        case(O::SubscribeEvents, "GET", "c/__event")
            .header("accept", "text/event-stream")
            .expect(400, "PR400-OD-0006"),
        case(O::InstallBox, "MKCOL", "c/fresh").expect(400, "PR400-BI-0001"),
        case(O::ReadActiveRules, "GET", "c/__rule").expect(200, "\"HitCount\":0"),
        case(O::ReadActiveRules, "GET", "c/__rule/state").expect(200, "\"Failed\":0"),
        case(O::ManageFailedRequests, "GET", "c/__rule/failed").expect(200, "\"requests\":[]"),
        case(O::ManageFailedRequests, "GET", "c/__rule/failed/x").expect(404, "PR404-OD-0002"),
        case(O::ManageFailedRequests, "POST", "c/__rule/failed/x").expect(404, "PR404-OD-0002"),
        case(O::ManageFailedRequests, "DELETE", "c/__rule/failed/x").expect(404, "PR404-OD-0002"),
        case(O::TestRule, "POST", "c/__rule/test")
            .body_text(r#"{"Name":"none"}"#)
            .expect(404, "PR404-OD-0002"),
    ];
    for name in [
        "current/default.log",
        "current/x",
        "archive/default.log.1",
        "archive/x",
    ] {
        let path = format!("c/__log/{name}");
        let read = case(O::ReadLog, "GET", &path);
        let list = case(O::ReadLog, "PROPFIND", &path).header("depth", "0");
        let remove = case(O::RemoveLog, "DELETE", &path);
        if name == "current/default.log" {
            out.push(read.expect(200, ""));
            out.push(remove.expect(400, "PR400-EV-0005"));
        } else {
            out.push(read.expect(404, "PR404-DV-0001"));
            out.push(remove.expect(404, "PR404-DV-0001"));
        }
        out.push(list.expect(404, "PR404-DV-0001"));
    }
    for name in ["current", "archive"] {
        let path = format!("c/__log/{name}");
        let list = case(O::ReadLog, "PROPFIND", &path).header("depth", "1");
        out.push(list.expect(207, "<collection/>"));
    }
    out
}
