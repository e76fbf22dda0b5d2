//! The unit is killed again and again while it is written to. Whatever it acknowledged is there afterwards, and nothing is half done.
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

#[path = "real_unit/process.rs"]
mod process;

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use process::{Client, Unit};

const ROUNDS: u64 = 50;
const WRITERS: u64 = 6;
/// Names of each kind that a writer uses; small, so that writing over and removing happen often.
const NAMES: u64 = 12;

/// Repeatable chance (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// What a thing is: absent, or made by the write with this number.
type State = Option<u64>;

/// What one writer knows: the last acknowledged state of each thing, and the one write that was not answered.
#[derive(Default)]
struct Ledger {
    files: BTreeMap<u64, State>,
    rows: BTreeMap<u64, State>,
    cells: BTreeMap<u64, State>,
    events: BTreeMap<u64, State>,
    open: Option<(Kind, u64, State)>,
    acknowledged: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    File,
    Row,
    Cell,
    Event,
}

impl Kind {
    /// Whether each thing of the kind is made once and never changed.
    fn is_final(self) -> bool {
        matches!(self, Self::Cell | Self::Event)
    }
}

impl Ledger {
    fn of(&mut self, kind: Kind) -> &mut BTreeMap<u64, State> {
        match kind {
            Kind::File => &mut self.files,
            Kind::Row => &mut self.rows,
            Kind::Cell => &mut self.cells,
            Kind::Event => &mut self.events,
        }
    }
}

/// Content that tells its write and shows every tear. Every fourth is large enough to be stored outside the records.
fn content(write: u64) -> Vec<u8> {
    let lines = if write.is_multiple_of(4) {
        20_000
    } else {
        1 + write % 30
    };
    format!("{write:012}\n")
        .repeat(usize::try_from(lines).unwrap())
        .into_bytes()
}

/// Two properties that must always tell the same write; one of them is searched for.
fn row(id: Option<&str>, write: u64) -> String {
    let id = id
        .map(|id| format!("\"__id\":\"{id}\","))
        .unwrap_or_default();
    format!(
        "{{{id}\"first\":\"w{write}\",\"filler\":\"{}\",\"second\":\"w{write}\"}}",
        "f".repeat(600)
    )
}

struct Writer {
    number: u64,
    client: Client,
    admin: Client,
    chance: Chance,
    next: u64,
    ledger: Ledger,
}

impl Writer {
    fn file(&self, name: u64) -> String {
        format!("/crash/box/w{}-{name}", self.number)
    }

    fn id(&self, name: u64) -> String {
        format!("w{}-{name}", self.number)
    }

    fn row(&self, name: u64) -> String {
        format!("/crash/box/data/Row('{}')", self.id(name))
    }

    fn cell(&self, name: u64) -> String {
        format!("c{}n{name}", self.number)
    }

    fn event(&self, name: u64) -> String {
        format!("event {}-{name}", self.number)
    }

    /// Writes until the connection breaks, which is when the unit was killed.
    fn write_until_killed(&mut self) {
        loop {
            let kind = match self.chance.below(20) {
                0 => Kind::Cell,
                1..4 => Kind::Event,
                4..11 => Kind::File,
                _ => Kind::Row,
            };
            let name = if kind.is_final() {
                self.next
            } else {
                self.chance.below(NAMES)
            };
            let known = self.ledger.of(kind).get(&name).copied().flatten();
            let write = self.number * 1_000_000_000 + self.next;
            self.next += 1;
            let wanted = if known.is_some() && self.chance.below(5) == 0 && !kind.is_final() {
                None
            } else {
                Some(write)
            };
            self.ledger.open = Some((kind, name, wanted));
            match self.apply(kind, name, known, wanted) {
                Ok(()) => {
                    self.ledger.of(kind).insert(name, wanted);
                    self.ledger.open = None;
                    self.ledger.acknowledged += 1;
                }
                Err(_) => return,
            }
        }
    }

