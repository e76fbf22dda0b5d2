//! A store of file bodies in a bucket of an S3-compatible object store.
//!
//! A body is the object `<prefix>/<space>/<ab>/<id>`, where `ab` are the first two digits of its id: the names of the files of the
//! folder store. Its content is the same too: the bytes with their checksums behind them. The mark of the unit is the object
//! `<prefix>/unit.id`. Other small objects, such as those of a store of back-ups, have names of their own ([`SmallObjects`]).

mod credentials_file;
mod delayed_removal;
mod failure;
mod http_client;
mod live_writers;
mod multipart_list;
mod object_names;
mod reader;
mod settings;
mod small_objects;
mod store;
mod stream;
mod writer;

pub use settings::{Addressing, S3Credentials, S3Settings};
pub use small_objects::{ObjectVersion, SmallObject, SmallObjects};
pub use store::S3BlobStore;
