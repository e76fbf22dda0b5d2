//! URLs of what lies in boxes.

use personium_model::locate::Target;
use personium_model::url::encode_segment;
use personium_model::{BoxInfo, CellView, UnitUrls};

/// The URL of a box, without slash at its end.
#[must_use]
pub fn box_url(urls: &UnitUrls, view: &CellView, info: &BoxInfo) -> String {
    urls.cell(&view.cell().name) + &info.name
}

/// The URL of a member of a collection.
#[must_use]
pub fn member_url(collection: &str, name: &str) -> String {
    format!("{collection}/{}", encode_segment(name))
}

/// The URLs of the nodes along a path, that of the box first, without slashes at their ends.
#[must_use]
pub fn node_urls(urls: &UnitUrls, target: &Target) -> Vec<String> {
    let mut url = box_url(urls, &target.view, &target.target_box);
    let mut out = Vec::with_capacity(target.found().len());
    for node in target.found() {
        if node.parent.is_some() {
            url = member_url(&url, &node.name);
        }
        out.push(url.clone());
    }
    out
}

/// The URL of the deepest node, without slash at its end.
#[must_use]
pub fn node_url(urls: &UnitUrls, target: &Target) -> String {
    node_urls(urls, target).pop().unwrap_or_default()
}
