//! The floor of logging in: scrypt with the parameters of a unit, and nothing else.

use std::time::{Duration, Instant};

use crate::Outcome;

/// 2^14, as `io.personium.core.security.auth.password.scrypt.cpuCost` has it by default.
const LOG_COST: u8 = 14;

fn hash() -> Outcome {
    let parameters =
        scrypt::Params::new(LOG_COST, 8, 1).map_err(|e| format!("bad parameters: {e}"))?;
    let mut derived = [0; 32];
    scrypt::scrypt(b"password1", &[5; 64], &parameters, &mut derived)
        .map_err(|e| format!("cannot hash: {e}"))?;
    // Keeps the work from being optimised away.
    if derived == [0; 32] {
        Err("a hash of zeros".to_owned())
    } else {
        Ok(())
    }
}

/// Hashes on so many threads until the time is over; gives hashes per second.
///
/// # Errors
/// When the parameters are refused.
pub(crate) fn rate(threads: u64, time: Duration) -> Outcome<f64> {
    let began = Instant::now();
    let threads: Vec<_> = (0..threads)
        .map(|_| {
            std::thread::spawn(move || {
                let mut done = 0_u32;
                while began.elapsed() < time {
                    hash()?;
                    done += 1;
                }
                Ok::<u32, String>(done)
            })
        })
        .collect();
    let mut done = 0;
    for thread in threads {
        done += thread.join().map_err(|_| "a thread ended".to_owned())??;
    }
    Ok(f64::from(done) / began.elapsed().as_secs_f64())
}

/// So many hashes one after the other; gives the seconds.
///
/// # Errors
/// When the parameters are refused.
pub(crate) fn in_a_row(count: u64) -> Outcome<f64> {
    let began = Instant::now();
    for _ in 0..count {
        hash()?;
    }
    Ok(began.elapsed().as_secs_f64())
}
