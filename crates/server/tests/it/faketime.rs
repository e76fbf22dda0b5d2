//! Processes that are shown another time.

/// The library of the package `faketime` that a process preloads, as the dynamic linker finds it (`ld.so(8)`, `$LIB`).
///
/// The command of the package is not used: it fails if an earlier process of the same process id, which was killed, has left its
/// shared memory.
pub const FAKETIME_LIBRARY: &str = "/usr/$LIB/faketime/libfaketimeMT.so.1";
