//! Assertions between cells, judged and made by software of others: signxml and pysaml2 (Python).
#![expect(
    clippy::disallowed_methods,
    reason = "a test may use the real clock and randomness"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends with the first surprise"
)]

#[path = "real_unit/clients.rs"]
mod clients;
#[path = "real_unit/neighbours.rs"]
mod neighbours;
#[path = "real_unit/process.rs"]
mod process;

use clients::python;
use neighbours::{Authorities, SAML, issued, known, link, outcome, reading, token, with_friends};
use serde_json::json;

#[test]
fn others_verify_and_understand_what_a_unit_issues() {
    let (a, b) = Authorities::new().start("");
    let folder = |unit: &process::Unit| unit.scratch.path().join("root.crt");
    a.cell_with_owner("house");
    a.cell_with_owner("app");
    let (house, app) = (format!("{}/house/", a.url()), format!("{}/app/", a.url()));
    let secret = issued(&a, "app", &house, &[]);
    let by_app = [
        ("client_id", app.as_str()),
        ("client_secret", secret.as_str()),
        ("expires_in", "60"),
        ("scope", "auth"),
    ];
    let plain: &[(&str, &str)] = &[];
    let cases = [
        (plain, "", 3600, "root"),
        (&by_app[..], app.as_str(), 60, "auth"),
    ];
    for target in [format!("{}/ours/", b.url()), format!("{}/", b.url())] {
        for (more, schema, lifespan, scope) in cases {
            python(
                "saml_judge.py",
                &json!({
                    "assertion": issued(&a, "house", &target, more),
                    "root": folder(&a),
                    "other": folder(&b),
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

#[test]
fn a_unit_accepts_what_others_sign_and_nothing_that_was_altered() {
    let authorities = Authorities::new();
    let keys = |folder: &process::Scratch| {
        let path = folder.path();
        json!({"key": path.join("unit.key"), "certificate": path.join("unit.crt")})
    };
    let own = keys(&authorities.a);
    let nobody = process::Scratch::new("saml-nobody");
    python(
        "make_keys.py",
        &json!({"folder": nobody.path(), "authority": "Authority of a", "units": {"unit": "a.example"}}),
    );
    let (a, b) = authorities.start("root-of-a.crt");
    let house = format!("{}/house/", a.url());
    with_friends(&b);
    let cell = known(&b, &house);
    link(&b, &cell, "Role('friend')");
    let made = python(
        "saml_sign.py",
        &json!({
            "own": own,
            "other": keys(&nobody),
            "say": {
                "issuer": house,
                "subject": format!("{house}#me"),
                "target": format!("{}/ours/", b.url()),
                "roles": [format!("{house}__role/__/member")],
                "scopes": ["root"],
                "lifespan": 3600,
            },
        }),
    );
    let exchanged = |text: &str| token(&b, "ours", &[("grant_type", SAML), ("assertion", text)]);
    let mut faults = Vec::new();
    for (what, text) in made["good"].as_object().unwrap() {
        let text = text.as_str().unwrap();
        let (direct, exchange) = (reading(&b, text), outcome(&exchanged(text)));
        if (direct.as_str(), exchange.as_str()) != ("200", "200") {
            faults.push(format!("{what}: {direct}, {exchange}"));
        }
    }
    let bad = made["bad"].as_object().unwrap();
    assert!(bad.len() > 20, "{}", bad.len());
    for (what, text) in bad {
        let text = text.as_str().unwrap();
        let (direct, exchange) = (reading(&b, text), outcome(&exchanged(text)));
        let wanted: &[&str] = match what.as_str() {
            "expired" => &["401 PR401-AU-0002 400 PR400-AN-0010"],
            "for another cell" => &["401 PR401-AU-0006 400 PR400-AN-0012"],
            // Not of our shape, or of it and not believed.
            _ => &[
                "401 PR401-AU-0006 400 PR400-AN-0009",
                "401 PR401-AU-0008 400 PR400-AN-0011",
            ],
        };
        let found = format!("{direct} {exchange}");
        if !wanted.contains(&found.as_str()) {
            faults.push(format!("{what}: {found}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
