//! Two units that do not know each other: of different hosts, keys and authorities.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "each test uses a part of it"
)]

use std::fmt::Write as _;

use serde_json::json;

use crate::clients::python;
use crate::process::{Answer, Client, Scratch, Unit};

/// The grant for assertions of other cells.
pub const SAML: &str = "urn:ietf:params:oauth:grant-type:saml2-bearer";

/// Keys and certificates of the units `a.example` and `b.example`, each signed by an authority of its own.
pub struct Authorities {
    pub a: Scratch,
    pub b: Scratch,
}

impl Authorities {
    pub fn new() -> Self {
        let [a, b] = ["a", "b"].map(|unit| {
            let folder = Scratch::new(&format!("unit-{unit}"));
            let host = format!("{unit}.example");
            python(
                "make_keys.py",
                &json!({"folder": folder.path(), "authority": format!("Authority of {unit}"), "units": {"unit": host}}),
            );
            folder
        });
        Self { a, b }
    }

    /// Both units running; each trusts its own authority, and B trusts those that `b_trusts` names besides.
    pub fn start(self, b_trusts: &str) -> (Unit, Unit) {
        self.start_with("", b_trusts)
    }

    /// The same, with more lines for the settings of A.
    pub fn start_with(self, of_a: &str, b_trusts: &str) -> (Unit, Unit) {
        std::fs::copy(
            self.a.path().join("root.crt"),
            self.b.path().join("root-of-a.crt"),
        )
        .unwrap();
        let a = Unit::start_as("a.example", self.a, &(keys("root.crt") + of_a));
        let b = Unit::start_as("b.example", self.b, &keys(&format!("root.crt {b_trusts}")));
        (a, b)
    }
}

fn keys(roots: &str) -> String {
    format!(
        "io.personium.core.x509.key=unit.key\nio.personium.core.x509.crt=unit.crt\n\
         io.personium.core.x509.root={}\n",
        roots.trim()
    )
}

/// A text that may stand in a form, or in a key in a path.
pub fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, b| {
        if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
            out.push(char::from(b));
        } else {
            write!(out, "%{b:02X}").unwrap();
        }
        out
    })
}

/// A form with some fields.
pub fn form(fields: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{name}={}", escaped(value)))
        .collect();
    pairs.join("&")
}

/// A request to the token endpoint of a cell.
pub fn token(unit: &Unit, cell: &str, fields: &[(&str, &str)]) -> Answer {
    let path = format!("/{cell}/__token");
    unit.client("")
        .send("POST", &path, &[], form(fields).as_bytes())
        .unwrap()
}

/// A token that a cell gives its account `me` for another cell or unit.
pub fn issued(unit: &Unit, cell: &str, target: &str, more: &[(&str, &str)]) -> String {
    let mut fields = vec![
        ("grant_type", "password"),
        ("username", "me"),
        ("password", "password1"),
        ("p_target", target),
    ];
    fields.extend_from_slice(more);
    let answer = token(unit, cell, &fields);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

/// The cell `ours` with a box whose file `file` the role `friend` may read.
pub fn with_friends(unit: &Unit) -> Client {
    let mut owner = unit.cell_with_owner("ours");
    owner.made("PUT", "/ours/box/file", "for friends");
    let mut admin = unit.admin();
    admin.made("POST", "/ours/__ctl/Role", "{\"Name\":\"friend\"}");
    let list = format!(
        "<D:acl xmlns:D='DAV:' xml:base='{}/ours/__role/__/'><D:ace><D:principal><D:href>friend</D:href></D:principal>\
         <D:grant><D:privilege><D:read/></D:privilege></D:grant></D:ace></D:acl>",
        unit.url()
    );
    admin.made("ACL", "/ours/box", &list);
    admin
}

/// Connects two things of the cell `ours`, such as `ExtCell('..')` and `Role('friend')`.
pub fn link(unit: &Unit, from: &str, to: &str) {
    let set = to.split('(').next().unwrap();
    let body = json!({"uri": format!("{}/ours/__ctl/{to}", unit.url())});
    let path = format!("/ours/__ctl/{from}/$links/_{set}");
    unit.admin().made("POST", &path, &body.to_string());
}

/// Makes another cell known to the cell `ours`; gives its key.
pub fn known(unit: &Unit, cell_url: &str) -> String {
    let body = json!({"Url": cell_url}).to_string();
    unit.admin().made("POST", "/ours/__ctl/ExtCell", &body);
    format!("ExtCell('{}')", escaped(cell_url))
}

/// Status and, for refusals, the code of reading the friends' file with a token.
pub fn reading(unit: &Unit, token: &str) -> String {
    outcome(
        &unit
            .client(token)
            .send("GET", "/ours/box/file", &[], b"")
            .unwrap(),
    )
}

/// Status and, for refusals, the code.
pub fn outcome(answer: &Answer) -> String {
    if (200..300).contains(&answer.status) {
        return answer.status.to_string();
    }
    let json = answer.json();
    let told = json["code"]
        .as_str()
        .or(json["error_description"].as_str())
        .unwrap();
    let code = told.trim_start_matches('[').split(']').next().unwrap();
    format!("{} {code}", answer.status)
}
