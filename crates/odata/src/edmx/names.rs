//! Names of associations and roles in a metadata document.

use std::collections::{HashMap, HashSet};

use crate::dialect::Dialect;
use crate::edm::{Association, NavigationProperty, Schema};

/// The names of associations and their roles in a metadata document.
///
/// In [`Dialect::Standard`] they are simple identifiers (CSDL 2.0, 17.1): other characters become `_`, names that would be
/// equal then get a number.
pub(super) struct AssociationNames<'s> {
    by_association: HashMap<&'s str, Names>,
}

struct Names {
    association: String,
    /// The roles of both ends.
    roles: [String; 2],
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
            (&*association.name, names)
        });
        Self {
            by_association: named.collect(),
        }
    }

    /// The name of an association.
    pub(super) fn of<'a>(&'a self, association: &'a str) -> &'a str {
        self.by_association
            .get(association)
            .map_or(association, |names| &names.association)
    }

    /// The roles of both ends of an association.
    pub(super) fn roles<'a>(&'a self, association: &'a Association) -> [&'a str; 2] {
        match self.by_association.get(&*association.name) {
            Some(names) => [&names.roles[0], &names.roles[1]],
            None => [&association.a.role, &association.b.role],
        }
    }

    /// The roles of the ends that a navigation property leads from and to.
    pub(super) fn roles_of_navigation<'a>(
        &'a self,
        schema: &'a Schema,
        navigation: &'a NavigationProperty,
    ) -> [&'a str; 2] {
        let mut associations = schema.associations().iter();
        let Some(association) = associations.find(|each| each.name == navigation.association)
        else {
            return [&navigation.from_role, &navigation.to_role];
        };
        let [a, b] = self.roles(association);
        if association.a.role == navigation.from_role {
            [a, b]
        } else {
            [b, a]
        }
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
