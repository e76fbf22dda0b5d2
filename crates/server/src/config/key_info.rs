//! Facts about a key: what the example file and the checks need to know.

/// The prefix of the keys of a unit.
pub const PREFIX: &str = "io.personium.core.";

/// A key with its description.
#[derive(Debug, Clone)]
pub struct KeyInfo {
    /// The name, with its prefix.
    pub name: String,
    /// The description.
    pub doc: String,
    /// The text that stands for the default; empty if there is none.
    pub default: &'static str,
    /// A phrase that names the permitted values.
    pub permitted: String,
    /// Whether the value must not be shown.
    pub is_secret: bool,
    /// Whether the value has an effect. The other keys are checked only, so that files of other versions are accepted.
    pub has_effect: bool,
}

/// A section: its title and its keys.
#[derive(Debug, Clone)]
pub struct SectionInfo {
    /// The title.
    pub title: &'static str,
    /// The keys.
    pub keys: Vec<KeyInfo>,
}
