//! The key of file bodies, as far as it was loaded.

use personium_token::at_rest::BodyKey;
use tokio::sync::OnceCell;

/// The key of the file bodies of a unit, loaded when it is first needed.
///
/// It is generated for the first body that is encrypted, and stored in the records of the unit, sealed with the unit secret.
/// After a change of the unit secret the former one must be configured beside it; the key is then sealed with the new one.
#[derive(Debug, Default)]
pub(crate) struct UnitBodyKey(pub(crate) OnceCell<BodyKey>);
