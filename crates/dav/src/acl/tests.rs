use super::*;

const BASE: &str = "https://cell1.unit.example/__role/__/";

fn read_at(level: AclLevel, attributes: &str, inside: &str) -> Result<AclDocument, AclError> {
    let body = format!(
        "<D:acl xmlns:D='DAV:' xmlns:p='urn:x-personium:xmlns' {attributes}>{inside}</D:acl>"
    );
    parse(body.as_bytes(), level, BASE, &XmlLimits::REQUEST)
}

fn read(inside: &str) -> Result<AclDocument, AclError> {
    read_at(AclLevel::Box, "", inside)
}

fn entry(principal: &str, privilege: &str) -> String {
    format!(
        "<D:ace><D:principal>{principal}</D:principal>\
         <D:grant><D:privilege>{privilege}</D:privilege></D:grant></D:ace>"
    )
}

#[test]
fn list_is_parsed_with_base_and_schema_authz() {
    let acl = read_at(
        AclLevel::Box,
        "xml:base='https://cell1.unit.example/__role/box1/' p:requireSchemaAuthz='public'",
        "<D:ace><D:principal><D:href> role1\n</D:href></D:principal><D:grant><D:privilege><D:read/></D:privilege>\
         <D:privilege><p:exec/></D:privilege></D:grant></D:ace>\
         <D:ace><D:grant><D:privilege><D:all/></D:privilege></D:grant><D:principal><D:href>../box2/r</D:href>\
         </D:principal><D:protected/></D:ace>\
         <D:ace><D:principal><D:all/></D:principal><D:grant><D:privilege><D:write-acl/></D:privilege></D:grant></D:ace>",
    )
    .unwrap();
    assert_eq!(acl.schema_authz, Some(SchemaAuthz::Public));
    assert_eq!(
        acl.entries,
        [
            AclEntry {
                principal: AclPrincipal::Href(
                    "https://cell1.unit.example/__role/box1/role1".to_owned()
                ),
                privileges: vec![Privilege::Read, Privilege::Exec],
            },
            AclEntry {
                principal: AclPrincipal::Href(
                    "https://cell1.unit.example/__role/box2/r".to_owned()
                ),
                privileges: vec![Privilege::All],
            },
            AclEntry {
                principal: AclPrincipal::All,
                privileges: vec![Privilege::WriteAcl]
            },
        ]
    );
}

#[test]
fn inherited_entries_are_left_out() {
    let inherited = "<D:inherited><D:href>https://cell1.unit.example/box1</D:href></D:inherited>";
    let acl = read_at(
        AclLevel::Box,
        "",
        &format!(
            "<D:ace><D:principal><D:all/></D:principal><D:grant><D:privilege><D:all/></D:privilege></D:grant>{inherited}</D:ace>\
             <D:ace>{inherited}<D:principal><D:href>../gone/r</D:href></D:principal></D:ace>\
             {}",
            entry("<D:all/>", "<D:read/>")
        ),
    )
    .unwrap();
    assert_eq!(
        acl.entries,
        [AclEntry {
            principal: AclPrincipal::All,
            privileges: vec![Privilege::Read]
        }]
    );
}

#[test]
fn empty_list_is_accepted() {
    assert_eq!(
        read(""),
        Ok(AclDocument {
            schema_authz: None,
            entries: Vec::new()
        })
    );
}

#[test]
fn duplicate_entries_and_privileges_are_removed() {
    let read_privilege = "<D:privilege><D:read/></D:privilege>";
    let twice = format!(
        "<D:ace><D:principal><D:all/></D:principal>\
         <D:grant>{read_privilege}<D:privilege><D:write/></D:privilege>{read_privilege}</D:grant></D:ace>"
    );
    let acl = read(&twice).unwrap();
    assert_eq!(
        acl.entries[0].privileges,
        [Privilege::Read, Privilege::Write]
    );

    // The same role as a relative and an absolute URL.
    let relative = entry("<D:href>r</D:href>", "<D:read/>");
    let absolute = entry(&format!("<D:href>{BASE}r</D:href>"), "<D:read/>");
    let other = entry("<D:href>r</D:href>", "<D:write/>");
    let many = (relative.clone() + &other + &absolute).repeat(MAX_ACL_ENTRIES);
    assert_eq!(read(&many), read(&(relative + &other)));
}

#[test]
fn number_of_entries_is_limited() {
    let list = |count: usize| -> String {
        (0..count)
            .map(|n| entry(&format!("<D:href>r{n}</D:href>"), "<D:read/>"))
            .collect()
    };
    assert_eq!(
        read(&list(MAX_ACL_ENTRIES)).unwrap().entries.len(),
        MAX_ACL_ENTRIES
    );
    let refused = read(&list(MAX_ACL_ENTRIES + 1)).unwrap_err();
    assert_eq!(refused, AclError::Invalid(AclPart::Count));
    assert!(refused.to_string().contains("(at most 256)"), "{refused}");
}

