//! Values of the request headers that WebDAV methods look at.

mod conditions;
mod range;

pub use conditions::{allows_change, is_not_modified};
pub use range::{SelectedRange, select_range};

/// How deep a PROPFIND looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The resource itself.
    Zero,
    /// The resource and its children.
    One,
}

/// Why a `Depth` header of PROPFIND was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DepthError {
    /// `infinity`, spelled exactly so: understood and not allowed.
    #[error("infinite depth is not allowed")]
    Infinity,
    /// Absent or anything else.
    #[error("the depth is neither 0 nor 1")]
    Invalid,
}

/// A header value that is none of those the header may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the header has a value it may not have")]
pub struct InvalidHeaderError;

impl Depth {
    /// Reads the `Depth` of a PROPFIND. Where an absent header has a meaning, the caller gives that value instead.
    ///
    /// # Errors
    /// See [`DepthError`].
    pub fn of_propfind(header: Option<&str>) -> Result<Self, DepthError> {
        match header {
            Some("0") => Ok(Self::Zero),
            Some("1") => Ok(Self::One),
            Some("infinity") => Err(DepthError::Infinity),
            _ => Err(DepthError::Invalid),
        }
    }
}

/// Checks the `Depth` of a MOVE: absent or `infinity` in any case.
///
/// # Errors
/// [`InvalidHeader`] for anything else, the empty value included.
pub fn check_move_depth(header: Option<&str>) -> Result<(), InvalidHeaderError> {
    match header {
        None => Ok(()),
        Some(value) if value.eq_ignore_ascii_case("infinity") => Ok(()),
        Some(_) => Err(InvalidHeaderError),
    }
}

/// What a MOVE does with a file at its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrite {
    /// `T`: replaces it.
    Replace,
    /// `F`: fails.
    Refuse,
}

impl Overwrite {
    /// Reads `Overwrite`; absent means [`Overwrite::Refuse`], unlike in RFC 4918.
    ///
    /// # Errors
    /// [`InvalidHeader`] for anything but `T` and `F` in either case.
    pub fn of_header(header: Option<&str>) -> Result<Self, InvalidHeaderError> {
        match header {
            None | Some("F" | "f") => Ok(Self::Refuse),
            Some("T" | "t") => Ok(Self::Replace),
            Some(_) => Err(InvalidHeaderError),
        }
    }
}

/// Whether the deletion of a collection takes its content along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recursive {
    /// Everything goes.
    Yes,
    /// Only an empty collection goes.
    No,
}

impl Recursive {
    /// Reads `X-Personium-Recursive` of a collection below a box: `true` or `false` in any case, absent means no.
    ///
    /// # Errors
    /// [`InvalidHeader`] for anything else.
    pub fn of_collection(header: Option<&str>) -> Result<Self, InvalidHeaderError> {
        match header {
            None => Ok(Self::No),
            Some(value) if value.eq_ignore_ascii_case("true") => Ok(Self::Yes),
            Some(value) if value.eq_ignore_ascii_case("false") => Ok(Self::No),
            Some(_) => Err(InvalidHeaderError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_of_propfind_is_zero_or_one() {
        assert_eq!(Depth::of_propfind(Some("0")), Ok(Depth::Zero));
        assert_eq!(Depth::of_propfind(Some("1")), Ok(Depth::One));
        assert_eq!(
            Depth::of_propfind(Some("infinity")),
            Err(DepthError::Infinity)
        );
        for value in [
            None,
            Some(""),
            Some("Infinity"),
            Some("2"),
            Some("-1"),
            Some("1 "),
            Some("01"),
        ] {
            assert_eq!(
                Depth::of_propfind(value),
                Err(DepthError::Invalid),
                "{value:?}"
            );
        }
    }

    #[test]
    fn depth_of_move_is_infinite() {
        for value in [None, Some("infinity"), Some("INFINITY"), Some("Infinity")] {
            assert_eq!(check_move_depth(value), Ok(()), "{value:?}");
        }
        for value in ["", "0", "1", "infinit"] {
            assert_eq!(
                check_move_depth(Some(value)),
                Err(InvalidHeaderError),
                "{value:?}"
            );
        }
    }

    #[test]
    fn overwrite_is_a_letter() {
        assert_eq!(Overwrite::of_header(None), Ok(Overwrite::Refuse));
        for (value, expected) in [
            ("F", Overwrite::Refuse),
            ("f", Overwrite::Refuse),
            ("T", Overwrite::Replace),
            ("t", Overwrite::Replace),
        ] {
            assert_eq!(Overwrite::of_header(Some(value)), Ok(expected));
        }
        for value in ["", "true", "TF", " T"] {
            assert_eq!(
                Overwrite::of_header(Some(value)),
                Err(InvalidHeaderError),
                "{value:?}"
            );
        }
    }

    #[test]
    fn recursive_is_a_word() {
        assert_eq!(Recursive::of_collection(None), Ok(Recursive::No));
        assert_eq!(Recursive::of_collection(Some("TRUE")), Ok(Recursive::Yes));
        assert_eq!(Recursive::of_collection(Some("false")), Ok(Recursive::No));
        for value in ["", "yes", "1", "true "] {
            assert_eq!(
                Recursive::of_collection(Some(value)),
                Err(InvalidHeaderError),
                "{value:?}"
            );
        }
    }
}
