//! The trust in the origin of a URL.

/// The origin of a URL, which decides what addresses it may lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UrlTrust {
    /// The operator of the unit: any address.
    Operator,
    /// The owner of a cell: public addresses only, unless the operator permits private ones.
    CellOwner,
}
