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

/// A change that a node makes with what it knows of the cell.
#[derive(Debug, Clone, Copy)]
enum Write {
    Create,
    Put,
    Replace,
}

impl Write {
    async fn send(self, node: &TestUnit, token: &str, content: &str) -> u16 {
        let entity = format!(r#"{{"__id":"{content}","p":"{content}"}}"#);
        let (method, path, body) = match self {
            Self::Create => ("POST", "c/b/od/T", entity.as_str()),
            Self::Put => ("PUT", "c/b/col/new", content),
            Self::Replace => ("PUT", "c/b/col/file", content),
        };
        let request = node.request(method, path).bearer(token);
        request.body(body).send().await.status.as_u16()
    }

    /// Whether the content is stored.
    async fn is_stored(self, unit: &TestUnit, content: &str) -> bool {
        let path = match self {
            Self::Create => format!("c/b/od/T('{content}')"),
            Self::Put => "c/b/col/new".to_owned(),
            Self::Replace => "c/b/col/file".to_owned(),
        };
        let response = unit.admin_request("GET", &path).send().await;
        response.status == 200 && response.text().contains(content)
    }
}

const WRITES: [Write; 3] = [Write::Create, Write::Put, Write::Replace];

/// Another node takes the right before the n-th read of a change, for every n. A change that began afterwards is refused and stores
/// nothing.
#[tokio::test]
async fn change_that_begins_after_a_revocation_is_refused_and_stores_nothing() {
    for write in WRITES {
        for revocation in [ROLE, LIST, ACCOUNT] {
            let mut is_complete = false;
            for n in 0..MAX_READS {
                let unit = unit().await;
                let token = token_of(&unit, "exact").await;
                let node = unit.another_node();
                assert!(write.send(&node, &token, "before").await < 300);
                let was_read = Arc::new(AtomicBool::new(false));
                let (other, done) = (unit.clone(), was_read.clone());
                node.store.interrupt_read(n, async move {
                    let [method, path] = revocation;
                    change(&other, method, path, &acl_body("", "")).await;
                    done.store(true, Ordering::SeqCst);
                });
                let during = write.send(&node, &token, "during").await;
                let is_stored = write.is_stored(&unit, "during").await;
                let context = format!("{write:?} {revocation:?}, read {n}: {during}");
                assert_eq!(during < 300, is_stored, "{context}");
                if !was_read.load(Ordering::SeqCst) {
                    is_complete = true;
                    break;
                }
                // Before the first read of a request, all that the node knows is from before the revocation.
                assert!(n > 0 || [401, 403].contains(&during), "{context}");
                let after = write.send(&node, &token, "after").await;
                assert!([401, 403].contains(&after), "{context}, then {after}");
                assert!(!write.is_stored(&unit, "after").await, "{context}");
            }
            assert!(is_complete, "{write:?} makes more reads than expected");
        }
    }
}

/// An id is taken once only, by whichever node.
#[tokio::test]
async fn entity_that_another_node_has_created_exists() {
    let unit = unit().await;
    let token = token_of(&unit, "exact").await;
    let node = unit.another_node();
    assert!(Write::Create.send(&node, &token, "before").await < 300);
    unit.create("c/b/od/T", r#"{"__id":"other","p":"of the other node"}"#)
        .await;
    for id in ["before", "other", "e"] {
        assert_eq!(Write::Create.send(&node, &token, id).await, 409, "{id}");
    }
    let kept = unit.admin_request("GET", "c/b/od/T('other')").send().await;
    assert!(kept.text().contains("of the other node"));
}

/// The structure changed, but not the rights: the change is made with what the client sent, although it is answered twice.
#[tokio::test]
async fn change_by_a_node_with_a_stale_cell_is_made_once_and_whole() {
    let unit = unit().await;
    let token = token_of(&unit, "exact").await;
    let node = unit.another_node();
    let long = "x".repeat(40_000);
    for (n, write) in WRITES.into_iter().enumerate() {
        assert!(write.send(&node, &token, "before").await < 300);
        let role = format!(r#"{{"Name":"another{n}"}}"#);
        change(&unit, "POST", "c/__ctl/Role", &role).await;
        let content = format!("content{n}");
        let status = write.send(&node, &token, &content).await;
        assert!(status < 300, "{write:?}: {status}");
        assert!(write.is_stored(&unit, &content).await, "{write:?}");
    }
    // A body that is larger than what is sent at once.
    change(&unit, "POST", "c/__ctl/Role", r#"{"Name":"last"}"#).await;
    let entity = format!(r#"{{"__id":"long","p":"{long}"}}"#);
    let request = node.request("POST", "c/b/od/T").bearer(&token);
    assert_eq!(request.body(entity).send().await.status, 201);
    let read = unit.admin_request("GET", "c/b/od/T('long')").send().await;
    assert!(read.text().contains(&long));
    let count = unit.admin_request("GET", "c/b/od/T/$count").send().await;
    // One from the fixture, two from the loop, and the long one.
    assert_eq!(count.text().trim(), "4");
}
