use std::cell::Cell;
use std::hash::Hasher;

use super::*;
use crate::control;
use crate::edm::{
    ComplexType, EntityType, NewAssociationEnd, Property, PropertyList, PropertyOrigin, Schema,
    SimpleType,
};
use crate::edmx::document;

/// A document with one schema with this content.
fn document_with(content: &str) -> String {
    format!(
        "<edmx:Edmx Version='1.0' xmlns:edmx='{EDMX_NAMESPACE}' xmlns:p='{PERSONIUM_NAMESPACE}'>\n  <edmx:DataServices>\n    \
         <Schema xmlns='{EDM_NAMESPACE}' Namespace='UserData'>{content}</Schema>\n  </edmx:DataServices>\n</edmx:Edmx>\n"
    )
}

fn invalid(reason: &str) -> EdmxError {
    EdmxError::InvalidDefinition(reason.to_owned(), SourceLine::default())
}

fn read_content(content: &str) -> Result<Definitions, EdmxError> {
    read(document_with(content).as_bytes())
}

fn property(owner: &str, name: &str, type_name: &str) -> PropertyDefinition {
    PropertyDefinition {
        owner: owner.into(),
        name: name.to_owned(),
        r#type: type_name.to_owned(),
        nullable: None,
        default: None,
        collection_kind: None,
        is_declared: None,
        unique: None,
        unit: None,
    }
}

fn end(entity_type: &str, name: &str, multiplicity: Multiplicity) -> EndDefinition {
    EndDefinition {
        entity_type: entity_type.to_owned(),
        name: name.to_owned(),
        multiplicity,
    }
}

/// A schema with everything that users can define.
fn user_schema() -> Schema {
    let mut schema = Schema::new(control::USER_NAMESPACE);
    schema.add_complex_type(ComplexType {
        name: "Point".into(),
        properties: PropertyList::new(vec![
            Property::new("x", SimpleType::Double).required(),
            Property::new("labels", SimpleType::String).list(),
        ]),
    });
    schema.add_complex_type(ComplexType {
        name: "Line".into(),
        properties: PropertyList::new(vec![
            Property::complex("from", "Point"),
            Property::complex("via", "Point").list(),
        ]),
    });
    let mut unique = Property::new("d", SimpleType::Int32);
    unique.unique = Some("uk".into());
    let properties = vec![
        Property::complex("a", "Line").list().required(),
        Property::new("b", SimpleType::String).with_default("<\"'&>\n\u{e9}"),
        Property::new("c", SimpleType::Boolean).with_origin(PropertyOrigin::Dynamic),
        unique,
    ];
    schema.add_type(EntityType::user_data("Z", properties));
    schema.add_type(EntityType::user_data("A", vec![]));
    use Multiplicity::{Many, One, ZeroOrOne};
    for (at, (from, to)) in [
        (One, Many),
        (ZeroOrOne, One),
        (Many, Many),
        (Many, ZeroOrOne),
    ]
    .into_iter()
    .enumerate()
    {
        let roles = (format!("Z:z{at}"), format!("A:a:{at}"));
        let name = format!("Z-A-assoc{at}");
        schema.add_named_association(
            &name,
            NewAssociationEnd::new("Z", from, "_A").with_role(&roles.0),
            NewAssociationEnd::new("A", to, "_Z").with_role(&roles.1),
        );
    }
    schema.add_named_association(
        "A-A-assoc",
        NewAssociationEnd::new("A", One, "_A").with_role("A:parent"),
        NewAssociationEnd::new("A", Many, "_A").with_role("A:child"),
    );
    schema
}

#[test]
fn written_document_round_trips() {
    let found = read(document(&user_schema()).as_bytes()).unwrap();
    let yes = Some("true".to_owned());
    let no = Some("false".to_owned());
    let list = Some("List".to_owned());
    use Multiplicity::{Many, One, ZeroOrOne};
    let pair = |at: usize, from, to| {
        [
            end("Z", &format!("z{at}"), from),
            end("A", &format!("a:{at}"), to),
        ]
    };
    let expected = Definitions {
        lines: DefinitionLines::default(),
        complex_types: vec!["Point".into(), "Line".into()],
        complex_properties: vec![
            PropertyDefinition {
                nullable: no.clone(),
                ..property("Point", "x", "Edm.Double")
            },
            PropertyDefinition {
                nullable: yes.clone(),
                collection_kind: list.clone(),
                ..property("Point", "labels", "Edm.String")
            },
            PropertyDefinition {
                nullable: yes.clone(),
                ..property("Line", "from", "Point")
            },
            PropertyDefinition {
                nullable: yes.clone(),
                collection_kind: list.clone(),
                ..property("Line", "via", "Point")
            },
        ],
        entity_types: vec!["Z".into(), "A".into()],
        properties: vec![
            PropertyDefinition {
                nullable: no.clone(),
                collection_kind: list,
                ..property("Z", "a", "Line")
            },
            PropertyDefinition {
                nullable: yes.clone(),
                default: Some("<\"'&>\n\u{e9}".into()),
                ..property("Z", "b", "Edm.String")
            },
            PropertyDefinition {
                nullable: yes.clone(),
                is_declared: no,
                ..property("Z", "c", "Edm.Boolean")
            },
            PropertyDefinition {
                nullable: yes,
                unique: Some("uk".into()),
                ..property("Z", "d", "Edm.Int32")
            },
        ],
        associations: vec![
            Ok(pair(0, One, Many)),
            Ok(pair(1, ZeroOrOne, One)),
            Ok(pair(2, Many, Many)),
            Ok(pair(3, Many, ZeroOrOne)),
            Ok([end("A", "parent", One), end("A", "child", Many)]),
        ],
    };
    assert_eq!(found, expected);
}

