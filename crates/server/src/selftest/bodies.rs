//! The bodies of the requests of the test.

/// A script that answers with [`SCRIPT_ANSWER`].
pub(super) const SCRIPT: &str = "(function(request) {\n  return {\n    status: 200,\n    headers: {\"Content-Type\": \"text/plain\"},\n    body: [\"hello world\"]\n  };\n})\n";

/// The body of the answer of the script.
pub(super) const SCRIPT_ANSWER: &str = "hello world";

/// The body of MKCOL for a collection of a kind.
pub(super) fn collection(kind: &str) -> String {
    format!(
        "<D:mkcol xmlns:D=\"DAV:\" xmlns:p=\"urn:x-personium:xmlns\"><D:set><D:prop><D:resourcetype><D:collection/>\
         <p:{kind}/></D:resourcetype></D:prop></D:set></D:mkcol>"
    )
}

/// The body of ACL that lets a role do everything.
pub(super) fn access(role_url: &str) -> String {
    format!(
        "<D:acl xmlns:D=\"DAV:\" xmlns:p=\"urn:x-personium:xmlns\"><D:ace><D:principal><D:href>{role_url}</D:href>\
         </D:principal><D:grant><D:privilege><D:all/></D:privilege></D:grant></D:ace></D:acl>"
    )
}

/// The body of PROPPATCH that makes a script a service.
pub(super) fn service(path: &str, script: &str) -> String {
    format!(
        "<D:propertyupdate xmlns:D=\"DAV:\" xmlns:p=\"urn:x-personium:xmlns\"><D:set><D:prop>\
         <p:service language=\"JavaScript\"><p:path name=\"{path}\" src=\"{script}\"/></p:service>\
         </D:prop></D:set></D:propertyupdate>"
    )
}
