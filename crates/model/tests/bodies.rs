//! Bodies of files when the store fails: none is removed that may be a file's.
#![expect(
    clippy::disallowed_methods,
    reason = "a test may use the real clock and randomness"
)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "in_memory/world.rs"]
mod world;

use std::time::Duration;

use bytes::Bytes;
use personium_model::file::{self, Content, Upload};
use personium_store::Space;
use personium_types::{CellId, Code, Result};
use world::World;

/// Larger than what is kept in a record.
const SIZE: usize = 1 << 20;

impl World {
    async fn put(&self, name: &str, byte: u8, if_match: Option<&str>) -> Result<()> {
        let resource = self.resource(name).await;
        let target = resource.locate().await?;
        let checked = file::check_put(&resource, &target, None).await?;
        let mut upload = Upload::new(&self.unit, &resource);
        upload.write(Bytes::from(vec![byte; SIZE])).await?;
        let received = upload.finish(None).await?;
        file::put(&resource, checked, received, if_match).await?;
        Ok(())
    }

    /// The first byte of a file, which must be there as a whole.
    async fn first(&self, name: &str) -> u8 {
        let resource = self.resource(name).await;
        let target = resource.locate().await.unwrap();
        match file::open(&resource, &target).await.unwrap().content {
            Content::Pieces(mut reader) => reader.read_at(0, 1).await.unwrap()[0],
            Content::Whole(_) => unreachable!("the body is large"),
        }
    }

    async fn bodies(&self, cell: &CellId) -> usize {
        let space = Space::Cell(*cell);
        let found = self
            .unit
            .blobs()
            .list(&space, None, Duration::ZERO, 100)
            .await;
        found.unwrap().len()
    }
}

#[tokio::test]
async fn a_body_stays_if_nobody_knows_whether_it_was_committed() {
    let world = World::new().await;
    world.put("f", b'a', None).await.unwrap();
    world.fail();
    let failure = world.put("f", b'b', None).await.unwrap_err();
    assert_eq!(failure.code(), Code::StoreDown);
    assert_eq!(world.first("f").await, b'b');
    let cell = world.context().await.cell().id;
    assert_eq!(
        world
            .unit
            .sweep_orphans_of(&cell, Duration::ZERO)
            .await
            .unwrap(),
        1
    );
    assert_eq!(world.first("f").await, b'b');
    let refusal = world.put("f", b'c', Some("\"1-1\"")).await.unwrap_err();
    assert_eq!(refusal.code(), Code::DavTagMismatch);
    assert_eq!(world.bodies(&cell).await, 1);
}
