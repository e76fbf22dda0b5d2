//! The types and associations of one service root.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Association, ComplexType, End, EntityType, Multiplicity, NavigationProperty};

/// All types and associations below one service root.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schema {
    /// Namespace in type names and metadata.
    pub namespace: Arc<str>,
    types: Vec<Arc<EntityType>>,
    type_index: HashMap<Arc<str>, usize>,
    complex_types: Vec<ComplexType>,
    complex_index: HashMap<Arc<str>, usize>,
    associations: Vec<Association>,
}

impl Schema {
    /// An empty schema of that namespace.
    #[must_use]
    pub fn new(namespace: impl Into<Arc<str>>) -> Self {
        Self {
            namespace: namespace.into(),
            ..Self::default()
        }
    }

    /// Adds an entity type; a type of the same name is replaced.
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

    /// Adds a complex type; a type of the same name is replaced.
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

    /// Relates two types already added, under the association name `{a}-{b}-assoc`.
    ///
    /// Each end is its type, its multiplicity and the name of the navigation property that starts there.
    /// A self relation gets one navigation property. Unknown types are left without one.
    pub fn relate(&mut self, a: (&str, Multiplicity, &str), b: (&str, Multiplicity, &str)) {
        let roles = (format!("{}-{}", a.0, b.0), format!("{}-{}", b.0, a.0));
        self.relate_as(
            &format!("{}-{}-assoc", a.0, b.0),
            (&roles.0, a),
            (&roles.1, b),
        );
    }

    /// As [`Schema::relate`], with the name of the association and of both roles given.
    pub fn relate_as(
        &mut self,
        name: &str,
        (role_a, a): (&str, (&str, Multiplicity, &str)),
        (role_b, b): (&str, (&str, Multiplicity, &str)),
    ) {
        let (name, role_a, role_b): (Arc<str>, Arc<str>, Arc<str>) =
            (name.into(), role_a.into(), role_b.into());
        let navigate =
            |nav: &str, target: &str, from, to, from_role: &Arc<str>, to_role: &Arc<str>| {
                NavigationProperty {
                    name: nav.into(),
                    association: name.clone(),
                    target: target.into(),
                    from,
                    to,
                    from_role: from_role.clone(),
                    to_role: to_role.clone(),
                }
            };
        let forth = navigate(a.2, b.0, a.1, b.1, &role_a, &role_b);
        let back = navigate(b.2, a.0, b.1, a.1, &role_b, &role_a);
        self.add_navigation(a.0, forth);
        if a.0 != b.0 {
            self.add_navigation(b.0, back);
        }
        self.associations.push(Association {
            name,
            a: End {
                role: role_a,
                entity_type: a.0.into(),
                multiplicity: a.1,
            },
            b: End {
                role: role_b,
                entity_type: b.0.into(),
                multiplicity: b.1,
            },
        });
    }

    fn add_navigation(&mut self, type_name: &str, navigation: NavigationProperty) {
        if let Some(slot) = self
            .type_index
            .get(type_name)
            .and_then(|at| self.types.get_mut(*at))
        {
            Arc::make_mut(slot).navigation.push(navigation);
        }
    }

    /// The entity type (and so the set) of that name.
    #[must_use]
    pub fn entity_type(&self, name: &str) -> Option<&Arc<EntityType>> {
        self.type_index.get(name).and_then(|at| self.types.get(*at))
    }

    /// All entity types in the order they were added.
    #[must_use]
    pub fn entity_types(&self) -> &[Arc<EntityType>] {
        &self.types
    }

    /// The complex type of that name.
    #[must_use]
    pub fn complex_type(&self, name: &str) -> Option<&ComplexType> {
        self.complex_index
            .get(name)
            .and_then(|at| self.complex_types.get(*at))
    }

    /// All complex types in the order they were added.
    #[must_use]
    pub fn complex_types(&self) -> &[ComplexType] {
        &self.complex_types
    }

    /// All associations in the order they were made.
    #[must_use]
    pub fn associations(&self) -> &[Association] {
        &self.associations
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control;
    use crate::edm::{Kind, Property, SimpleType};

    #[test]
    fn self_relations_have_one_navigation_property() {
        let ends = control::schema().entity_type("AssociationEnd").unwrap();
        let names: Vec<_> = ends
            .navigation
            .iter()
            .map(|navigation| &*navigation.name)
            .collect();
        assert_eq!(names, ["_EntityType", "_AssociationEnd"]);
    }

    #[test]
    fn both_ends_know_each_other() {
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
                    (&back.target, back.to, back.from),
                    (&entity_type.name, navigation.from, navigation.to)
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
            (ext_role.from, ext_role.to),
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
    fn fixed_schemas_are_consistent() {
        for schema in [control::unit(), control::cell(), control::schema()] {
            for entity_type in schema.entity_types() {
                assert!(
                    entity_type
                        .key
                        .iter()
                        .all(|name| entity_type.properties.get(name).is_some())
                );
                for property in &entity_type.properties {
                    if let Kind::Complex(name) = &property.kind {
                        assert!(schema.complex_type(name).is_some(), "{name}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_type_added_again_takes_the_place_of_the_first() {
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
            .map(|own| &*own.name)
            .collect();
        assert_eq!(properties, ["__id", "__published", "__updated", "A", "b"]);
    }
}
