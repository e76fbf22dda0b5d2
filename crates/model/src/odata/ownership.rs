//! The owners of the cells of a unit, and what happens to them when an account or a cell of an owner gets another name.

use personium_odata::value::Properties;
use personium_store::{Batch, Direction, Key, KeyRange};
use personium_types::{Code, Error, Operation, Result};

use super::load::Entity;
use super::root::{ServiceRoot, SetRef};
use crate::access::{Permit, PermitTarget};
use crate::cell::OWNER;
use crate::commit::Invalidation;
use crate::entity::StoredEntity;
use crate::keys::{self, ControlSet, SetKey};
use crate::{Cell, PostCommit, Unit, UnitUrls, administrator_cells, records, transfer};

/// The number of cells that are read at once.
const PAGE_CELLS: usize = 200;

/// Returns all cells.
///
/// # Errors
/// Failures of the store.
pub async fn list_cells(unit: &Unit) -> Result<Vec<Cell>> {
    let mut cells = Vec::new();
    let mut pages = CellPages::new(unit);
    while let Some(page) = pages.next().await? {
        cells.extend(page.into_iter().map(|(_, cell)| cell));
    }
    Ok(cells)
}

/// Gives the cells of one owner to another. Both are subjects of unit users: the URL of a cell, `#`, the name of an
/// account. Returns the number of cells.
///
/// # Errors
/// [`Code::Unknown`] if the permit is not for the cells of the unit; failures of the store.
pub async fn transfer_cells(unit: &Unit, permit: &Permit, from: &str, to: &str) -> Result<usize> {
    permit.check(Operation::WriteCells, &PermitTarget::Unit)?;
    replace_owners(unit, &|owner| (owner == from).then(|| to.to_owned())).await
}

/// Refuses a new name for a cell that the settings name as an issuer of unit users: its tokens would not be accepted any more.
pub(super) fn check_rename(
    root: &ServiceRoot,
    set: &SetRef,
    before: &Entity,
    new: &Properties,
) -> Result<()> {
    let (Some(old_name), Some(new_name)) = (before.properties.text("Name"), new.text("Name"))
    else {
        return Ok(());
    };
    if set.control != Some(ControlSet::Cell) || old_name == new_name {
        return Ok(());
    }
    let unit = root.unit();
    let cell = unit.urls().cell(old_name);
    let mut issuers = unit.settings().auth.unit_user_issuers.iter();
    if issuers.any(|issuer| unit.urls().resolve(issuer).as_deref() == Some(cell.as_str())) {
        return Err(Code::CellIsIssuer.into());
    }
    Ok(())
}

/// Adds to the batch of a change that accounts of a cell with another name still administrate the unit, if they did.
///
/// # Errors
/// [`Code::CellBusyWithJob`] while the cell is exported or imported; failures of the store.
pub(super) async fn rename_administrators(
    root: &ServiceRoot,
    set: &SetRef,
    (before, after): (&Entity, &Entity),
    batch: &mut Batch,
) -> Result<()> {
    let (Some(old), Some(new)) = (
        before.properties.text("Name"),
        after.properties.text("Name"),
    ) else {
        return Ok(());
    };
    if set.control != Some(ControlSet::Cell) || old == new {
        return Ok(());
    }
    if let Ok(id) = before.id.parse()
        && let Some(context) = root.unit().find_cell_by_id(&id).await?
    {
        transfer::check_writable(root.unit(), &context).await?;
    }
    administrator_cells::rename(&root.records, batch, old, new).await
}

/// A new name of an account or a cell.
struct OwnerRename {
    /// The former subject of the account, or the former URL of the cell.
    old: String,
    new: String,
}

impl OwnerRename {
    /// The new name that a change gave to an account or a cell; `None` if it gave none.
    fn of(root: &ServiceRoot, set: &SetRef, before: &Entity, after: &Entity) -> Option<Self> {
        let name = |entity: &Entity| entity.properties.text("Name").map(str::to_owned);
        let (old, new) = (name(before)?, name(after)?);
        if old == new {
            return None;
        }
        let urls = root.unit().urls();
        match (set.control, root.context()) {
            (Some(ControlSet::Cell), _) => Some(Self {
                old: urls.cell(&old),
                new: urls.cell(&new),
            }),
            (Some(ControlSet::Account), Some(context)) => {
                let cell = urls.cell(&context.cell().name);
                Some(Self {
                    old: format!("{cell}#{old}"),
                    new: format!("{cell}#{new}"),
                })
            }
            _ => None,
        }
    }

    /// The owner that follows another one.
    fn replace(&self, owner: &str) -> Option<String> {
        let rest = owner.strip_prefix(&self.old)?;
        // The URL of a cell ends with a slash, a subject with the name of the account.
        (self.old.ends_with('/') || rest.is_empty()).then(|| format!("{}{rest}", self.new))
    }
}

