//! Metadata documents (EDMX): [`document`] writes one for a schema, [`read()`] parses one into definitions.
//!
//! ```
//! use personium_odata::edm::{EntityType, Property, Schema, SimpleType};
//! use personium_odata::edmx;
//!
//! let mut schema = Schema::new("UserData");
//! let title = Property::new("title", SimpleType::String);
//! schema.add_type(EntityType::user_data("Book", vec![title]));
//!
//! let definitions = edmx::read(edmx::document(&schema).as_bytes())?;
//! assert_eq!(definitions.entity_types, ["Book"]);
//! assert_eq!(definitions.properties[0].r#type, "Edm.String");
//! # Ok::<(), edmx::EdmxError>(())
//! ```

mod names;
mod read;

pub use read::{
    DefinitionLines, Definitions, EdmxError, EndDefinition, PropertyDefinition, SourceLine, read,
};

use self::names::AssociationNames;
use crate::dialect::Dialect;
use crate::edm::{
    AssociationEnd, ComplexType, EntityType, NavigationProperty, Property, PropertyOrigin, Schema,
    ValueType,
};
use crate::xml::{
    DATA_NAMESPACE, DECLARATION, METADATA_NAMESPACE, push_attribute, push_attributes,
};

const EDMX_NAMESPACE: &str = "http://schemas.microsoft.com/ado/2007/06/edmx";
const EDM_NAMESPACE: &str = "http://schemas.microsoft.com/ado/2006/04/edm";
const PERSONIUM_NAMESPACE: &str = "urn:x-personium:xmlns";

/// The metadata document of a schema, with types, properties and associations in its order.
#[must_use]
pub fn document(schema: &Schema) -> String {
    document_in(schema, Dialect::Original)
}

/// As [`document`]. In [`Dialect::Standard`] the names of associations and roles are simple identifiers.
#[must_use]
pub fn document_in(schema: &Schema, dialect: Dialect) -> String {
    let names = AssociationNames::new(schema, dialect);
    let mut out = String::with_capacity(4096);
    out.push_str(DECLARATION);
    out.push_str("<edmx:Edmx");
    push_attributes(
        &mut out,
        &[
            ("Version", "1.0"),
            ("xmlns:edmx", EDMX_NAMESPACE),
            ("xmlns:d", DATA_NAMESPACE),
            ("xmlns:m", METADATA_NAMESPACE),
            ("xmlns:p", PERSONIUM_NAMESPACE),
        ],
    );
    out.push_str("><edmx:DataServices m:DataServiceVersion=\"1.0\"><Schema");
    push_attributes(
        &mut out,
        &[("xmlns", EDM_NAMESPACE), ("Namespace", &schema.namespace)],
    );
    out.push('>');
    for complex in schema.complex_types() {
        push_complex_type(&mut out, schema, complex);
    }
    for entity_type in schema.entity_types() {
        push_entity_type(&mut out, schema, entity_type, &names);
    }
    push_associations(&mut out, schema, &names);
    push_container(&mut out, schema, &names);
    out.push_str("</Schema></edmx:DataServices></edmx:Edmx>");
    out
}

fn qualified(schema: &Schema, name: &str) -> String {
    format!("{}.{name}", schema.namespace)
}

fn push_complex_type(out: &mut String, schema: &Schema, complex: &ComplexType) {
    out.push_str("<ComplexType");
    push_attribute(out, "Name", &complex.name);
    out.push('>');
    for property in &complex.properties {
        push_property(out, schema, property);
    }
    out.push_str("</ComplexType>");
}

fn push_entity_type(
    out: &mut String,
    schema: &Schema,
    entity_type: &EntityType,
    names: &AssociationNames<'_>,
) {
    out.push_str("<EntityType");
    push_attribute(out, "Name", &entity_type.name);
    if entity_type.is_open() {
        push_attribute(out, "OpenType", "true");
    }
    out.push_str("><Key>");
    for name in &entity_type.key {
        out.push_str("<PropertyRef");
        push_attribute(out, "Name", name);
        out.push_str("/>");
    }
    out.push_str("</Key>");
    for property in &entity_type.properties {
        push_property(out, schema, property);
    }
    for navigation in &entity_type.navigation {
        push_navigation(out, schema, navigation, names);
    }
    out.push_str("</EntityType>");
}

