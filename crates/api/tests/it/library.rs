//! The library of scripts, `_p`: every object, run by scripts in a unit, with its successes and failures.

mod acl;
mod cells;
mod control;
mod definitions;
mod entities;
mod extensions;
mod files;
mod globals;
mod hostile;
mod identities;
mod links;
mod pollution;
mod privileges;
mod recorded;
mod samples;
mod services;

use personium_testkit::{TestClient, TestResponse, TestUnit};
use serde_json::Value;

use crate::auth::unit_with_accounts;

/// The service of [`ScriptUnit`].
const SERVICE: &str = "c/app/svc";

/// Evaluates the body of the request. `cell` and `box` are those of the service subject, `mine` and `own` those of the caller.
/// `fails` returns code and message of a failure; of a message that is JSON its code, or its error.
const EVALUATE: &str = "function (request) {
  function fails(act) {
    try { act(); } catch (e) {
      var text = e.message;
      try { var json = JSON.parse(text); text = json.code || json.error; } catch (ignored) {}
      return [e.code, text];
    }
    return 'no failure';
  }
  var out;
  try {
    var code = request.input.readAll();
    var cell = _p.as('serviceSubject').cell(), mine = _p.as('client').cell();
    var act = new Function('fails', 'request', 'cell', 'box', 'mine', 'own', code);
    out = { value: act(fails, request, cell, cell.box(), mine, mine.box()) };
  } catch (e) {
    out = { thrown: [String(e), e && e.code, e && e.stack] };
  }
  return { status: 200, headers: { 'Content-Type': 'application/json' }, body: [JSON.stringify(out)] };
}";

/// The property of a service with these routes (template and file) and this subject.
fn service_property(subject: Option<&str>, routes: &[(&str, &str)]) -> String {
    let subject = subject
        .map(|name| format!(" subject=\"{name}\""))
        .unwrap_or_default();
    let paths: String = routes
        .iter()
        .map(|(name, file)| format!("<p:path name=\"{name}\" src=\"{file}\"/>"))
        .collect();
    format!(
        "<D:propertyupdate xmlns:D=\"DAV:\" xmlns:p=\"urn:x-personium:xmlns\"><D:set><D:prop>\
         <p:service language=\"JavaScript\"{subject}>{paths}</p:service>\
         </D:prop></D:set></D:propertyupdate>"
    )
}

/// Registers the routes of a service.
pub(super) async fn register(
    unit: &TestClient,
    service: &str,
    subject: Option<&str>,
    routes: &[(&str, &str)],
) {
    unit.admin_request("PROPPATCH", service)
        .body(service_property(subject, routes))
        .send()
        .await
        .expect(207);
}

/// A unit with the cells `c`, `d` and `appcell`, an account `me` in each. The service `c/app/svc` evaluates what is sent to its
/// path `run`; its subject is the account `subject` with every right in `c`. `me` of `c` may execute it and nothing else.
struct ScriptUnit {
    unit: TestUnit,
    caller: TestClient,
}

impl ScriptUnit {
    async fn new() -> Self {
        Self::with_settings(|_| {}).await
    }

    async fn with_settings(change: impl FnOnce(&mut personium_model::Settings)) -> Self {
        let unit = unit_with_accounts(change).await;
        unit.create_account("c", r#"{"Name":"subject"}"#).await;
        unit.grant_by_new_role("c", ("subject", "ruler"), &["p:root"])
            .await;
        unit.create_collection(SERVICE, "service").await;
        register(&unit, SERVICE, Some("subject"), &[("run", "run.js")]).await;
        unit.put_file(&format!("{SERVICE}/__src/run.js"), EVALUATE)
            .await;
        unit.grant_by_new_role(SERVICE, ("me", "runner"), &["p:exec"])
            .await;
        let caller = unit.with_token(&unit.access_token("c").await);
        Self { unit, caller }
    }

    /// Evaluates the body of a function as the caller; returns what it returns.
    async fn value(&self, code: &str) -> Value {
        self.value_for(&self.caller, code).await
    }

    /// As [`Self::value`], for another caller.
    async fn value_for(&self, caller: &TestClient, code: &str) -> Value {
        let response = self.send(caller, code).await.expect(200);
        let mut out = response.json();
        assert!(
            out.get("thrown").is_none(),
            "{code}\nthrew {}",
            out["thrown"]
        );
        out["value"].take()
    }

    async fn send(&self, caller: &TestClient, code: &str) -> TestResponse {
        let request = caller.request("POST", &format!("{SERVICE}/run"));
        request.body(code).send().await
    }

    /// Puts a script, and registers it as the only one of the service.
    async fn put_script(&self, source: &str) {
        self.unit
            .put_file(&format!("{SERVICE}/__src/other.js"), source)
            .await;
        let routes = [("run", "run.js"), ("other", "other.js")];
        register(&self.unit, SERVICE, Some("subject"), &routes).await;
    }

    /// Calls the script of [`Self::put_script`].
    async fn call_script(&self) -> TestResponse {
        self.caller
            .request("GET", &format!("{SERVICE}/other"))
            .send()
            .await
    }
}
