//! Methods that a resource does not support, and paths below a file: the error is shown only to authorized callers.

use personium_types::{Operation as O, Privilege as P};

use super::cases::{Case, case_on};
use super::completeness::METHODS;

/// Methods that no resource of a box supports, except MERGE and PATCH for OData.
const ODD: &[&str] = &["MERGE", "PATCH", "COPY", "LOCK", "UNLOCK", "SEARCH"];
/// WebDAV methods.
const DAV: &[&str] = &["MOVE", "PROPFIND", "PROPPATCH", "ACL", "REPORT"];
const SAYS: &str = "PR405-MC-0001";

pub fn cases() -> Vec<Case> {
    let mut out = Vec::new();
    for (path, on, methods) in [
        ("c/b", "c/b", &["POST", "PUT", "MKCOL"][..]),
        ("c/b/col", "c/b/col", &["POST", "PUT"]),
        ("c/b/col/file", "c/b/col/file", &["POST"]),
        ("c/b/col/none", "c/b/col", &[]),
        ("c/b/col/none/none", "c/b/col", &[]),
        ("c/b/od", "c/b/od", &["POST", "PUT"]),
        ("c/b/str", "c/b/str", &["GET", "POST", "PUT"]),
        ("c/b/svc", "c/b/svc", &["GET", "POST", "PUT"]),
        (
            "c/b/svc/__src",
            "c/b/svc",
            &["GET", "POST", "PUT", "DELETE"],
        ),
        ("c/b/svc/__src/script.js", "c/b/svc", &["POST"]),
    ] {
        for method in methods.iter().chain(ODD) {
            out.push(case_on(O::Options, method, path, on).expect(405, SAYS));
        }
    }
    for path in ["c/b/col/file/none", "c/b/col/file/none/none"] {
        for method in METHODS {
            let case = case_on(O::Options, method, path, "c/b/col/file");
            out.push(case.expect(404, "PR404-MC-0001"));
        }
    }
    for (path, methods) in [
        ("c/b/od/T", &["PUT", "DELETE", "MERGE"][..]),
        ("c/b/od/T('e')", &["POST"]),
    ] {
        let is_entity = path.ends_with(')');
        let odd = ODD
            .iter()
            .filter(|method| **method != "MERGE" && !(is_entity && **method == "PATCH"));
        for method in methods.iter().chain(odd).chain(DAV) {
            let case = case_on(O::ReadEntities, method, path, "c/b/od");
            out.push(case.instead(P::Write).expect(405, SAYS));
        }
    }
    out
}
