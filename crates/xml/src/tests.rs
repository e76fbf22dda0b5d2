use proptest::prelude::*;

use super::*;

fn parse(document: &str) -> Result<Element, XmlError> {
    Element::parse(document.as_bytes(), &XmlLimits::REQUEST)
}

fn name(namespace: &str, local: &str) -> Name {
    Name {
        namespace: Arc::from(namespace),
        local: local.into(),
    }
}

#[test]
fn namespaces_are_resolved_for_elements_and_attributes() {
    let root = parse(
        "<?xml version='1.0' encoding='UTF-8' standalone='yes'?><!-- x --><D:a xmlns:D='DAV:' D:x='1' y='2' \
         xml:base='http://h/'><b xmlns='urn:b' z='3'><c xmlns=''/></b> t&amp;&#x41;<![CDATA[<&]]>\r\nu </D:a>\n",
    )
    .unwrap();
    assert!(root.is("DAV:", "a"));
    assert_eq!(root.attribute("DAV:", "x"), Some("1"));
    assert_eq!(root.attribute("", "y"), Some("2"));
    assert_eq!(root.attribute("", "x"), None);
    assert_eq!(root.attribute(XML_NS, "base"), Some("http://h/"));
    let b = root.elements().next().unwrap();
    assert!(b.is("urn:b", "b"));
    assert_eq!(b.attribute("", "z"), Some("3"));
    assert!(b.elements().next().unwrap().is("", "c"));
    assert_eq!(root.text(), " t&A<&\nu ");
    assert_eq!(root.nodes().len(), 2);
    assert_eq!(root.elements_named("urn:b", "b").count(), 1);
}

#[test]
fn documents_that_are_not_well_formed_are_refused() {
    for bad in [
        "",
        " ",
        "text",
        "<a>",
        "<a></b>",
        "</a>",
        "<a/><b/>",
        "<a/>x",
        "x<a/>",
        "<a/>&amp;",
        "</a>",
        "<a/><![CDATA[x]]>",
        "<a xmlns:p='u' xmlns:p='v'/>",
        "<a b/>",
        "<a b='1' b='2'/>",
        "<a xmlns:p='u' xmlns:q='u' p:b='1' q:b='2'/>",
        "<a b='<'/>",
        "<a b=1/>",
        "<a>]]></a>",
        "<a>&</a>",
        "<1/>",
        "<a:b:c xmlns:a='u'/>",
        "<:a/>",
        "<a: xmlns:a='u'/>",
        "<a =''/>",
        "<a<b/>",
        "<a xmlns:p=''/>",
        "<a xmlns:xml='u'/>",
        "<a xmlns:xmlns='u'/>",
        "<a xmlns:='u'/>",
        "<a xmlns:p='http://www.w3.org/2000/xmlns/'/>",
        "<a xmlns='http://www.w3.org/XML/1998/namespace'/>",
        "<a><!-- -- --></a>",
        "<?xml version='1.1'?><a/>",
        "<a xmlns=\"DAV:\"",
        "<?xml version=\"1.0\" encoding=\"utf-8\"?<D:propfind xmlns:D=\"DAV:\"><D:allprop/></D:propfind>",
    ] {
        assert!(
            matches!(parse(bad), Err(XmlError::Malformed(_))),
            "{bad:?} gave {:?}",
            parse(bad)
        );
    }
}

