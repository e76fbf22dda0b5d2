//! A connection to a directory: over TLS, from the beginning or by StartTLS, unless the server is this machine.

use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::sync::Arc;

use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, StdStream};
use personium_operator_files::tls::client_config;
use personium_types::error::chain;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use crate::message_guard::{copy_messages, elements, read_message};

/// The port of directories.
const LDAP_PORT: u16 = 389;
/// The port of directories over TLS.
const LDAPS_PORT: u16 = 636;
/// The request for TLS (RFC 4511 section 4.14): the message 1, an extended request with the name `1.3.6.1.4.1.1466.20037`.
const START_TLS: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";
/// The tag of an extended response.
const EXTENDED_RESPONSE: u8 = 0x78;
/// The result code of success: the tag of an enumeration, and its value.
const SUCCESS: (u8, &[u8]) = (0x0a, &[0]);
/// A stream that is given to the library needs a URL, whose host it does not use.
const GIVEN_STREAM_URL: &str = "ldapi://given";

/// A connection could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    /// No connection, no TLS, or it was broken off.
    #[error("the directory cannot be reached")]
    Io(#[from] io::Error),
    /// The server refuses TLS.
    #[error("the directory refuses StartTLS")]
    StartTls,
    /// The library refuses the stream.
    #[error("the connection cannot be used")]
    Library(#[from] ldap3::LdapError),
}

/// How the stream is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protection {
    /// Not at all.
    None,
    /// TLS from the beginning.
    Tls,
    /// TLS after a request in clear.
    StartTls,
}

/// A directory.
pub(crate) struct Server {
    host: Host,
    port: u16,
    protection: Protection,
    name: ServerName<'static>,
    /// The settings of TLS, unless the stream is not protected.
    tls: Option<Arc<ClientConfig>>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("protection", &self.protection)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// The server with a URL. Without a file of roots, those of this machine are trusted.
    ///
    /// # Errors
    /// A text for the operator.
    pub(crate) fn new(
        text: &str,
        start_tls: Option<bool>,
        ca_file: Option<&Path>,
    ) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("url: {error}"))?;
        let host = url
            .host_str()
            .filter(|host| !host.is_empty())
            .map(Host::parse);
        let (Some(Ok(host)), "" | "/") = (host, url.path()) else {
            return Err(
                "url must be ldaps://HOST or ldap://HOST, with a port if need be".to_owned(),
            );
        };
        let has_more = url.query().is_some() || url.fragment().is_some();
        if has_more || !url.username().is_empty() || url.password().is_some() {
            return Err("url must have a host and a port only".to_owned());
        }
        let is_local = match &host {
            Host::Domain(name) => name == "localhost",
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
        };
        let (protection, port) = match (url.scheme(), start_tls) {
            ("ldaps", None | Some(false)) => (Protection::Tls, LDAPS_PORT),
            ("ldap", None | Some(true)) => (Protection::StartTls, LDAP_PORT),
            ("ldap", Some(false)) if is_local => (Protection::None, LDAP_PORT),
            ("ldap", Some(false)) => {
                return Err("start_tls can only be switched off for this machine".to_owned());
            }
            _ => {
                return Err(
                    "url must begin with ldaps:// or ldap://; start_tls is for ldap://".to_owned(),
                );
            }
        };
        let name = match &host {
            Host::Domain(name) => {
                ServerName::try_from(name.clone()).map_err(|error| format!("url: {error}"))?
            }
            Host::Ipv4(address) => ServerName::from(std::net::IpAddr::from(*address)),
            Host::Ipv6(address) => ServerName::from(std::net::IpAddr::from(*address)),
        };
        let tls = match protection {
            Protection::None => None,
            Protection::Tls | Protection::StartTls => {
                let config = client_config(ca_file, None).map_err(|error| chain(&error))?;
                Some(Arc::new(config))
            }
        };
        Ok(Self {
            port: url.port().unwrap_or(port),
            host,
            protection,
            name,
            tls,
        })
    }

    /// Connects. The tasks that serve the connection end with the set.
    ///
    /// # Errors
    /// [`ConnectionError`]
    pub(crate) async fn connect(&self, tasks: &mut JoinSet<()>) -> Result<Ldap, ConnectionError> {
        let mut stream = match &self.host {
            Host::Domain(name) => TcpStream::connect((name.as_str(), self.port)).await?,
            Host::Ipv4(address) => TcpStream::connect((*address, self.port)).await?,
            Host::Ipv6(address) => TcpStream::connect((*address, self.port)).await?,
        };
        stream.set_nodelay(true)?;
        if self.protection == Protection::StartTls {
            start_tls(&mut stream).await?;
        }
        let (local, given) = StdUnixStream::pair()?;
        local.set_nonblocking(true)?;
        let local = UnixStream::from_std(local)?;
        match &self.tls {
            None => tasks.spawn(relay(stream, local)),
            Some(tls) => {
                let connector = TlsConnector::from(Arc::clone(tls));
                let stream = connector.connect(self.name.clone(), stream).await?;
                tasks.spawn(relay(stream, local))
            }
        };
        let settings = LdapConnSettings::new().set_std_stream(StdStream::Unix(given));
        let (connection, ldap) = LdapConnAsync::with_settings(settings, GIVEN_STREAM_URL).await?;
        tasks.spawn(async move {
            // The operations that wait for an answer report the failure.
            let _ = connection.drive().await;
        });
        Ok(ldap)
    }
}

/// Asks for TLS. Nothing that the server sends before is used, except whether it agrees.
async fn start_tls(stream: &mut TcpStream) -> Result<(), ConnectionError> {
    stream.write_all(START_TLS).await?;
    let answer = read_message(stream).await?.unwrap_or_default();
    match agrees(&answer) {
        Some(true) => Ok(()),
        Some(false) | None => Err(ConnectionError::StartTls),
    }
}

/// Whether a message is an extended response (RFC 4511 section 4.12) with the result code of success.
fn agrees(message: &[u8]) -> Option<bool> {
    let (_, content) = *elements(message)?.first()?;
    let (tag, response) = *elements(content)?.get(1)?;
    let result = *elements(response)?.first()?;
    Some(tag == EXTENDED_RESPONSE && result == SUCCESS)
}

/// Copies between the server and the library, whole messages of the server only. At the end of either side both are closed.
async fn relay(server: impl AsyncRead + AsyncWrite, local: UnixStream) {
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let (mut from_local, mut to_local) = tokio::io::split(local);
    tokio::select! {
        _ = copy_messages(&mut from_server, &mut to_local) => {}
        _ = tokio::io::copy(&mut from_local, &mut to_server) => {}
    }
    let _ = to_server.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::agrees;

    #[test]
    fn only_success_begins_tls() {
        let short = b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00";
        let long = b"\x30\x84\0\0\0\x10\x02\x01\x01\x78\x84\0\0\0\x07\x0a\x01\x00\x04\x00\x04\x00";
        for good in [&short[..], &long[..]] {
            assert_eq!(agrees(good), Some(true));
        }
        let refused = b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x02\x04\x00\x04\x00";
        assert_eq!(agrees(refused), Some(false));
        let bind = b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00";
        assert_eq!(agrees(bind), Some(false));
        for bad in [&b""[..], b"\x30\x00", b"\x30\x03\x02\x01\x01", b"\x30"] {
            assert_eq!(agrees(bad), None);
        }
    }
}
