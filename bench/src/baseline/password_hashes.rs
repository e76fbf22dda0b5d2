//! The baseline of logins: scrypt with the default parameters of a unit, and nothing else.

use std::time::{Duration, Instant};

use super::threads::repeated_per_second;
use crate::BenchResult;

/// The binary logarithm of 16384, the default of `io.personium.core.security.auth.password.scrypt.cpuCost`.
const LOG2_COST: u8 = 14;

fn hash() -> BenchResult {
    let parameters = scrypt::Params::new(LOG2_COST, 8, 1)
        .map_err(|error| format!("invalid scrypt parameters: {error}"))?;
    let mut derived = [0; 32];
    scrypt::scrypt(b"password1", &[5; 64], &parameters, &mut derived)
        .map_err(|error| format!("cannot hash: {error}"))?;
    // Prevents the compiler from removing the work.
    if derived == [0; 32] {
        Err("the hash is zero".to_owned())
    } else {
        Ok(())
    }
}

/// Hashes in several threads. Returns the number of hashes per second.
///
/// # Errors
/// A message if the parameters are invalid.
pub(crate) fn per_second(threads: u64, duration: Duration) -> BenchResult<f64> {
    repeated_per_second(threads, duration, hash)
}

/// Computes `count` hashes one after the other. Returns the seconds.
///
/// # Errors
/// A message if the parameters are invalid.
pub(crate) fn sequence_seconds(count: u64) -> BenchResult<f64> {
    let start = Instant::now();
    for _ in 0..count {
        hash()?;
    }
    Ok(start.elapsed().as_secs_f64())
}