#[test]
fn each_kind_of_refused_document_has_its_own_error() {
    let refused = |document: &str| parse(document).unwrap_err();
    assert_eq!(
        refused("<!DOCTYPE a [<!ENTITY e 'x'>]><a>&e;</a>"),
        XmlError::DocumentType
    );
    let bomb = "<!DOCTYPE a [<!ENTITY x 'xxxx'><!ENTITY y '&x;&x;&x;'>]><a b='&y;'>&y;</a>";
    assert_eq!(refused(bomb), XmlError::DocumentType);
    assert_eq!(
        refused("<?xml-stylesheet href='x'?><a/>"),
        XmlError::ProcessingInstruction
    );
    assert!(matches!(
        refused("<a xmlns='&nbsp;'/>"),
        XmlError::Malformed(_)
    ));
    assert_eq!(
        refused("<!DOCTYPE a SYSTEM 'file:///etc/hosts'><a/>"),
        XmlError::DocumentType
    );
    assert_eq!(refused("<a><?php ?></a>"), XmlError::ProcessingInstruction);
    assert_eq!(
        refused(" <?xml version='1.0'?><a/>"),
        XmlError::ProcessingInstruction
    );
    assert_eq!(
        refused("<a>&nbsp;</a>"),
        XmlError::UndefinedEntity("nbsp".to_owned())
    );
    assert!(matches!(refused("<a b='&nbsp;'/>"), XmlError::Malformed(_)));
    assert_eq!(
        refused("<p:a/>"),
        XmlError::UndeclaredPrefix("p".to_owned())
    );
    assert_eq!(
        refused("<a p:b=''/>"),
        XmlError::UndeclaredPrefix("p".to_owned())
    );
    assert_eq!(refused("<a>\u{1}</a>"), XmlError::InvalidCharacter(1));
    assert_eq!(refused("<a>&#1;</a>"), XmlError::InvalidCharacter(1));
    assert_eq!(refused("<a b='&#x1F;'/>"), XmlError::InvalidCharacter(0x1f));
    assert_eq!(
        refused("<a>&#xFFFE;</a>"),
        XmlError::InvalidCharacter(0xfffe)
    );
    assert!(matches!(refused("<a>&#0;</a>"), XmlError::Malformed(_)));
    assert!(matches!(refused("<a>&#xD800;</a>"), XmlError::Malformed(_)));
    assert_eq!(
        refused("<?xml version='1.0' encoding='Shift_JIS'?><a/>"),
        XmlError::UnsupportedEncoding
    );
    assert_eq!(
        Element::parse(b"<a>\xff</a>", &XmlLimits::REQUEST),
        Err(XmlError::UnsupportedEncoding)
    );
    assert!(Element::parse(b"\xef\xbb\xbf<a/>", &XmlLimits::REQUEST).is_ok());
}

#[test]
fn each_limit_refuses_a_document_that_exceeds_it_by_one() {
    let limits = XmlLimits {
        bytes: 400,
        depth: 3,
        elements: 5,
        attributes: 2,
        namespace_bytes: 8,
    };
    let parse = |document: &str| Element::parse(document.as_bytes(), &limits);
    assert!(parse("<a><b><c/></b></a>").is_ok());
    assert_eq!(
        parse("<a><b><c><d/></c></b></a>"),
        Err(XmlError::LimitExceeded("depth"))
    );
    assert!(parse("<a><b/><b/><b/><b/></a>").is_ok());
    assert_eq!(
        parse("<a><b/><b/><b/><b/><b/></a>"),
        Err(XmlError::LimitExceeded("elements"))
    );
    assert!(parse("<a b='' c=''/>").is_ok());
    assert_eq!(
        parse("<a b='' c='' d=''/>"),
        Err(XmlError::LimitExceeded("attributes"))
    );
    assert!(parse("<a xmlns:p='12345678'/>").is_ok());
    assert_eq!(
        parse("<a xmlns:p='123456789'/>"),
        Err(XmlError::LimitExceeded("namespace length"))
    );
    assert_eq!(
        parse("<a xmlns:p='u' xmlns:q='u'><b xmlns='u'/></a>"),
        Err(XmlError::LimitExceeded("namespace declarations"))
    );
    assert!(parse(&format!("<a>{}</a>", "x".repeat(393))).is_ok());
    assert_eq!(
        parse(&format!("<a>{}</a>", "x".repeat(394))),
        Err(XmlError::LimitExceeded("bytes"))
    );
}

#[test]
fn an_element_of_a_document_is_printed_with_its_declarations() {
    let root = parse(
        "<D:u xmlns:D='DAV:' xmlns:p='urn:p' xmlns:q='urn:q'><p:s q:l=\"a&quot;&#10;\" m='&lt;'><p:t/><v/>x&gt;&#13;\
         </p:s></D:u>",
    )
    .unwrap();
    let element = root.elements().next().unwrap();
    assert_eq!(
        element.to_xml(),
        "<p:s xmlns:p=\"urn:p\" xmlns:q=\"urn:q\" q:l=\"a&quot;&#10;\" m=\"&lt;\"><p:t/><v xmlns=\"\"/>x&gt;&#13;</p:s>"
    );
    assert_eq!(parse(&element.to_xml()).unwrap(), *element);
    let wrapped = parse(&format!("<w xmlns='DAV:'>{}</w>", element.to_xml())).unwrap();
    assert_eq!(wrapped.elements().next(), Some(element));
}

#[test]
fn an_inherited_language_does_not_replace_xml_lang() {
    let mut without_language = parse("<a/>").unwrap();
    without_language.inherit_language("ja");
    assert_eq!(without_language.to_xml(), "<a xmlns=\"\" xml:lang=\"ja\"/>");
    let mut with_language = parse("<a xml:lang='en'/>").unwrap();
    with_language.inherit_language("ja");
    assert_eq!(with_language.attribute(XML_NS, "lang"), Some("en"));
}

const NAMESPACES: [(&str, &str); 6] = [
    ("", ""),
    ("", "DAV:"),
    ("D", "DAV:"),
    ("p", "urn:p"),
    ("q", "urn:q&\"<\t"),
    ("p", "urn:other"),
];

