//! Validation of a body member by member.

use std::collections::HashMap;
use std::sync::Arc;

use super::{
    BodyContext, BodyError, Intent, JsonMembers, JsonValue, NewProperty, Route, ValidatedBody,
    read_object,
};
use crate::constraint::{AllowedValues, Format, FormatError, is_cell_url, is_dynamic_name};
use crate::edm::{
    ComplexType, DEFAULT_NULL, DEFAULT_UUID, EntityRules, EntityType, Property, Schema, SimpleType,
    ValueType,
};
use crate::entity_rules::check_rule;
use crate::value::{Properties, Value, parse_date, parse_value};

/// Reads and validates a body.
///
/// Order: JSON text; then, in the order of the body, members that may not be named and values of the wrong shape;
/// then, in schema order, default, requirement, type and format of each declared member; undeclared names; rules
/// across members (for Create and Replace). Of members with the same name the last one counts.
///
/// # Errors
/// The first [`BodyError`] in that order.
pub fn validate(
    bytes: &[u8],
    schema: &Schema,
    entity_type: &EntityType,
    intent: Intent,
    setting: &mut BodyContext<'_>,
) -> Result<ValidatedBody, BodyError> {
    let members = read_object(bytes)?;
    for (name, value) in &members {
        check_shape(schema, entity_type, name, value)?;
    }
    let mut walk = Validator {
        schema,
        intent,
        setting,
    };
    let mut accepted = ValidatedBody::default();
    let by_name = by_name(&members);
    for property in &entity_type.properties {
        if let Some(value) = walk.declared(entity_type, property, &by_name)? {
            accepted.properties.push(property.name.clone(), value);
        }
    }
    if entity_type.is_open() {
        for (name, value) in &members {
            let is_last = by_name
                .get(&**name)
                .is_some_and(|last| std::ptr::eq(*last, value));
            if is_last && entity_type.properties.get(name).is_none() {
                if accepted.new_properties.len() == walk.setting.max_undeclared {
                    return Err(BodyError::TooManyUndeclared);
                }
                let (simple, value) = walk.undeclared(name, value)?;
                let name: Arc<str> = Arc::from(&**name);
                accepted.properties.push(name.clone(), value);
                accepted.new_properties.push(NewProperty { name, simple });
            }
        }
    }
    if intent != Intent::Merge {
        check_across(entity_type.entity_rules, &accepted.properties, setting)?;
    }
    Ok(accepted)
}

fn wrong(name: &str) -> BodyError {
    BodyError::InvalidValue(name.to_owned())
}

/// The entry of a list of URLs that is none; `None` for other formats.
fn faulty_part(format: Format, text: &str) -> Option<&str> {
    let is_list = format == Format::CellUrlList;
    text.split(',').find(|url| is_list && !is_cell_url(url))
}

/// Faults that are reported in the order of the body.
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
            _ => Err(wrong(name)),
        },
        Some(property) => check_property_shape(schema, property, value),
        None if !entity_type.is_open() => Err(BodyError::Forbidden(format!(
            "{name} of {}",
            entity_type.name
        ))),
        None if matches!(value, JsonValue::Object(_) | JsonValue::Array(_)) => Err(wrong(name)),
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
        (true, _) | (false, JsonValue::Array(_)) => Err(wrong(&property.name)),
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
            Err(wrong(&property.name))
        }
        (ValueType::Simple(_), _) => Ok(()),
        (ValueType::Complex(_), JsonValue::Object(members)) if members.is_empty() => {
            Err(BodyError::Malformed)
        }
        (ValueType::Complex(type_name), JsonValue::Object(members)) => {
            let complex = schema
                .complex_type(type_name)
                .ok_or_else(|| wrong(&property.name))?;
            members
                .iter()
                .try_for_each(|(name, value)| match complex.properties.get(name) {
                    Some(member) => check_property_shape(schema, member, value),
                    None => Err(wrong(name)),
                })
        }
        (ValueType::Complex(_), _) => Err(wrong(&property.name)),
    }
}

/// The values of members, for each name the last one.
type ByName<'m, 'a> = HashMap<&'m str, &'m JsonValue<'a>>;

fn by_name<'m, 'a>(members: &'m JsonMembers<'a>) -> ByName<'m, 'a> {
    let pairs = members.iter().map(|(name, value)| (&**name, value));
    pairs.collect()
}

pub(super) struct Validator<'w, 's> {
    pub(super) schema: &'w Schema,
    pub(super) intent: Intent,
    pub(super) setting: &'w mut BodyContext<'s>,
}

