//! Installing an application: a box with everything that an archive describes.
//!
//! The box is made before the request is answered; the rest follows in the background, step by step. Nothing is taken
//! back when a step fails: the box shows how far it came and why it stopped, and is removed as any other.

mod contents;
mod data;
mod failure;
mod objects;
mod package;
mod schema;
mod status;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use personium_odata::body::{Intent, Route};
use personium_types::{CellId, Code, Error, NodeId, Operation, Result};
use serde_json::{Value, json};

use self::failure::Outcome;
pub use self::package::Package;
use self::status::{Installation, Result as End};
pub use self::status::{Status, status};
use crate::event::{self, Event};
use crate::keys::{self, ControlSet, SetKey};
use crate::odata::{self, Creation, ServiceRoot};
use crate::{
    Access, CellContext, Identity, Permit, PermitTarget, Resource, ServerAuthority, Unit, entity,
};

/// How often an installation says that it goes on.
const BEAT: Duration = Duration::from_secs(10);
/// Points of progress that are worth being stored.
const STEP: u64 = 10;

/// An application that is being installed.
pub struct Installer {
    unit: Arc<Unit>,
    authority: ServerAuthority,
    /// The cell and the box, whatever has their names.
    cell: CellId,
    box_id: NodeId,
    box_name: String,
    package: Package,
    request_key: String,
    started: i64,
    done: AtomicU64,
    stored: AtomicU64,
}

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
    /// The authority to install boxes, made of that of the server.
    #[must_use]
    pub fn new(server: ServerAuthority) -> Self {
        Self(server)
    }

    /// Makes the box of an archive. What it holds follows with [`Installer::run`].
    ///
    /// # Errors
    /// [`Code::BarSchemaUsed`] if another box belongs to the application, [`Code::BarBoxExists`] if there is a box of this
    /// name, another code if name or schema are not valid. An internal error if the permit is not for installing boxes of
    /// this cell.
    pub async fn begin(
        &self,
        unit: &Arc<Unit>,
        context: &Arc<CellContext>,
        permit: &Permit,
        request: InstallRequest<'_>,
    ) -> Result<Installer> {
        check_permit(context, permit)?;
        let (name, package) = (request.box_name, request.package);
        let schema = package.schema().map(str::to_owned);
        check_free(unit, context, name, schema.as_deref()).await?;
        let root = ServiceRoot::of_cell(Arc::clone(unit), Arc::clone(context));
        let body = json!({"Name": name, "Schema": schema}).to_string();
        let made = match create_entity(&root, ControlSet::Box, body.as_bytes(), &self.0).await {
            // A concurrent request made one of the two first: refuse as if it had been there before.
            Err(refusal) if refusal.code() == Code::EntityExists => {
                let cell = unit.find_cell(&context.cell().name).await?;
                let context = cell.ok_or(Code::NoSuchCell)?;
                check_free(unit, &context, name, schema.as_deref()).await?;
                return Err(refusal);
            }
            other => other?,
        };
        let installer = Installer {
            unit: Arc::clone(unit),
            authority: self.0.clone(),
            cell: context.cell().id,
            box_id: made.parse().map_err(|_| Code::OdataInconsistent)?,
            box_name: name.to_owned(),
            package,
            request_key: request.request_key.to_owned(),
            started: unit.now_ms(),
            done: AtomicU64::new(0),
            stored: AtomicU64::new(0),
        };
        installer.store(None).await?;
        let place = installer.place();
        installer
            .tell("PL-BI-1000", &place, "Bar installation started.")
            .await;
        Ok(installer)
    }

    /// Posts an event of the unit about a request to install a box.
    ///
    /// # Errors
    /// See [`event::post`]. An internal error if the permit is not for installing boxes of this cell.
    pub async fn post_event(
        &self,
        unit: &Unit,
        context: &CellContext,
        permit: &Permit,
        event: Event,
    ) -> Result<()> {
        check_permit(context, permit)?;
        event::post(unit, context, &permit_event(&self.0, context), event).await
    }
}

fn check_permit(context: &CellContext, permit: &Permit) -> Result<()> {
    let target = PermitTarget::Cell(context.cell().id);
    permit.check(Operation::InstallBox, &target)
}

fn permit_event(authority: &ServerAuthority, context: &CellContext) -> Permit {
    let target = PermitTarget::Cell(context.cell().id);
    authority.permit(Operation::PostEvent, target)
}

async fn check_free(
    unit: &Unit,
    context: &CellContext,
    name: &str,
    schema: Option<&str>,
) -> Result<()> {
    let boxes = context.boxes().await?;
    if let Some(schema) = schema {
        let spellings = unit.urls().spellings(schema);
        let used = |known: &Option<String>| known.as_ref().is_some_and(|s| spellings.contains(s));
        if boxes.iter().any(|found| used(&found.schema)) {
            return Err(Error::new(Code::BarSchemaUsed).with(schema));
        }
    }
    if boxes.iter().any(|found| found.name == name) {
        return Err(Error::new(Code::BarBoxExists).with(name));
    }
    Ok(())
}

/// Creates a control object or an object of a schema; its id.
async fn create_entity(
    root: &ServiceRoot,
    set: ControlSet,
    body: &[u8],
    authority: &ServerAuthority,
) -> Result<String> {
    let set = root.set(set.name())?;
    let body = odata::validate(root, &set, body, Intent::Create, Route::Direct).await?;
    let permit = authority.permit_write(root, &set);
    let creation = Creation {
        set,
        body,
        hidden: std::collections::BTreeMap::new(),
        navigation: None,
        exists: Code::EntityExists,
    };
    let mut made = odata::create(root, &permit, &[creation]).await?;
    let made = made.pop().ok_or(Code::Unknown)??;
    Ok(made.id)
}

