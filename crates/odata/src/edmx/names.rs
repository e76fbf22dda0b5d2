//! Names of associations and roles in a metadata document.

use std::collections::HashSet;

use crate::dialect::Dialect;
use crate::edm::{Association, NavigationProperty, Schema};

/// The names of associations and their roles in a metadata document.
///
/// In [`Dialect::Standard`] they are simple identifiers (CSDL 2.0, 17.1): other characters become `_`, names that would be
/// equal then get a number.
pub(super) struct AssociationNames<'s> {
    named: Vec<(&'s Association, Names)>,
}

/// The names of one association.
pub(super) struct Names {
    /// The name of the association.
    pub(super) association: String,
    /// The roles of both ends.
    pub(super) roles: [String; 2],
}

impl<'s> AssociationNames<'s> {
    pub(super) fn new(schema: &'s Schema, dialect: Dialect) -> Self {
        let mut taken = HashSet::new();
        let named = schema.associations().iter().map(|association| {
            let names = match dialect {
                Dialect::Original => Names {
                    association: association.name.to_string(),
                    roles: [&association.a, &association.b].map(|end| end.role.to_string()),
                },
                Dialect::Standard => identifiers(association, &mut taken),
            };
            (association, names)
        });
        Self {
            named: named.collect(),
        }
    }

    /// The associations in the order of the schema, with their names.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'s Association, &Names)> {
        self.named
            .iter()
            .map(|(association, names)| (*association, names))
    }

    /// The names that a navigation property uses: that of its association, the roles that it leads from and to. Two associations
    /// may have the same name in the schema, but not the same roles.
    pub(super) fn of_navigation(&self, navigation: &NavigationProperty) -> [&str; 3] {
        let (from, to) = (&navigation.from_role, &navigation.to_role);
        for (association, names) in self.iter() {
            let (a, b) = (&association.a.role, &association.b.role);
            let [name_a, name_b] = &names.roles;
            if association.name != navigation.association {
                continue;
            }
            if (a, b) == (from, to) {
                return [&names.association, name_a, name_b];
            }
            if (b, a) == (from, to) {
                return [&names.association, name_b, name_a];
            }
        }
        ["", "", ""]
    }
}

fn identifiers(association: &Association, taken: &mut HashSet<String>) -> Names {
    let [a, b] = [&association.a, &association.b].map(|end| identifier(&end.role));
    let b = if a == b { format!("{b}_2") } else { b };
    let wanted = identifier(&association.name);
    let mut name = wanted.clone();
    let mut number = 1;
    while !taken.insert(name.clone()) {
        number += 1;
        name = format!("{wanted}_{number}");
    }
    Names {
        association: name,
        roles: [a, b],
    }
}

fn identifier(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let replaced = text.chars().map(|c| if allowed(c) { c } else { '_' });
    let replaced: String = replaced.collect();
    if replaced.starts_with(|c: char| c.is_ascii_digit()) {
        format!("_{replaced}")
    } else {
        replaced
    }
}
