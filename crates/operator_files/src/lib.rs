//! Files that the operator of a unit names in settings: secrets, and the certificates of TLS connections to other servers.

pub mod tls;
mod trusted_file;

pub use trusted_file::{WRITABLE_BY_ALL, open_trusted_file, read_secret, read_trusted_file};
