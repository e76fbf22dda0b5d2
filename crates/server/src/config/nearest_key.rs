//! Finds the key that a misspelt one probably stands for.

use super::key_info::PREFIX;

/// How many of a hundred characters may differ.
const MAX_DIFFERENT_PERCENT: usize = 34;

/// Returns the known key whose name is most like `name`; `None` if none is like it.
pub(super) fn find<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let bare = |key: &str| key.strip_prefix(PREFIX).unwrap_or(key).to_ascii_lowercase();
    let name = bare(name);
    let distance = |key: &str| strsim::damerau_levenshtein(&name, &bare(key));
    let (nearest, distance) = known
        .map(|key| (key, distance(key)))
        .min_by_key(|(_, distance)| *distance)?;
    let longest = name.len().max(bare(nearest).len());
    (distance * 100 <= longest * MAX_DIFFERENT_PERCENT).then_some(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_keys_are_recognized_and_others_are_not() {
        let known = ["unitFqdn", "unitPort", "dav.depth.maxnum", "masterToken"]
            .map(|k| format!("{PREFIX}{k}"));
        let found = |name: &str| {
            find(&format!("{PREFIX}{name}"), known.iter().map(String::as_str))
                .map(|key| key.strip_prefix(PREFIX).unwrap_or(key))
        };
        for (name, expected) in [
            ("unitFQDN", Some("unitFqdn")),
            ("unitfqnd", Some("unitFqdn")),
            ("mastertoken", Some("masterToken")),
            ("dav.depth.max", Some("dav.depth.maxnum")),
            ("something.else", None),
        ] {
            assert_eq!(found(name), expected, "{name}");
        }
    }
}
