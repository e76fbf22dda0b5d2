use super::*;
use crate::acl::{AclEntry, AclPart, AclPrincipal, MAX_ACL_ENTRIES};
use personium_types::Privilege;

const ROLES: &str = "https://unit.example/c/__role/new/";

fn response(href: &str, props: &str) -> String {
    format!("<response><href>{href}</href><propstat><prop>{props}</prop></propstat></response>")
}

fn typed(href: &str, inside: &str) -> String {
    response(href, &format!("<resourcetype>{inside}</resourcetype>"))
}

fn collection(href: &str) -> String {
    typed(href, "<collection/>")
}

fn read(scheme: &str, responses: &[String]) -> Result<Vec<DescribedResource>, RootPropsError> {
    let body = format!(
        "<multistatus xmlns='DAV:' xmlns:p='urn:x-personium:xmlns'>{}</multistatus>",
        responses.concat()
    );
    parse(body.as_bytes(), scheme, ROLES, &XmlLimits::REQUEST)
}

fn rule(responses: &[String]) -> Option<RootPropsRule> {
    match read("personium-localbox:", responses) {
        Err(RootPropsError::RuleViolation { rule, .. }) => Some(rule),
        _ => None,
    }
}

#[test]
fn resources_are_parsed_with_all_properties() {
    let list = "<acl xml:base='https://app.example/__role/__/' p:requireSchemaAuthz='public'><ace>\
                <principal><href>r</href></principal><grant><privilege><read/></privilege></grant></ace></acl>";
    let service = "<resourcetype><collection/><p:service/></resourcetype>\
                   <p:service language='JavaScript'><p:path name='a' src='a.js'/></p:service>";
    let found = read(
        "personium-localbox:",
        &[
            response("personium-localbox:/", &format!("<resourcetype><collection/></resourcetype>{list}")),
            typed("personium-localbox:/data/", "<collection/><p:odata/>"),
            response("personium-localbox:/svc", service),
            collection("personium-localbox:/svc/__src"),
            response(
                "personium-localbox:/a.txt",
                "<getcontenttype>text/plain</getcontenttype><creationdate>x</creationdate><resourcetype/>\
                 <Z:author xmlns:Z='urn:z'>me</Z:author>",
            ),
        ],
    )
    .unwrap();
    let paths: Vec<String> = found.iter().map(|f| f.path.join("/")).collect();
    assert_eq!(paths, ["", "data", "svc", "svc/__src", "a.txt"]);
    let kinds: Vec<ResourceKind> = found.iter().map(|f| f.kind).collect();
    use ResourceKind::{Collection, File, OData, Service};
    assert_eq!(kinds, [Collection, OData, Service, Collection, File]);
    let acl = found[0].acl.as_ref().unwrap();
    assert_eq!(
        acl.entries,
        [AclEntry {
            principal: AclPrincipal::Href(format!("{ROLES}r")),
            privileges: vec![Privilege::Read],
        }]
    );
    assert_eq!(found[2].properties[0].key, "service@urn:x-personium:xmlns");
    assert_eq!(found[4].media_type.as_deref(), Some("text/plain"));
    assert_eq!(found[4].properties[0].key, "author@urn:z");
    assert_eq!(found[4].properties.len(), 1);
}

#[test]
fn archives_with_another_scheme_and_namespace_are_parsed() {
    let old = "<collection/><p:odata xmlns:p='urn:x-other:xmlns'/>";
    let found = read("dcbox:", &[collection("dcbox:"), typed("dcbox:/col", old)]).unwrap();
    assert_eq!(found[1].kind, ResourceKind::OData);
}

