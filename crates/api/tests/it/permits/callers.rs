//! Callers of requests, and the expected refusals.

use std::sync::Arc;

use base64::Engine;
use personium_model::{Settings, keys};
use personium_store::{Direction, Key, KeyRange, Limit, RecordStore, Space};
use personium_testkit::{
    PASSWORD, SAML_GRANT, TestResponse, TestUnit, UNIT_URL, ace, cell_url, refused, success,
    text_member,
};
use personium_token::role_url::RoleUrl;
use personium_types::{Need, Operation, Privilege, TargetLevel};
use tokio::sync::OnceCell;

use super::cases::{Case, Grant};
use crate::auth::unit_with_accounts;

/// The unit user that owns the cell `owned`.
pub const OWNER: &str = "http://unit.example/d/#me";

/// A unit with the resources that cases use.
pub struct Fixture {
    pub unit: TestUnit,
    tokens: OnceCell<Tokens>,
}

/// The tokens of all callers, created once for a fixture.
struct Tokens {
    exact: String,
    exact_expired: String,
    others: String,
    stranger: String,
    password_change: String,
    refresh: String,
    local: String,
    visitor: String,
    exchanged: String,
    visitor_elsewhere: String,
    visitor_of_owned: String,
    unit_user: String,
    unit_user_expired: String,
    other_unit_user: String,
    administrator: String,
    not_a_unit_user: String,
    every_privilege: String,
}

