//! The check of a unit that runs, from outside: as its clients reach it.

mod ports;

use http::{Uri, header};
use personium_types::time::{iso_time, parse_http_date};

use super::clock::{self, OtherClock};
use super::report::{CheckOutcome, CheckReport};
use crate::certificate_expiry::{EXPIRY_WARNING_DAYS, days_left};
use crate::outside::{OutsideClient, OutsideRequest, OutsideResponse, UnitAddress, UnitFacts};
use crate::{key_files, system};

/// The number of characters of a name that no cell has.
const NAME_CHARS: usize = 16;

/// Checks the unit at an address: its name and certificate, its description, cells, the page of settings, the clock.
pub async fn check_from_outside(address: &UnitAddress) -> CheckReport {
    let mut report = CheckReport::default();
    let client = match OutsideClient::new(address) {
        Ok(client) => client,
        Err(error) => {
            report.error("certificates", error);
            return report;
        }
    };
    let described = get(&client, address.url().to_owned()).await;
    let facts = check_unit(&mut report, address, described.as_ref());
    if let Ok(response) = &described {
        check_clock(&mut report, response);
    }
    if let Some(facts) = &facts {
        match key_files::random_text(NAME_CHARS, &system::random()) {
            Ok(name) => {
                let name = format!("x{name}");
                check_network(&mut report, &client, (address, facts), &name).await;
                check_cells(&mut report, &client, facts, &name).await;
            }
            Err(error) => report.error("cells", error.to_string()),
        }
        check_settings_page(&mut report, &client, facts).await;
    }
    check_certificates(&mut report, &client, address, facts.as_ref());
    report
}

async fn get(client: &OutsideClient, url: String) -> Result<OutsideResponse, String> {
    let request = OutsideRequest {
        url,
        headers: vec![("accept".into(), "application/json".to_owned())],
        ..OutsideRequest::default()
    };
    client.send(request).await
}

fn check_unit(
    report: &mut CheckReport,
    address: &UnitAddress,
    described: Result<&OutsideResponse, &String>,
) -> Option<UnitFacts> {
    const CHECK: &str = "unit URL";
    let url = address.url();
    let response = match described {
        Ok(response) => response,
        Err(error) => {
            report.error(CHECK, format!("{url}: {error}{}", advice(error)));
            return None;
        }
    };
    let Some(facts) = UnitFacts::read(response).filter(|_| response.status == 200) else {
        let status = response.status;
        let answer = response.json();
        let said = answer.pointer("/message/value");
        let said = said.and_then(|said| said.as_str()).unwrap_or_default();
        let said = match said.is_empty() {
            true => "and is no unit".to_owned(),
            false => format!("and says: {said}"),
        };
        report.error(CHECK, format!("{url} answers {status} {said}"));
        return None;
    };
    let cells = match facts.path_based {
        true => "the URL of a cell is a path",
        false => "the URL of a cell is a host",
    };
    let millis = response.elapsed.as_millis();
    if facts.url != url {
        let own = &facts.url;
        report.error(
            CHECK,
            format!("{url} is answered by a unit that calls itself {own}"),
        );
    } else if url.starts_with("http:") && !url.starts_with("http://localhost") {
        report.warning(
            CHECK,
            format!("{url} answers in {millis} ms without TLS; {cells}"),
        );
    } else {
        report.ok(CHECK, format!("{url} answers in {millis} ms; {cells}"));
    }
    let version = response.headers.get("x-personium-version");
    if let Some(version) = version.and_then(|version| version.to_str().ok()) {
        report.ok("version", format!("API {version}"));
    }
    Some(facts)
}

/// Advice about a unit that cannot be reached; empty if the error says it all.
fn advice(error: &str) -> &'static str {
    if error.contains("UnknownIssuer") {
        "; if the authority is your own, give its certificate by --ca, and to all clients; if it is a public one, let the server send the \
         certificates of the authorities between too"
    } else if error.contains("failed to lookup address") {
        "; let the name lead to the server, or give its address by --address"
    } else if error.contains("Connection refused") {
        "; nothing listens there: does the web layer run, or the unit if it has TLS itself?"
    } else {
        ""
    }
}

fn check_clock(report: &mut CheckReport, response: &OutsideResponse) {
    let date = response.headers.get(header::DATE);
    let date = date.and_then(|date| parse_http_date(date.to_str().ok()?));
    let Some(there_s) = date else {
        return report.warning(clock::CHECK, "the answer has no date");
    };
    let answered_ms = system::clock().now_ms();
    let elapsed_ms = i64::try_from(response.elapsed.as_millis()).unwrap_or(i64::MAX);
    let other = OtherClock {
        asked_ms: answered_ms.saturating_sub(elapsed_ms),
        answered_ms,
        shown_ms: there_s.saturating_mul(1000),
        // A date has whole seconds.
        resolution_ms: 1000,
    };
    clock::compare(report, "that of the unit", &other);
}

