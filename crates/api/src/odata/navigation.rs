//! Entities through a navigation property.

use http::Method;
use personium_model::odata::{self, Association, Creation, NavigationSource};
use personium_odata::body::{Intent, Route};
use personium_odata::key::{EntityKey, KeyStyle};
use personium_odata::negotiate::{self, BodyFormat};
use personium_odata::query::{ListKind, Options};
use personium_types::{Code, Error, Result};

use super::service::Service;
use super::service_authorizer::AccessKind;
use super::{read, write};
use crate::answer::Answer;
use crate::preflight;

/// A request to `{Set}({key})/{navigation}`.
pub(super) async fn navigation(
    service: &mut Service,
    association: &Association,
    key: &EntityKey,
) -> Result<Answer> {
    match service.call.method {
        Method::GET => list(service, association, key).await,
        Method::POST => create(service, association, key).await,
        Method::OPTIONS => {
            service
                .gate
                .permit_link_options(&service.root, &service.call.access)?;
            Ok(preflight::allow("OPTIONS, GET, POST"))
        }
        _ => Err(service.call.method_not_allowed()),
    }
}

async fn list(service: &Service, association: &Association, key: &EntityKey) -> Result<Answer> {
    service.both(association, AccessKind::Reading)?;
    let accept = service.call.header("accept");
    if !negotiate::accepts_navigation(accept) {
        return Err(Error::new(Code::NotAcceptable).with(accept.unwrap_or_default()));
    }
    let there = &association.target_set;
    let query = read::list_query(service, &service.call.query, there, ListKind::Navigation)?;
    let source = odata::find(&service.root, &association.source_set, key)
        .await?
        .ok_or(Code::NoSuchEntity)?;
    let page = odata::navigate(&service.root, association, &source, &query).await?;
    let body = read::render_list(service, there, &query, &page, BodyFormat::Json).await?;
    let options = Options::parse(&service.call.query);
    Ok(read::list_answer(
        body,
        BodyFormat::Json,
        options.get("$callback"),
    ))
}

async fn create(
    service: &mut Service,
    association: &Association,
    key: &EntityKey,
) -> Result<Answer> {
    service.both(association, AccessKind::Writing)?;
    let set = association.target_set.clone();
    let permit = service.gate.permit(
        &service.root,
        &service.call.access,
        &set,
        AccessKind::Writing,
    )?;
    let bytes = service.body().await?;
    let accepted = odata::accept(
        &service.root,
        &set,
        &bytes,
        Intent::Create,
        Route::Navigation,
    )
    .await?;
    let linked = NavigationSource {
        association: association.clone(),
        source: key.clone(),
    };
    let creation = Creation {
        set: set.clone(),
        accepted,
        hidden: std::collections::BTreeMap::new(),
        navigation: Some(linked),
        exists: Code::LinkExists,
    };
    let mut made = odata::create(&service.root, &permit, &[creation]).await?;
    let entity = made.pop().unwrap_or_else(|| Err(Code::Unknown.into()))?;
    write::created(service, &set, &entity, KeyStyle::Plain)
}
