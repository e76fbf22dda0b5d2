//! Snapshots of cells: `__snapshot`, `__export` and `__import`.

mod files;
