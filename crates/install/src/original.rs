//! A unit of the original that is migrated: its documents, which are collected first, and its file tree.

mod body;
mod cell;
mod comparison_notes;
mod documents;
mod downloads;
mod files;
mod tree;

pub(crate) use self::body::BodyReader;
pub(crate) use self::cell::OriginalCell;
pub(crate) use self::comparison_notes::{ComparisonNotes, NoteKind};
pub(crate) use self::documents::{CellState, DocumentPages};
pub use self::documents::{CollectedCell, DocumentCollector, DocumentCounts, Documents};
pub use self::downloads::{DownloadedChunks, Downloads, IndexState};
pub use self::files::OriginalFiles;
pub(crate) use self::tree::{TreeWalk, read_small, subfolder};
