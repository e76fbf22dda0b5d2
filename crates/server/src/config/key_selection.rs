//! A part of all keys, named by their sections.

use super::{Config, KeyInfo, PREFIX};

/// The keys of some sections and some others, without exceptions.
#[derive(Debug, Clone, Copy)]
pub struct KeySelection {
    /// The titles of sections.
    pub sections: &'static [&'static str],
    /// Keys of other sections, without prefix.
    pub keys: &'static [&'static str],
    /// Keys of those sections that do not belong to it, without prefix.
    pub exceptions: &'static [&'static str],
}

impl KeySelection {
    /// Returns the keys, in the order of their description.
    pub fn keys(self) -> impl Iterator<Item = KeyInfo> {
        let sections = Config::sections().into_iter();
        sections.flat_map(move |section| {
            let is_whole = self.sections.contains(&section.title);
            section.keys.into_iter().filter(move |key| {
                let name = key.name.strip_prefix(PREFIX).unwrap_or(&key.name);
                (is_whole || self.keys.contains(&name)) && !self.exceptions.contains(&name)
            })
        })
    }
}
