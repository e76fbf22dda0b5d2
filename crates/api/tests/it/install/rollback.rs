//! A failed installation leaves nothing behind, and says why it failed.

use personium_testkit::{TestUnit, refused, success};
use serde_json::Value;

use super::{APP, Archive, EMPTY};
use crate::install::{install, wait_for_installation};

const EDMX: &str =
    "<edmx:Edmx xmlns:edmx='http://schemas.microsoft.com/ado/2007/06/edmx'><edmx:DataServices>
<Schema xmlns='http://schemas.microsoft.com/ado/2006/04/edm' Namespace='UserData'>
<EntityType Name='E'/>
</Schema></edmx:DataServices></edmx:Edmx>";

/// An archive that makes something of every kind.
fn full() -> Archive {
    let resources = "<response><href>personium-localbox:/o</href><propstat><prop><resourcetype><collection/>\
                     <p:odata xmlns:p='urn:x-personium:xmlns'/></resourcetype></prop></propstat></response>
<response><href>personium-localbox:/f</href></response>";
    Archive::new()
        .with("00_meta/10_relations.json", r#"{"Relations":[{"Name":"friend"}]}"#)
        .with("00_meta/20_roles.json", r#"{"Roles":[{"Name":"reader"}]}"#)
        .with(
            "00_meta/30_extroles.json",
            r#"{"ExtRoles":[{"ExtRole":"http://far.example/__role/__/r","_Relation.Name":"friend"}]}"#,
        )
        .with(
            "00_meta/50_rules.json",
            r#"{"Rules":[{"EventType":"timer.periodic","EventObject":"1","Action":"log"},{"EventType":"t","Action":"log"}]}"#,
        )
        .with(
            "00_meta/70_$links.json",
            r#"{"Links":[{"FromType":"Relation","FromName":{"Name":"friend"},"ToType":"Role","ToName":{"Name":"reader"}}]}"#,
        )
        .with(
            "00_meta/90_rootprops.xml",
            &EMPTY.replace("</multistatus>", &format!("{resources}</multistatus>")),
        )
        .with("90_contents/f", "text")
        .with("90_contents/o/00_$metadata.xml", EDMX)
        .with("90_contents/o/90_data/E/1.json", r#"{"__id":"a"}"#)
}

/// Archives that fail at different steps, with the entry, the line if there is one, and the rule.
fn failing() -> Vec<(Archive, &'static str, Option<u32>, &'static str)> {
    let broken_links = "{\"Links\":[\n{\"FromType\":\"Relation\",\"FromName\":{\"Name\":\"friend\"},\"ToType\":\"Role\",\"ToName\":{\"Name\":\"none\"}}]}";
    let props = "00_meta/90_rootprops.xml";
    let broken_props = |inside: &str| {
        let root = EMPTY.replace("</multistatus>", "");
        full().with(props, &format!("{root}\n\n{inside}\n</multistatus>"))
    };
    let list = "<response><href>personium-localbox:/d</href><propstat><prop><resourcetype><collection/></resourcetype>\n\
                <acl xml:base='http://a/__role/b/'><ace/></acl></prop></propstat></response>";
    let metadata = "90_contents/o/00_$metadata.xml";
    vec![
        (
            full().with("00_meta/20_roles.json", "{\"Roles\":[\n{\"Name\":\"ok\"},\n{\"Name\":\"a/b\"}]}"),
            "00_meta/20_roles.json",
            Some(3),
            "PR400-OD-0006",
        ),
        (
            full().with("00_meta/20_roles.json", "{\"Roles\":[\n{\"Name\":\"a\"},\n{\"Name\":\"a\"}]}"),
            "00_meta/20_roles.json",
            Some(3),
            "PR409-OD-0003",
        ),
        (
            full().with("00_meta/50_rules.json", "{\"Rules\":[\n\n{\"Action\":\"log\",\"x\":1}]}"),
            "00_meta/50_rules.json",
            Some(3),
            "PL-BI-2002",
        ),
        (full().with("00_meta/70_$links.json", broken_links), "00_meta/70_$links.json", Some(2), "PR"),
        (broken_props("<response><href>x</href></response>"), props, Some(3), "PL-BI-2010"),
        (broken_props(list), props, Some(4), "PL-BI-2003"),
        (broken_props("<response>"), props, Some(4), "PL-BI-2002"),
        (full().with("90_contents/z", "x"), "90_contents/z", None, "PL-BI-2006"),
        (full().with(metadata, &EDMX.replace("Name='E'", "Name='a b'")), metadata, Some(3), "PR400-OD-0006"),
        (full().with(metadata, &EDMX.replace("Name='E'", "")), metadata, Some(3), "PL-BI-2003"),
        (
            full().with("90_contents/o/90_data/E/2.json", "{\n\n]"),
            "90_contents/o/90_data/E/2.json",
            Some(3),
            "PL-BI-2002",
        ),
        (
            full().with(
                "90_contents/o/10_odatarelations.json",
                "{\"Links\":[\n{\"FromType\":\"E\",\"FromId\":{\"__id\":\"a\"},\"ToType\":\"E\",\"ToId\":{\"__id\":\"b\"}}]}",
            ),
            "90_contents/o/10_odatarelations.json",
            Some(2),
            "PR400-OD-0008",
        ),
    ]
}

/// The number of objects of each kind in the cell.
async fn count(unit: &TestUnit) -> Vec<usize> {
    let mut counts = Vec::new();
    for set in ["Box", "Role", "Relation", "ExtRole", "Rule", "ExtCell"] {
        counts.push(unit.list_entities(&format!("c/__ctl/{set}")).await.len());
    }
    counts
}

async fn rules_in_force(unit: &TestUnit) -> Value {
    let shown = unit.admin_request("GET", "c/__rule").send().await.json();
    Value::from(vec![shown["rules"].clone(), shown["timers"].clone()])
}

#[tokio::test]
async fn failed_installation_leaves_nothing_behind_and_names_entry_line_and_rule() {
    let unit = TestUnit::new().await;
    unit.create("c/__ctl/Role", r#"{"Name":"reader"}"#).await;
    unit.create(
        "c/__ctl/Rule",
        r#"{"Name":"mine","Action":"log","EventType":"PL-BI-"}"#,
    )
    .await;
    let before = (count(&unit).await, rules_in_force(&unit).await);
    for (archive, entry, line, rule) in failing() {
        assert_eq!(
            install(&unit, "new", &archive).await.outcome(),
            success(202),
            "{entry}"
        );
        let shown = wait_for_installation(&unit, "new").await;
        assert_eq!(shown["status"], "installation failed", "{entry}: {shown}");
        assert_eq!(
            (&shown["name"], &shown["schema"]),
            (&"new".into(), &APP.into())
        );
        let text = shown["message"]["message"]["value"].as_str().unwrap();
        let place = line
            .map(|line| format!("line {line}: "))
            .unwrap_or_default();
        let start = format!("{entry}: {place}");
        assert!(
            text.starts_with(&start) && text.contains(rule),
            "{start} {rule}: {text}"
        );

        assert_eq!(count(&unit).await, before.0, "{entry}");
        let mut in_force = rules_in_force(&unit).await;
        in_force[0][0]["HitCount"] = before.1[0][0]["HitCount"].clone();
        assert_eq!(in_force, before.1, "{entry}");
        for (method, path) in [
            ("PROPFIND", "c/new"),
            ("DELETE", "c/new"),
            ("GET", "c/new/f"),
            ("GET", "c/new/o/$metadata"),
        ] {
            let request = unit
                .admin_request(method, path)
                .header("x-personium-recursive", "true");
            let response = request.header("depth", "0").send().await;
            assert_eq!(
                response.outcome(),
                refused(404, "DV-0002"),
                "{method} {path}"
            );
        }
    }
    let records = unit.model.cell_records(&unit.cell_id().await);
    let left = personium_model::keys::installations();
    assert!(records.is_empty(&left).await.unwrap());
    let lines = unit
        .admin_request("GET", "c/__log/current/default.log")
        .send()
        .await
        .text();
    assert_eq!(
        lines.matches("\"PL-BI-0001\"").count(),
        failing().len(),
        "{lines}"
    );
    assert!(lines.contains("line 3: "), "{lines}");
}

#[tokio::test]
async fn box_can_be_installed_again_after_a_failure() {
    let unit = TestUnit::new().await;
    install(&unit, "new", &full().with("90_contents/z", "x")).await;
    let shown = wait_for_installation(&unit, "new").await;
    assert_eq!(shown["status"], "installation failed");
    assert_eq!(install(&unit, "new", &full()).await.outcome(), success(202));
    let shown = wait_for_installation(&unit, "new").await;
    assert_eq!(shown["status"], "ready", "{shown}");
    let remove = unit
        .admin_request("DELETE", "c/new")
        .header("x-personium-recursive", "true");
    assert_eq!(remove.send().await.outcome(), success(204));
    assert_eq!(
        unit.admin_outcome("GET", "c/new").await,
        refused(404, "DV-0002")
    );
}

#[tokio::test]
async fn failure_is_shown_to_those_who_may_install_only() {
    let unit = TestUnit::new().await;
    install(&unit, "new", &full().with("90_contents/z", "x")).await;
    wait_for_installation(&unit, "new").await;
    assert_eq!(unit.admin_request("GET", "c/new").send().await.status, 200);
    assert_eq!(
        unit.request("GET", "c/new").send().await.outcome(),
        refused(404, "DV-0002")
    );
    assert_eq!(
        unit.admin_outcome("GET", "c/none").await,
        refused(404, "DV-0002")
    );
    // A box of the name has no failure.
    unit.create("c/__ctl/Box", r#"{"Name":"new"}"#).await;
    assert_eq!(wait_for_installation(&unit, "new").await["status"], "ready");
    let remove = unit
        .admin_request("DELETE", "c/__ctl/Box('new')")
        .header("if-match", "*");
    assert_eq!(remove.send().await.outcome(), success(204));
    assert_eq!(
        unit.admin_outcome("GET", "c/new").await,
        refused(404, "DV-0002")
    );
}

#[tokio::test]
async fn failed_legacy_installation_leaves_its_odata_collections_only() {
    let unit = TestUnit::new().await;
    let before = count(&unit).await;
    let legacy = |archive: Archive| archive.legacy();
    // Without an OData collection in the way, nothing is left.
    install(&unit, "new", &legacy(full().with("90_contents/z", "x"))).await;
    wait_for_installation(&unit, "new").await;
    assert_eq!(count(&unit).await, before);
    let data = full().with("90_contents/o/90_data/E/2.json", "{");
    install(&unit, "new", &legacy(data)).await;
    let shown = wait_for_installation(&unit, "new").await;
    assert_eq!(shown["status"], "installation failed");
    let mut left = before.clone();
    left[0] += 1;
    assert_eq!(
        count(&unit).await,
        left,
        "the box, but no role, relation or rule"
    );
    assert_eq!(
        unit.admin_outcome("GET", "c/new/o/$metadata/EntityType('E')")
            .await,
        success(200)
    );
    let remove = unit
        .admin_request("DELETE", "c/new")
        .header("x-personium-recursive", "true");
    assert_eq!(remove.send().await.outcome(), success(204));
}

#[tokio::test]
async fn box_that_is_removed_during_its_installation_stays_removed() {
    let unit = TestUnit::new().await;
    let before = count(&unit).await;
    let mut archive = full();
    for number in 2..200 {
        archive = archive.with(&format!("90_contents/o/90_data/E/{number}.json"), "{}");
    }
    assert_eq!(
        install(&unit, "new", &archive).await.outcome(),
        success(202)
    );
    let remove = unit
        .admin_request("DELETE", "c/new")
        .header("x-personium-recursive", "true");
    assert_eq!(remove.send().await.outcome(), success(204));
    for _ in 0..20 {
        assert_eq!(count(&unit).await, before);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(
        unit.admin_outcome("GET", "c/new").await,
        refused(404, "DV-0002")
    );
}

#[tokio::test]
async fn box_can_be_removed_at_each_step_of_its_installation() {
    let unit = TestUnit::new().await;
    let before = count(&unit).await;
    let archive = full();
    for steps in 0..120 {
        let name = format!("b{steps}");
        assert_eq!(
            install(&unit, &name, &archive).await.outcome(),
            success(202)
        );
        for _ in 0..steps {
            tokio::task::yield_now().await;
        }
        let remove = unit
            .admin_request("DELETE", &format!("c/{name}"))
            .header("x-personium-recursive", "true");
        assert_eq!(remove.send().await.outcome(), success(204), "{steps}");
        assert_eq!(count(&unit).await, before, "{steps}");
        assert_eq!(
            unit.admin_outcome("GET", &format!("c/{name}")).await,
            refused(404, "DV-0002"),
            "{steps}"
        );
    }
}
