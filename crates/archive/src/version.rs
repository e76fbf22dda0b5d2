//! Versions of the bar format.

/// The version of a bar file, which determines its layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BarVersion {
    /// All entries are in the folder `bar/`.
    V1,
    /// All entries are at the root of the archive.
    V2,
}

impl BarVersion {
    /// The prefix of every inner path.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            BarVersion::V1 => "bar/",
            BarVersion::V2 => "",
        }
    }

    /// The value of `bar_version` in the manifest.
    pub(crate) fn number(self) -> i64 {
        match self {
            BarVersion::V1 => 1,
            BarVersion::V2 => 2,
        }
    }
}
