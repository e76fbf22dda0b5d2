//! A client of a unit.

#[cfg(feature = "api")]
use std::sync::Arc;

use crate::credentials::MASTER_TOKEN;
use crate::request::TestRequest;
use crate::transport::Transport;

/// Sends requests to a unit, with a token or without.
#[derive(Clone)]
pub struct TestClient {
    transport: Transport,
    /// The URL of the unit, with a final slash.
    url: String,
    /// Where requests are sent; differs from the URL of the unit if nobody resolves its host.
    address: String,
    token: Option<String>,
}

impl TestClient {
    /// Returns a client for a port of this machine.
    #[must_use]
    pub fn for_port(port: u16) -> Self {
        Self::for_host("localhost", port)
    }

    /// Returns a client for a port of this machine, which sends this host name.
    #[must_use]
    pub fn for_host(host: &str, port: u16) -> Self {
        Self {
            transport: Transport::network(),
            url: format!("http://{host}:{port}/"),
            address: format!("http://127.0.0.1:{port}/"),
            token: None,
        }
    }

    /// Returns a client for a port of this machine that is behind a proxy, which the client leaves out: it sends the host of the
    /// unit with the port of the proxy.
    #[must_use]
    pub fn behind_proxy(host: &str, proxy_port: u16, port: u16) -> Self {
        Self {
            url: format!("https://{host}:{proxy_port}/"),
            ..Self::for_host(host, port)
        }
    }

    /// Returns a client for a port of this machine by TLS, which sends this host name and trusts a certificate in PEM.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn for_tls(host: &str, port: u16, certificate: &std::path::Path) -> Self {
        use rustls::pki_types::CertificateDer;
        use rustls::pki_types::pem::PemObject as _;

        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(certificate).unwrap())
            .unwrap();
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let config = rustls::ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let url = format!("https://{host}:{port}/");
        Self {
            transport: Transport::tls(config.into()),
            address: url.clone(),
            url,
            token: None,
        }
    }

    /// Returns a client for a service in memory.
    #[cfg(feature = "api")]
    pub(crate) fn for_service(service: personium_api::ApiService, url: &str) -> Self {
        Self {
            transport: Transport::Memory(service),
            url: url.to_owned(),
            address: url.to_owned(),
            token: None,
        }
    }

    /// Returns a client for services in memory, which get its requests in turn.
    #[cfg(feature = "api")]
    pub(crate) fn for_services(services: &[personium_api::ApiService], url: &str) -> Self {
        Self {
            transport: Transport::InTurn(services.into(), Arc::default()),
            url: url.to_owned(),
            address: url.to_owned(),
            token: None,
        }
    }

    /// The URL of the unit, with a final slash.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL of a cell by its path, with a final slash.
    #[must_use]
    pub fn cell_url(&self, cell: &str) -> String {
        format!("{}{cell}/", self.url)
    }

    /// Returns the same client with a token that is sent with every request without credentials.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self.clone()
        }
    }

    /// Returns the same client with the master token.
    #[must_use]
    pub fn admin(&self) -> Self {
        self.with_token(MASTER_TOKEN)
    }

    /// The token that is sent with every request; empty if there is none.
    #[must_use]
    pub fn token(&self) -> &str {
        self.token.as_deref().unwrap_or_default()
    }

    /// Returns the same client with connections of its own.
    #[must_use]
    pub fn reconnect(&self) -> Self {
        Self {
            transport: self.transport.reconnect(),
            ..self.clone()
        }
    }

    /// A request to a path below the unit, with or without its first slash.
    pub fn request(&self, method: &str, path: &str) -> TestRequest {
        let path = path.strip_prefix('/').unwrap_or(path);
        let request = TestRequest::new(
            self.transport.clone(),
            method,
            &format!("{}{path}", self.address),
            self.token.as_deref(),
        );
        if self.address == self.url {
            return request;
        }
        let (_, host) = self.url.split_once("://").unwrap();
        request.header("host", host.trim_end_matches('/'))
    }

    /// A request with the master token.
    pub fn admin_request(&self, method: &str, path: &str) -> TestRequest {
        self.admin().request(method, path)
    }
}
