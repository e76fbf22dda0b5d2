//! Assertions between cells, verified and issued by software of others: signxml and pysaml2 (Python).

use std::path::Path;

use serde_json::{Value, json};

use crate::external_programs::run_python;
use crate::peer_units::{
    Authorities, create_cell_for_friends, create_ext_cell, exchange, issue_token, link, outcome,
    read_outcome,
};

#[tokio::test]
async fn issued_assertions_are_verified_by_signxml_and_pysaml2() {
    let (a, b) = Authorities::new().start("");
    a.create_cell_with_owner("house").await;
    a.create_cell_with_owner("app").await;
    let (house, app) = (a.cell_url("house"), a.cell_url("app"));
    let secret = issue_token(&a, "app", &house, &[]).await;
    let by_app = [
        ("client_id", app.as_str()),
        ("client_secret", secret.as_str()),
        ("expires_in", "60"),
        ("scope", "auth"),
    ];
    let without_app: &[(&str, &str)] = &[];
    let cases = [
        (without_app, "", 3600, "root"),
        (&by_app[..], app.as_str(), 60, "auth"),
    ];
    for target in [b.cell_url("ours"), b.url().to_owned()] {
        for (more, schema, lifespan, scope) in cases {
            run_python(
                "saml_verify.py",
                &json!({
                    "assertion": issue_token(&a, "house", &target, more).await,
                    "root": a.folder().join("root.crt"),
                    "other": b.folder().join("root.crt"),
                    "issuer": house,
                    "subject": format!("{house}#me"),
                    "target": target,
                    "schema": schema,
                    "lifespan": lifespan,
                    "roles": [format!("{house}__role/__/owner")],
                    "scopes": [scope],
                }),
            );
        }
    }
}

fn key_files(folder: &Path) -> Value {
    json!({"key": folder.join("unit.key"), "certificate": folder.join("unit.crt")})
}

#[tokio::test]
async fn assertions_of_signxml_are_accepted_and_altered_ones_refused() {
    let authorities = Authorities::new();
    let untrusted = tempfile::tempdir().unwrap();
    run_python(
        "make_keys.py",
        &json!({"folder": untrusted.path(), "authority": "Authority of a", "units": {"unit": "a.example"}}),
    );
    let own = key_files(authorities.a.path());
    let (a, b) = authorities.start("root-of-a.crt");
    let house = a.cell_url("house");
    create_cell_for_friends(&b).await;
    let cell = create_ext_cell(&b, &house).await;
    link(&b, &cell, "Role('friend')").await;
    let signed = run_python(
        "saml_sign.py",
        &json!({
            "own": own,
            "other": key_files(untrusted.path()),
            "say": {
                "issuer": house,
                "subject": format!("{house}#me"),
                "target": b.cell_url("ours"),
                "roles": [format!("{house}__role/__/member")],
                "scopes": ["root"],
                "lifespan": 3600,
            },
        }),
    );
    let outcomes = async |assertion: &Value| {
        let assertion = assertion.as_str().unwrap();
        let direct = read_outcome(&b, assertion).await;
        let exchanged = outcome(&exchange(&b, assertion).await);
        format!("{direct} {exchanged}")
    };
    let mut errors = Vec::new();
    for (name, assertion) in signed["good"].as_object().unwrap() {
        let found = outcomes(assertion).await;
        if found != "200 200" {
            errors.push(format!("{name}: {found}"));
        }
    }
    let bad = signed["bad"].as_object().unwrap();
    assert!(bad.len() > 20, "{}", bad.len());
    for (name, assertion) in bad {
        let expected: &[&str] = match name.as_str() {
            "expired" => &["401 PR401-AU-0002 400 PR400-AN-0010"],
            "for another cell" => &["401 PR401-AU-0006 400 PR400-AN-0012"],
            // Not an assertion of this form, or one that is not trusted.
            _ => &[
                "401 PR401-AU-0006 400 PR400-AN-0009",
                "401 PR401-AU-0008 400 PR400-AN-0011",
            ],
        };
        let found = outcomes(assertion).await;
        if !expected.contains(&found.as_str()) {
            errors.push(format!("{name}: {found}"));
        }
    }
    assert!(errors.is_empty(), "{}", errors.join("\n"));
}
