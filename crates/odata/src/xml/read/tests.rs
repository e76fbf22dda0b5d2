use proptest::prelude::*;

use super::*;

/// How many elements there are, or why the document is refused.
fn count(document: &[u8]) -> Result<usize, String> {
    let mut document = Document::new(document).map_err(|NotXml(reason)| reason)?;
    let mut opened = 0;
    let mut closed = 0;
    while let Some(step) = document.next().map_err(|NotXml(reason)| reason)? {
        match step {
            Step::Open(_) => opened += 1,
            Step::Close => closed += 1,
        }
    }
    assert_eq!(opened, closed);
    Ok(opened)
}

#[test]
fn names_are_resolved_and_values_unescaped() {
    let text = "<?xml version='1.0' encoding='UTF-8' standalone='yes'?><!-- x --><q:a xmlns:q='urn:q' q:x='1' x='2' \
                y='&lt;&amp;&#x41;&#9;\n'><b xmlns='urn:b'/>t&amp;&#65;<![CDATA[<&]]></q:a>\n";
    let mut document = Document::new(text.as_bytes()).unwrap();
    let mut next = || document.next().ok().unwrap();
    let Some(Step::Open(a)) = next() else {
        panic!("no root");
    };
    assert_eq!((a.namespace(), a.local()), ("urn:q", "a"));
    assert_eq!(a.attribute("urn:q", "x"), Some("1"));
    assert_eq!(a.attribute("", "x"), Some("2"));
    assert_eq!(a.attribute("", "y"), Some("<&A\t "));
    assert_eq!(a.attribute("urn:q", "y"), None);
    let Some(Step::Open(b)) = next() else {
        panic!("no child");
    };
    assert_eq!((b.namespace(), b.local()), ("urn:b", "b"));
    assert!(matches!(next(), Some(Step::Close)));
    assert!(matches!(next(), Some(Step::Close)));
    assert!(next().is_none());
    assert_eq!(count(b"\xef\xbb\xbf<a/>"), Ok(1));
}

#[test]
fn what_is_not_well_formed_is_refused() {
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
        "<a/><![CDATA[x]]>",
        "<a b='1' b='2'/>",
        "<a xmlns:p='u' xmlns:p='v'/>",
        "<a xmlns:p='u' xmlns:q='u' p:b='1' q:b='2'/>",
        "<a b='<'/>",
        "<a b=1/>",
        "<a b/>",
        "<a>]]></a>",
        "<a>&</a>",
        "<1/>",
        "<a:b:c xmlns:a='u'/>",
        "<:a/>",
        "<a =''/>",
        "<a<b/>",
        "<a xmlns:xml='u'/>",
        "<a xmlns:xmlns='u'/>",
        "<p:a/>",
        "<a p:b=''/>",
        "<a><!-- -- --></a>",
        "<a>\u{1}</a>",
        "<a>&#1;</a>",
        "<a b='&#x1F;'/>",
        "<a>&#xFFFE;</a>",
        "<a>&#0;</a>",
        "<?xml version='1.1'?><a/>",
        "<?xml version='1.0' encoding='Shift_JIS'?><a/>",
    ] {
        assert!(count(bad.as_bytes()).is_err(), "{bad}");
    }
    assert!(count(b"<a>\xff</a>").is_err());
}

#[test]
fn document_types_instructions_and_entities_are_refused() {
    let refused = |document: &str| count(document.as_bytes()).unwrap_err();
    let doctype = "document type declarations are not accepted";
    let bomb = "<!DOCTYPE a [<!ENTITY x 'xxxx'><!ENTITY y '&x;&x;&x;'><!ENTITY z '&y;&y;&y;'>]><a b='&z;'>&z;</a>";
    assert_eq!(refused(bomb), doctype);
    assert_eq!(
        refused("<!DOCTYPE a SYSTEM 'file:///etc/hosts'><a/>"),
        doctype
    );
    let instruction = "processing instructions are not accepted";
    assert_eq!(refused("<a><?php ?></a>"), instruction);
    assert_eq!(refused("<?xml-stylesheet href='x'?><a/>"), instruction);
    assert_eq!(refused(" <?xml version='1.0'?><a/>"), instruction);
    assert_eq!(
        refused("<a>&nbsp;</a>"),
        "the entity \"nbsp\" is not defined"
    );
    assert!(refused("<a b='&nbsp;'/>").contains("nbsp"));
    assert!(refused("<a xmlns='&nbsp;'/>").contains("nbsp"));
}

#[test]
fn each_limit_refuses_one_more_than_it_allows() {
    let deep = |levels: usize| {
        let open = "<a>".repeat(levels - 1);
        let close = "</a>".repeat(levels - 1);
        count(format!("{open}<a/>{close}").as_bytes())
    };
    assert_eq!(deep(MAX_DEPTH), Ok(MAX_DEPTH));
    assert!(deep(MAX_DEPTH + 1).is_err());
    assert!(count("<a>".repeat(100_000).as_bytes()).is_err());

    let wide = |attributes: usize| {
        let attributes: String = (0..attributes).map(|at| format!(" a{at}=''")).collect();
        count(format!("<a{attributes}/>").as_bytes())
    };
    assert_eq!(wide(MAX_ATTRIBUTES), Ok(1));
    assert!(wide(MAX_ATTRIBUTES + 1).is_err());

    let long = |bytes: usize| count(format!("<a xmlns='{}'/>", "u".repeat(bytes)).as_bytes());
    assert_eq!(long(MAX_NAMESPACE_BYTES), Ok(1));
    assert!(long(MAX_NAMESPACE_BYTES + 1).is_err());

    let declarations: String = (0..64).map(|at| format!(" xmlns:p{at}='u'")).collect();
    assert!(count(format!("<a{declarations}><a{declarations}/></a>").as_bytes()).is_ok());
    assert!(
        count(format!("<a{declarations}><a{declarations} xmlns='u'/></a>").as_bytes()).is_err()
    );
}

proptest! {
    #[test]
    fn no_input_panics(parts in proptest::collection::vec(
        prop_oneof![
            Just("<a>"), Just("</a>"), Just("<p:a xmlns:p='u'"), Just("/>"), Just(">"), Just(" b='&#x41;'"), Just("&amp;"),
            Just("&x;"), Just("<![CDATA["), Just("]]>"), Just("<!--"), Just("-->"), Just("<?xml version='1.0'?>"),
            Just("<!DOCTYPE a ["), Just("'"), Just("\u{e9}"), Just("\0"), Just(":"),
        ],
        0..12,
    )) {
        let _ = count(parts.concat().as_bytes());
    }
}
