//! W10: logging in with a password, 8 and 200 at a time, one of fifty with a wrong one; and W1 beside it.

use std::sync::Arc;
use std::time::Duration;

use super::{Bench, floor_rate, middle, read_by_key};
use crate::Outcome;
use crate::connection::request;
use crate::load::{self, Drive, Figures, Maker, Shot};
use crate::report::{Bound, Section};

/// So many that an account is never asked again within the second in which it is closed after a wrong password.
const ACCOUNTS: u64 = 400;

/// Logging in, 8 at a time, beside bare scrypt on all processors; adds both with the demand. Gives the load.
pub(super) async fn beside_hashes(bench: &mut Bench, section: &mut Section) -> Outcome<Maker> {
    let threads = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .to_string();
    let logins = maker(&provided(bench).await?);
    let (mut few, mut floor) = (Vec::new(), Vec::new());
    for _ in 0..bench.options.runs {
        few.push(
            load::run(
                bench.unit.port(),
                bench.drive(8),
                &bench.unit.watched(),
                &logins,
            )
            .await?,
        );
        floor.push(floor_rate(&[
            "hashes",
            "--threads",
            &threads,
            "--seconds",
            &bench.seconds(),
        ])?);
    }
    let (few, floor) = (load::median(&few), middle(floor));
    section.side("logins, 8 at a time", few);
    section.rate(format!("floor: scrypt on {threads} threads"), floor);
    section.demand(
        "logins over bare scrypt",
        few.per_second / floor,
        Bound::AtLeast,
        0.9,
    );
    Ok(logins)
}

/// The cell with the accounts, made when it is first needed.
async fn provided(bench: &mut Bench) -> Outcome<String> {
    if let Some(cell) = &bench.login_cell {
        return Ok(cell.clone());
    }
    let cell = bench.unit.make_cell("login").await?.name;
    for number in 0..ACCOUNTS {
        let body = format!("{{\"Name\":\"a{number}\"}}");
        bench
            .unit
            .call(
                "POST",
                "/login/__ctl/Account",
                &[("X-Personium-Credential", "password1")],
                body.as_bytes(),
            )
            .await?;
    }
    bench.login_cell = Some(cell.clone());
    Ok(cell)
}

pub(super) async fn run(bench: &mut Bench) -> Outcome<Section> {
    let mut section = Section::new("W10");
    let logins = beside_hashes(bench, &mut section).await?;
    let patient = Drive {
        connections: 200,
        warm_up: Duration::from_secs(8),
        time: Duration::from_secs(10),
    };
    let crowd = load::run(bench.unit.port(), patient, &bench.unit.watched(), &logins).await?;
    section.side("logins, 200 at a time", crowd);

    let reads = read_by_key::maker(bench).await?;
    let alone = bench.alone(read_by_key::CONNECTIONS, &reads).await?;
    let (mut beside, mut meanwhile) = (Vec::new(), Vec::new());
    for _ in 0..bench.options.runs {
        let (port, watched) = (bench.unit.port(), bench.unit.watched());
        let (a, b) = tokio::join!(
            load::run(
                port,
                bench.drive(read_by_key::CONNECTIONS),
                &watched,
                &reads
            ),
            load::run(port, bench.drive(8), &watched, &logins)
        );
        beside.push(a?);
        meanwhile.push(b?);
    }
    // Processor time and memory of both loads together say nothing about one of them.
    let rates_only = |f: Figures| Figures {
        cpu: 0.0,
        peak: 0,
        ..f
    };
    let beside = load::median(&beside);
    section.side("W1 alone", alone);
    section.side("W1 beside 8 logins at a time", rates_only(beside));
    section.side("those logins", rates_only(load::median(&meanwhile)));
    section.demand(
        "W1 beside logins over W1 alone",
        beside.per_second / alone.per_second,
        Bound::AtLeast,
        0.5,
    );
    Ok(section)
}

fn maker(cell: &str) -> Maker {
    let path = format!("/{cell}/__token");
    Arc::new(move |_, sequence| {
        let wrong = sequence % 50 == 49;
        let account = sequence % ACCOUNTS;
        let password = if wrong { "password2" } else { "password1" };
        let form = format!("grant_type=password&username=a{account}&password={password}");
        let headers = [("Content-Type", "application/x-www-form-urlencoded")];
        Shot {
            bytes: request("POST", &path, &headers, form.as_bytes()),
            wished: if wrong { &[400] } else { &[200] },
        }
    })
}
