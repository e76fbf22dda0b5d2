//! URLs of boxes and of the resources in them.

use personium_model::locate::Target;
use personium_model::url::encode_segment;
use personium_model::{BoxInfo, CellContext, UnitUrls};

/// The URL of a box, without slash at its end.
#[must_use]
pub fn box_url(urls: &UnitUrls, context: &CellContext, info: &BoxInfo) -> String {
    urls.cell(&context.cell().name) + &info.name
}

/// The URL of a member of a collection.
#[must_use]
pub fn member_url(collection: &str, name: &str) -> String {
    format!("{collection}/{}", encode_segment(name))
}

/// The URL of the deepest node, without slash at its end.
#[must_use]
pub fn node_url(urls: &UnitUrls, target: &Target) -> String {
    NodeUrls::of(urls, target).deepest
}

/// The URLs of the nodes along a path, without slashes at their ends. There can be tens of thousands of nodes, so only the URL
/// of the deepest one is stored: those of the others are its prefixes.
#[derive(Debug, Default)]
pub struct NodeUrls {
    deepest: String,
    /// The length of the URL of each node, that of the box first.
    ends: Vec<usize>,
}

impl NodeUrls {
    /// The URLs of the nodes that were found.
    #[must_use]
    pub fn of(urls: &UnitUrls, target: &Target) -> Self {
        let box_url = box_url(urls, &target.context, &target.target_box);
        let below = target.found().iter().filter(|node| node.parent.is_some());
        Self::along(box_url, below.map(|node| node.name.as_str()))
    }

    fn along<'n>(box_url: String, names: impl Iterator<Item = &'n str>) -> Self {
        let mut deepest = box_url;
        let mut ends = vec![deepest.len()];
        for name in names {
            deepest.push('/');
            deepest.push_str(&encode_segment(name));
            ends.push(deepest.len());
        }
        Self { deepest, ends }
    }
    /// The URL of the deepest node.
    #[must_use]
    pub fn deepest(&self) -> &str {
        &self.deepest
    }

    /// The URL of the node at this index of the path; 0 is the box.
    #[must_use]
    pub fn find(&self, index: usize) -> Option<&str> {
        self.ends
            .get(index)
            .and_then(|&end| self.deepest.get(..end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_along_a_path_are_prefixes_of_one_string() {
        const DEEP: usize = 30_000;
        let names = std::iter::repeat_n("a", DEEP - 1).chain(["b é"]);
        let urls = NodeUrls::along("http://h/c/box".to_owned(), names);
        assert_eq!(urls.find(0), Some("http://h/c/box"));
        assert_eq!(urls.find(2), Some("http://h/c/box/a/a"));
        assert_eq!(urls.find(DEEP), Some(urls.deepest()));
        assert!(urls.deepest().ends_with("/a/b%20%C3%A9"));
        assert_eq!(urls.find(DEEP + 1), None);
        let start = urls.deepest().as_ptr();
        let shares = |at| urls.find(at).map(str::as_ptr) == Some(start);
        assert!((0..=DEEP).all(shares), "a URL of its own for a node");
    }
}
