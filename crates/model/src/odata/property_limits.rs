//! Limits on the number of properties of entity types and complex types.

use personium_odata::edm::{PropertyList, Schema, ValueType};
use personium_odata::value::Properties;
use personium_types::{Code, Result};

use super::root::{ServiceRoot, SetRef};
use crate::keys::ControlSet;
use crate::settings::ODataSettings;

/// The largest depth of complex types in each other.
pub(super) const MAX_DEPTH: usize = 16;
/// The number of properties of one entity type after which counting stops.
const MAX_COUNTED: usize = 100_000;

/// A property that is about to be added to a schema.
struct AddedProperty<'a> {
    /// The type that it is added to.
    owner: Owner<'a>,
    /// The complex type of its values; `None` for simple values.
    complex_type: Option<&'a str>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner<'a> {
    EntityType(&'a str),
    ComplexType(&'a str),
}

impl<'a> AddedProperty<'a> {
    fn new(set: &SetRef, properties: &'a Properties) -> Self {
        let text = |name: &str| properties.text(name).unwrap_or_default();
        Self {
            owner: match set.control {
                Some(ControlSet::ComplexTypeProperty) => {
                    Owner::ComplexType(text("_ComplexType.Name"))
                }
                _ => Owner::EntityType(text("_EntityType.Name")),
            },
            complex_type: properties
                .text("Type")
                .filter(|name| !name.starts_with("Edm.")),
        }
    }
}

/// Checks that a declared property does not exceed the limits: those of each level of nesting and of whole types.
///
/// # Errors
/// [`Code::PropertyLimit`].
pub(super) fn check_declared(
    schema: &Schema,
    set: &SetRef,
    properties: &Properties,
    limits: &ODataSettings,
) -> Result<()> {
    let added = AddedProperty::new(set, properties);
    let mut is_used = false;
    for entity_type in schema.entity_types() {
        let mut count = PropertyCount {
            schema,
            added: &added,
            simple: vec![0; MAX_DEPTH],
            complex: vec![0; MAX_DEPTH],
            total: 0,
            includes_added: false,
        };
        let own = Some(&entity_type.properties);
        count.count_type(Owner::EntityType(&entity_type.name), own, 0)?;
        if count.includes_added {
            is_used = true;
            count.check(limits)?;
        }
    }
    match added.owner {
        Owner::ComplexType(owner) if !is_used => check_unused(schema, owner, &added, limits),
        _ => Ok(()),
    }
}

/// The number of properties of an entity type with those of its complex types, including the added one.
struct PropertyCount<'a> {
    schema: &'a Schema,
    added: &'a AddedProperty<'a>,
    /// The largest number of simple properties of a type, for each level.
    simple: Vec<usize>,
    /// The largest number of complex properties of a type, for each level.
    complex: Vec<usize>,
    total: usize,
    /// Whether the added property belongs to the entity type or one of its complex types.
    includes_added: bool,
}

impl PropertyCount<'_> {
    /// Counts the properties of a type at a level, and those of its complex types below it.
    fn count_type(
        &mut self,
        this: Owner<'_>,
        own: Option<&PropertyList>,
        depth: usize,
    ) -> Result<()> {
        if depth >= MAX_DEPTH || self.total > MAX_COUNTED {
            return Err(Code::PropertyLimit.into());
        }
        let mut simple = 0;
        let mut complex: Vec<&str> = Vec::new();
        for property in own
            .into_iter()
            .flatten()
            .filter(|p| !p.name.starts_with('_'))
        {
            match &property.value_type {
                ValueType::Simple(_) => simple += 1,
                ValueType::Complex(type_name) => complex.push(type_name),
            }
        }
        if this == self.added.owner {
            self.includes_added = true;
            match self.added.complex_type {
                None => simple += 1,
                Some(name) => complex.push(name),
            }
        }
        self.add(depth, simple, complex.len());
        for name in complex {
            let inner = self.schema.complex_type(name).map(|c| &c.properties);
            let this = Owner::ComplexType(name);
            if inner.is_some() || this == self.added.owner {
                self.count_type(this, inner, depth + 1)?;
            }
        }
        Ok(())
    }

    /// Adds the numbers of one type. The limit of a level is that of each type, so only the largest number is kept.
    fn add(&mut self, depth: usize, simple: usize, complex: usize) {
        for (levels, own) in [(&mut self.simple, simple), (&mut self.complex, complex)] {
            if let Some(largest) = levels.get_mut(depth) {
                *largest = own.max(*largest);
            }
        }
        self.total += simple + complex;
    }

    fn check(&self, limits: &ODataSettings) -> Result<()> {
        if self.total > limits.properties_max {
            return Err(Code::PropertyLimit.into());
        }
        for (depth, (simple, complex)) in self.simple.iter().zip(&self.complex).enumerate() {
            let complex_max = limits.complex_layers.get(depth).copied().unwrap_or(Some(0));
            let simple_max = limits.simple_layers.get(depth).copied().unwrap_or(Some(0));
            let simple_max =
                simple_max.unwrap_or_else(|| limits.properties_max.saturating_sub(*complex));
            if complex_max.is_some_and(|max| *complex > max) || *simple > simple_max {
                return Err(Code::PropertyLimit.into());
            }
        }
        Ok(())
    }
}

/// Checks a property of a complex type that no entity type uses: the limit is that of the widest inner level.
fn check_unused(
    schema: &Schema,
    owner: &str,
    added: &AddedProperty<'_>,
    limits: &ODataSettings,
) -> Result<()> {
    let is_complex = added.complex_type.is_some();
    let levels = match is_complex {
        true => &limits.complex_layers,
        false => &limits.simple_layers,
    };
    let max = levels.iter().filter_map(|max| *max).max().unwrap_or(0);
    let own = schema.complex_type(owner).map_or(0, |c| {
        c.properties
            .iter()
            .filter(|p| matches!(p.value_type, ValueType::Complex(_)) == is_complex)
            .count()
    });
    if own + 1 > max || added.complex_type == Some(owner) {
        return Err(Code::PropertyLimit.into());
    }
    Ok(())
}

/// The number of properties of a list, with those of their complex types.
fn nested_count(schema: &Schema, own: &PropertyList, depth: usize) -> usize {
    let own = own.iter().filter(|p| !p.name.starts_with('_'));
    own.map(|property| match &property.value_type {
        ValueType::Complex(name) if depth < MAX_DEPTH => {
            let complex = schema.complex_type(name);
            1 + complex.map_or(0, |c| nested_count(schema, &c.properties, depth + 1))
        }
        _ => 1,
    })
    .sum()
}

/// Checks that an entity type with `registered` more dynamic properties may have another one. Those of its complex types
/// count.
///
/// # Errors
/// [`Code::PropertyLimit`].
pub(super) fn check_dynamic(root: &ServiceRoot, set: &SetRef, registered: usize) -> Result<()> {
    let own = nested_count(root.edm(), &set.entity_type.properties, 0);
    if own + registered >= root.unit.settings().odata.properties_max {
        return Err(Code::PropertyLimit.into());
    }
    Ok(())
}