    fn apply(&mut self, kind: Kind, name: u64, known: State, wanted: State) -> io::Result<()> {
        let (wish, answer) = match (kind, wanted) {
            (Kind::File, Some(write)) => {
                let path = self.file(name);
                let wish: &[u16] = if known.is_some() { &[204] } else { &[201] };
                (
                    wish,
                    self.client.send(
                        "PUT",
                        &path,
                        &[("Content-Type", "text/plain")],
                        &content(write),
                    )?,
                )
            }
            (Kind::File, None) => (
                &[204_u16][..],
                self.client.send("DELETE", &self.file(name), &[], b"")?,
            ),
            (Kind::Row, Some(write)) if known.is_some() => {
                let path = self.row(name);
                (
                    &[204][..],
                    self.client.send(
                        "PUT",
                        &path,
                        &[("If-Match", "*")],
                        row(None, write).as_bytes(),
                    )?,
                )
            }
            (Kind::Row, Some(write)) => {
                let body = row(Some(&self.id(name)), write);
                (
                    &[201][..],
                    self.client
                        .send("POST", "/crash/box/data/Row", &[], body.as_bytes())?,
                )
            }
            (Kind::Row, None) => (
                &[204][..],
                self.client
                    .send("DELETE", &self.row(name), &[("If-Match", "*")], b"")?,
            ),
            (Kind::Cell, _) => {
                let body = format!("{{\"Name\":\"{}\"}}", self.cell(name));
                (
                    &[201][..],
                    self.admin
                        .send("POST", "/__ctl/Cell", &[], body.as_bytes())?,
                )
            }
            (Kind::Event, _) => {
                let body = format!("{{\"Type\":\"kill9\",\"Info\":\"{}\"}}", self.event(name));
                (
                    &[200][..],
                    self.admin
                        .send("POST", "/crash/__event", &[], body.as_bytes())?,
                )
            }
        };
        assert!(
            wish.contains(&answer.status),
            "{kind:?} {name} from {known:?} to {wanted:?}: {} {}",
            answer.status,
            answer.text()
        );
        Ok(())
    }

    /// Compares the unit with the ledger. What was not answered may have happened or not; which one is learned.
    fn audit(&mut self, round: u64) {
        // The connections of before the kill are dead.
        (self.client, self.admin) = (self.client.again(), self.admin.again());
        let open = self.ledger.open.take();
        for kind in [Kind::File, Kind::Row, Kind::Cell, Kind::Event] {
            let mut expected = self.ledger.of(kind).clone();
            if let Some((_, name, _)) = open.filter(|(k, _, _)| *k == kind) {
                expected.entry(name).or_insert(None);
            }
            for (name, known) in expected {
                let found = self.find(kind, name);
                let allowed = open
                    .filter(|(k, n, _)| (*k, *n) == (kind, name))
                    .map(|(_, _, wanted)| wanted);
                assert!(
                    found == known || allowed == Some(found),
                    "round {round}, writer {}: {kind:?} {name} is {found:?}; acknowledged {known:?}, not answered {allowed:?}",
                    self.number
                );
                self.ledger.of(kind).insert(name, found);
            }
        }
        // Cells and events are many; those that were audited once need not be again in each round.
        if round % 10 != 9 {
            self.ledger.cells.clear();
            self.ledger.events.clear();
        }
    }

