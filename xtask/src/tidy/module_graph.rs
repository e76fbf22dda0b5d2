//! Modules of one crate depend on each other without cycles.
//!
//! A module may use its own descendants, and they may use it. Of the modules below one parent, each with everything below
//! it, none may reach itself over its siblings.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::algo::tarjan_scc;
use petgraph::graphmap::DiGraphMap;
use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{ItemMod, ItemUse, Macro, UseTree, Visibility};

use super::exceptions;
use super::sources::{CrateSource, ModulePath, child, is_test_only};

/// The kind of exceptions from this rule. The subject is `FOLDER PARENT`, the number how many modules the cycle has.
const KIND: &str = "cycle";
/// How many re-exports are followed from one name before the search is given up.
const MAX_REEXPORTS: usize = 8;

/// Returns one finding for each group of sibling modules that depend on each other in a cycle.
pub(super) fn findings(crates: &[CrateSource]) -> Vec<String> {
    let allowed = exceptions::of_kind(KIND);
    let (mut findings, mut needed) = (Vec::new(), Vec::new());
    for source in crates {
        for cycle in cycles(&edges(source)) {
            let subject = format!("{} {}", source.folder, cycle.parent);
            if allowed
                .get(&subject)
                .is_some_and(|size| cycle.members.len() <= *size)
            {
                needed.push(subject);
                continue;
            }
            findings.push(format!(
                "{}: modules {} of `{}` depend on each other in a cycle: {}",
                source.folder,
                cycle.members.join(", "),
                cycle.parent,
                cycle.uses.join("; ")
            ));
        }
    }
    findings.extend(exceptions::unneeded(KIND, &allowed, &needed));
    findings
}

/// A dependency of one module on another, by their paths.
type Edge = (ModulePath, ModulePath);

/// Sibling modules that depend on each other.
struct Cycle {
    /// The parent, `crate` for the root.
    parent: String,
    /// The names of the siblings.
    members: Vec<String>,
    /// One dependency for each pair of siblings.
    uses: Vec<String>,
}

fn cycles(edges: &BTreeSet<Edge>) -> Vec<Cycle> {
    // For each parent: which child uses which, with one example.
    let mut by_parent: BTreeMap<&[String], BTreeMap<(&str, &str), &Edge>> = BTreeMap::new();
    for edge in edges {
        let (from, to) = edge;
        let shared = from.iter().zip(to).take_while(|(a, b)| a == b).count();
        let (Some(one), Some(other), Some(parent)) =
            (from.get(shared), to.get(shared), from.get(..shared))
        else {
            continue;
        };
        by_parent
            .entry(parent)
            .or_default()
            .entry((one, other))
            .or_insert(edge);
    }
    let mut found = Vec::new();
    for (parent, uses) in by_parent {
        let graph: DiGraphMap<&str, ()> = uses.keys().copied().collect();
        for mut members in tarjan_scc(&graph) {
            if members.len() < 2 {
                continue;
            }
            members.sort_unstable();
            let inside = uses
                .iter()
                .filter(|((one, other), _)| members.contains(one) && members.contains(other));
            found.push(Cycle {
                parent: if parent.is_empty() {
                    "crate".to_owned()
                } else {
                    parent.join("::")
                },
                uses: inside
                    .map(|(_, (from, to))| format!("{} uses {}", from.join("::"), to.join("::")))
                    .collect(),
                members: members.into_iter().map(str::to_owned).collect(),
            });
        }
    }
    found
}

/// All dependencies between modules of a crate.
fn edges(source: &CrateSource) -> BTreeSet<Edge> {
    let scopes: BTreeMap<&ModulePath, References> = source
        .modules
        .iter()
        .map(|(path, file)| (path, References::of(file)))
        .collect();
    let resolver = Resolver { scopes: &scopes };
    let mut edges = BTreeSet::new();
    for (path, references) in &scopes {
        for reference in &references.paths {
            if let Some(target) = resolver.resolve(path, reference, MAX_REEXPORTS)
                && target != **path
            {
                edges.insert(((*path).clone(), target));
            }
        }
    }
    edges
}

/// The paths that a module names.
#[derive(Default)]
struct References {
    paths: BTreeSet<Vec<String>>,
    /// Names that other modules can import from here, with the paths that they stand for.
    reexports: BTreeMap<String, Vec<String>>,
    /// How many inline modules surround what is visited: as many `super` stay inside the file.
    inline_depth: usize,
}

impl References {
    fn of(file: &syn::File) -> Self {
        let mut references = Self::default();
        references.visit_file(file);
        references
    }

    fn insert(&mut self, mut path: Vec<String>) {
        for _ in 0..self.inline_depth {
            if path.first().is_some_and(|first| first == "super") {
                path.remove(0);
                path.insert(0, "self".to_owned());
                if path.get(1).is_some_and(|second| second == "super") {
                    path.remove(0);
                }
            }
        }
        self.paths.insert(path);
    }

