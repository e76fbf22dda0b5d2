//! The schema of one service root.

use std::collections::HashMap;
use std::sync::Arc;

use super::{
    Association, AssociationEnd, ComplexType, EntityType, Multiplicity, NavigationProperty,
};

/// One end of an association that is to be added to a [`Schema`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewAssociationEnd<'a> {
    /// The name of the entity type at this end.
    pub entity_type: &'a str,
    /// The multiplicity of this end.
    pub multiplicity: Multiplicity,
    /// The name of the navigation property that leads from this end to the other one.
    pub navigation: &'a str,
    /// The role of this end, `None` for a generated one.
    pub role: Option<&'a str>,
}

impl<'a> NewAssociationEnd<'a> {
    /// An end with a generated role.
    #[must_use]
    pub fn new(entity_type: &'a str, multiplicity: Multiplicity, navigation: &'a str) -> Self {
        Self {
            entity_type,
            multiplicity,
            navigation,
            role: None,
        }
    }

    /// Sets the role.
    #[must_use]
    pub fn with_role(mut self, role: &'a str) -> Self {
        self.role = Some(role);
        self
    }

    fn end(&self, other_type: &str) -> AssociationEnd {
        let generated = || format!("{}-{other_type}", self.entity_type).into();
        AssociationEnd {
            role: self.role.map_or_else(generated, Arc::from),
            entity_type: self.entity_type.into(),
            multiplicity: self.multiplicity,
        }
    }
}

/// All types and associations below one service root.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schema {
    /// The namespace of the types.
    pub namespace: Arc<str>,
    types: Vec<Arc<EntityType>>,
    type_index: HashMap<Arc<str>, usize>,
    complex_types: Vec<ComplexType>,
    complex_index: HashMap<Arc<str>, usize>,
    associations: Vec<Association>,
}

impl Schema {
    /// An empty schema with this namespace.
    #[must_use]
    pub fn new(namespace: impl Into<Arc<str>>) -> Self {
        Self {
            namespace: namespace.into(),
            ..Self::default()
        }
    }

    /// Adds an entity type. It replaces a type with the same name.
    pub fn add_type(&mut self, entity_type: EntityType) {
        let name = entity_type.name.clone();
        if let Some(slot) = self
            .type_index
            .get(&name)
            .and_then(|at| self.types.get_mut(*at))
        {
            *slot = Arc::new(entity_type);
            return;
        }
        self.type_index.insert(name, self.types.len());
        self.types.push(Arc::new(entity_type));
    }

    /// Adds a complex type. It replaces a type with the same name.
    pub fn add_complex_type(&mut self, complex: ComplexType) {
        let name = complex.name.clone();
        if let Some(slot) = self
            .complex_index
            .get(&name)
            .and_then(|at| self.complex_types.get_mut(*at))
        {
            *slot = complex;
            return;
        }
        self.complex_index.insert(name, self.complex_types.len());
        self.complex_types.push(complex);
    }

    /// Adds the association `{a}-{b}-assoc` between two types that were added before, and a navigation property
    /// to each of them.
    ///
    /// An end without role gets the role `{type}-{other type}`. An association of a type with itself adds one
    /// navigation property, that of `a`. A type that is not part of the schema gets no navigation property.
    pub fn add_association(&mut self, a: NewAssociationEnd<'_>, b: NewAssociationEnd<'_>) {
        let name = format!("{}-{}-assoc", a.entity_type, b.entity_type);
        self.add_named_association(&name, a, b);
    }

    /// Adds an association as [`Schema::add_association`] does, under the given name.
    pub fn add_named_association(
        &mut self,
        name: &str,
        a: NewAssociationEnd<'_>,
        b: NewAssociationEnd<'_>,
    ) {
        let name = Arc::from(name);
        let end_a = a.end(b.entity_type);
        let end_b = b.end(a.entity_type);
        self.add_navigation(
            navigation_property(&name, a.navigation, &end_a, &end_b),
            &end_a,
        );
        if a.entity_type != b.entity_type {
            self.add_navigation(
                navigation_property(&name, b.navigation, &end_b, &end_a),
                &end_b,
            );
        }
        self.associations.push(Association {
            name,
            a: end_a,
            b: end_b,
        });
    }

    fn add_navigation(&mut self, navigation: NavigationProperty, start: &AssociationEnd) {
        if let Some(slot) = self
            .type_index
            .get(&start.entity_type)
            .and_then(|at| self.types.get_mut(*at))
        {
            Arc::make_mut(slot).navigation.push(navigation);
        }
    }

