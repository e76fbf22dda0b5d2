//! The credentials of every unit for tests.

/// The master token of every unit.
pub const MASTER_TOKEN: &str = "master";

/// The password of every account.
pub const PASSWORD: &str = "password1";
