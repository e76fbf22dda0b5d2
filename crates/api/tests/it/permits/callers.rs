//! Who sends requests, and how those who must not are refused.

use std::sync::Arc;

use base64::Engine;
use personium_model::Settings;
use personium_store::{Direction, Key, KeyRange, Limit, RecordStore, Space};
use personium_token::role_url::RoleUrl;
use personium_types::{Need, Privilege, TargetLevel};
use tokio::sync::OnceCell;

use super::cases::{Case, Grant};
use crate::auth::{PASSWORD, cell_url, text, world};
use crate::harness::{Reply, UNIT, World, acl_body, done, refused};

/// The unit user that the cell `owned` belongs to.
pub const OWNER: &str = "http://unit.example/d/#me";

/// A unit with everything that cases are about.
pub struct Fixture {
    pub world: World,
    tokens: OnceCell<Tokens>,
}

/// Tokens of everybody, made once for a fixture.
struct Tokens {
    exact: String,
    exact_expired: String,
    lacks: String,
    stranger: String,
    must_change: String,
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
    no_unit_user: String,
    everything: String,
}

/// Somebody who sends requests.
#[derive(Clone)]
pub struct Caller {
    pub name: &'static str,
    pub headers: Vec<(&'static str, String)>,
    /// What is answered.
    pub outcome: (u16, String),
}

/// Who may send a case, and who must not.
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

/// The same token with its last but one character changed.
fn altered(token: &str) -> String {
    let mut chars: Vec<char> = token.chars().collect();
    let at = chars.len() - 2;
    chars[at] = if chars[at] == 'A' { 'B' } else { 'A' };
    chars.into_iter().collect()
}

impl Fixture {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let world = world(|settings| {
            settings.auth.unit_user_issuers = vec!["personium-localunit:/d/".to_owned()];
            change(settings);
        })
        .await;
        for name in ["exact", "lacks"] {
            world
                .make("c/__ctl/Role", &format!("{{\"Name\":\"{name}\"}}"))
                .await;
            world
                .account("c", &format!("{{\"Name\":\"{name}\"}}"))
                .await;
            world
                .link(
                    "c",
                    &format!("Account('{name}')"),
                    "_Role",
                    &format!("Role('{name}')"),
                )
                .await;
        }
        world.account("c", r#"{"Name":"stranger"}"#).await;
        world
            .account("c", r#"{"Name":"late","Status":"passwordChangeRequired"}"#)
            .await;
        super::control::make(&world).await;
        super::in_boxes::make(&world).await;
        super::unit_level::make(&world).await;
        Self {
            world,
            tokens: OnceCell::new(),
        }
    }

    /// Sends a case as somebody.
    pub async fn send(&self, case: &Case, caller: &Caller) -> Reply {
        let mut ask = self.world.anybody(case.method, &case.path);
        for (name, value) in &case.headers {
            ask = ask.with(name, value);
        }
        for (name, value) in &caller.headers {
            ask = ask.with(name, value);
        }
        ask.text(&case.body).send().await
    }

    /// What the master of the unit is answered.
    pub async fn as_master(&self, case: &Case) -> (u16, String) {
        let master = caller("the master", bearer("master"), (0, String::new()));
        self.send(case, &master).await.outcome()
    }

    /// Every record of the unit and of the cells that cases are about.
    pub async fn everything(&self) -> Vec<(Space, Key, bytes::Bytes)> {
        let range = KeyRange {
            start: Key::from_bytes(Vec::new()),
            end: None,
        };
        let mut spaces = vec![Space::Unit];
        for name in ["c", "owned"] {
            let context = self.world.unit.find_cell(name).await.unwrap();
            spaces.extend(context.map(|context| Space::Cell(context.cell().id)));
        }
        let mut out = Vec::new();
        for space in spaces {
            let records = Arc::clone(&self.world.records);
            let found = records
                .scan(&space, &range, Direction::Up, Limit::records(1 << 20))
                .await
                .unwrap();
            out.extend(
                found
                    .into_iter()
                    .map(|(key, record)| (space, key, record.value)),
            );
        }
        out
    }

    /// That a 401 says how to authenticate, and nothing else does.
    pub fn check_challenge(&self, reply: &Reply, case: &Case, caller: &Caller) {
        let offers: Vec<&str> = reply
            .headers
            .get_all("www-authenticate")
            .iter()
            .map(|v| v.to_str().unwrap())
            .collect();
        if reply.status != 401 {
            assert!(offers.is_empty(), "{case} by {}: {offers:?}", caller.name);
            return;
        }
        let cell = case.path.split('/').next().unwrap_or_default();
        let realm = match case.operation.level() {
            TargetLevel::Unit => UNIT.to_owned(),
            TargetLevel::Cell | TargetLevel::Box => cell_url(cell),
        };
        let mut wanted = vec![format!("Bearer realm=\"{realm}\"")];
        if case.path.starts_with("c/b") || case.path == "c/__introspect" {
            wanted.push(format!("Basic realm=\"{realm}\""));
        }
        assert_eq!(offers, wanted, "{case} by {}", caller.name);
    }

    /// The access token of an account.
    pub async fn login(&self, cell: &str, name: &str, more: &[(&str, &str)]) -> String {
        let mut fields = vec![
            ("grant_type", "password"),
            ("username", name),
            ("password", PASSWORD),
        ];
        fields.extend(more);
        text(
            &self.world.token(cell, &fields).await.json(),
            "access_token",
        )
    }

    /// A token that was good a moment ago.
    async fn expired(&self, cell: &str, name: &str, more: &[(&str, &str)]) -> String {
        let token = self
            .login(cell, name, &[more, &[("expires_in", "1")]].concat())
            .await;
        self.world.later(2_000);
        token
    }

    async fn tokens(&self) -> &Tokens {
        self.tokens.get_or_init(|| self.make_tokens()).await
    }

    async fn make_tokens(&self) -> Tokens {
        let world = &self.world;
        let visitor = world.trans("d", "c").await;
        Tokens {
            exact: self.login("c", "exact", &[]).await,
            exact_expired: self.expired("c", "exact", &[]).await,
            lacks: self.login("c", "lacks", &[]).await,
            stranger: self.login("c", "stranger", &[]).await,
            must_change: must_change(world).await,
            refresh: refresh(world).await,
            local: world.access("d").await,
            exchanged: exchanged(world, &visitor).await,
            visitor,
            visitor_elsewhere: world.trans("d", "appcell").await,
            visitor_of_owned: world.trans("d", "owned").await,
            unit_user: world.trans_to_unit("d").await,
            unit_user_expired: self.expired("d", "me", &[("p_target", UNIT)]).await,
            other_unit_user: world.signed(|t| {
                UNIT.clone_into(&mut t.target);
                t.subject = cell_url("d") + "#other";
            }),
            administrator: world.signed(|t| {
                UNIT.clone_into(&mut t.target);
                t.roles = vec![RoleUrl::class(&cell_url("d"), "UnitAdmin").to_string()];
            }),
            no_unit_user: world.trans_to_unit("appcell").await,
            everything: self.login("owned", "all", &[]).await,
        }
    }

    /// Grants the two roles what a case needs and everything else, respectively.
    async fn grant(&self, case: &Case, place: &str) {
        let needed = case.operation.privilege().unwrap();
        let of_cell = place == "c";
        let other = Privilege::EVERY.iter().copied().filter(|p| {
            let enough = p.includes(needed) || case.instead.is_some_and(|i| p.includes(i));
            !enough && (of_cell || !p.is_cell_level())
        });
        let exact: Vec<Privilege> = case.also.iter().copied().chain([needed]).collect();
        let aces = ace("exact", &exact) + &ace("lacks", &other.collect::<Vec<_>>());
        self.world.set_acl(place, &aces).await;
        let all = [Privilege::All];
        for place in case.also_on {
            let aces = ace("exact", &all) + &ace("lacks", &all);
            self.world.set_acl(place, &aces).await;
        }
    }

    /// Takes back what was granted for a case.
    pub async fn take_back(&self, case: &Case, grant: Grant<'_>) {
        if case.operation.privilege().is_some() {
            for place in case.also_on.iter().copied().chain([grant.place(case)]) {
                self.world.set_acl(place, "").await;
            }
        }
    }

    /// Those who are answered in the same way, because nothing is needed.
    pub async fn anybody(&self, case: &Case) -> Vec<Caller> {
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
pub fn ace(role: &str, privileges: &[Privilege]) -> String {
    let granted: String = privileges
        .iter()
        .map(|p| format!("<D:privilege><{p}/></D:privilege>"))
        .collect();
    format!(
        "<D:ace><D:principal><D:href>{}__role/__/{role}</D:href></D:principal><D:grant>{granted}</D:grant></D:ace>",
        cell_url("c")
    )
}

impl Callers {
    /// Who may and who must not send a case, once `place` grants what it says.
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
            ("who lacks it", bearer(&tokens.lacks), lacking()),
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
                bearer(&tokens.must_change),
                late,
            ),
        ] {
            all.push(caller(name, authorization, outcome));
        }
        all.extend(password.map(|outcome| caller("a password", basic("exact"), outcome)));
        Self {
            allowed: caller("who may", bearer(&tokens.exact), done(case.status)),
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
                bearer(&tokens.no_unit_user),
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
            allowed: caller("a unit user", bearer(&tokens.unit_user), done(case.status)),
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
            done(case.status),
        );
        callers
    }

