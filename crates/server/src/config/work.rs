//! Background work.

use super::rule::Number;
use super::section::section;

section! {
    /// How much background work runs at the same time.
    WorkThreads "Background work" {
        /// Exports and imports of cells.
        _cell_io: usize = "thread.pool.num.io.cell", "10", Number(1..=1024);
        /// Exports and installations of boxes. One cell gets a quarter at most.
        box_io: usize = "thread.pool.num.io.box", "20", Number(1..=1024);
        /// Everything else.
        misc: usize = "thread.pool.num.misc", "20", Number(1..=1024);
    }
}
