//! The trust in the origin of a URL.

/// Who chose a URL, which decides where it may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UrlTrust {
    /// The operator of the unit: any address.
    Operator,
    /// The owner of a cell: public addresses only, unless the operator permits private ones.
    CellOwner,
}
