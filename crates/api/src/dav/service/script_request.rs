//! The request as a script sees it, and what the library knows about its service.

use personium_model::locate::Target;
use personium_plugin::PluginSet;
use personium_script::RouteTarget;
use serde_json::{Map, Value, json};

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

/// The description of a request for a script.
pub(super) struct Described {
    pub(super) context: Value,
    pub(super) request: Value,
}

/// Describes a request.
pub(super) fn describe(
    request: &mut CellRequest,
    target: &Target,
    route: &RouteTarget,
    (subject, plugins): (Option<&str>, &PluginSet),
) -> Described {
    let headers = headers(request, target);
    let forwarded = json!({FORWARDED_PATH: path_and_query(request)});
    let urls = request.unit.urls();
    let box_name = &target.target_box.name;
    let cell_name = &request.context.cell().name;
    let path = format!("/{cell_name}/{box_name}/service/{}", target.rest.join("/"));
    let segments = request.path.raw.get(1..).unwrap_or_default();
    let service = segments.len().saturating_sub(target.rest.len());
    let service = segments.get(..service).unwrap_or_default().join("/");
    let cell_url = request.cell_url();
    let box_url = format!(
        "{cell_url}{}",
        personium_model::url::encode_segment(box_name)
    );
    let (host, port) = host_and_port(request);
    Described {
        context: json!({
            "unitUrl": urls.unit(),
            "cellUrl": cell_url,
            "cellName": cell_name,
            "boxUrl": box_url,
            "boxName": box_name,
            "boxSchema": target.target_box.schema,
            "serviceName": service,
            "serviceUrl": format!("{box_url}/{service}"),
            "subject": subject,
            "pathBased": urls.path_based(),
            "requestKey": request.request_key,
            "callerToken": caller_token(request),
            "serverVersion": crate::API_VERSION,
            "extensions": extensions(plugins),
        }),
        request: json!({
            "variables": route.variables,
            "method": request.method.as_str(),
            "scheme": urls.scheme(),
            "host": host,
            "port": port,
            "scriptName": request.url,
            "pathInfo": path,
            "queryString": request.query,
            "requestUri": request_uri(request),
            "headers": headers,
            "hiddenHeaders": forwarded,
        }),
    }
}

/// The classes of the extensions of the operator, with their methods.
fn extensions(plugins: &PluginSet) -> Vec<Value> {
    let extensions = plugins.extensions().iter();
    let declared = extensions.map(|extension| extension.declaration());
    declared
        .map(|declared| json!({"name": declared.class, "methods": declared.methods}))
        .collect()
}

fn request_uri(request: &CellRequest) -> String {
    match request.query.is_empty() {
        true => request.url.clone(),
        false => format!("{}?{}", request.url, request.query),
    }
}

fn path_and_query(request: &CellRequest) -> String {
    let uri = request_uri(request);
    let after_scheme = uri.split_once("://").map_or(uri.as_str(), |(_, rest)| rest);
    let path = after_scheme.find('/').and_then(|at| after_scheme.get(at..));
    path.unwrap_or("/").to_owned()
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

fn headers(request: &mut CellRequest, target: &Target) -> Map<String, Value> {
    let has_body = request.has_body() || request.announced_length() > 0;
    let mut out = Map::new();
    let mut add = |name: &str, value: String| {
        out.entry(name).or_insert(value.into());
    };
    let urls = request.unit.urls();
    let id = target.node().value().id.to_string();
    let [base_url, uri, fs_path, routing_id, schema, path_based] = ADDED;
    add(base_url, urls.unit());
    add(uri, request_uri(request));
    add(fs_path, format!("/{id}"));
    add(routing_id, id);
    if let Some(value) = &target.target_box.schema {
        add(schema, value.clone());
    }
    add(path_based, urls.path_based().to_string());
    add("host", urls.authority());
    for (name, value) in &request.headers {
        let name = name.as_str();
        if !ADDED.contains(&name) && !matches!(name, "content-length" | "transfer-encoding") {
            add(name, String::from_utf8_lossy(value.as_bytes()).into_owned());
        }
    }
    add(REQUEST_KEY, request.request_key.clone());
    if has_body || matches!(request.method.as_str(), "POST" | "PUT") {
        add("transfer-encoding", "chunked".to_owned());
    }
    add("connection", "keep-alive".to_owned());
    add("user-agent", "personium".to_owned());
    add("accept-encoding", "gzip,deflate".to_owned());
    out
}
