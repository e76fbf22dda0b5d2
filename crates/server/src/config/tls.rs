//! Settings of TLS in this process, and of the authority that its certificate comes from.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::section::section;
use super::value_parser::{
    FilePath, Flag, HostName, Number, OneOf, Optional, SocketAddress, Url, ValueParser,
};
use super::{Config, ConfigReader, RecordStoreKind};

section! {
    /// Settings of TLS in this process.
    TlsConfig "TLS" {
        /// The address and port for clients over TLS, such as 0.0.0.0:443, if no server in front of the unit has TLS. What clients
        /// send as X-Forwarded headers there is ignored. The port of the setting listen stays, for programs of this machine.
        listen: Option<SocketAddr> = "tls.listen", "", Optional(SocketAddress);
        /// The certificate (PEM) of that port, with those of intermediate authorities behind it.
        certificate: Option<PathBuf> = "tls.crt", "", Optional(FilePath);
        /// The private key (PEM, unencrypted) of that certificate.
        key: Option<PathBuf> = "tls.key", "", Optional(FilePath);
        /// The address and port without TLS, such as 0.0.0.0:80, from which pages are led to the URL of the unit. It answers the
        /// challenges http-01 too.
        redirect: Option<SocketAddr> = "tls.redirect.listen", "", Optional(SocketAddress);
    }
}

/// How an authority verifies that a name belongs to the unit (RFC 8555, section 8; RFC 8737).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcmeChallenge {
    /// A file at port 80 of the name.
    Http01,
    /// A certificate at port 443 of the name.
    TlsAlpn01,
    /// A record of the name system, which a command of the operator sets.
    Dns01,
}

impl AcmeChallenge {
    /// Returns the name of its type.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::Dns01 => "dns-01",
        }
    }
}

section! {
    /// Settings of the authority that the certificate of the TLS port comes from.
    AcmeConfig "Certificate of an authority" {
        /// The URL of the directory of an authority with the protocol ACME, such as
        /// https://acme-v02.api.letsencrypt.org/directory. The unit gets the certificate of the TLS port from it and renews it. Only
        /// for a unit that is one process.
        directory: Option<String> = "tls.acme.directory", "", Optional(Url);
        /// Whether the operator agrees to the terms of that authority. Without it, there is no account.
        terms_agreed: bool = "tls.acme.termsAgreed", "false", Flag;
        /// The mail address of the account at the authority.
        contact: Option<String> = "tls.acme.contact", "", Optional(MailAddress);
        /// The names of the certificate, separated by spaces; by default the host of the unit, and with the challenge dns-01 and
        /// cells with hosts also *. with it.
        names: Vec<String> = "tls.acme.names", "", CertificateNames;
        /// The challenge by which the authority verifies the names: http-01 needs tls.redirect.listen at port 80, tls-alpn-01
        /// needs tls.listen at port 443, dns-01 needs tls.acme.dns.command. Only dns-01 is for names with *.
        challenge: AcmeChallenge = "tls.acme.challenge", "http-01", OneOf(&[
            ("http-01", AcmeChallenge::Http01), ("tls-alpn-01", AcmeChallenge::TlsAlpn01), ("dns-01", AcmeChallenge::Dns01),
        ]);
        /// The program that sets TXT records for dns-01. It is called with `add` or `remove`, the name of the record and its value,
        /// and has 120 seconds. Its environment has nothing but PATH.
        dns_command: Option<PathBuf> = "tls.acme.dns.command", "", Optional(FilePath);
        /// The number of seconds from the end of that program until the authority may ask for the record.
        dns_wait_secs: u64 = "tls.acme.dns.waitInSec", "30", Number(0..=3600);
        /// The certificates (PEM) that the server of the authority is verified with, besides those of this machine.
        root: Option<PathBuf> = "tls.acme.root", "", Optional(FilePath);
        /// The folder of certificate, account and state. By default, it is acme in data.dir.
        folder: Option<PathBuf> = "tls.acme.folder", "", Optional(FilePath);
        /// The file of the key of the account; made if it does not exist. By default, it is a file of that folder, one for each
        /// authority.
        account: Option<PathBuf> = "tls.acme.accountKey", "", Optional(FilePath);
        /// The number of seconds after a failed attempt until the next one. It doubles with each further failure, up to a day.
        retry_secs: u64 = "tls.acme.retryInSec", "900", Number(1..=86_400);
    }
}

/// A mail address.
#[derive(Debug)]
pub(super) struct MailAddress;

