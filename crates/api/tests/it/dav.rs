//! Boxes, collections and files; roots of cells and boxes.

mod acl;
mod collections;
mod conditions;
mod content_policy;
mod delete;
mod encryption;
mod files;
mod moving;
mod names;
mod properties;
mod property_changes;
mod propfind;
mod roots;
mod uploads;

/// The body of a PROPPATCH.
fn update(inside: &str) -> String {
    format!(
        "<D:propertyupdate xmlns:D='DAV:' xmlns:p='urn:x-personium:xmlns' xmlns:Z='urn:z'>{inside}</D:propertyupdate>"
    )
}
