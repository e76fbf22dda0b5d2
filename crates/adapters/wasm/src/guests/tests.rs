use std::time::Duration;

use super::*;

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../../tests/it/component_text.rs"]
mod component_text;

use component_text::Parts;

use wasmtime::ResourceLimiter as _;

use crate::authentication::Authentication;
use crate::bindings::authentication::exports::personium::authentication::authenticator::Login;
use crate::extension::Extension;

#[tokio::test]
async fn code_that_nobody_waits_for_any_more_ends() {
    let guests = Guests::start(Execution::Fastest).unwrap();
    let component = Parts::body("(loop $l (br $l)) unreachable").component("plugin");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.wasm");
    std::fs::write(&path, component).unwrap();
    let component = guests.compiler().compile_file(&path).unwrap();
    let plugin = Arc::new(guests.link::<Authentication>(component, &[]).unwrap());
    let login = Login {
        plugin: String::new(),
        grant_type: String::new(),
        account_types: Vec::new(),
        cell: String::new(),
        fields: Vec::new(),
        settings: Vec::new(),
    };
    let limits = guests.limits::<Authentication>(2 << 20);
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

#[test]
fn scripts_cannot_take_the_memory_of_logins() {
    let guests = Guests::start(Execution::Fastest).unwrap();
    let grow = |limits: &mut CallLimits, bytes| limits.memory_growing(0, bytes, None).unwrap();
    let mut script = guests.limits::<Extension>(usize::MAX);
    assert!(grow(&mut script, SCRIPT_MEMORY_BYTES));
    let mut next = guests.limits::<Extension>(usize::MAX);
    assert!(!grow(&mut next, 1));
    assert!(next.is_budget_exhausted());
    let mut login = guests.limits::<Authentication>(usize::MAX);
    assert!(grow(&mut login, TOTAL_MEMORY_BYTES));
}