impl ValueParser<String> for MailAddress {
    fn parse(&self, text: &str, _folder: &Path) -> Option<String> {
        let text = text.trim();
        let text = text.strip_prefix("mailto:").unwrap_or(text);
        let (user, host) = text.split_once('@')?;
        let is_permitted = |c: char| c.is_ascii_graphic() && !",;<>()[]\\\"@?".contains(c);
        (!user.is_empty() && !host.is_empty() && user.chars().chain(host.chars()).all(is_permitted))
            .then(|| text.to_owned())
    }

    fn permitted(&self) -> String {
        "a mail address".into()
    }
}

/// Host names, also with `*.` at the begin, separated by spaces; the list may be empty.
#[derive(Debug)]
pub(super) struct CertificateNames;

/// The largest number of names in a certificate of an authority.
const MAX_NAMES: usize = 100;

impl ValueParser<Vec<String>> for CertificateNames {
    fn parse(&self, text: &str, folder: &Path) -> Option<Vec<String>> {
        let name = |name: &str| match name.strip_prefix("*.") {
            Some(parent) => Some(format!("*.{}", HostName.parse(parent, folder)?)),
            None => HostName.parse(name, folder),
        };
        let names: Vec<String> = text.split_whitespace().map(name).collect::<Option<_>>()?;
        (names.len() <= MAX_NAMES).then_some(names)
    }

    fn permitted(&self) -> String {
        "host names separated by spaces, also with *. at the begin".into()
    }
}

impl Config {
    /// Checks the settings of TLS and of the authority.
    pub(super) fn check_tls(&self, reader: &mut ConfigReader) {
        let (tls, acme) = (&self.tls, &self.acme);
        let has_files = tls.certificate.is_some();
        if has_files != tls.key.is_some() {
            reader.add_key_problem("tls.crt", "must be given together with tls.key");
        }
        if has_files && acme.directory.is_some() {
            reader.add_key_problem(
                "tls.acme.directory",
                "gives the TLS port its certificate, and tls.crt another one; give one of them",
            );
        }
        if tls.listen.is_some() && !has_files && acme.directory.is_none() {
            reader.add_key_problem(
                "tls.listen",
                "needs a certificate: tls.crt and tls.key, or tls.acme.directory",
            );
        }
        if tls.listen.is_none() && (has_files || tls.redirect.is_some()) {
            reader.add_key_warning("tls.listen", "is not given: there is no TLS port");
        }
        if acme.directory.is_some() {
            self.check_acme(reader);
        }
    }

    fn check_acme(&self, reader: &mut ConfigReader) {
        let (tls, acme) = (&self.tls, &self.acme);
        if self.store.kind == RecordStoreKind::Postgres {
            reader.add_key_problem(
                "tls.acme.directory",
                "is for a unit that is one process, and with store.type=postgres there can be several, each of which would get \
                 certificates; let the web layer in front of them get one, or give tls.crt and tls.key",
            );
        }
        if tls.listen.is_none() {
            reader.add_key_problem("tls.acme.directory", "needs tls.listen");
        }
        if !acme.terms_agreed {
            reader.add_key_problem(
                "tls.acme.termsAgreed",
                "must be true: the authority gives certificates to those who agree to its terms",
            );
        }
        if acme
            .directory
            .as_deref()
            .is_some_and(|url| !url.starts_with("https://"))
        {
            reader.add_key_problem("tls.acme.directory", "must be a URL with https");
        }
        let has_wildcard = acme.names.iter().any(|name| name.starts_with("*."));
        match acme.challenge {
            AcmeChallenge::Http01 if tls.redirect.is_none() => {
                reader.add_key_problem("tls.acme.challenge", "http-01 needs tls.redirect.listen");
            }
            AcmeChallenge::Dns01 if acme.dns_command.is_none() => {
                reader.add_key_problem("tls.acme.challenge", "dns-01 needs tls.acme.dns.command");
            }
            AcmeChallenge::Http01 | AcmeChallenge::TlsAlpn01 if has_wildcard => {
                reader.add_key_problem(
                    "tls.acme.names",
                    "names with * need tls.acme.challenge=dns-01",
                );
            }
            AcmeChallenge::Http01 | AcmeChallenge::TlsAlpn01 if !self.unit.path_based => {
                reader.add_key_warning(
                    "tls.acme.challenge",
                    "gives no certificate for the hosts of cells; dns-01 does, or pathBasedCellUrl.enabled=true",
                );
            }
            AcmeChallenge::Http01 | AcmeChallenge::TlsAlpn01 | AcmeChallenge::Dns01 => {}
        }
    }
}
