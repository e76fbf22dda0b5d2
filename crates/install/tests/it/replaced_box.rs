//! Installations whose box or cell is replaced by another one of the same name: the new one gets nothing.

use std::sync::Arc;

use parking_lot::Mutex;
use personium_install::{InstallAuthority, InstallationStatus, Installer};
use personium_model::odata::{self, ServiceRoot};
use personium_testkit::{ModelUnit, box_removal_permit, cell_permit, create, server_authority};
use personium_types::{CellId, NodeId, Operation};

use crate::archive::install_request;

/// The state of a box that replaced the installed one.
#[derive(Clone, Copy)]
struct BoxState {
    id: NodeId,
    records: usize,
    version: u64,
}

async fn start(unit: &ModelUnit) -> Installer {
    let context = unit.context().await;
    let permit = cell_permit(&context, Operation::InstallBox);
    let authority = InstallAuthority::new(server_authority().clone());
    let installer = authority.start(&unit.model, &context, &permit, install_request().await);
    installer.await.unwrap()
}

async fn create_box(unit: &ModelUnit) -> BoxState {
    let root = unit.cell_root().await;
    let created = create(&root, "Box", r#"{"Name":"new"}"#).await.unwrap();
    box_state(unit, created.id.parse().unwrap()).await
}

async fn box_state(unit: &ModelUnit, id: NodeId) -> BoxState {
    let context = unit.context().await;
    let info = context.find_box_by_id(&id).await.unwrap().unwrap();
    BoxState {
        id,
        records: unit.records_with_id(&id).await,
        version: context.box_node(&info).await.unwrap().version,
    }
}

async fn replace_box(unit: &ModelUnit) -> BoxState {
    let context = unit.context().await;
    let old = context.find_box("new").await.unwrap().unwrap();
    let permit = box_removal_permit(&context, old.id);
    odata::remove_box(&unit.model, &context, &permit, &old.id, None)
        .await
        .unwrap();
    create_box(unit).await
}

async fn replace_cell(unit: &ModelUnit) -> BoxState {
    unit.rename_cell("d").await.unwrap();
    unit.create_cell("c").await;
    create_box(unit).await
}

/// The number of roles of a cell.
async fn count_roles(unit: &ModelUnit, cell: &CellId) -> usize {
    let context = unit.model.find_cell_by_id(cell).await.unwrap().unwrap();
    context.roles().await.unwrap().len()
}

/// Replaces box or cell before the n-th commit of an installation, for each n. Returns the last unit.
async fn replace_before_each_commit<F>(replace: impl Fn(ModelUnit) -> F) -> (ModelUnit, CellId)
where
    F: Future<Output = BoxState> + Send + 'static,
{
    for commit in 0.. {
        let unit = ModelUnit::new().await;
        let cell = unit.context().await.cell().id;
        let installer = start(&unit).await;
        let replaced = Arc::new(Mutex::new(None));
        let (slot, replacing) = (replaced.clone(), replace(unit.clone()));
        unit.interrupt_commit(commit, async move {
            *slot.lock() = Some(replacing.await);
        });
        installer.run().await;
        let Some(before) = *replaced.lock() else {
            assert!(commit > 5, "the installation has several steps");
            return (unit, cell);
        };
        let after = box_state(&unit, before.id).await;
        assert_eq!(after.records, before.records, "commit {commit}");
        assert_eq!(after.version, before.version, "commit {commit}");
    }
    unreachable!("an installation ends")
}

#[tokio::test]
async fn recreated_box_gets_nothing_of_a_running_installation() {
    let (unit, cell) =
        replace_before_each_commit(|unit| async move { replace_box(&unit).await }).await;
    assert_eq!(count_roles(&unit, &cell).await, 1);
}

#[tokio::test]
async fn box_of_a_recreated_cell_gets_nothing_of_a_running_installation() {
    replace_before_each_commit(|unit| async move { replace_cell(&unit).await }).await;
}

#[tokio::test]
async fn installation_continues_in_a_renamed_cell() {
    let unit = ModelUnit::new().await;
    let cell = unit.context().await.cell().id;
    let installer = start(&unit).await;
    replace_cell(&unit).await;
    installer.run().await;
    assert_eq!(count_roles(&unit, &cell).await, 1);
    let root = ServiceRoot::of_cell(unit.model.clone(), unit.find_cell("d").await.unwrap());
    let context = root.context().unwrap();
    let info = context.find_box("new").await.unwrap().unwrap();
    let status = personium_install::status(&unit.model, context, &info)
        .await
        .unwrap();
    assert!(
        matches!(status, InstallationStatus::Ready { .. }),
        "{status:?}"
    );
}
