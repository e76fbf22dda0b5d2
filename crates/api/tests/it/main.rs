//! The API as a whole, in process and over stores in memory. The folders mirror the URLs.

mod dav;
mod harness;
