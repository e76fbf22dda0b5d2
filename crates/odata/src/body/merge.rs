//! The outcome of a partial change.

use super::validate::Validator;
use super::{BodyContext, BodyError, Intent};
use crate::edm::{ComplexType, EntityType, Property, PropertyList, Schema, ValueType};
use crate::value::{Properties, Value};

/// The values of an entity after a change accepted with [`Intent::Merge`].
///
/// Members not in `patch` are kept, also those the type does not know. Complex values are merged member by member;
/// where nothing was stored, the members that are not given take their defaults. Lists are replaced.
///
/// # Errors
/// [`BodyError::Required`] when a complex value is new and a member it needs is not given.
pub fn merge(
    schema: &Schema,
    entity_type: &EntityType,
    old: &Properties,
    patch: Properties,
    setting: &mut BodyContext<'_>,
) -> Result<Properties, BodyError> {
    let mut walk = Validator {
        schema,
        intent: Intent::Create,
        setting,
    };
    let mut merged = walk.merged(&entity_type.properties, old, &patch)?;
    let undeclared = |name: &str| entity_type.properties.get(name).is_none();
    for (name, value) in old
        .iter()
        .chain(patch.iter())
        .filter(|(name, _)| undeclared(name))
    {
        merged.set(name.clone(), value.clone());
    }
    Ok(merged)
}

impl Validator<'_, '_> {
    fn merged(
        &mut self,
        list: &PropertyList,
        old: &Properties,
        patch: &Properties,
    ) -> Result<Properties, BodyError> {
        let mut merged = Properties::with_capacity(old.len().max(patch.len()));
        for property in list {
            let value = match (patch.get(&property.name), old.get(&property.name)) {
                (None, None) => continue,
                (None, Some(kept)) => kept.clone(),
                (Some(new), kept) => self.merged_value(property, kept, new)?,
            };
            merged.push(property.name.clone(), value);
        }
        Ok(merged)
    }

    fn merged_value(
        &mut self,
        property: &Property,
        old: Option<&Value>,
        new: &Value,
    ) -> Result<Value, BodyError> {
        let Value::Complex(members) = new else {
            return Ok(new.clone());
        };
        let ValueType::Complex(name) = &property.value_type else {
            return Ok(new.clone());
        };
        let Some(complex) = self.schema.complex_type(name) else {
            return Ok(new.clone());
        };
        match old {
            Some(Value::Complex(old)) => self
                .merged(&complex.properties, old, members)
                .map(Value::Complex),
            _ => self.completed(complex, members).map(Value::Complex),
        }
    }

    /// The given members and the defaults of the others.
    fn completed(
        &mut self,
        complex: &ComplexType,
        given: &Properties,
    ) -> Result<Properties, BodyError> {
        let mut made = Properties::with_capacity(complex.properties.len());
        for property in &complex.properties {
            let value = match given.get(&property.name) {
                Some(value) => self.merged_value(property, None, value)?,
                None => self.default_of(property)?,
            };
            made.push(property.name.clone(), value);
        }
        Ok(made)
    }
}
