//! Granted scopes.

use personium_token::role_url::RoleUrl;
use personium_types::{Code, Error, Privilege, Result};

use crate::{CellContext, UnitUrls};

/// The scope that asks for an ID token.
pub const OPENID: &str = "openid";

/// Grants those of the requested scopes that are allowed; all allowed ones if none is requested.
///
/// Granted are `openid`, URLs of existing roles of the cell, and privileges of the cell level that an allowed one
/// includes; other scopes are dropped.
///
/// # Errors
/// [`Code::AclRoleMissing`] if a URL is not that of an existing role of the cell; failures of the store.
pub async fn grant(
    urls: &UnitUrls,
    context: &CellContext,
    requested: &[String],
    allowed: &[String],
) -> Result<Vec<String>> {
    let granted = restrict(requested, allowed);
    check_role_urls(urls, context, &granted).await?;
    Ok(granted)
}

/// As [`grant`], but does not check role URLs: that is left to [`check_role_urls`], once the client may know which
/// roles exist.
#[must_use]
pub fn restrict(requested: &[String], allowed: &[String]) -> Vec<String> {
    if requested.is_empty() {
        return allowed.to_vec();
    }
    let mut granted: Vec<String> = Vec::new();
    for item in requested {
        if is_allowed(item, allowed) && !granted.contains(item) {
            granted.push(item.clone());
        }
    }
    granted
}

/// Checks that the URLs among some scopes are those of roles.
///
/// # Errors
/// [`Code::AclRoleMissing`] if one is not that of an existing role of the cell; failures of the store.
pub async fn check_role_urls(
    urls: &UnitUrls,
    context: &CellContext,
    scopes: &[String],
) -> Result<()> {
    for item in scopes.iter().filter(|item| is_url(item)) {
        if find_role_by_url(urls, context, item).await?.is_none() {
            return Err(Error::new(Code::AclRoleMissing).with(item.as_str()));
        }
    }
    Ok(())
}

fn is_url(item: &str) -> bool {
    item.starts_with("http://")
        || item.starts_with("https://")
        || item.starts_with(crate::url::LOCAL_UNIT)
}

/// Removes the granted scopes that a token with the scopes `allowed` could not grant.
pub fn retain_allowed(granted: &mut Vec<String>, allowed: &[String]) {
    granted.retain(|item| is_allowed(item, allowed));
}

fn is_allowed(item: &str, allowed: &[String]) -> bool {
    item == OPENID || is_url(item) || is_included(item, allowed)
}

fn is_included(item: &str, allowed: &[String]) -> bool {
    let Some(privilege) = Privilege::find_cell_level(item) else {
        return false;
    };
    allowed
        .iter()
        .filter_map(|name| Privilege::find_cell_level(name))
        .any(|allowed| allowed.includes(privilege))
}

/// Splits a scope parameter.
#[must_use]
pub fn parse(scope: &str) -> Vec<String> {
    scope.split_ascii_whitespace().map(str::to_owned).collect()
}

/// Returns the entity id of the role with this instance URL; `None` if it is not an existing role of this cell.
///
/// # Errors
/// Failures of the store.
pub async fn find_role_by_url(
    urls: &UnitUrls,
    context: &CellContext,
    url: &str,
) -> Result<Option<String>> {
    let Some(url) = urls.resolve(url).and_then(|u| RoleUrl::parse(&u).ok()) else {
        return Ok(None);
    };
    if url.base != urls.cell(&context.cell().name) {
        return Ok(None);
    }
    let box_id = match &url.box_name {
        None => None,
        Some(name) => match context.find_box(name).await? {
            Some(found) => Some(found.id),
            None => return Ok(None),
        },
    };
    let role = context.find_role_named(box_id.as_ref(), &url.role).await?;
    Ok(role.map(|r| r.id.clone()))
}
