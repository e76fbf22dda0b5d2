//! Validation of a body member by member.

use std::collections::HashMap;
use std::sync::Arc;

use super::{
    BodyContext, BodyError, Intent, JsonMembers, JsonValue, NewProperty, Route, ValidatedBody,
    read_object,
};
use crate::constraint::{Format, FormatError, is_cell_url, is_dynamic_name};
use crate::edm::{
    ComplexType, DEFAULT_NULL, DEFAULT_UUID, EntityRules, EntityType, Property, Schema, SimpleType,
    ValueType,
};
use crate::entity_rules::{check_rule, check_schema_property};
use crate::value::{Properties, Value, parse_date, parse_value};

/// Parses and validates a body.
///
/// The checks are in this order:
///
/// 1. The body is a JSON object.
/// 2. In the order of the body: each member is allowed, and its value is a scalar, object or array as its type requires.
/// 3. In schema order: default value, presence, type and format of each declared member.
/// 4. Names, number and values of undeclared members.
/// 5. Except for [`Intent::Merge`]: the rules across several members.
///
/// Of several members with the same name the last one is used.
///
/// # Errors
/// The first [`BodyError`] in this order.
pub fn validate(
    bytes: &[u8],
    schema: &Schema,
    entity_type: &EntityType,
    intent: Intent,
    context: &mut BodyContext<'_>,
) -> Result<ValidatedBody, BodyError> {
    let members = read_object(bytes)?;
    for (name, value) in &members {
        check_shape(schema, entity_type, name, value)?;
    }
    let mut validator = Validator {
        schema,
        intent,
        context,
    };
    let mut body = ValidatedBody::default();
    let by_name = by_name(&members);
    for property in &entity_type.properties {
        if let Some(value) = validator.declared(entity_type, property, &by_name)? {
            body.properties.push(property.name.clone(), value);
        }
    }
    if entity_type.is_open() {
        for (name, value) in &members {
            let is_last = by_name
                .get(&**name)
                .is_some_and(|last| std::ptr::eq(*last, value));
            if is_last && entity_type.properties.get(name).is_none() {
                if body.new_properties.len() == validator.context.max_undeclared {
                    return Err(BodyError::TooManyUndeclared);
                }
                let (simple, value) = validator.undeclared(name, value)?;
                let name: Arc<str> = Arc::from(&**name);
                body.properties.push(name.clone(), value);
                body.new_properties.push(NewProperty { name, simple });
            }
        }
    }
    if intent != Intent::Merge {
        check_entity_rules(entity_type.entity_rules, &body.properties, context)?;
    }
    Ok(body)
}

fn invalid_value(name: &str) -> BodyError {
    BodyError::InvalidValue(name.to_owned())
}

/// The first URL of a list that is not the URL of a cell; `None` for other formats.
fn invalid_list_item(format: Format, text: &str) -> Option<&str> {
    let is_list = format == Format::CellUrlList;
    crate::constraint::urls_in_list(text).find(|url| is_list && !is_cell_url(url))
}

/// Checks that a member is allowed, and that its value is a scalar, object or array as its type requires.
fn check_shape(
    schema: &Schema,
    entity_type: &EntityType,
    name: &str,
    value: &JsonValue<'_>,
) -> Result<(), BodyError> {
    if name == "__metadata" {
        return Err(BodyError::Forbidden(name.to_owned()));
    }
    match entity_type.properties.get(name) {
        Some(property) if property.is_timestamp() => match value {
            JsonValue::Null => Ok(()),
            JsonValue::String(text) if parse_date(text, 0).is_some() => Ok(()),
            _ => Err(invalid_value(name)),
        },
        Some(property) => check_property_shape(schema, property, value),
        None if !entity_type.is_open() => Err(BodyError::Forbidden(format!(
            "{name} of {}",
            entity_type.name
        ))),
        None if matches!(value, JsonValue::Object(_) | JsonValue::Array(_)) => {
            Err(invalid_value(name))
        }
        None => Ok(()),
    }
}

fn check_property_shape(
    schema: &Schema,
    property: &Property,
    value: &JsonValue<'_>,
) -> Result<(), BodyError> {
    match (property.is_list(), value) {
        (_, JsonValue::Null) => Ok(()),
        (true, JsonValue::Array(items)) => items
            .iter()
            .try_for_each(|item| check_item_shape(schema, property, item)),
        (true, _) | (false, JsonValue::Array(_)) => Err(invalid_value(&property.name)),
        (false, _) => check_item_shape(schema, property, value),
    }
}

