//! Service roots and their sets.

use std::sync::Arc;

use personium_odata::control;
use personium_odata::edm::{EntityType, Schema};
use personium_store::{Batch, CommitSeq, Expect, Key};
use personium_types::{Code, Error, NodeId, Result};

use super::user_schema::{self, UserSchema};
use crate::commit::Invalidation;
use crate::keys::{self, ControlSet, SetKey};
use crate::locate::Located;
use crate::node::Node;
use crate::records::Records;
use crate::{CellContext, PostCommit, Unit};

/// What a service root is about.
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

/// One service root.
#[derive(Clone)]
pub struct ServiceRoot {
    pub(super) unit: Arc<Unit>,
    pub(super) context: Option<Arc<CellContext>>,
    pub(super) records: Records,
    pub(super) scope: RootScope,
    schema: SchemaRef,
    home: Option<CollectionGuard>,
    /// A record that must stay as it is, and its version.
    pinned: Option<(Key, CommitSeq)>,
}

/// The record of an OData collection: while it stands unchanged, the collection is neither removed nor moved.
#[derive(Debug, Clone)]
pub(super) struct CollectionGuard {
    name: String,
    key: Key,
    id: NodeId,
    version: CommitSeq,
}

impl CollectionGuard {
    fn new(found: &Located) -> Self {
        Self {
            name: found.name.clone(),
            key: found.key.clone(),
            id: found.value().id,
            version: found.node.version,
        }
    }

    /// Adds to a batch that the collection is still there.
    pub fn assert(&self, batch: &mut Batch) {
        batch.assert(self.key.clone(), Expect::Version(self.version));
    }
}

#[derive(Clone)]
enum SchemaRef {
    Fixed(&'static Schema),
    User(Arc<UserSchema>),
}

/// One set of a service root.
#[derive(Debug, Clone)]
pub struct SetRef {
    /// The set in keys.
    pub key: SetKey,
    /// Its entity type.
    pub entity_type: Arc<EntityType>,
    /// Which control or schema set it is; `None` for user data.
    pub control: Option<ControlSet>,
    /// The entity id of its entity type; user data only.
    pub type_id: Option<NodeId>,
}

impl ServiceRoot {
    /// The control objects of the unit.
    #[must_use]
    pub fn of_unit(unit: Arc<Unit>) -> Self {
        let records = unit.records();
        Self {
            unit,
            context: None,
            records,
            scope: RootScope::Unit,
            schema: SchemaRef::Fixed(control::unit()),
            home: None,
            pinned: None,
        }
    }

    /// The control objects of a cell.
    #[must_use]
    pub fn of_cell(unit: Arc<Unit>, context: Arc<CellContext>) -> Self {
        let records = context.records().clone();
        Self {
            unit,
            context: Some(context),
            records,
            scope: RootScope::Cell,
            schema: SchemaRef::Fixed(control::cell()),
            home: None,
            pinned: None,
        }
    }

