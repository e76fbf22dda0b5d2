//! The service collection to which a folder is copied.

use std::borrow::Cow;
use std::collections::BTreeMap;

use http::{Method, Uri};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use personium_types::Secret;

use super::ServiceAccess;
use super::local::LocalService;
use crate::outside::{self, OutsideClient, OutsideRequest, OutsideResponse, UnitAddress};

/// The body of MKCOL for a service collection.
const NEW_COLLECTION: &str = "<D:mkcol xmlns:D=\"DAV:\" xmlns:p=\"urn:x-personium:xmlns\"><D:set><D:prop><D:resourcetype>\
                              <D:collection/><p:service/></D:resourcetype></D:prop></D:set></D:mkcol>";
/// The body of PROPFIND for the kind of a collection.
const KIND: &str = "<D:propfind xmlns:D=\"DAV:\"><D:prop><D:resourcetype/></D:prop></D:propfind>";
/// The content type of these bodies.
const XML: &str = "application/xml";

/// A service collection of a unit that runs, and what was copied to it.
pub struct Deployment {
    client: OutsideClient,
    /// The URL of the collection, without a final slash.
    url: String,
    access: ServiceAccess,
    token: Option<Secret<String>>,
    is_collection_made: bool,
    scripts: BTreeMap<String, String>,
    property: Option<String>,
}

/// A request below the collection.
#[derive(Debug, Clone, Default)]
pub(super) struct ServiceRequest {
    /// The method.
    pub method: Method,
    /// The path below the collection with its query, without the first slash; empty for the collection itself.
    pub path: String,
    /// Headers.
    pub headers: Vec<(Cow<'static, str>, String)>,
    /// The body.
    pub body: String,
    /// Whether it is sent without a token.
    pub is_anonymous: bool,
}

impl Deployment {
    /// The collection with this URL.
    ///
    /// # Errors
    /// A text if it is no URL of a collection, or the file of certificates cannot be used.
    pub fn new(
        url: &str,
        address: impl FnOnce(&str) -> Result<UnitAddress, String>,
        access: ServiceAccess,
    ) -> Result<Self, String> {
        let url = url.trim_end_matches('/');
        let no_collection = || {
            format!(
                "{url} is not the URL of a collection, such as https://unit.example/cell/box/service"
            )
        };
        let uri: Uri = url.parse().map_err(|_| no_collection())?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(no_collection());
        };
        if uri.query().is_some() || uri.path().matches('/').count() < 2 {
            return Err(no_collection());
        }
        let address = address(&format!("{scheme}://{authority}/"))?;
        Ok(Self {
            client: OutsideClient::new(&address)?,
            url: url.to_owned(),
            access,
            token: None,
            is_collection_made: false,
            scripts: BTreeMap::new(),
            property: None,
        })
    }

    /// The URL of the collection, without a final slash.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Copies what has changed since the last call. Returns a line for each step. Scripts that were copied before and are no
    /// longer in the folder are removed; others in the collection are left alone.
    pub(super) async fn update(&mut self, local: &LocalService) -> Result<Vec<String>, String> {
        let mut done = Vec::new();
        if !self.is_collection_made {
            done.extend(self.make_collection().await?);
            self.is_collection_made = true;
        }
        for (name, text) in &local.scripts {
            if self.scripts.get(name) != Some(text) {
                let put = ServiceRequest {
                    headers: vec![("content-type".into(), "text/javascript".to_owned())],
                    body: text.clone(),
                    ..script_request(Method::PUT, name)
                };
                self.expect(put, &[201, 204]).await?;
                self.scripts.insert(name.clone(), text.clone());
                done.push(format!("copied {name}"));
            }
        }
        if self.property.as_ref() != Some(&local.property) {
            self.set_property(&local.property).await?;
            self.property = Some(local.property.clone());
            done.push("set the paths".to_owned());
        }
        let gone = |name: &&String| !local.scripts.contains_key(*name);
        let gone: Vec<String> = self.scripts.keys().filter(gone).cloned().collect();
        for name in gone {
            self.expect(script_request(Method::DELETE, &name), &[204, 404])
                .await?;
            self.scripts.remove(&name);
            done.push(format!("removed {name}"));
        }
        Ok(done)
    }

