//! W2: the 25 newest rows with a given `n`, out of 10,000 and out of 1,000,000.

use std::sync::Arc;

use super::Bench;
use crate::Outcome;
use crate::connection::request;
use crate::load::{Maker, Shot};
use crate::report::{Bound, Section};

const CONNECTIONS: usize = 32;
const FEW: u64 = 10_000;

pub(super) async fn run(bench: &mut Bench) -> Outcome<Section> {
    let many = bench.options.many;
    bench.rows("small", FEW).await?;
    bench.rows("many", many).await?;
    let bearer = bench.fresh_bearer().await?;
    let small = bench
        .alone(CONNECTIONS, &maker(&bench.cell.name, "small", &bearer, ""))
        .await?;
    let large = bench
        .alone(CONNECTIONS, &maker(&bench.cell.name, "many", &bearer, ""))
        .await?;
    let counted = bench
        .alone(
            CONNECTIONS,
            &maker(&bench.cell.name, "many", &bearer, "&$inlinecount=allpages"),
        )
        .await;
    let mut section = Section::new("W2");
    section.side(format!("list of 25 out of {FEW}"), small);
    section.side(format!("list of 25 out of {many}"), large);
    match counted {
        Ok(figures) => section.side(
            format!("the same with $inlinecount, out of {many}"),
            figures,
        ),
        Err(reason) => section.notes.push(format!("with $inlinecount: {reason}")),
    }
    section.demand(
        "processor time out of the large set over the small one's",
        large.cpu / small.cpu,
        Bound::AtMost,
        1.5,
    );
    let rates: Vec<String> = bench.load_rates.iter().map(|r| format!("{r:.0}")).collect();
    section.notes.push(format!(
        "rows were loaded by $batch of 1,000 creations over one connection: {} rows per s",
        rates.join(", ")
    ));
    Ok(section)
}

fn maker(cell: &str, collection: &str, bearer: &str, more: &str) -> Maker {
    let (path, bearer, more) = (
        format!("/{cell}/box/{collection}/Row"),
        bearer.to_owned(),
        more.to_owned(),
    );
    Arc::new(move |random, _| {
        let n = random.below(100);
        let path = format!(
            "{path}?$filter=n%20eq%20{n}&$orderby=__updated%20desc&$top=25&$format=json{more}"
        );
        Shot {
            bytes: request(
                "GET",
                &path,
                &[("Authorization", &bearer), ("Accept", "application/json")],
                b"",
            ),
            wished: &[200],
        }
    })
}