#[test]
fn empty_schema_has_no_definitions() {
    let schema = Schema::new(control::USER_NAMESPACE);
    assert_eq!(
        read(document(&schema).as_bytes()),
        Ok(Definitions::default())
    );
}

#[test]
fn definitions_have_the_values_and_order_of_the_document() {
    let found = read_content(
        "<!-- x --><EntityType Name='e2' OpenType='true'><Key><PropertyRef Name='__id'/></Key>\
         <Property Name='__id' Type='Edm.String' p:Format='regEx(&apos;^.$&apos;)'/><Property Name='_x'/>\
         <Property Name='q' Type='Edm.Single' Nullable='FALSE' DefaultValue='' CollectionKind='Bag' p:Unit='kg' Unit='g'/>\
         <Property Name='q' Type='Edm.Nothing'/><NavigationProperty Name='_e1'/></EntityType>\
         <ComplexType Name='_c'><Property Name='_p' Type='UserData.c'/><Documentation>text</Documentation></ComplexType>\
         <EntityType Name='e1'/><ComplexType Name='_c'/><ComplexType Name='c'/><Other><EntityType Name='e3'/></Other>\
         <EntityContainer Name='UserData'><EntitySet EntityType='UserData.e1'/><AssociationSet><End Role='x'/></AssociationSet></EntityContainer>",
    )
    .unwrap();
    let q = PropertyDefinition {
        nullable: Some("FALSE".into()),
        default: Some(String::new()),
        collection_kind: Some("Bag".into()),
        unit: Some("kg".into()),
        ..property("e2", "q", "Edm.Single")
    };
    let expected = Definitions {
        lines: DefinitionLines::default(),
        complex_types: vec!["_c".into(), "_c".into(), "c".into()],
        complex_properties: vec![property("_c", "_p", "c")],
        entity_types: vec!["e2".into(), "e1".into()],
        properties: vec![q, property("e2", "q", "Edm.Nothing")],
        associations: vec![],
    };
    assert_eq!(found, expected);
}

