//! The memory of migrations does not grow with the unit: nothing is kept as a whole.

use std::process::Stdio;
use std::time::Duration;

use serde_json::json;

use crate::migrated_unit::original::Original;

/// The factor between the sizes that are compared.
const FACTOR: usize = 6;
/// The content of the smaller one: one file, and entities with a text.
const FILE_BYTES: usize = 10 << 20;
const ENTITIES: usize = 120;
const TEXT_BYTES: usize = 40_000;
/// How much more memory the larger one may need. If only its file was kept as a whole, it would need 50 MiB more.
const MORE_KIB: u64 = 30 << 10;

/// The largest memory of a migration in KiB.
fn peak_of_migration(factor: usize) -> u64 {
    let mut original = Original::new(1);
    for number in 3..ENTITIES * factor {
        original.add_entity(0, number, "1.5");
    }
    let text = "t".repeat(TEXT_BYTES);
    for document in &mut original.documents {
        if document["_source"]["type"] == "UserData" {
            document["_source"]["h"]["Note"] = json!(text);
        }
    }
    let file = original.tree(0).join(format!("box{:019}", 0)).join("large");
    let content = vec![b'x'; FILE_BYTES * factor];
    original.put(&file, "dav.file", Some(&content), json!({}));
    let mut command = original.command(&["--verify", "--finish"]);
    let mut running = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut peak = 0;
    loop {
        let process = format!("/proc/{}/status", running.id());
        if let Ok(shown) = std::fs::read_to_string(process)
            && let Some(line) = shown.lines().find(|line| line.starts_with("VmHWM:"))
        {
            let kib = line.split_whitespace().nth(1).unwrap().parse().unwrap();
            peak = peak.max(kib);
        }
        if let Some(status) = running.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            return peak;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn migration_of_a_large_unit_needs_no_more_memory_than_that_of_a_small_one() {
    let small = peak_of_migration(1);
    let large = peak_of_migration(FACTOR);
    assert!(large < small + MORE_KIB, "{small} KiB, {large} KiB");
}
