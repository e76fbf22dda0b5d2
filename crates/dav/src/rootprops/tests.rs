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
    parse_with(scheme, &BoxContents::default(), &body)
}

fn parse_with(
    scheme: &str,
    contents: &BoxContents,
    body: &str,
) -> Result<Vec<DescribedResource>, RootPropsError> {
    let roles = ROLES;
    let base = RootPropsBase {
        scheme,
        roles,
        contents,
    };
    parse(body.as_bytes(), base, &XmlLimits::REQUEST)
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
        (RootPropsRule::ResourceName, vec![root(), file("a%20")]),
        (
            RootPropsRule::ResourceName,
            vec![root(), collection(&at("a")), collection(&at("a//"))],
        ),
        (
            RootPropsRule::ResourceType,
            vec![root(), typed(&at("a"), "<collection/><p:other/>")],
        ),
        (
            RootPropsRule::NothingInFile,
            vec![
                root(),
                typed(&at("s"), "<collection/><p:stream/>"),
                file("s/a"),
            ],
        ),
        (RootPropsRule::ResourceName, vec![root(), file("a%2Fb")]),
        (RootPropsRule::ResourceName, vec![root(), file("a%00")]),
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
    for none in ["xml:base=''", "xml:base=' '"] {
        assert_eq!(with(none).unwrap()[0].acl, None);
    }
    for good in [
        "https://a.example/__role/__/",
        "http://a/c/__role/b",
        "urn:x-own:app__role/__/",
        "personium-localunit:c:/__role/b/",
        &format!("http://a/c/__role/{}", "箱".repeat(128)),
    ] {
        assert!(
            with(&format!("xml:base='{good}'")).unwrap()[0]
                .acl
                .is_some(),
            "{good}"
        );
    }
    for bad in [
        "https://__role/b",
        "a/__role/b",
        ":a/__role/b",
        "https://a/__role/",
        "https://a/role/b",
        &format!("http://a/c/__role/{}", "箱".repeat(129)),
    ] {
        let refused = with(&format!("xml:base='{bad}'"));
        assert!(
            matches!(refused, Err(RootPropsError::AclBase { line: 1, .. })),
            "{bad}"
        );
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
    let line = 1;
    assert_eq!(refused, RootPropsError::Acl { line, href, source });
}

#[test]
fn wrong_root_and_invalid_xml_are_refused() {
    let read = |body: &str| parse_with("personium-localbox:", &BoxContents::default(), body);
    assert_eq!(read("<multistatus/>"), Err(RootPropsError::WrongRoot));
    for bad in [
        "",
        "<multistatus",
        "<!DOCTYPE a><multistatus xmlns='DAV:'/>",
    ] {
        assert!(matches!(read(bad), Err(RootPropsError::NotXml(_))), "{bad}");
    }
}

#[test]
fn privileges_of_other_namespaces_are_those_of_the_same_name() {
    let privileges = |inside: &str| {
        let list = format!(
            "<acl xml:base='http://a/__role/b/'><ace><principal><all/></principal>\
             <grant><privilege>{inside}</privilege></grant></ace></acl>"
        );
        let props = format!("<resourcetype><collection/></resourcetype>{list}");
        let found = read(
            "personium-localbox:",
            &[response("personium-localbox:/", &props)],
        );
        found.map(|found| found[0].acl.clone().unwrap().entries[0].privileges.clone())
    };
    for exec in [
        "<exec/>",
        "<exec xmlns=''/>",
        "<p:exec/>",
        "<D:exec xmlns:D='DAV:'/>",
        "<dc:exec xmlns:dc='urn:x-dc1:xmlns'/>",
    ] {
        assert_eq!(privileges(exec).unwrap(), [Privilege::Exec], "{exec}");
    }
    assert_eq!(privileges("<read xmlns=''/>").unwrap(), [Privilege::Read]);
    for bad in [
        "<exec xmlns='urn:other'/>",
        "<Exec/>",
        "<p:auth/>",
        "<none/>",
    ] {
        assert!(
            matches!(privileges(bad), Err(RootPropsError::Acl { .. })),
            "{bad}"
        );
    }
}

#[test]
fn inherited_entries_are_left_out() {
    let ace = |role: &str, more: &str| {
        format!(
            "<ace><principal><href>{role}</href></principal><grant><privilege><read/></privilege></grant>{more}</ace>"
        )
    };
    let above = "<inherited><href>https://unit.example/c/b</href></inherited>";
    let list = format!(
        "<acl xml:base='http://a/__role/b/'>{}{}</acl>",
        ace("own", ""),
        ace("above", above)
    );
    let props = format!("<resourcetype><collection/></resourcetype>{list}");
    let found = read(
        "personium-localbox:",
        &[response("personium-localbox:/", &props)],
    )
    .unwrap();
    let entries = &found[0].acl.as_ref().unwrap().entries;
    assert_eq!(entries.len(), 1);
    assert_eq!(
        entries[0].principal,
        AclPrincipal::Href(format!("{ROLES}own"))
    );
}

#[test]
fn kinds_of_earlier_releases_and_streams_are_parsed() {
    let old = |kind: &str| format!("<collection/><dc:{kind} xmlns:dc='urn:x-dc1:xmlns'/>");
    let at = |path: &str| format!("PERSONIUM-localbox:/{path}");
    let found = read(
        "personium-localbox:",
        &[
            collection(&at("")),
            typed(&at("o/"), &old("odata")),
            typed(&at("s"), &old("service")),
            collection(&at("s/__src")),
            typed(&at("t"), "<collection/><p:stream/>"),
        ],
    )
    .unwrap();
    let kinds: Vec<ResourceKind> = found.iter().map(|f| f.kind).collect();
    use ResourceKind::{Collection, OData, Service, Stream};
    assert_eq!(kinds, [Collection, OData, Service, Collection, Stream]);
}

#[test]
fn errors_name_the_line() {
    let body = |inside: &str| {
        format!(
            "<multistatus xmlns='DAV:'>\n<response>\n<href>personium-localbox:/</href>\n<propstat><prop>\n\
             <resourcetype><collection/></resourcetype></prop></propstat></response>\n{inside}</multistatus>"
        )
    };
    let file =
        |href: &str| format!("<response>\n<href>personium-localbox:/{href}</href></response>\n");
    for (inside, line) in [
        (file("a/b"), 6),
        (file("a") + &file("b") + &file("a"), 10),
        ("<response>".to_owned(), 6),
        (file("b") + "<response><href>x</href></response>", 8),
    ] {
        let error = parse_with(
            "personium-localbox:",
            &BoxContents::default(),
            &body(&inside),
        );
        assert_eq!(error.unwrap_err().line(), line, "{inside}");
    }
}

#[test]
fn paths_are_those_of_the_contents() {
    let contents = BoxContents::new(["日本/語.txt", "a%20b"]);
    let body = "<multistatus xmlns='DAV:'>\
         <response><href>personium-localbox:/</href><propstat><prop><resourcetype><collection/></resourcetype></prop></propstat></response>\
         <response><href>personium-localbox:/%E6%97%A5%E6%9C%AC/</href><propstat><prop><resourcetype><collection/></resourcetype></prop></propstat></response>\
         <response><href>personium-localbox:/%E6%97%A5%E6%9C%AC/%E8%AA%9E.txt</href></response>\
         <response><href>personium-localbox:/a%20b</href></response></multistatus>";
    let found = parse_with("personium-localbox:", &contents, body).unwrap();
    let paths: Vec<String> = found.iter().map(|f| f.path.join("/")).collect();
    assert_eq!(paths, ["", "日本", "日本/語.txt", "a%20b"]);
}
