//! OAuth2 policies that a cell sets by its properties.

use personium_testkit::{PASSWORD, TestUnit, text_member};

use super::authorize::{
    CHALLENGE, authorization_request, get, location_parameter, post, redeem, with_login,
};
use super::{oauth_error, unit_with_accounts};

/// Sets a policy property of the cell `c` to true.
async fn set_policy(unit: &TestUnit, property: &str) {
    let patch = format!(
        "<D:propertyupdate xmlns:D='DAV:' xmlns:p='urn:x-personium:xmlns'><D:set><D:prop>\
         <p:{property}>true</p:{property}></D:prop></D:set></D:propertyupdate>"
    );
    let response = unit
        .admin_request("PROPPATCH", "c")
        .body(&patch)
        .send()
        .await;
    assert_eq!(response.status, 207, "{}", response.text());
}

async fn discovery_list(unit: &TestUnit, what: &str) -> Vec<String> {
    let path = "c/.well-known/openid-configuration";
    let document = unit.request("GET", path).send().await.json();
    let list = document[what].as_array().unwrap().iter();
    list.map(|word| word.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn implicit_flow_is_refused_if_the_cell_policy_says_so() {
    let unit = unit_with_accounts(|_| {}).await;
    let token = location_parameter(
        &post(&unit, &with_login(authorization_request("token"))).await,
        "access_token",
    );
    assert!(token.unwrap().starts_with("AR~"));
    assert!(
        discovery_list(&unit, "response_types_supported")
            .await
            .contains(&"token".to_owned())
    );
    set_policy(&unit, "authorizationrefusesimplicit").await;
    for response in [
        post(&unit, &with_login(authorization_request("token"))).await,
        get(&unit, &authorization_request("token")).await,
    ] {
        assert_eq!(
            location_parameter(&response, "error").as_deref(),
            Some("unsupported_response_type")
        );
        assert_eq!(location_parameter(&response, "access_token"), None);
    }
    let code = location_parameter(
        &post(&unit, &with_login(authorization_request("code"))).await,
        "code",
    );
    assert!(code.unwrap().starts_with("GC~"));
    assert!(
        !discovery_list(&unit, "response_types_supported")
            .await
            .contains(&"token".to_owned())
    );
}

#[tokio::test]
async fn authorization_response_names_the_issuer_if_the_cell_policy_says_so() {
    let unit = unit_with_accounts(|_| {}).await;
    let answers = async || {
        let mut cancelled = authorization_request("code");
        cancelled.push(("cancel_flg", "true".to_owned()));
        let mut issuers = Vec::new();
        for fields in [
            with_login(authorization_request("code")),
            with_login(authorization_request("token")),
            cancelled,
        ] {
            let response = post(&unit, &fields).await;
            assert!(
                location_parameter(&response, "code")
                    .or(location_parameter(&response, "access_token"))
                    .is_some(),
                "{}",
                response.text()
            );
            issuers.push(location_parameter(&response, "iss"));
        }
        let path = "c/.well-known/openid-configuration";
        let document = unit.request("GET", path).send().await.json();
        let offered = &document["authorization_response_iss_parameter_supported"];
        (
            issuers,
            offered.as_bool().unwrap(),
            document["issuer"].as_str().unwrap().to_owned(),
        )
    };
    let (issuers, offered, cell) = answers().await;
    assert_eq!((issuers, offered), (vec![None; 3], false));
    set_policy(&unit, "authorizationnamesissuer").await;
    assert_eq!(answers().await, (vec![Some(cell.clone()); 3], true, cell));
}

#[tokio::test]
async fn password_grant_is_refused_if_the_cell_policy_says_so() {
    let unit = unit_with_accounts(|_| {}).await;
    let refresh = text_member(&unit.login("c", &[]).await, "refresh_token");
    assert!(
        discovery_list(&unit, "grant_types_supported")
            .await
            .contains(&"password".to_owned())
    );
    set_policy(&unit, "tokenrefusespassword").await;
    for password in [PASSWORD, "wrong1"] {
        let fields = [
            ("grant_type", "password"),
            ("username", "me"),
            ("password", password),
        ];
        let refused = oauth_error(&unit.request_token("c", &fields).await);
        assert_eq!(refused, "unsupported_grant_type AN-0001");
    }
    assert!(
        !discovery_list(&unit, "grant_types_supported")
            .await
            .contains(&"password".to_owned())
    );
    // The form of the cell and tokens issued before still work.
    let code = location_parameter(
        &post(&unit, &with_login(authorization_request("code"))).await,
        "code",
    )
    .unwrap();
    assert_eq!(redeem(&unit, &code, &[]).await.status, 200);
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh.as_str()),
    ];
    assert_eq!(unit.request_token("c", &fields).await.status, 200);
    unit.login("d", &[]).await;
}

#[tokio::test]
async fn pkce_is_required_if_the_cell_policy_says_so() {
    let unit = unit_with_accounts(|_| {}).await;
    set_policy(&unit, "authorizationrequirespkce").await;
    let response = post(&unit, &with_login(authorization_request("code"))).await;
    assert_eq!(
        location_parameter(&response, "code").as_deref(),
        Some("PR400-AZ-0009")
    );
    assert_eq!(
        location_parameter(&response, "error").as_deref(),
        Some("invalid_request")
    );
    let mut fields = with_login(authorization_request("code"));
    fields.push(("code_challenge", CHALLENGE.to_owned()));
    fields.push(("code_challenge_method", "S256".to_owned()));
    assert!(
        location_parameter(&post(&unit, &fields).await, "code")
            .unwrap()
            .starts_with("GC~")
    );
}