fn push_property(out: &mut String, schema: &Schema, property: &Property) {
    let type_name = match &property.value_type {
        ValueType::Simple(simple) => simple.name().to_owned(),
        ValueType::Complex(name) => qualified(schema, name),
    };
    out.push_str("<Property");
    let nullable = if property.nullable { "true" } else { "false" };
    push_attributes(
        out,
        &[
            ("Name", &property.name),
            ("Type", &type_name),
            ("Nullable", nullable),
        ],
    );
    if property.is_list() {
        push_attribute(out, "CollectionKind", "List");
    }
    if let Some(literal) = &property.default {
        push_attribute(out, "DefaultValue", literal);
    }
    if let Some(precision) = property.precision {
        push_attribute(out, "Precision", &precision.to_string());
    }
    if let Some(format) = property
        .format
        .and_then(crate::constraint::Format::metadata_text)
    {
        push_attribute(out, "p:Format", &format);
    }
    if let Some(unique) = &property.unique {
        push_attribute(out, "p:Unique", unique);
    }
    if property.origin == PropertyOrigin::Dynamic {
        push_attribute(out, "p:IsDeclared", "false");
    }
    out.push_str("/>");
}

fn push_navigation(
    out: &mut String,
    schema: &Schema,
    navigation: &NavigationProperty,
    names: &AssociationNames<'_>,
) {
    let [association, from, to] = names.of_navigation(navigation);
    let relationship = qualified(schema, association);
    out.push_str("<NavigationProperty");
    push_attributes(
        out,
        &[
            ("Name", &navigation.name),
            ("Relationship", &relationship),
            ("FromRole", from),
            ("ToRole", to),
        ],
    );
    out.push_str("/>");
}

fn push_associations(out: &mut String, schema: &Schema, names: &AssociationNames<'_>) {
    let push_end = |out: &mut String, end: &AssociationEnd, role: &str| {
        out.push_str("<End");
        push_attributes(
            out,
            &[
                ("Role", role),
                ("Type", &qualified(schema, &end.entity_type)),
                ("Multiplicity", end.multiplicity.as_str()),
            ],
        );
        out.push_str("/>");
    };
    for (association, names) in names.iter() {
        out.push_str("<Association");
        push_attribute(out, "Name", &names.association);
        out.push('>');
        let [a, b] = &names.roles;
        push_end(out, &association.a, a);
        push_end(out, &association.b, b);
        out.push_str("</Association>");
    }
}