fn any_text() -> impl Strategy<Value = String> {
    "[ a-c<>&\"'\\]\r\n\t\u{e9}\u{3042}\u{1f600}]{1,6}"
}

fn any_attributes() -> impl Strategy<Value = Vec<(usize, String, String)>> {
    prop::collection::vec((0..5_usize, "[a-c\u{3042}]", any_text()), 0..3)
}

/// Builds an element such as a document could have given: one binding of a prefix at a time, names given once.
fn build(
    space: usize,
    local: String,
    attributes: Vec<(usize, String, String)>,
    content: Vec<XmlNode>,
) -> Element {
    let (prefix, namespace) = NAMESPACES[space];
    let mut built: Vec<Attribute> = Vec::new();
    let mut bindings = vec![(prefix, namespace)];
    for (space, local, value) in attributes {
        let (prefix, namespace) = if NAMESPACES[space].0.is_empty() {
            ("", "")
        } else {
            NAMESPACES[space]
        };
        let clashes = !prefix.is_empty()
            && bindings
                .iter()
                .any(|(p, n)| *p == prefix && *n != namespace);
        if clashes || built.iter().any(|a| a.name.is(namespace, &local)) {
            continue;
        }
        bindings.push((prefix, namespace));
        built.push(Attribute {
            name: name(namespace, &local),
            prefix: prefix.into(),
            value,
        });
    }
    let mut nodes: Vec<XmlNode> = Vec::new();
    for node in content {
        match (nodes.last_mut(), node) {
            (Some(XmlNode::Text(before)), XmlNode::Text(text)) => before.push_str(&text),
            (_, node) => nodes.push(node),
        }
    }
    Element {
        name: name(namespace, &local),
        prefix: prefix.into(),
        attributes: built,
        nodes,
        line: Line::default(),
    }
}

fn any_element() -> impl Strategy<Value = Element> {
    let leaf = (0..6_usize, "[a-c_][a-c0-9.-]{0,3}", any_attributes())
        .prop_map(|(space, local, attributes)| build(space, local, attributes, Vec::new()));
    leaf.prop_recursive(4, 24, 4, |inner| {
        let node = prop_oneof![
            inner.prop_map(XmlNode::Element),
            any_text().prop_map(XmlNode::Text)
        ];
        (
            0..6_usize,
            "[a-c]{1,3}",
            any_attributes(),
            prop::collection::vec(node, 0..4),
        )
            .prop_map(|(space, local, attributes, nodes)| build(space, local, attributes, nodes))
    })
}

proptest! {
    #[test]
    fn a_printed_element_parses_to_an_equal_element(element in any_element()) {
        let printed = element.to_xml();
        let read = parse(&printed).unwrap();
        prop_assert_eq!(&read, &element);
        prop_assert_eq!(read.to_xml(), printed);
    }

    #[test]
    fn a_printed_element_inside_another_document_parses_to_an_equal_element(element in any_element()) {
        let document = format!("<x xmlns='urn:x' xmlns:p='urn:y'>{}</x>", element.to_xml());
        let root = parse(&document).unwrap();
        prop_assert_eq!(root.elements().next(), Some(&element));
    }

    #[test]
    fn parsing_never_panics_and_accepted_text_round_trips(text in "[<>/a:='\"&;#x! \\[\\]?-]{0,40}") {
        if let Ok(element) = parse(&text) {
            prop_assert_eq!(parse(&element.to_xml()), Ok(element));
        }
    }
}

#[test]
fn elements_and_errors_have_their_lines() {
    let document = "\u{feff}<?xml version='1.0'?>\r\n<a>\r\n <!-- \n -->\n <b\n x='1'/><c/>\n</a>";
    let root = parse(document).unwrap();
    let lines: Vec<u32> = root.elements().map(Element::line).collect();
    assert_eq!((root.line(), lines), (2, vec![5, 6]));
    for (bad, line) in [
        ("<a>\n<b>\n</a>", 3),
        ("<a>\n\n<p:b/></a>", 3),
        ("<a>\n&x;</a>", 2),
        ("\n<!DOCTYPE a><a/>", 2),
        ("<a>\n\n", 3),
        ("<a>\n\u{1}</a>", 2),
    ] {
        let error = Element::parse_located(bad.as_bytes(), &XmlLimits::REQUEST).unwrap_err();
        assert_eq!(error.line, line, "{bad:?}: {error}");
    }
    let error = Element::parse_located(b"<a>\n\n\xff</a>", &XmlLimits::REQUEST).unwrap_err();
    assert_eq!(
        (error.line, error.error),
        (3, XmlError::UnsupportedEncoding)
    );
}