    fn by_owner(case: &Case, tokens: &Tokens) -> Self {
        let no_unit_user = || refused(403, "AU-0001");
        let mut all = vec![anonymous()];
        for (name, authorization, outcome) in [
            (
                "who has every privilege",
                bearer(&tokens.everything),
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
            allowed: caller("the owner", bearer(&tokens.unit_user), done(case.status)),
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

/// An assertion with another role in it.
fn altered_assertion(token: &str) -> String {
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let xml = String::from_utf8(engine.decode(token).unwrap()).unwrap();
    let changed = xml.replacen("#me</NameID>", "#you</NameID>", 1);
    assert_ne!(xml, changed);
    engine.encode(changed)
}

async fn exchanged(world: &World, assertion: &str) -> String {
    let grant = "urn:ietf:params:oauth:grant-type:saml2-bearer";
    let fields = [("grant_type", grant), ("assertion", assertion)];
    text(&world.token("c", &fields).await.json(), "access_token")
}

async fn refresh(world: &World) -> String {
    let fields = [
        ("grant_type", "password"),
        ("username", "exact"),
        ("password", PASSWORD),
    ];
    text(&world.token("c", &fields).await.json(), "refresh_token")
}

async fn must_change(world: &World) -> String {
    let fields = [
        ("grant_type", "password"),
        ("username", "late"),
        ("password", PASSWORD),
    ];
    let reply = world.token("c", &fields).await;
    assert_eq!(reply.status, 401);
    text(&reply.json(), "access_token")
}

impl World {
    /// Links two control objects of a cell.
    pub async fn link(&self, cell: &str, from: &str, navigation: &str, to: &str) {
        let path = format!("{cell}/__ctl/{from}/$links/{navigation}");
        let body = format!("{{\"uri\":\"{}__ctl/{to}\"}}", cell_url(cell));
        let reply = self.ask("POST", &path).text(&body).send().await;
        assert_eq!(reply.status, 204, "{path} {to}: {}", reply.text());
    }

    /// A token of `me` at one cell for the unit.
    pub async fn trans_to_unit(&self, from: &str) -> String {
        text(
            &self.login(from, &[("p_target", UNIT)]).await,
            "access_token",
        )
    }

    /// Sets an access control list with attributes.
    pub async fn set_acl_with(&self, path: &str, attributes: &str, aces: &str) {
        let body = acl_body(attributes, aces);
        let reply = self.ask("ACL", path).text(&body).send().await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    }
}
