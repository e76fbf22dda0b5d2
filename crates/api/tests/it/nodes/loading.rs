//! A node loads the structure of a cell while another one changes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use personium_testkit::{TestUnit, acl_body, refused, success};

use super::{change, token_of, unit};

/// More reads than a request makes.
const MAX_READS: usize = 60;

async fn read(node: &TestUnit, token: &str) -> (u16, String) {
    node.outcome_with_token("GET", "c/b/col/file", token).await
}

/// Whether a node that had the cell in its memory before is tested, or one that has just started.
#[derive(Debug, Clone, Copy)]
enum Memory {
    Empty,
    Filled,
}

/// Another node makes a change before the n-th read of a request, for every n. The next request knows it.
async fn after_every_read(memory: Memory, changing: [&'static str; 2], refusal: (u16, String)) {
    let mut is_complete = false;
    for n in 0..MAX_READS {
        let unit = unit().await;
        let token = token_of(&unit, "exact").await;
        let node = unit.another_node();
        if let Memory::Filled = memory {
            assert_eq!(read(&node, &token).await, success(200));
        }
        let was_read = Arc::new(AtomicBool::new(false));
        let (other, done) = (unit.clone(), was_read.clone());
        node.store.interrupt_read(n, async move {
            let [method, path] = changing;
            let body = if method == "ACL" {
                acl_body("", "")
            } else {
                String::new()
            };
            change(&other, method, path, &body).await;
            done.store(true, Ordering::SeqCst);
        });
        let during = read(&node, &token).await;
        assert!(
            during == success(200) || [401, 403].contains(&during.0),
            "{memory:?}, read {n}: {during:?}"
        );
        if !was_read.load(Ordering::SeqCst) {
            assert!(n > 0, "no read was interrupted");
            is_complete = true;
            break;
        }
        assert_eq!(read(&node, &token).await, refusal, "{memory:?}, read {n}");
    }
    assert!(is_complete, "a request makes more reads than expected");
}

const ROLE: [&str; 2] = ["DELETE", "c/__ctl/Role('exact')"];
const LIST: [&str; 2] = ["ACL", "c/b"];
const ACCOUNT: [&str; 2] = ["DELETE", "c/__ctl/Account('exact')"];

#[tokio::test]
async fn role_removed_while_the_cell_is_loaded_is_unknown_to_the_next_request() {
    for memory in [Memory::Empty, Memory::Filled] {
        after_every_read(memory, ROLE, refused(403, "AU-0002")).await;
    }
}

#[tokio::test]
async fn list_changed_while_the_cell_is_loaded_is_that_of_the_next_request() {
    for memory in [Memory::Empty, Memory::Filled] {
        after_every_read(memory, LIST, refused(403, "AU-0002")).await;
    }
}

#[tokio::test]
async fn account_removed_while_the_cell_is_loaded_is_unknown_to_the_next_request() {
    for memory in [Memory::Empty, Memory::Filled] {
        after_every_read(memory, ACCOUNT, refused(401, "AU-0001")).await;
    }
}
