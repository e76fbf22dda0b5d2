//! Starts installations.

use std::sync::Arc;

use personium_model::event::{self, Event};
use personium_model::keys::ControlSet;
use personium_model::odata::ServiceRoot;
use personium_model::{CellContext, Permit, PermitTarget, ServerAuthority, Unit};
use personium_types::{Code, Error, Operation, Result};
use serde_json::json;

use crate::installer::{Installer, InstallerTarget, create_entity, event_permit};
use crate::package::Package;

/// The authority of the server to install boxes for requests that are permitted to.
#[derive(Debug, Clone)]
pub struct InstallAuthority(ServerAuthority);

/// A request to install a box.
pub struct InstallRequest<'a> {
    /// The name of the box.
    pub box_name: &'a str,
    /// The key of the request in logs and events.
    pub request_key: &'a str,
    /// The archive.
    pub package: Package,
}

impl InstallAuthority {
    /// Creates the authority from that of the server.
    #[must_use]
    pub fn new(server: ServerAuthority) -> Self {
        Self(server)
    }

    /// Creates the box of an archive. [`Installer::run`] installs its content.
    ///
    /// # Errors
    /// [`Code::BarSchemaUsed`] if another box belongs to the application; [`Code::BarBoxExists`] if there is a box of
    /// this name; a code of the validation if name or schema are not valid; [`Code::Unknown`] if the permit is not for
    /// installing boxes of this cell; failures of the store.
    pub async fn start(
        &self,
        unit: &Arc<Unit>,
        context: &Arc<CellContext>,
        permit: &Permit,
        request: InstallRequest<'_>,
    ) -> Result<Installer> {
        check_permit(context, permit)?;
        let schema = request.package.schema().map(str::to_owned);
        check_available(unit, context, request.box_name, schema.as_deref()).await?;
        let root = ServiceRoot::of_cell(Arc::clone(unit), Arc::clone(context));
        let body = json!({"Name": request.box_name, "Schema": schema}).to_string();
        let created = create_entity(&root, ControlSet::Box, body.as_bytes(), &self.0).await;
        let box_id = match created {
            // A concurrent request created a box of this name or schema: report it as if it had existed before.
            Err(refusal) if refusal.code() == Code::EntityExists => {
                let cell = unit.find_cell(&context.cell().name).await?;
                let context = cell.ok_or(Code::NoSuchCell)?;
                check_available(unit, &context, request.box_name, schema.as_deref()).await?;
                return Err(refusal);
            }
            created => created?,
        };
        let target = InstallerTarget {
            cell: context.cell().id,
            box_id: box_id.parse().map_err(|_| Code::OdataInconsistent)?,
            box_name: request.box_name.to_owned(),
        };
        let installer = Installer::new(unit, &self.0, target, request.package, request.request_key);
        installer.store_progress(None).await?;
        installer
            .post_event(
                "PL-BI-1000",
                &installer.box_url(),
                "Bar installation started.",
            )
            .await;
        Ok(installer)
    }

    /// Posts an event of the unit about a request to install a box.
    ///
    /// # Errors
    /// As [`event::post`]; [`Code::Unknown`] if the permit is not for installing boxes of this cell.
    pub async fn post_event(
        &self,
        unit: &Unit,
        context: &CellContext,
        permit: &Permit,
        event: Event,
    ) -> Result<()> {
        check_permit(context, permit)?;
        event::post(unit, context, &event_permit(&self.0, context), event).await
    }
}

fn check_permit(context: &CellContext, permit: &Permit) -> Result<()> {
    let target = PermitTarget::Cell(context.cell().id);
    permit.check(Operation::InstallBox, &target)
}

/// Checks that no box has this name or schema.
async fn check_available(
    unit: &Unit,
    context: &CellContext,
    name: &str,
    schema: Option<&str>,
) -> Result<()> {
    let boxes = context.boxes().await?;
    if let Some(schema) = schema {
        let spellings = unit.urls().spellings(schema);
        let is_used =
            |other: &Option<String>| other.as_ref().is_some_and(|s| spellings.contains(s));
        if boxes.iter().any(|found| is_used(&found.schema)) {
            return Err(Error::new(Code::BarSchemaUsed).with(schema));
        }
    }
    if boxes.iter().any(|found| found.name == name) {
        return Err(Error::new(Code::BarBoxExists).with(name));
    }
    Ok(())
}
