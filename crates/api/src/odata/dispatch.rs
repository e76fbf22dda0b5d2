//! Dispatch of requests to a service root by path and method.

use futures_util::future::BoxFuture;
use http::Method;
use personium_model::answer_memory::AnswerMemoryShort;
use personium_model::keys::ControlSet;
use personium_model::odata::{AccessKind, ReadKind, RootScope, SetRef};
use personium_odata::key::{EntityKey, KeyPredicate};
use personium_odata::path::{PathError, PropertyPart, ResourcePath};
use personium_types::{Code, Error, Result};

use super::request::ODataRequest;
use super::{batch, count, errors, links, metadata, navigation, property, read, write};
use crate::posting::EventPoster;
use crate::preflight;
use crate::response::Response;

/// Carries out a request and begins again as long as the schema changes meanwhile.
///
/// # Errors
/// The refusal of the request.
pub(super) async fn dispatch_with_retry(
    request: &mut ODataRequest,
    path: &str,
) -> Result<Response> {
    for _ in 0..super::MAX_SCHEMA_RETRIES {
        // Boxed, because the future would otherwise be a part of the future of every request.
        match Box::pin(dispatch(request, path)).await {
            Err(refusal) if request.is_stale(&refusal).await? => request.refresh_schema().await?,
            outcome => return outcome,
        }
    }
    Err(Code::Conflict.into())
}

/// As [`dispatch_with_retry`], for a part of a batch. The type of the future must not contain that of the batch.
fn boxed<'r>(request: &'r mut ODataRequest, path: &'r str) -> BoxFuture<'r, Result<Response>> {
    Box::pin(dispatch_with_retry(request, path))
}

/// The number of times that an answer is begun again because it lacked memory.
const MAX_MEMORY_RETRIES: usize = 2;

/// Carries out a request. `path` is the path below the root, still percent-encoded. If the memory for the answer is not free,
/// the request waits for it, 10 seconds at most, and begins again.
///
/// # Errors
/// The refusal of the request.
pub(super) async fn dispatch(request: &mut ODataRequest, path: &str) -> Result<Response> {
    let response = dispatch_within_memory(request, path).await?;
    if request.events.is_some() && request.method == Method::GET && response.status() == 200 {
        Box::pin(report_read(request, path)).await;
    }
    Ok(response)
}

/// Posts the event about a request that has read something.
async fn report_read(request: &ODataRequest, path: &str) {
    let Ok(resource) = ResourcePath::parse(path) else {
        return;
    };
    let entity = |set: &str, key: &KeyPredicate| {
        let set = request.root.set(set).ok()?;
        let key = key.resolve(&set.entity_type).ok()?;
        Some((set, key))
    };
    let along = |set: &str, key: &KeyPredicate, navigation: &str| {
        let (set, key) = entity(set, key)?;
        Some((request.root.association(&set, navigation)?, key))
    };
    let read = match &resource {
        ResourcePath::Set(set) => request.root.set(set).ok().map(ReadKind::List),
        ResourcePath::Entity { set, key } => {
            entity(set, key).map(|(set, key)| ReadKind::Get(set, key))
        }
        ResourcePath::Links {
            set,
            key,
            navigation,
            target: None,
        } => along(set, key, navigation).map(|(to, key)| ReadKind::Links(to, key)),
        ResourcePath::Navigation {
            set,
            key,
            navigation,
            target: None,
        } => along(set, key, navigation).map(|(to, key)| ReadKind::Navigation(to, key)),
        _ => None,
    };
    let Some(read) = read else { return };
    let url = request.shown_url();
    let event = request.root.read_event(&read, &url);
    if let (Some(cause), Some(context)) = (&request.events, request.root.context()) {
        let poster = EventPoster::new(&request.unit, context, cause);
        poster.post(event).await;
    }
}

async fn dispatch_within_memory(request: &mut ODataRequest, path: &str) -> Result<Response> {
    for _ in 0..MAX_MEMORY_RETRIES {
        match dispatch_once(request, path).await {
            // Nothing was changed: changes reserve the memory for their answer before.
            Err(refusal) => match AnswerMemoryShort::cause_of(&refusal) {
                Some(_) => request.reserve_missing_memory(refusal).await?,
                None => return Err(refusal),
            },
            answered => return answered,
        }
    }
    dispatch_once(request, path).await
}

