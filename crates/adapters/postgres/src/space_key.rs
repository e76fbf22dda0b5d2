//! The column of a space.

use personium_store::Space;
use personium_types::CellId;

/// Returns the bytes that name a space: none for the unit, the id for a cell.
pub(crate) fn of(space: &Space) -> Vec<u8> {
    match space {
        Space::Unit => Vec::new(),
        Space::Cell(id) => id.as_bytes().to_vec(),
    }
}

/// Returns the space of this name, if it is one.
pub(crate) fn parse(bytes: &[u8]) -> Option<Space> {
    if bytes.is_empty() {
        return Some(Space::Unit);
    }
    let id = bytes.try_into().ok()?;
    Some(Space::Cell(CellId::from_bytes(id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_written_and_sort_like_spaces() {
        let spaces = [0, 1, 255].map(|byte| Space::Cell(CellId::from_bytes([byte; 16])));
        let spaces: Vec<Space> = [Space::Unit].into_iter().chain(spaces).collect();
        assert!(spaces.is_sorted() && spaces.iter().map(of).is_sorted());
        for space in spaces {
            assert_eq!(parse(&of(&space)), Some(space));
        }
        assert_eq!(parse(b"short"), None);
    }
}
