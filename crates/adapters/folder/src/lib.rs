//! File bodies in a folder of this machine or on a shared file system.
//!
//! A body is the file `<root>/<space>/<ab>/<id>`, `ab` being the first two digits of its id. It is written under
//! another name and renamed when it is whole, so that what has its name is never half there.

mod disk;
mod reader;
mod store;
mod writer;

pub use store::{FolderStore, Settings, Sync};
