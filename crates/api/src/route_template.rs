//! The templates of paths in traces: what a path means, with nothing of what its client or the owner of a cell has named.

use percent_encoding::percent_decode_str;

use crate::locate::Addressee;
use crate::route::CellRoute;

/// The templates of control objects: the name of the set, and the templates of the set and of one object, of the unit and of a cell.
macro_rules! control_templates {
    ($($set:literal),* $(,)?) => {
        /// The set, the template of the set, and that of one object, below a cell.
        const CONTROL: &[(&str, &str, &str)] = &[$((
            $set,
            concat!("/{cell}/__ctl/", $set),
            concat!("/{cell}/__ctl/", $set, "({key})"),
        )),*];
    };
}

control_templates!(
    "Account",
    "Box",
    "ExtCell",
    "ExtRole",
    "ReceivedMessage",
    "Relation",
    "Role",
    "Rule",
    "SentMessage",
    "$batch",
    "$metadata",
);

/// The template of the path of a request. In a unit whose cells have hosts of their own, it begins with `/{cell}` as well.
pub(crate) fn of(addressee: &Addressee) -> &'static str {
    match addressee {
        Addressee::Unit { path } => of_unit(path),
        Addressee::Cell { path, .. } => of_cell(path),
    }
}

fn of_unit(path: &str) -> &'static str {
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    let (first, second) = (segments.next(), segments.next());
    match (first, second) {
        (None, _) => "/",
        (Some("__ctl"), None) => "/__ctl",
        (Some("__ctl"), Some("Cell")) => "/__ctl/Cell",
        (Some("__ctl"), Some("$batch")) => "/__ctl/$batch",
        (Some("__ctl"), Some("$metadata")) => "/__ctl/$metadata",
        (Some("__ctl"), Some(object)) if object.starts_with("Cell(") => "/__ctl/Cell({key})",
        (Some("__ctl"), Some(_)) => "/__ctl/{type}",
        (Some("__quota"), None) => "/__quota",
        (Some("__status"), None) => "/__status",
        (Some("crossdomain.xml"), None) => "/crossdomain.xml",
        _ => "/{path}",
    }
}

fn of_cell(path: &str) -> &'static str {
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    let Some(first) = segments.next() else {
        return "/{cell}";
    };
    let first = percent_decode_str(first).decode_utf8_lossy();
    let second = segments.next();
    match CellRoute::of(&first) {
        CellRoute::Control => second.map_or("/{cell}/__ctl", control),
        CellRoute::Token => "/{cell}/__token",
        CellRoute::Authorize => "/{cell}/__authz",
        CellRoute::MyPassword => "/{cell}/__mypassword",
        CellRoute::Introspect => "/{cell}/__introspect",
        CellRoute::Certs => "/{cell}/__certs",
        CellRoute::Sign => "/{cell}/__sign",
        CellRoute::WellKnown => "/{cell}/.well-known/{document}",
        CellRoute::Html => "/{cell}/__html/{page}",
        CellRoute::Role => "/{cell}/__role/{role}",
        CellRoute::BoxUrl => "/{cell}/__box",
        CellRoute::Event => "/{cell}/__event",
        CellRoute::Topic => "/{cell}/__topic",
        CellRoute::Log => "/{cell}/__log/{log}",
        CellRoute::Rule => "/{cell}/__rule",
        CellRoute::Message => match second {
            Some("send") => "/{cell}/__message/send",
            Some("port") => "/{cell}/__message/port",
            _ => "/{cell}/__message/{path}",
        },
        CellRoute::Export => "/{cell}/__export",
        CellRoute::Import => "/{cell}/__import",
        CellRoute::Snapshot => "/{cell}/__snapshot/{file}",
        CellRoute::Box if second.is_none() => "/{cell}/{box}",
        CellRoute::Box => "/{cell}/{box}/{path}",
    }
}

/// The template of a control object of a cell, by the segment that names it.
fn control(segment: &str) -> &'static str {
    let segment = percent_decode_str(segment).decode_utf8_lossy();
    let (set, key) = match segment.split_once('(') {
        Some((set, _)) => (set, true),
        None => (&*segment, false),
    };
    let found = CONTROL.iter().find(|(known, ..)| *known == set);
    match (found, key) {
        (Some((_, _, object)), true) => object,
        (Some((_, whole, _)), false) => whole,
        (None, _) => "/{cell}/__ctl/{type}",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn template_names_the_meaning_of_a_path_and_nothing_else() {
        let cell = |path: &str| {
            of(&Addressee::Cell {
                name: "alice".to_owned(),
                path: path.to_owned(),
            })
        };
        for (path, template) in [
            ("", "/{cell}"),
            ("/", "/{cell}"),
            ("/__token", "/{cell}/__token"),
            ("/%5f_token", "/{cell}/__token"),
            ("/__ctl/Account", "/{cell}/__ctl/Account"),
            ("/__ctl/Account('bob')", "/{cell}/__ctl/Account({key})"),
            (
                "/__ctl/Account(Name='bob')/_Role",
                "/{cell}/__ctl/Account({key})",
            ),
            ("/__ctl/bob", "/{cell}/__ctl/{type}"),
            ("/__message/send", "/{cell}/__message/send"),
            ("/bob", "/{cell}/{box}"),
            ("/bob/diagnosis.pdf", "/{cell}/{box}/{path}"),
            ("/__log/archive/bob", "/{cell}/__log/{log}"),
        ] {
            assert_eq!(cell(path), template, "{path}");
        }
        for (path, template) in [
            ("/", "/"),
            ("/__ctl/Cell", "/__ctl/Cell"),
            ("/__ctl/Cell('alice')", "/__ctl/Cell({key})"),
            ("/__ctl/alice", "/__ctl/{type}"),
            ("/__status", "/__status"),
            ("/alice", "/{path}"),
        ] {
            let path = path.to_owned();
            assert_eq!(
                of(&Addressee::Unit { path: path.clone() }),
                template,
                "{path}"
            );
        }
    }
}