    fn insert_use(&mut self, tree: &UseTree, prefix: &[String], is_public: bool) {
        match tree {
            UseTree::Path(path) => self.insert_use(
                &path.tree,
                &child(prefix, &path.ident.to_string()),
                is_public,
            ),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.insert_use(tree, prefix, is_public);
                }
            }
            UseTree::Name(name) => self.insert_import(
                &name.ident.to_string(),
                prefix,
                &name.ident.to_string(),
                is_public,
            ),
            UseTree::Rename(rename) => {
                self.insert_import(
                    &rename.ident.to_string(),
                    prefix,
                    &rename.rename.to_string(),
                    is_public,
                );
            }
            UseTree::Glob(_) => self.insert(prefix.to_vec()),
        }
    }

    fn insert_import(&mut self, name: &str, prefix: &[String], alias: &str, is_public: bool) {
        let path = if name == "self" {
            prefix.to_vec()
        } else {
            child(prefix, name)
        };
        if is_public {
            self.reexports.insert(alias.to_owned(), path.clone());
        }
        self.insert(path);
    }

    /// Reads paths out of the tokens of a macro call, which are not parsed.
    fn insert_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.finish_path(&mut path);
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.finish_path(&mut path);
                    self.insert_tokens(group.stream());
                }
                _ => self.finish_path(&mut path),
            }
        }
        self.finish_path(&mut path);
    }

    fn finish_path(&mut self, path: &mut Vec<String>) {
        let path = std::mem::take(path);
        if path.len() > 1 {
            self.insert(path);
        }
    }
}

impl<'ast> Visit<'ast> for References {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !is_test_only(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let is_public = !matches!(item.vis, Visibility::Inherited) && self.inline_depth == 0;
        self.insert_use(&item.tree, &[], is_public);
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        self.inline_depth += 1;
        visit::visit_item_mod(self, module);
        self.inline_depth -= 1;
    }

    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        if segments.len() > 1 {
            self.insert(segments);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.visit_path(&call.path);
        self.insert_tokens(call.tokens.clone());
    }
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    use syn::Item;
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Finds the modules that paths lead to.
struct Resolver<'a> {
    scopes: &'a BTreeMap<&'a ModulePath, References>,
}

impl Resolver<'_> {
    /// The module that a path named in another module leads to; `None` if it leads to another crate.
    fn resolve(
        &self,
        from: &[String],
        path: &[String],
        reexports_left: usize,
    ) -> Option<ModulePath> {
        let mut rest = path.iter();
        let mut at = from.to_vec();
        let first = rest.next()?;
        match first.as_str() {
            "crate" => at.clear(),
            "self" => {}
            "super" => {
                at.pop()?;
            }
            name => {
                at.push(name.to_owned());
                self.scopes.get(&at)?;
            }
        }
        while let Some(name) = rest.next() {
            if name == "super" {
                at.pop()?;
                continue;
            }
            let below = child(&at, name);
            if self.scopes.contains_key(&below) {
                at = below;
                continue;
            }
            let reexport = self
                .scopes
                .get(&at)
                .and_then(|scope| scope.reexports.get(name));
            if let (Some(target), Some(left)) = (reexport, reexports_left.checked_sub(1)) {
                let whole: Vec<String> = target.iter().chain(rest).cloned().collect();
                return Some(self.resolve(&at, &whole, left).unwrap_or(at));
            }
            break;
        }
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(files: &[(&str, &str)]) -> CrateSource {
        let modules = files.iter().map(|(path, text)| {
            let path = path
                .split("::")
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect();
            (path, syn::parse_file(text).unwrap())
        });
        CrateSource {
            folder: "x/src".to_owned(),
            modules: modules.collect(),
        }
    }

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        cycles(&edges(&source(files)))
            .into_iter()
            .map(|cycle| format!("{} {}", cycle.parent, cycle.members.join(" ")))
            .collect()
    }

    #[test]
    fn siblings_that_use_each_other_are_a_cycle() {
        let uses = [
            ("", "mod a; mod b;"),
            ("a", "use crate::b::B;"),
            ("b", "fn f() { super::a::g(); }"),
        ];
        assert_eq!(found(&uses), ["crate a b"]);
    }

    #[test]
    fn a_cycle_over_a_descendant_is_found() {
        let uses = [
            ("", ""),
            ("a", ""),
            ("a::c", "use crate::b;"),
            ("b", "use crate::a;"),
        ];
        assert_eq!(found(&uses), ["crate a b"]);
    }

    #[test]
    fn siblings_below_a_module_are_checked() {
        let uses = [
            ("", ""),
            ("a", "mod b; mod c;"),
            ("a::b", "use super::c::C;"),
            ("a::c", "use crate::a::b::B;"),
        ];
        assert_eq!(found(&uses), ["a b c"]);
    }

    #[test]
    fn parent_and_child_may_use_each_other() {
        let uses = [
            ("", ""),
            ("a", "mod b; use b::B;"),
            ("a::b", "use super::A;"),
        ];
        assert!(found(&uses).is_empty());
    }

    #[test]
    fn reexports_lead_to_the_module_that_defines_the_name() {
        let uses = [
            ("", "mod a; mod b; pub use b::B;"),
            ("a", "use crate::B;"),
            ("b", "use crate::a::A;"),
        ];
        assert_eq!(found(&uses), ["crate a b"]);
    }

    #[test]
    fn paths_in_macro_calls_are_seen_and_tests_are_not() {
        let uses = [
            ("", ""),
            ("a", "fn f() { println!(\"{}\", crate::b::f()); }"),
            ("b", "use crate::a;"),
        ];
        assert_eq!(found(&uses), ["crate a b"]);
        let uses = [
            ("", ""),
            ("a", "#[cfg(test)] mod tests { use crate::b::f; }"),
            ("b", "use crate::a;"),
        ];
        assert!(found(&uses).is_empty());
    }

    #[test]
    fn other_crates_are_no_modules() {
        assert!(
            found(&[
                ("", ""),
                ("a", "use std::b::x; use b::y;"),
                ("b", "use crate::a;")
            ])
            .is_empty()
        );
    }
}