    /// The entity type with this name.
    #[must_use]
    pub fn entity_type(&self, name: &str) -> Option<&Arc<EntityType>> {
        self.type_index.get(name).and_then(|at| self.types.get(*at))
    }

    /// The entity types in the order in which they were added.
    #[must_use]
    pub fn entity_types(&self) -> &[Arc<EntityType>] {
        &self.types
    }

    /// The complex type with this name.
    #[must_use]
    pub fn complex_type(&self, name: &str) -> Option<&ComplexType> {
        self.complex_index
            .get(name)
            .and_then(|at| self.complex_types.get(*at))
    }

    /// The complex types in the order in which they were added.
    #[must_use]
    pub fn complex_types(&self) -> &[ComplexType] {
        &self.complex_types
    }

    /// The associations in the order in which they were added.
    #[must_use]
    pub fn associations(&self) -> &[Association] {
        &self.associations
    }
}

fn navigation_property(
    association: &Arc<str>,
    name: &str,
    from: &AssociationEnd,
    to: &AssociationEnd,
) -> NavigationProperty {
    NavigationProperty {
        name: name.into(),
        association: association.clone(),
        target: to.entity_type.clone(),
        from_multiplicity: from.multiplicity,
        to_multiplicity: to.multiplicity,
        from_role: from.role.clone(),
        to_role: to.role.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control;
    use crate::edm::{Property, SimpleType, ValueType};

    #[test]
    fn association_of_a_type_with_itself_adds_one_navigation_property() {
        let ends = control::schema().entity_type("AssociationEnd").unwrap();
        let names: Vec<_> = ends
            .navigation
            .iter()
            .map(|navigation| &*navigation.name)
            .collect();
        assert_eq!(names, ["_EntityType", "_AssociationEnd"]);
    }

    #[test]
    fn navigation_properties_of_both_ends_correspond() {
        let cell = control::cell();
        for entity_type in cell.entity_types() {
            for navigation in &entity_type.navigation {
                let target = cell.entity_type(&navigation.target).unwrap();
                let back = target
                    .navigation
                    .iter()
                    .find(|back| back.association == navigation.association)
                    .unwrap();
                assert_eq!(
                    (&back.target, back.to_multiplicity, back.from_multiplicity),
                    (
                        &entity_type.name,
                        navigation.from_multiplicity,
                        navigation.to_multiplicity
                    )
                );
                assert_eq!(
                    (&back.from_role, &back.to_role),
                    (&navigation.to_role, &navigation.from_role)
                );
            }
        }
        let ext_role = cell
            .entity_type("ExtRole")
            .unwrap()
            .navigation("_Relation")
            .unwrap();
        assert_eq!(
            (ext_role.from_multiplicity, ext_role.to_multiplicity),
            (Multiplicity::Many, Multiplicity::One)
        );
        assert_eq!(
            &*cell
                .entity_type("Account")
                .unwrap()
                .navigation("_ReceivedMessageRead")
                .unwrap()
                .target,
            "ReceivedMessage"
        );
    }

    #[test]
    fn fixed_schemas_define_their_keys_and_complex_types() {
        for schema in [control::unit(), control::cell(), control::schema()] {
            for entity_type in schema.entity_types() {
                assert!(
                    entity_type
                        .key
                        .iter()
                        .all(|name| entity_type.properties.get(name).is_some())
                );
                for property in &entity_type.properties {
                    if let ValueType::Complex(name) = &property.value_type {
                        assert!(schema.complex_type(name).is_some(), "{name}");
                    }
                }
            }
        }
    }

    #[test]
    fn type_with_a_known_name_replaces_the_first_at_its_position() {
        let mut schema = Schema::new("UserData");
        schema.add_type(EntityType::user_data("B", vec![]));
        schema.add_type(EntityType::user_data("A", vec![]));
        let two = vec![
            Property::new("b", SimpleType::String),
            Property::new("A", SimpleType::Double),
        ];
        schema.add_type(EntityType::user_data("B", two));
        let names: Vec<_> = schema
            .entity_types()
            .iter()
            .map(|entity_type| &*entity_type.name)
            .collect();
        assert_eq!(names, ["B", "A"]);
        let properties: Vec<_> = schema
            .entity_type("B")
            .unwrap()
            .properties
            .iter()
            .map(|property| &*property.name)
            .collect();
        assert_eq!(properties, ["__id", "__published", "__updated", "A", "b"]);
    }
}