    /// Makes the collection, unless it exists.
    async fn make_collection(&mut self) -> Result<Option<String>, String> {
        let find = ServiceRequest {
            method: method(b"PROPFIND")?,
            headers: vec![
                ("depth".into(), "0".to_owned()),
                ("content-type".into(), XML.to_owned()),
            ],
            body: KIND.to_owned(),
            ..ServiceRequest::default()
        };
        let found = self.expect(find, &[207, 404]).await?;
        if found.status == 207 {
            return match String::from_utf8_lossy(&found.body).contains("service") {
                true => Ok(None),
                false => Err(format!("{} is no service collection", self.url)),
            };
        }
        let make = ServiceRequest {
            method: method(b"MKCOL")?,
            headers: vec![("content-type".into(), XML.to_owned())],
            body: NEW_COLLECTION.to_owned(),
            ..ServiceRequest::default()
        };
        self.expect(make, &[201]).await?;
        Ok(Some(format!("made {}", self.url)))
    }

    async fn set_property(&mut self, property: &str) -> Result<(), String> {
        let change = ServiceRequest {
            method: method(b"PROPPATCH")?,
            headers: vec![("content-type".into(), XML.to_owned())],
            body: format!(
                "<D:propertyupdate xmlns:D=\"DAV:\" xmlns:p=\"urn:x-personium:xmlns\"><D:set><D:prop>{property}</D:prop></D:set>\
                 </D:propertyupdate>"
            ),
            ..ServiceRequest::default()
        };
        let answer = self.expect(change, &[207]).await?;
        match String::from_utf8_lossy(&answer.body).contains("HTTP/1.1 200") {
            true => Ok(()),
            false => Err(format!(
                "{} does not take the paths: {}",
                self.url,
                answer.shown()
            )),
        }
    }

    /// Sends a request that must be answered with one of these status codes.
    async fn expect(
        &mut self,
        request: ServiceRequest,
        expected: &[u16],
    ) -> Result<OutsideResponse, String> {
        let what = format!("{} {}", request.method, self.url_of(&request.path));
        let response = self.send(request).await;
        let response = response.map_err(|error| format!("{what}: {error}"))?;
        match expected.contains(&response.status) {
            true => Ok(response),
            false => Err(format!(
                "{what} answers {}: {}",
                response.status,
                response.shown()
            )),
        }
    }

    /// Sends a request. If the token of an account is refused, it logs in again.
    pub(super) async fn send(
        &mut self,
        request: ServiceRequest,
    ) -> Result<OutsideResponse, String> {
        let response = self.send_once(request.clone()).await?;
        let is_expired = response.status == 401
            && !request.is_anonymous
            && matches!(self.access, ServiceAccess::Account { .. });
        if !is_expired {
            return Ok(response);
        }
        self.token = None;
        self.send_once(request).await
    }

    async fn send_once(&mut self, request: ServiceRequest) -> Result<OutsideResponse, String> {
        let mut headers = request.headers;
        if !request.is_anonymous {
            let token = self.token().await?;
            headers.push(("authorization".into(), format!("Bearer {}", token.reveal())));
        }
        let request = OutsideRequest {
            url: self.url_of(&request.path),
            method: request.method,
            headers,
            body: request.body.into_bytes(),
        };
        self.client.send(request).await
    }

    async fn token(&mut self) -> Result<Secret<String>, String> {
        if let Some(token) = &self.token {
            return Ok(Secret::new(token.reveal().clone()));
        }
        let token = match &self.access {
            ServiceAccess::Token(token) => Secret::new(token.reveal().clone()),
            ServiceAccess::Account {
                cell,
                account,
                password,
            } => {
                let form = outside::password_form(account, password.reveal(), None);
                outside::log_in(&self.client, cell, form).await?
            }
        };
        self.token = Some(Secret::new(token.reveal().clone()));
        Ok(token)
    }

    fn url_of(&self, path: &str) -> String {
        match path.is_empty() {
            true => self.url.clone(),
            false => format!("{}/{path}", self.url),
        }
    }
}

/// A request for a script of the collection.
fn script_request(method: Method, name: &str) -> ServiceRequest {
    ServiceRequest {
        method,
        path: format!("__src/{}", utf8_percent_encode(name, NON_ALPHANUMERIC)),
        ..ServiceRequest::default()
    }
}

fn method(name: &[u8]) -> Result<Method, String> {
    Method::from_bytes(name).map_err(|error| error.to_string())
}
