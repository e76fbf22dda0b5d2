//! The tokens of requests to cells of other units, which are signed once for several requests.

use personium_model::auth::token_issuer::TokenIssuer;
use personium_model::credentials::UnitKeys;
use personium_model::event::Event;
use personium_testkit::{PASSWORD, TestUnit, cell_url, success};
use personium_token::saml::{self, TransCellToken};
use personium_types::{Code, Result};

use crate::auth::unit_with_accounts;

const TARGET: &str = "https://other.example/far/";
const HOUR_MS: i64 = 3_600_000;

/// The token with which a rule of `c` acts on behalf of the account `me` with this id.
async fn action_token(unit: &TestUnit, account: &str, scope: &str) -> Result<String> {
    let context = unit.model.find_cell("c").await.unwrap().unwrap();
    let event = Event {
        subject: Some(cell_url("c") + "#me"),
        account: Some(account.to_owned()),
        ..Event::internal()
    };
    let token = TokenIssuer::new(&unit.model, &context)
        .action_token(&event, vec![scope.to_owned()], Some(TARGET), HOUR_MS)
        .await?;
    Ok(token.unwrap())
}

fn verified(unit: &TestUnit, text: &str) -> TransCellToken {
    let certificates = unit.model.keys().certificates();
    saml::verify(text, unit.model.now_ms(), &certificates.trust_roots).unwrap()
}

#[tokio::test]
async fn token_of_a_rule_is_signed_once_while_nothing_in_it_changes() {
    let unit = unit_with_accounts(|_| {}).await;
    let context = unit.model.find_cell("c").await.unwrap().unwrap();
    let me = context
        .find_account("me")
        .await
        .unwrap()
        .unwrap()
        .id
        .clone();
    let first = action_token(&unit, &me, "event").await.unwrap();
    assert_eq!(action_token(&unit, &me, "event").await.unwrap(), first);
    let content = verified(&unit, &first);
    assert_eq!((content.target.as_str(), content.roles.len()), (TARGET, 0));
    assert_eq!(content.subject, cell_url("c") + "#me");
    let other = action_token(&unit, &me, "root").await.unwrap();
    assert_eq!(verified(&unit, &other).scopes, ["root"]);

    // A role that the account gets and loses.
    unit.create("c/__ctl/Role", r#"{"Name":"reader"}"#).await;
    let links = "c/__ctl/Account('me')/$links/_Role";
    let body = format!(r#"{{"uri":"{}__ctl/Role('reader')"}}"#, cell_url("c"));
    assert_eq!(unit.post(links, &body).await.outcome(), success(204));
    let with_role = action_token(&unit, &me, "event").await.unwrap();
    let role = format!("{}__role/__/reader", cell_url("c"));
    assert_eq!(verified(&unit, &with_role).roles, [role]);
    let link = format!("{links}(Name='reader')");
    assert_eq!(unit.admin_outcome("DELETE", &link).await, success(204));
    let without = action_token(&unit, &me, "event").await.unwrap();
    assert!(verified(&unit, &without).roles.is_empty());

    // Another key of the unit.
    let keys = UnitKeys::self_signed(
        "unit.example",
        "a secret of these tests",
        unit.model.now_ms(),
    );
    let certificates = keys.unwrap().certificates();
    unit.model.keys().replace_certificates(certificates);
    let signed_anew = action_token(&unit, &me, "event").await.unwrap();
    assert_eq!(verified(&unit, &signed_anew).target, TARGET);

    // An account that is deactivated, and one that is removed.
    let body = r#"{"Status":"deactivated"}"#;
    let merge = unit.admin_request("MERGE", "c/__ctl/Account('me')");
    assert_eq!(merge.body(body).send().await.status, 204);
    let refusal = action_token(&unit, &me, "event").await.unwrap_err();
    assert_eq!(refusal.code(), Code::AuthnFailed);
    let removed = unit.admin_outcome("DELETE", "c/__ctl/Account('me')").await;
    assert_eq!(removed, success(204));
    let refusal = action_token(&unit, &me, "event").await.unwrap_err();
    assert_eq!(refusal.code(), Code::AuthnFailed);
}

#[tokio::test]
async fn token_that_a_client_asks_for_is_always_a_new_one() {
    let unit = unit_with_accounts(|_| {}).await;
    let form = [
        ("grant_type", "password"),
        ("username", "me"),
        ("password", PASSWORD),
        ("p_target", TARGET),
    ];
    let mut ids = Vec::new();
    for _ in 0..2 {
        let response = unit.request_token("c", &form).await;
        let text = personium_testkit::text_member(&response.json(), "access_token");
        ids.push(verified(&unit, &text).id);
    }
    assert_ne!(ids[0], ids[1]);
}
