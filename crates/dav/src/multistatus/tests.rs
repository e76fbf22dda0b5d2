use proptest::prelude::*;

use super::*;
use crate::DAV_NS;
use crate::acl::{self, AclEntry, AclLevel, AclPrincipal};
use crate::uri_reference::resolve;
use personium_xml::{Element, XmlLimits};

static NO_DEAD: DeadProperties = BTreeMap::new();

fn plain(href: &str) -> ResponseProps<'_> {
    ResponseProps {
        href,
        kind: ResourceKind::Collection,
        display_name: None,
        created_ms: Some(1_706_692_530_123),
        updated_ms: Some(1_706_692_530_999),
        length: None,
        content_type: None,
        etag: None,
        quota: None,
        cell_status: None,
        acl: AclProperty::None,
        dead: &NO_DEAD,
    }
}

fn print(responses: &[ResponseProps<'_>]) -> String {
    let mut out = String::new();
    let document = Multistatus::start(&mut out);
    for response in responses {
        document.response(&mut out, &PropFind::Unspecified, response);
    }
    document.finish(&mut out);
    Element::parse(out.as_bytes(), &XmlLimits::REQUEST).unwrap();
    out
}

/// Prints a document with one resource that has these entries.
fn print_with(wanted: &PropFind, props: &ResponseProps<'_>, aces: &[AceView<'_>]) -> String {
    let mut out = String::new();
    let document = Multistatus::start(&mut out);
    let open = document.start_response(&mut out, wanted, props);
    for ace in aces {
        open.ace(&mut out, ace);
    }
    open.finish(&mut out, props.dead);
    document.finish(&mut out);
    Element::parse(out.as_bytes(), &XmlLimits::REQUEST).unwrap();
    out
}

/// The text without its line ends and the white space at the beginning of each line.
fn joined(text: &str) -> String {
    text.lines().map(str::trim_start).collect()
}

