//! W2: the 25 newest rows with a given `n`, out of 10,000 and out of 1,000,000.

use std::sync::Arc;

use personium_testkit::request_bytes;

use super::BenchContext;
use crate::BenchResult;
use crate::load::{LoadRequest, RequestGenerator};
use crate::report::{Bound, Section};

const CONNECTIONS: usize = 32;
/// The number of rows of the small collection.
const SMALL_ROWS: u64 = 10_000;

pub(super) async fn run(context: &mut BenchContext) -> BenchResult<Section> {
    let large_rows = context.options.many;
    context.ensure_rows("small", SMALL_ROWS).await?;
    context.ensure_rows("many", large_rows).await?;
    let bearer = context.new_bearer().await?;
    let cell = &context.cell.name;
    let generator = |collection: &str, options: &str| {
        generator(&format!("/{cell}/box/{collection}/Row"), &bearer, options)
    };
    let small = generator("small", "");
    let small = context.measure_unit(CONNECTIONS, &small).await?;
    let large = generator("many", "");
    let large = context.measure_unit(CONNECTIONS, &large).await?;
    let counted = generator("many", "&$inlinecount=allpages");
    let counted = context.measure_unit(CONNECTIONS, &counted).await;
    let mut section = Section::new("W2");
    section.measured(format!("list of 25 out of {SMALL_ROWS}"), small);
    section.measured(format!("list of 25 out of {large_rows}"), large);
    match counted {
        Ok(measurement) => section.measured(
            format!("the same with $inlinecount, out of {large_rows}"),
            measurement,
        ),
        Err(error) => section.note(format!("with $inlinecount: {error}")),
    }
    section.require(
        "processor time out of the large collection over the small one's",
        large.cpu_us / small.cpu_us,
        Bound::AtMost,
        1.5,
    );
    let rates: Vec<String> = context
        .load_rates
        .iter()
        .map(|rate| format!("{rate:.0}"))
        .collect();
    section.note(format!(
        "rows were created by $batch of 1,000 over one connection: {} rows per s",
        rates.join(", ")
    ));
    Ok(section)
}

pub(super) fn generator(path: &str, bearer: &str, options: &str) -> RequestGenerator {
    let (path, bearer, options) = (path.to_owned(), bearer.to_owned(), options.to_owned());
    Arc::new(move |random, _| {
        let n = random.below(100);
        let path = format!(
            "{path}?$filter=n%20eq%20{n}&$orderby=__updated%20desc&$top=25&$format=json{options}"
        );
        let headers = [
            ("Authorization", bearer.as_str()),
            ("Accept", "application/json"),
        ];
        LoadRequest {
            bytes: request_bytes("GET", &path, &headers, b""),
            expected: &[200],
        }
    })
}
