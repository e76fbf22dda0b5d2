//! The effects of requests on rights, each with all ways to it: an indirect way needs what the direct way needs.

use personium_testkit::{TestUnit, cell_url, escape, refused, text_member};
use personium_types::Privilege as P;
use serde_json::{Value, json};

use crate::auth::unit_with_accounts;
use crate::message::{ID, deliver, request_message};

/// The URL of a cell that has no rights before.
const STRANGER: &str = "http://far.example/x/";
/// The URL of a cell that is linked with the role and the relation `given`.
const FRIEND: &str = "http://near.example/y/";
/// The URL of a cell that is linked with the relation `family`, which has the role `given`.
const KIN: &str = "http://kin.example/k/";
/// The URL of a cell that is linked with the relation `plain`, which has no role.
const PAL: &str = "http://pal.example/p/";

/// One way to an effect.
struct Way {
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, &'static str)>,
    body: Value,
    /// The objects that a delivered message requests, if the way is to approve them.
    requested: Option<Value>,
    /// The privileges that the way needs besides those of the effect.
    also: &'static [P],
}

/// An effect on rights.
struct Effect {
    name: &'static str,
    /// The privileges that every way needs.
    needs: &'static [P],
    ways: Vec<Way>,
    /// A list that shows the effect: its path, a text in it, and whether the text is there after the effect.
    shown: (&'static str, &'static str, bool),
}

fn request(method: &'static str, path: &str, body: Value) -> Way {
    Way {
        method,
        path: path.to_owned(),
        headers: Vec::new(),
        body,
        requested: None,
        also: &[],
    }
}

/// POST that a header turns into another method.
fn overridden(method: &'static str, path: &str, body: Value) -> Way {
    Way {
        headers: vec![("x-http-method-override", method)],
        ..request("POST", path, body)
    }
}

fn approval(object: Value) -> Way {
    Way {
        requested: Some(json!([object])),
        also: &[P::Message],
        ..request(
            "POST",
            &format!("c/__message/received/{ID}"),
            json!({"Command": "approved"}),
        )
    }
}

fn uri(entity: &str) -> Value {
    json!({"uri": format!("{}__ctl/{entity}", cell_url("c"))})
}

fn ext_cell(url: &str) -> String {
    format!("ExtCell('{}')", escape(url))
}

/// The ways to link a role or relation with the cell of a stranger.
fn ways_to_link(set: &str, kind: &str) -> Vec<Way> {
    let (free, known) = (format!("{set}('free')"), ext_cell(STRANGER));
    vec![
        request(
            "POST",
            &format!("c/__ctl/{free}/$links/_ExtCell"),
            uri(&known),
        ),
        request(
            "POST",
            &format!("c/__ctl/{known}/$links/_{set}"),
            uri(&free),
        ),
        approval(
            json!({"RequestType": format!("{kind}.add"), "Name": "free", "TargetUrl": STRANGER}),
        ),
        approval(
            json!({"RequestType": format!("{kind}.add"), "TargetUrl": STRANGER,
            "ClassUrl": format!("{}__{kind}/__/boxed", cell_url("appcell"))}),
        ),
    ]
}

/// The ways to remove the link of a role or relation with the cell of a friend.
fn ways_to_unlink(set: &str, kind: &str) -> Vec<Way> {
    let (given, friend) = (format!("{set}('given')"), ext_cell(FRIEND));
    let friend_key = friend.trim_start_matches("ExtCell");
    vec![
        request(
            "DELETE",
            &format!("c/__ctl/{given}/$links/_ExtCell{friend_key}"),
            Value::Null,
        ),
        request(
            "DELETE",
            &format!("c/__ctl/{friend}/$links/_{set}('given')"),
            Value::Null,
        ),
        approval(
            json!({"RequestType": format!("{kind}.remove"), "Name": "given", "TargetUrl": FRIEND}),
        ),
    ]
}

/// The ways to give another URL to a cell.
fn ways_to_rename(url: &str) -> Vec<Way> {
    let path = format!("c/__ctl/{}", ext_cell(url));
    let renamed = || json!({"Url": "http://far.example/z/"});
    vec![
        request("PUT", &path, renamed()),
        request("MERGE", &path, renamed()),
        overridden("PUT", &path, renamed()),
        overridden("MERGE", &path, renamed()),
    ]
}

