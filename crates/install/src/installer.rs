//! The state of an installation: its box, its progress and its events.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use personium_archive::{BarEntry, paths};
use personium_model::event::{self, Event, EventCause};
use personium_model::keys::{self, ControlSet, SetKey};
use personium_model::locate::Prefetch;
use personium_model::odata::{self, Creation, ServiceRoot};
use personium_model::url::LOCAL_CELL;
use personium_model::{
    Access, CellContext, Identity, Permit, PermitTarget, Resource, ServerAuthority, Unit, entity,
};
use personium_odata::body::{Intent, Route};
use personium_types::{CellId, Code, Error, NodeId, Operation, Preconditions, Result};
use serde_json::{Map, Value};

use crate::claim::InstallationClaim;
use crate::package::Package;
use crate::progress::{self, InstallationResult, StoredInstallation};
use crate::request_origin::RequestOrigin;

/// The progress is stored when it grew by more percentage points than this.
const STORED_STEP_PERCENT: u64 = 10;

/// The number of events that are posted with one state of the cell.
const EVENTS_PER_CONTEXT: usize = 100;

/// The number of links of one commit.
pub(crate) const LINKS_PER_COMMIT: usize = 100;

/// The types and texts of the events about an entry or a folder.
const STARTED: &str = "PL-BI-1001";
const STARTED_TEXT: &str = "Installation started.";
const COMPLETED: &str = "PL-BI-1003";
const COMPLETED_TEXT: &str = "Installation completed.";

/// The installation of an application.
pub struct Installer {
    pub(crate) unit: Arc<Unit>,
    pub(crate) authority: ServerAuthority,
    pub(crate) target: InstallerTarget,
    pub(crate) package: Package,
    origin: RequestOrigin,
    started_at_ms: i64,
    done_entries: AtomicU64,
    stored_percent: AtomicU64,
}

/// The box of an installation. Cell and box are identified by id: another cell or box of the same name gets nothing.
pub(crate) struct InstallerTarget {
    pub cell: CellId,
    pub box_id: NodeId,
    /// The name of the box when the installation started.
    pub box_name: String,
    /// Whether the requester may create rules.
    pub may_write_rules: bool,
    /// Whether the requester may change accounts.
    pub may_write_accounts: bool,
    /// The claim of this process.
    pub claim: InstallationClaim,
}

impl Installer {
    pub(crate) fn new(
        unit: &Arc<Unit>,
        authority: &ServerAuthority,
        target: InstallerTarget,
        package: Package,
        (origin, started_at_ms): (RequestOrigin, i64),
    ) -> Self {
        Self {
            unit: Arc::clone(unit),
            authority: authority.clone(),
            target,
            package,
            origin,
            started_at_ms,
            done_entries: AtomicU64::new(0),
            stored_percent: AtomicU64::new(0),
        }
    }

    /// Whether this process still works on the installation.
    ///
    /// # Errors
    /// Failures of the store.
    pub(crate) async fn is_own(&self) -> Result<bool> {
        self.unit.confirm_node(self.target.claim.node()).await
    }

    /// The cell as it is now, for the next step.
    ///
    /// # Errors
    /// [`Code::NoSuchCell`] if it was removed, [`Code::NoSuchBox`] if another server node has taken over the installation;
    /// failures of the store.
    pub(crate) async fn context(&self) -> Result<Arc<CellContext>> {
        if !self.is_own().await? {
            return Err(Error::new(Code::NoSuchBox).with(self.target.box_name.as_str()));
        }
        let found = self.unit.find_cell_by_id(&self.target.cell).await?;
        found.ok_or_else(|| Code::NoSuchCell.into())
    }

    /// The service root of the cell, pinned to the current version of the box, and the current name of the box.
    pub(crate) async fn cell_root(&self) -> Result<(ServiceRoot, String)> {
        let context = self.context().await?;
        let set = SetKey::control(ControlSet::Box);
        let id = self.target.box_id.to_string();
        let found = entity::find(context.records(), &set, &id).await?;
        let found = found.ok_or_else(|| Error::new(Code::NoSuchBox).with(id.as_str()))?;
        let name = found.value.text("Name").ok_or(Code::OdataInconsistent)?;
        let root = ServiceRoot::of_cell(Arc::clone(&self.unit), context);
        let root = reporting(root, &self.origin).await?;
        let root = root.pinned_to(keys::entity(&set, &id), found.version);
        Ok((root, name))
    }

