//! Archives that are installed completely.

use personium_testkit::{TestUnit, success};
use serde_json::{Value, json};

use super::{APP, Archive};
use crate::auth::unit_with_accounts;
use crate::install::{install, wait_for_installation};
use crate::message::grant_cell;

const ROOT_PROPS: &str = r#"<multistatus xmlns="DAV:" xmlns:p="urn:x-personium:xmlns">
  <response><href>personium-localbox:/</href><propstat><prop><resourcetype><collection/></resourcetype>
    <acl xml:base="http://app.example/__role/__/"><ace><principal><href>reader</href></principal>
      <grant><privilege><read/></privilege></grant></ace></acl>
    <p:note>of the box</p:note></prop></propstat></response>
  <response><href>personium-localbox:/docs</href><propstat><prop><resourcetype><collection/></resourcetype></prop></propstat></response>
  <response><href>personium-localbox:/docs/a.txt</href><propstat><prop><resourcetype/>
    <getcontenttype>text/x-mine</getcontenttype>
    <acl xml:base="http://app.example/__role/__/"><ace><principal><all/></principal>
      <grant><privilege><read/></privilege></grant></ace></acl></prop></propstat></response>
  <response><href>personium-localbox:/svc</href><propstat><prop><resourcetype><collection/><p:service/></resourcetype>
    <p:service language="JavaScript"><p:path name="hello" src="hello.js"/></p:service></prop></propstat></response>
  <response><href>personium-localbox:/svc/__src</href><propstat><prop><resourcetype><collection/></resourcetype></prop></propstat></response>
  <response><href>personium-localbox:/svc/__src/hello.js</href><propstat><prop><resourcetype/>
    <getcontenttype>text/javascript</getcontenttype></prop></propstat></response>
  <response><href>personium-localbox:/data/</href><propstat><prop><resourcetype><collection/><p:odata/></resourcetype></prop></propstat></response>
</multistatus>"#;

const METADATA: &str = r#"<edmx:Edmx Version='1.0' xmlns:edmx='http://schemas.microsoft.com/ado/2007/06/edmx'><edmx:DataServices>
  <Schema xmlns='http://schemas.microsoft.com/ado/2006/04/edm' Namespace='UserData'>
    <ComplexType Name='Place'><Property Name='city' Type='Edm.String' Nullable='true'/></ComplexType>
    <EntityType Name='Person'><Key><PropertyRef Name='__id'/></Key>
      <Property Name='__id' Type='Edm.String' Nullable='false'/>
      <Property Name='age' Type='Edm.Int32' Nullable='false' DefaultValue='7'/>
      <Property Name='names' Type='Edm.String' CollectionKind='List'/>
      <Property Name='home' Type='UserData.Place' Nullable='true'/></EntityType>
    <EntityType Name='Pet' OpenType='true'/>
    <Association Name='a'><End Role='Person:owner' Type='UserData.Person' Multiplicity='0..1'/>
      <End Role='Pet:pets' Type='UserData.Pet' Multiplicity='*'/></Association>
  </Schema></edmx:DataServices></edmx:Edmx>"#;

