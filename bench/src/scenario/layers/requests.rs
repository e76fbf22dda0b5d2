//! The requests of the loads.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use personium_testkit::{SplitMix64, request_bytes};

use crate::load::{LoadRequest, RequestGenerator};
use crate::rows;
use crate::scenario::create_entities;
use crate::unit::BenchCell;

/// One of this number of requests to several nodes creates an entity.
const CREATE_EVERY: u64 = 10;
/// The number of files.
pub(super) const FILES: u64 = 200;
/// The size of a file in bytes.
const FILE_BYTES: usize = 1_024;
/// The numbers of entities of the mixed load, which differ from those of other loads.
const FIRST_MIXED: u64 = 1 << 40;

/// Reads entities of the large collection by their keys.
pub(super) fn reads(cell: &BenchCell, count: u64) -> RequestGenerator {
    let bearer = cell.bearer.clone();
    let path = format!("/{}/box/many/Row", cell.name);
    Arc::new(move |random, _| {
        let path = format!("{path}('{}')?$format=json", rows::key(random.below(count)));
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

/// Reads or replaces files, which must exist.
pub(super) fn files(cell: &BenchCell, method: &'static str) -> RequestGenerator {
    let (bearer, cell) = (cell.bearer.clone(), cell.name.clone());
    let content = vec![b'x'; FILE_BYTES];
    Arc::new(move |random, _| {
        let path = format!("/{cell}/box/file{}", random.below(FILES));
        let headers = [("Authorization", bearer.as_str())];
        let is_put = method == "PUT";
        let body = if is_put { &content[..] } else { b"" };
        LoadRequest {
            bytes: request_bytes(method, &path, &headers, body),
            expected: if is_put { &[204] } else { &[200] },
        }
    })
}

/// Reads entities of the large collection, and creates some in the other cells.
pub(super) fn mixed(cell: &BenchCell, count: u64, cells: &[BenchCell]) -> RequestGenerator {
    let reads = reads(cell, count);
    let creations = create_entities::generator(cells, Arc::new(AtomicU64::new(FIRST_MIXED)));
    Arc::new(
        move |random: &mut SplitMix64, sequence| match sequence % CREATE_EVERY {
            // Never the number of a request that reads.
            0 => creations(random, 0),
            _ => reads(random, sequence),
        },
    )
}
