//! The request as a script sees it, and what the library knows about its service.

use std::borrow::Cow;
use std::collections::BTreeMap;

use personium_model::locate::Target;
use personium_plugin::PluginSet;
use personium_script::RouteTarget;
use personium_types::{Code, Error, Result};
use serde::{Serialize, Serializer};

use crate::request_context::CellRequest;

/// The headers that the original adds. Those of clients are not taken: a client could forge them.
const ADDED: [&str; 6] = [
    "x-baseurl",
    "x-request-uri",
    "x-personium-fs-path",
    "x-personium-fs-routing-id",
    "x-personium-box-schema",
    "x-personium-path-based-cell-url-enabled",
];
const REQUEST_KEY: &str = "x-personium-requestkey";
/// The path in the URL, which scripts read that expect a certain proxy. It cannot be enumerated.
const FORWARDED_PATH: &str = "x-forwarded-path";

/// The description of a request for a script: two JSON objects.
pub(super) struct Described {
    pub(super) context: String,
    pub(super) request: String,
}

/// The facts about a service and its caller for the library.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ServiceFacts<'a> {
    unit_url: &'a str,
    cell_url: &'a str,
    cell_name: &'a str,
    box_url: &'a str,
    box_name: &'a str,
    box_schema: Option<&'a str>,
    service_name: &'a str,
    service_url: &'a str,
    subject: Option<&'a str>,
    path_based: bool,
    request_key: &'a str,
    caller_token: Option<String>,
    server_version: &'a str,
    extensions: Vec<ExtensionFacts<'a>>,
    slack: Option<SlackFacts<'a>>,
}

/// The defaults that the operator has named for messages to Slack, without the token.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SlackFacts<'a> {
    has_token: bool,
    channel: Option<&'a str>,
    user: Option<&'a str>,
}

/// A class of an extension of the operator.
#[derive(Serialize)]
struct ExtensionFacts<'a> {
    name: &'a str,
    methods: &'a [String],
}

/// The members of the request object.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestMembers<'a> {
    variables: &'a BTreeMap<String, String>,
    method: &'a str,
    scheme: &'a str,
    host: &'a str,
    port: &'a str,
    script_name: &'a str,
    path_info: &'a str,
    query_string: &'a str,
    request_uri: &'a str,
    headers: ScriptHeaders,
    hidden_headers: ScriptHeaders,
}

