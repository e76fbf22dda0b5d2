//! Service roots and their sets.

use std::sync::Arc;

use personium_odata::control;
use personium_odata::edm::{EntityType, Schema};
use personium_odata::key::EntityKey;
use personium_store::{CommitSeq, Key};
use personium_types::{Code, NodeId, Result};

use super::collection_guard::CollectionGuard;
use super::reporter::Reporter;
use super::user_schema::{self, UserSchema};
use crate::answer_memory::AnswerShare;
use crate::commit::Invalidation;
use crate::event::EventCause;
use crate::keys::{self, ControlSet, SetKey};
use crate::locate::Located;
use crate::records::Records;
use crate::{CellContext, Unit};

/// The subject of a service root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootScope {
    /// `{unit}__ctl/`
    Unit,
    /// `{cell}__ctl/`
    Cell,
    /// `{collection}/$metadata/`: the schema of an OData collection.
    Schema(NodeId),
    /// `{collection}/`: the data of an OData collection.
    Data(NodeId),
}

/// A service root.
#[derive(Clone)]
pub struct ServiceRoot {
    pub(super) unit: Arc<Unit>,
    pub(super) context: Option<Arc<CellContext>>,
    pub(super) records: Records,
    pub(super) scope: RootScope,
    schema: SchemaRef,
    collection_guard: Option<CollectionGuard>,
    /// A record that must stay unchanged, with its version.
    pub(super) pinned: Option<(Key, CommitSeq)>,
    /// Whether the records are those of a change set that is not committed yet.
    is_staged: bool,
    /// How changes below it are reported; `None` if nobody listens.
    pub(super) reporter: Option<Reporter>,
}

#[derive(Clone)]
enum SchemaRef {
    Fixed(&'static Schema),
    User(Arc<UserSchema>),
}

/// An entity set of a service root.
#[derive(Debug, Clone)]
pub struct SetRef {
    /// The set as a part of keys.
    pub key: SetKey,
    /// Its entity type.
    pub entity_type: Arc<EntityType>,
    /// The control or schema set; `None` for user data.
    pub control: Option<ControlSet>,
    /// The entity id of its entity type; user data only.
    pub type_id: Option<NodeId>,
}

impl ServiceRoot {
    /// Creates the root of the control objects of the unit.
    #[must_use]
    pub fn of_unit(unit: Arc<Unit>) -> Self {
        let records = unit.records();
        Self {
            unit,
            context: None,
            records,
            scope: RootScope::Unit,
            schema: SchemaRef::Fixed(control::unit()),
            collection_guard: None,
            pinned: None,
            is_staged: false,
            reporter: None,
        }
    }

    /// Creates the root of the control objects of a cell.
    #[must_use]
    pub fn of_cell(unit: Arc<Unit>, context: Arc<CellContext>) -> Self {
        let records = context.records().clone();
        Self {
            unit,
            context: Some(context),
            records,
            scope: RootScope::Cell,
            schema: SchemaRef::Fixed(control::cell()),
            collection_guard: None,
            pinned: None,
            is_staged: false,
            reporter: None,
        }
    }

    /// Creates the root of the schema of an OData collection.
    #[must_use]
    pub fn of_schema(unit: Arc<Unit>, context: Arc<CellContext>, collection: &Located) -> Self {
        let records = context.records().clone();
        let schema = SchemaRef::Fixed(control::schema());
        Self {
            unit,
            context: Some(context),
            records,
            scope: RootScope::Schema(collection.value().id),
            schema,
            collection_guard: Some(CollectionGuard::new(collection)),
            pinned: None,
            is_staged: false,
            reporter: None,
        }
    }

    /// Creates the root of the data of an OData collection, with its current schema.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn of_data(
        unit: Arc<Unit>,
        context: Arc<CellContext>,
        collection: &Located,
    ) -> Result<Self> {
        let records = context.records().clone();
        let id = collection.value().id;
        let schema = SchemaRef::User(user_schema::load(&context, &id).await?);
        Ok(Self {
            unit,
            context: Some(context),
            records,
            scope: RootScope::Data(id),
            schema,
            collection_guard: Some(CollectionGuard::new(collection)),
            pinned: None,
            is_staged: false,
            reporter: None,
        })
    }

    /// The same root, pinned to a version of a record: once that record was changed, changes are refused with
    /// [`Code::Conflict`].
    #[must_use]
    pub fn pinned_to(self, key: Key, version: CommitSeq) -> Self {
        Self {
            pinned: Some((key, version)),
            ..self
        }
    }

    /// The same root, whose changes are reported as events with this cause. `path` is the path of the root below the cell, decoded
    /// and without slashes at its ends.
    #[must_use]
    pub fn reporting(self, cause: Option<Arc<EventCause>>, path: &str) -> Self {
        Self {
            reporter: cause.map(|cause| Reporter::new(cause, path)),
            ..self
        }
    }

    /// The same root for a request with this query, which the events about creations show.
    #[must_use]
    pub fn asked_with(mut self, query: Option<&str>) -> Self {
        if let Some(reporter) = &mut self.reporter {
            reporter.query = query.map(Into::into);
        }
        self
    }

    /// The same root over the records of a change set that is not committed yet.
    pub(super) fn over_staged(&self, records: Records) -> Self {
        Self {
            records,
            is_staged: true,
            ..self.clone()
        }
    }

    /// Whether its changes are collected in a change set.
    pub(super) fn is_staged(&self) -> bool {
        self.is_staged
    }

