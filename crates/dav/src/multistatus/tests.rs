use proptest::prelude::*;

use super::*;
use crate::acl::{self, AclEntry, AclLevel, AclPrincipal};
use crate::uri_reference::resolve;
use personium_xml::{Element, XmlLimits};

fn plain(href: &str) -> ResponseProps<'_> {
    ResponseProps {
        href,
        kind: ResourceKind::Collection,
        created_ms: 1_706_692_530_123,
        updated_ms: 1_706_692_530_999,
        length: None,
        content_type: None,
        cell_status: None,
        acl: None,
    }
}

fn print(responses: &[ResponseProps<'_>]) -> String {
    let mut out = String::new();
    let document = Multistatus::start(&mut out);
    for response in responses {
        document.response(&mut out, response);
    }
    document.finish(&mut out);
    Element::parse(out.as_bytes(), &XmlLimits::REQUEST).unwrap();
    out
}

/// Prints a document with one resource that has these entries and dead properties.
fn print_with(response: &ResponseProps<'_>, aces: &[AceView<'_>], dead: &[&str]) -> String {
    let mut out = String::new();
    let document = Multistatus::start(&mut out);
    let open = document.start_response(&mut out, response);
    for ace in aces {
        open.ace(&mut out, ace);
    }
    open.finish(&mut out, dead.iter().copied());
    document.finish(&mut out);
    Element::parse(out.as_bytes(), &XmlLimits::REQUEST).unwrap();
    out
}

#[test]
fn file_has_all_properties_in_order() {
    let file = ResponseProps {
        kind: ResourceKind::File,
        length: Some(4),
        content_type: Some("text/plain; a=\"<\""),
        acl: Some(AclView {
            base: "https://cell1.unit.example/__role/box1/",
            schema_authz: Some(SchemaAuthz::Public),
        }),
        ..plain("https://cell1.unit.example/box1/dir/a&b.txt")
    };
    let aces = [
        AceView {
            principal: PrincipalView::Href("role1"),
            privileges: &[Privilege::Read, Privilege::Exec],
            inherited: None,
        },
        AceView {
            principal: PrincipalView::All,
            privileges: &[Privilege::Read],
            inherited: Some("https://cell1.unit.example/box1"),
        },
    ];
    let dead = ["<Author xmlns=\"http://example.com/ns\">x</Author>"];
    assert_eq!(
        print_with(&file, &aces, &dead),
        "<multistatus xmlns=\"DAV:\"><response><href>https://cell1.unit.example/box1/dir/a&amp;b.txt</href>\
         <propstat><prop><creationdate>2024-01-31T09:15:30.123+0000</creationdate>\
         <getcontentlength>4</getcontentlength><getcontenttype>text/plain; a=\"&lt;\"</getcontenttype>\
         <getlastmodified>Wed, 31 Jan 2024 09:15:30 GMT</getlastmodified><resourcetype/>\
         <acl xml:base=\"https://cell1.unit.example/__role/box1/\" p:requireSchemaAuthz=\"public\" \
         xmlns:p=\"urn:x-personium:xmlns\"><ace><principal><href>role1</href></principal><grant>\
         <privilege><read/></privilege><privilege><p:exec/></privilege></grant></ace>\
         <ace><principal><all/></principal><grant><privilege><read/></privilege></grant>\
         <inherited><href>https://cell1.unit.example/box1</href></inherited></ace></acl>\
         <Author xmlns=\"http://example.com/ns\">x</Author></prop><status>HTTP/1.1 200 OK</status></propstat>\
         </response></multistatus>"
    );
}

#[test]
fn cell_has_its_status_and_an_empty_acl() {
    let cell = ResponseProps {
        cell_status: Some("normal"),
        acl: Some(AclView {
            base: "https://cell1.unit.example/__role/__/",
            schema_authz: None,
        }),
        ..plain("https://cell1.unit.example")
    };
    assert!(print(&[cell]).contains(
        "<resourcetype><collection/></resourcetype>\
         <p:cellstatus xmlns:p=\"urn:x-personium:xmlns\">normal</p:cellstatus>\
         <acl xml:base=\"https://cell1.unit.example/__role/__/\" xmlns:p=\"urn:x-personium:xmlns\"></acl></prop>"
    ));
}

#[test]
fn each_kind_has_its_resource_type() {
    for (kind, shown) in [
        (
            ResourceKind::Collection,
            "<resourcetype><collection/></resourcetype>",
        ),
        (
            ResourceKind::OData,
            "<collection/><p:odata xmlns:p=\"urn:x-personium:xmlns\"></p:odata></resourcetype>",
        ),
        (
            ResourceKind::Service,
            "<collection/><p:service xmlns:p=\"urn:x-personium:xmlns\"></p:service>",
        ),
        (
            ResourceKind::Stream,
            "<collection/><p:stream xmlns:p=\"urn:x-personium:xmlns\"></p:stream>",
        ),
        (ResourceKind::File, "<resourcetype/>"),
    ] {
        let printed = print(&[ResponseProps {
            kind,
            ..plain("http://h/x")
        }]);
        assert!(printed.contains(shown), "{printed}");
        assert!(
            !printed.contains("getcontent") && !printed.contains("acl"),
            "{printed}"
        );
    }
}

