//! Starts installations.

use std::sync::Arc;

use personium_model::event::{self, Event};
use personium_model::keys::{self, ControlSet};
use personium_model::odata::{self, ServiceRoot};
use personium_model::{CellContext, Permit, PermitTarget, ServerAuthority, Unit, records};
use personium_types::{Code, Error, Operation, Result};
use serde_json::json;

use crate::claim::InstallationClaim;
use crate::installer::{self, Installer, InstallerTarget, event_permit};
use crate::package::Package;
use crate::progress::StoredInstallation;
use crate::request_origin::RequestOrigin;
use crate::rollback;

/// The authority of the server to install boxes for requests that are permitted to.
#[derive(Debug, Clone)]
pub struct InstallAuthority(pub(crate) ServerAuthority);

/// A request to install a box.
pub struct InstallRequest<'a> {
    /// The name of the box.
    pub box_name: &'a str,
    /// The request.
    pub origin: RequestOrigin,
    /// The archive.
    pub package: Package,
    /// Whether the requester may create rules: only then timers of the archive act as accounts of the cell.
    pub may_write_rules: bool,
    /// Whether the requester may change accounts: only then services of the archive act as accounts of the cell.
    pub may_write_accounts: bool,
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
        let started_at_ms = unit.now_ms();
        let body = json!({"Name": request.box_name, "Schema": schema}).to_string();
        let claim = InstallationClaim::begin(unit, &context.cell().id).await?;
        let begun = StoredInstallation {
            started_at: started_at_ms,
            percent: 0,
            worker: Some(claim.worker()),
            result: None,
        };
        let created = self
            .create_box(unit, context, (&body, &request.origin), (&begun, &claim))
            .await;
        let box_id = match created {
            // A concurrent request created a box of this name or schema: report it as if it had existed before.
            Err(refusal) if refusal.code() == Code::EntityExists => {
                claim.release(unit).await?;
                let cell = unit.find_cell(&context.cell().name).await?;
                let context = cell.ok_or(Code::NoSuchCell)?;
                check_available(unit, &context, request.box_name, schema.as_deref()).await?;
                return Err(refusal);
            }
            Err(error) => {
                // Failures of the store leave it: the box may have been created.
                if error.code().status() < 500 {
                    claim.release(unit).await?;
                }
                return Err(error);
            }
            Ok(id) => id,
        };
        let target = InstallerTarget {
            cell: context.cell().id,
            box_id: box_id.parse().map_err(|_| Code::OdataInconsistent)?,
            box_name: request.box_name.to_owned(),
            may_write_rules: request.may_write_rules,
            may_write_accounts: request.may_write_accounts,
            claim,
        };
        let started = (request.origin, started_at_ms);
        let installer = Installer::new(unit, &self.0, target, request.package, started);
        // In version 1 it is the first event, in version 2 the event of the request is.
        if installer.package.is_legacy() {
            installer.report_start().await;
        }
        Ok(installer)
    }

    /// Creates the box and the record of its installation in one batch. A crash at any time afterwards leaves enough to remove
    /// the box.
    async fn create_box(
        &self,
        unit: &Arc<Unit>,
        context: &Arc<CellContext>,
        (body, origin): (&str, &RequestOrigin),
        (begun, claim): (&StoredInstallation, &InstallationClaim),
    ) -> Result<String> {
        let root = ServiceRoot::of_cell(Arc::clone(unit), Arc::clone(context));
        let root = installer::reporting(root, origin).await?;
        let creation = installer::creation(&root, ControlSet::Box, body.as_bytes()).await?;
        let permit = self.0.permit_write(&root, &creation.set);
        let created = odata::create_with(&root, &permit, creation, |created, batch| {
            claim.assert_in(batch);
            records::put(batch, keys::installation(&created.id), begun)
        });
        created.await.map(|created| created.id)
    }

    /// Removes the boxes of installations that nobody works on: those of dead server nodes and of earlier runs. Failures are
    /// logged, and retried by the next call.
    ///
    /// # Errors
    /// Failures of the store before the first one.
    pub async fn remove_unfinished(&self, unit: &Arc<Unit>) -> Result<()> {
        rollback::remove_unfinished(unit, &self.0).await
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
