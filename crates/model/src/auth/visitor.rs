//! Roles of visitors (users of other cells), from what this cell stores about their cells.

use personium_types::Result;

use crate::entity;
use crate::keys::{ControlSet, SetKey};
use crate::{CellContext, UnitUrls};

/// The largest number of links of one object that are followed.
const MAX_LINKS: usize = 100_000;
/// The largest cache key: the roles of visitors with longer ones are not cached.
const MAX_CACHE_KEY_BYTES: usize = 4_096;

/// The origin of a visitor, from its token.
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
    /// The key under which the roles of this visitor are cached. Each part is preceded by its length, so different
    /// visitors have different keys.
    fn cache_key(&self) -> String {
        let roles = self.roles.iter().map(String::as_str);
        [self.subject, self.issuer]
            .into_iter()
            .chain(roles)
            .fold("visitor/".to_owned(), |key, part| {
                key + &part.len().to_string() + ":" + part
            })
    }
}

/// Whether the issuer of a token may assert its subject. A subject of this unit may only be asserted by cells of this
/// unit.
#[must_use]
pub fn issuer_may_assert(urls: &UnitUrls, issuer: &str, subject: &str) -> bool {
    let is_ours = |url: &str| match urls.resolve(url) {
        Some(url) => urls.split(&url).is_some(),
        None => true,
    };
    !is_ours(subject) || urls.split(issuer).is_some()
}

/// Returns the entity ids of the roles that a visitor has in this cell:
///
/// 1. roles linked to the external cell of the subject, if that cell issued the token;
/// 2. roles linked to relations of the issuer;
/// 3. roles linked to external roles of these relations, if the token has the external role.
///
/// A role that is found more than once is returned more than once.
///
/// # Errors
/// Failures of the store.
pub async fn roles(
    urls: &UnitUrls,
    context: &CellContext,
    visitor: Visitor<'_>,
) -> Result<Vec<String>> {
    let cache_key = visitor.cache_key();
    if let Some(cached) = context.get_cached::<Vec<String>>(&cache_key) {
        return Ok(cached.as_ref().clone());
    }
    let mut out = Vec::new();
    let subject_cell = visitor.subject.split('#').next().unwrap_or_default();
    for id in ext_cells(urls, context, visitor.issuer).await? {
        if subject_cell == visitor.issuer {
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
    if cache_key.len() <= MAX_CACHE_KEY_BYTES {
        context.insert_cached(cache_key, out.clone());
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
    fn cache_keys_of_different_visitors_differ() {
        let key = |subject: &str, issuer: &str, roles: &[&str]| {
            let roles: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
            Visitor {
                subject,
                issuer,
                roles: &roles,
            }
            .cache_key()
        };
        let plain = key("s", "i", &["r", "t"]);
        assert_eq!(plain, key("s", "i", &["r", "t"]));
        for other in [
            key("s\ni", "r", &["t"]),
            key("s", "i\nr", &["t"]),
            key("s", "i", &["r\nt"]),
            key("s", "i", &["r1:t"]),
            key("s1:i", "", &["r", "t"]),
            key("s", "i", &["r"]),
        ] {
            assert_ne!(plain, other);
        }
    }

    #[test]
    fn only_cells_of_this_unit_may_assert_subjects_of_this_unit() {
        for path_based in [true, false] {
            let urls = UnitUrls::new("https", "unit.example", None, path_based);
            let (own, account) = (urls.cell("a"), urls.cell("b") + "#me");
            let (foreign, visitor) = ("https://else.example/x/", "https://else.example/x/#me");
            for (issuer, subject, allowed) in [
                (own.as_str(), account.as_str(), true),
                (&own, visitor, true),
                (foreign, visitor, true),
                (foreign, &own, false),
                (foreign, &account, false),
                (
                    foreign,
                    &account.replace("unit.example", "UNIT.example:443"),
                    false,
                ),
                (foreign, "personium-localunit:b:/#me", false),
                (foreign, "personium-localunit:?", false),
            ] {
                assert_eq!(
                    issuer_may_assert(&urls, issuer, subject),
                    allowed,
                    "{issuer} {subject}"
                );
            }
        }
    }
}