#[test]
fn schemas_of_every_version_are_parsed_and_refer_to_each_other() {
    let mut schemas = String::new();
    for (at, namespace) in EDM_NAMESPACES.iter().enumerate() {
        let next = (at + 1) % EDM_NAMESPACES.len();
        schemas.push_str(&format!(
            "<s:Schema xmlns:s='{namespace}' Namespace='My.N{at}'><s:EntityType Name='E{at}'>\
             <s:Property Name='p' Type='My.N{next}.C'/></s:EntityType><s:ComplexType Name='C'/></s:Schema>"
        ));
    }
    let text = format!(
        "<Edmx xmlns='{EDMX_NAMESPACE}'><DataServices>{schemas}\
         <Schema xmlns='urn:other' Namespace='O'><EntityType Name='no'/></Schema>\
         <Schema xmlns='{EDM_NAMESPACE}' Namespace='Edm'><EntityType Name='E'><Property Name='p' Type='Edm.C'/></EntityType></Schema>\
         </DataServices></Edmx>"
    );
    let found = read(text.as_bytes()).unwrap();
    assert_eq!(found.entity_types, ["E0", "E1", "E2", "E3", "E4", "E"]);
    let types: Vec<_> = found
        .properties
        .iter()
        .map(|property| property.r#type.as_str())
        .collect();
    assert_eq!(types, ["C", "C", "C", "C", "C", "Edm.C"]);
}

#[test]
fn missing_and_invalid_definitions_are_named_in_the_error() {
    let association =
        |ends: &str| format!("<Association Name='a'>{ends}</Association><EntityType Name='e'/>");
    let good = "<End Role='e:n' Type='UserData.e' Multiplicity='*'/>";
    for (content, reason) in [
        ("<ComplexType/>".to_owned(), "a ComplexType has no Name"),
        (
            "<EntityType p:Name='e'/>".to_owned(),
            "an EntityType has no Name",
        ),
        ("<Association/>".to_owned(), "an Association has no Name"),
        (
            "<ComplexType Name='c'><Property Type='Edm.String'/></ComplexType>".to_owned(),
            "a Property of \"c\" has no Name",
        ),
        (
            "<EntityType Name='e'><Property Type='Edm.String'/></EntityType>".to_owned(),
            "a Property of \"e\" has no Name",
        ),
        (
            "<ComplexType Name='c'><Property Name='p'/></ComplexType>".to_owned(),
            "Property \"p\" of \"c\" has no Type",
        ),
        (
            "<EntityType Name='e'><Property Name='p'/></EntityType>".to_owned(),
            "Property \"p\" of \"e\" has no Type",
        ),
        (
            association(""),
            "Association \"a\" does not have two End elements",
        ),
        (
            association(good),
            "Association \"a\" does not have two End elements",
        ),
        (
            association(&good.repeat(3)),
            "Association \"a\" does not have two End elements",
        ),
        (
            association("<End Type='UserData.e' Multiplicity='*'/>"),
            "an End of Association \"a\" has no Role",
        ),
        (
            association("<End Role='e:n' Type='UserData.e'/>"),
            "an End of Association \"a\" has no Multiplicity",
        ),
        (
            association("<End Role='e:n' Multiplicity='0..*'/>"),
            "an End of Association \"a\" has the Multiplicity \"0..*\"",
        ),
        (
            association("<End Role='en' Multiplicity='1'/>"),
            "an End of Association \"a\" has the Role \"en\"",
        ),
        (
            association("<End Role=':n' Multiplicity='1'/>"),
            "an End of Association \"a\" has the Role \":n\"",
        ),
        (
            association("<End Role='e:' Multiplicity='1'/>"),
            "an End of Association \"a\" has the Role \"e:\"",
        ),
    ] {
        let expected = invalid(reason);
        let found = read_content(&content);
        let first = found.and_then(|found| {
            found
                .associations
                .into_iter()
                .find_map(Result::err)
                .map_or(Ok(()), Err)
        });
        assert_eq!(first, Err(expected), "{content}");
    }
    for (content, reason) in [
        (
            "<EntityType Name='e'><Property Name='_p' Type='UserData.c'/></EntityType>",
            "ComplexType \"UserData.c\" is not defined",
        ),
        (
            "<ComplexType Name='c'><Property Name='p' Type='Other.c'/></ComplexType>",
            "ComplexType \"Other.c\" is not defined",
        ),
        (
            "<EntityContainer><EntitySet EntityType='UserData.e'/></EntityContainer>",
            "EntityType \"UserData.e\" is not defined",
        ),
        (
            "<EntityContainer><AssociationSet Association='UserData.a'/></EntityContainer>",
            "Association \"UserData.a\" is not defined",
        ),
        (good, "ok"),
        (
            "<Association Name='a'><End Role='e:n' Type='UserData.e' Multiplicity='*'/></Association>",
            "EntityType \"UserData.e\" is not defined",
        ),
    ] {
        let error = read_content(content).err();
        let expected = (reason != "ok").then(|| invalid(reason));
        assert_eq!(error, expected, "{content}");
    }
    let found = read_content(&association("")).unwrap();
    assert_eq!(found.entity_types, ["e"], "the types are valid without it");
}

/// A name that counts how often it is compared.
struct Counted<'c> {
    name: usize,
    comparisons: &'c Cell<usize>,
}

impl PartialEq for Counted<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.comparisons.set(self.comparisons.get() + 1);
        self.name == other.name
    }
}

impl Eq for Counted<'_> {}

impl Hash for Counted<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

#[test]
fn references_are_looked_up_without_comparing_all_definitions() {
    const MANY: usize = 10_000;
    let comparisons = Cell::new(0);
    let counted = |name| Counted {
        name,
        comparisons: &comparisons,
    };
    let names: Vec<usize> = (0..=MANY).rev().collect();
    let named = || names.iter().map(|name| (name, Some(counted(*name))));
    let all = (0..=MANY).map(counted);
    assert_eq!(find_undefined(all, named()), None);
    let but_the_first = (1..=MANY).map(counted);
    assert_eq!(find_undefined(but_the_first, named()), Some(&0));
    // Hashes of which a part agrees cost a few comparisons more than one for each name.
    let count = comparisons.get();
    assert!((MANY..10 * MANY).contains(&count), "{count}");

    let nameless = [("a", Some(counted(1))), ("b", None)];
    let nameless = nameless.iter().map(|(reference, key)| {
        let key = key.as_ref().map(|key| counted(key.name));
        (reference, key)
    });
    let defined = [1].into_iter().map(counted);
    assert_eq!(find_undefined(defined, nameless), Some(&"b"));
}

