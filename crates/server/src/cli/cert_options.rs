//! The options of `personium cert`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use personium_token::trust::{CertificatePurpose, RsaBits};
use personium_types::error::chain;

use super::options::Options;
use super::{load_settings, print, runtime};
use crate::acme;
use crate::cert::{self, CertError, KeyChange, KeyPairFiles, NewCertificate, Renewal};
use crate::config::ConfigSources;
use crate::config_report::text_of;
use crate::data_folder;

#[derive(Debug, Subcommand)]
pub(super) enum CertSubcommand {
    /// Make an RSA key.
    Key {
        /// File to write, which must not exist.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// Size of the key in bits.
        #[arg(long, value_enum, default_value = "2048")]
        bits: KeySize,
    },
    /// Make a request for a certificate, to be sent to an issuer.
    Csr {
        /// Key; made if it does not exist.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// File to write, which must not exist.
        #[arg(long, value_name = "FILE")]
        request: PathBuf,
        #[command(flatten)]
        subject: SubjectOptions,
    },
    /// Make a certificate for the key of a unit, signed by itself.
    SelfSigned {
        #[command(flatten)]
        files: TargetOptions,
        #[command(flatten)]
        subject: SubjectOptions,
        /// Days for which it is valid.
        #[arg(long, value_name = "N", default_value_t = 3650, value_parser = days())]
        days: u32,
    },
    /// Make a certificate for a TLS server: for the host name of the unit and all names directly below it. Signed by itself, or
    /// by an authority.
    Server {
        #[command(flatten)]
        files: TargetOptions,
        #[command(flatten)]
        subject: SubjectOptions,
        #[command(flatten)]
        authority: AuthorityOptions,
        /// Days for which it is valid.
        #[arg(long, value_name = "N", default_value_t = 365, value_parser = days())]
        days: u32,
    },
    /// Make an authority that issues certificates for several units.
    Ca {
        #[command(flatten)]
        files: TargetOptions,
        /// Name of the authority.
        #[arg(long, value_name = "NAME")]
        name: String,
        /// Organization in the name.
        #[arg(long, value_name = "NAME")]
        organization: Option<String>,
        /// Days for which it is valid.
        #[arg(long, value_name = "N", default_value_t = 3650, value_parser = days())]
        days: u32,
    },
    /// Issue a certificate for a request.
    Sign {
        /// Request.
        #[arg(long, value_name = "FILE")]
        request: PathBuf,
        /// File to write, which must not exist.
        #[arg(long, value_name = "FILE")]
        cert: PathBuf,
        #[command(flatten)]
        authority: RequiredAuthorityOptions,
        /// Purpose of the certificate.
        #[arg(long = "for", value_enum, default_value = "unit")]
        purpose: SignedPurpose,
        /// Days for which it is valid.
        #[arg(long, value_name = "N", default_value_t = 730, value_parser = days())]
        days: u32,
    },
    /// Trust the certificates in a file: adds it to x509.root in the settings file.
    Trust {
        /// Certificate of an authority or of another unit. It stays where it is.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// List the certificate of the unit, the trusted ones, and those in files.
    List {
        /// Files.
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show the certificate that the unit gets from an authority (ACME) for its TLS port, and the last failure.
    Acme {
        /// First get a new certificate, whether one is due or not. A unit that runs does it and uses it at once.
        #[arg(long)]
        now: bool,
        /// First get a new certificate if one is due and no unit runs, which would do it: for timers beside a web server.
        #[arg(long, conflicts_with = "now")]
        if_due: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Renew a certificate: same key, same names, new validity [default: the certificate of the unit]. Or give the unit another key.
    Renew {
        /// Key.
        #[arg(long, value_name = "FILE", requires = "cert")]
        key: Option<PathBuf>,
        /// Certificate, which is replaced.
        #[arg(long, value_name = "FILE", requires = "key")]
        cert: Option<PathBuf>,
        #[command(flatten)]
        authority: AuthorityOptions,
        /// Days for which it is valid [default: as long as before].
        #[arg(long, value_name = "N", value_parser = days())]
        days: Option<u32>,
        /// Give the unit another key with a certificate for it. The one before is trusted until you remove it from x509.root.
        #[arg(long, conflicts_with_all = ["key", "cert"])]
        new_key: bool,
        /// With --new-key: only make key and certificate, so that other units can trust it before it is used.
        #[arg(long, requires = "new_key")]
        prepare: bool,
    },
}

fn days() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=36_500)
}

/// The size of a key.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum KeySize {
    /// 2048 bits.
    #[value(name = "2048")]
    Bits2048,
    /// 3072 bits.
    #[value(name = "3072")]
    Bits3072,
    /// 4096 bits.
    #[value(name = "4096")]
    Bits4096,
}

/// The purpose of a signed certificate.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum SignedPurpose {
    /// A unit signs tokens with the key.
    Unit,
    /// A TLS server proves its name and those directly below it.
    Server,
}

/// The subject of a certificate.
#[derive(Debug, Args)]
pub(super) struct SubjectOptions {
    /// Host name of the unit [default: that of the settings].
    #[arg(long, value_name = "HOST")]
    name: Option<String>,
    /// Organization in the subject.
    #[arg(long, value_name = "NAME")]
    organization: Option<String>,
}

/// The files of a key and its certificate.
#[derive(Debug, Args)]
pub(super) struct TargetOptions {
    /// Key; made if it does not exist.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Certificate to write; it must not exist.
    #[arg(long, value_name = "FILE")]
    cert: PathBuf,
}