    /// The schema of an OData collection of a cell.
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
            home: Some(CollectionGuard::new(collection)),
            pinned: None,
        }
    }

    /// The data of an OData collection of a cell, by its schema as it is now.
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
            home: Some(CollectionGuard::new(collection)),
            pinned: None,
        })
    }

    /// The same, as long as a record stays as it is. Once it changed, everything is refused as a conflict.
    #[must_use]
    pub(crate) fn pinned_to(self, key: Key, version: CommitSeq) -> Self {
        Self {
            pinned: Some((key, version)),
            ..self
        }
    }

    /// Whether the schema changed since this root was made, or the record that it holds. What is written by an older schema
    /// is refused as a conflict, for it would lose the values that only the newer one knows.
    pub async fn is_stale(&self) -> Result<bool> {
        if let Some((key, version)) = &self.pinned {
            return Ok(self.records.find_version(key).await? != Some(*version));
        }
        let (RootScope::Data(collection), Some(schema)) = (self.scope, self.user()) else {
            return Ok(false);
        };
        let key = keys::schema_version(&collection);
        Ok(self.records.find_version(&key).await? != schema.version)
    }

    /// The same root by its schema as it is now.
    ///
    /// # Errors
    /// 404 if the cell or the collection is gone.
    pub async fn reloaded(&self) -> Result<Self> {
        let (RootScope::Data(collection), Some(context)) = (self.scope, &self.context) else {
            return Ok(self.clone());
        };
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
            home: self.reload_collection().await?,
            ..self.clone()
        })
    }

    /// The collection as it was found; `None` at unit and cell level.
    pub(super) fn collection_guard(&self) -> Option<CollectionGuard> {
        self.home.clone()
    }

    /// The collection as it is stored now; `None` at unit and cell level.
    ///
    /// # Errors
    /// 404 if it was removed or moved.
    pub(super) async fn reload_collection(&self) -> Result<Option<CollectionGuard>> {
        let Some(home) = self.collection_guard() else {
            return Ok(None);
        };
        let found = self.records.find::<Node>(&home.key).await?;
        match found.filter(|node| node.value.id == home.id) {
            Some(node) => Ok(Some(CollectionGuard {
                version: node.version,
                ..home
            })),
            None => Err(Error::new(Code::NoSuchResource).with(home.name)),
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

    /// What the root is about.
    #[must_use]
    pub fn scope(&self) -> RootScope {
        self.scope
    }

    /// The unit.
    #[must_use]
    pub fn unit(&self) -> &Arc<Unit> {
        &self.unit
    }

    /// The cell; `None` at unit level.
    #[must_use]
    pub fn context(&self) -> Option<&Arc<CellContext>> {
        self.context.as_ref()
    }

    pub(super) fn user(&self) -> Option<&UserSchema> {
        match &self.schema {
            SchemaRef::Fixed(_) => None,
            SchemaRef::User(user) => Some(user),
        }
    }

    /// The set of this name.
    ///
    /// # Errors
    /// 404 if there is none.
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
                let id = self.user()?.type_id(name)?;
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

    /// What a change in this root makes stale.
    pub(super) fn invalidation(&self) -> Invalidation {
        match self.scope {
            RootScope::Data(_) => Invalidation::None,
            RootScope::Unit | RootScope::Cell | RootScope::Schema(_) => Invalidation::Cell,
        }
    }

    /// Builds a batch and commits it; see [`Records::transact`].
    ///
    /// # Errors
    /// 503 if the schema is not that of this root any more.
    pub(super) async fn transact<T, F, Fut>(
        &self,
        invalidation: Invalidation,
        mut build: F,
    ) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<(Batch, T)>>,
    {
        let alone = || {
            let built = build();
            async move {
                let (batch, out) = built.await?;
                Ok((batch, PostCommit::none(), out))
            }
        };
        self.transact_with(invalidation, alone).await
    }

    /// As [`Self::transact`], with more that follows; see [`Unit::transact_with`].
    pub(super) async fn transact_with<T, F, Fut>(
        &self,
        invalidation: Invalidation,
        mut build: F,
    ) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<(Batch, PostCommit, T)>>,
    {
        let cell = self.context.as_ref().map(|context| context.cell());
        let mut attempts = 0;
        let invalidating = || {
            attempts += 1;
            let (is_again, built) = (attempts > 1, build());
            async move {
                if is_again && self.is_stale().await? {
                    return Err(Code::Conflict.into());
                }
                let (mut batch, more, out) = built.await?;
                self.assert_unchanged(&mut batch);
                let first = cell.map(|cell| PostCommit::invalidating(cell, invalidation));
                Ok((batch, first.unwrap_or_default().and(more), out))
            }
        };
        self.unit.transact_with(&self.records, invalidating).await
    }
}

impl ServiceRoot {
    /// Adds to a batch that writes data that the schema is still this one, to one that changes the schema that it did.
    fn assert_unchanged(&self, batch: &mut Batch) {
        if batch.is_empty() {
            return;
        }
        if let Some((key, version)) = &self.pinned {
            batch.assert(key.clone(), Expect::Version(*version));
        }
        match self.scope {
            RootScope::Data(collection) => {
                let version = self.user().and_then(|schema| schema.version);
                let expect = version.map_or(Expect::Absent, Expect::Version);
                batch.assert(keys::schema_version(&collection), expect);
            }
            RootScope::Schema(collection) => {
                batch.put(keys::schema_version(&collection), Vec::new());
            }
            RootScope::Unit | RootScope::Cell => {}
        }
    }
}

impl SetRef {
    /// The name of the set.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.entity_type.name
    }
}
