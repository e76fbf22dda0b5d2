use std::time::Duration;

use super::*;

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../../tests/it/component_text.rs"]
mod component_text;

use component_text::Parts;

#[tokio::test]
async fn code_that_nobody_waits_for_any_more_ends() {
    let guests = Guests::start(Execution::Fastest).unwrap();
    let component = Parts::body("(loop $l (br $l)) unreachable").component("plugin");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.wasm");
    std::fs::write(&path, component).unwrap();
    let component = guests.compiler().compile_file(&path).unwrap();
    let plugin = Arc::new(guests.link(component, &[]).unwrap());
    let login = Login {
        plugin: String::new(),
        grant_type: String::new(),
        account_types: Vec::new(),
        cell: String::new(),
        fields: Vec::new(),
        settings: Vec::new(),
    };
    let limits = guests.limits(2 << 20);
    let state = |host| GuestState::new("x", &[], limits, host);
    let call = guests.call(&plugin, state, Some(login)).unwrap();
    // It has begun once its memory is taken.
    while guests.memory.free_bytes() == TOTAL_MEMORY_BYTES {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(call);
    while Arc::strong_count(&plugin) > 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(guests.memory.free_bytes(), TOTAL_MEMORY_BYTES);
}
