//! The statements of the page about sizing, by which the table of records is divided further.

use personium_store::{RecordStore, Space};
use personium_testkit::PostgresCluster;
use personium_types::CellId;

use crate::database::{Database, counted, counted_records};

const PAGE: &str = include_str!("../../../../../docs/operate/sizing.md");

/// The number of parts of which the page speaks.
const PARTITIONS: u32 = 8;

/// The cell in the statements of the page.
const CELL_OF_PAGE: &str = "00112233445566778899aabbccddeeff";

/// The statements below a heading of the page.
fn statements(heading: &str) -> Vec<&'static str> {
    let section = PAGE.split(heading).nth(1).expect(heading);
    let section = section.split("\n#").next().unwrap();
    let blocks = section.split("```sql\n").skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap())
        .collect()
}

async fn check_after(
    heading: &str,
    statements_for: impl Fn(&'static str, &Space) -> String,
) -> Database {
    let database = Database::without_tables(PostgresCluster::shared());
    let store = database.store();
    store.create_schema(PARTITIONS).await.unwrap();
    // The database always puts the same spaces into the same parts.
    let spaces: Vec<Space> = (0..64)
        .map(|n| Space::Cell(CellId::from_bytes([n; 16])))
        .collect();
    for space in &spaces {
        for n in 0..3 {
            store.commit(space, counted(n)).await.unwrap();
        }
    }
    let found = statements(heading);
    assert!(!found.is_empty(), "{heading}");
    for block in found {
        database.sql(&statements_for(block, &spaces[0]));
    }
    for space in &spaces {
        store.commit(space, counted(3)).await.unwrap();
        let records = counted_records(&*store, space).await;
        assert_eq!(records, (4, (0..4).collect()), "{space:?}");
    }
    database
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn part_is_split_by_the_statements_of_the_page_and_keeps_its_records() {
    let database = check_after("### Split a part", |block, _| block.to_owned()).await;
    let parts = database.sql("SELECT count(*) FROM pg_inherits");
    let filled = "SELECT (SELECT count(*) > 0 FROM personium.records_3), (SELECT count(*) > 0 FROM personium.records_11)";
    assert_eq!(database.sql(filled), "t|t");
    // Each part has its table and its index.
    assert_eq!(parts, ((PARTITIONS + 1) * 2).to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cell_gets_a_part_of_its_own_by_the_statements_of_the_page() {
    let database = check_after("### Give a cell a part of its own", |block, space| {
        let Space::Cell(id) = space else {
            panic!("{space:?}")
        };
        let hex: String = id.as_bytes().iter().map(|b| format!("{b:02x}")).collect();
        let block = block.replace(CELL_OF_PAGE, &hex);
        // The owner of the database is the role of the unit here.
        block.replace("TO personium;", "TO CURRENT_USER;")
    })
    .await;
    let own = "SELECT count(*), count(DISTINCT space) FROM personium.records_of_cell";
    assert_eq!(database.sql(own), "5|1");
    let plan = "SET enable_seqscan = off; EXPLAIN SELECT value FROM personium.records WHERE space = '\\x00' AND key = '\\x00'";
    let plan = database.sql(plan);
    assert!(
        plan.contains("Index Scan") && !plan.contains("Append"),
        "{plan}"
    );
}
