//! The cells whose accounts are unit users: nobody else may make one, and none may speak for others.

use personium_testkit::{TestUnit, UNIT_URL, cell_url, refused, success};
use personium_token::role_url::RoleUrl;
use serde_json::json;

use super::unit_with_accounts;

/// The issuers: an existing cell, two that do not exist, and a cell of another unit.
const ISSUERS: [&str; 4] = [
    "personium-localunit:/d/",
    "personium-localunit:ghost:/",
    "http://unit.example/phantom/",
    "http://other.example/admin/",
];

async fn unit() -> TestUnit {
    unit_with_accounts(|s| {
        s.auth.unit_user_issuers = ISSUERS.map(str::to_owned).to_vec();
    })
    .await
}

/// A token for the unit that an issuer signs about a subject, with roles of the issuer.
fn unit_token(unit: &TestUnit, issuer: &str, subject: &str, roles: &[&str]) -> String {
    unit.assertion(|token| {
        issuer.clone_into(&mut token.issuer);
        subject.clone_into(&mut token.subject);
        UNIT_URL.clone_into(&mut token.target);
        token.roles = roles
            .iter()
            .map(|role| RoleUrl::class(issuer, role).to_string())
            .collect();
    })
}

#[tokio::test]
async fn only_administrators_give_cells_the_names_of_issuers() {
    let unit = unit().await;
    let d = cell_url("d");
    let subject = format!("{d}#me");
    let user = unit_token(&unit, &d, &subject, &["CellContentsAdmin"]);
    let administrator = unit_token(&unit, &d, &subject, &["UnitAdmin"]);
    let create = async |token: &str, name: &str| {
        let body = json!({"Name": name}).to_string();
        unit.post_as(token, "__ctl/Cell", &body).await.outcome()
    };
    assert_eq!(create(&user, "own").await, success(201));
    for name in ["ghost", "phantom"] {
        assert_eq!(create(&user, name).await, refused(403, "AU-0008"), "{name}");
        let body = json!({"Name": name}).to_string();
        for (method, overridden) in [("PUT", None), ("MERGE", None), ("POST", Some("PUT"))] {
            let mut request = unit.request(method, "__ctl/Cell('own')").bearer(&user);
            if let Some(overridden) = overridden {
                request = request.header("x-http-method-override", overridden);
            }
            let outcome = request.body(body.clone()).send().await.outcome();
            assert_eq!(outcome, refused(403, "AU-0008"), "{method} {name}");
        }
    }
    assert_eq!(create(&administrator, "ghost").await, success(201));
    let acting = unit.request("POST", "__ctl/Cell").bearer(&administrator);
    let acting = acting.header("x-personium-unit-user", &subject);
    let made = acting.body(r#"{"Name":"phantom"}"#).send().await.outcome();
    assert_eq!(made, success(201), "an administrator for a unit user");
    let same = unit.request("MERGE", "__ctl/Cell('phantom')").bearer(&user);
    let same = same.body(r#"{"Name":"phantom"}"#).send().await.outcome();
    assert_eq!(same, success(204), "the name does not change");
}

#[tokio::test]
async fn issuer_speaks_for_its_own_accounts_only() {
    let unit = unit().await;
    let d = cell_url("d");
    let roles = &["UnitAdmin", "CellContentsAdmin"];
    for (subject, outcome) in [
        (format!("{d}#me"), success(200)),
        (format!("{d}#"), refused(403, "AU-0001")),
        (d.clone(), refused(403, "AU-0001")),
        (format!("{}#me", cell_url("c")), refused(403, "AU-0001")),
        ("http://other.example/x/#me".to_owned(), success(200)),
    ] {
        let token = unit_token(&unit, &d, &subject, roles);
        let found = unit.outcome_with_token("GET", "__ctl/Cell", &token).await;
        assert_eq!(found, outcome, "{subject}");
    }
}
