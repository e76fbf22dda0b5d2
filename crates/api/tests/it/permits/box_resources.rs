//! Files, collections, entities, services and streams in boxes.

use personium_testkit::{TestUnit, acl_body, collection_body};
use personium_types::{Operation as O, Privilege as P};

use super::cases::{Case, case_on};

const PATCH: &str = "<propertyupdate xmlns='DAV:'><set><prop><x xmlns='urn:x'>patched</x></prop></set></propertyupdate>";
const QUEUE: &str = "<propertyupdate xmlns='DAV:' xmlns:p='urn:x-personium:xmlns'><set><prop>\
     <p:queues><p:queue>q</p:queue></p:queues></prop></set></propertyupdate>";
const BATCH: &str =
    "--x\r\nContent-Type: application/http\r\n\r\nGET T('e') HTTP/1.1\r\n\r\n\r\n--x--";

/// Creates the resources of the box `b` that cases use.
pub async fn make(unit: &TestUnit) {
    for (path, kind) in [
        ("c/b/col", ""),
        ("c/b/empty", ""),
        ("c/b/svc", "service"),
        ("c/b/str", "stream"),
        ("c/b/od", "odata"),
        ("c/b/spare", "odata"),
    ] {
        unit.create_collection(path, kind).await;
    }
    unit.put_file("c/b/col/file", "content").await;
    unit.put_file("c/b/svc/__src/script.js", "script").await;
    unit.put_file("c/b/empty/taken", "taken").await;
    let patched = unit
        .admin_request("PROPPATCH", "c/b/str")
        .body(QUEUE)
        .send()
        .await;
    assert_eq!(patched.status, 207);
    unit.create("c/b/od/$metadata/EntityType", r#"{"Name":"T"}"#)
        .await;
    unit.create("c/b/od/$metadata/EntityType", r#"{"Name":"Unused"}"#)
        .await;
    unit.create("c/b/od/$metadata/EntityType", r#"{"Name":"U"}"#)
        .await;
    unit.create("c/b/od/$metadata/ComplexType", r#"{"Name":"C"}"#)
        .await;
    for (name, there) in [("t", "T"), ("u", "U")] {
        let end = format!(
            "{{\"Name\":\"{name}\",\"Multiplicity\":\"*\",\"_EntityType.Name\":\"{there}\"}}"
        );
        unit.create("c/b/od/$metadata/AssociationEnd", &end).await;
    }
    let ends =
        "c/b/od/$metadata/AssociationEnd(Name='t',_EntityType.Name='T')/$links/_AssociationEnd";
    let other = "{\"uri\":\"http://unit.example/c/b/od/$metadata/AssociationEnd(Name='u',_EntityType.Name='U')\"}";
    assert_eq!(
        unit.admin_request("POST", ends)
            .body(other)
            .send()
            .await
            .status,
        204
    );
    unit.create("c/b/od/T", r#"{"__id":"e","text":"said"}"#)
        .await;
    unit.create("c/b/od/U", r#"{"__id":"f"}"#).await;
}

pub fn cases() -> Vec<Case> {
    let mut out = files();
    out.extend(moves());
    out.extend(special());
    out.extend(data());
    out.extend(schema());
    out
}

fn files() -> Vec<Case> {
    let read = |path, on, says| case_on(O::Read, "GET", path, on).expect(200, says);
    let acl = acl_body(
        "",
        "<D:ace><D:principal><D:all/></D:principal><D:grant><D:privilege><p:exec/></D:privilege></D:grant></D:ace>",
    );
    let mut out = vec![
        read("c/b", "c/b", "\"status\":\"ready\""),
        read("c/b/col", "c/b/col", "URL : http://unit.example/c/b/col"),
        read("c/b/col/file", "c/b/col/file", "content"),
        read("c/b/svc/__src/script.js", "c/b/svc", "script"),
        case_on(O::Read, "GET", "c/b/col/none", "c/b/col").expect(404, "PR404-DV-0001"),
        case_on(O::PostToMissing, "POST", "c/b/col/none", "c/b/col").expect(404, "PR404-DV-0001"),
        case_on(O::CreateFile, "PUT", "c/b/col/none", "c/b/col")
            .body_text("new")
            .expect(201, "")
            .then("GET", "c/b/col/none", 200, "new"),
        case_on(O::WriteFile, "PUT", "c/b/col/file", "c/b/col/file")
            .body_text("new")
            .expect(204, "")
            .then("GET", "c/b/col/file", 200, "new"),
        case_on(O::WriteFile, "PUT", "c/b/svc/__src/script.js", "c/b/svc")
            .body_text("new")
            .expect(204, "")
            .then("GET", "c/b/svc/__src/script.js", 200, "new"),
        case_on(O::CreateCollection, "MKCOL", "c/b/col/none", "c/b/col")
            .body_text(&collection_body(""))
            .expect(201, "")
            .then("GET", "c/b/col/none", 200, "URL :"),
        case_on(O::Remove, "DELETE", "c/b/col/file", "c/b/col")
            .expect(204, "")
            .then("GET", "c/b/col/file", 404, "PR404-DV-0001"),
        case_on(O::Remove, "DELETE", "c/b/svc/__src/script.js", "c/b/svc")
            .expect(204, "")
            .then("GET", "c/b/svc/__src/script.js", 404, "PR404-DV-0001"),
        case_on(O::Remove, "DELETE", "c/b/spare", "c/b")
            .expect(204, "")
            .then("PROPFIND", "c/b/spare", 404, "PR404-DV-0001"),
        case_on(O::Remove, "DELETE", "c/b/col", "c/b")
            .header("x-personium-recursive", "true")
            .expect(204, "")
            .then("PROPFIND", "c/b/col", 404, "PR404-DV-0001"),
        case_on(O::Remove, "DELETE", "c/b/svc", "c/b")
            .header("x-personium-recursive", "true")
            .expect(204, "")
            .then("PROPFIND", "c/b/svc", 404, "PR404-DV-0001"),
        case_on(O::Remove, "DELETE", "c/b/str", "c/b")
            .expect(204, "")
            .then("PROPFIND", "c/b/str", 404, "PR404-DV-0001"),
        case_on(O::Remove, "DELETE", "c/b/od", "c/b")
            .header("x-personium-recursive", "true")
            .expect(204, "")
            .then("PROPFIND", "c/b/od", 404, "PR404-DV-0001"),
        case_on(O::Remove, "DELETE", "c/b/col/none", "c/b/col").expect(404, "PR404-DV-0001"),
        case_on(O::RemoveBox, "DELETE", "c/b", "c")
            .header("x-personium-recursive", "true")
            .expect(204, "")
            .then("GET", "c/b", 404, "PR404-DV-0002"),
    ];
    for (path, on) in [
        ("c/b", "c/b"),
        ("c/b/col", "c/b/col"),
        ("c/b/col/file", "c/b/col/file"),
        ("c/b/od", "c/b/od"),
        ("c/b/svc", "c/b/svc"),
        ("c/b/str", "c/b/str"),
        ("c/b/svc/__src/script.js", "c/b/svc"),
    ] {
        let depth = |c: Case| c.header("depth", "0");
        out.push(case_on(O::Options, "OPTIONS", path, on));
        out.push(case_on(O::Report, "REPORT", path, on).expect(501, "PR501-MC-0001"));
        out.push(
            depth(case_on(O::ReadProperties, "PROPFIND", path, on)).expect(207, "creationdate"),
        );
        let patched = case_on(O::WriteProperties, "PROPPATCH", path, on)
            .body_text(PATCH)
            .expect(207, "patched");
        out.push(patched.then("PROPFIND", path, 207, "patched"));
        let granted = case_on(O::WriteAcl, "ACL", path, on).body_text(&acl);
        out.push(if path.contains("__src") {
            granted.expect(405, "PR405-DV-0001")
        } else {
            granted
                .expect(200, "")
                .then("PROPFIND", path, 207, "<p:exec/>")
        });
        let holder = if path.contains("__src") {
            on
        } else {
            path.rsplit_once('/').map_or(on, |(above, _)| above)
        };
        if path != "c/b" {
            let code = if path.contains("col") && !path.contains("file") || path.contains("__src") {
                "PR405-DV-0001"
            } else {
                "PR405-MC-0001"
            };
            out.push(case_on(O::CreateCollection, "MKCOL", path, holder).expect(405, code));
        }
    }
    for (operation, method) in [
        (O::Read, "GET"),
        (O::PostToMissing, "POST"),
        (O::Remove, "DELETE"),
        (O::MoveSource, "MOVE"),
    ] {
        out.push(
            case_on(operation, method, "c/b/col/none/none", "c/b/col").expect(404, "PR404-DV-0001"),
        );
    }
    for (operation, method) in [(O::CreateFile, "PUT"), (O::CreateCollection, "MKCOL")] {
        out.push(
            case_on(operation, method, "c/b/col/none/none", "c/b/col").expect(409, "PR409-DV-0001"),
        );
    }
    for (operation, method) in [
        (O::Options, "OPTIONS"),
        (O::Report, "REPORT"),
        (O::ReadProperties, "PROPFIND"),
        (O::WriteProperties, "PROPPATCH"),
        (O::WriteAcl, "ACL"),
    ] {
        for path in ["c/b/col/none", "c/b/col/none/none"] {
            let missing = case_on(operation, method, path, "c/b/col").body_text(PATCH);
            out.push(match method {
                "OPTIONS" => missing,
                _ => missing.expect(404, "PR404-DV-0001"),
            });
        }
    }
    out
}

fn moves() -> Vec<Case> {
    let target = ("destination", "http://unit.example/c/b/empty/moved");
    let over = ("destination", "http://unit.example/c/b/empty/taken");
    let case_to = |operation, on, (name, value)| {
        case_on(operation, "MOVE", "c/b/col/file", on).header(name, value)
    };
    let mut out = vec![
        case_to(O::MoveSource, "c/b/col", target)
            .also_on(&["c/b/empty"])
            .expect(201, "")
            .then("GET", "c/b/empty/moved", 200, "content"),
        case_to(O::MoveDestination, "c/b/empty", target)
            .also_on(&["c/b/col"])
            .expect(201, "")
            .then("GET", "c/b/empty/moved", 200, "content"),
        case_to(O::MoveDestination, "c/b/empty", over)
            .also_needs(P::Unbind)
            .also_on(&["c/b/col"])
            .header("overwrite", "T")
            .expect(204, "")
            .then("GET", "c/b/empty/taken", 200, "content"),
        case_to(O::MoveOverwrite, "c/b/empty", over)
            .also_needs(P::Bind)
            .also_on(&["c/b/col"])
            .header("overwrite", "T")
            .expect(204, "")
            .then("GET", "c/b/empty/taken", 200, "content"),
        case_on(O::MoveImmovable, "MOVE", "c/b", "c/b").expect(400, "PR400-DV-"),
        case_on(O::MoveSource, "MOVE", "c/b/col/none", "c/b/col").expect(404, "PR404-DV-0001"),
        case_on(O::MoveSource, "MOVE", "c/b/svc/__src/script.js", "c/b/svc")
            .also_needs(P::Bind)
            .header("destination", "http://unit.example/c/b/svc/__src/other.js")
            .expect(201, "")
            .then("GET", "c/b/svc/__src/other.js", 200, "script"),
    ];
    for path in ["c/b/col", "c/b/od", "c/b/svc", "c/b/str"] {
        let moved = case_on(O::MoveSource, "MOVE", path, "c/b").also_needs(P::Bind);
        out.push(
            moved
                .header("destination", "http://unit.example/c/b/moved")
                .expect(201, "")
                .then("PROPFIND", "c/b/moved", 207, "creationdate"),
        );
    }
    out
}

/// The cases of services, their sources, and streams.
fn special() -> Vec<Case> {
    let source = "c/b/svc/__src";
    let mut out = vec![
        case_on(O::Options, "OPTIONS", source, source_on()),
        case_on(O::Report, "REPORT", source, source_on()).expect(501, "PR501-MC-0001"),
        case_on(O::ReadProperties, "PROPFIND", source, source_on())
            .header("depth", "0")
            .expect(207, "creationdate"),
        case_on(O::WriteProperties, "PROPPATCH", source, source_on())
            .body_text(PATCH)
            .expect(405, "PR405-MC-0001"),
        case_on(O::WriteAcl, "ACL", source, source_on()).expect(405, "PR405-MC-0001"),
        case_on(O::CreateCollection, "MKCOL", source, source_on()).expect(405, "PR405-DV-0001"),
        case_on(O::MoveImmovable, "MOVE", source, source_on()).expect(400, "PR400-DV-"),
    ];
    for (method, status, says) in [
        ("GET", 404, "404 Not Found"),
        ("POST", 404, "404 Not Found"),
        ("PUT", 404, "404 Not Found"),
        ("DELETE", 500, "PR500-SC-0001"),
    ] {
        let run = case_on(O::Execute, method, "c/b/svc/run", "c/b/svc");
        out.push(run.expect(status, says));
    }
    let job = "c/b/svc/__jobs/00000000000000000000000000000000";
    for method in ["GET", "DELETE"] {
        let document = case_on(O::Execute, method, job, "c/b/svc");
        out.push(document.expect(404, "PR404-MC-0001"));
    }
    let stream = |operation, method, path: &str| case_on(operation, method, path, "c/b/str");
    for (channel, status, says, received) in [
        ("c/b/str/queue/q", 200, "", "[]"),
        ("c/b/str/queue/q(x)", 200, "", "[]"),
        ("c/b/str/topic/q", 404, "PR404-DV-0001", "PR404-DV-0001"),
    ] {
        let receive = format!("{channel}?wait=0");
        out.extend([
            stream(O::OptionsStream, "OPTIONS", channel),
            stream(O::ReceiveFromStream, "GET", &receive).expect(status, received),
            stream(O::SendToStream, "POST", channel).expect(status, says),
            stream(O::SendToStream, "PUT", channel).expect(status, says),
        ]);
    }
    let acknowledge = stream(O::ReceiveFromStream, "DELETE", "c/b/str/queue/q(x)");
    out.push(acknowledge.expect(404, "PR404-ST-0001"));
    out.push(stream(O::ReceiveFromStream, "DELETE", "c/b/str/queue/q").expect(400, "receipt"));
    out
}

/// The resource on which privileges on service sources are granted: the sources have no list of their own.
const fn source_on() -> &'static str {
    "c/b/svc"
}

fn data() -> Vec<Case> {
    let read = |method, path| case_on(O::ReadEntities, method, path, "c/b/od");
    let write =
        |method, path| case_on(O::WriteEntities, method, path, "c/b/od").header("if-match", "*");
    let describe = |method, path| case_on(O::DescribeData, method, path, "c/b/od");
    let link = r#"{"uri":"http://unit.example/c/b/od/U('f')"}"#;
    vec![
        describe("GET", "c/b/od").expect(200, "<atom:title>T</atom:title>"),
        describe("GET", "c/b/od/$metadata").expect(200, "UserData"),
        describe("OPTIONS", "c/b/od/$metadata"),
        describe("OPTIONS", "c/b/od/T('e')/$links/_U"),
        describe("OPTIONS", "c/b/od/T('e')/$links/_U('f')"),
        describe("OPTIONS", "c/b/od/$metadata/$metadata"),
        describe("OPTIONS", "c/b/od/T('e')/_U"),
        read("GET", "c/b/od/T?$format=json").expect(200, "\"said\""),
        read("GET", "c/b/od/T('e')?$format=json").expect(200, "\"said\""),
        read("OPTIONS", "c/b/od/T"),
        read("OPTIONS", "c/b/od/T('e')"),
        read("GET", "c/b/od/T('e')/$links/_U").expect(200, "\"results\""),
        read("GET", "c/b/od/T('e')/_U").expect(200, "\"results\""),
        write("POST", "c/b/od/T")
            .body_text(r#"{"__id":"new"}"#)
            .expect(201, "\"new\"")
            .then("GET", "c/b/od/T('new')", 200, "\"new\""),
        write("PUT", "c/b/od/T('e')")
            .body_text(r#"{"__id":"e","text":"changed"}"#)
            .expect(204, "")
            .then("GET", "c/b/od/T('e')", 200, "\"changed\""),
        write("MERGE", "c/b/od/T('e')")
            .body_text(r#"{"text":"changed"}"#)
            .expect(204, "")
            .then("GET", "c/b/od/T('e')", 200, "\"changed\""),
        write("PATCH", "c/b/od/T('e')")
            .body_text(r#"{"text":"changed"}"#)
            .expect(204, "")
            .then("GET", "c/b/od/T('e')", 200, "\"changed\""),
        write("DELETE", "c/b/od/T('e')").expect(204, "").then(
            "GET",
            "c/b/od/T('e')",
            404,
            "PR404-OD-0002",
        ),
        write("POST", "c/b/od/T('e')/$links/_U")
            .body_text(link)
            .expect(204, "")
            .then("GET", "c/b/od/T('e')/$links/_U", 200, "U('f')"),
        write("POST", "c/b/od/T('e')/_U")
            .body_text(r#"{"__id":"linked"}"#)
            .expect(201, "\"linked\"")
            .then("GET", "c/b/od/T('e')/_U", 200, "\"linked\""),
        read("GET", "c/b/od/T('e')/$links/_U('f')").expect(400, "PR400-OD-0010"),
        write("POST", "c/b/od/T('e')/$links/_U('f')")
            .body_text(link)
            .expect(400, "PR400-OD-0010"),
        write("PUT", "c/b/od/T('e')/$links/_U")
            .body_text(link)
            .expect(400, "PR400-OD-0011"),
        write("DELETE", "c/b/od/T('e')/$links/_U").expect(400, "PR400-OD-0011"),
        write("PUT", "c/b/od/T('e')/$links/_U('f')")
            .body_text(link)
            .expect(501, "PR501-MC-0001"),
        write("DELETE", "c/b/od/T('e')/$links/_U('f')").expect(404, "PR404-OD-"),
        read("POST", "c/b/od/$batch")
            .instead(P::Write)
            .header("content-type", "multipart/mixed;boundary=x")
            .body_text(BATCH)
            .expect(202, "\"said\""),
    ]
}

fn schema() -> Vec<Case> {
    let at = "c/b/od/$metadata";
    let mut out = Vec::new();
    for (set, key, new, new_key) in [
        ("EntityType", "('Unused')", r#"{"Name":"New"}"#, "('New')"),
        ("ComplexType", "('C')", r#"{"Name":"New"}"#, "('New')"),
        (
            "Property",
            "(Name='text',_EntityType.Name='T')",
            r#"{"Name":"new","_EntityType.Name":"T","Type":"Edm.String"}"#,
            "(Name='new',_EntityType.Name='T')",
        ),
        (
            "AssociationEnd",
            "(Name='t',_EntityType.Name='T')",
            r#"{"Name":"new","_EntityType.Name":"Unused","Multiplicity":"*"}"#,
            "(Name='new',_EntityType.Name='Unused')",
        ),
        (
            "ComplexTypeProperty",
            "(Name='none',_ComplexType.Name='C')",
            r#"{"Name":"new","_ComplexType.Name":"C","Type":"Edm.String"}"#,
            "(Name='new',_ComplexType.Name='C')",
        ),
    ] {
        let (all, one) = (format!("{at}/{set}"), format!("{at}/{set}{key}"));
        let exists = set != "ComplexTypeProperty";
        let read = |method, path: &str| case_on(O::ReadSchema, method, path, "c/b/od");
        let write = |method, path: &str| {
            case_on(O::WriteSchema, method, path, "c/b/od").header("if-match", "*")
        };
        out.push(read("GET", &(all.clone() + "?$format=json")).expect(200, "\"results\""));
        let found = read("GET", &(one.clone() + "?$format=json"));
        out.push(if exists {
            found.expect(200, "\"Name\"")
        } else {
            found.expect(404, "PR404-OD-0002")
        });
        out.push(read("OPTIONS", &all));
        out.push(read("OPTIONS", &one));
        out.push(
            write("POST", &all)
                .body_text(new)
                .expect(201, "\"Name\"")
                .then("GET", &format!("{at}/{set}{new_key}"), 200, "\"Name\""),
        );
        // The response to a change of a type in use is tested elsewhere; here it must pass the access check.
        out.push(
            write("PUT", &one)
                .body_text("{}")
                .expect(400, "PR400-OD-0009"),
        );
        for method in ["MERGE", "PATCH"] {
            out.push(
                write(method, &one)
                    .body_text(r#"{"Nonsense":1}"#)
                    .expect(400, "PR400-OD-0007"),
            );
        }
        out.push(write("DELETE", &(all.clone() + new_key)).expect(404, "PR404-OD-0002"));
    }
    out.push(
        case_on(
            O::WriteSchema,
            "DELETE",
            &format!("{at}/EntityType('Unused')"),
            "c/b/od",
        )
        .header("if-match", "*")
        .expect(204, "")
        .then(
            "GET",
            &format!("{at}/EntityType('Unused')"),
            404,
            "PR404-OD-0002",
        ),
    );
    out.push(
        case_on(
            O::DescribeData,
            "GET",
            "c/b/od/$metadata/$metadata",
            "c/b/od",
        )
        .expect(200, "ODataSvcSchema"),
    );
    out
}
