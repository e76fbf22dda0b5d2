//! The options of `personium audit`.

use std::process::ExitCode;

use clap::Subcommand;
use personium_model::audit::{AuditFilter, NotedEntry};
use personium_types::time::{iso_time, parse_iso_time};

use super::{DAMAGED_STATUS, load_settings, print, runtime};
use crate::config::ConfigSources;
use crate::{audit, data_folder};

/// The number of hexadecimal digits of a hash.
const HASH_DIGITS: usize = 64;

#[derive(Debug, Subcommand)]
pub(super) enum AuditSubcommand {
    /// Look for entries that were changed, removed or put elsewhere. The status is 3 if there is one.
    Verify {
        /// Print the outcome as JSON.
        #[arg(long)]
        json: bool,
        /// Last entry of a former verification, as it was printed: the log must still contain it.
        #[arg(long, value_name = "NUMBER:HASH", value_parser = noted_entry)]
        contains: Option<NotedEntry>,
    },
    /// Print the entries, a line of JSON each.
    Export {
        /// First time, such as 2026-01-31 or 2026-01-31T09:15:30Z.
        #[arg(long, value_name = "TIME", value_parser = time)]
        from: Option<String>,
        /// Time before which the entries are.
        #[arg(long, value_name = "TIME", value_parser = time)]
        until: Option<String>,
    },
}

/// A time in the form in which entries have theirs.
fn time(text: &str) -> Result<String, String> {
    let ms = parse_iso_time(text);
    ms.map(iso_time)
        .ok_or_else(|| "it must be a day or a time of RFC 3339".to_owned())
}

fn noted_entry(text: &str) -> Result<NotedEntry, String> {
    let parsed = text.split_once(':').and_then(|(sequence, hash)| {
        let is_hash = hash.len() == HASH_DIGITS && hash.bytes().all(|b| b.is_ascii_hexdigit());
        Some(NotedEntry {
            sequence: sequence.parse().ok()?,
            hash: is_hash.then(|| hash.to_ascii_lowercase())?,
        })
    });
    parsed.ok_or_else(|| "it must be NUMBER:HASH, as `personium audit verify` prints it".to_owned())
}

impl AuditSubcommand {
    pub(super) fn run(self, sources: &ConfigSources) -> Result<ExitCode, String> {
        let config = load_settings(sources)?.config;
        data_folder::restrict_new_files();
        let runtime = runtime(1)?;
        match self {
            Self::Verify { json, contains } => {
                let verified = audit::verify(&config, contains.as_ref(), json, print);
                Ok(match runtime.block_on(Box::pin(verified))? {
                    true => ExitCode::SUCCESS,
                    false => ExitCode::from(DAMAGED_STATUS),
                })
            }
            Self::Export { from, until } => {
                let filter = AuditFilter { from, until };
                let exported = audit::export(&config, &filter, print);
                runtime.block_on(Box::pin(exported))?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_days_and_times_of_any_zone() {
        for (given, expected) in [
            ("2026-01-31", Some("2026-01-31T00:00:00.000Z")),
            ("2026-01-31T09:15:30Z", Some("2026-01-31T09:15:30.000Z")),
            (
                "2026-01-31T10:15:30.5+01:00",
                Some("2026-01-31T09:15:30.500Z"),
            ),
            ("yesterday", None),
            ("2026-02-30", None),
            ("", None),
        ] {
            assert_eq!(time(given).ok().as_deref(), expected, "{given}");
        }
    }

    #[test]
    fn noted_entry_is_a_number_and_a_hash() {
        let hash = "Ab".repeat(32);
        let noted = noted_entry(&format!("17:{hash}")).unwrap();
        assert_eq!((noted.sequence, noted.hash), (17, "ab".repeat(32)));
        for bad in [
            "",
            "17",
            "17:",
            "x:1",
            &format!(":{hash}"),
            &format!("-1:{hash}"),
        ] {
            assert!(noted_entry(bad).is_err(), "{bad}");
        }
    }
}