/// A file with a value for each property, and its entries.
fn full_file(dead: &DeadProperties) -> (ResponseProps<'_>, [AceView<'static>; 2]) {
    let file = ResponseProps {
        kind: ResourceKind::File,
        display_name: Some("a&b.txt"),
        length: Some(4),
        content_type: Some("text/plain; a=\"<\""),
        etag: Some("\"1-2\""),
        acl: AclProperty::Shown(AclView {
            base: "https://cell1.unit.example/__role/box1/",
            schema_authz: Some(SchemaAuthz::Public),
        }),
        dead,
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
    (file, aces)
}

fn author() -> DeadProperties {
    let mixed = "<Author xmlns=\"http://example.com/ns\">x <b>y</b>\n z</Author>";
    BTreeMap::from([("Author@http://example.com/ns".to_owned(), mixed.to_owned())])
}

#[test]
fn file_has_all_properties_in_order_one_element_a_line() {
    let dead = author();
    let (file, aces) = full_file(&dead);
    let expected = r#"<multistatus xmlns="DAV:">
    <response>
        <href>https://cell1.unit.example/box1/dir/a&amp;b.txt</href>
        <propstat>
            <prop>
                <creationdate>2024-01-31T09:15:30.123+0000</creationdate>
                <getcontentlength>4</getcontentlength>
                <getcontenttype>text/plain; a="&lt;"</getcontenttype>
                <getlastmodified>Wed, 31 Jan 2024 09:15:30 GMT</getlastmodified>
                <resourcetype/>
                <acl xml:base="https://cell1.unit.example/__role/box1/" p:requireSchemaAuthz="public" xmlns:p="urn:x-personium:xmlns">
                    <ace>
                        <principal>
                            <href>role1</href>
                        </principal>
                        <grant>
                            <privilege>
                                <read/>
                            </privilege>
                            <privilege>
                                <p:exec/>
                            </privilege>
                        </grant>
                    </ace>
                    <ace>
                        <principal>
                            <all/>
                        </principal>
                        <grant>
                            <privilege>
                                <read/>
                            </privilege>
                        </grant>
                        <inherited>
                            <href>https://cell1.unit.example/box1</href>
                        </inherited>
                    </ace>
                </acl>
                <Author xmlns="http://example.com/ns">x <b>y</b>
 z</Author>
            </prop>
            <status>HTTP/1.1 200 OK</status>
        </propstat>
    </response>
</multistatus>"#;
    assert_eq!(print_with(&PropFind::Unspecified, &file, &aces), expected);
}

fn wanted(inside: &str) -> PropFind {
    let body =
        format!("<propfind xmlns='DAV:' xmlns:p='urn:x-personium:xmlns'>{inside}</propfind>");
    crate::propfind::parse(body.as_bytes(), &XmlLimits::REQUEST).unwrap()
}

/// The parts of a response: the status and the properties of each `propstat`.
fn propstats(printed: &str) -> Vec<(String, String)> {
    let printed = joined(printed);
    let parts = printed.split("<propstat><prop>").skip(1).map(|part| {
        let (prop, rest) = part.split_once("</prop><status>HTTP/1.1 ").unwrap();
        (rest[..3].to_owned(), prop.to_owned())
    });
    parts.collect()
}

#[test]
fn named_properties_are_found_missing_or_hidden() {
    let dead = author();
    let (file, _) = full_file(&dead);
    let show =
        |inside: &str, file: &ResponseProps<'_>| propstats(&print_with(&wanted(inside), file, &[]));
    let owned = |parts: &[(&str, &str)]| -> Vec<(String, String)> {
        let parts = parts
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()));
        parts.collect()
    };
    let found = "<displayname>a&amp;b.txt</displayname><getetag>\"1-2\"</getetag>";
    for (inside, expected) in [
        (
            "<prop><getetag/><displayname/></prop>",
            vec![("200", found)],
        ),
        (
            "<prop><getetag/><nope xmlns='urn:x'/><quota-used-bytes/><displayname/></prop>",
            vec![
                ("200", found),
                ("404", "<nope xmlns=\"urn:x\"/><quota-used-bytes/>"),
            ],
        ),
        (
            "<prop><p:cellstatus/><a xmlns=''/></prop>",
            vec![(
                "404",
                "<cellstatus xmlns=\"urn:x-personium:xmlns\"/><a xmlns=\"\"/>",
            )],
        ),
        (
            "<prop><Author xmlns='http://example.com/ns'/></prop>",
            vec![(
                "200",
                "<Author xmlns=\"http://example.com/ns\">x <b>y</b>z</Author>",
            )],
        ),
        ("<prop/>", vec![("200", "")]),
    ] {
        assert_eq!(show(inside, &file), owned(&expected), "{inside}");
    }
    let hidden = ResponseProps {
        acl: AclProperty::Hidden,
        ..file
    };
    let asked = "<prop><acl/><getcontentlength/></prop>";
    assert_eq!(
        show(asked, &hidden),
        owned(&[
            ("200", "<getcontentlength>4</getcontentlength>"),
            ("403", "<acl/>")
        ])
    );
    let none = ResponseProps {
        acl: AclProperty::None,
        ..file
    };
    assert_eq!(
        show("<prop><acl/></prop>", &none),
        owned(&[("404", "<acl/>")])
    );
}

#[test]
fn allprop_includes_what_is_asked_for_and_propname_has_only_names() {
    let dead = author();
    let (file, aces) = full_file(&dead);
    let all = print_with(&wanted("<allprop/>"), &file, &aces);
    assert_eq!(all, print_with(&PropFind::Unspecified, &file, &aces));
    let more = print_with(
        &wanted("<allprop/><include><getetag/><supported-report-set/></include>"),
        &file,
        &aces,
    );
    let lines = "                <getetag>\"1-2\"</getetag>\n";
    let parts = propstats(&more);
    assert_eq!(
        parts[1],
        ("404".to_owned(), "<supported-report-set/>".to_owned())
    );
    let (before, after) = more.split_once(lines).unwrap();
    let after = after.split("        <propstat>\n").next().unwrap();
    assert!(all.starts_with(&format!("{before}{after}")), "{more}");

    let names = print_with(&PropFind::PropName, &file, &[]);
    assert_eq!(
        propstats(&names),
        [(
            "200".to_owned(),
            "<creationdate/><displayname/><getcontentlength/><getcontenttype/><getetag/><getlastmodified/>\
             <resourcetype/><acl/><Author xmlns=\"http://example.com/ns\"/>"
                .to_owned()
        )]
    );
}

