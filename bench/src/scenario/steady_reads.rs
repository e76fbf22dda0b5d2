//! Reads at a steady rate, alone and beside other work.

use super::BenchContext;
use crate::BenchResult;
use crate::load::{self, LoadProfile, Measurement, RequestGenerator, Target};
use crate::report::{Bound, Section};

/// The connections of the reads.
const CONNECTIONS: usize = 32;
/// The part of the requests per second that are possible.
const SHARE: f64 = 0.5;
/// The limit of the 99th percentile beside work over that alone.
const MAX_RATIO: f64 = 2.0;

/// Reads that come at half of the rate that is possible, whatever the server does meanwhile.
pub(super) struct SteadyReads {
    target: Target,
    profile: LoadProfile,
    generator: RequestGenerator,
    rate: f64,
    alone: Measurement,
}

impl SteadyReads {
    /// Measures how many are possible, and half of them alone.
    pub(super) async fn measure(
        context: &BenchContext,
        target: Target,
        generator: RequestGenerator,
        section: &mut Section,
    ) -> BenchResult<Self> {
        let closed = context.profile(CONNECTIONS);
        let most = load::run(target, closed, &generator).await?;
        let rate = most.per_second * SHARE;
        let profile = LoadProfile {
            rate: Some(rate),
            ..closed
        };
        let alone = load::run(target, profile, &generator).await?;
        section.measured("reads, as many as possible", most);
        section.measured(format!("reads at {rate:.0} per s alone"), alone);
        Ok(Self {
            target,
            profile,
            generator,
            rate,
            alone,
        })
    }

    /// Measures the reads while something is done. Returns its output.
    pub(super) async fn beside<T>(
        &self,
        what: &str,
        section: &mut Section,
        work: impl Future<Output = BenchResult<T>>,
    ) -> BenchResult<T> {
        let (beside, done) =
            load::run_until(self.target, self.profile, &self.generator, work).await?;
        let done = done?;
        section.measured(
            format!("reads at {:.0} per s beside {what}", self.rate),
            beside,
        );
        section.require(
            format!("reads beside {what}: 99th percentile over that alone"),
            beside.p99_us / self.alone.p99_us,
            Bound::AtMost,
            MAX_RATIO,
        );
        Ok(done)
    }
}