    /// Whether the schema was changed since this root was created, or the pinned record. Changes by a stale root are
    /// refused with [`Code::Conflict`]: an entity written with an older schema would lose values of newer properties.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn is_stale(&self) -> Result<bool> {
        if let Some((key, version)) = &self.pinned {
            return Ok(self.records.find_version(key).await? != Some(*version));
        }
        let (RootScope::Data(collection), Some(schema)) = (self.scope, self.user_schema()) else {
            return Ok(false);
        };
        let key = keys::schema_version(&collection);
        Ok(self.records.find_version(&key).await? != schema.version)
    }

    /// The same root with its current schema.
    ///
    /// # Errors
    /// [`Code::NoSuchCell`] or [`Code::NoSuchResource`] if the cell or the collection was removed; failures of the
    /// store.
    pub async fn reloaded(&self) -> Result<Self> {
        let (RootScope::Data(collection), Some(context)) = (self.scope, &self.context) else {
            return Ok(self.clone());
        };
        if self.is_staged {
            let schema = user_schema::read(&self.records, &collection).await?;
            return Ok(Self {
                schema: SchemaRef::User(Arc::new(schema)),
                collection_guard: self.reload_collection().await?,
                ..self.clone()
            });
        }
        if self.is_stale().await? {
            self.unit.invalidate_cell(context.cell());
        }
        let found = self.unit.find_cell(&context.cell().name).await?;
        let context = found.ok_or(Code::NoSuchCell)?;
        let schema = user_schema::load(&context, &collection).await?;
        Ok(Self {
            records: context.records().clone(),
            context: Some(context),
            schema: SchemaRef::User(schema),
            collection_guard: self.reload_collection().await?,
            ..self.clone()
        })
    }

    /// The guard of the collection as it was found; `None` at unit and cell level.
    pub(super) fn collection_guard(&self) -> Option<CollectionGuard> {
        self.collection_guard.clone()
    }

    /// The guard of the collection as it is stored now; `None` at unit and cell level.
    ///
    /// # Errors
    /// [`Code::NoSuchResource`] if it was removed or moved; failures of the store.
    pub(super) async fn reload_collection(&self) -> Result<Option<CollectionGuard>> {
        match self.collection_guard() {
            Some(guard) => guard.reloaded(&self.records).await.map(Some),
            None => Ok(None),
        }
    }

    /// Its sets, types and associations.
    #[must_use]
    pub fn edm(&self) -> &Schema {
        match &self.schema {
            SchemaRef::Fixed(schema) => schema,
            SchemaRef::User(user) => &user.edm,
        }
    }

    /// The subject of the root.
    #[must_use]
    pub fn scope(&self) -> RootScope {
        self.scope
    }

    /// The unit.
    #[must_use]
    pub fn unit(&self) -> &Arc<Unit> {
        &self.unit
    }

    /// The memory of answers with its entities.
    #[must_use]
    pub fn answer_share(&self) -> AnswerShare {
        let memory = &self.unit.limits().answer_memory;
        memory.share(*self.records.space())
    }

    /// The cell; `None` at unit level.
    #[must_use]
    pub fn context(&self) -> Option<&Arc<CellContext>> {
        self.context.as_ref()
    }

    pub(super) fn user_schema(&self) -> Option<&UserSchema> {
        match &self.schema {
            SchemaRef::Fixed(_) => None,
            SchemaRef::User(user) => Some(user),
        }
    }

    /// Returns the set of this name.
    ///
    /// # Errors
    /// [`Code::NoSuchSet`] if there is none.
    pub fn set(&self, name: &str) -> Result<SetRef> {
        let entity_type = self.edm().entity_type(name).ok_or(Code::NoSuchSet)?;
        self.set_of(entity_type)
            .ok_or_else(|| Code::NoSuchSet.into())
    }

    fn set_of(&self, entity_type: &Arc<EntityType>) -> Option<SetRef> {
        let name: &str = &entity_type.name;
        let (key, control, type_id) = match &self.scope {
            RootScope::Unit | RootScope::Cell => {
                let set = ControlSet::named(name)?;
                (SetKey::control(set), Some(set), None)
            }
            RootScope::Schema(collection) => {
                let set = ControlSet::named(name)?;
                (SetKey::schema(collection, set), Some(set), None)
            }
            RootScope::Data(collection) => {
                let id = self.user_schema()?.type_id(name)?;
                (SetKey::data(collection, &id), None, Some(id))
            }
        };
        Some(SetRef {
            key,
            entity_type: Arc::clone(entity_type),
            control,
            type_id,
        })
    }

    pub(super) fn control_set(&self, set: ControlSet) -> Option<SetRef> {
        self.edm()
            .entity_type(set.name())
            .and_then(|t| self.set_of(t))
    }

    /// The caches that a change below this root invalidates.
    pub(super) fn invalidation(&self) -> Invalidation {
        match self.scope {
            RootScope::Data(_) => Invalidation::None,
            RootScope::Unit | RootScope::Cell | RootScope::Schema(_) => Invalidation::Cell,
        }
    }
}

/// An entity of a service root, by its key.
#[derive(Debug, Clone, Copy)]
pub struct EntityRef<'a> {
    /// Its set.
    pub set: &'a SetRef,
    /// Its key.
    pub key: &'a EntityKey,
}

impl SetRef {
    /// The name of the set.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.entity_type.name
    }
}
