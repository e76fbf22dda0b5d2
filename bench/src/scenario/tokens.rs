//! W11: tokens. Verification beside bare cryptography; refreshing, introspecting, issuing and accepting tokens between
//! cells; the same with Keycloak; logins beside scrypt alone.

mod assertions;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use personium_testkit::{request_bytes, text_member};

use super::{BenchContext, logins};
use crate::keycloak::Keycloak;
use crate::load::{self, LoadProfile, LoadRequest, Measurement, RequestGenerator};
use crate::report::{Bound, Section};
use crate::unit::{BenchUnit, INTROSPECTION_CREDENTIAL, UnitSetup};
use crate::{BenchResult, baseline};

const CONNECTIONS: usize = 32;
/// The time at full load after which a Java program has been compiled.
const JAVA_WARM_UP: Duration = Duration::from_secs(60);
/// The same for a quick report.
const QUICK_JAVA_WARM_UP: Duration = Duration::from_secs(5);
/// The assertion grant, up to the assertion.
const ASSERTION_GRANT: &str =
    "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Asaml2-bearer&assertion=";

/// The measurements that are compared with Keycloak's.
struct UnitRates {
    refresh: Measurement,
    introspect: Measurement,
}

pub(super) async fn run(context: &mut BenchContext) -> BenchResult<Section> {
    let mut section = Section::new("auth");
    measure_verification(context, &mut section)?;
    measure_requests_with_token(context, &mut section).await?;
    let unit_rates = measure_grants(context, &mut section).await?;
    measure_assertion_grant(context, &mut section).await?;
    logins::compare_with_hashing(context, &mut section).await?;
    if let Err(error) = compare_with_keycloak(context, &mut section, &unit_rates).await {
        section.note(format!("not compared with Keycloak: {error}"));
    }
    Ok(section)
}

/// Measures the verification of tokens, by a program that calls it directly: over HTTP it is a small part of a request.
fn measure_verification(context: &BenchContext, section: &mut Section) -> BenchResult {
    let Some(program) = &context.options.token_checks else {
        section.note("verification alone was not measured: no --token-checks");
        return Ok(());
    };
    let output = Command::new(program)
        .output()
        .map_err(|error| format!("cannot run {}: {error}", program.display()))?;
    let printed = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("{} printed no JSON: {error}", program.display()))?;
    for (verification, cryptography, text, limit) in [
        (
            "local_check",
            "aead_open",
            "local token: verification over bare decryption of as many bytes",
            10.0,
        ),
        (
            "trans_cell_check",
            "rsa_and_digest",
            "trans-cell token: verification over bare RSA and SHA-256 of as many bytes",
            4.0,
        ),
    ] {
        let verification_ns = baseline::number(&printed, verification)?;
        let cryptography_ns = baseline::number(&printed, cryptography)?;
        let text = format!("{text} ({verification_ns:.0} ns and {cryptography_ns:.0} ns)");
        let ratio = verification_ns / cryptography_ns;
        section.require(text, ratio, Bound::AtMost, limit);
    }
    Ok(())
}

/// Measures a request without and with tokens; the response is the same.
async fn measure_requests_with_token(
    context: &mut BenchContext,
    section: &mut Section,
) -> BenchResult {
    let cell = context.cell.name.clone();
    let path = format!("/{cell}/");
    let local = context.new_bearer().await?;
    let refresh = context.unit.refresh_token(&cell).await?;
    let target = format!("http://localhost/{cell}/");
    let form = format!("grant_type=refresh_token&refresh_token={refresh}&p_target={target}");
    let tokens = context.unit.request_tokens(&cell, &form).await?;
    let trans_cell = format!("Bearer {}", text_member(&tokens, "access_token"));
    for (name, token) in [
        ("GET of a cell, no token", None),
        ("GET of a cell, local token", Some(local)),
        ("GET of a cell, trans-cell token", Some(trans_cell)),
    ] {
        let mut headers = vec![("Accept", "application/json")];
        if let Some(token) = &token {
            headers.push(("Authorization", token.as_str()));
        }
        let generator = cycle(vec![request_bytes("GET", &path, &headers, b"")]);
        let measurement = context.measure_unit(CONNECTIONS, &generator).await?;
        section.measured(name, measurement);
    }
    Ok(())
}

/// Measures refreshing, introspecting, and issuing tokens for other cells.
async fn measure_grants(
    context: &mut BenchContext,
    section: &mut Section,
) -> BenchResult<UnitRates> {
    let cell = context.cell.name.clone();
    let refresh = context.unit.refresh_token(&cell).await?;
    let bearer = context.new_bearer().await?;
    let access = bearer.trim_start_matches("Bearer ");
    let token_path = format!("/{cell}/__token");
    let form = format!("grant_type=refresh_token&refresh_token={refresh}");
    let refreshes = cycle(vec![post(&token_path, &[], &form)]);
    let form = format!("{form}&p_target=https://other.example/cell/");
    let issues = cycle(vec![post(&token_path, &[], &form)]);
    let credential = [("Authorization", INTROSPECTION_CREDENTIAL)];
    let path = format!("/{cell}/__introspect");
    let form = format!("token={access}");
    let introspections = cycle(vec![post(&path, &credential, &form)]);

    let refresh = context.measure_unit(CONNECTIONS, &refreshes).await?;
    let introspect = context.measure_unit(CONNECTIONS, &introspections).await?;
    let issue = context.measure_unit(CONNECTIONS, &issues).await?;
    for (name, measurement, limit) in [
        ("refresh", refresh, 8_000.0),
        ("introspect", introspect, 15_000.0),
        ("trans-cell issue, RSA-2048", issue, 1_500.0),
    ] {
        section.measured(name, measurement);
        let text = format!("{name}: per s on two processors, load generator included");
        section.require(text, measurement.per_second, Bound::AtLeast, limit);
    }
    Ok(UnitRates {
        refresh,
        introspect,
    })
}

