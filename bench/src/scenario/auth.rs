//! W11: tokens. What a check costs beside bare cryptography; refreshing, introspecting, issuing and accepting tokens between
//! cells; the same beside Keycloak; logins beside bare scrypt.

mod assertions;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::{Bench, login};
use crate::connection::request;
use crate::keycloak::Keycloak;
use crate::load::{self, Drive, Figures, Maker, Shot};
use crate::report::{Bound, Section};
use crate::unit::{INSPECTOR_BASIC, Unit, text_of};
use crate::{Outcome, floor};

const CONNECTIONS: usize = 32;
/// Time at full load until a Java program is as fast as it gets.
const JAVA_WARM_UP: Duration = Duration::from_secs(60);

pub(super) async fn run(bench: &mut Bench) -> Outcome<Section> {
    let mut section = Section::new("auth");
    checks(bench, &mut section)?;
    served_checks(bench, &mut section).await?;
    let ours = grants(bench, &mut section).await?;
    accepted(bench, &mut section).await?;
    login::beside_hashes(bench, &mut section).await?;
    if let Err(reason) = beside_keycloak(bench, &mut section, ours).await {
        section
            .notes
            .push(format!("not measured beside Keycloak: {reason}"));
    }
    Ok(section)
}

/// The checks alone, in a process of their own that calls them directly: through HTTP they drown in the rest.
fn checks(bench: &Bench, section: &mut Section) -> Outcome {
    let Some(program) = &bench.options.token_checks else {
        section
            .notes
            .push("the checks alone are not measured: no --token-checks".to_owned());
        return Ok(());
    };
    let out = Command::new(program)
        .output()
        .map_err(|e| format!("cannot run {}: {e}", program.display()))?;
    let told = serde_json::from_slice(&out.stdout)
        .map_err(|e| format!("{} printed no figures: {e}", program.display()))?;
    for (check, bare, text, limit) in [
        (
            "local_check",
            "aead_open",
            "local token: check over bare opening of as many bytes",
            10.0,
        ),
        (
            "trans_cell_check",
            "rsa_and_digest",
            "trans-cell token: check over bare RSA verification and SHA-256 of as many bytes",
            4.0,
        ),
    ] {
        let (check, bare) = (floor::figure(&told, check)?, floor::figure(&told, bare)?);
        let text = format!("{text} ({check:.0} ns and {bare:.0} ns)");
        section.demand(text, check / bare, Bound::AtMost, limit);
    }
    Ok(())
}

/// What a check adds to a request that is answered the same without it.
async fn served_checks(bench: &mut Bench, section: &mut Section) -> Outcome {
    let path = format!("/{}/", bench.cell.name);
    let bearer = bench.fresh_bearer().await?;
    let cell = bench.cell.name.clone();
    let refresh = refresh_token(&mut bench.unit, &cell).await?;
    let target = format!("http://localhost/{cell}/");
    let form = format!("grant_type=refresh_token&refresh_token={refresh}&p_target={target}");
    let trans_cell = text_of(&bench.unit.tokens(&cell, &form).await?, "access_token")?;
    let trans_cell = format!("Bearer {trans_cell}");
    for (name, token) in [
        ("GET of a cell, no token", None),
        ("GET of a cell, local token", Some(bearer)),
        ("GET of a cell, trans-cell token", Some(trans_cell)),
    ] {
        let mut headers = vec![("Accept", "application/json")];
        if let Some(token) = &token {
            headers.push(("Authorization", token.as_str()));
        }
        let always = cycling(vec![request("GET", &path, &headers, b"")]);
        let figures = bench.alone(CONNECTIONS, &always).await?;
        section.side(name, figures);
    }
    Ok(())
}

/// What others are compared with.
struct Ours {
    refresh: Figures,
    introspect: Figures,
}

/// Refreshing, introspecting, and issuing tokens for other cells.
async fn grants(bench: &mut Bench, section: &mut Section) -> Outcome<Ours> {
    let cell = bench.cell.name.clone();
    let refresh = refresh_token(&mut bench.unit, &cell).await?;
    let bearer = bench.fresh_bearer().await?;
    let access = bearer.trim_start_matches("Bearer ");
    let token = format!("/{cell}/__token");
    let form = format!("grant_type=refresh_token&refresh_token={refresh}");
    let refreshes = cycling(vec![post(&token, &[], &form)]);
    let issues = cycling(vec![post(
        &token,
        &[],
        &format!("{form}&p_target=https://other.example/cell/"),
    )]);
    let credential = [("Authorization", INSPECTOR_BASIC)];
    let path = format!("/{cell}/__introspect");
    let introspections = cycling(vec![post(&path, &credential, &format!("token={access}"))]);

    let refresh = bench.alone(CONNECTIONS, &refreshes).await?;
    let introspect = bench.alone(CONNECTIONS, &introspections).await?;
    let issue = bench.alone(CONNECTIONS, &issues).await?;
    for (name, figures, wanted) in [
        ("refresh", refresh, 8_000.0),
        ("introspect", introspect, 15_000.0),
        ("trans-cell issue, RSA-2048", issue, 1_500.0),
    ] {
        section.side(name, figures);
        let text = format!("{name}: per s on two processors, generator included");
        section.demand(text, figures.per_second, Bound::AtLeast, wanted);
    }
    Ok(Ours {
        refresh,
        introspect,
    })
}

