//! Roles of somebody who comes from another cell, by what this cell knows about that one.

use personium_types::Result;

use crate::entity;
use crate::keys::{ControlSet, SetKey};
use crate::{CellContext, UnitUrls};

/// Links of one object that are looked at.
const MAX_LINKS: usize = 100_000;

/// What the token of a visitor says about where it comes from.
#[derive(Debug, Clone, Copy)]
pub struct Visitor<'a> {
    /// The subject URL.
    pub subject: &'a str,
    /// The cell that issued the token.
    pub issuer: &'a str,
    /// The role class URLs in the token.
    pub roles: &'a [String],
}

impl Visitor<'_> {
    /// The name under which the roles of this visitor, and of no other, are remembered: each part with its length before it.
    fn cache_key(&self) -> String {
        let roles = self.roles.iter().map(String::as_str);
        [self.subject, self.issuer]
            .into_iter()
            .chain(roles)
            .fold("visitor/".to_owned(), |memo, part| {
                memo + &part.len().to_string() + ":" + part
            })
    }
}

/// Whether the issuer of a token may tell who somebody is: of somebody of this unit only its own cells may.
#[must_use]
pub fn issuer_may_assert(urls: &UnitUrls, issuer: &str, subject: &str) -> bool {
    let is_ours = |url: &str| match urls.resolve(url) {
        Some(url) => urls.split(&url).is_some(),
        None => true,
    };
    !is_ours(subject) || urls.split(issuer).is_some()
}

/// The entity ids of the roles that a visitor has in this cell:
///
/// 1. roles linked to the external cell that is the subject's own, if that one issued the token;
/// 2. roles of relations that the issuer is in;
/// 3. roles of external roles of these relations that are among the token's roles.
///
/// A role that comes by several ways is there several times.
pub async fn roles(
    urls: &UnitUrls,
    context: &CellContext,
    visitor: Visitor<'_>,
) -> Result<Vec<String>> {
    let memo = visitor.cache_key();
    if let Some(known) = context.get_cached::<Vec<String>>(&memo) {
        return Ok(known.as_ref().clone());
    }
    let mut out = Vec::new();
    let home = visitor.subject.split('#').next().unwrap_or_default();
    for id in ext_cells(urls, context, visitor.issuer).await? {
        if home == visitor.issuer {
            out.extend(linked(context, ControlSet::ExtCell, &id, ControlSet::Role).await?);
        }
        for relation in linked(context, ControlSet::ExtCell, &id, ControlSet::Relation).await? {
            out.extend(linked(context, ControlSet::Relation, &relation, ControlSet::Role).await?);
            let ext_roles = linked(
                context,
                ControlSet::Relation,
                &relation,
                ControlSet::ExtRole,
            )
            .await?;
            for ext_role in ext_roles {
                if is_named(urls, context, &ext_role, visitor.roles).await? {
                    out.extend(
                        linked(context, ControlSet::ExtRole, &ext_role, ControlSet::Role).await?,
                    );
                }
            }
        }
    }
    if memo.len() <= 4_096 {
        context.insert_cached(memo, out.clone());
    }
    Ok(out)
}

async fn ext_cells(urls: &UnitUrls, context: &CellContext, url: &str) -> Result<Vec<String>> {
    let set = SetKey::control(ControlSet::ExtCell);
    let mut out = Vec::new();
    for spelling in urls.spellings(url) {
        let key = crate::keys::unique(&set, 0, &[Some(&spelling)]);
        out.extend(entity::find_id(context.records(), &key).await?);
    }
    Ok(out)
}

async fn linked(
    context: &CellContext,
    from: ControlSet,
    id: &str,
    to: ControlSet,
) -> Result<Vec<String>> {
    let (from, to) = (SetKey::control(from), SetKey::control(to));
    entity::linked(context.records(), &from, id, &to, MAX_LINKS).await
}

async fn is_named(
    urls: &UnitUrls,
    context: &CellContext,
    ext_role: &str,
    roles: &[String],
) -> Result<bool> {
    let set = SetKey::control(ControlSet::ExtRole);
    let found = entity::find(context.records(), &set, ext_role).await?;
    let Some(url) = found.and_then(|e| e.value.text("ExtRole")) else {
        return Ok(false);
    };
    let resolved = urls.resolve(&url);
    Ok(roles
        .iter()
        .any(|role| *role == url || Some(role) == resolved.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_visitors_are_remembered_apart() {
        let memo = |subject: &str, issuer: &str, roles: &[&str]| {
            let roles: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
            Visitor {
                subject,
                issuer,
                roles: &roles,
            }
            .cache_key()
        };
        let plain = memo("s", "i", &["r", "t"]);
        assert_eq!(plain, memo("s", "i", &["r", "t"]));
        for other in [
            memo("s\ni", "r", &["t"]),
            memo("s", "i\nr", &["t"]),
            memo("s", "i", &["r\nt"]),
            memo("s", "i", &["r1:t"]),
            memo("s1:i", "", &["r", "t"]),
            memo("s", "i", &["r"]),
        ] {
            assert_ne!(plain, other);
        }
    }

    #[test]
    fn only_cells_of_this_unit_tell_who_is_of_this_unit() {
        for path_based in [true, false] {
            let urls = UnitUrls::new("https", "unit.example", None, path_based);
            let (own, account) = (urls.cell("a"), urls.cell("b") + "#me");
            let (afar, visitor) = ("https://else.example/x/", "https://else.example/x/#me");
            for (issuer, subject, may) in [
                (own.as_str(), account.as_str(), true),
                (&own, visitor, true),
                (afar, visitor, true),
                (afar, &own, false),
                (afar, &account, false),
                (
                    afar,
                    &account.replace("unit.example", "UNIT.example:443"),
                    false,
                ),
                (afar, "personium-localunit:b:/#me", false),
                (afar, "personium-localunit:?", false),
            ] {
                assert_eq!(
                    issuer_may_assert(&urls, issuer, subject),
                    may,
                    "{issuer} {subject}"
                );
            }
        }
    }
}