pub(super) fn full_archive() -> Archive {
    let links = json!({"Links": [
        {"FromType": "Relation", "FromName": {"Name": "friend"}, "ToType": "Role", "ToName": {"Name": "reader"}},
        {
            "FromType": "ExtRole", "FromName": {"ExtRole": "http://far.example/__role/__/r", "_Relation.Name": "friend"},
            "ToType": "Role", "ToName": {"Name": "reader"},
        },
    ]});
    let rules = json!({"Rules": [
        {"EventExternal": true, "EventType": "t", "Action": "exec", "TargetUrl": "personium-localbox:/svc/hello"},
    ]});
    let relations = json!({"Links": [
        {"FromType": "Person", "FromId": {"__id": "me"}, "ToType": "Pet", "ToId": {"__id": "cat"}},
        {"FromType": "Person", "FromId": {"__id": "me"}, "ToType": "Pet", "ToId": {"__id": "dog"}},
    ]});
    Archive::new()
        .with("00_meta/10_relations.json", r#"{"Relations":[{"Name":"friend"}]}"#)
        .with("00_meta/20_roles.json", r#"{"Roles":[{"Name":"reader"}]}"#)
        .with(
            "00_meta/30_extroles.json",
            r#"{"ExtRoles":[{"ExtRole":"http://far.example/__role/__/r","_Relation.Name":"friend"}]}"#,
        )
        .with("00_meta/50_rules.json", &rules.to_string())
        .with("00_meta/70_$links.json", &links.to_string())
        .with("00_meta/90_rootprops.xml", ROOT_PROPS)
        .with("90_contents/docs/a.txt", "hello")
        .with("90_contents/svc/hello.js", "function(){}")
        .with("90_contents/data/00_$metadata.xml", METADATA)
        .with("90_contents/data/10_odatarelations.json", &relations.to_string())
        .with("90_contents/data/90_data/Person/1.json", r#"{"__id":"me","names":["a","b"],"home":{"city":"x"}}"#)
        .with("90_contents/data/90_data/Pet/1.json", r#"{"__id":"cat","colour":"black","chip":9007199254740993}"#)
        .with("90_contents/data/90_data/Pet/2.json", r#"{"__id":"dog","colour":"brown","good":true}"#)
}

async fn get_entity(unit: &TestUnit, path: &str) -> Value {
    let response = unit
        .admin_request("GET", path)
        .header("accept", "application/json")
        .send()
        .await;
    assert_eq!(response.status, 200, "{path}: {}", response.text());
    response.json()["d"]["results"].clone()
}

async fn check_full_archive(unit: &TestUnit) {
    assert_eq!(
        unit.list_entities("c/__ctl/Relation").await[0]["_Box.Name"],
        "new"
    );
    assert_eq!(
        unit.list_entities("c/__ctl/Role").await[0]["_Box.Name"],
        "new"
    );
    let linked = unit
        .list_entities("c/__ctl/Role(Name='reader',_Box.Name='new')/_Relation")
        .await;
    assert_eq!(linked[0]["Name"], "friend");
    let linked = unit
        .list_entities("c/__ctl/Role(Name='reader',_Box.Name='new')/_ExtRole")
        .await;
    assert_eq!(linked[0]["ExtRole"], "http://far.example/__role/__/r");
    let rule = &unit.list_entities("c/__ctl/Rule").await[0];
    assert_eq!(
        (&rule["Action"], &rule["_Box.Name"]),
        (&json!("exec"), &json!("new"))
    );
    let in_force = unit.admin_request("GET", "c/__rule").send().await.json();
    assert_eq!(in_force["rules"][0]["Schema"], APP);

    let listing = unit
        .admin_request("PROPFIND", "c/new")
        .header("depth", "0")
        .send()
        .await
        .text();
    assert!(
        listing.contains("<href>reader</href>") && listing.contains("of the box"),
        "{listing}"
    );
    // The file is public, the folder needs the role.
    let file = unit.request("GET", "c/new/docs/a.txt").send().await;
    assert_eq!(
        (file.text().as_str(), file.header("content-type")),
        ("hello", Some("text/x-mine"))
    );
    assert_eq!(unit.request("GET", "c/new/docs").send().await.status, 401);
    assert_eq!(
        unit.admin_request("GET", "c/new/svc/__src/hello.js")
            .send()
            .await
            .text(),
        "function(){}"
    );
    let service = unit
        .admin_request("PROPFIND", "c/new/svc")
        .header("depth", "0")
        .send()
        .await
        .text();
    assert!(service.contains("src=\"hello.js\""), "{service}");

    let me = get_entity(unit, "c/new/data/Person('me')?$format=json").await;
    assert_eq!((&me["age"], &me["names"]), (&json!(7), &json!(["a", "b"])));
    assert_eq!(me["home"]["city"], "x");
    let pets = unit
        .list_entities("c/new/data/Person('me')/_Pet?$orderby=__id")
        .await;
    assert_eq!(
        (&pets[0]["colour"], &pets[1]["good"]),
        (&json!("black"), &json!(true))
    );
    assert_eq!(pets[0]["chip"], json!(9_007_199_254_740_993_u64));
    assert_eq!(pets.len(), 2);
}

#[tokio::test]
async fn archive_installs_objects_links_files_services_and_entities() {
    let unit = TestUnit::new().await;
    let log = json!({"Name": "l", "Action": "log", "EventType": "PL-BI-"}).to_string();
    unit.create("c/__ctl/Rule", &log).await;
    let log = json!({"Name": "m", "Action": "log", "EventType": "boxinstall"}).to_string();
    unit.create("c/__ctl/Rule", &log).await;
    let response = install(&unit, "new", &full_archive()).await;
    assert_eq!(response.outcome(), success(202));
    assert_eq!(
        response.header("location"),
        Some("http://unit.example/c/new")
    );
    let shown = wait_for_installation(&unit, "new").await;
    assert_eq!(
        (&shown["status"], &shown["schema"]),
        (&json!("ready"), &json!(APP)),
        "{shown}"
    );
    assert!(shown["installed_at"].is_string());
    for name in ["l", "m"] {
        let key = format!("c/__ctl/Rule(Name='{name}',_Box.Name=null)");
        assert_eq!(unit.admin_outcome("DELETE", &key).await, success(204));
    }
    check_full_archive(&unit).await;

    let lines = unit
        .admin_request("GET", "c/__log/current/default.log")
        .send()
        .await
        .text();
    let steps: Vec<&str> = lines
        .lines()
        .map(|line| line.split("null,null,\"").nth(1).unwrap())
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    assert_eq!((steps[0], steps[1]), ("boxinstall", "PL-BI-1000"));
    assert_eq!(steps.last(), Some(&"PL-BI-0000"));
    let of = |code: &str| steps.iter().filter(|step| **step == code).count();
    assert_eq!((of("PL-BI-1001"), of("PL-BI-1003")), (12, 17), "{steps:?}");
    assert!(
        lines.contains("\"boxinstall\",\"http://unit.example/c/new\",\"202\""),
        "{lines}"
    );
}

#[tokio::test]
async fn legacy_archive_installs_the_same_content() {
    let unit = TestUnit::new().await;
    assert_eq!(
        install(&unit, "new", &full_archive().legacy())
            .await
            .outcome(),
        success(202)
    );
    let shown = wait_for_installation(&unit, "new").await;
    assert_eq!(shown["status"], "ready", "{shown}");
    check_full_archive(&unit).await;
    // A second box of the application is refused, and so is one of the name.
    let again = install(&unit, "other", &full_archive()).await;
    assert_eq!(again.outcome().1, "BI-0004");
}

#[tokio::test]
async fn archive_with_many_entities_is_installed_in_batches() {
    let unit = TestUnit::with_settings(|settings| settings.archives.entities_per_commit = 7).await;
    let mut archive = full_archive();
    for number in 3..40 {
        let entity = json!({"__id": format!("p{number}"), "colour": "none"}).to_string();
        archive = archive.with(
            &format!("90_contents/data/90_data/Pet/{number}.json"),
            &entity,
        );
    }
    assert_eq!(
        install(&unit, "new", &archive).await.outcome(),
        success(202)
    );
    let shown = wait_for_installation(&unit, "new").await;
    assert_eq!(shown["status"], "ready", "{shown}");
    let counted = unit.admin_request(
        "GET",
        "c/new/data/Pet?$top=0&$inlinecount=allpages&$format=json",
    );
    assert_eq!(counted.send().await.json()["d"]["__count"], "39");
}

/// Installs an archive with so many more entities. Returns the number of calls of the record port.
async fn calls_of_installation(entities: usize) -> usize {
    let mut archive = full_archive();
    for number in 3..entities + 3 {
        let entity = json!({"__id": format!("p{number}"), "colour": "none"}).to_string();
        let name = format!("90_contents/data/90_data/Pet/{number}.json");
        archive = archive.with(&name, &entity);
    }
    calls_of(&archive).await
}

/// Installs an archive. Returns the number of calls of the record port, without those of the requests that ask for the progress.
async fn calls_of(archive: &Archive) -> usize {
    let unit = TestUnit::new().await;
    let before = unit.store.call_count();
    let outcome = install(&unit, "new", archive).await.outcome();
    assert_eq!(outcome, success(202));
    let mut asking = 0;
    loop {
        let asked = unit.store.call_count();
        let shown = unit.admin_request("GET", "c/new");
        let shown = shown.header("accept", "application/json").send().await;
        let shown = shown.json()["box"].clone();
        asking += unit.store.call_count() - asked;
        if shown["status"] != "installation in progress" {
            assert_eq!(shown["status"], "ready", "{shown}");
            return unit.store.call_count() - before - asking;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// State of the cell and the schema are read for many entities at once, and so are their keys. Their events need no calls of their own.
#[tokio::test]
async fn further_entities_of_an_archive_cost_few_calls() {
    let (few, many) = (
        calls_of_installation(10).await,
        calls_of_installation(110).await,
    );
    assert!(many < few + 100, "{few}, {many}");
}

/// So many relations, each with a link to the role, and so many entities, each with a link.
fn archive_of_links(count: usize) -> Archive {
    let relations: Vec<Value> = (0..count)
        .map(|number| json!({"Name": format!("r{number}")}))
        .collect();
    let links: Vec<Value> = (0..count)
        .map(|number| {
            json!({"FromType": "Relation", "FromName": {"Name": format!("r{number}")}, "ToType": "Role", "ToName": {"Name": "reader"}})
        })
        .collect();
    let entity_links: Vec<Value> = (0..count)
        .map(|number| {
            json!({"FromType": "Person", "FromId": {"__id": "me"}, "ToType": "Pet", "ToId": {"__id": format!("p{number}")}})
        })
        .collect();
    let mut archive = full_archive()
        .without("00_meta/30_extroles.json")
        .with(
            "00_meta/10_relations.json",
            &json!({"Relations": relations}).to_string(),
        )
        .with(
            "00_meta/70_$links.json",
            &json!({"Links": links}).to_string(),
        )
        .with(
            "90_contents/data/10_odatarelations.json",
            &json!({"Links": entity_links}).to_string(),
        );
    for number in 0..count {
        let entity = json!({"__id": format!("p{number}"), "colour": "none"}).to_string();
        let name = format!("90_contents/data/90_data/Pet/{}.json", number + 3);
        archive = archive.with(&name, &entity);
    }
    archive
}

/// Relations and links are stored together, and the links that there are need not be counted for each further one.
#[tokio::test]
async fn further_relations_and_links_of_an_archive_cost_few_calls() {
    let (few, many) = (
        calls_of(&archive_of_links(10)).await,
        calls_of(&archive_of_links(110)).await,
    );
    // 14 reads for a relation and its link and the link of an entity; no commit and no state of the cell.
    assert!(many < few + 100 * 15, "{few}, {many}");
}

/// The types and objects of the events of entries in the log of the cell, in their order.
async fn logged_entries(unit: &TestUnit) -> Vec<String> {
    let log = unit.admin_request("GET", "c/__log/current/default.log");
    let log = log.send().await.expect(200).text();
    let line = |line: &str| {
        let mut fields = line.get(line.find("PL-BI-100")?..)?.split('"');
        let kind = fields.next()?;
        let entry = fields.nth(1)?.rsplit('/').next()?;
        Some(format!("{kind} {entry}"))
    };
    let of_entity = |shown: &String| shown.ends_with(".json") && !shown.contains('_');
    log.lines().filter_map(line).filter(of_entity).collect()
}

#[tokio::test]
async fn events_of_entries_that_are_posted_together_are_in_order_and_end_at_a_failure() {
    let settings = |settings: &mut personium_model::Settings| {
        settings.archives.entities_per_commit = 3;
    };
    let unit = TestUnit::with_settings(settings).await;
    let rule = r#"{"Name":"log","Action":"log","EventType":"PL-BI-100"}"#;
    unit.create("c/__ctl/Rule", rule).await;
    let archive = |age_of_fifth: &str| {
        let mut archive = full_archive()
            .without("90_contents/data/10_odatarelations.json")
            .without("90_contents/data/90_data/Pet/1.json")
            .without("90_contents/data/90_data/Pet/2.json");
        for number in 1..8 {
            let age = if number == 5 { age_of_fifth } else { "1" };
            let entity = format!("{{\"__id\":\"{number}\",\"age\":{age}}}");
            let name = format!("90_contents/data/90_data/Person/{number}.json");
            archive = archive.with(&name, &entity);
        }
        archive
    };
    install(&unit, "new", &archive("\"old\"")).await.expect(202);
    let shown = wait_for_installation(&unit, "new").await;
    assert_eq!(shown["status"], "installation failed", "{shown}");
    let failed = [
        "PL-BI-1003 1.json",
        "PL-BI-1003 2.json",
        "PL-BI-1003 3.json",
        "PL-BI-1004 5.json",
    ];
    let mut expected: Vec<String> = failed.map(str::to_owned).into();
    assert_eq!(logged_entries(&unit).await, expected);

    install(&unit, "new", &archive("1")).await.expect(202);
    let shown = wait_for_installation(&unit, "new").await;
    assert_eq!(shown["status"], "ready", "{shown}");
    expected.extend((1..8).map(|number| format!("PL-BI-1003 {number}.json")));
    assert_eq!(logged_entries(&unit).await, expected);
}

/// Installs an archive with one entry as an account that has these privileges on the cell.
async fn install_with(
    unit: &TestUnit,
    (name, privileges): (&str, &[&str]),
    (entry, content): (&str, &str),
) {
    let mut manifest: Value = serde_json::from_str(&super::manifest("2")).unwrap();
    manifest["schema"] = format!("http://{name}.example/").into();
    let archive = Archive::new()
        .with("00_meta/00_manifest.json", &manifest.to_string())
        .with(entry, content);
    grant_cell(unit, privileges).await;
    let token = unit.access_token("c").await;
    let request = unit.request("MKCOL", &format!("c/{name}")).bearer(&token);
    let request = request.header("content-type", "application/zip");
    let installed = request.body(archive.zip()).send().await;
    assert_eq!(installed.outcome(), success(202), "{name}");
    let shown = wait_for_installation(unit, name).await;
    assert_eq!(shown["status"], "ready", "{shown}");
}

#[tokio::test]
async fn service_of_an_archive_acts_as_an_account_only_if_the_installer_may_change_accounts() {
    let unit = unit_with_accounts(|_| {}).await;
    let props = "<multistatus xmlns=\"DAV:\" xmlns:p=\"urn:x-personium:xmlns\">\
        <response><href>personium-localbox:/</href><propstat><prop><resourcetype><collection/></resourcetype></prop></propstat></response>\
        <response><href>personium-localbox:/svc</href><propstat><prop><resourcetype><collection/><p:service/></resourcetype>\
        <p:service language=\"JavaScript\" subject=\"other\"><p:path name=\"t\" src=\"t.js\"/></p:service></prop></propstat></response>\
        <response><href>personium-localbox:/svc/__src</href><propstat><prop><resourcetype><collection/></resourcetype></prop></propstat></response>\
        </multistatus>";
    for (name, privileges, kept) in [
        ("denied", &["p:box-install"][..], false),
        ("read", &["p:box-install", "p:auth-read"], false),
        ("allowed", &["p:box-install", "p:auth"], true),
    ] {
        install_with(
            &unit,
            (name, privileges),
            ("00_meta/90_rootprops.xml", props),
        )
        .await;
        let service = format!("c/{name}/svc");
        let found = unit
            .admin_request("PROPFIND", &service)
            .header("depth", "0");
        let found = found.body("").send().await.text();
        assert!(found.contains("src=\"t.js\""), "{found}");
        assert_eq!(found.contains("subject"), kept, "{found}");
    }
}

#[tokio::test]
async fn timer_of_an_archive_acts_as_an_account_only_if_the_installer_may_write_rules() {
    let unit = unit_with_accounts(|_| {}).await;
    let rules = json!({"Rules": [
        {"Action": "log", "EventType": "timer.periodic", "EventObject": "1",
            "EventSubject": "personium-localunit:/c/#other"},
        {"Action": "log", "EventType": "x", "EventSubject": "personium-localunit:/c/#other"},
    ]});
    for (name, privileges, kept) in [
        ("denied", &["p:box-install"][..], false),
        ("allowed", &["p:box-install", "p:rule"], true),
    ] {
        install_with(
            &unit,
            (name, privileges),
            ("00_meta/50_rules.json", &rules.to_string()),
        )
        .await;
        let rules = unit.list_entities("c/__ctl/Rule").await;
        let has_subject = |kind: &str| {
            let is_it = |rule: &&Value| rule["_Box.Name"] == name && rule["EventType"] == kind;
            let rule = rules.iter().find(is_it).unwrap();
            rule["EventSubject"].is_string()
        };
        assert_eq!(has_subject("timer.periodic"), kept, "{name}");
        assert!(has_subject("x"), "{name}: a condition is kept");
    }
}