impl Installer {
    /// Installs everything. Failures are kept with the box and told as events.
    pub async fn run(self) {
        let work = self.install();
        tokio::pin!(work);
        let mut beats = tokio::time::interval(BEAT);
        let outcome = loop {
            tokio::select! {
                outcome = &mut work => break outcome,
                _ = beats.tick() => self.store_or_warn(None).await,
            }
        };
        let place = self.place();
        let end = match outcome {
            Ok(()) => {
                self.tell("PL-BI-0000", &place, "Bar installation completed.")
                    .await;
                End::Done
            }
            Err(failure) => {
                self.tell(failure.code, &failure.entry, &failure.reason)
                    .await;
                self.tell("PL-BI-0001", &place, "Bar installation failed.")
                    .await;
                failure.into_end()
            }
        };
        self.store_or_warn(Some(end)).await;
    }

    async fn install(&self) -> Outcome {
        if !self.package.is_legacy() {
            // The manifest was read before, and does not count there.
            self.done.store(0, Ordering::Release);
        } else if let Some(manifest) = self.package.find("00_meta/00_manifest.json") {
            self.begin_entry(&manifest).await;
            self.end_entry(&manifest).await;
        }
        self.install_objects().await?;
        let described = self.install_collections().await?;
        self.install_contents(&described).await
    }

    /// The cell as it is now.
    async fn context(&self) -> Result<Arc<CellContext>> {
        let found = self.unit.find_cell_by_id(&self.cell).await?;
        found.ok_or_else(|| Code::NoSuchCell.into())
    }

    /// The control objects of the cell, as long as the box stays as it is, and the name of the box.
    async fn root(&self) -> Result<(ServiceRoot, String)> {
        let context = self.context().await?;
        let (set, id) = (SetKey::control(ControlSet::Box), self.box_id.to_string());
        let found = entity::find(context.records(), &set, &id).await?;
        let found = found.ok_or_else(|| Error::new(Code::NoSuchBox).with(id.as_str()))?;
        let name = found.value.text("Name").ok_or(Code::OdataInconsistent)?;
        let root = ServiceRoot::of_cell(Arc::clone(&self.unit), context);
        let root = root.pinned_to(keys::entity(&set, &id), found.version);
        Ok((root, name))
    }

    /// Something in the box, for the installer.
    async fn resource(&self, path: &[String]) -> Result<Resource> {
        Ok(Resource {
            unit: Arc::clone(&self.unit),
            context: self.context().await?,
            access: Access::of(Identity::UnitMaster),
            box_name: self.box_name.clone(),
            box_id: Some(self.box_id),
            segments: path.to_vec(),
            url: path.join("/"),
        })
    }

    /// The box in events.
    fn place(&self) -> String {
        format!("{}/{}", crate::url::LOCAL_CELL, self.box_name)
    }

    /// Begins an entry of the archive.
    async fn begin_entry(&self, entry: &package::BarEntry) {
        self.count().await;
        self.tell("PL-BI-1001", entry.name(), "Installation started.")
            .await;
    }

    /// Ends an entry of the archive.
    async fn end_entry(&self, entry: &package::BarEntry) {
        self.tell("PL-BI-1003", entry.name(), "Installation completed.")
            .await;
    }

    /// Counts an entry of the archive.
    async fn count(&self) {
        self.done.fetch_add(1, Ordering::AcqRel);
        if self.percent() > self.stored.load(Ordering::Acquire) + STEP {
            self.store_or_warn(None).await;
        }
    }

    fn percent(&self) -> u64 {
        let total = self.package.total().max(1);
        (self.done.load(Ordering::Acquire) * 100 / total).min(100)
    }

    /// Keeps with the box how far it is.
    async fn store(&self, end: Option<End>) -> Result<()> {
        let percent = self.percent();
        let installation = Installation {
            started: self.started,
            percent,
            alive: self.unit.now_ms(),
            end,
        };
        let context = self.context().await?;
        status::store(&self.unit, &context, &self.box_id, &installation).await?;
        self.stored.store(percent, Ordering::Release);
        Ok(())
    }

    async fn store_or_warn(&self, end: Option<End>) {
        if let Err(error) = self.store(end).await {
            let name = &self.box_name;
            tracing::warn!(box.name = %name, "how far the installation of box {name} is could not be kept: {error}");
        }
    }

    /// Tells the rules of the cell about a step.
    async fn tell(&self, kind: &str, object: &str, info: &str) {
        let event = Event {
            external: false,
            schema: None,
            subject: None,
            account: None,
            kind: Some(kind.to_owned()),
            object: Some(object.to_owned()),
            info: Some(info.to_owned()),
            request_key: Some(self.request_key.clone()),
            id: None,
            hops: Some(0),
            via: None,
            roles: Vec::new(),
        };
        let told = match self.context().await {
            Ok(context) => {
                let permit = permit_event(&self.authority, &context);
                event::post(&self.unit, &context, &permit, event).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = told {
            tracing::warn!("a step of an installation could not be told: {error}");
        }
    }
}

/// The members of a JSON object that are there.
fn members<const N: usize>(members: [(&str, Option<&str>); N]) -> serde_json::Map<String, Value> {
    members
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?))))
        .collect()
}