/// Gives the cells of an account or of the accounts of a cell to its new name, if it has got one. This happens even if
/// the request is cancelled meanwhile.
pub(super) async fn follow_rename(
    root: &ServiceRoot,
    set: &SetRef,
    before: &Entity,
    after: &Entity,
) -> Result<()> {
    let Some(rename) = OwnerRename::of(root, set, before, after) else {
        return Ok(());
    };
    let unit = root.unit().share();
    let following = tokio::spawn(async move {
        let changed = replace_owners(&unit, &|owner| rename.replace(owner)).await?;
        if changed > 0 {
            let OwnerRename { old, new } = rename;
            tracing::info!(
                old,
                new,
                cells = changed,
                "cells given to the new name of their owner"
            );
        }
        Ok(())
    });
    following.await.map_err(Error::internal)?
}

/// Replaces the owners for which `replace` returns a new one. It gets and returns absolute URLs. Returns the number of
/// cells that changed.
async fn replace_owners(
    unit: &Unit,
    replace: &(dyn Fn(&str) -> Option<String> + Sync),
) -> Result<usize> {
    let mut changed = 0;
    let mut pages = CellPages::new(unit);
    while let Some(page) = pages.next().await? {
        for (key, cell) in page {
            if new_owner(unit.urls(), cell.owner.as_deref(), replace).is_some() {
                set_owner(unit, &cell, &key, replace).await?;
                changed += 1;
            }
        }
    }
    Ok(changed)
}

/// The new owner in unit-local form, if there is one.
fn new_owner(
    urls: &UnitUrls,
    owner: Option<&str>,
    replace: &(dyn Fn(&str) -> Option<String> + Sync),
) -> Option<String> {
    let new = replace(&urls.resolve(owner?)?)?;
    Some(urls.localize(&new).unwrap_or(new))
}

async fn set_owner(
    unit: &Unit,
    cell: &Cell,
    key: &Key,
    replace: &(dyn Fn(&str) -> Option<String> + Sync),
) -> Result<()> {
    let cells = &unit.records();
    let build = || async move {
        let mut batch = Batch::new();
        if let Some(mut found) = cells.find::<StoredEntity>(key).await? {
            let owner = found.value.hidden.get(OWNER).map(String::as_str);
            if let Some(owner) = new_owner(unit.urls(), owner, replace) {
                found.value.hidden.insert(OWNER.to_owned(), owner);
                let read = Some((found.version, found.bytes));
                records::put_entity_checked(&mut batch, key.clone(), read, &found.value)?;
            }
        }
        let post_commit = PostCommit::invalidating(cell, Invalidation::Cell)
            .invalidate_cell_name(&cell.name)
            .announce_cell(cell.id);
        Ok((batch, post_commit, ()))
    };
    unit.transact_with(cells, build).await
}

/// Reads the catalogue of cells page by page.
struct CellPages<'a> {
    unit: &'a Unit,
    /// The part that was not read yet.
    range: KeyRange,
    /// The length of the beginning that all keys share.
    prefix: usize,
}

impl<'a> CellPages<'a> {
    fn new(unit: &'a Unit) -> Self {
        let range = keys::entities(&SetKey::control(ControlSet::Cell));
        Self {
            unit,
            prefix: range.start.as_bytes().len(),
            range,
        }
    }

    /// The next cells with their keys; `None` at the end.
    async fn next(&mut self) -> Result<Option<Vec<(Key, Cell)>>> {
        let records = self.unit.records();
        let page = records
            .list::<StoredEntity>(&self.range, Direction::Up, PAGE_CELLS)
            .await?;
        let Some((last, _)) = page.last() else {
            return Ok(None);
        };
        self.range = self.range.after(last);
        let cells = page.into_iter().filter_map(|(key, found)| {
            let id = keys::last_text(&key, self.prefix)?;
            let cell = Cell::from_entity(&id, &found.value, &found.value.doc)?;
            Some((key, cell))
        });
        Ok(Some(cells.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::OwnerRename;

    #[test]
    fn only_owners_of_the_old_name_follow() {
        let rename = |old: &str, new: &str| OwnerRename {
            old: old.to_owned(),
            new: new.to_owned(),
        };
        let cell = rename("http://u/a/", "http://u/b/");
        let account = rename("http://u/a/#me", "http://u/a/#you");
        for (rename, owner, expected) in [
            (&cell, "http://u/a/#me", Some("http://u/b/#me")),
            (&cell, "http://u/ab/#me", None),
            (&account, "http://u/a/#me", Some("http://u/a/#you")),
            (&account, "http://u/a/#me2", None),
            (&account, "http://u/b/#me", None),
        ] {
            assert_eq!(rename.replace(owner).as_deref(), expected, "{owner}");
        }
    }
}
