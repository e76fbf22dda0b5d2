//! A store of file bodies in a folder of this machine or of a shared file system.
//!
//! A body is the file `<root>/<space>/<ab>/<id>`, where `ab` are the first two digits of its id. It is written under
//! another name and renamed when it is complete. Checksums follow its bytes and are compared when it is read.

mod disk;
mod file_calls;
mod reader;
mod settings;
mod store;
mod writer;

pub use settings::{BlobSync, FolderSettings};
pub use store::FolderStore;
