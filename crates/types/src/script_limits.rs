//! The limits of scripts.

use std::time::Duration;

/// The limits of scripts.
#[derive(Debug, Clone, Copy)]
pub struct ScriptLimits {
    /// The time for a whole script, its output included.
    pub timeout: Duration,
    /// The memory of one script, in bytes.
    pub memory_max_bytes: usize,
    /// The stack of one script, in bytes.
    pub stack_max_bytes: usize,
    /// The largest body of a response, in bytes.
    pub output_max_bytes: u64,
    /// The largest number of requests that one script sends.
    pub calls_max: u32,
    /// The largest number of scripts that run at once.
    pub running_max: usize,
    /// The largest number of scripts of one cell that run at once.
    pub running_of_cell_max: usize,
}

impl Default for ScriptLimits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(50),
            memory_max_bytes: 64 << 20,
            stack_max_bytes: 1 << 20,
            output_max_bytes: 256 << 20,
            calls_max: 1_000,
            running_max: 200,
            running_of_cell_max: 50,
        }
    }
}