#[test]
fn other_documents_are_refused() {
    let no_schema = "there is no Schema of a known namespace";
    for (text, reason) in [
        ("<Edmx/>".to_owned(), "the root is Edmx, not edmx:Edmx"),
        (
            format!("<Schema xmlns='{EDM_NAMESPACE}' Namespace='N'/>"),
            "the root is Schema, not edmx:Edmx",
        ),
        (format!("<Edmx xmlns='{EDMX_NAMESPACE}'/>"), no_schema),
        (
            format!(
                "<Edmx xmlns='{EDMX_NAMESPACE}'><DataServices><Schema Namespace='N'/></DataServices></Edmx>"
            ),
            no_schema,
        ),
        (
            document_with("").replace(EDM_NAMESPACE, "http://docs.oasis-open.org/odata/ns/edm"),
            no_schema,
        ),
        (
            document_with("").replace(" Namespace='UserData'", ""),
            "a Schema has no Namespace",
        ),
    ] {
        let expected = invalid(reason);
        assert_eq!(read(text.as_bytes()), Err(expected), "{text}");
    }
}

#[test]
fn invalid_xml_is_refused() {
    let not_xml = |text: &str| matches!(read(text.as_bytes()), Err(EdmxError::InvalidXml(..)));
    let good = document_with("<EntityType Name='e'/>");
    assert!(!not_xml(&good));
    let bomb = "<!DOCTYPE b [<!ENTITY x 'x'><!ENTITY y '&x;&x;&x;'><!ENTITY z '&y;&y;&y;'>]>";
    assert!(not_xml(&format!(
        "{bomb}{}",
        document_with("<EntityType Name='&z;'/>")
    )));
    assert!(not_xml(&format!("<!DOCTYPE Edmx>{good}")));
    assert!(not_xml(&document_with("<EntityType Name='&z;'/>")));
    assert!(not_xml(&document_with("<?run this?>")));
    assert!(not_xml(&document_with("<EntityType Name='e'>")));
    assert!(not_xml(&document_with("<EntityType Name='e' q:x=''/>")));
    assert!(not_xml(&document_with("<EntityType/>&z;")));
    let deep = |levels: usize| format!("{}{}", "<x>".repeat(levels), "</x>".repeat(levels));
    // three levels stand around the content
    assert!(!not_xml(&document_with(&deep(61))));
    assert!(not_xml(&document_with(&deep(62))));
    assert!(not_xml(&document_with(&"<x>".repeat(100_000))));
    assert!(matches!(
        read(&[0xff, 0xfe, b'<', 0]),
        Err(EdmxError::InvalidXml(..))
    ));
}

#[test]
fn truncated_document_is_refused() {
    let text = document(&user_schema());
    let text = text.as_bytes();
    assert!(read(text).is_ok());
    for length in 0..text.len() {
        let part = text.get(..length).unwrap();
        assert!(
            matches!(read(part), Err(EdmxError::InvalidXml(..))),
            "{length}"
        );
    }
}

#[test]
fn document_with_one_changed_byte_does_not_panic() {
    let mut text = document(&user_schema()).into_bytes();
    let changes = [b'<', b'"', b'&', b':', b'>', 0, 0xff];
    for at in 0..text.len() {
        let before = std::mem::replace(&mut text[at], changes[at % changes.len()]);
        let _ = read(&text);
        text[at] = before;
    }
}

#[test]
fn lines_of_definitions_and_errors_are_known() {
    let found = read_content(
        "\n<EntityType Name='e'>\n<Property Name='p' Type='Edm.String'/></EntityType>",
    );
    let found = found.unwrap();
    assert_eq!(found.lines.find("e", ""), Some(4));
    assert_eq!(found.lines.find("e", "p"), Some(5));
    assert_eq!(found.lines.find("e", "q"), None);
    for bad in [
        "\n<EntityType/>",
        "\n<EntityType Name='e'><Property Name='p' Type='UserData.none'/></EntityType>",
        "\n<Association Name='a'/>",
    ] {
        let error = match read_content(bad) {
            Err(error) => error,
            Ok(found) => found
                .associations
                .into_iter()
                .find_map(Result::err)
                .unwrap(),
        };
        assert_eq!(error.line(), Some(4), "{error}");
    }
    let error = read(b"<a>\n<b></a>").unwrap_err();
    assert_eq!(error.line(), Some(2), "{error}");
}