/// Headers in the order in which they were added. The first addition of a name wins.
#[derive(Default)]
struct ScriptHeaders(Vec<(Cow<'static, str>, String)>);

impl ScriptHeaders {
    fn add(&mut self, name: impl Into<Cow<'static, str>>, value: String) {
        let name = name.into();
        if !self.0.iter().any(|(known, _)| *known == name) {
            self.0.push((name, value));
        }
    }
}

impl Serialize for ScriptHeaders {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// Describes a request.
///
/// # Errors
/// [`Code::ServiceConnect`] if it cannot be written as JSON.
pub(super) fn describe(
    request: &CellRequest,
    target: &Target,
    route: &RouteTarget,
    (subject, plugins): (Option<&str>, &PluginSet),
) -> Result<Described> {
    let headers = headers(request, target);
    let mut hidden_headers = ScriptHeaders::default();
    let uri = request_uri(request);
    hidden_headers.add(FORWARDED_PATH, path_and_query(&uri).to_owned());
    let urls = request.unit.urls();
    let box_name = target.target_box.name.as_str();
    let cell_name = request.context.cell().name.as_str();
    let slash = if request.url.ends_with('/') { "/" } else { "" };
    let path = target.rest.join("/");
    let path = format!("/{cell_name}/{box_name}/service/{path}{slash}");
    let segments = request.path.raw.get(1..).unwrap_or_default();
    let service = segments.len().saturating_sub(target.rest.len());
    let service = segments.get(..service).unwrap_or_default().join("/");
    let cell_url = request.cell_url();
    let box_url = format!(
        "{cell_url}{}",
        personium_model::url::encode_segment(box_name)
    );
    let (host, port) = host_and_port(request);
    let facts = ServiceFacts {
        unit_url: &urls.unit(),
        cell_url: &cell_url,
        cell_name,
        box_url: &box_url,
        box_name,
        box_schema: target.target_box.schema.as_deref(),
        service_name: &service,
        service_url: &format!("{box_url}/{service}"),
        subject,
        path_based: urls.path_based(),
        request_key: &request.request_key,
        caller_token: caller_token(request),
        server_version: crate::API_VERSION,
        extensions: extensions(plugins),
        slack: slack(request),
    };
    let members = RequestMembers {
        variables: &route.variables,
        method: request.method.as_str(),
        scheme: urls.scheme(),
        host: &host,
        port: &port,
        script_name: &request.url,
        path_info: &path,
        query_string: &request.query,
        request_uri: &uri,
        headers,
        hidden_headers,
    };
    let failed = |error| Error::new(Code::ServiceConnect).with_source(error);
    Ok(Described {
        context: serde_json::to_string(&facts).map_err(failed)?,
        request: serde_json::to_string(&members).map_err(failed)?,
    })
}

/// The facts for messages to Slack, if the operator has named any.
fn slack(request: &CellRequest) -> Option<SlackFacts<'_>> {
    let slack = &request.unit.settings().slack;
    let facts = SlackFacts {
        has_token: slack.token.is_some(),
        channel: slack.channel.as_deref(),
        user: slack.user.as_deref(),
    };
    let is_named = facts.has_token || facts.channel.is_some() || facts.user.is_some();
    is_named.then_some(facts)
}

/// The classes of the extensions of the operator, with their methods.
fn extensions(plugins: &PluginSet) -> Vec<ExtensionFacts<'_>> {
    let extensions = plugins.extensions().iter();
    let declared = extensions.map(|extension| extension.declaration());
    declared
        .map(|declared| ExtensionFacts {
            name: &declared.class,
            methods: &declared.methods,
        })
        .collect()
}

fn request_uri(request: &CellRequest) -> String {
    match request.query.is_empty() {
        true => request.url.clone(),
        false => format!("{}?{}", request.url, request.query),
    }
}

fn path_and_query(uri: &str) -> &str {
    let after_scheme = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    let path = after_scheme.find('/').and_then(|at| after_scheme.get(at..));
    path.unwrap_or("/")
}

/// Host and port of the unit.
fn host_and_port(request: &CellRequest) -> (String, String) {
    let urls = request.unit.urls();
    let authority = urls.authority();
    let default_port = if urls.scheme() == "https" {
        "443"
    } else {
        "80"
    };
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => {
            (host.to_owned(), port.to_owned())
        }
        _ => (authority, default_port.to_owned()),
    }
}

/// The access token of the caller.
fn caller_token(request: &CellRequest) -> Option<String> {
    let header = crate::access::authorization(request)?;
    let token = header.strip_prefix("Bearer")?;
    Some(token.trim().to_owned())
}

fn headers(request: &CellRequest, target: &Target) -> ScriptHeaders {
    let mut out = ScriptHeaders::default();
    let urls = request.unit.urls();
    let id = target.node().value().id.to_string();
    let [base_url, uri, fs_path, routing_id, schema, path_based] = ADDED;
    out.add(base_url, urls.unit());
    out.add(uri, request_uri(request));
    out.add(fs_path, format!("/{id}"));
    out.add(routing_id, id);
    if let Some(value) = &target.target_box.schema {
        out.add(schema, value.clone());
    }
    out.add(path_based, urls.path_based().to_string());
    out.add("host", urls.authority());
    for name in request.headers.keys() {
        let name = name.as_str();
        if !ADDED.contains(&name) && !matches!(name, "content-length" | "transfer-encoding") {
            let values = request.headers.get_all(name).iter();
            let mut values = values.map(|value| String::from_utf8_lossy(value.as_bytes()));
            let value = match name {
                // HTTP/2 may send it in parts (RFC 9113, section 8.2.3).
                "cookie" => values.collect::<Vec<_>>().join("; "),
                // The one that the request was authenticated by.
                "authorization" => values.next().unwrap_or_default().into_owned(),
                _ => values.next_back().unwrap_or_default().into_owned(),
            };
            out.add(name.to_owned(), value);
        }
    }
    out.add(REQUEST_KEY, request.request_key.clone());
    if super::has_body(&request.method) {
        out.add("transfer-encoding", "chunked".to_owned());
    }
    out.add("connection", "keep-alive".to_owned());
    out.add("user-agent", "personium".to_owned());
    out.add("accept-encoding", "gzip,deflate".to_owned());
    out
}
