//! Assertions of a trusted peer unit: accepted for its own cells, refused for cells of this unit.

use personium_model::credentials::{UnitCertificates, UnitKeys};
use personium_testkit::{
    CLOCK_START_MS, SAML_GRANT, TestUnit, UNIT_SECRET, cell_url, encode_form, refused, success,
    text_member,
};
use personium_token::local::{AssertionOrigin, LocalKeys, LocalKind, LocalToken};
use personium_token::saml::TransCellToken;
use personium_token::trust::{SelfSigned, TrustRoots, UnitKey, generate_self_signed};
use personium_types::SystemRandom;

use super::{oauth_error, unit_with_accounts};
use crate::auth::trust::allow_visitors_from;

/// The URL of a cell of the peer unit.
const PEER_CELL: &str = "http://other.example/x/";
/// The validity of the certificates.
const YEAR_MS: i64 = 365 * 24 * 3_600_000;

/// A unit that trusts the peer unit `other.example`, and the key of the peer. Visitors from [`PEER_CELL`] may read a file.
async fn peer_units() -> (TestUnit, UnitKey) {
    let unit = unit_with_accounts(|s| s.auth.unit_user_issuers = vec![PEER_CELL.to_owned()]).await;
    let make = |host: &str| {
        generate_self_signed(host, CLOCK_START_MS - YEAR_MS, CLOCK_START_MS + YEAR_MS).unwrap()
    };
    let (own, other) = (make("unit.example"), make("other.example"));
    let files = [&own, &other].map(|made| made.certificate_pem.as_bytes());
    let key = |made: &SelfSigned| {
        UnitKey::load(made.key_pem.as_bytes(), made.certificate_pem.as_bytes()).unwrap()
    };
    let certificates = UnitCertificates {
        signing: key(&own),
        trust_roots: TrustRoots::load(&files, CLOCK_START_MS).unwrap(),
    };
    let mut hashing = unit.model.keys().password_hashing.clone();
    hashing.scrypt.cpu_cost = 16;
    let keys = UnitKeys::new(LocalKeys::new(UNIT_SECRET).unwrap(), certificates, hashing);
    let unit = unit.restart_with_keys(keys.into());
    allow_visitors_from(&unit, &[PEER_CELL, &cell_url("d")]).await;
    (unit, key(&other))
}

/// Returns the outcomes of reading a file with an assertion, and of exchanging the assertion.
async fn direct_and_exchanged(unit: &TestUnit, token: &str) -> ((u16, String), (u16, String)) {
    let direct = unit.outcome_with_token("GET", "c/b/f", token).await;
    let fields = [("grant_type", SAML_GRANT), ("assertion", token)];
    let response = unit.request_token("c", &fields).await;
    let exchanged = match response.status.as_u16() {
        200 => success(200),
        status => (status, oauth_error(&response)),
    };
    (direct, exchanged)
}

fn from_peer_cell(token: &mut TransCellToken) {
    token.issuer = PEER_CELL.to_owned();
    token.subject = PEER_CELL.to_owned() + "#me";
}

#[tokio::test]
async fn assertion_of_a_trusted_peer_unit_is_accepted_for_its_own_cells() {
    let (unit, other) = peer_units().await;
    for subject in [PEER_CELL.to_owned() + "#me", PEER_CELL.to_owned()] {
        let token = unit.assertion_signed_by(&other, |t| {
            from_peer_cell(t);
            t.subject = subject;
        });
        assert_eq!(
            direct_and_exchanged(&unit, &token).await,
            (success(200), success(200))
        );
    }
    let token = unit.assertion_signed_by(&other, from_peer_cell);
    let fields = [("grant_type", SAML_GRANT), ("assertion", token.as_str())];
    let refresh = text_member(
        &unit.request_token("c", &fields).await.json(),
        "refresh_token",
    );
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh.as_str()),
    ];
    let again = text_member(
        &unit.request_token("c", &fields).await.json(),
        "access_token",
    );
    assert_eq!(
        unit.outcome_with_token("GET", "c/b/f", &again).await,
        success(200)
    );
}