    /// What the unit says a thing is. Panics when it is something that nobody wrote as a whole.
    fn find(&mut self, kind: Kind, name: u64) -> State {
        match kind {
            Kind::File => {
                let answer = self.client.send("GET", &self.file(name), &[], b"").unwrap();
                if answer.status == 404 {
                    return None;
                }
                assert_eq!(answer.status, 200, "{}", answer.text());
                let write = answer
                    .text()
                    .lines()
                    .next()
                    .and_then(|l| l.parse().ok())
                    .expect("a file without its first line");
                assert!(
                    answer.body == content(write),
                    "file {name} is torn: {} bytes of write {write}",
                    answer.body.len()
                );
                Some(write)
            }
            Kind::Row => {
                let answer = self
                    .client
                    .send(
                        "GET",
                        &self.row(name),
                        &[("Accept", "application/json")],
                        b"",
                    )
                    .unwrap();
                if answer.status == 404 {
                    let listed = self.listed(&format!("__id%20eq%20%27{}%27", self.id(name)));
                    assert_eq!(listed, 0, "row {name} is gone but listed");
                    return None;
                }
                assert_eq!(answer.status, 200, "{}", answer.text());
                let json = answer.json();
                let row = &json["d"]["results"];
                assert_eq!(row["first"], row["second"], "row {name} is torn");
                let write = row["first"]
                    .as_str()
                    .and_then(|w| w.strip_prefix('w'))
                    .and_then(|w| w.parse().ok())
                    .expect("a row without its write");
                assert_eq!(
                    self.listed(&format!("first%20eq%20%27w{write}%27")),
                    1,
                    "row {name} is there but its index is not"
                );
                Some(write)
            }
            Kind::Cell => {
                let cell = self.cell(name);
                let answer = self
                    .admin
                    .send(
                        "GET",
                        &format!("/__ctl/Cell('{cell}')"),
                        &[("Accept", "application/json")],
                        b"",
                    )
                    .unwrap();
                if answer.status == 404 {
                    let made = self
                        .admin
                        .send("GET", &format!("/{cell}/__ctl/Box"), &[], b"")
                        .unwrap();
                    assert_eq!(made.status, 404, "cell {cell} is not listed but answers");
                    return None;
                }
                assert_eq!(answer.status, 200, "{}", answer.text());
                // A cell that exists works.
                self.admin.made("GET", &format!("/{cell}/__ctl/Box"), "");
                Some(self.number * 1_000_000_000 + name)
            }
            Kind::Event => {
                let log = self
                    .admin
                    .made("GET", "/crash/__log/current/default.log", "");
                let end = format!(",\"{}\"", self.event(name));
                let log = log.text();
                let lines = log.lines().filter(|line| line.ends_with(&end)).count();
                assert!(lines <= 1, "{end} was logged {lines} times");
                (lines == 1).then_some(self.number * 1_000_000_000 + name)
            }
        }
    }

    fn listed(&mut self, filter: &str) -> usize {
        let path = format!("/crash/box/data/Row?$filter={filter}&$format=json");
        self.client.made("GET", &path, "").json()["d"]["results"]
            .as_array()
            .map_or(0, Vec::len)
    }
}

#[test]
fn what_was_acknowledged_survives_every_kill() {
    let mut unit = Unit::start("kill9");
    let mut owner = unit.cell_with_owner("crash");
    owner.make_odata("/crash/box/data", "Row");
    let rule = r#"{"Name":"log","EventExternal":true,"EventType":"kill9","Action":"log"}"#;
    unit.admin().made("POST", "/crash/__ctl/Rule", rule);
    let mut writers: Vec<Writer> = (0..WRITERS)
        .map(|number| Writer {
            number,
            client: owner.again(),
            admin: unit.admin(),
            chance: Chance(number),
            next: 1,
            ledger: Ledger::default(),
        })
        .collect();
    let mut chance = Chance(4711);
    for round in 0..ROUNDS {
        let time = Duration::from_millis(30 + chance.below(250));
        std::thread::scope(|scope| {
            for writer in &mut writers {
                scope.spawn(|| writer.write_until_killed());
            }
            std::thread::sleep(time);
            unit.kill();
        });
        unit.restart();
        for writer in &mut writers {
            writer.audit(round);
        }
    }
    let total: u64 = writers.iter().map(|w| w.ledger.acknowledged).sum();
    println!("{ROUNDS} kills, {total} acknowledged writes, all there");
    assert!(
        total > ROUNDS * 10,
        "the load was too small to show anything: {total} writes"
    );
    // The number of rows in the set is the number of rows in the ledgers: nothing appeared that nobody wrote.
    let rows: usize = writers
        .iter()
        .map(|w| w.ledger.rows.values().filter(|s| s.is_some()).count())
        .sum();
    let answer = owner.again().made(
        "GET",
        "/crash/box/data/Row?$top=1&$inlinecount=allpages&$format=json",
        "",
    );
    assert_eq!(
        answer.json()["d"]["__count"].as_str(),
        Some(rows.to_string().as_str())
    );
}