// All futures but those of reading, creating and deleting one entity are boxed: the future of every request has the size of the
// largest of the others.
async fn dispatch_once(request: &mut ODataRequest, path: &str) -> Result<Response> {
    let resource = match ResourcePath::parse(path) {
        Ok(resource) => resource,
        Err(error) => return check_visible(request, Err(path_error(request, &error))),
    };
    match resource {
        ResourcePath::Root => root_document(request),
        ResourcePath::Metadata => metadata::metadata(request),
        ResourcePath::Batch => match (&request.method, request.root.scope()) {
            (&Method::POST, RootScope::Data(_)) => Box::pin(batch::batch(request, boxed)).await,
            _ => Err(request.method_not_allowed()),
        },
        ResourcePath::Set(set) => {
            let set = find_set(request, &set)?;
            on_set(request, set).await
        }
        ResourcePath::Entity { set, key } => {
            let (set, key) = find_key(request, &set, &key)?;
            on_entity(request, set, key).await
        }
        ResourcePath::Count(set) => {
            let set = find_set(request, &set)?;
            Box::pin(count::of_set(request, &set)).await
        }
        ResourcePath::NavigationCount {
            set,
            key,
            navigation,
        } => {
            let (set, key) = find_key(request, &set, &key)?;
            let association = request.root.association(&set, &navigation);
            let association = association.ok_or_else(|| Code::NoSuchNavigation.into());
            let association = check_visible(request, association)?;
            Box::pin(count::of_navigation(request, &association, &key)).await
        }
        ResourcePath::Property {
            set,
            key,
            path,
            part,
        } => {
            let (set, key) = find_key(request, &set, &key)?;
            property::property(request, &set, &key, &path, part).await
        }
        ResourcePath::Links {
            set,
            key,
            navigation,
            target,
        } => {
            let (set, key) = find_key(request, &set, &key)?;
            Box::pin(links::links(request, &set, &key, &navigation, target)).await
        }
        ResourcePath::Navigation {
            set,
            key,
            navigation,
            target,
        } => {
            let (set, key) = find_key(request, &set, &key)?;
            let association = request.root.association(&set, &navigation);
            let path = [navigation];
            if association.is_none() && target.is_none() && property::exists(request, &set, &path) {
                let whole = PropertyPart::Whole;
                return property::property(request, &set, &key, &path, whole).await;
            }
            let association = association.ok_or_else(|| Code::NoSuchNavigation.into());
            let association = check_visible(request, association)?;
            if target.is_some() {
                return check_visible(request, Err(Code::KeyForNavigation.into()));
            }
            let [name] = &path;
            Box::pin(navigation::navigation(request, &association, &key, name)).await
        }
    }
}

/// Replaces an error about sets and keys by the refusal of the access check, unless the requester may use the data.
fn check_visible<T>(request: &ODataRequest, found: Result<T>) -> Result<T> {
    if found.is_err() && matches!(request.root.scope(), RootScope::Data(_)) {
        request.permit_use()?;
    }
    found
}

fn find_set(request: &ODataRequest, name: &str) -> Result<SetRef> {
    check_visible(request, request.root.set(name))
}

fn find_key(request: &ODataRequest, set: &str, key: &KeyPredicate) -> Result<(SetRef, EntityKey)> {
    let set = find_set(request, set)?;
    let key = key.resolve(&set.entity_type);
    let key = check_visible(request, key.map_err(|_| Code::KeyParse.into()))?;
    Ok((set, key))
}

fn path_error(request: &ODataRequest, error: &PathError) -> Error {
    match error {
        PathError::MalformedKey { set } => match request.root.set(set) {
            Ok(_) => errors::path(error),
            Err(unknown) => unknown,
        },
        _ => errors::path(error),
    }
}

fn root_document(request: &ODataRequest) -> Result<Response> {
    match request.method {
        Method::GET => metadata::service_document(request),
        Method::OPTIONS => {
            request.permit_description()?;
            Ok(preflight::allow("OPTIONS, GET"))
        }
        _ => Err(request.method_not_allowed()),
    }
}

async fn on_set(request: &mut ODataRequest, set: SetRef) -> Result<Response> {
    let method = request.method.clone();
    if is_message(&set) && is_write(&method) {
        return Err(request.method_not_allowed());
    }
    match method {
        Method::GET => Box::pin(read::list(request, &set)).await,
        Method::POST => write::create(request, &set).await,
        Method::OPTIONS => options(request, &set, "OPTIONS, GET, POST"),
        _ => check_visible(request, Err(request.method_not_allowed())),
    }
}

async fn on_entity(request: &mut ODataRequest, set: SetRef, key: EntityKey) -> Result<Response> {
    let method = request.method.clone();
    // OData 3 calls MERGE PATCH, which many clients of version 2 send too.
    let is_merge = method.as_str() == "MERGE" || method == Method::PATCH;
    if is_message(&set) && is_write(&method) || is_merge && set.control == Some(ControlSet::Rule) {
        return Err(request.method_not_allowed());
    }
    match method {
        Method::GET => read::get(request, &set, &key).await,
        Method::PUT => Box::pin(write::replace(request, &set, &key)).await,
        Method::DELETE => write::delete(request, &set, &key).await,
        Method::OPTIONS => options(request, &set, "OPTIONS, GET, PUT, MERGE, DELETE"),
        _ if is_merge => Box::pin(write::merge(request, &set, &key)).await,
        _ => check_visible(request, Err(request.method_not_allowed())),
    }
}

fn options(request: &ODataRequest, set: &SetRef, methods: &str) -> Result<Response> {
    request.permit(set, AccessKind::Read)?;
    Ok(preflight::allow(methods))
}

fn is_message(set: &SetRef) -> bool {
    matches!(
        set.control,
        Some(ControlSet::ReceivedMessage | ControlSet::SentMessage)
    )
}

fn is_write(method: &Method) -> bool {
    matches!(method.as_str(), "POST" | "PUT" | "MERGE" | "PATCH")
}
