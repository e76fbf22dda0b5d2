//! Request headers of WebDAV methods.

mod range;

pub use range::{SelectedRange, select_range};

/// The `Depth` header of PROPFIND.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The resource only.
    Zero,
    /// The resource and its members.
    One,
    /// The resource and everything below it.
    Infinity,
}

/// The value of a header is not one of the allowed values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid header value")]
pub struct InvalidHeaderError;

impl Depth {
    /// Parses the `Depth` header of PROPFIND (RFC 4918, section 10.2): `infinity` in any letter case.
    ///
    /// # Errors
    /// [`InvalidHeaderError`] for everything but `0`, `1` and `infinity`.
    pub fn parse(value: &str) -> Result<Self, InvalidHeaderError> {
        match value {
            "0" => Ok(Self::Zero),
            "1" => Ok(Self::One),
            _ if value.eq_ignore_ascii_case("infinity") => Ok(Self::Infinity),
            _ => Err(InvalidHeaderError),
        }
    }
}

/// Validates the `Depth` header of MOVE: absent, or `infinity` in any letter case.
///
/// # Errors
/// [`InvalidHeaderError`] for every other value, including the empty one.
pub fn check_move_depth(header: Option<&str>) -> Result<(), InvalidHeaderError> {
    match header {
        None => Ok(()),
        Some(value) if value.eq_ignore_ascii_case("infinity") => Ok(()),
        Some(_) => Err(InvalidHeaderError),
    }
}

/// The `Overwrite` header of MOVE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrite {
    /// `T`: an existing file at the destination is replaced.
    Replace,
    /// `F`: an existing file at the destination is an error.
    Refuse,
}

impl Overwrite {
    /// Parses the header. An absent header means [`Overwrite::Refuse`], unlike in RFC 4918.
    ///
    /// # Errors
    /// [`InvalidHeaderError`] for every value but `T` and `F` in either letter case.
    pub fn of_header(header: Option<&str>) -> Result<Self, InvalidHeaderError> {
        match header {
            None | Some("F" | "f") => Ok(Self::Refuse),
            Some("T" | "t") => Ok(Self::Replace),
            Some(_) => Err(InvalidHeaderError),
        }
    }
}

/// The `X-Personium-Recursive` header of DELETE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recursive {
    /// The collection is deleted with its contents.
    Yes,
    /// Only an empty collection is deleted.
    No,
}

impl Recursive {
    /// Parses the header for a collection below a box: `true` or `false` in any letter case. An absent header means no.
    ///
    /// # Errors
    /// [`InvalidHeaderError`] for every other value.
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
    fn propfind_depth_is_zero_one_or_infinity() {
        for (value, depth) in [
            ("0", Depth::Zero),
            ("1", Depth::One),
            ("infinity", Depth::Infinity),
            ("Infinity", Depth::Infinity),
        ] {
            assert_eq!(Depth::parse(value), Ok(depth));
        }
        for value in ["", "infinite", "2", "-1", "1 ", "01", "null"] {
            assert_eq!(Depth::parse(value), Err(InvalidHeaderError), "{value:?}");
        }
    }

    #[test]
    fn move_depth_is_infinity_or_absent() {
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
    fn overwrite_is_t_or_f() {
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
    fn recursive_is_true_or_false() {
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
