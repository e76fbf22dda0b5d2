//! The options of `personium config`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};

use super::{load_settings, print, print_report};
use crate::config::{ConfigError, ConfigSources, example, page};
use crate::config_report::{check, differences, effective, text_of};

#[derive(Debug, Subcommand)]
pub(super) enum ConfigSubcommand {
    /// Print the value of each setting and where it was given. Secrets are masked.
    Show {
        /// Print only the settings that were given.
        #[arg(long)]
        given: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Check the settings, or the settings file of another unit, without starting. Names unknown and retired keys with their
    /// replacement.
    Check {
        /// Settings file to check by itself, without environment and options.
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// Fail because of warnings too.
        #[arg(long)]
        strict: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the description of all settings.
    Docs {
        /// Format.
        #[arg(long, value_enum, default_value = "markdown")]
        format: DocsFormat,
    },
    /// Print the settings that differ from their defaults, or from those of a settings file, and whether a change needs a
    /// restart.
    Diff {
        /// Settings file to compare with. Environment and options count for both.
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// A format of the description of settings.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum DocsFormat {
    /// A page.
    Markdown,
    /// A settings file in which every line is a comment.
    Properties,
}

/// The sources that the command line names, or the reason why they cannot be read.
type Sources = Result<ConfigSources, ConfigError>;

impl ConfigSubcommand {
    /// Runs the command.
    ///
    /// # Errors
    /// A text if the settings cannot be used, or nothing can be printed.
    pub(super) fn run(self, sources: Sources) -> Result<ExitCode, String> {
        match self {
            Self::Show { given, json } => show(&sources, given, json),
            Self::Check { file, strict, json } => {
                let sources = match file {
                    Some(file) => Ok(ConfigSources {
                        file: Some(file),
                        ..ConfigSources::default()
                    }),
                    None => sources,
                };
                let report = check(sources);
                let status = print_report(&report, json)?;
                Ok(match strict && report.has_warnings() {
                    true => ExitCode::FAILURE,
                    false => status,
                })
            }
            Self::Docs { format } => printed(match format {
                DocsFormat::Markdown => page::text(),
                DocsFormat::Properties => example::text(),
            }),
            Self::Diff { file, json } => diff(&sources, file, json),
        }
    }
}

fn printed(text: String) -> Result<ExitCode, String> {
    print(&text).map_err(|error| format!("the output could not be written: {error}"))?;
    Ok(ExitCode::SUCCESS)
}

fn of(sources: &Sources) -> Result<&ConfigSources, String> {
    sources.as_ref().map_err(ToString::to_string)
}

fn show(sources: &Sources, only_given: bool, as_json: bool) -> Result<ExitCode, String> {
    let mut settings = effective(&load_settings(of(sources)?)?);
    settings.retain(|setting| setting.is_given || !only_given);
    printed(text_of(&settings, as_json))
}

fn diff(sources: &Sources, file: Option<PathBuf>, as_json: bool) -> Result<ExitCode, String> {
    let sources = of(sources)?;
    let here = load_settings(sources)?;
    let there = match file {
        None => load_settings(&ConfigSources::default())?,
        Some(file) => load_settings(&ConfigSources {
            file: Some(file),
            ..sources.clone()
        })?,
    };
    printed(text_of(&differences(&here, &there), as_json))
}