#[test]
fn every_rule_is_checked() {
    let at = |path: &str| format!("personium-localbox:/{path}");
    let root = || collection(&at(""));
    let file = |path: &str| typed(&at(path), "");
    let service = |path: &str| typed(&at(path), "<collection/><p:service/>");
    let two =
        "<response><href>personium-localbox:/a</href><href>personium-localbox:/b</href></response>";
    let cases: Vec<(RootPropsRule, Vec<String>)> = vec![
        (RootPropsRule::OneHref, vec![two.to_owned()]),
        (RootPropsRule::OneHref, vec!["<response/>".to_owned()]),
        (RootPropsRule::HrefNotEmpty, vec![collection(" ")]),
        (
            RootPropsRule::HrefOfBox,
            vec![root(), collection("dcbox:/a")],
        ),
        (
            RootPropsRule::NoDuplicate,
            vec![root(), collection(&at("a")), collection(&at("a/"))],
        ),
        (RootPropsRule::ParentDescribed, vec![]),
        (RootPropsRule::ParentDescribed, vec![collection(&at("a"))]),
        (RootPropsRule::ParentDescribed, vec![root(), file("a/b")]),
        (
            RootPropsRule::NothingInOdata,
            vec![
                root(),
                typed(&at("o"), "<collection/><p:odata/>"),
                file("o/a"),
            ],
        ),
        (
            RootPropsRule::SourceInService,
            vec![
                root(),
                service("s"),
                collection(&at("s/__src")),
                file("s/a"),
            ],
        ),
        (
            RootPropsRule::SourceInService,
            vec![root(), service("s"), file("s/__src")],
        ),
        (
            RootPropsRule::NothingInFile,
            vec![root(), file("f"), file("f/a")],
        ),
        (RootPropsRule::ServiceHasSource, vec![root(), service("s")]),
        (RootPropsRule::ResourceName, vec![root(), file("a:b")]),
        (RootPropsRule::ResourceName, vec![root(), file("..")]),
        (RootPropsRule::ResourceName, vec![root(), file(".")]),
        (RootPropsRule::ResourceName, vec![root(), file("a ")]),
        (
            RootPropsRule::ResourceName,
            vec![root(), collection(&at("a")), collection(&at("a//"))],
        ),
        (
            RootPropsRule::ResourceType,
            vec![root(), typed(&at("a"), "<collection/><p:stream/>")],
        ),
        (
            RootPropsRule::ResourceType,
            vec![root(), typed(&at("a"), "<p:odata/>")],
        ),
        (RootPropsRule::ResourceType, vec![file("")]),
    ];
    for (expected, responses) in cases {
        assert_eq!(rule(&responses), Some(expected), "{}", responses.concat());
    }
    assert_eq!(
        (
            RootPropsRule::OneHref.number(),
            RootPropsRule::ResourceType.number()
        ),
        (2008, 2018)
    );
}

#[test]
fn access_control_lists_need_a_role_base() {
    let with = |base: &str| {
        let list = format!(
            "<acl {base}><ace><principal><all/></principal><grant><privilege><read/></privilege></grant></ace></acl>"
        );
        let props = format!("<resourcetype><collection/></resourcetype>{list}");
        read(
            "personium-localbox:",
            &[response("personium-localbox:/", &props)],
        )
    };
    assert_eq!(with("").unwrap()[0].acl, None);
    for good in ["https://a.example/__role/__/", "http://a/c/__role/b"] {
        assert!(
            with(&format!("xml:base='{good}'")).unwrap()[0]
                .acl
                .is_some(),
            "{good}"
        );
    }
    for bad in [
        "",
        "https://__role/b",
        "ftp://a/__role/b",
        "https://a/__role/",
        "https://a/role/b",
    ] {
        let refused = with(&format!("xml:base='{bad}'"));
        assert!(matches!(refused, Err(RootPropsError::AclBase(_))), "{bad}");
    }
    let wrong =
        "<acl xml:base='http://a/__role/b/'><ace/></acl><resourcetype><collection/></resourcetype>";
    let refused = read(
        "personium-localbox:",
        &[response("personium-localbox:/", wrong)],
    );
    assert!(matches!(refused, Err(RootPropsError::Acl { .. })));
}

#[test]
fn number_of_acl_entries_is_limited() {
    let with = |entries: usize| {
        let entries: String = (0..entries)
            .map(|n| {
                format!(
                    "<ace><principal><href>r{n}</href></principal><grant><privilege><read/></privilege></grant></ace>"
                )
            })
            .collect();
        let list = format!("<acl xml:base='http://a/__role/b/'>{entries}</acl>");
        let props = format!("<resourcetype><collection/></resourcetype>{list}");
        read(
            "personium-localbox:",
            &[response("personium-localbox:/", &props)],
        )
    };
    assert!(with(MAX_ACL_ENTRIES).is_ok());
    let refused = with(MAX_ACL_ENTRIES + 1).unwrap_err();
    let source = AclError::Invalid(AclPart::Count);
    let href = "personium-localbox:/".to_owned();
    assert_eq!(refused, RootPropsError::Acl { href, source });
}

#[test]
fn wrong_root_and_invalid_xml_are_refused() {
    let read = |body: &str| {
        parse(
            body.as_bytes(),
            "personium-localbox:",
            ROLES,
            &XmlLimits::REQUEST,
        )
    };
    assert_eq!(read("<multistatus/>"), Err(RootPropsError::WrongRoot));
    for bad in [
        "",
        "<multistatus",
        "<!DOCTYPE a><multistatus xmlns='DAV:'/>",
    ] {
        assert!(matches!(read(bad), Err(RootPropsError::NotXml(_))), "{bad}");
    }
}