#[test]
fn document_contains_all_responses() {
    let printed = print(&[plain("http://h/1"), plain("http://h/2")]);
    let root = Element::parse(printed.as_bytes(), &XmlLimits::REQUEST).unwrap();
    let hrefs: Vec<String> = root
        .elements()
        .flat_map(|response| response.elements_named(DAV_NS, "href").map(Element::text))
        .collect();
    assert_eq!(hrefs, ["http://h/1", "http://h/2"]);
    assert_eq!(print(&[]), "<multistatus xmlns=\"DAV:\"></multistatus>");
}

#[test]
fn times_out_of_range_are_replaced() {
    assert_eq!(http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
    assert_eq!(creation_date(-1), "1969-12-31T23:59:59.999+0000");
    assert_eq!(creation_date(1_000), "1970-01-01T00:00:01.000+0000");
    assert_eq!(http_date(i64::MAX), http_date(0));
    assert_eq!(
        http_date(1_725_321_600_000),
        "Tue, 03 Sep 2024 00:00:00 GMT"
    );
}

#[test]
fn proppatch_response_has_a_propstat_for_each_status() {
    let ok = "<propstat><prop><a xmlns=\"\"/><b xmlns=\"\"/></prop><status>HTTP/1.1 200 OK</status></propstat>";
    let missing =
        "<propstat><prop><c xmlns=\"\"/></prop><status>HTTP/1.1 404 Not Found</status></propstat>";
    let around = |groups: &str| {
        format!(
            "<multistatus xmlns=\"DAV:\"><response><href>http://h/c/</href>{groups}</response></multistatus>"
        )
    };
    let (a, b, c) = ("<a xmlns=\"\"/>", "<b xmlns=\"\"/>", "<c xmlns=\"\"/>");
    assert_eq!(
        proppatch_response("http://h/c/", [a, b], [c]),
        around(&format!("{ok}{missing}"))
    );
    assert_eq!(proppatch_response("http://h/c/", [a, b], []), around(ok));
    assert_eq!(proppatch_response("http://h/c/", [], [c]), around(missing));
    assert_eq!(
        proppatch_response("http://h/c/", [], []),
        around("<propstat><prop></prop><status>HTTP/1.1 200 OK</status></propstat>")
    );
}

#[test]
fn mkcol_error_response_repeats_the_property() {
    let prop = "<D:resourcetype xmlns:D=\"DAV:\"/>";
    let tail = "</prop><status>HTTP/1.1 403 Forbidden</status><error><valid-resourcetype/></error>\
                <responsedescription>a &lt; b</responsedescription></propstat></mkcol-response>";
    let head = "<mkcol-response xmlns=\"DAV:\"><propstat><prop>";
    assert_eq!(
        mkcol_error_response(Some(prop), "a < b"),
        format!("{head}{prop}{tail}")
    );
    assert_eq!(mkcol_error_response(None, "a < b"), format!("{head}{tail}"));
}

fn any_entry() -> impl Strategy<Value = (Option<String>, Vec<Privilege>, Option<String>)> {
    (
        prop::option::of("(\\.\\./[a-z]{1,4}/)?[a-z&']{1,6}"),
        prop::sample::subsequence(Privilege::ALL, 1..4),
        prop::option::of("http://h/[a-z<&]{1,5}"),
    )
}

proptest! {
    #[test]
    fn printed_acl_parses_to_the_own_entries(
        entries in prop::collection::vec(any_entry(), 0..5),
        level in prop::sample::select(vec![None, Some(SchemaAuthz::None), Some(SchemaAuthz::Confidential)]),
    ) {
        let base = "http://h:1/c/__role/b&\"/";
        let aces: Vec<AceView<'_>> = entries
            .iter()
            .map(|(href, privileges, inherited)| AceView {
                principal: href.as_deref().map_or(PrincipalView::All, PrincipalView::Href),
                privileges,
                inherited: inherited.as_deref(),
            })
            .collect();
        let base = base.replace('"', "'");
        let acl = AclView { base: &base, schema_authz: level };
        let printed = print_with(&ResponseProps { acl: Some(acl), ..plain("http://h/x") }, &aces, &[]);
        let root = Element::parse(printed.as_bytes(), &XmlLimits::REQUEST).unwrap();
        let response = root.elements().next().unwrap();
        let prop = response.elements().nth(1).unwrap().elements().next().unwrap();
        let list = prop.elements_named(DAV_NS, "acl").next().unwrap().to_xml();

        let read = acl::parse(list.as_bytes(), AclLevel::Cell, "", &XmlLimits::REQUEST).unwrap();
        let mut expected = Vec::new();
        let own = entries.iter().filter(|(_, _, inherited)| inherited.is_none());
        for (href, privileges, _) in own {
            let ace = AclEntry {
                principal: href
                    .as_deref()
                    .map_or(AclPrincipal::All, |href| AclPrincipal::Href(resolve(&base, href).unwrap())),
                privileges: privileges.clone(),
            };
            if !expected.contains(&ace) {
                expected.push(ace);
            }
        }
        prop_assert_eq!(read.entries, expected);
        prop_assert_eq!(read.schema_authz, level);
    }

    #[test]
    fn texts_of_a_resource_are_escaped(href in "\\PC{0,12}", content_type in "\\PC{0,12}") {
        let printed = print(&[ResponseProps { content_type: Some(&content_type), ..plain(&href) }]);
        let root = Element::parse(printed.as_bytes(), &XmlLimits::REQUEST).unwrap();
        let response = root.elements().next().unwrap();
        prop_assert_eq!(response.elements().next().unwrap().text(), href);
        let prop = response.elements().nth(1).unwrap().elements().next().unwrap();
        prop_assert_eq!(prop.elements().nth(1).unwrap().text(), content_type);
    }
}