    /// A path in the box, with all rights.
    pub(crate) async fn resource(&self, path: &[String]) -> Result<Resource> {
        Ok(Resource {
            unit: Arc::clone(&self.unit),
            context: self.context().await?,
            access: Access::of(Identity::UnitMaster),
            box_name: self.target.box_name.clone(),
            box_id: Some(self.target.box_id),
            segments: path.to_vec(),
            url: path.join("/"),
            conditions: Preconditions::default(),
            prefetch: Prefetch::Nothing,
            events: None,
        })
    }

    /// The URL of the box in events.
    pub(crate) fn box_url(&self) -> String {
        format!("{LOCAL_CELL}/{}", self.target.box_name)
    }

    /// Starts an entry of the archive.
    pub(crate) async fn start_entry(&self, entry: &BarEntry) {
        self.start_entries(&[entry]).await;
    }

    /// Starts entries of the archive, one after the other.
    pub(crate) async fn start_entries(&self, entries: &[&BarEntry]) {
        for entries in entries.chunks(EVENTS_PER_CONTEXT) {
            self.advance(entries.len()).await;
            let started = entries
                .iter()
                .map(|entry| self.event(STARTED, self.shown_name(entry), STARTED_TEXT));
            self.post_events(started.collect()).await;
        }
    }

    /// Starts entries of an OData collection. In an archive of version 2 no event tells of each: the collection has one.
    pub(crate) async fn start_odata_entries(&self, entries: &[&BarEntry]) {
        match self.package.is_legacy() {
            true => self.start_entries(entries).await,
            false => self.advance(entries.len()).await,
        }
    }

    /// Reports that the installation has begun.
    pub(crate) async fn report_start(&self) {
        self.post_event("PL-BI-1000", &self.box_url(), "Bar installation started.")
            .await;
    }

    /// Reports folders of the archive, by their names: their collections exist already.
    pub(crate) async fn report_folders(&self, names: &[String]) {
        for names in names.chunks(EVENTS_PER_CONTEXT / 2) {
            let events = names.iter().flat_map(|name| {
                [
                    self.event(STARTED, name, STARTED_TEXT),
                    self.event(COMPLETED, name, COMPLETED_TEXT),
                ]
            });
            self.post_events(events.collect()).await;
        }
    }

    /// Reports the begin of an OData collection, by the name of its folder.
    pub(crate) async fn start_folder(&self, name: &str) {
        self.post_event(STARTED, name, STARTED_TEXT).await;
    }

    /// Reports the end of an OData collection.
    pub(crate) async fn end_folder(&self, name: &str) {
        self.post_event(COMPLETED, name, COMPLETED_TEXT).await;
    }

    /// Reports a step within an entry.
    pub(crate) async fn report_step(&self, object: &str) {
        self.report_steps(&[object.to_owned()]).await;
    }

    /// Reports steps within an entry, in their order.
    pub(crate) async fn report_steps(&self, objects: &[String]) {
        for objects in objects.chunks(EVENTS_PER_CONTEXT) {
            let events = objects
                .iter()
                .map(|object| self.event("PL-BI-1002", object, "Installation processing."));
            self.post_events(events.collect()).await;
        }
    }