fn push_container(out: &mut String, schema: &Schema, names: &AssociationNames<'_>) {
    out.push_str("<EntityContainer");
    push_attributes(
        out,
        &[
            ("Name", &schema.namespace),
            ("m:IsDefaultEntityContainer", "true"),
        ],
    );
    out.push('>');
    for entity_type in schema.entity_types() {
        out.push_str("<EntitySet");
        let name = &entity_type.name;
        push_attributes(
            out,
            &[("Name", name), ("EntityType", &qualified(schema, name))],
        );
        out.push_str("/>");
    }
    for (association, names) in names.iter() {
        out.push_str("<AssociationSet");
        let name = &names.association;
        push_attributes(
            out,
            &[("Name", name), ("Association", &qualified(schema, name))],
        );
        out.push('>');
        let ends = [&association.a, &association.b];
        for (end, role) in ends.into_iter().zip(&names.roles) {
            out.push_str("<End");
            push_attributes(out, &[("Role", role), ("EntitySet", &end.entity_type)]);
            out.push_str("/>");
        }
        out.push_str("</AssociationSet>");
    }
    out.push_str("</EntityContainer>");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control;
    use crate::edm::{ComplexType, Multiplicity, NewAssociationEnd, PropertyList, SimpleType};

    #[test]
    fn document_of_the_unit_has_the_set_of_cells() {
        let text = document(control::unit());
        assert!(text.contains(
            "<Schema xmlns=\"http://schemas.microsoft.com/ado/2006/04/edm\" Namespace=\"UnitCtl\">\
             <EntityType Name=\"Cell\"><Key><PropertyRef Name=\"Name\"/></Key>\
             <Property Name=\"Name\" Type=\"Edm.String\" Nullable=\"false\" p:Format=\"regEx('^[a-z0-9][a-z0-9-]{0,127}$')\"/>\
             <Property Name=\"__published\" Type=\"Edm.DateTime\" Nullable=\"false\" DefaultValue=\"SYSUTCDATETIME()\" Precision=\"3\"/>"
        ));
        assert!(text.ends_with(
            "<EntityContainer Name=\"UnitCtl\" m:IsDefaultEntityContainer=\"true\"><EntitySet Name=\"Cell\" EntityType=\"UnitCtl.Cell\"/>\
             </EntityContainer></Schema></edmx:DataServices></edmx:Edmx>"
        ));
    }

    #[test]
    fn associations_have_roles_and_entity_sets() {
        let text = document(control::schema());
        for part in [
            "<Association Name=\"EntityType-Property-assoc\"><End Role=\"EntityType-Property\" Type=\"ODataSvcSchema.EntityType\" Multiplicity=\"1\"/>\
             <End Role=\"Property-EntityType\" Type=\"ODataSvcSchema.Property\" Multiplicity=\"*\"/></Association>",
            "<NavigationProperty Name=\"_AssociationEnd\" Relationship=\"ODataSvcSchema.AssociationEnd-AssociationEnd-assoc\" \
             FromRole=\"AssociationEnd-AssociationEnd\" ToRole=\"AssociationEnd-AssociationEnd\"/></EntityType>",
            "<Property Name=\"CollectionKind\" Type=\"Edm.String\" Nullable=\"true\" DefaultValue=\"None\"/>",
            "<Property Name=\"Multiplicity\" Type=\"Edm.String\" Nullable=\"false\" p:Format=\"regEx('0\\.\\.1|1|\\*')\"/>",
        ] {
            assert!(text.contains(part), "{part}");
        }
        let cell = document(control::cell());
        assert!(cell.contains("p:Format=\"schema-uri\" p:Unique=\"uk_box_schema\"/>"));
        assert!(cell.contains("<Property Name=\"Result\" Type=\"CellCtl.Sent_Message_Result\" Nullable=\"true\" CollectionKind=\"List\"/>"));
    }

    #[test]
    fn names_of_associations_are_identifiers_in_the_standard_dialect() {
        let mut schema = Schema::new(control::USER_NAMESPACE);
        for name in ["A-B", "A", "B-C", "C", "1"] {
            schema.add_type(EntityType::user_data(name, vec![]));
        }
        for (a, b) in [("A-B", "C"), ("A", "B-C"), ("1", "1")] {
            let (to, back) = (format!("_{b}"), format!("_{a}"));
            let end_a = NewAssociationEnd::new(a, Multiplicity::One, &to);
            let end_b = NewAssociationEnd::new(b, Multiplicity::Many, &back);
            schema.add_association(end_a, end_b);
        }
        for schema in [&schema, control::cell(), control::schema()] {
            let text = document_in(schema, Dialect::Standard);
            let mut names = std::collections::HashSet::new();
            for part in text.split('<') {
                let value = |name: &str| {
                    let tail = part.split_once(&format!(" {name}=\""))?.1;
                    tail.split_once('"').map(|(value, _)| value)
                };
                let is_association = part.starts_with("Association ");
                let mut found = vec![value("Role"), value("FromRole"), value("ToRole")];
                found.push(value("Relationship").and_then(|name| Some(name.split_once('.')?.1)));
                if is_association {
                    found.push(value("Name"));
                    assert!(names.insert(value("Name")), "{part} is not unique");
                }
                for name in found.into_iter().flatten() {
                    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
                    assert!(name.chars().all(is_name), "{name}");
                    assert!(!name.starts_with(|c: char| c.is_ascii_digit()), "{name}");
                }
            }
        }
        let text = document_in(control::schema(), Dialect::Standard);
        for part in [
            "<Association Name=\"AssociationEnd_AssociationEnd_assoc\"><End Role=\"AssociationEnd_AssociationEnd\"",
            "<End Role=\"AssociationEnd_AssociationEnd_2\"",
            "Relationship=\"ODataSvcSchema.EntityType_Property_assoc\" FromRole=\"Property_EntityType\" \
             ToRole=\"EntityType_Property\"/>",
            "<AssociationSet Name=\"EntityType_Property_assoc\" Association=\"ODataSvcSchema.EntityType_Property_assoc\">\
             <End Role=\"EntityType_Property\" EntitySet=\"EntityType\"/>",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn user_types_are_open_and_values_are_escaped() {
        let mut schema = Schema::new(control::USER_NAMESPACE);
        let escaped = Property::new("p", SimpleType::String).with_default("<\"\u{1}\n");
        schema.add_complex_type(ComplexType {
            name: "C".into(),
            properties: PropertyList::new(vec![escaped]),
        });
        let dynamic = Property::new("d", SimpleType::Double).with_origin(PropertyOrigin::Dynamic);
        schema.add_type(EntityType::user_data("A", vec![dynamic]));
        schema.add_type(EntityType::user_data("B", vec![]));
        let a = NewAssociationEnd::new("A", Multiplicity::One, "_B");
        let b = NewAssociationEnd::new("B", Multiplicity::Many, "_A");
        schema.add_named_association("A-B-assoc", a.with_role("A:x"), b.with_role("B:y"));
        let text = document(&schema);
        for part in [
            "DefaultValue=\"&lt;&quot;\u{fffd}&#10;\"",
            "<EntityType Name=\"A\" OpenType=\"true\"><Key><PropertyRef Name=\"__id\"/></Key>\
             <Property Name=\"__id\" Type=\"Edm.String\" Nullable=\"false\" DefaultValue=\"UUID()\" p:Format=\"regEx('^.{1,400}$')\"/>",
            "<Property Name=\"d\" Type=\"Edm.Double\" Nullable=\"true\" p:IsDeclared=\"false\"/>",
            "<NavigationProperty Name=\"_A\" Relationship=\"UserData.A-B-assoc\" FromRole=\"B:y\" ToRole=\"A:x\"/>",
        ] {
            assert!(text.contains(part), "{part}");
        }
    }
}
