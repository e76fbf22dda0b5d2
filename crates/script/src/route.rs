//! The routes of a service: which file of its sources answers a path.

use std::collections::BTreeMap;

use regex::Regex;

/// The largest number of bytes of a compiled pattern.
const PATTERN_MAX_BYTES: usize = 1 << 20;

/// The routes of a service, in their order.
#[derive(Debug, Clone, Default)]
pub struct RouteTable(Vec<Route>);

#[derive(Debug, Clone)]
struct Route {
    pattern: Pattern,
    variables: Vec<String>,
    source: String,
}

/// The paths of a template.
#[derive(Debug, Clone)]
enum Pattern {
    /// This path.
    Path(String),
    /// Paths with variables. The first variable is the group `v0`.
    Expression(Regex),
}

/// The script that a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteTarget {
    /// The name of the file.
    pub source: String,
    /// The number of the route in the table, from 0 on.
    pub number: usize,
    /// The values of the variables of the template.
    pub variables: BTreeMap<String, String>,
}

/// A template that is not valid. It spoils the whole table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Route registration failed. (name={name}, src={source_file})")]
pub struct TemplateError {
    /// The template.
    pub name: String,
    /// The file that it leads to.
    pub source_file: String,
}

impl RouteTable {
    /// A table of templates with the files that they lead to. A template is a text with variables: `{name}` stands for characters
    /// other than `/`, `{name: pattern}` for what a regular expression matches.
    ///
    /// # Errors
    /// [`TemplateError`] for the first one that is not valid.
    pub fn new<'a>(
        routes: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, TemplateError> {
        let compile = |(name, source): (&str, &str)| {
            Route::parse(name, source).ok_or_else(|| TemplateError {
                name: name.to_owned(),
                source_file: source.to_owned(),
            })
        };
        routes
            .into_iter()
            .map(compile)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The target of a path without slash at its beginning; `None` if no template matches it.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<RouteTarget> {
        let mut routes = self.0.iter().enumerate();
        routes.find_map(|(number, route)| route.target(number, path))
    }
}

impl Route {
    fn parse(template: &str, source: &str) -> Option<Self> {
        let template = template.strip_prefix('/').unwrap_or(template);
        if !template.contains(['{', '}']) {
            return Some(Self {
                pattern: Pattern::Path(template.to_owned()),
                variables: Vec::new(),
                source: source.to_owned(),
            });
        }
        let (mut pattern, mut variables) = (String::from("^(?:"), Vec::new());
        let mut rest = template;
        while let Some((literal, after)) = rest.split_once('{') {
            pattern.push_str(&regex::escape(literal));
            let end = closing_brace(after)?;
            let (inside, beyond) = after.split_at_checked(end)?;
            rest = beyond.strip_prefix('}')?;
            let (name, expression) = match inside.split_once(':') {
                Some((name, expression)) => (name.trim(), expression.trim()),
                None => (inside.trim(), "[^/]+"),
            };
            if name.is_empty() || expression.is_empty() {
                return None;
            }
            let group = format!("v{}", variables.len());
            pattern.push_str(&format!("(?P<{group}>{expression})"));
            variables.push(name.to_owned());
        }
        if rest.contains('}') {
            return None;
        }
        pattern.push_str(&regex::escape(rest));
        pattern.push_str(")$");
        let pattern = regex::RegexBuilder::new(&pattern)
            .size_limit(PATTERN_MAX_BYTES)
            .build()
            .ok()?;
        Some(Self {
            pattern: Pattern::Expression(pattern),
            variables,
            source: source.to_owned(),
        })
    }

    fn target(&self, number: usize, path: &str) -> Option<RouteTarget> {
        let pattern = match &self.pattern {
            Pattern::Path(own) => {
                return (own == path).then(|| RouteTarget {
                    source: self.source.clone(),
                    number,
                    variables: BTreeMap::new(),
                });
            }
            Pattern::Expression(pattern) => pattern,
        };
        let captures = pattern.captures(path)?;
        let value = |(index, name): (usize, &String)| {
            let value = captures.name(&format!("v{index}"))?;
            Some((name.clone(), value.as_str().to_owned()))
        };
        Some(RouteTarget {
            source: self.source.clone(),
            number,
            variables: self
                .variables
                .iter()
                .enumerate()
                .filter_map(value)
                .collect(),
        })
    }
}

/// The position of the brace that closes a variable: its pattern may contain pairs of braces.
fn closing_brace(text: &str) -> Option<usize> {
    let mut depth = 0_u32;
    for (at, character) in text.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_template_that_matches_the_whole_path_wins() {
        let templates = [
            "aaa",
            "aaa/BBB",
            r"{id: .\d+}/BBB",
            "{id}/BBB",
            "aaa/{id}/view",
            "{aaa}BBB123",
            "aaa{id}",
        ];
        let table = RouteTable::new(templates.map(|t| (t, t))).unwrap();
        for (path, expected) in [
            ("aaa", Some("aaa")),
            ("aaa/BBB", Some("aaa/BBB")),
            ("1234/BBB", Some(r"{id: .\d+}/BBB")),
            ("12aa/BBB", Some("{id}/BBB")),
            ("aaa/1234/view", Some("aaa/{id}/view")),
            ("{aaaBBB123", Some("{aaa}BBB123")),
            ("aaaBBB", Some("aaa{id}")),
            ("/aaa", None),
            ("", None),
            ("aaa/1234/edit", None),
        ] {
            let found = table.find(path).map(|target| target.source);
            assert_eq!(found.as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn variables_have_the_text_that_they_matched() {
        let table = RouteTable::new([("{a}/{b: [0-9]{2}}-{c}", "s.js")]).unwrap();
        let target = table.find("x/12-y").unwrap();
        let expected = [("a", "x"), ("b", "12"), ("c", "y")];
        let expected = expected.map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(target.variables, BTreeMap::from(expected));
        assert!(table.find("x/123-y").is_none());
    }

    #[test]
    fn invalid_template_is_refused_with_its_name_and_file() {
        for template in [
            "{id/bbb",
            "a}b",
            "{}",
            "{a: }",
            "{a: [}",
            "{a: (?P<x>",
            "{a: \\p{Nope}}",
        ] {
            let refused = RouteTable::new([("ok", "ok.js"), (template, "src.js")]).unwrap_err();
            let expected = format!("Route registration failed. (name={template}, src=src.js)");
            assert_eq!(refused.to_string(), expected);
        }
    }

    #[test]
    fn patterns_take_linear_time_and_bounded_memory() {
        let table = RouteTable::new([("{a: (x+x+)+y}", "s.js")]).unwrap();
        assert!(table.find(&"x".repeat(100_000)).is_none());
        assert!(RouteTable::new([("{a: (x{1000}){1000}}", "s.js")]).is_err());
    }
}