/// An authority, if there is one.
#[derive(Debug, Args)]
pub(super) struct AuthorityOptions {
    /// Key of the authority.
    #[arg(long, value_name = "FILE", requires = "ca_cert")]
    ca_key: Option<PathBuf>,
    /// Certificate of the authority.
    #[arg(long, value_name = "FILE", requires = "ca_key")]
    ca_cert: Option<PathBuf>,
}

/// An authority.
#[derive(Debug, Args)]
pub(super) struct RequiredAuthorityOptions {
    /// Key of the authority.
    #[arg(long, value_name = "FILE")]
    ca_key: PathBuf,
    /// Certificate of the authority.
    #[arg(long, value_name = "FILE")]
    ca_cert: PathBuf,
}

impl From<TargetOptions> for KeyPairFiles {
    fn from(options: TargetOptions) -> Self {
        Self {
            key: options.key,
            certificate: options.cert,
        }
    }
}

impl AuthorityOptions {
    fn files(self) -> Option<KeyPairFiles> {
        let (key, certificate) = (self.ca_key?, self.ca_cert?);
        Some(KeyPairFiles { key, certificate })
    }
}

impl SubjectOptions {
    fn wanted(
        self,
        purpose: CertificatePurpose,
        days: u32,
        sources: &ConfigSources,
    ) -> Result<NewCertificate, String> {
        let name = match self.name {
            Some(name) => name,
            None => shown(cert::unit_name(&load_settings(sources)?))?,
        };
        Ok(NewCertificate {
            purpose,
            name,
            organization: self.organization,
            days,
        })
    }
}

fn shown<T>(result: Result<T, CertError>) -> Result<T, String> {
    result.map_err(|error| chain(&error))
}

impl CertSubcommand {
    /// Runs the command.
    ///
    /// # Errors
    /// A text that says what is wrong and what to do.
    pub(super) fn run(
        self,
        sources: &ConfigSources,
        options: &Options,
    ) -> Result<ExitCode, String> {
        let text = match self {
            Self::Trust { file } => {
                let loaded = load_settings(sources)?;
                let settings = options.settings_file(&loaded.config);
                shown(cert::trust(&loaded, &settings, &file))?
            }
            Self::List { files, json } => {
                let rows = shown(cert::list(&load_settings(sources)?, &files))?;
                text_of(&rows, json)
            }
            Self::Acme { now, if_due, json } => {
                let loaded = load_settings(sources)?;
                data_folder::restrict_new_files();
                if now {
                    runtime(1)?.block_on(Box::pin(acme::run_now(&loaded)))?;
                }
                if if_due {
                    runtime(1)?.block_on(Box::pin(acme::run_if_due(&loaded)))?;
                }
                let report = acme::report(&loaded)?;
                match json {
                    true => format!("{:#}\n", report.json()),
                    false => report.to_string(),
                }
            }
            Self::Renew {
                authority,
                days,
                new_key: true,
                prepare,
                ..
            } => {
                let loaded = load_settings(sources)?;
                let settings = options.settings_file(&loaded.config);
                let change = KeyChange {
                    authority: authority.files(),
                    days,
                    prepare_only: prepare,
                };
                shown(cert::change_key(&loaded, &settings, &change))?
            }
            Self::Renew {
                key,
                cert,
                authority,
                days,
                ..
            } => {
                let target = key.zip(cert);
                let renewal = Renewal {
                    target: target.map(|(key, certificate)| KeyPairFiles { key, certificate }),
                    authority: authority.files(),
                    days,
                };
                shown(cert::renew(&load_settings(sources)?.config, &renewal))?
            }
            other => other.make(sources)?,
        };
        print(&text).map_err(|error| format!("the output could not be written: {error}"))?;
        Ok(ExitCode::SUCCESS)
    }

    /// Makes new files.
    fn make(self, sources: &ConfigSources) -> Result<String, String> {
        let (files, wanted, authority) = match self {
            Self::Key { key, bits } => {
                let bits = match bits {
                    KeySize::Bits2048 => RsaBits::Bits2048,
                    KeySize::Bits3072 => RsaBits::Bits3072,
                    KeySize::Bits4096 => RsaBits::Bits4096,
                };
                return shown(cert::make_key(&key, bits));
            }
            Self::Csr {
                key,
                request,
                subject,
            } => {
                let wanted = subject.wanted(CertificatePurpose::Unit, 1, sources)?;
                return shown(cert::make_request(&key, &request, &wanted));
            }
            Self::Sign {
                request,
                cert,
                authority,
                purpose,
                days,
            } => {
                let authority = KeyPairFiles {
                    key: authority.ca_key,
                    certificate: authority.ca_cert,
                };
                let purpose = match purpose {
                    SignedPurpose::Unit => CertificatePurpose::Unit,
                    SignedPurpose::Server => CertificatePurpose::Server,
                };
                return shown(cert::sign_request(
                    &request,
                    &cert,
                    &authority,
                    (purpose, days),
                ));
            }
            Self::SelfSigned {
                files,
                subject,
                days,
            } => {
                let wanted = subject.wanted(CertificatePurpose::Unit, days, sources)?;
                (files, wanted, None)
            }
            Self::Server {
                files,
                subject,
                authority,
                days,
            } => {
                let wanted = subject.wanted(CertificatePurpose::Server, days, sources)?;
                (files, wanted, authority.files())
            }
            Self::Ca {
                files,
                name,
                organization,
                days,
            } => {
                let wanted = NewCertificate {
                    purpose: CertificatePurpose::Authority,
                    name,
                    organization,
                    days,
                };
                (files, wanted, None)
            }
            Self::Trust { .. } | Self::List { .. } | Self::Acme { .. } | Self::Renew { .. } => {
                return Ok(String::new());
            }
        };
        shown(cert::make_certificate(
            &files.into(),
            &wanted,
            authority.as_ref(),
        ))
    }
}
