//! The time until which the journals of a unit were copied, in a file of its data folder: other processes copy them, and the unit shows it.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;

use crate::key_files::{self, KeyFileError};

/// The file in the data folder. It has the milliseconds since 1970 in digits.
const FILE: &str = "journal-copied";

/// The largest such file, in bytes.
const MAX_BYTES: u64 = 32;

/// Notes the time until which the journals of the unit in this data folder were copied.
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn note(data_dir: &Path, until_ms: i64) -> Result<(), KeyFileError> {
    key_files::write_private(&data_dir.join(FILE), until_ms.to_string().as_bytes())
}

fn find(data_dir: &Path) -> Option<i64> {
    let mut text = String::new();
    let file = File::open(data_dir.join(FILE)).ok()?;
    file.take(MAX_BYTES).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// The metric with that time, of the unit in this data folder; 0 if they were never copied.
#[derive(Debug)]
pub(crate) struct JournalCollector(pub(crate) PathBuf);

impl Collector for JournalCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let until_ms = find(&self.0).unwrap_or(0);
        let gauge = ConstGauge::new(until_ms.div_euclid(1000));
        let metric = encoder.encode_descriptor(
            "personium_journal_copied_timestamp_seconds",
            "The time until which back-ups have the journal of the unit",
            None,
            gauge.metric_type(),
        )?;
        gauge.encode(metric)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::system;

    #[test]
    fn metric_is_the_time_that_was_noted_and_nothing_else_in_the_file_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let shown = || {
            let collector = JournalCollector(folder.path().to_owned());
            let metrics = Metrics::new(system::clock()).with_collector(Box::new(collector));
            let text = metrics.encode().unwrap();
            let name = "personium_journal_copied_timestamp_seconds ";
            let found = text.lines().find_map(|line| line.strip_prefix(name));
            found.map(str::to_owned)
        };
        assert_eq!(shown().as_deref(), Some("0"));
        note(folder.path(), 1_800_000_000_999).unwrap();
        assert_eq!(shown().as_deref(), Some("1800000000"));
        std::fs::write(folder.path().join(FILE), "9".repeat(1_000)).unwrap();
        assert_eq!(shown().as_deref(), Some("0"));
    }
}
