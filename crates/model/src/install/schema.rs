//! The schema of an OData collection of an archive.

use std::sync::Arc;

use personium_odata::edmx::{self, Definitions, EdmxError, EndDefinition, PropertyDefinition};
use personium_odata::key::EntityKey;
use personium_types::{Code, Result};
use serde_json::{Value, json};

use super::failure::{At, Failure, Fault, Outcome};
use super::package::BarEntry;
use super::{Installer, create_entity, members};
use crate::keys::ControlSet;
use crate::odata::{self, ServiceRoot};

impl Installer {
    /// Makes the types, properties and associations that the entry defines.
    pub(super) async fn install_schema(&self, path: &[String], entry: &BarEntry) -> Outcome {
        self.begin_entry(entry).await;
        let read = self.package.read_as(entry, |bytes| edmx::read(&bytes));
        let definitions = read.await?.map_err(|fault| refused(entry, &fault))?;
        self.define_types(path, &definitions).await.at(entry)?;
        for association in definitions.associations {
            let ends = association.map_err(|fault| refused(entry, &fault))?;
            self.define_association(path, &ends).await.at(entry)?;
        }
        self.end_entry(entry).await;
        Ok(())
    }

    async fn define_types(&self, path: &[String], definitions: &Definitions) -> Result<()> {
        use ControlSet::{ComplexType, ComplexTypeProperty, EntityType, Property};
        let named = |name: &String| json!({"Name": name});
        for name in &definitions.complex_types {
            self.object(path, ComplexType, &named(name)).await?;
        }
        for property in &definitions.complex_properties {
            let body = property_body(property, "_ComplexType.Name");
            self.object(path, ComplexTypeProperty, &body).await?;
        }
        for name in &definitions.entity_types {
            self.object(path, EntityType, &named(name)).await?;
        }
        for property in &definitions.properties {
            let body = property_body(property, "_EntityType.Name");
            self.object(path, Property, &body).await?;
        }
        Ok(())
    }

    async fn define_association(&self, path: &[String], ends: &[EndDefinition; 2]) -> Result<()> {
        for end in ends {
            let body = json!({
                "Name": end.name, "Multiplicity": end.multiplicity.as_str(), "_EntityType.Name": end.entity_type,
            });
            self.object(path, ControlSet::AssociationEnd, &body).await?;
        }
        let [one, other] = ends;
        self.associate(path, one, other).await
    }

    /// The schema of the collection as it is now.
    async fn schema_root(&self, path: &[String]) -> Result<ServiceRoot> {
        let resource = self.resource(path).await?;
        let target = resource.locate().await?;
        let (unit, context) = (Arc::clone(&self.unit), Arc::clone(&resource.context));
        Ok(ServiceRoot::of_schema(unit, context, target.node()))
    }

    async fn object(&self, path: &[String], set: ControlSet, body: &Value) -> Result<()> {
        let root = self.schema_root(path).await?;
        let body = body.to_string();
        create_entity(&root, set, body.as_bytes(), &self.authority)
            .await
            .map(drop)
    }

    async fn associate(
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

fn refused(entry: &BarEntry, fault: &EdmxError) -> Failure {
    let kind = match fault {
        EdmxError::InvalidXml(_) => Fault::Syntax,
        EdmxError::InvalidDefinition(_) => Fault::Definition,
    };
    Failure::new(kind, entry.name(), fault)
}

fn property_body(property: &PropertyDefinition, owner: &str) -> Value {
    // Some archives write the kind of what is no list in capitals.
    let kind = property.collection_kind.as_deref().map(|kind| {
        let none = kind.eq_ignore_ascii_case("none");
        if none { "None" } else { kind }
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
    Value::Object(body)
}