/// The assertion grant with assertions of another unit, each used once.
async fn accepted(bench: &mut Bench, section: &mut Section) -> Outcome {
    let folder = bench.scratch.join("assertions");
    let cells = if bench.options.quick { 5 } else { 50 };
    let mut issuer = assertions::Issuer::start(&bench.options.server, &folder, cells).await?;
    let more = format!(
        "io.personium.core.x509.root={}\n",
        issuer.authority.display()
    );
    let folder = bench.scratch.join("acceptor");
    let mut acceptor = Unit::start_as(&bench.options.server, &folder, "localhost", &more).await?;
    acceptor.make_cell("target").await?;
    let path = "/target/__token";
    let grant = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Asaml2-bearer&assertion=";
    let shots = |assertions: Vec<String>| -> Vec<Vec<u8>> {
        let form = |assertion: String| post(path, &[], &format!("{grant}{assertion}"));
        assertions.into_iter().map(form).collect()
    };
    let (port, watched) = (acceptor.port(), acceptor.watched());
    let again = cycling(shots(issuer.issue(2 * cells).await?));
    let drive = bench.drive(CONNECTIONS);
    let repeated = load::run(port, drive, &watched, &again).await?;
    section.side(
        "trans-cell accept, some assertions again and again",
        repeated,
    );

    let seconds = drive.warm_up.as_secs_f64() + drive.time.as_secs_f64();
    let enough = repeated.per_second * seconds * bench.options.runs as f64 * 1.5;
    let unique = shots(issuer.issue(enough as usize + 1_000).await?);
    let count = unique.len();
    let used = Arc::new(AtomicUsize::new(0));
    let once = counted(unique, Arc::clone(&used));
    let mut runs = Vec::new();
    for _ in 0..bench.options.runs {
        runs.push(load::run(port, drive, &watched, &once).await?);
    }
    let figures = load::median(&runs);
    section.side("trans-cell accept, each assertion once", figures);
    section.demand(
        "trans-cell accept: per s on two processors, generator included",
        figures.per_second,
        Bound::AtLeast,
        6_000.0,
    );
    let used = used.load(Ordering::Relaxed);
    section.notes.push(format!(
        "assertions of {cells} cells of another unit, 10 roles each, its certificate under an authority of its own; {used} used of {count}"
    ));
    if used > count {
        let text = "the server was faster than expected, so some assertions were used again";
        section.notes.push(text.to_owned());
    }
    Ok(())
}

/// The same on Keycloak in the same run.
async fn beside_keycloak(bench: &Bench, section: &mut Section, ours: Ours) -> Outcome {
    let folder = bench
        .options
        .keycloak
        .as_deref()
        .ok_or("it is not on this machine")?;
    let keycloak = Keycloak::start(folder, &bench.scratch).await?;
    let (port, watched) = (keycloak.port(), keycloak.watched());
    for (name, shots, ours, wanted) in [
        ("refresh", keycloak.refreshes(), ours.refresh, 10.0),
        (
            "introspect",
            keycloak.introspections(),
            ours.introspect,
            8.0,
        ),
    ] {
        let load = cycling(shots);
        let warm_up = Drive {
            time: if bench.options.quick {
                Duration::from_secs(5)
            } else {
                JAVA_WARM_UP
            },
            ..bench.drive(CONNECTIONS)
        };
        load::run(port, warm_up, &watched, &load).await?;
        let mut runs = Vec::new();
        for _ in 0..bench.options.runs {
            runs.push(load::run(port, bench.drive(CONNECTIONS), &watched, &load).await?);
        }
        let theirs = load::median(&runs);
        section.side(format!("Keycloak 26: {name}"), theirs);
        section.demand(
            format!("{name}: answers for a second of processor time, over Keycloak's"),
            theirs.cpu / ours.cpu,
            Bound::AtLeast,
            wanted,
        );
    }
    Ok(())
}

async fn refresh_token(unit: &mut Unit, cell: &str) -> Outcome<String> {
    let form = "grant_type=password&username=me&password=password1";
    text_of(&unit.tokens(cell, form).await?, "refresh_token")
}

fn post(path: &str, more: &[(&str, &str)], form: &str) -> Vec<u8> {
    let mut headers = vec![("Content-Type", "application/x-www-form-urlencoded")];
    headers.extend_from_slice(more);
    request("POST", path, &headers, form.as_bytes())
}

/// Requests one after the other, from the beginning again after the last.
fn cycling(requests: Vec<Vec<u8>>) -> Maker {
    counted(requests, Arc::default())
}

/// The same; counts those that were made.
fn counted(requests: Vec<Vec<u8>>, made: Arc<AtomicUsize>) -> Maker {
    Arc::new(move |_, _| {
        let number = made.fetch_add(1, Ordering::Relaxed);
        Shot {
            bytes: requests
                .get(number % requests.len().max(1))
                .cloned()
                .unwrap_or_default(),
            wished: &[200],
        }
    })
}
