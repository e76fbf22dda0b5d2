//! Creates the schema of an OData collection.

use std::sync::Arc;

use personium_archive::BarEntry;
use personium_model::keys::ControlSet;
use personium_model::odata::{self, ServiceRoot};
use personium_odata::edmx::{self, Definitions, EdmxError, EndDefinition, PropertyDefinition};
use personium_odata::key::EntityKey;
use personium_types::{Code, Result};
use serde_json::{Value, json};

use crate::error::{InEntry, InstallError, InstallReason, InstallResult};
use crate::installer::{Installer, create_entity, members};

impl Installer {
    /// Creates the types, properties and associations that the entry defines.
    pub(crate) async fn install_schema(&self, path: &[String], entry: &BarEntry) -> InstallResult {
        self.start_odata_entries(&[entry]).await;
        let read = self.package.read_as(entry, |bytes| edmx::read(&bytes));
        let definitions = read.await?.map_err(|error| schema_error(entry, &error))?;
        self.create_types(path, entry, &definitions).await?;
        for association in definitions.associations {
            let ends = association.map_err(|error| schema_error(entry, &error))?;
            self.create_association(path, &ends).await.in_entry(entry)?;
        }
        self.end_entry(entry).await;
        Ok(())
    }

    async fn create_types(
        &self,
        path: &[String],
        entry: &BarEntry,
        definitions: &Definitions,
    ) -> InstallResult {
        use ControlSet::{ComplexType, ComplexTypeProperty, EntityType, Property};
        let named =
            |set, name: &String| (set, json!({"Name": name}), (name.clone(), String::new()));
        let property = |set, found: &PropertyDefinition, owner| {
            let place = (found.owner.to_string(), found.name.clone());
            (set, property_body(found, owner), place)
        };
        let complex = definitions.complex_types.iter();
        let types = definitions.entity_types.iter();
        let objects = complex
            .map(|name| named(ComplexType, name))
            .chain(
                definitions
                    .complex_properties
                    .iter()
                    .map(|found| property(ComplexTypeProperty, found, "_ComplexType.Name")),
            )
            .chain(types.map(|name| named(EntityType, name)))
            .chain(
                definitions
                    .properties
                    .iter()
                    .map(|found| property(Property, found, "_EntityType.Name")),
            );
        for (set, body, (owner, name)) in objects {
            if matches!(set, ComplexType | EntityType) {
                self.report_object(path, &format!("{}('{owner}')", set.name()))
                    .await;
            }
            let created = self.create_schema_object(path, set, &body).await;
            let line = definitions.lines.find(&owner, &name);
            created.at_line(entry, line.map(|line| line as usize))?;
        }
        Ok(())
    }

    /// Reports the creation of an object of the schema, by its set and key.
    async fn report_object(&self, path: &[String], object: &str) {
        let collection = path.last().map_or("", String::as_str);
        let Ok(context) = self.context().await else {
            return;
        };
        let cell = &context.cell().name;
        let object = format!("/{cell}/{}/{collection}/{object}", self.target.box_name);
        self.report_step(&object).await;
    }

    async fn create_association(&self, path: &[String], ends: &[EndDefinition; 2]) -> Result<()> {
        let [one, other] = ends;
        let role = |end: &EndDefinition| format!("'{}:{}'", end.entity_type, end.name);
        self.report_object(path, &format!("Association({},{})", role(one), role(other)))
            .await;
        for end in ends {
            let body = json!({
                "Name": end.name, "Multiplicity": end.multiplicity.as_str(), "_EntityType.Name": end.entity_type,
            });
            self.create_schema_object(path, ControlSet::AssociationEnd, &body)
                .await?;
        }
        self.link_ends(path, one, other).await
    }

    /// The service root of the schema of the collection.
    async fn schema_root(&self, path: &[String]) -> Result<ServiceRoot> {
        let resource = self.resource(path).await?;
        let target = resource.locate().await?;
        let (unit, context) = (Arc::clone(&self.unit), Arc::clone(&resource.context));
        Ok(ServiceRoot::of_schema(unit, context, target.node()))
    }

    async fn create_schema_object(
        &self,
        path: &[String],
        set: ControlSet,
        body: &Value,
    ) -> Result<()> {
        let root = self.schema_root(path).await?;
        let body = body.to_string();
        create_entity(&root, set, body.as_bytes(), &self.authority)
            .await
            .map(drop)
    }

    async fn link_ends(
        &self,
        path: &[String],
        one: &EndDefinition,
        other: &EndDefinition,
    ) -> Result<()> {
        let root = self.schema_root(path).await?;
        let set = root.set(ControlSet::AssociationEnd.name())?;
        let association = root
            .association(&set, "_AssociationEnd")
            .ok_or(Code::NoSuchAssociation)?;
        let key = |end: &EndDefinition| {
            EntityKey::compound(vec![Some(end.name.clone()), Some(end.entity_type.clone())])
        };
        let permit = self.authority.permit_link(&root, &association);
        odata::add_link(&root, &permit, &association, &key(one), &key(other)).await
    }
}

fn schema_error(entry: &BarEntry, error: &EdmxError) -> InstallError {
    let reason = match error {
        EdmxError::InvalidXml(..) => InstallReason::Syntax,
        EdmxError::InvalidDefinition(..) => InstallReason::Definition,
    };
    let line = error.line().map(|line| line as usize);
    InstallError::new(reason, entry.name(), error).at_line(line)
}

fn property_body(property: &PropertyDefinition, owner: &str) -> Value {
    // Some archives write `NONE` in capitals.
    let kind = property.collection_kind.as_deref().map(|kind| {
        let is_none = kind.eq_ignore_ascii_case("none");
        if is_none { "None" } else { kind }
    });
    let mut body = members([
        ("Name", Some(property.name.as_str())),
        (owner, Some(&*property.owner)),
        ("Type", Some(property.r#type.as_str())),
        ("CollectionKind", kind),
        ("DefaultValue", property.default.as_deref()),
    ]);
    if let Some(nullable) = property.nullable.as_deref() {
        let nullable = match nullable {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            other => Value::from(other),
        };
        body.insert("Nullable".to_owned(), nullable);
    }
    if property.is_declared.as_deref() == Some("false") {
        body.insert("IsDeclared".to_owned(), Value::Bool(false));
    }
    Value::Object(body)
}