/// A caller: the credentials and the expected outcome.
#[derive(Clone)]
pub struct Caller {
    pub name: &'static str,
    pub headers: Vec<(&'static str, String)>,
    /// The expected status and error code.
    pub outcome: (u16, String),
}

/// The allowed caller of a case, and those who must be refused.
pub struct Callers {
    pub allowed: Caller,
    pub refused: Vec<Caller>,
}

fn caller(name: &'static str, authorization: String, outcome: (u16, String)) -> Caller {
    Caller {
        name,
        headers: vec![("authorization", authorization)],
        outcome,
    }
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn basic(name: &str) -> String {
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{name}:{PASSWORD}"));
    format!("Basic {pair}")
}

/// Returns the token with its last but one character changed.
fn altered(token: &str) -> String {
    let mut chars: Vec<char> = token.chars().collect();
    let at = chars.len() - 2;
    chars[at] = if chars[at] == 'A' { 'B' } else { 'A' };
    chars.into_iter().collect()
}

impl Fixture {
    pub async fn new() -> Self {
        Self::with_settings(|_| {}).await
    }

    pub async fn with_settings(change: impl FnOnce(&mut Settings)) -> Self {
        let unit = unit_with_accounts(|settings| {
            settings.auth.unit_user_issuers = vec!["personium-localunit:/d/".to_owned()];
            change(settings);
        })
        .await;
        for name in ["exact", "lacks"] {
            unit.create("c/__ctl/Role", &format!("{{\"Name\":\"{name}\"}}"))
                .await;
            unit.create_account("c", &format!("{{\"Name\":\"{name}\"}}"))
                .await;
            unit.link(
                "c",
                &format!("Account('{name}')"),
                "_Role",
                &format!("Role('{name}')"),
            )
            .await;
        }
        unit.create_account("c", r#"{"Name":"stranger"}"#).await;
        unit.create_account("c", r#"{"Name":"late","Status":"passwordChangeRequired"}"#)
            .await;
        super::control_objects::make(&unit).await;
        super::box_resources::make(&unit).await;
        super::unit_level::make(&unit).await;
        Self {
            unit,
            tokens: OnceCell::new(),
        }
    }

    /// Sends a case as a caller.
    pub async fn send(&self, case: &Case, caller: &Caller) -> TestResponse {
        let mut request = self.unit.request(case.method, &case.path);
        for (name, value) in &case.headers {
            request = request.header(name, value);
        }
        for (name, value) in &caller.headers {
            request = request.header(name, value);
        }
        request.body(&case.body).send().await
    }

    /// Sends a case with the master token; returns status and error code.
    pub async fn outcome_as_master(&self, case: &Case) -> (u16, String) {
        let master = caller("the master", bearer("master"), (0, String::new()));
        self.send(case, &master).await.outcome()
    }

    /// Returns every record of the unit and of the cells that cases use, without the audit log.
    pub async fn all_records(&self) -> Vec<(Space, Key, bytes::Bytes)> {
        let range = KeyRange {
            start: Key::from_bytes(Vec::new()),
            end: None,
        };
        let mut spaces = vec![Space::Unit];
        for name in ["c", "owned"] {
            let context = self.unit.model.find_cell(name).await.unwrap();
            spaces.extend(context.map(|context| Space::Cell(context.cell().id)));
        }
        let mut out = Vec::new();
        for space in spaces {
            let records = Arc::clone(&self.unit.records);
            let found = records
                .scan(&space, &range, Direction::Up, Limit::records(1 << 20))
                .await
                .unwrap()
                .value;
            out.extend(
                found
                    .into_iter()
                    .filter(|(key, _)| !is_of_audit_log(key))
                    .map(|(key, record)| (space, key, record.value)),
            );
        }
        out
    }

    /// Checks that a 401, and only a 401, has challenges.
    pub fn check_challenge(&self, response: &TestResponse, case: &Case, caller: &Caller) {
        let offers: Vec<&str> = response
            .headers
            .get_all("www-authenticate")
            .iter()
            .map(|v| v.to_str().unwrap())
            .collect();
        if response.status != 401 {
            assert!(offers.is_empty(), "{case} by {}: {offers:?}", caller.name);
            return;
        }
        let cell = case.path.split('/').next().unwrap_or_default();
        let realm = match case.operation.level() {
            TargetLevel::Unit => UNIT_URL.to_owned(),
            TargetLevel::Cell | TargetLevel::Box => cell_url(cell),
        };
        let mut wanted = vec![format!("Bearer realm=\"{realm}\"")];
        let finds_the_way = case.operation == Operation::ReadCellProperties;
        if case.path.starts_with("c/b") || case.path == "c/__introspect" || finds_the_way {
            wanted.push(format!("Basic realm=\"{realm}\""));
        }
        assert_eq!(offers, wanted, "{case} by {}", caller.name);
    }

    /// Logs in; returns the access token of an account.
    pub async fn login(&self, cell: &str, name: &str, more: &[(&str, &str)]) -> String {
        let mut fields = vec![
            ("grant_type", "password"),
            ("username", name),
            ("password", PASSWORD),
        ];
        fields.extend(more);
        text_member(
            &self.unit.request_token(cell, &fields).await.json(),
            "access_token",
        )
    }

    /// Returns a token that has just expired.
    async fn expired(&self, cell: &str, name: &str, more: &[(&str, &str)]) -> String {
        let token = self
            .login(cell, name, &[more, &[("expires_in", "1")]].concat())
            .await;
        self.unit.advance_clock(2_000);
        token
    }

    async fn tokens(&self) -> &Tokens {
        self.tokens.get_or_init(|| self.make_tokens()).await
    }

    async fn make_tokens(&self) -> Tokens {
        let unit = &self.unit;
        let visitor = unit.trans_cell_token("d", "c").await;
        Tokens {
            exact: self.login("c", "exact", &[]).await,
            exact_expired: self.expired("c", "exact", &[]).await,
            others: self.login("c", "lacks", &[]).await,
            stranger: self.login("c", "stranger", &[]).await,
            password_change: must_change(unit).await,
            refresh: refresh(unit).await,
            local: unit.access_token("d").await,
            exchanged: exchanged(unit, &visitor).await,
            visitor,
            visitor_elsewhere: unit.trans_cell_token("d", "appcell").await,
            visitor_of_owned: unit.trans_cell_token("d", "owned").await,
            unit_user: unit.trans_to_unit("d").await,
            unit_user_expired: self.expired("d", "me", &[("p_target", UNIT_URL)]).await,
            other_unit_user: unit.assertion(|t| {
                UNIT_URL.clone_into(&mut t.target);
                t.subject = cell_url("d") + "#other";
            }),
            administrator: unit.assertion(|t| {
                UNIT_URL.clone_into(&mut t.target);
                t.roles = vec![RoleUrl::class(&cell_url("d"), "UnitAdmin").to_string()];
            }),
            not_a_unit_user: unit.trans_to_unit("appcell").await,
            every_privilege: self.login("owned", "all", &[]).await,
        }
    }

    /// Grants the role `exact` the privilege that a case needs, and the role `lacks` every other privilege.
    async fn grant(&self, case: &Case, place: &str) {
        let needed = case.operation.privilege().unwrap();
        let of_cell = place == "c";
        let other = Privilege::ALL.iter().copied().filter(|p| {
            let enough = p.includes(needed) || case.instead.is_some_and(|i| p.includes(i));
            !enough && (of_cell || !p.is_cell_level())
        });
        let exact: Vec<Privilege> = case.also.iter().copied().chain([needed]).collect();
        let aces = role_ace("exact", &exact) + &role_ace("lacks", &other.collect::<Vec<_>>());
        self.unit.set_acl(place, &aces).await;
        let all = [Privilege::All];
        for place in case.also_on {
            let aces = role_ace("exact", &all) + &role_ace("lacks", &all);
            self.unit.set_acl(place, &aces).await;
        }
    }

    /// Revokes the privileges granted for a case.
    pub async fn revoke(&self, case: &Case, grant: Grant<'_>) {
        if case.operation.privilege().is_some() {
            for place in case.also_on.iter().copied().chain([grant.place(case)]) {
                self.unit.set_acl(place, "").await;
            }
        }
    }

    /// Returns callers who all get the same response if no privilege is needed.
    pub async fn all_callers(&self, case: &Case) -> Vec<Caller> {
        let outcome = (case.status, String::new());
        let tokens = self.tokens().await;
        let mut out = vec![Caller {
            outcome: outcome.clone(),
            ..anonymous()
        }];
        for (name, value) in [
            ("an account", bearer(&tokens.stranger)),
            ("an account of another cell", bearer(&tokens.local)),
            ("an expired token", bearer(&tokens.exact_expired)),
            ("an altered token", bearer(&altered(&tokens.exact))),
            ("a wrong password", basic("nobody")),
            ("an unknown scheme", "Digest x".to_owned()),
        ] {
            out.push(caller(name, value, outcome.clone()));
        }
        out
    }
}

/// An entry that grants a role of the cell `c` these privileges.
pub fn role_ace(role: &str, privileges: &[Privilege]) -> String {
    ace(&format!("{}__role/__/{role}", cell_url("c")), privileges)
}

impl Callers {
    /// Grants the privilege of a case as `grant` says; returns its callers.
    pub async fn of(fixture: &Fixture, case: &Case, grant: Grant<'_>) -> Self {
        let tokens = fixture.tokens().await;
        let mut callers = match case.operation.need() {
            Need::On(_) | Need::OnParent(_) => {
                fixture.grant(case, grant.place(case)).await;
                Self::by_list(case, tokens)
            }
            Need::UnitUser => Self::by_unit(case, tokens),
            Need::UnitAdmin => Self::by_administrator(case, tokens),
            Need::Manager => Self::by_owner(case, tokens),
            Need::Nothing | Need::SelfAuthenticated => {
                unreachable!("{case} is not decided by who asks")
            }
        };
        callers.refused.retain(|caller| !case.skips(caller));
        callers
    }

    fn by_list(case: &Case, tokens: &Tokens) -> Self {
        let lacking = || refused(403, "AU-0002");
        let unreadable = || refused(401, "AU-0006");
        let (late, password) = match case.operation.level() {
            TargetLevel::Box => (refused(401, "AU-0012"), None),
            TargetLevel::Cell | TargetLevel::Unit => (lacking(), Some(refused(401, "AU-0001"))),
        };
        let mut all = vec![anonymous()];
        for (name, authorization, outcome) in [
            ("a stranger", bearer(&tokens.stranger), lacking()),
            ("who lacks it", bearer(&tokens.others), lacking()),
            (
                "a token of another cell",
                bearer(&tokens.local),
                unreadable(),
            ),
            ("a visitor", bearer(&tokens.visitor), lacking()),
            (
                "a visitor after exchange",
                bearer(&tokens.exchanged),
                lacking(),
            ),
            (
                "a visitor to another cell",
                bearer(&tokens.visitor_elsewhere),
                unreadable(),
            ),
            (
                "an expired token",
                bearer(&tokens.exact_expired),
                refused(401, "AU-0002"),
            ),
            (
                "an altered token",
                bearer(&altered(&tokens.exact)),
                unreadable(),
            ),
            ("an empty token", "Bearer ".to_owned(), unreadable()),
            (
                "an unknown scheme",
                format!("Token {}", tokens.exact),
                refused(401, "AU-0003"),
            ),
            (
                "a refresh token",
                bearer(&tokens.refresh),
                refused(401, "AU-0007"),
            ),
            (
                "a unit user who is not the owner",
                bearer(&tokens.unit_user),
                lacking(),
            ),
            (
                "who must change the password",
                bearer(&tokens.password_change),
                late,
            ),
        ] {
            all.push(caller(name, authorization, outcome));
        }
        all.extend(password.map(|outcome| caller("a password", basic("exact"), outcome)));
        Self {
            allowed: caller("who may", bearer(&tokens.exact), success(case.status)),
            refused: all,
        }
    }

    fn by_unit(case: &Case, tokens: &Tokens) -> Self {
        let no_unit_user = || refused(403, "AU-0001");
        let unreadable = || refused(401, "AU-0006");
        let mut all = vec![anonymous()];
        for (name, authorization, outcome) in [
            ("a token of a cell", bearer(&tokens.local), unreadable()),
            (
                "who comes from a cell without unit users",
                bearer(&tokens.not_a_unit_user),
                no_unit_user(),
            ),
            (
                "a token for a cell",
                bearer(&tokens.visitor),
                no_unit_user(),
            ),
            (
                "an expired token",
                bearer(&tokens.unit_user_expired),
                refused(401, "AU-0002"),
            ),
            (
                "an altered token",
                bearer(&altered_assertion(&tokens.unit_user)),
                refused(401, "AU-0008"),
            ),
            ("a password", basic("exact"), refused(401, "AU-0011")),
            ("an empty token", "Bearer ".to_owned(), unreadable()),
        ] {
            all.push(caller(name, authorization, outcome));
        }
        if case.path.contains("('owned')") && case.method != "OPTIONS" {
            let outcome = refused(403, "AU-0003");
            all.push(caller(
                "another unit user",
                bearer(&tokens.other_unit_user),
                outcome,
            ));
        }
        Self {
            allowed: caller(
                "a unit user",
                bearer(&tokens.unit_user),
                success(case.status),
            ),
            refused: all,
        }
    }

    fn by_administrator(case: &Case, tokens: &Tokens) -> Self {
        let mut callers = Self::by_unit(case, tokens);
        let outcome = refused(403, "AU-0002");
        for (name, token) in [
            ("a unit user", &tokens.unit_user),
            ("another unit user", &tokens.other_unit_user),
        ] {
            callers
                .refused
                .push(caller(name, bearer(token), outcome.clone()));
        }
        callers.allowed = caller(
            "an administrator",
            bearer(&tokens.administrator),
            success(case.status),
        );
        callers
    }

    fn by_owner(case: &Case, tokens: &Tokens) -> Self {
        let no_unit_user = || refused(403, "AU-0001");
        let mut all = vec![anonymous()];
        for (name, authorization, outcome) in [
            (
                "who has every privilege",
                bearer(&tokens.every_privilege),
                no_unit_user(),
            ),
            (
                "another unit user",
                bearer(&tokens.other_unit_user),
                refused(403, "AU-0003"),
            ),
            (
                "a visitor",
                bearer(&tokens.visitor_of_owned),
                no_unit_user(),
            ),
            (
                "a token of another cell",
                bearer(&tokens.local),
                refused(401, "AU-0006"),
            ),
            (
                "an expired token",
                bearer(&tokens.unit_user_expired),
                refused(401, "AU-0002"),
            ),
            (
                "an altered token",
                bearer(&altered_assertion(&tokens.unit_user)),
                refused(401, "AU-0008"),
            ),
            ("a password", basic("all"), refused(401, "AU-0001")),
        ] {
            all.push(caller(name, authorization, outcome));
        }
        Self {
            allowed: caller("the owner", bearer(&tokens.unit_user), success(case.status)),
            refused: all,
        }
    }
}

fn anonymous() -> Caller {
    Caller {
        name: "anonymous",
        headers: Vec::new(),
        outcome: refused(401, "AU-0001"),
    }
}

/// Returns the assertion with another subject in it.
fn altered_assertion(token: &str) -> String {
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let xml = String::from_utf8(engine.decode(token).unwrap()).unwrap();
    let changed = xml.replacen("#me</NameID>", "#you</NameID>", 1);
    assert_ne!(xml, changed);
    engine.encode(changed)
}

async fn exchanged(unit: &TestUnit, assertion: &str) -> String {
    let fields = [("grant_type", SAML_GRANT), ("assertion", assertion)];
    text_member(
        &unit.request_token("c", &fields).await.json(),
        "access_token",
    )
}

async fn refresh(unit: &TestUnit) -> String {
    let fields = [
        ("grant_type", "password"),
        ("username", "exact"),
        ("password", PASSWORD),
    ];
    text_member(
        &unit.request_token("c", &fields).await.json(),
        "refresh_token",
    )
}

async fn must_change(unit: &TestUnit) -> String {
    let fields = [
        ("grant_type", "password"),
        ("username", "late"),
        ("password", PASSWORD),
    ];
    let response = unit.request_token("c", &fields).await;
    assert_eq!(response.status, 401);
    text_member(&response.json(), "access_token")
}

/// Whether a record is one of the audit log, which has refused requests of unit users too.
fn is_of_audit_log(key: &Key) -> bool {
    keys::number_of_audit_entry(key).is_some() || *key == keys::audit_head()
}
