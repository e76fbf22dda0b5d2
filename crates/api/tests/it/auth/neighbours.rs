//! Another unit whose certificate is trusted: it speaks for its own people, and for nobody of this unit.

use personium_model::auth::UnitKeys;
use personium_token::local::{LocalKeys, LocalKind, LocalToken, Origin};
use personium_token::random::SystemRandom;
use personium_token::saml::TransCellToken;
use personium_token::trust::{SelfSigned, TrustRoots, UnitKey, generate_self_signed};

use super::{cell_url, oauth, text, world};
use crate::harness::{SECRET, START, World, done, refused};

const SAML: &str = "urn:ietf:params:oauth:grant-type:saml2-bearer";
/// A cell of the other unit.
const AFAR: &str = "http://other.example/x/";
/// How long certificates are valid here, milliseconds: a year.
const YEAR: i64 = 365 * 24 * 3_600_000;

/// A unit as usual that trusts the unit `other.example`, and the key of that one. Visitors from [`AFAR`] may read a file.
async fn neighbours() -> (World, UnitKey) {
    let world = world(|_| {}).await;
    let make = |host: &str| generate_self_signed(host, START - YEAR, START + YEAR).unwrap();
    let (own, other) = (make("unit.example"), make("other.example"));
    let files = [&own, &other].map(|made| made.certificate_pem.as_bytes());
    let key = |made: &SelfSigned| {
        UnitKey::load(made.key_pem.as_bytes(), made.certificate_pem.as_bytes()).unwrap()
    };
    let mut keys = UnitKeys {
        local_tokens: LocalKeys::new(SECRET).unwrap(),
        signing: key(&own),
        trust_roots: TrustRoots::load(&files, START).unwrap(),
        password_hashing: world.unit.keys().password_hashing.clone(),
    };
    keys.password_hashing.scrypt.cpu_cost = 16;
    let world = world.again_with(keys.into());
    world.visited_from(&[AFAR, &cell_url("d")]).await;
    (world, key(&other))
}

impl World {
    /// Whether the other unit gets in with a token at all: used directly, and by exchange.
    async fn outcomes(&self, token: &str) -> ((u16, String), (u16, String)) {
        let direct = self.with_token("GET", "c/b/f", token).await;
        let fields = [("grant_type", SAML), ("assertion", token)];
        let reply = self.token("c", &fields).await;
        let exchanged = match reply.status.as_u16() {
            200 => done(200),
            status => (status, oauth(&reply)),
        };
        (direct, exchanged)
    }
}

fn from_afar(token: &mut TransCellToken) {
    token.issuer = AFAR.to_owned();
    token.subject = AFAR.to_owned() + "#me";
}

#[tokio::test]
async fn a_neighbour_speaks_for_its_own_people() {
    let (world, other) = neighbours().await;
    for subject in [AFAR.to_owned() + "#me", AFAR.to_owned()] {
        let token = world.signed_by(&other, |t| {
            from_afar(t);
            t.subject = subject;
        });
        assert_eq!(world.outcomes(&token).await, (done(200), done(200)));
    }
    let token = world.signed_by(&other, from_afar);
    let fields = [("grant_type", SAML), ("assertion", token.as_str())];
    let refresh = text(&world.token("c", &fields).await.json(), "refresh_token");
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh.as_str()),
    ];
    let again = text(&world.token("c", &fields).await.json(), "access_token");
    assert_eq!(world.with_token("GET", "c/b/f", &again).await, done(200));
}

#[tokio::test]
async fn a_neighbour_does_not_speak_for_our_people() {
    let (world, other) = neighbours().await;
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
        let token = world.signed_by(&other, |t| {
            from_afar(t);
            t.subject.clone_from(&subject);
        });
        assert_eq!(world.outcomes(&token).await, nothing, "{subject}");
        let body = super::form(&[("token", token.as_str())]);
        let told = world.ask("POST", "c/__introspect").text(&body).send().await;
        assert_eq!(told.json()["active"], false, "{subject}");
    }
    // A cell of this unit does: somebody of `d` who comes from elsewhere in this unit.
    let token = world.signed(|t| t.issuer = cell_url("appcell"));
    assert_eq!(world.outcomes(&token).await.1, done(200));
}

#[tokio::test]
async fn a_refresh_token_does_not_outlive_who_it_pretends_to_be() {
    let (world, _) = neighbours().await;
    let honest = world.trans("d", "c").await;
    let fields = [("grant_type", SAML), ("assertion", honest.as_str())];
    let refresh = text(&world.token("c", &fields).await.json(), "refresh_token");
    let keys = &world.unit.keys().local_tokens;
    let real = keys.open(&refresh, &cell_url("c")).unwrap();
    assert_eq!(real.kind, LocalKind::VisitorRefresh);
    for (issuer, outcome) in [(cell_url("d"), 200), (AFAR.to_owned(), 400)] {
        let token = LocalToken {
            origin: Some(Origin {
                issuer,
                assertion_id: "a".to_owned(),
            }),
            ..real.clone()
        };
        let sealed = keys.seal(&token, &mut SystemRandom).unwrap();
        let target = cell_url("appcell");
        let fields = [
            ("grant_type", "refresh_token"),
            ("refresh_token", sealed.as_str()),
            ("p_target", target.as_str()),
        ];
        assert_eq!(world.token("c", &fields).await.status, outcome);
    }
}