#[test]
fn quota_is_shown_only_when_it_is_named() {
    let quota = Some(Quota {
        available_bytes: 7,
        used_bytes: 3,
    });
    let folder = ResponseProps {
        quota,
        ..plain("http://h/x")
    };
    assert!(!print(&[folder]).contains("quota"));
    let asked = wanted("<prop><quota-available-bytes/><quota-used-bytes/></prop>");
    assert_eq!(
        propstats(&print_with(&asked, &folder, &[]))[0].1,
        "<quota-available-bytes>7</quota-available-bytes><quota-used-bytes>3</quota-used-bytes>"
    );
}

#[test]
fn cell_has_its_status_and_an_empty_acl() {
    let cell = ResponseProps {
        cell_status: Some("normal"),
        acl: AclProperty::Shown(AclView {
            base: "https://cell1.unit.example/__role/__/",
            schema_authz: None,
        }),
        ..plain("https://cell1.unit.example")
    };
    assert!(joined(&print(&[cell])).contains(
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
            "<collection/><p:odata xmlns:p=\"urn:x-personium:xmlns\"/></resourcetype>",
        ),
        (
            ResourceKind::Service,
            "<collection/><p:service xmlns:p=\"urn:x-personium:xmlns\"/>",
        ),
        (
            ResourceKind::Stream,
            "<collection/><p:stream xmlns:p=\"urn:x-personium:xmlns\"/>",
        ),
        (ResourceKind::File, "<resourcetype/>"),
    ] {
        let printed = joined(&print(&[ResponseProps {
            kind,
            ..plain("http://h/x")
        }]));
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
    assert_eq!(print(&[]), "<multistatus xmlns=\"DAV:\">\n</multistatus>");
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
    let response = |done: &[&str], missing: &[&str]| {
        let (done, missing) = (done.iter().copied(), missing.iter().copied());
        joined(&proppatch_response("http://h/c/", done, missing))
    };
    assert_eq!(response(&[a, b], &[c]), around(&format!("{ok}{missing}")));
    assert_eq!(response(&[a, b], &[]), around(ok));
    assert_eq!(response(&[], &[c]), around(missing));
    assert_eq!(
        response(&[], &[]),
        around("<propstat><prop></prop><status>HTTP/1.1 200 OK</status></propstat>")
    );
}

#[test]
fn mkcol_error_response_repeats_the_property() {
    let prop = "<D:resourcetype xmlns:D=\"DAV:\"/>";
    let tail = "</prop><status>HTTP/1.1 403 Forbidden</status><error><valid-resourcetype/></error>\
                <responsedescription>a &lt; b</responsedescription></propstat></mkcol-response>";
    let head = "<mkcol-response xmlns=\"DAV:\"><propstat><prop>";
    let with = mkcol_error_response(Some(prop), "a < b");
    assert_eq!(joined(&with), format!("{head}{prop}{tail}"));
    assert!(with.contains("\n        <status>HTTP/1.1 403 Forbidden</status>\n"));
    let without = mkcol_error_response(None, "a < b");
    assert_eq!(joined(&without), format!("{head}{tail}"));
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
        let acl = AclProperty::Shown(AclView { base: &base, schema_authz: level });
        let props = ResponseProps { acl, ..plain("http://h/x") };
        let printed = print_with(&PropFind::Unspecified, &props, &aces);
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