#[tokio::test]
async fn assertion_of_a_trusted_peer_unit_is_refused_for_cells_of_this_unit() {
    let (unit, other) = peer_units().await;
    let nothing = (
        refused(401, "AU-0008"),
        (400, "invalid_grant AN-0011".to_owned()),
    );
    for subject in [
        cell_url("d") + "#me",
        cell_url("d"),
        cell_url("c") + "#me",
        cell_url("gone") + "#me",
        "http://UNIT.example:80/d/#me".to_owned(),
        "personium-localunit:d:/#me".to_owned(),
        "personium-localunit:/d/#me".to_owned(),
        "personium-localunit:".to_owned(),
    ] {
        let token = unit.assertion_signed_by(&other, |t| {
            from_peer_cell(t);
            t.subject.clone_from(&subject);
        });
        assert_eq!(
            direct_and_exchanged(&unit, &token).await,
            nothing,
            "{subject}"
        );
        let body = encode_form(&[("token", token.as_str())]);
        let introspected = unit
            .admin_request("POST", "c/__introspect")
            .body(&body)
            .send()
            .await;
        assert_eq!(introspected.json()["active"], false, "{subject}");
    }
    // An assertion of another cell of this unit about a subject of `d` is accepted.
    let token = unit.assertion(|t| t.issuer = cell_url("appcell"));
    assert_eq!(direct_and_exchanged(&unit, &token).await.1, success(200));
}

#[tokio::test]
async fn refresh_token_with_a_foreign_issuer_for_a_local_subject_is_refused() {
    let (unit, _) = peer_units().await;
    let honest = unit.trans_cell_token("d", "c").await;
    let fields = [("grant_type", SAML_GRANT), ("assertion", honest.as_str())];
    let refresh = text_member(
        &unit.request_token("c", &fields).await.json(),
        "refresh_token",
    );
    let keys = &unit.model.keys().local_tokens;
    let real = keys.open(&refresh, &cell_url("c")).unwrap();
    assert_eq!(real.kind, LocalKind::VisitorRefresh);
    for (issuer, outcome) in [(cell_url("d"), 200), (PEER_CELL.to_owned(), 400)] {
        let token = LocalToken {
            origin: Some(AssertionOrigin {
                issuer,
                assertion_id: "a".to_owned(),
            }),
            ..real.clone()
        };
        let sealed = keys.seal(&token, &SystemRandom::new()).unwrap();
        let target = cell_url("appcell");
        let fields = [
            ("grant_type", "refresh_token"),
            ("refresh_token", sealed.as_str()),
            ("p_target", target.as_str()),
        ];
        assert_eq!(unit.request_token("c", &fields).await.status, outcome);
    }
}

#[tokio::test]
async fn issuer_of_a_peer_unit_names_no_unit_user_but_its_own_accounts() {
    let (unit, other) = peer_units().await;
    for (subject, outcome) in [
        (format!("{PEER_CELL}#me"), success(200)),
        (format!("{}#me", cell_url("d")), refused(403, "AU-0001")),
        (
            "personium-localunit:/d/#me".to_owned(),
            refused(403, "AU-0001"),
        ),
        (
            "http://other.example/y/#me".to_owned(),
            refused(403, "AU-0001"),
        ),
        (PEER_CELL.to_owned(), refused(403, "AU-0001")),
    ] {
        let token = unit.assertion_signed_by(&other, |token| {
            from_peer_cell(token);
            token.target = personium_testkit::UNIT_URL.to_owned();
            token.subject.clone_from(&subject);
        });
        let found = unit.outcome_with_token("GET", "__ctl/Cell", &token).await;
        assert_eq!(found, outcome, "{subject}");
    }
}
