//! Bodies of files when the store fails: no referenced body is removed.

use std::time::Duration;

use bytes::Bytes;
use personium_model::file::{self, FileContent, FileHeaders, Upload};
use personium_store::Space;
use personium_testkit::ModelUnit;
use personium_types::preconditions::ConditionHeaders;
use personium_types::{CellId, Code, Preconditions, Result};

/// Larger than what is kept in a record.
const SIZE: usize = 1 << 20;

async fn put(unit: &ModelUnit, name: &str, byte: u8, if_match: Option<&str>) -> Result<()> {
    let mut resource = unit.resource(name).await;
    let target = resource.locate().await?;
    let checked = file::check_put(&resource, target).await?;
    let mut upload = Upload::new(&unit.model, &resource);
    upload.write(Bytes::from(vec![byte; SIZE])).await?;
    let received = upload.finish(FileHeaders::default()).await?;
    resource.conditions = Preconditions::parse(&ConditionHeaders {
        if_match,
        ..ConditionHeaders::default()
    });
    file::put(&resource, checked, received).await?;
    Ok(())
}

/// The first byte of a file, which must be there as a whole.
async fn first(unit: &ModelUnit, name: &str) -> u8 {
    let resource = unit.resource(name).await;
    let target = resource.locate().await.unwrap();
    match file::open(&resource, &target).await.unwrap().content {
        FileContent::Chunks(mut reader) => reader.read_at(0, 1).await.unwrap()[0],
        FileContent::Whole(_) => unreachable!("the body is large"),
    }
}

async fn bodies(unit: &ModelUnit, cell: &CellId) -> usize {
    let space = Space::Cell(*cell);
    let found = unit
        .model
        .blobs()
        .list(&space, None, Duration::ZERO, 100)
        .await;
    found.unwrap().len()
}

#[tokio::test]
async fn body_is_kept_if_the_result_of_the_commit_is_unknown() {
    let unit = ModelUnit::new().await;
    put(&unit, "f", b'a', None).await.unwrap();
    unit.records.fail_next_commit();
    let failure = put(&unit, "f", b'b', None).await.unwrap_err();
    assert_eq!(failure.code(), Code::StoreDown);
    assert_eq!(first(&unit, "f").await, b'b');
    let cell = unit.context().await.cell().id;
    assert_eq!(
        unit.model
            .collect_orphaned_blobs_of(&cell, Duration::ZERO)
            .await
            .unwrap(),
        1
    );
    assert_eq!(first(&unit, "f").await, b'b');
    let refusal = put(&unit, "f", b'c', Some("\"1-1\"")).await.unwrap_err();
    assert_eq!(refusal.code(), Code::DavTagMismatch);
    assert_eq!(bodies(&unit, &cell).await, 1);
}