/// The addresses of the names, what TLS agrees on, whether port 80 serves the unit too, and which inner ports are open. `cell` is a
/// name that no cell has.
async fn check_network(
    report: &mut CheckReport,
    client: &OutsideClient,
    (address, facts): (&UnitAddress, &UnitFacts),
    cell: &str,
) {
    let Some(place) = address.url().parse::<Uri>().ok() else {
        return;
    };
    let (host, is_tls) = (place.host().unwrap_or_default(), is_https(&place));
    let port = place.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let of_unit = client.addresses(host).await;
    if !address.has_address() {
        let names = match facts.path_based {
            true => vec![host.to_owned()],
            false => vec![host.to_owned(), format!("{cell}.{host}")],
        };
        for name in names {
            let found = client.addresses(&name).await;
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            match found.is_empty() {
                true => report.error("names", format!("{name} has no address")),
                false => report.ok("names", format!("{name}: {}", found.join(" "))),
            }
        }
    }
    let Some(first) = of_unit.first().copied() else {
        return;
    };
    if is_tls {
        match client.tls_agreement(host, (first, port)).await {
            Some(agreement) => report.ok("TLS", agreement),
            None => report.warning("TLS", format!("{first} does not agree on TLS for {host}")),
        }
        if port == 443 {
            check_plain(report, client, host).await;
        }
    }
    match first.is_loopback() {
        true => report.ok(
            "open ports",
            "not tried: this machine reaches itself; run it on another one",
        ),
        false => ports::check(report, first, port, &ports::INNER_PORTS).await,
    }
}

/// Port 80 may lead to the port of TLS, or not be there. It must not serve the unit.
async fn check_plain(report: &mut CheckReport, client: &OutsideClient, host: &str) {
    const CHECK: &str = "without TLS";
    let url = format!("http://{host}/");
    match get(client, url.clone()).await {
        Err(_) => report.ok(CHECK, format!("{url} does not answer")),
        Ok(response) if UnitFacts::read(&response).is_some() => {
            report.error(CHECK, format!("{url} serves the unit: lead it to https"));
        }
        Ok(response) => report.ok(CHECK, format!("{url} answers {}", response.status)),
    }
}

fn is_https(url: &Uri) -> bool {
    url.scheme_str() == Some("https")
}

/// Asks for a cell that does not exist: its name must lead to the unit.
async fn check_cells(
    report: &mut CheckReport,
    client: &OutsideClient,
    facts: &UnitFacts,
    name: &str,
) {
    const CHECK: &str = "cells";
    let url = facts.cell_url(name);
    match get(client, url.clone()).await {
        Ok(response) if response.status == 404 && response.json().get("code").is_some() => {
            report.ok(CHECK, format!("{url} leads to the unit"));
        }
        Ok(response) => report.error(
            CHECK,
            format!("{url} answers {}, and not 404 by the unit", response.status),
        ),
        Err(error) => report.error(
            CHECK,
            format!("{url}: {error}; the name system and the certificate must have all names below the unit"),
        ),
    }
}

/// The settings must not be shown without credentials.
async fn check_settings_page(report: &mut CheckReport, client: &OutsideClient, facts: &UnitFacts) {
    const CHECK: &str = "settings page";
    let url = format!("{}__status", facts.url);
    match get(client, url.clone()).await {
        Ok(response) if (400..500).contains(&response.status) => {
            report.ok(CHECK, format!("{url} is refused without credentials"));
        }
        Ok(response) => report.error(
            CHECK,
            format!("{url} answers {} without credentials", response.status),
        ),
        Err(error) => report.warning(CHECK, format!("{url}: {error}")),
    }
}

fn check_certificates(
    report: &mut CheckReport,
    client: &OutsideClient,
    address: &UnitAddress,
    facts: Option<&UnitFacts>,
) {
    const CHECK: &str = "server certificate";
    let now_ms = system::clock().now_ms();
    for seen in client.certificates() {
        let (details, info) = (&seen.details, &seen.details.info);
        let days = days_left(info, now_ms);
        let detail = format!(
            "{} for {}, issued by {}, {}, until {} ({days} days)",
            info.subject,
            details.alternative_names.join(" "),
            info.issuer,
            details.key,
            iso_time(info.not_after_ms),
        );
        for authority in &seen.intermediates {
            let (subject, days) = (&authority.info.subject, days_left(&authority.info, now_ms));
            let detail = format!("sent with that of {subject} ({days} days)");
            report.add(CHECK, outcome_of(days), detail);
        }
        match &seen.refusal {
            Some(refusal) => {
                let advice = advice(refusal);
                report.error(CHECK, format!("{detail}; not trusted: {refusal}{advice}"));
            }
            None => report.add(CHECK, outcome_of(days), detail),
        }
    }
    let host = host_of(address.url());
    let wildcard = format!("*.{host}");
    let has_wildcard = |seen: &crate::outside::SeenCertificate| {
        let mut names = seen.details.alternative_names.iter();
        names.any(|name| name.eq_ignore_ascii_case(&wildcard))
    };
    let seen = client.certificates();
    if facts.is_some_and(|facts| !facts.path_based)
        && !seen.is_empty()
        && !seen.iter().any(has_wildcard)
    {
        report.warning(
            CHECK,
            format!("none is for {wildcard}, the names of the cells"),
        );
    }
}

/// The outcome for a certificate that is valid for so many days.
fn outcome_of(days: i64) -> CheckOutcome {
    match days < EXPIRY_WARNING_DAYS {
        true => CheckOutcome::Warning,
        false => CheckOutcome::Ok,
    }
}

fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', ':']).next().unwrap_or_default()
}
