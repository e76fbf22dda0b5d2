//! Which of the wanted scopes are granted.

use personium_token::role_url::RoleUrl;
use personium_types::{Code, Error, Privilege, Result};

use crate::{CellContext, UnitUrls};

/// The scope that asks for an ID token.
pub const OPENID: &str = "openid";

/// Grants of `wanted` what `most` includes; all of `most` if nothing is wanted.
///
/// Kept are `openid`, URLs of existing roles of the cell, and privileges of the cell level that one of `most`
/// includes; other words are dropped.
///
/// # Errors
/// 400 if a URL is not that of an existing role of the cell.
pub async fn grant(
    urls: &UnitUrls,
    context: &CellContext,
    wanted: &[String],
    most: &[String],
) -> Result<Vec<String>> {
    let granted = restrict(wanted, most);
    check_role_urls(urls, context, &granted).await?;
    Ok(granted)
}

/// As [`arbitrate`], but whether the URLs are those of roles is for [`check_roles`], once it is clear who may know that.
#[must_use]
pub fn restrict(wanted: &[String], most: &[String]) -> Vec<String> {
    if wanted.is_empty() {
        return most.to_vec();
    }
    let mut granted: Vec<String> = Vec::new();
    for item in wanted {
        if is_allowed(item, most) && !granted.contains(item) {
            granted.push(item.clone());
        }
    }
    granted
}

/// Checks that the URLs among some scopes are those of roles.
///
/// # Errors
/// 400 if one is not that of an existing role of the cell.
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

/// Keeps of granted scopes what a token with the scopes `most` could grant.
pub fn retain_allowed(granted: &mut Vec<String>, most: &[String]) {
    granted.retain(|item| is_allowed(item, most));
}

fn is_allowed(item: &str, most: &[String]) -> bool {
    item == OPENID || is_url(item) || is_included(item, most)
}

fn is_included(item: &str, most: &[String]) -> bool {
    let Some(privilege) = Privilege::find_cell_level(item) else {
        return false;
    };
    most.iter()
        .filter_map(|m| Privilege::find_cell_level(m))
        .any(|m| m.includes(privilege))
}

/// The items of a scope parameter.
#[must_use]
pub fn parse(scope: &str) -> Vec<String> {
    scope.split_ascii_whitespace().map(str::to_owned).collect()
}

/// The entity id of the role that an instance URL names; `None` if it is not an existing role of this cell.
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
