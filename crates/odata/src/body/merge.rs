//! The merge of a partial change into an entity.

use super::validate::Validator;
use super::{BodyContext, BodyError, Intent};
use crate::edm::{ComplexType, EntityType, Property, PropertyList, Schema, ValueType};
use crate::value::{Properties, Value};

/// Merges a change that was validated with [`Intent::Merge`] into the values of an entity.
///
/// Members that are not in `patch` are kept, undeclared ones too. Complex values are merged by member; the members of a
/// complex value that was null have their default values. Lists are replaced.
///
/// # Errors
/// [`BodyError::Required`] if a member of a complex value that was null is absent and has no default value.
pub fn merge(
    schema: &Schema,
    entity_type: &EntityType,
    old: &Properties,
    patch: Properties,
    context: &mut BodyContext<'_>,
) -> Result<Properties, BodyError> {
    let mut validator = Validator {
        schema,
        intent: Intent::Create,
        context,
    };
    let mut merged = validator.merged(&entity_type.properties, old, &patch)?;
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

    /// The given members and the default values of the others.
    fn completed(
        &mut self,
        complex: &ComplexType,
        given: &Properties,
    ) -> Result<Properties, BodyError> {
        let mut completed = Properties::with_capacity(complex.properties.len());
        for property in &complex.properties {
            let value = match given.get(&property.name) {
                Some(value) => self.merged_value(property, None, value)?,
                None => self.default_of(property)?,
            };
            completed.push(property.name.clone(), value);
        }
        Ok(completed)
    }
}