/// Measures the assertion grant with assertions of another unit: some again and again, then each once.
async fn measure_assertion_grant(context: &mut BenchContext, section: &mut Section) -> BenchResult {
    let cells = if context.options.quick { 5 } else { 50 };
    let folder = context.scratch.join("assertions");
    let mut issuer = assertions::Issuer::start(&context.options.server, &folder, cells).await?;
    let acceptor = start_acceptor(context, &issuer.authority).await?;
    let grant = |assertion: String| {
        post(
            "/target/__token",
            &[],
            &format!("{ASSERTION_GRANT}{assertion}"),
        )
    };
    let repeated: Vec<_> = issuer
        .issue(2 * cells)
        .await?
        .into_iter()
        .map(grant)
        .collect();
    let profile = context.profile(CONNECTIONS);
    let repeated = load::run(acceptor.target(), profile, &cycle(repeated)).await?;
    section.measured(
        "trans-cell accept, some assertions again and again",
        repeated,
    );

    let run_secs = (profile.warm_up + profile.duration).as_secs_f64();
    let needed = repeated.per_second * run_secs * context.options.runs as f64 * 1.5;
    let unique = issuer.issue(needed as usize + 1_000).await?;
    let unique: Vec<_> = unique.into_iter().map(grant).collect();
    let count = unique.len();
    let used = Arc::new(AtomicUsize::new(0));
    let generator = cycle_counted(unique, Arc::clone(&used));
    let once = context
        .measure(acceptor.target(), CONNECTIONS, &generator)
        .await?;
    section.measured("trans-cell accept, each assertion once", once);
    section.require(
        "trans-cell accept: per s on two processors, load generator included",
        once.per_second,
        Bound::AtLeast,
        6_000.0,
    );
    let used = used.load(Ordering::Relaxed);
    section.note(format!(
        "assertions of {cells} cells of another unit, 10 roles each, its certificate of an authority of its own; {used} used of {count}"
    ));
    if used > count {
        section.note("the server was faster than expected, so some assertions were used twice");
    }
    Ok(())
}

/// Starts a unit that trusts the authority of the issuing unit.
async fn start_acceptor(context: &BenchContext, authority: &Path) -> BenchResult<BenchUnit> {
    let settings = format!("io.personium.core.x509.root={}\n", authority.display());
    let mut acceptor = BenchUnit::start_with(UnitSetup {
        program: &context.options.server,
        folder: &context.scratch.join("acceptor"),
        host: "localhost",
        settings: &settings,
    })
    .await?;
    acceptor.create_cell("target").await?;
    Ok(acceptor)
}

/// Measures refreshing and introspecting with Keycloak in the same run.
async fn compare_with_keycloak(
    context: &BenchContext,
    section: &mut Section,
    unit_rates: &UnitRates,
) -> BenchResult {
    let folder = context
        .options
        .keycloak
        .as_deref()
        .ok_or("it is not on this machine")?;
    let keycloak = Keycloak::start(folder, &context.scratch).await?;
    let warm_up = LoadProfile {
        duration: if context.options.quick {
            QUICK_JAVA_WARM_UP
        } else {
            JAVA_WARM_UP
        },
        ..context.profile(CONNECTIONS)
    };
    for (name, requests, unit, limit) in [
        ("refresh", keycloak.refreshes(), unit_rates.refresh, 10.0),
        (
            "introspect",
            keycloak.introspections(),
            unit_rates.introspect,
            8.0,
        ),
    ] {
        let generator = cycle(requests);
        let target = keycloak.target();
        load::run(target, warm_up, &generator).await?;
        let measurement = context.measure(target, CONNECTIONS, &generator).await?;
        section.measured(format!("Keycloak 26: {name}"), measurement);
        section.require(
            format!("{name}: responses per second of processor time, over Keycloak's"),
            measurement.cpu_us / unit.cpu_us,
            Bound::AtLeast,
            limit,
        );
    }
    Ok(())
}

fn post(path: &str, more_headers: &[(&str, &str)], form: &str) -> Vec<u8> {
    let mut headers = vec![("Content-Type", "application/x-www-form-urlencoded")];
    headers.extend_from_slice(more_headers);
    request_bytes("POST", path, &headers, form.as_bytes())
}

/// Returns a generator that repeats the requests in order.
fn cycle(requests: Vec<Vec<u8>>) -> RequestGenerator {
    cycle_counted(requests, Arc::default())
}

/// Returns a generator that repeats the requests in order and counts them.
fn cycle_counted(requests: Vec<Vec<u8>>, count: Arc<AtomicUsize>) -> RequestGenerator {
    Arc::new(move |_, _| {
        let number = count.fetch_add(1, Ordering::Relaxed);
        LoadRequest {
            bytes: requests
                .get(number % requests.len().max(1))
                .cloned()
                .unwrap_or_default(),
            expected: &[200],
        }
    })
}
