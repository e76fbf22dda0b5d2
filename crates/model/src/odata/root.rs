//! Service roots and their sets.

use std::sync::Arc;

use personium_odata::control;
use personium_odata::edm::{EntityType, Schema};
use personium_store::{Batch, Expect, Key, Stamp};
use personium_types::{Code, Error, NodeId, Result};

use super::user_schema::{self, UserSchema};
use crate::keys::{self, ControlSet, SetKey};
use crate::locate::Located;
use crate::node::Node;
use crate::records::Records;
use crate::unit::Invalidation;
use crate::{CellContext, PostCommit, Unit};

/// What a service root is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
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
pub struct Root {
    pub(super) unit: Arc<Unit>,
    pub(super) context: Option<Arc<CellContext>>,
    pub(super) records: Records,
    pub(super) scope: Scope,
    schema: SchemaRef,
    home: Option<Home>,
    /// A record that must stay as it is, and its version.
    held: Option<(Key, Stamp)>,
}

/// The record of an OData collection: while it stands unchanged, the collection is neither removed nor moved.
#[derive(Debug, Clone)]
pub(super) struct Home {
    name: String,
    key: Key,
    id: NodeId,
    version: Stamp,
}

impl Home {
    fn of(found: &Located) -> Self {
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

impl Root {
    /// The control objects of the unit.
    #[must_use]
    pub fn unit(unit: Arc<Unit>) -> Self {
        let records = unit.records();
        Self {
            unit,
            context: None,
            records,
            scope: Scope::Unit,
            schema: SchemaRef::Fixed(control::unit()),
            home: None,
            held: None,
        }
    }

    /// The control objects of a cell.
    #[must_use]
    pub fn cell(unit: Arc<Unit>, context: Arc<CellContext>) -> Self {
        let records = context.records().clone();
        Self {
            unit,
            context: Some(context),
            records,
            scope: Scope::Cell,
            schema: SchemaRef::Fixed(control::cell()),
            home: None,
            held: None,
        }
    }

    /// The schema of an OData collection of a cell.
    #[must_use]
    pub fn schema(unit: Arc<Unit>, context: Arc<CellContext>, collection: &Located) -> Self {
        let records = context.records().clone();
        let schema = SchemaRef::Fixed(control::schema());
        Self {
            unit,
            context: Some(context),
            records,
            scope: Scope::Schema(collection.value().id),
            schema,
            home: Some(Home::of(collection)),
            held: None,
        }
    }

    /// The data of an OData collection of a cell, by its schema as it is now.
    pub async fn data(
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
            scope: Scope::Data(id),
            schema,
            home: Some(Home::of(collection)),
            held: None,
        })
    }

    /// The same, as long as a record stays as it is. Once it changed, everything is refused as a conflict.
    #[must_use]
    pub(crate) fn holding(self, key: Key, version: Stamp) -> Self {
        Self {
            held: Some((key, version)),
            ..self
        }
    }

    /// Whether the schema changed since this root was made, or the record that it holds. What is written by an older schema
    /// is refused as a conflict, for it would lose the values that only the newer one knows.
    pub async fn is_outdated(&self) -> Result<bool> {
        if let Some((key, version)) = &self.held {
            return Ok(self.records.find_version(key).await? != Some(*version));
        }
        let (Scope::Data(collection), Some(schema)) = (self.scope, self.user()) else {
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
        let (Scope::Data(collection), Some(context)) = (self.scope, &self.context) else {
            return Ok(self.clone());
        };
        if self.is_outdated().await? {
            self.unit.invalidate_cell(context.cell());
        }
        let found = self.unit.find_cell(&context.cell().name).await?;
        let context = found.ok_or(Code::NoSuchCell)?;
        let schema = user_schema::load(&context, &collection).await?;
        Ok(Self {
            records: context.records().clone(),
            context: Some(context),
            schema: SchemaRef::User(schema),
            home: self.home_now().await?,
            ..self.clone()
        })
    }

    /// The collection as it was found; `None` at unit and cell level.
    pub(super) fn home(&self) -> Option<Home> {
        self.home.clone()
    }

    /// The collection as it is stored now; `None` at unit and cell level.
    ///
    /// # Errors
    /// 404 if it was removed or moved.
    pub(super) async fn home_now(&self) -> Result<Option<Home>> {
        let Some(home) = self.home() else {
            return Ok(None);
        };
        let found = self.records.find::<Node>(&home.key).await?;
        match found.filter(|node| node.value.id == home.id) {
            Some(node) => Ok(Some(Home {
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
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// The unit.
    #[must_use]
    pub fn owner(&self) -> &Arc<Unit> {
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
            Scope::Unit | Scope::Cell => {
                let set = ControlSet::named(name)?;
                (SetKey::control(set), Some(set), None)
            }
            Scope::Schema(collection) => {
                let set = ControlSet::named(name)?;
                (SetKey::schema(collection, set), Some(set), None)
            }
            Scope::Data(collection) => {
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
            Scope::Data(_) => Invalidation::None,
            Scope::Unit | Scope::Cell | Scope::Schema(_) => Invalidation::Cell,
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
                if is_again && self.is_outdated().await? {
                    return Err(Code::Conflict.into());
                }
                let (mut batch, more, out) = built.await?;
                self.hold(&mut batch);
                let first = cell.map(|cell| PostCommit::invalidating(cell, invalidation));
                Ok((batch, first.unwrap_or_default().and(more), out))
            }
        };
        self.unit.transact_with(&self.records, invalidating).await
    }
}

impl Root {
    /// Adds to a batch that writes data that the schema is still this one, to one that changes the schema that it did.
    fn hold(&self, batch: &mut Batch) {
        if batch.is_empty() {
            return;
        }
        if let Some((key, version)) = &self.held {
            batch.assert(key.clone(), Expect::Version(*version));
        }
        match self.scope {
            Scope::Data(collection) => {
                let version = self.user().and_then(|schema| schema.version);
                let expect = version.map_or(Expect::Absent, Expect::Version);
                batch.assert(keys::schema_version(&collection), expect);
            }
            Scope::Schema(collection) => {
                batch.put(keys::schema_version(&collection), Vec::new());
            }
            Scope::Unit | Scope::Cell => {}
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
