//! Who gets in, and who does not.

mod apps;
mod authorize;
mod basic;
mod by_cookie;
mod form_page;
mod login;
mod neighbours;
mod oidc;
mod tokens;
mod trust;

use personium_token::saml::{self, TransCellToken};
use personium_token::trust::UnitKey;
use serde_json::Value;

use crate::harness::{Reply, UNIT, World};

/// The password of every account here.
pub const PASSWORD: &str = "password1";

/// A unit with the cells `c`, `d` and `appcell`, an account `me` in each, and no wait after failures.
pub async fn world(change: impl FnOnce(&mut personium_model::Settings)) -> World {
    let world = World::with(|settings| {
        settings.auth.interval_seconds = 0;
        change(settings);
    })
    .await;
    for cell in ["d", "appcell"] {
        let body = format!("{{\"Name\":\"{cell}\"}}");
        world.make("__ctl/Cell", &body).await;
    }
    for cell in ["c", "d", "appcell"] {
        world.account(cell, r#"{"Name":"me"}"#).await;
    }
    world
}

/// The URL of a cell.
pub fn cell_url(name: &str) -> String {
    format!("{UNIT}{name}/")
}

/// A form body.
pub fn form(fields: &[(&str, &str)]) -> String {
    let mut out = url::form_urlencoded::Serializer::new(String::new());
    out.extend_pairs(fields);
    out.finish()
}

impl World {
    /// Makes an account with the usual password.
    pub async fn account(&self, cell: &str, json: &str) {
        let reply = self
            .ask("POST", &format!("{cell}/__ctl/Account"))
            .with("x-personium-credential", PASSWORD)
            .text(json)
            .send()
            .await;
        assert_eq!(reply.status, 201, "{}", reply.text());
    }

    /// A token request.
    pub async fn token(&self, cell: &str, fields: &[(&str, &str)]) -> Reply {
        let path = format!("{cell}/__token");
        self.anybody("POST", &path).text(&form(fields)).send().await
    }

    /// The answer to the login of `me`.
    pub async fn login(&self, cell: &str, more: &[(&str, &str)]) -> Value {
        let mut fields = vec![
            ("grant_type", "password"),
            ("username", "me"),
            ("password", PASSWORD),
        ];
        fields.extend(more);
        let reply = self.token(cell, &fields).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    }

    /// An access token of `me`.
    pub async fn access(&self, cell: &str) -> String {
        text(&self.login(cell, &[]).await, "access_token")
    }

    /// A token of `me` at one cell for another cell.
    pub async fn trans(&self, from: &str, to: &str) -> String {
        let target = cell_url(to);
        text(
            &self.login(from, &[("p_target", &target)]).await,
            "access_token",
        )
    }

    /// What a token gets to see of a path: status and code.
    pub async fn with_token(&self, method: &str, path: &str, token: &str) -> (u16, String) {
        let ask = self.anybody(method, path);
        let reply = ask
            .with("authorization", &format!("Bearer {token}"))
            .send()
            .await;
        reply.outcome()
    }

    /// A trans-cell token as this unit would sign it.
    pub fn signed(&self, change: impl FnOnce(&mut TransCellToken)) -> String {
        self.signed_by(&self.unit.keys().signing, change)
    }

    /// A trans-cell token signed with another unit's key.
    pub fn signed_by(&self, key: &UnitKey, change: impl FnOnce(&mut TransCellToken)) -> String {
        let mut token = TransCellToken {
            id: "5e2e1f0c-0000-4000-8000-0000000000aa".to_owned(),
            issued_at: self.unit.now_ms(),
            lifespan: 3_600_000,
            issuer: cell_url("d"),
            subject: cell_url("d") + "#me",
            target: cell_url("c"),
            schema: None,
            roles: Vec::new(),
            scopes: vec!["root".to_owned()],
        };
        change(&mut token);
        saml::issue(key, &token).unwrap()
    }
}

/// A text member.
pub fn text(body: &Value, member: &str) -> String {
    let value = body[member].as_str();
    assert!(value.is_some(), "no {member} in {body}");
    value.unwrap().to_owned()
}

/// The OAuth2 error of a refusal and its code: `invalid_grant AN-0017`.
pub fn oauth(reply: &Reply) -> String {
    let body = reply.json();
    let description = text(&body, "error_description");
    let code = description.get(7..14).unwrap_or_default();
    format!("{} {code}", text(&body, "error"))
}
