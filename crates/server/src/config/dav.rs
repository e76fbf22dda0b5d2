//! Limits of WebDAV.

use super::rule::{Maybe, Number};
use super::section::section;

section! {
    /// Limits of WebDAV.
    Dav "WebDAV" {
        /// Members of a collection.
        children_max: i64 = "dav.childresource.maxnum", "1024", Number(1..=i64::from(u32::MAX));
        /// Nesting of collections in a box.
        depth_max: usize = "dav.depth.maxnum", "50", Number(1..=1000);
        /// Bytes of a file; without a value there is no limit but the disk.
        file_max: Option<u64> = "dav.file.maxBytes", "", Maybe(Number(1..=u64::MAX));
        /// Bytes of an XML body.
        xml_max: usize = "dav.xml.maxBytes", "1048576", Number(1024..=1 << 28);
        /// Files of up to this many bytes are kept with the records.
        inline_max: usize = "dav.inline.maxBytes", "16384", Number(0..=1 << 20);
        /// Bytes of the properties that clients may give to one resource.
        properties_max: usize = "dav.properties.maxBytes", "1048576", Number(1024..=1 << 28);
        /// Files and archives that are received at the same time; more wait. One cell gets a quarter of the places at most.
        uploads_max: usize = "dav.uploads.max", "256", Number(1..=1_000_000);
        /// Files and archives that may wait for their turn, up to 30 seconds, a quarter of them for one cell at most; more
        /// are refused.
        uploads_waiting_max: usize = "dav.uploads.maxWaiting", "1024", Number(0..=1_000_000);
    }
}
