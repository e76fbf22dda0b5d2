//! The description of the unit in the documents of the unit, its cells and its boxes.

use personium_model::UnitUrls;
use serde_json::{Value, json};

/// The description of a unit.
pub(crate) fn unit(urls: &UnitUrls) -> Value {
    json!({"url": urls.unit(), "path_based_cellurl_enabled": urls.path_based()})
}