impl Validator<'_, '_> {
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
        let merging = self.intent == Intent::Merge;
        match given {
            None if merging && entity_type.required_in_merge.contains(&property.name) => {
                Err(BodyError::Required(property.name.to_string()))
            }
            None if merging => Ok(None),
            None | Some(JsonValue::Null) => self.absent(entity_type, property, given.is_some()),
            Some(value) => self.present(property, value).map(Some),
        }
    }

    /// A member that is null or missing.
    fn absent(
        &mut self,
        entity_type: &EntityType,
        property: &Property,
        named: bool,
    ) -> Result<Option<Value>, BodyError> {
        let complex = matches!(property.value_type, ValueType::Complex(_)) && !property.is_list();
        if complex && self.intent == Intent::Merge {
            return Ok(None);
        }
        let generated =
            property.default.as_deref() == Some(DEFAULT_UUID) && entity_type.is_key(&property.name);
        if generated && self.intent != Intent::Create {
            return Ok(None);
        }
        match self.default_of(property)? {
            Value::Null if !named => Ok(None),
            value => Ok(Some(value)),
        }
    }

    /// The value a property has when none is given: its default, or null where that is allowed.
    pub(super) fn default_of(&mut self, property: &Property) -> Result<Value, BodyError> {
        let literal = match (&property.value_type, &property.default) {
            (ValueType::Simple(simple), Some(literal)) if !property.is_list() => {
                Some((*simple, &**literal))
            }
            _ => None,
        };
        match literal {
            Some((_, DEFAULT_UUID)) => Ok(Value::String((self.setting.new_id)())),
            Some((simple, literal)) if literal != DEFAULT_NULL => {
                parse_value(simple, literal, self.setting.now).map_err(|_| wrong(&property.name))
            }
            _ if property.nullable => Ok(Value::Null),
            _ => Err(BodyError::Required(property.name.to_string())),
        }
    }

    fn present(&mut self, property: &Property, value: &JsonValue<'_>) -> Result<Value, BodyError> {
        match value {
            JsonValue::Array(items) => {
                let merging = std::mem::replace(&mut self.intent, Intent::Create);
                let items: Result<Vec<_>, _> =
                    items.iter().map(|item| self.item(property, item)).collect();
                self.intent = merging;
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
                    .ok_or_else(|| wrong(&property.name))?;
                self.complex(complex, members).map(Value::Complex)
            }
            (ValueType::Complex(_), _) => Err(wrong(&property.name)),
        }
    }

    fn scalar(
        &mut self,
        property: &Property,
        simple: SimpleType,
        value: &JsonValue<'_>,
    ) -> Result<Value, BodyError> {
        let text = value.scalar_text().ok_or_else(|| wrong(&property.name))?;
        let typed =
            if simple == SimpleType::String && property.format.is_some_and(Format::has_own_limit) {
                Value::from(text)
            } else {
                parse_value(simple, text, self.setting.now).map_err(|_| wrong(&property.name))?
            };
        if let Some(format) = property.format {
            let unchecked = self.setting.route == Route::Navigation
                && matches!(format, Format::AccountType | Format::IpRange);
            if !unchecked {
                let name = || {
                    faulty_part(format, text)
                        .unwrap_or(&property.name)
                        .to_owned()
                };
                format
                    .check(text, self.setting.account_types)
                    .map_err(|fault| match fault {
                        FormatError::InvalidValue => BodyError::InvalidValue(name()),
                        FormatError::InvalidCellUrl => BodyError::InvalidCellUrl(name()),
                        FormatError::InvalidSchemaUri => BodyError::InvalidSchemaUri(name()),
                    })?;
            }
        }
        Ok(typed)
    }

    fn complex(
        &mut self,
        complex: &ComplexType,
        members: &JsonMembers<'_>,
    ) -> Result<Properties, BodyError> {
        let mut made = Properties::with_capacity(complex.properties.len());
        let members = by_name(members);
        let merging = self.intent == Intent::Merge;
        for property in &complex.properties {
            let value = match members.get(&*property.name).copied() {
                None if merging => continue,
                Some(JsonValue::Null)
                    if merging
                        && matches!(property.value_type, ValueType::Complex(_))
                        && !property.is_list() =>
                {
                    continue;
                }
                None | Some(JsonValue::Null) => self.default_of(property)?,
                Some(value) => self.present(property, value)?,
            };
            made.push(property.name.clone(), value);
        }
        Ok(made)
    }

    fn undeclared(
        &mut self,
        name: &str,
        value: &JsonValue<'_>,
    ) -> Result<(SimpleType, Value), BodyError> {
        if !is_dynamic_name(name) {
            return Err(wrong(name));
        }
        let simple = match value {
            JsonValue::Number(_) => SimpleType::Double,
            JsonValue::Bool(_) => SimpleType::Boolean,
            JsonValue::String(_) | JsonValue::Null => SimpleType::String,
            JsonValue::Array(_) | JsonValue::Object(_) => return Err(wrong(name)),
        };
        let typed = match value.scalar_text() {
            Some(text) => parse_value(simple, text, self.setting.now).map_err(|_| wrong(name))?,
            None => Value::Null,
        };
        Ok((simple, typed))
    }
}

fn check_across(
    check: EntityRules,
    properties: &Properties,
    setting: &BodyContext<'_>,
) -> Result<(), BodyError> {
    let fault = match check {
        EntityRules::None => return Ok(()),
        EntityRules::Rule => check_rule(properties, setting.unit_url)
            .err()
            .map(|error| error.member),
        EntityRules::SchemaProperty => schema_property_fault(properties, setting),
    };
    fault.map_or(Ok(()), |name| Err(wrong(name)))
}

/// `Type` has to exist and `DefaultValue` has to be a value of it.
fn schema_property_fault(
    properties: &Properties,
    setting: &BodyContext<'_>,
) -> Option<&'static str> {
    let type_name = properties.text("Type").unwrap_or("");
    let default = properties.text("DefaultValue");
    let kinds = AllowedValues::CollectionKind.values();
    match SimpleType::from_name(type_name) {
        None if !(setting.has_complex_type)(type_name) => Some("Type"),
        None => default.map(|_| "DefaultValue"),
        Some(_)
            if properties
                .text("CollectionKind")
                .is_some_and(|kind| !kinds.contains(&kind)) =>
        {
            Some("CollectionKind")
        }
        Some(simple) => {
            let fits = |text: &str| parse_value(simple, text, setting.now).is_ok();
            default.filter(|text| !fits(text)).map(|_| "DefaultValue")
        }
    }
}
