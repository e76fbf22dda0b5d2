//! Names of items: a type name means one thing in a crate, and retired words do not return.

use std::collections::BTreeMap;

use syn::visit::{self, Visit};

use super::sources::{CrateSource, is_test_only};

/// Words that named things of this project before the field's own nouns did, each with the word to use.
const RETIRED: &[(&str, &str)] = &[
    ("bell", "outbox queue"),
    ("courier", "request sender"),
    ("fault", "error"),
    ("figures", "metrics"),
    ("foundation", "components"),
    ("furnished", "with fixtures"),
    ("gate", "limiter, lock or authorizer"),
    ("judge", "check or authenticate"),
    ("lane", "partition"),
    ("neighbour", "peer"),
    ("neighbourhood", "rate limit key"),
    ("neighbours", "peers"),
    ("pace", "rate limiter or budget"),
    ("paced", "rate limited"),
    ("patience", "timeout"),
    ("patient", "timeout"),
    ("proven", "verified"),
    ("room", "memory budget, crate or layer"),
    ("spot", "target kind"),
    ("told", "a noun for the value, or posted, reported, sent"),
    ("touch", "invalidation"),
];

/// Returns one finding for each type name that a crate defines twice, and for each name with a retired word.
pub(super) fn findings(crates: &[CrateSource]) -> Vec<String> {
    let mut findings = Vec::new();
    for source in crates {
        let mut types: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (module, file) in &source.modules {
            let module = if module.is_empty() {
                "crate".to_owned()
            } else {
                module.join("::")
            };
            let mut names = Names::default();
            names.visit_file(file);
            for name in names.types {
                types.entry(name).or_default().push(module.clone());
            }
            let in_path = module.rsplit("::").next().into_iter().map(str::to_owned);
            for name in names.all.into_iter().chain(in_path) {
                if let Some((word, better)) = retired_word(&name) {
                    findings.push(format!(
                        "{} {module}: `{name}` contains the retired word {word}: say {better}",
                        source.folder
                    ));
                }
            }
        }
        findings.extend(
            types
                .into_iter()
                .filter(|(_, modules)| modules.len() > 1)
                .map(|(name, modules)| {
                    format!(
                        "{}: the type name {name} is defined in {}",
                        source.folder,
                        modules.join(", ")
                    )
                }),
        );
    }
    findings
}

fn retired_word(name: &str) -> Option<&'static (&'static str, &'static str)> {
    let words = words(name);
    RETIRED
        .iter()
        .find(|(word, _)| words.iter().any(|found| found == word))
}

/// The words of a name in `snake_case`, `UpperCamelCase` or `SCREAMING_SNAKE_CASE`, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut after_lower = false;
    for c in name.chars() {
        if c == '_' || (c.is_uppercase() && after_lower) {
            words.push(String::new());
        }
        after_lower = c.is_lowercase() || c.is_numeric();
        if c != '_'
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
    }
    words
}

/// The names that a file defines outside its tests.
#[derive(Default)]
struct Names {
    types: Vec<String>,
    all: Vec<String>,
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        use syn::Item;
        let (attributes, name, is_type) = match item {
            Item::Struct(item) => (&item.attrs, &item.ident, true),
            Item::Enum(item) => (&item.attrs, &item.ident, true),
            Item::Trait(item) => (&item.attrs, &item.ident, true),
            Item::Type(item) => (&item.attrs, &item.ident, true),
            Item::Union(item) => (&item.attrs, &item.ident, true),
            Item::Fn(item) => (&item.attrs, &item.sig.ident, false),
            Item::Const(item) => (&item.attrs, &item.ident, false),
            Item::Static(item) => (&item.attrs, &item.ident, false),
            Item::Mod(item) => (&item.attrs, &item.ident, false),
            _ => return visit::visit_item(self, item),
        };
        if is_test_only(attributes) {
            return;
        }
        if is_type {
            self.types.push(name.to_string());
        }
        self.all.push(name.to_string());
        visit::visit_item(self, item);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.all.push(function.sig.ident.to_string());
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        self.all.push(function.sig.ident.to_string());
        visit::visit_trait_item_fn(self, function);
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        self.all.extend(field.ident.iter().map(ToString::to_string));
        visit::visit_field(self, field);
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        self.all.push(variant.ident.to_string());
        visit::visit_variant(self, variant);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let modules = files
            .iter()
            .map(|(path, text)| (vec![(*path).to_owned()], syn::parse_file(text).unwrap()));
        findings(&[CrateSource {
            folder: "x/src".to_owned(),
            modules: BTreeMap::from_iter(modules),
        }])
    }

    #[test]
    fn names_are_split_into_words() {
        assert_eq!(words("BODY_ROOM"), ["body", "room"]);
        assert_eq!(words("LoginPace"), ["login", "pace"]);
        assert_eq!(words("space"), ["space"]);
    }

    #[test]
    fn retired_words_are_found_in_all_kinds_of_names() {
        for text in [
            "struct LoginPace;",
            "fn ring_bell() {}",
            "const BODY_ROOM: u8 = 1;",
            "struct A { body_room: u8 }",
            "enum A { Told }",
            "impl A { fn judge(&self) {} }",
        ] {
            assert_eq!(found(&[("a", text)]).len(), 1, "{text}");
        }
        assert!(found(&[("a", "struct Space; fn default() {}")]).is_empty());
        assert_eq!(found(&[("patience", "")]).len(), 1);
    }

    #[test]
    fn type_names_are_unique_in_a_crate() {
        assert_eq!(found(&[("a", "struct A;"), ("b", "enum A {}")]).len(), 1);
        assert!(
            found(&[
                ("a", "struct A;"),
                ("b", "#[cfg(test)] mod tests { struct A; } fn a() {}")
            ])
            .is_empty()
        );
    }
}
