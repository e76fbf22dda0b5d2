//! The unit is killed again and again while it is written to. Every acknowledged write is there afterwards, and every write is
//! complete or absent.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use personium_testkit::{BoxError, SplitMix64, TestClient};
use serde_json::json;

const ROUNDS: u64 = 50;
const WRITERS: u64 = 6;
/// Names of each kind that a writer uses; few, so that items are often replaced and removed.
const NAMES: u64 = 12;

/// The state of an item: absent, or written by the write with this number.
type State = Option<u64>;

/// The knowledge of one writer: the last acknowledged state of each item, and the one write without response.
#[derive(Default)]
struct Ledger {
    files: BTreeMap<u64, State>,
    rows: BTreeMap<u64, State>,
    cells: BTreeMap<u64, State>,
    events: BTreeMap<u64, State>,
    unanswered: Option<(Kind, u64, State)>,
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
    /// Whether items of this kind are created once and never changed.
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

/// The content of a file, in which every line names the write. Every fourth is large enough to be stored outside the records.
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

/// A row with two properties that both name the write.
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
    owner: TestClient,
    admin: TestClient,
    random: SplitMix64,
    next: u64,
    ledger: Ledger,
}

impl Writer {
    fn file(&self, name: u64) -> String {
        format!("crash/box/w{}-{name}", self.number)
    }

    fn id(&self, name: u64) -> String {
        format!("w{}-{name}", self.number)
    }

    fn row(&self, name: u64) -> String {
        format!("crash/box/data/Row('{}')", self.id(name))
    }

    fn cell(&self, name: u64) -> String {
        format!("c{}n{name}", self.number)
    }

    fn event(&self, name: u64) -> String {
        format!("event {}-{name}", self.number)
    }

    /// Writes until the connection breaks, which is when the unit is killed.
    async fn write_until_killed(&mut self) {
        loop {
            let kind = match self.random.below(20) {
                0 => Kind::Cell,
                1..4 => Kind::Event,
                4..11 => Kind::File,
                _ => Kind::Row,
            };
            let name = if kind.is_final() {
                self.next
            } else {
                self.random.below(NAMES)
            };
            let known = self.ledger.of(kind).get(&name).copied().flatten();
            let write = self.number * 1_000_000_000 + self.next;
            self.next += 1;
            let removes = known.is_some() && self.random.below(5) == 0 && !kind.is_final();
            let wanted = (!removes).then_some(write);
            self.ledger.unanswered = Some((kind, name, wanted));
            if self.write(kind, name, known, wanted).await.is_err() {
                return;
            }
            self.ledger.of(kind).insert(name, wanted);
            self.ledger.unanswered = None;
            self.ledger.acknowledged += 1;
        }
    }

    async fn write(
        &self,
        kind: Kind,
        name: u64,
        known: State,
        wanted: State,
    ) -> Result<(), BoxError> {
        let (request, status) = match (kind, wanted) {
            (Kind::File, Some(write)) => {
                let put = self.owner.request("PUT", &self.file(name));
                let put = put.header("content-type", "text/plain");
                let status = if known.is_some() { 204 } else { 201 };
                (put.body(content(write)), status)
            }
            (Kind::File, None) => (self.owner.request("DELETE", &self.file(name)), 204),
            (Kind::Row, Some(write)) if known.is_some() => {
                let put = self.owner.request("PUT", &self.row(name));
                (put.header("if-match", "*").body(row(None, write)), 204)
            }
            (Kind::Row, Some(write)) => {
                let post = self.owner.request("POST", "crash/box/data/Row");
                (post.body(row(Some(&self.id(name)), write)), 201)
            }
            (Kind::Row, None) => {
                let delete = self.owner.request("DELETE", &self.row(name));
                (delete.header("if-match", "*"), 204)
            }
            (Kind::Cell, _) => {
                let post = self.admin.request("POST", "__ctl/Cell");
                (post.json(&json!({"Name": self.cell(name)})), 201)
            }
            (Kind::Event, _) => {
                let post = self.admin.request("POST", "crash/__event");
                let event = json!({"Type": "crash", "Info": self.event(name)});
                (post.json(&event), 200)
            }
        };
        let response = request.try_send().await?;
        assert_eq!(
            response.status,
            status,
            "{kind:?} {name} from {known:?} to {wanted:?}: {}",
            response.text()
        );
        Ok(())
    }

    /// Compares the unit with the ledger. A write without response may have happened or not; the ledger then follows the unit.
    async fn check(&mut self, round: u64) {
        // The connections were broken by the kill.
        (self.owner, self.admin) = (self.owner.reconnect(), self.admin.reconnect());
        let unanswered = self.ledger.unanswered.take();
        for kind in [Kind::File, Kind::Row, Kind::Cell, Kind::Event] {
            let mut expected = self.ledger.of(kind).clone();
            if let Some((_, name, _)) = unanswered.filter(|(k, _, _)| *k == kind) {
                expected.entry(name).or_insert(None);
            }
            for (name, known) in expected {
                let found = self.find(kind, name).await;
                let allowed = unanswered
                    .filter(|(k, n, _)| (*k, *n) == (kind, name))
                    .map(|(_, _, wanted)| wanted);
                assert!(
                    found == known || allowed == Some(found),
                    "round {round}, writer {}: {kind:?} {name} is {found:?}; acknowledged {known:?}, without response {allowed:?}",
                    self.number
                );
                self.ledger.of(kind).insert(name, found);
            }
        }
        // Cells and events are many, so they are not checked again in every round.
        if round % 10 != 9 {
            self.ledger.cells.clear();
            self.ledger.events.clear();
        }
    }