fn effects() -> Vec<Effect> {
    let renamed = || json!({"Url": "http://far.example/z/"});
    let friend = format!("c/__ctl/{}", ext_cell(FRIEND));
    let rule = json!({"Name": "fresh", "Action": "log"});
    vec![
        Effect {
            name: "a cell gets a role",
            needs: &[P::Auth, P::Social],
            ways: ways_to_link("Role", "role"),
            shown: (
                "c/__ctl/ExtCell('http%3A%2F%2Ffar.example%2Fx%2F')/$links/_Role",
                "Role",
                true,
            ),
        },
        Effect {
            name: "a new cell gets a role",
            needs: &[P::Auth, P::Social],
            ways: vec![
                request("POST", "c/__ctl/Role('given')/_ExtCell", renamed()),
                approval(json!({"RequestType": "role.add", "Name": "given",
                    "TargetUrl": "http://far.example/z/"})),
                request("PUT", &friend, renamed()),
                request("MERGE", &friend, renamed()),
                overridden("PUT", &friend, renamed()),
                overridden("MERGE", &friend, renamed()),
            ],
            shown: ("c/__ctl/Role('given')/$links/_ExtCell", "far.example", true),
        },
        Effect {
            name: "a new cell gets a role by a relation",
            needs: &[P::Auth, P::Social],
            ways: ways_to_rename(KIN),
            shown: (
                "c/__ctl/Relation('family')/$links/_ExtCell",
                "far.example",
                true,
            ),
        },
        Effect {
            name: "a new cell gets a relation",
            needs: &[P::Social],
            ways: ways_to_rename(PAL),
            shown: (
                "c/__ctl/Relation('plain')/$links/_ExtCell",
                "far.example",
                true,
            ),
        },
        Effect {
            name: "a cell loses a role",
            needs: &[P::Auth, P::Social],
            ways: ways_to_unlink("Role", "role"),
            shown: (
                "c/__ctl/Role('given')/$links/_ExtCell",
                "near.example",
                false,
            ),
        },
        Effect {
            name: "a cell gets a relation",
            needs: &[P::Social],
            ways: ways_to_link("Relation", "relation"),
            shown: (
                "c/__ctl/ExtCell('http%3A%2F%2Ffar.example%2Fx%2F')/$links/_Relation",
                "Relation",
                true,
            ),
        },
        Effect {
            name: "a cell loses a relation",
            needs: &[P::Social],
            ways: ways_to_unlink("Relation", "relation"),
            shown: (
                "c/__ctl/Relation('given')/$links/_ExtCell",
                "near.example",
                false,
            ),
        },
        Effect {
            name: "an account gets a role",
            needs: &[P::Auth],
            ways: vec![
                request(
                    "POST",
                    "c/__ctl/Account('me')/$links/_Role",
                    uri("Role('free')"),
                ),
                request(
                    "POST",
                    "c/__ctl/Role('free')/$links/_Account",
                    uri("Account('me')"),
                ),
            ],
            shown: ("c/__ctl/Account('me')/$links/_Role", "free", true),
        },
        Effect {
            name: "a relation gets a role",
            needs: &[P::Auth, P::Social],
            ways: vec![
                request(
                    "POST",
                    "c/__ctl/Relation('free')/$links/_Role",
                    uri("Role('free')"),
                ),
                request(
                    "POST",
                    "c/__ctl/Role('free')/$links/_Relation",
                    uri("Relation('free')"),
                ),
                request(
                    "POST",
                    "c/__ctl/Role('free')/_Relation",
                    json!({"Name": "free2"}),
                ),
            ],
            shown: ("c/__ctl/Role('free')/$links/_Relation", "free", true),
        },
        Effect {
            name: "a rule comes into force",
            needs: &[P::Rule],
            ways: vec![
                request("POST", "c/__ctl/Rule", rule.clone()),
                request("PUT", "c/__ctl/Rule('given')", rule.clone()),
                overridden("PUT", "c/__ctl/Rule('given')", rule),
                approval(json!({"RequestType": "rule.add", "Name": "fresh", "Action": "log"})),
            ],
            shown: ("c/__ctl/Rule", "fresh", true),
        },
        Effect {
            name: "a rule is removed",
            needs: &[P::Rule],
            ways: vec![
                request("DELETE", "c/__ctl/Rule('given')", Value::Null),
                overridden("DELETE", "c/__ctl/Rule('given')", Value::Null),
                approval(json!({"RequestType": "rule.remove", "Name": "given"})),
            ],
            shown: ("c/__ctl/Rule", "given", false),
        },
    ]
}

