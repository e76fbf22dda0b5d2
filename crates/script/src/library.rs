//! The JavaScript files of the engine.

/// The surroundings of a script: the request, the checks of the response.
pub(crate) const RUNTIME: (&str, &str) = ("runtime.js", include_str!("../js/runtime.js"));

/// The file of the library that is evaluated in every context.
pub(crate) const PRELUDE: &str = "prelude.js";

/// The files of the library. Those before the prelude are evaluated when it loads them.
pub(crate) const LIBRARY: &[(&str, &str)] = &[
    ("base.js", include_str!("../js/base.js")),
    ("xml.js", include_str!("../js/xml.js")),
    ("access.js", include_str!("../js/access.js")),
    ("query.js", include_str!("../js/query.js")),
    ("control.js", include_str!("../js/control.js")),
    ("dav.js", include_str!("../js/dav.js")),
    ("odata.js", include_str!("../js/odata.js")),
    ("service.js", include_str!("../js/service.js")),
    ("cell.js", include_str!("../js/cell.js")),
    ("java.js", include_str!("../js/java.js")),
    ("extension.js", include_str!("../js/extension.js")),
    ("entry.js", include_str!("../js/entry.js")),
    (PRELUDE, include_str!("../js/prelude.js")),
];

/// The beginning of the file names of the engine in stacks.
pub(crate) const FILE_PREFIX: &str = "personium:";

/// The text of a file of the library; `None` if there is none of this name.
pub(crate) fn text(name: &str) -> Option<&'static str> {
    let found = LIBRARY.iter().find(|(file, _)| *file == name);
    found.map(|(_, text)| *text)
}