fn check_item_shape(
    schema: &Schema,
    property: &Property,
    value: &JsonValue<'_>,
) -> Result<(), BodyError> {
    match (&property.value_type, value) {
        (_, JsonValue::Null) => Ok(()),
        (ValueType::Simple(_), JsonValue::Object(_) | JsonValue::Array(_)) => {
            Err(invalid_value(&property.name))
        }
        (ValueType::Simple(_), _) => Ok(()),
        (ValueType::Complex(_), JsonValue::Object(members)) if members.is_empty() => {
            Err(BodyError::Malformed)
        }
        (ValueType::Complex(type_name), JsonValue::Object(members)) => {
            let complex = schema
                .complex_type(type_name)
                .ok_or_else(|| invalid_value(&property.name))?;
            members
                .iter()
                .try_for_each(|(name, value)| match complex.properties.get(name) {
                    Some(member) => check_property_shape(schema, member, value),
                    None => Err(invalid_value(name)),
                })
        }
        (ValueType::Complex(_), _) => Err(invalid_value(&property.name)),
    }
}

/// The values of members by name, of several members with the same name the last one.
type ByName<'m, 'a> = HashMap<&'m str, &'m JsonValue<'a>>;

fn by_name<'m, 'a>(members: &'m JsonMembers<'a>) -> ByName<'m, 'a> {
    let pairs = members.iter().map(|(name, value)| (&**name, value));
    pairs.collect()
}

/// Validates the members of a body.
pub(super) struct Validator<'w, 's> {
    pub(super) schema: &'w Schema,
    pub(super) intent: Intent,
    pub(super) context: &'w mut BodyContext<'s>,
}

impl Validator<'_, '_> {
    /// The value of a declared property of the entity, `None` if it is omitted.
    fn declared(
        &mut self,
        entity_type: &EntityType,
        property: &Property,
        members: &ByName<'_, '_>,
    ) -> Result<Option<Value>, BodyError> {
        let given = members.get(&*property.name).copied();
        if property.is_timestamp() {
            return match given {
                Some(_) => Err(BodyError::Forbidden(property.name.to_string())),
                None => Ok(None),
            };
        }
        let is_merge = self.intent == Intent::Merge;
        match given {
            None if is_merge && entity_type.required_in_merge.contains(&property.name) => {
                Err(BodyError::Required(property.name.to_string()))
            }
            None if is_merge => Ok(None),
            None | Some(JsonValue::Null) => self.absent(entity_type, property, given.is_some()),
            Some(value) => self.present(property, value).map(Some),
        }
    }

    /// The value of a member that is null or absent, `None` if it is omitted.
    fn absent(
        &mut self,
        entity_type: &EntityType,
        property: &Property,
        is_in_body: bool,
    ) -> Result<Option<Value>, BodyError> {
        let is_complex =
            matches!(property.value_type, ValueType::Complex(_)) && !property.is_list();
        if is_complex && self.intent == Intent::Merge {
            return Ok(None);
        }
        let is_generated_key =
            property.default.as_deref() == Some(DEFAULT_UUID) && entity_type.is_key(&property.name);
        if is_generated_key && self.intent != Intent::Create {
            return Ok(None);
        }
        match self.default_of(property)? {
            Value::Null if !is_in_body => Ok(None),
            value => Ok(Some(value)),
        }
    }

    /// The default value of a property, or null if it is nullable.
    pub(super) fn default_of(&mut self, property: &Property) -> Result<Value, BodyError> {
        let literal = match (&property.value_type, &property.default) {
            (ValueType::Simple(simple), Some(literal)) if !property.is_list() => {
                Some((*simple, &**literal))
            }
            _ => None,
        };
        match literal {
            Some((_, DEFAULT_UUID)) => Ok(Value::String((self.context.new_id)())),
            Some((simple, literal)) if literal != DEFAULT_NULL => {
                parse_value(simple, literal, self.context.now_ms)
                    .map_err(|_| invalid_value(&property.name))
            }
            _ if property.nullable => Ok(Value::Null),
            _ => Err(BodyError::Required(property.name.to_string())),
        }
    }

