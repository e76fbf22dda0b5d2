//! `personium rename-unit`: a unit that got another name.

use personium_testkit::{Process, TestClient};

use crate::administered_unit::AdministeredUnit;
use crate::program;

const NEW_HOST: &str = "unit.example";
const PAGES: &str = "<propertyupdate xmlns=\"DAV:\" xmlns:p=\"urn:x-personium:xmlns\"><set><prop>\
    <p:relayhtmlurl>APP__/page.html?a=1&amp;b=2</p:relayhtmlurl></prop></set></propertyupdate>";
const PROPFIND: &str = "<propfind xmlns=\"DAV:\"><allprop/></propfind>";

/// Makes a cell `alice` with every kind of URL of the cell `app` of the same unit.
async fn make_cells(client: &TestClient) {
    let app = client.cell_url("app");
    let names = r#"{"Name":"rel"}"#.to_owned();
    for (path, body) in [
        ("__ctl/Cell", r#"{"Name":"alice"}"#.to_owned()),
        ("__ctl/Cell", r#"{"Name":"app"}"#.to_owned()),
        (
            "alice/__ctl/Box",
            format!(r#"{{"Name":"box","Schema":"{app}"}}"#),
        ),
        ("alice/__ctl/Box", r#"{"Name":"plain"}"#.to_owned()),
        ("alice/__ctl/ExtCell", format!(r#"{{"Url":"{app}"}}"#)),
        (
            "alice/__ctl/ExtCell",
            r#"{"Url":"https://elsewhere.example/bob/"}"#.to_owned(),
        ),
        ("alice/__ctl/Relation", names),
        (
            "alice/__ctl/ExtRole",
            format!(
                r#"{{"ExtRole":"{app}__role/__/r","_Relation.Name":"rel","_Relation._Box.Name":null}}"#
            ),
        ),
        (
            "alice/__ctl/Rule",
            r#"{"Name":"rule","EventType":"x","EventExternal":true,"Action":"relay","TargetUrl":"personium-localunit:/app/x"}"#.to_owned(),
        ),
        (
            "alice/__ctl/Relation(Name='rel',_Box.Name=null)/$links/_ExtCell",
            format!(
                r#"{{"uri":"{}__ctl/ExtCell('{}')"}}"#,
                client.cell_url("alice"),
                app.replace(':', "%3A").replace('/', "%2F")
            ),
        ),
    ] {
        let response = client.request("POST", path).body(body).send().await;
        response.expect_success();
    }
    let pages = PAGES.replace("APP", &app);
    let patched = client.request("PROPPATCH", "alice").body(pages);
    patched.send().await.expect(207);
}

/// All that the unit says about the cell `alice`.
async fn description(client: &TestClient) -> String {
    let mut text = String::new();
    for set in [
        "Box",
        "ExtCell",
        "ExtRole",
        "Rule",
        "Relation('rel')/$links/_ExtCell",
    ] {
        let path = format!("alice/__ctl/{set}?$format=json");
        let found = client.request("GET", &path).send().await;
        text += &found.expect(200).text().replace("\\/", "/");
        text += "\n";
    }
    let found = client.request("PROPFIND", "alice").header("depth", "0");
    let found = found.body(PROPFIND).send().await;
    text + &found.expect(207).text()
}

fn rename(unit: &AdministeredUnit, from: &str, more: &[&str]) -> (bool, String) {
    let data = unit.data();
    let setting = format!("unitFqdn={NEW_HOST}");
    let mut arguments = vec![
        "rename-unit",
        "--from",
        from,
        "--data",
        data.to_str().unwrap(),
    ];
    arguments.extend(["-c", &setting]);
    arguments.extend(more);
    let output = program::run(&arguments);
    (output.status.success(), program::text(&output))
}

fn serve_renamed(unit: &AdministeredUnit) -> (Process, TestClient) {
    let setting = format!("unitFqdn={NEW_HOST}");
    let options = [
        &setting,
        "unitScheme=http",
        "unitPort=1",
        "pathBasedCellUrl.enabled=true",
    ];
    unit.serve(NEW_HOST, &options)
}

#[tokio::test]
async fn stored_urls_of_own_cells_get_the_new_name_and_others_stay() {
    let unit = AdministeredUnit::local();
    let (process, client) = unit.serve("localhost", &[]);
    let administrator = unit.administrator(&client).await;
    make_cells(&administrator).await;
    let before = description(&administrator).await;
    let former = client.url().to_owned();
    let (succeeded, text) = rename(&unit, &former, &[]);
    assert!(!succeeded && text.contains("stopped"), "{text}");
    drop(process);

    let options = [
        "-c",
        "unitScheme=http",
        "-c",
        "pathBasedCellUrl.enabled=true",
        "--dry-run",
    ];
    let certificate = || std::fs::read(unit.data().join("unit.crt")).unwrap();
    let certified = certificate();
    let (succeeded, text) = rename(&unit, &former, &options);
    assert_eq!(
        certificate(),
        certified,
        "a dry run changes no file: {text}"
    );
    assert!(
        succeeded && text.contains("4 to change, 0 refused"),
        "{text}"
    );
    let (process, client) = serve_renamed(&unit);
    let administrator = unit.administrator(&client).await;
    let dry = description(&administrator).await;
    assert!(dry.contains(&former), "nothing was changed: {dry}");
    let new_url = client.url().to_owned();
    drop(process);

    // The port of a test differs at each start, and belongs to the name.
    let mistyped = [&options[..4], &["--dry-run"]].concat();
    let (succeeded, text) = rename(&unit, "http://other.example/", &mistyped);
    assert!(
        succeeded && text.contains("no stored URL has the name"),
        "{text}"
    );
    let (succeeded, text) = rename(&unit, "http://other.example/", &options[..4]);
    assert!(
        succeeded && text.contains("no stored URL has the name"),
        "{text}"
    );
    let port = format!("unitPort={}", port_of(&new_url));
    let mut options = options[..4].to_vec();
    options.extend(["-c", &port]);
    let (succeeded, text) = rename(&unit, &former, &options);
    assert!(succeeded && text.contains("4 changed, 0 refused"), "{text}");
    let (succeeded, text) = rename(&unit, &former, &options);
    assert!(succeeded && text.contains("0 changed, 0 refused"), "{text}");
    let (process, client) = serve_renamed(&unit);
    let administrator = unit.administrator(&client).await;
    let after = description(&administrator).await;
    // The unit itself has another port now, its stored URLs that of the command.
    let present = client.url();
    let after = after.replace(present, "UNIT/").replace(&new_url, "UNIT/");
    let encoded = |url: &str| url.replace(':', "%3A").replace('/', "%2F");
    let after = after.replace(&encoded(&new_url), &encoded("UNIT/"));
    let expected = before.replace(&former, "UNIT/");
    let expected = expected.replace(&encoded(&former), &encoded("UNIT/"));
    assert_eq!(without_times(&after), without_times(&expected));
    drop(process);
}

#[test]
fn name_that_the_unit_has_and_texts_that_are_no_name_are_refused() {
    let unit = AdministeredUnit::local();
    for (from, says) in [
        ("https://unit.example/", "is the name of the unit"),
        ("unit.example", "no URL of a unit"),
        ("https://unit.example/cell/", "no URL of a unit"),
    ] {
        let (succeeded, text) = rename(&unit, from, &[]);
        assert!(!succeeded && text.contains(says), "{from}: {text}");
    }
}

fn port_of(url: &str) -> &str {
    let rest = url.trim_end_matches('/');
    rest.rsplit_once(':').map_or("80", |(_, port)| port)
}

/// The text without entity tags and times of change, which a change changes.
fn without_times(text: &str) -> String {
    let times = [
        ("\"etag\":\"", "\","),
        ("\"__updated\":\"", "\","),
        ("<getlastmodified>", "<"),
        ("<getetag>", "<"),
    ];
    let mut text = text.to_owned();
    for (begin, end) in times {
        let mut parts = text.split(begin);
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            out += part.split_once(end).map_or("", |(_, rest)| rest);
        }
        text = out;
    }
    text
}
