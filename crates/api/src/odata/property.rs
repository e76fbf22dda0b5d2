//! Properties of entities: `{Set}({key})/{property}` and `.../$value`.

use http::{Method, header};
use personium_model::odata::{self, AccessKind, SetRef};
use personium_odata::atom::{AtomWriter, push_raw_value};
use personium_odata::edm::{Property, ValueType};
use personium_odata::entity_view::EntityShape;
use personium_odata::json::JsonWriter;
use personium_odata::key::EntityKey;
use personium_odata::negotiate::{self, ResponseFormat};
use personium_odata::path::PropertyPart;
use personium_odata::query::QueryOptions;
use personium_odata::value::{NULL, Value};
use personium_types::{Code, Result};

use super::request::ODataRequest;
use super::response::version_2;
use super::{errors, read};
use crate::answer;
use crate::preflight;
use crate::response::{Response, WithHeader};

/// Whether a path names a property of the set, or a member of its complex type.
pub(super) fn exists(request: &ODataRequest, set: &SetRef, path: &[String]) -> bool {
    find(request, set, path).is_some()
}

/// The property at a path: the last of the names, each in the type of the one before.
fn find<'a>(request: &'a ODataRequest, set: &'a SetRef, path: &[String]) -> Option<&'a Property> {
    let mut names = path.iter();
    let mut property = set.entity_type.properties.get(names.next()?)?;
    for name in names {
        let ValueType::Complex(complex) = &property.value_type else {
            return None;
        };
        if property.is_list() {
            return None;
        }
        let complex = request.root.edm().complex_type(complex)?;
        property = complex.properties.get(name)?;
    }
    Some(property)
}

/// A request to a property.
///
/// # Errors
/// The refusal of the request. [`Code::NoSuchPath`] if there is no such property, or for the value of one that is not simple;
/// [`Code::NoSuchEntity`], also for the text of null.
pub(super) async fn property(
    request: &ODataRequest,
    set: &SetRef,
    key: &EntityKey,
    path: &[String],
    part: PropertyPart,
) -> Result<Response> {
    match request.method {
        Method::GET => {}
        Method::OPTIONS => {
            request.permit(set, AccessKind::Read)?;
            return Ok(preflight::allow("OPTIONS, GET"));
        }
        _ => {
            request.permit(set, AccessKind::Read)?;
            return Err(request.method_not_allowed());
        }
    }
    request.permit(set, AccessKind::Read)?;
    let property = find(request, set, path).ok_or(Code::NoSuchPath)?;
    let options = QueryOptions::parse(&request.query);
    let format = match part {
        PropertyPart::Whole => negotiate::choose(options.get("$format"), request.header("accept"))
            .map_err(errors::format)?,
        PropertyPart::Value => {
            if property.is_list() || property.value_type.simple().is_none() {
                return Err(Code::NoSuchPath.into());
            }
            ResponseFormat::Json
        }
    };
    let entity = odata::find(&request.root, set, key)
        .await?
        .ok_or(Code::NoSuchEntity)?;
    request.check_owner(&entity)?;
    let tag = entity.stored.etag();
    if let Some(response) = read::not_modified(request, tag)? {
        return Ok(response);
    }
    let mut memory = request.take_memory();
    memory.hold(entity.memory_bytes())?;
    let mut value = &NULL;
    for (at, name) in path.iter().enumerate() {
        value = match (at, value) {
            (0, _) => entity.properties.value(name),
            (_, Value::Complex(members)) => members.value(name),
            _ => &NULL,
        };
    }
    let (media_type, text) = match part {
        PropertyPart::Value => text(value)?,
        PropertyPart::Whole => whole(request, property, value, format),
    };
    let response = answer::text(memory, media_type, text)?;
    Ok(version_2(response).with_header(header::ETAG, &tag.weak().to_string()))
}

fn text(value: &Value) -> Result<(&'static str, String)> {
    if value.is_null() {
        return Err(Code::NoSuchEntity.into());
    }
    let mut out = String::new();
    push_raw_value(&mut out, value);
    Ok(("text/plain;charset=utf-8", out))
}

fn whole(
    request: &ODataRequest,
    property: &Property,
    value: &Value,
    format: ResponseFormat,
) -> (&'static str, String) {
    let (edm, base) = (request.root.edm(), &request.base);
    match format {
        ResponseFormat::Json => {
            let mut out = String::new();
            JsonWriter::new(edm, base, EntityShape::Read)
                .dialect(request.dialect())
                .push_property_value(&mut out, property, value);
            ("application/json", out)
        }
        ResponseFormat::Atom => {
            let now = request.unit.now_ms();
            let writer = AtomWriter::new(edm, base, EntityShape::Read, now);
            let document = writer.property(property, value);
            ("application/xml;charset=utf-8", document)
        }
    }
}