    /// The value of a member that is not null.
    fn present(&mut self, property: &Property, value: &JsonValue<'_>) -> Result<Value, BodyError> {
        match value {
            JsonValue::Array(items) => {
                // The elements of a list are new also if the list replaces another.
                let intent = std::mem::replace(&mut self.intent, Intent::Create);
                let items: Result<Vec<_>, _> =
                    items.iter().map(|item| self.item(property, item)).collect();
                self.intent = intent;
                items.map(Value::List)
            }
            single => self.item(property, single),
        }
    }

    fn item(&mut self, property: &Property, value: &JsonValue<'_>) -> Result<Value, BodyError> {
        match (&property.value_type, value) {
            (_, JsonValue::Null) => Ok(Value::Null),
            (ValueType::Simple(simple), scalar) => self.scalar(property, *simple, scalar),
            (ValueType::Complex(name), JsonValue::Object(members)) => {
                let complex = self
                    .schema
                    .complex_type(name)
                    .ok_or_else(|| invalid_value(&property.name))?;
                self.complex(complex, members).map(Value::Complex)
            }
            (ValueType::Complex(_), _) => Err(invalid_value(&property.name)),
        }
    }

    fn scalar(
        &mut self,
        property: &Property,
        simple: SimpleType,
        value: &JsonValue<'_>,
    ) -> Result<Value, BodyError> {
        let text = value
            .scalar_text()
            .ok_or_else(|| invalid_value(&property.name))?;
        let typed =
            if simple == SimpleType::String && property.format.is_some_and(Format::has_own_limit) {
                Value::from(text)
            } else {
                parse_value(simple, text, self.context.now_ms)
                    .map_err(|_| invalid_value(&property.name))?
            };
        if let Some(format) = property.format {
            self.check_format(property, format, text)?;
        }
        Ok(typed)
    }

    fn check_format(
        &self,
        property: &Property,
        format: Format,
        text: &str,
    ) -> Result<(), BodyError> {
        let is_unchecked = self.context.route == Route::Navigation
            && matches!(format, Format::AccountType | Format::IpRange);
        if is_unchecked {
            return Ok(());
        }
        let name = || {
            invalid_list_item(format, text)
                .unwrap_or(&property.name)
                .to_owned()
        };
        format
            .check(text, self.context.account_types)
            .map_err(|error| match error {
                FormatError::InvalidValue => BodyError::InvalidValue(name()),
                FormatError::InvalidCellUrl => BodyError::InvalidCellUrl(name()),
                FormatError::InvalidSchemaUri => BodyError::InvalidSchemaUri(name()),
            })
    }

    fn complex(
        &mut self,
        complex: &ComplexType,
        members: &JsonMembers<'_>,
    ) -> Result<Properties, BodyError> {
        let mut validated = Properties::with_capacity(complex.properties.len());
        let members = by_name(members);
        let is_merge = self.intent == Intent::Merge;
        for property in &complex.properties {
            let value = match members.get(&*property.name).copied() {
                None if is_merge => continue,
                Some(JsonValue::Null)
                    if is_merge
                        && matches!(property.value_type, ValueType::Complex(_))
                        && !property.is_list() =>
                {
                    continue;
                }
                None | Some(JsonValue::Null) => self.default_of(property)?,
                Some(value) => self.present(property, value)?,
            };
            validated.push(property.name.clone(), value);
        }
        Ok(validated)
    }

    /// The type and value of an undeclared member.
    fn undeclared(
        &mut self,
        name: &str,
        value: &JsonValue<'_>,
    ) -> Result<(SimpleType, Value), BodyError> {
        if !is_dynamic_name(name) {
            return Err(invalid_value(name));
        }
        let simple = match value {
            JsonValue::Number(_) => SimpleType::Double,
            JsonValue::Bool(_) => SimpleType::Boolean,
            JsonValue::String(_) | JsonValue::Null => SimpleType::String,
            JsonValue::Array(_) | JsonValue::Object(_) => return Err(invalid_value(name)),
        };
        let typed = match value.scalar_text() {
            Some(text) => {
                parse_value(simple, text, self.context.now_ms).map_err(|_| invalid_value(name))?
            }
            None => Value::Null,
        };
        Ok((simple, typed))
    }
}

fn check_entity_rules(
    rules: EntityRules,
    properties: &Properties,
    context: &BodyContext<'_>,
) -> Result<(), BodyError> {
    match rules {
        EntityRules::None => Ok(()),
        EntityRules::Rule => check_rule(properties, context.unit_url),
        EntityRules::SchemaProperty => check_schema_property(properties, context.has_complex_type),
    }
    .map_err(|error| invalid_value(error.member))
}