    /// The name of an entry in events: of the JSON files about the cell, version 2 has the name without its folder.
    fn shown_name<'e>(&self, entry: &'e BarEntry) -> &'e str {
        let name = entry.name();
        match name.strip_prefix(paths::META) {
            Some(file) if name.ends_with(".json") => file.trim_start_matches('/'),
            _ => name,
        }
    }

    /// Counts entries as done, and stores the progress when it has grown enough.
    async fn advance(&self, entries: usize) {
        self.done_entries
            .fetch_add(entries as u64, Ordering::AcqRel);
        if self.percent() > self.stored_percent.load(Ordering::Acquire) + STORED_STEP_PERCENT {
            self.store_progress_or_warn(None).await;
        }
    }

    /// Ends an entry of the archive.
    pub(crate) async fn end_entry(&self, entry: &BarEntry) {
        self.end_entries(&[entry]).await;
    }

    /// Ends entries of the archive that were stored together.
    pub(crate) async fn end_entries(&self, entries: &[&BarEntry]) {
        for entries in entries.chunks(EVENTS_PER_CONTEXT) {
            let ended = entries
                .iter()
                .map(|entry| self.event(COMPLETED, self.shown_name(entry), COMPLETED_TEXT));
            self.post_events(ended.collect()).await;
        }
    }

    /// Counts an entry of the archive as done.
    pub(crate) fn count_entry(&self) {
        self.done_entries.fetch_add(1, Ordering::AcqRel);
    }

    /// The number of entries that are done.
    pub(crate) fn done_entries(&self) -> u64 {
        self.done_entries.load(Ordering::Acquire)
    }

    /// Sets the number of entries that are done.
    pub(crate) fn set_done_entries(&self, count: u64) {
        self.done_entries.store(count, Ordering::Release);
    }

    fn percent(&self) -> u64 {
        let total = self.package.total().max(1);
        (self.done_entries() * 100 / total).min(100)
    }

    /// The state of the installation.
    pub(crate) fn state(&self, result: Option<InstallationResult>) -> StoredInstallation {
        StoredInstallation {
            started_at: self.started_at_ms,
            percent: self.percent(),
            worker: Some(self.target.claim.worker()),
            result,
        }
    }

    /// Stores the progress, and the result at the end.
    async fn store_progress(&self, result: Option<InstallationResult>) -> Result<()> {
        let installation = self.state(result);
        let context = self.context().await?;
        progress::store(&self.unit, &context, &self.target.box_id, &installation).await?;
        self.stored_percent
            .store(installation.percent, Ordering::Release);
        Ok(())
    }

    /// As [`Self::store_progress`]; failures are logged. Returns whether it was stored, or never will be.
    pub(crate) async fn store_progress_or_warn(&self, result: Option<InstallationResult>) -> bool {
        let Err(error) = self.store_progress(result).await else {
            return true;
        };
        tracing::warn!(
            cell.id = %self.target.cell,
            box.name = %self.target.box_name,
            %error,
            "failed to store installation progress"
        );
        matches!(error.code(), Code::NoSuchBox | Code::NoSuchCell)
    }

    /// Posts an event about a step.
    pub(crate) async fn post_event(&self, kind: &str, object: &str, info: &str) {
        self.post_events(vec![self.event(kind, object, info)]).await;
    }

    fn event(&self, kind: &str, object: &str, info: &str) -> Event {
        Event {
            kind: Some(kind.to_owned()),
            object: Some(object.to_owned()),
            info: Some(info.to_owned()),
            ..self.origin.event()
        }
    }

    /// Posts events in the current state of the cell; failures are logged.
    async fn post_events(&self, events: Vec<Event>) {
        let posted = async {
            let context = self.context().await?;
            let permit = event_permit(&self.authority, &context);
            event::post_all(&self.unit, &context, &permit, events).await
        };
        let refusals = match posted.await {
            Ok(refusals) => refusals,
            Err(error) => vec![error],
        };
        if let Some(error) = refusals.first() {
            tracing::warn!(
                cell.id = %self.target.cell,
                box.name = %self.target.box_name,
                events.refused = refusals.len(),
                %error,
                "failed to post installation events"
            );
        }
    }
}

/// The same service root of a cell, which reports what an installation creates. `origin` is the request for it.
///
/// # Errors
/// Failures of the store.
pub(crate) async fn reporting(root: ServiceRoot, origin: &RequestOrigin) -> Result<ServiceRoot> {
    let Some(context) = root.context() else {
        return Ok(root);
    };
    let cause = EventCause::find(root.unit(), context, || origin.event()).await?;
    let cause = cause.map(|cause| Arc::new(cause.with_info("box install".to_owned())));
    Ok(root.reporting(cause, "__ctl"))
}

/// The permit to post events of a cell.
pub(crate) fn event_permit(authority: &ServerAuthority, context: &CellContext) -> Permit {
    let target = PermitTarget::Cell(context.cell().id);
    authority.permit(Operation::PostEvent, target)
}

/// Creates a control object or a schema object. Returns its id.
///
/// # Errors
/// As [`odata::validate`] and [`odata::create`].
pub(crate) async fn create_entity(
    root: &ServiceRoot,
    set: ControlSet,
    body: &[u8],
    authority: &ServerAuthority,
) -> Result<String> {
    let creation = creation(root, set, body).await?;
    let permit = authority.permit_write(root, &creation.set);
    let created = odata::create_with(root, &permit, creation, |_, _| Ok(())).await?;
    Ok(created.id)
}

/// The creation of a control object or a schema object.
///
/// # Errors
/// As [`odata::validate`].
pub(crate) async fn creation(root: &ServiceRoot, set: ControlSet, body: &[u8]) -> Result<Creation> {
    let set = root.set(set.name())?;
    let body = odata::validate(root, &set, body, Intent::Create, Route::Direct).await?;
    Ok(Creation {
        set,
        body,
        hidden: BTreeMap::new(),
        navigation: None,
        exists: Code::EntityExists,
        history: None,
    })
}

/// A JSON object of the members that have a value.
pub(crate) fn members<const N: usize>(members: [(&str, Option<&str>); N]) -> Map<String, Value> {
    members
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?))))
        .collect()
}
