//! Settings of background work.

use super::section::section;
use super::value_parser::Number;

section! {
    /// Settings of background work.
    BackgroundConfig "Background work" {
        /// The largest number of exports and imports of cells at the same time.
        _cell_transfers_max: usize = "thread.pool.num.io.cell", "10", Number(1..=1024);
        /// The largest number of box installations at the same time. One cell can use a quarter of them.
        box_installs_max: usize = "thread.pool.num.io.box", "20", Number(1..=1024);
        /// The largest number of other background tasks at the same time, such as requests of rules.
        tasks_max: usize = "thread.pool.num.misc", "20", Number(1..=1024);
    }
}
