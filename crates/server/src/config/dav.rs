//! Limits of WebDAV.

use super::section::section;
use super::value_parser::{Number, Optional};

section! {
    /// Limits of WebDAV.
    DavConfig "WebDAV" {
        /// The largest number of members of a collection.
        children_max: i64 = "dav.childresource.maxnum", "1024", Number(1..=i64::from(u32::MAX));
        /// The largest nesting depth of collections in a box.
        depth_max: usize = "dav.depth.maxnum", "50", Number(1..=1000);
        /// The largest size of a file in bytes; by default, only the disk limits it.
        file_max_bytes: Option<u64> = "dav.file.maxBytes", "", Optional(Number(1..=u64::MAX));
        /// The largest size of an XML body in bytes.
        xml_max_bytes: usize = "dav.xml.maxBytes", "1048576", Number(1024..=1 << 28);
        /// The largest size in bytes of a file that is stored with the records instead of in a file of its own.
        inline_max_bytes: usize = "dav.inline.maxBytes", "16384", Number(0..=1 << 20);
        /// The largest total size in bytes of the properties that clients set on one resource.
        properties_max_bytes: usize = "dav.properties.maxBytes", "1048576", Number(1024..=1 << 28);
        /// The largest number of uploads of files and archives that are written to the storage at the same time; further
        /// ones are queued. One cell can use a quarter of them. Uploads that wait for their client do not count.
        uploads_max: usize = "dav.uploads.max", "256", Number(1..=1_000_000);
        /// The largest number of queued uploads that have not begun to write. An upload waits for up to 30 seconds, and one
        /// cell can use a quarter of the queue; further uploads are refused.
        upload_queue_max: usize = "dav.uploads.queue.max", "1024", Number(0..=1_000_000);
    }
}
