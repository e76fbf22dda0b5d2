//! A cell that cannot be read does not hold up what the rules of others want to be sent.
#![expect(
    clippy::disallowed_methods,
    reason = "a test may use the real clock and randomness"
)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "../../model/tests/in_memory/world.rs"]
mod world;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, StatusCode};
use personium_event::{Reply, RequestSender};
use personium_model::odata::ServiceRoot;
use personium_store::Space;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use world::World;

/// Tells the type of an event, instead of sending it.
struct Told(UnboundedSender<String>);

#[async_trait]
impl RequestSender for Told {
    async fn send(&self, request: Request<Bytes>) -> Option<Reply> {
        let event: serde_json::Value = serde_json::from_slice(request.body()).ok()?;
        self.0.send(event["Type"].as_str()?.to_owned()).ok()?;
        Some(Reply {
            status: StatusCode::OK,
            body: Bytes::new(),
        })
    }
}

/// A unit with a relaying rule in the cells `c` and `d`, each with an event to send, and the space of `d`.
async fn two_cells() -> (World, Space) {
    let world = World::new().await;
    world.make_cell("d").await;
    for name in ["d", "c"] {
        let context = world.find(name).await.unwrap();
        let root = ServiceRoot::of_cell(world.unit.clone(), context.clone());
        world.relay(&root).await;
        world.post(&world.find(name).await.unwrap()).await;
    }
    let damaged = world.find("d").await.unwrap().cell().id;
    (world, Space::Cell(damaged))
}

/// Sends one after the other, and gives what was sent.
fn send(world: &World) -> UnboundedReceiver<String> {
    let (told, sent) = unbounded_channel();
    let sender = Arc::new(Told(told));
    tokio::spawn(personium_event::run(world.unit.clone(), sender, 1));
    sent
}

async fn is_from(sent: &mut UnboundedReceiver<String>, cell: &str) {
    // An hour of the clock of the test, which only runs while nobody has anything to do.
    let from = tokio::time::timeout(Duration::from_secs(3600), sent.recv()).await;
    assert_eq!(from.unwrap().unwrap(), cell);
}

#[tokio::test(start_paused = true)]
async fn at_the_start() {
    let (world, damaged) = two_cells().await;
    let world = world.restart();
    world.damage(Some(damaged));
    let mut sent = send(&world);
    is_from(&mut sent, "c").await;
    let context = world.find("c").await.unwrap();
    world.post(&context).await;
    is_from(&mut sent, "c").await;
    world.damage(None);
    is_from(&mut sent, "d").await;
}

#[tokio::test(start_paused = true)]
async fn in_operation() {
    let (world, damaged) = two_cells().await;
    world.damage(Some(damaged));
    let mut sent = send(&world);
    is_from(&mut sent, "c").await;
    world.damage(None);
    is_from(&mut sent, "d").await;
}