#[test]
fn default_base_is_used_without_xml_base() {
    let acl = read(&entry("<D:href>r</D:href>", "<D:read/>")).unwrap();
    assert_eq!(
        acl.entries[0].principal,
        AclPrincipal::Href(format!("{BASE}r"))
    );
    let acl = read(&entry(
        "<D:href>https://other.example/__role/__/r</D:href>",
        "<D:read/>",
    ))
    .unwrap();
    assert_eq!(
        acl.entries[0].principal,
        AclPrincipal::Href("https://other.example/__role/__/r".to_owned())
    );
}

#[test]
fn privileges_are_checked_against_level_and_namespace() {
    for &privilege in Privilege::ALL {
        let named = entry("<D:all/>", &format!("<{privilege}/>"));
        assert_eq!(
            read_at(AclLevel::Cell, "", &named).unwrap().entries[0].privileges,
            [privilege]
        );
        let refused = Err(AclError::Invalid(AclPart::Privilege));
        let given = read(&named).map(|acl| acl.entries[0].privileges.clone());
        assert_eq!(
            given,
            if privilege.is_cell_level() {
                refused
            } else {
                Ok(vec![privilege])
            }
        );
    }
    for named in [
        "<D:exec/>",
        "<p:read/>",
        "<D:stream-send/>",
        "<p:box-export/>",
        "<D:test/>",
        "<read/>",
    ] {
        let refused = read_at(AclLevel::Cell, "", &entry("<D:all/>", named));
        assert_eq!(
            refused,
            Err(AclError::Invalid(AclPart::Privilege)),
            "{named}"
        );
    }
}

#[test]
fn error_names_the_invalid_part() {
    use AclPart::{Grant, Href, Principal, Privilege};
    let read_privilege = "<D:grant><D:privilege><D:read/></D:privilege></D:grant>";
    let all = "<D:principal><D:all/></D:principal>";
    for (part, inside) in [
        (Principal, read_privilege.to_owned()),
        (Principal, format!("<D:principal/>{read_privilege}")),
        (
            Principal,
            format!("<D:principal><D:test/></D:principal>{read_privilege}"),
        ),
        (
            Principal,
            format!("<D:principal><D:authenticated/></D:principal>{read_privilege}"),
        ),
        (
            Principal,
            format!("<D:principal><all/></D:principal>{read_privilege}"),
        ),
        (
            Principal,
            format!("<D:principal><D:all/><D:href>r</D:href></D:principal>{read_privilege}"),
        ),
        (Principal, format!("{all}{all}{read_privilege}")),
        (
            Href,
            format!("<D:principal><D:href/></D:principal>{read_privilege}"),
        ),
        (
            Href,
            format!("<D:principal><D:href> \n</D:href></D:principal>{read_privilege}"),
        ),
        (Grant, all.to_owned()),
        (
            Grant,
            format!("{all}<D:deny><D:privilege><D:read/></D:privilege></D:deny>"),
        ),
        (Grant, format!("{all}{read_privilege}<D:deny/>")),
        (Grant, format!("{all}{read_privilege}<D:invert/>")),
        (Grant, format!("{all}{read_privilege}{read_privilege}")),
        (Privilege, format!("{all}<D:grant/>")),
        (Privilege, format!("{all}<D:grant><D:read/></D:grant>")),
        (Privilege, format!("{all}<D:grant><D:privilege/></D:grant>")),
        (
            Privilege,
            format!("{all}<D:grant><D:privilege><D:read/><D:write/></D:privilege></D:grant>"),
        ),
    ] {
        assert_eq!(
            read(&format!("<D:ace>{inside}</D:ace>")),
            Err(AclError::Invalid(part)),
            "{inside}"
        );
    }
    for value in ["", "Public", "private"] {
        let refused = read_at(
            AclLevel::Box,
            &format!("p:requireSchemaAuthz='{value}'"),
            "",
        );
        assert_eq!(
            refused,
            Err(AclError::Invalid(AclPart::SchemaAuthz)),
            "{value}"
        );
    }
}

#[test]
fn unresolvable_reference_is_a_separate_error() {
    for href in ["a b", "x{y}", "1:2"] {
        let refused = read(&entry(&format!("<D:href>{href}</D:href>"), "<D:read/>"));
        assert_eq!(refused, Err(AclError::Unresolvable(href.to_owned())));
    }
    let relative = read_at(
        AclLevel::Box,
        "xml:base='roles/'",
        &entry("<D:href>r</D:href>", "<D:read/>"),
    );
    assert_eq!(relative, Err(AclError::Unresolvable("r".to_owned())));
}

#[test]
fn wrong_root_and_invalid_xml_are_different_errors() {
    let read = |body: &str| parse(body.as_bytes(), AclLevel::Cell, BASE, &XmlLimits::REQUEST);
    assert_eq!(read("<acl/>"), Err(AclError::WrongRoot));
    assert!(matches!(read(""), Err(AclError::NotXml(_))));
    assert!(matches!(
        read("<D:acl xmlns:D='DAV:'>"),
        Err(AclError::NotXml(_))
    ));
}
