//! The place of a topic in the path of its WebSocket.

/// The text between the collection and the name of a topic.
const SEPARATOR: &str = ".topic.";

/// The place of a topic: the box, and the ways to read what stands for the path of the collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TopicPlace {
    /// The name of the box.
    pub(super) box_name: String,
    /// The paths of the collection that the text can stand for: dots are slashes, or belong to names.
    pub(super) paths: Vec<Vec<String>>,
    /// The name of the topic.
    pub(super) topic: String,
}

impl TopicPlace {
    /// Reads `{box}/{collection}.topic.{name}`. Slashes may stand in the path of the collection too.
    pub(super) fn parse(segments: &[String]) -> Option<Self> {
        let (box_name, rest) = segments.split_first()?;
        let (last, above) = rest.split_last()?;
        let (collection, topic) = last.split_once(SEPARATOR)?;
        let is_empty = |name: &str| name.is_empty();
        if topic.is_empty() || collection.split('.').any(is_empty) {
            return None;
        }
        let path_with = |names: Vec<String>| above.iter().cloned().chain(names).collect();
        let mut paths: Vec<Vec<String>> = vec![path_with(
            collection.split('.').map(str::to_owned).collect(),
        )];
        if collection.contains('.') {
            paths.push(path_with(vec![collection.to_owned()]));
        }
        Some(Self {
            box_name: box_name.clone(),
            paths,
            topic: topic.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(segments: &[&str]) -> Option<TopicPlace> {
        let segments: Vec<String> = segments.iter().map(|it| (*it).to_owned()).collect();
        TopicPlace::parse(&segments)
    }

    #[test]
    fn dots_are_slashes_or_belong_to_names() {
        let place = parse(&["box", "a.b.topic.t.u"]).unwrap();
        assert_eq!((&*place.box_name, &*place.topic), ("box", "t.u"));
        assert_eq!(place.paths, [vec!["a", "b"], vec!["a.b"]]);
        let place = parse(&["box", "a", "b.topic.t"]).unwrap();
        assert_eq!(place.paths, [vec!["a", "b"]]);
        for wrong in [
            &[][..],
            &["box"],
            &["box", "a"],
            &["box", "a.topic."],
            &["box", ".topic.t"],
            &["box", "a..b.topic.t"],
            &["box", "a.topic.t", "x"],
        ] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}