/// A unit whose cell `c` has what the ways use.
async fn unit() -> TestUnit {
    let unit = unit_with_accounts(|_| {}).await;
    for url in [STRANGER, FRIEND] {
        unit.create("c/__ctl/ExtCell", &json!({"Url": url}).to_string())
            .await;
    }
    for set in ["Role", "Relation"] {
        let path = format!("c/__ctl/{set}");
        for name in ["free", "given"] {
            unit.create(&path, &json!({"Name": name}).to_string()).await;
        }
        unit.create(&path, r#"{"Name":"boxed","_Box.Name":"app"}"#)
            .await;
        unit.link(
            "c",
            &format!("{set}('given')"),
            "_ExtCell",
            &ext_cell(FRIEND),
        )
        .await;
    }
    for (url, relation) in [(KIN, "family"), (PAL, "plain")] {
        let relation_body = json!({"Name": relation}).to_string();
        unit.create("c/__ctl/Relation", &relation_body).await;
        unit.create("c/__ctl/ExtCell", &json!({"Url": url}).to_string())
            .await;
        let relation = format!("Relation('{relation}')");
        unit.link("c", &relation, "_ExtCell", &ext_cell(url)).await;
    }
    unit.link("c", "Relation('family')", "_Role", "Role('given')")
        .await;
    unit.create("c/__ctl/Rule", r#"{"Name":"given","Action":"log"}"#)
        .await;
    unit
}

impl Way {
    async fn send(&self, unit: &TestUnit, token: &str) -> (u16, String) {
        let request = unit.request(self.method, &self.path).bearer(token);
        let request = self.headers.iter().fold(request, |request, (name, value)| {
            request.header(name, value)
        });
        let body = match &self.body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        request.body(body).send().await.outcome()
    }
}

impl Effect {
    async fn has_happened(&self, unit: &TestUnit) -> bool {
        let (path, text, is_there) = self.shown;
        let request = unit
            .admin_request("GET", path)
            .header("accept", "application/json");
        let found = request.send().await.expect(200).text();
        found.contains(text) == is_there
    }
}

/// The privileges of the cell that do not include this one.
fn all_but(lacking: P) -> Vec<String> {
    P::ALL
        .iter()
        .filter(|p| p.is_cell_level() && !p.includes(lacking))
        .map(ToString::to_string)
        .collect()
}

async fn grant(unit: &TestUnit, privileges: &[String]) {
    let privileges: Vec<&str> = privileges.iter().map(String::as_str).collect();
    unit.grant_to_everybody("c", &privileges).await;
}

#[tokio::test]
async fn every_way_to_an_effect_needs_the_same_privileges() {
    for effect in effects() {
        for way in &effect.ways {
            let unit = unit().await;
            let token = unit.access_token("c").await;
            if let Some(objects) = &way.requested {
                deliver(&unit, &request_message(objects.clone())).await;
            }
            let what = format!("{}: {} {} {}", effect.name, way.method, way.path, way.body);
            for needed in effect.needs.iter().chain(way.also) {
                grant(&unit, &all_but(*needed)).await;
                let outcome = way.send(&unit, &token).await;
                assert_eq!(outcome, refused(403, "AU-0002"), "{what} without {needed}");
                assert!(!effect.has_happened(&unit).await, "{what} without {needed}");
            }
            let enough = effect.needs.iter().chain(way.also).map(ToString::to_string);
            grant(&unit, &enough.collect::<Vec<_>>()).await;
            let (status, code) = way.send(&unit, &token).await;
            assert!((200..300).contains(&status), "{what}: {status} {code}");
            assert!(effect.has_happened(&unit).await, "{what}");
        }
    }
}

#[tokio::test]
async fn scope_of_the_token_limits_every_way_to_an_effect() {
    for effect in effects() {
        for way in &effect.ways {
            let unit = unit().await;
            if let Some(objects) = &way.requested {
                deliver(&unit, &request_message(objects.clone())).await;
            }
            grant(&unit, &["p:root".to_owned()]).await;
            for needed in effect.needs.iter().chain(way.also) {
                let others = P::ALL
                    .iter()
                    .filter(|p| p.is_cell_level() && !p.includes(*needed));
                let scope: Vec<&str> = others.map(|p| p.local_name()).collect();
                let login = unit.login("c", &[("scope", &scope.join(" "))]).await;
                let token = text_member(&login, "access_token");
                let (status, _) = way.send(&unit, &token).await;
                assert_eq!(
                    status, 403,
                    "{}: {} without {needed}",
                    effect.name, way.path
                );
                assert!(!effect.has_happened(&unit).await, "{}", effect.name);
            }
        }
    }
}

#[tokio::test]
async fn external_cell_without_roles_is_renamed_with_the_privilege_for_relations_alone() {
    let unit = unit().await;
    let token = unit.access_token("c").await;
    grant(&unit, &["p:social".to_owned()]).await;
    let path = format!("c/__ctl/{}", ext_cell(STRANGER));
    let rename = request("PUT", &path, json!({"Url": "http://far.example/new/"}));
    assert_eq!(rename.send(&unit, &token).await.0, 204);
    let same = request(
        "MERGE",
        &format!("c/__ctl/{}", ext_cell(FRIEND)),
        json!({"Url": FRIEND}),
    );
    assert_eq!(
        same.send(&unit, &token).await.0,
        204,
        "the URL does not change"
    );
}