    /// The state of an item in the unit. Panics if the item is incomplete.
    async fn find(&self, kind: Kind, name: u64) -> State {
        match kind {
            Kind::File => self.find_file(name).await,
            Kind::Row => self.find_row(name).await,
            Kind::Cell => self.find_cell(name).await,
            Kind::Event => self.find_event(name).await,
        }
    }

    async fn find_file(&self, name: u64) -> State {
        let response = self.owner.request("GET", &self.file(name)).send().await;
        if response.status == 404 {
            return None;
        }
        let response = response.expect(200);
        let write = response
            .text()
            .lines()
            .next()
            .and_then(|line| line.parse().ok())
            .expect("a file without its first line");
        assert!(
            response.body == content(write),
            "file {name} is incomplete: {} bytes of write {write}",
            response.body.len()
        );
        Some(write)
    }

    async fn find_row(&self, name: u64) -> State {
        let request = self.owner.request("GET", &self.row(name));
        let response = request.header("accept", "application/json").send().await;
        if response.status == 404 {
            let filter = format!("__id%20eq%20%27{}%27", self.id(name));
            let listed = self.count_rows(&filter).await;
            assert_eq!(listed, 0, "row {name} does not exist but is listed");
            return None;
        }
        let row = response.expect(200).results();
        assert_eq!(row["first"], row["second"], "row {name} is incomplete");
        let write = row["first"]
            .as_str()
            .and_then(|w| w.strip_prefix('w'))
            .and_then(|w| w.parse().ok())
            .expect("a row without its write");
        let filter = format!("first%20eq%20%27w{write}%27");
        let listed = self.count_rows(&filter).await;
        assert_eq!(listed, 1, "row {name} exists but is not in the index");
        Some(write)
    }

    async fn find_cell(&self, name: u64) -> State {
        let cell = self.cell(name);
        let path = format!("__ctl/Cell('{cell}')");
        let response = self.admin.request("GET", &path).send().await;
        let boxes = self.admin.request("GET", &format!("{cell}/__ctl/Box"));
        let boxes = boxes.send().await;
        if response.status == 404 {
            assert_eq!(boxes.status, 404, "cell {cell} is not listed but answers");
            return None;
        }
        response.expect(200);
        // A cell that exists can be used.
        boxes.expect_success();
        Some(self.number * 1_000_000_000 + name)
    }

    async fn find_event(&self, name: u64) -> State {
        let path = "crash/__log/current/default.log";
        let log = self.admin.call("GET", path, "").await.text();
        let end = format!(",\"{}\"", self.event(name));
        let lines = log.lines().filter(|line| line.ends_with(&end)).count();
        assert!(lines <= 1, "{end} was logged {lines} times");
        (lines == 1).then_some(self.number * 1_000_000_000 + name)
    }

    async fn count_rows(&self, filter: &str) -> usize {
        let path = format!("crash/box/data/Row?$filter={filter}&$format=json");
        let list = self.owner.call("GET", &path, "").await.results();
        list.as_array().map_or(0, Vec::len)
    }
}

#[tokio::test]
async fn acknowledged_writes_survive_kills_of_the_process() {
    let _load = crate::machine_load().read().await;
    let mut unit = crate::unit().start();
    let owner = unit.create_cell_with_owner("crash").await;
    unit.create_odata_collection("crash/box/data", "Row").await;
    let rule = r#"{"Name":"log","EventExternal":true,"EventType":"crash","Action":"log"}"#;
    unit.create("crash/__ctl/Rule", rule).await;
    let mut writers: Vec<Writer> = (0..WRITERS)
        .map(|number| Writer {
            number,
            owner: owner.reconnect(),
            admin: unit.admin().reconnect(),
            random: SplitMix64::new(number),
            next: 1,
            ledger: Ledger::default(),
        })
        .collect();
    let mut random = SplitMix64::new(4711);
    for round in 0..ROUNDS {
        let time = Duration::from_millis(30 + random.below(250));
        let kill = async {
            tokio::time::sleep(time).await;
            unit.kill();
        };
        let writing = join_all(writers.iter_mut().map(Writer::write_until_killed));
        tokio::join!(writing, kill);
        unit.restart();
        for writer in &mut writers {
            writer.check(round).await;
        }
    }
    let total: u64 = writers.iter().map(|w| w.ledger.acknowledged).sum();
    println!("{ROUNDS} kills, {total} acknowledged writes found");
    assert!(
        total > ROUNDS * 10,
        "the load was too small: {total} acknowledged writes"
    );
    // The set has as many rows as the ledgers.
    let rows: usize = writers
        .iter()
        .map(|w| w.ledger.rows.values().filter(|s| s.is_some()).count())
        .sum();
    let path = "crash/box/data/Row?$top=1&$inlinecount=allpages&$format=json";
    let list = owner.reconnect().call("GET", path, "").await.json();
    assert_eq!(
        list["d"]["__count"].as_str(),
        Some(rows.to_string().as_str())
    );
}
