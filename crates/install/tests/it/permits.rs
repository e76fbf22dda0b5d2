//! Installations are started, and their events posted, only with a permit for installing boxes of the cell.

use personium_install::InstallAuthority;
use personium_model::event::Event;
use personium_model::{Permit, PermitTarget};
use personium_testkit::{ModelUnit, server_authority};
use personium_types::{CellId, Code, Operation, Result};

use crate::archive::install_request;

async fn start(unit: &ModelUnit, permit: &Permit) -> Result<()> {
    let authority = InstallAuthority::new(server_authority().clone());
    let (context, request) = (unit.context().await, install_request().await);
    let started = authority.start(&unit.model, &context, permit, request);
    started.await.map(drop)
}

async fn post_event(unit: &ModelUnit, permit: &Permit) -> Result<()> {
    let authority = InstallAuthority::new(server_authority().clone());
    let event = Event::internal();
    let context = unit.context().await;
    authority
        .post_event(&unit.model, &context, permit, event)
        .await
}

#[tokio::test]
async fn permit_to_install_boxes_of_the_cell_is_accepted() {
    let unit = ModelUnit::new().await;
    let target = PermitTarget::Cell(unit.context().await.cell().id);
    let permit = server_authority().permit(Operation::InstallBox, target);
    start(&unit, &permit).await.unwrap();
    post_event(&unit, &permit).await.unwrap();
}

#[tokio::test]
async fn permit_for_another_operation_or_cell_is_refused() {
    let unit = ModelUnit::new().await;
    let cell = PermitTarget::Cell(unit.context().await.cell().id);
    let other_cell = PermitTarget::Cell(CellId::from_bytes([1; 16]));
    for (operation, target) in [
        (Operation::ReadStatus, cell),
        (Operation::InstallBox, other_cell),
        (Operation::InstallBox, PermitTarget::Unit),
    ] {
        let permit = server_authority().permit(operation, target);
        let refusal = start(&unit, &permit).await.unwrap_err();
        assert_eq!(refusal.code(), Code::Unknown, "{permit:?}");
        let refusal = post_event(&unit, &permit).await.unwrap_err();
        assert_eq!(refusal.code(), Code::Unknown, "{permit:?}");
    }
}
