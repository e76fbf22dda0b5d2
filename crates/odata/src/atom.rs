//! Atom response bodies (RFC 4287 with the extensions of OData 2).

use personium_xml::escape_text_and_quotes;

use crate::dialect::Dialect;
use crate::edm::{Property, Schema, ValueType};
use crate::entity_view::{EntityShape, EntityView, ListEnd, push_entity_key};
use crate::key::KeyStyle;
use crate::query::Select;
use crate::value::{NULL, Value, push_plain_text};
use crate::xml::{
    DATA_NAMESPACE, DECLARATION, METADATA_NAMESPACE, push_attribute, push_attributes,
};

const ATOM_NAMESPACE: &str = "http://www.w3.org/2005/Atom";

/// Writes entities of one schema below one service root.
#[derive(Clone, Debug)]
pub struct AtomWriter<'a> {
    schema: &'a Schema,
    root: &'a str,
    shape: EntityShape,
    select: &'a Select,
    now: i64,
    dialect: Dialect,
    /// The query of the request, for the link of the feed to itself.
    query: &'a str,
}

impl<'a> AtomWriter<'a> {
    /// A writer. `root` is the URL of the service root with its final slash, `now` is the time of the response in
    /// milliseconds since 1970.
    #[must_use]
    pub fn new(schema: &'a Schema, root: &'a str, shape: EntityShape, now: i64) -> Self {
        Self {
            schema,
            root,
            shape,
            select: &Select::All,
            now,
            dialect: Dialect::Original,
            query: "",
        }
    }

    /// Selects the properties of the entities. Expanded entities have all properties.
    #[must_use]
    pub fn select(mut self, select: &'a Select) -> Self {
        self.select = select;
        self
    }

    /// Chooses the form of the document. In [`Dialect::Standard`] entries have entity tags, and the link of a feed to itself has
    /// the query of the request, which is still percent-encoded.
    #[must_use]
    pub fn dialect(mut self, dialect: Dialect, query: &'a str) -> Self {
        self.dialect = dialect;
        self.query = query;
        self
    }

    /// A document with an entry for one entity.
    #[must_use]
    pub fn entry(&self, entity: &EntityView<'_>) -> String {
        let mut out = String::from(DECLARATION);
        out.push_str("<entry");
        self.push_entity_tag(&mut out, entity);
        self.push_namespaces(&mut out);
        self.push_entry_content(&mut out, entity);
        out.push_str("</entry>");
        out
    }

    /// A document with a feed of entities of one set, with the number of matching entities (`m:count`) and the link to the next
    /// page that `end` has.
    #[must_use]
    pub fn feed<'e>(
        &self,
        set: &str,
        entities: impl IntoIterator<Item = &'e EntityView<'e>>,
        end: ListEnd<'_>,
    ) -> String {
        let mut out = String::new();
        self.push_feed_start(&mut out, set, end);
        for entity in entities {
            self.push_entry(&mut out, entity);
        }
        Self::push_feed_end(&mut out, end);
        out
    }

    /// Appends what is before the entries of a feed of one set, with the number of matching entities that `end` has.
    pub fn push_feed_start(&self, out: &mut String, set: &str, end: ListEnd<'_>) {
        out.push_str(DECLARATION);
        out.push_str("<feed");
        self.push_namespaces(out);
        let mut href = set.to_owned();
        if self.dialect == Dialect::Standard && !self.query.is_empty() {
            href.push('?');
            href.push_str(self.query);
        }
        self.push_feed_head(out, set, (set, &href));
        if let Some(count) = end.count {
            push_element(out, "m:count", &count.to_string());
        }
    }

    /// Appends what is after the entries of a feed, with the link to the next page that `end` has.
    pub fn push_feed_end(out: &mut String, end: ListEnd<'_>) {
        if let Some(next) = end.next {
            out.push_str("<link");
            push_attributes(out, &[("rel", "next"), ("href", next)]);
            out.push_str("/>");
        }
        out.push_str("</feed>");
    }

    fn push_namespaces(&self, out: &mut String) {
        push_attributes(
            out,
            &[
                ("xmlns", ATOM_NAMESPACE),
                ("xmlns:m", METADATA_NAMESPACE),
                ("xmlns:d", DATA_NAMESPACE),
                ("xml:base", self.root),
            ],
        );
        out.push('>');
    }

    /// `urls` are the path of the feed for its id, and its link to itself.
    fn push_feed_head(&self, out: &mut String, title: &str, urls: (&str, &str)) {
        let (path, href) = urls;
        out.push_str("<title type=\"text\">");
        escape_text_and_quotes(out, title);
        out.push_str("</title>");
        push_element(out, "id", &format!("{}{path}", self.root));
        self.push_updated(out);
        out.push_str("<link");
        push_attributes(out, &[("rel", "self"), ("title", title), ("href", href)]);
        out.push_str("/>");
    }

    fn push_updated(&self, out: &mut String) {
        let mut date = date_text(self.now.div_euclid(1000) * 1000);
        date.push('Z');
        push_element(out, "updated", &date);
    }

    /// Appends an entry of a feed.
    pub fn push_entry(&self, out: &mut String, entity: &EntityView<'_>) {
        out.push_str("<entry");
        self.push_entity_tag(out, entity);
        out.push('>');
        self.push_entry_content(out, entity);
        out.push_str("</entry>");
    }

    fn push_entity_tag(&self, out: &mut String, entity: &EntityView<'_>) {
        if self.dialect == Dialect::Standard {
            push_attribute(out, "m:etag", &entity.etag.weak().to_string());
        }
    }

    fn push_entry_content(&self, out: &mut String, entity: &EntityView<'_>) {
        let entity_type = entity.entity_type;
        let mut path = entity_type.name.to_string();
        push_entity_key(&mut path, entity, KeyStyle::Encoded);
        push_element(out, "id", &format!("{}{path}", self.root));
        out.push_str("<title type=\"text\"/>");
        self.push_updated(out);
        out.push_str("<author><name/></author><link");
        push_attributes(
            out,
            &[
                ("rel", "edit"),
                ("title", &entity_type.name),
                ("href", &path),
            ],
        );
        out.push_str("/>");
        if self.shape != EntityShape::Created {
            self.push_navigation(out, entity, &path);
        }
        out.push_str("<category");
        let term = format!("{}.{}", self.schema.namespace, entity_type.name);
        push_attributes(
            out,
            &[
                ("term", &term),
                ("scheme", &format!("{DATA_NAMESPACE}/scheme")),
            ],
        );
        out.push_str("/><content type=\"application/xml\"><m:properties>");
        self.push_properties(out, entity);
        out.push_str("</m:properties></content>");
    }

    fn push_navigation(&self, out: &mut String, entity: &EntityView<'_>, path: &str) {
        for navigation in &entity.entity_type.navigation {
            let name = &*navigation.name;
            let kind = if navigation.to_multiplicity.is_many() {
                "feed"
            } else {
                "entry"
            };
            out.push_str("<link");
            let href = format!("{path}/{name}");
            push_attributes(
                out,
                &[
                    ("rel", &format!("{DATA_NAMESPACE}/related/{name}")),
                    ("type", &format!("application/atom+xml;type={kind}")),
                    ("title", name),
                    ("href", &href),
                ],
            );
            let Some(expanded) = entity
                .expanded
                .iter()
                .find(|expanded| expanded.navigation == name)
            else {
                out.push_str("/>");
                continue;
            };
            let inner = Self {
                select: &Select::All,
                ..self.clone()
            };
            out.push_str("><m:inline>");
            if navigation.to_multiplicity.is_many() {
                out.push_str("<feed>");
                inner.push_feed_head(out, name, (&href, &href));
                expanded
                    .entities
                    .iter()
                    .for_each(|target| inner.push_entry(out, target));
                out.push_str("</feed>");
            } else {
                expanded
                    .entities
                    .iter()
                    .take(1)
                    .for_each(|target| inner.push_entry(out, target));
            }
            out.push_str("</m:inline></link>");
        }
    }

    fn push_properties(&self, out: &mut String, entity: &EntityView<'_>) {
        let entity_type = entity.entity_type;
        let mut cursor = 0;
        for property in &entity_type.properties {
            if !self.select.includes(entity_type, &property.name) {
                continue;
            }
            if property.is_timestamp() {
                self.push_property(out, property, &entity.timestamp(property));
                continue;
            }
            let value = entity.properties.get_next(&property.name, &mut cursor);
            if self.shape == EntityShape::Created && value.is_none() && property.is_dynamic() {
                continue;
            }
            self.push_property(out, property, value.unwrap_or(&NULL));
        }
        if self.shape == EntityShape::Created {
            for (name, value) in entity
                .properties
                .iter()
                .filter(|(name, _)| entity_type.properties.get(name).is_none())
            {
                push_undeclared(out, name, value);
            }
        }
    }

    fn push_property(&self, out: &mut String, property: &Property, value: &Value) {
        let value_type = match &property.value_type {
            ValueType::Simple(simple) => simple.name().to_owned(),
            ValueType::Complex(name) => format!("{}.{name}", self.schema.namespace),
        };
        let type_name = if property.is_list() {
            format!("Bag({value_type})")
        } else {
            value_type
        };
        push_open(out, &property.name, &type_name, value);
        match value {
            Value::Null => {}
            Value::List(items) => {
                for item in items {
                    out.push_str("<d:element");
                    if item.is_null() {
                        out.push_str(" m:null=\"true\"/>");
                        continue;
                    }
                    out.push('>');
                    self.push_typed(out, property, item);
                    out.push_str("</d:element>");
                }
                push_close(out, &property.name);
            }
            single => {
                self.push_typed(out, property, single);
                push_close(out, &property.name);
            }
        }
    }

    /// A document with the value of one property (OData 2.0, `d:name` as the root element).
    #[must_use]
    pub fn property(&self, property: &Property, value: &Value) -> String {
        let mut element = String::new();
        self.push_property(&mut element, property, value);
        let mut out = String::from(DECLARATION);
        let name_end = "<d:".len() + property.name.len();
        let (start, rest) = element.split_at_checked(name_end).unwrap_or((&element, ""));
        out.push_str(start);
        let namespaces = [("xmlns:d", DATA_NAMESPACE), ("xmlns:m", METADATA_NAMESPACE)];
        push_attributes(&mut out, &namespaces);
        out.push_str(rest);
        out
    }

    /// Appends the content of the element of a value that is neither null nor a list.
    fn push_typed(&self, out: &mut String, property: &Property, value: &Value) {
        let complex = match &property.value_type {
            ValueType::Complex(name) => self.schema.complex_type(name),
            ValueType::Simple(_) => None,
        };
        match (complex, value) {
            (Some(complex), Value::Complex(members)) => {
                let mut cursor = 0;
                for member in &complex.properties {
                    let value = members.get_next(&member.name, &mut cursor).unwrap_or(&NULL);
                    self.push_property(out, member, value);
                }
            }
            _ => push_scalar(out, value),
        }
    }
}

/// Appends the element of a property that the type does not have.
fn push_undeclared(out: &mut String, name: &str, value: &Value) {
    let type_name = match value {
        Value::Bool(_) => "Edm.Boolean",
        Value::Double(_) | Value::Decimal(_) => "Edm.Double",
        _ => "Edm.String",
    };
    push_open(out, name, type_name, value);
    if !value.is_null() {
        push_scalar(out, value);
        push_close(out, name);
    }
}

/// Appends the start of the element of a property. For null it is an empty element.
fn push_open(out: &mut String, name: &str, type_name: &str, value: &Value) {
    out.push_str("<d:");
    out.push_str(name);
    if type_name != "Edm.String" {
        push_attribute(out, "m:type", type_name);
    }
    out.push_str(if value.is_null() {
        " m:null=\"true\"/>"
    } else {
        ">"
    });
}

fn push_close(out: &mut String, name: &str) {
    out.push_str("</d:");
    out.push_str(name);
    out.push('>');
}

/// Appends the raw value of a simple property, as `$value` has it: a date as in XML, anything else as plain text. Nothing is escaped.
/// Format: OData 2.0, "Raw Values".
pub fn push_raw_value(out: &mut String, value: &Value) {
    match value {
        Value::DateTime(millis) => out.push_str(&date_text(*millis)),
        other => push_plain_text(out, other),
    }
}

fn push_scalar(out: &mut String, value: &Value) {
    match value {
        Value::DateTime(millis) => out.push_str(&date_text(*millis)),
        Value::String(text) => escape_text_and_quotes(out, text),
        Value::Double(_) | Value::Single(_) | Value::Decimal(_) => push_with_fraction(out, value),
        other => push_plain_text(out, other),
    }
}

/// Appends a floating-point number, with the fraction `.0` if it has none.
fn push_with_fraction(out: &mut String, number: &Value) {
    let mut text = String::new();
    push_plain_text(&mut text, number);
    out.push_str(&text);
    if text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'-')
    {
        out.push_str(".0");
    }
}

fn push_element(out: &mut String, name: &str, text: &str) {
    out.push('<');
    out.push_str(name);
    out.push('>');
    escape_text_and_quotes(out, text);
    out.push_str("</");
    out.push_str(name);
    out.push('>');
}

/// The date in UTC as `YYYY-MM-DDThh:mm:ss`, with milliseconds unless they are zero.
fn date_text(millis: i64) -> String {
    let epoch = jiff::civil::DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
    let Ok(date) = epoch.checked_add(jiff::SignedDuration::from_millis(millis)) else {
        return String::new();
    };
    let mut text = format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
        date.year(),
        date.month(),
        date.day(),
        date.hour(),
        date.minute(),
        date.second()
    );
    if date.millisecond() != 0 {
        text.push_str(&format!(".{:03}", date.millisecond()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control;
    use crate::edm::{
        ComplexType, EntityType, Multiplicity, NewAssociationEnd, PropertyList, SimpleType,
    };
    use crate::entity_view::ExpandedNavigation;
    use crate::value::Properties;
    use personium_types::ETag;

    const NOW: i64 = 1_795_385_527_123;

    fn entity<'a>(entity_type: &'a EntityType, properties: &'a Properties) -> EntityView<'a> {
        let etag = ETag {
            version: 1,
            updated_ms: 1_795_383_815_762,
        };
        EntityView {
            entity_type,
            etag,
            published: 1_795_383_815_000,
            properties,
            expanded: Vec::new(),
        }
    }

    #[test]
    fn entry_has_links_to_related_entities() {
        let cell = control::cell();
        let ext_cell = cell.entity_type("ExtCell").unwrap();
        let mut values = Properties::new();
        values.set("Url", "http://h/c/");
        let writer = AtomWriter::new(cell, "http://h/a/__ctl/", EntityShape::Read, NOW);
        let key = "ExtCell('http%3A%2F%2Fh%2Fc%2F')";
        let link = |name: &str| {
            format!(
                "<link rel=\"http://schemas.microsoft.com/ado/2007/08/dataservices/related/{name}\" \
                 type=\"application/atom+xml;type=feed\" title=\"{name}\" href=\"{key}/{name}\"/>"
            )
        };
        let head = "xmlns=\"http://www.w3.org/2005/Atom\" \
             xmlns:m=\"http://schemas.microsoft.com/ado/2007/08/dataservices/metadata\" \
             xmlns:d=\"http://schemas.microsoft.com/ado/2007/08/dataservices\" xml:base=\"http://h/a/__ctl/\">";
        let content = format!(
            "<id>http://h/a/__ctl/{key}</id><title type=\"text\"/><updated>2026-11-22T22:12:07Z</updated>\
             <author><name/></author><link rel=\"edit\" title=\"ExtCell\" href=\"{key}\"/>{}{}\
             <category term=\"CellCtl.ExtCell\" scheme=\"http://schemas.microsoft.com/ado/2007/08/dataservices/scheme\"/>\
             <content type=\"application/xml\"><m:properties><d:Url>http://h/c/</d:Url>\
             <d:__published m:type=\"Edm.DateTime\">2026-11-22T21:43:35</d:__published>\
             <d:__updated m:type=\"Edm.DateTime\">2026-11-22T21:43:35.762</d:__updated></m:properties></content>",
            link("_Role"),
            link("_Relation")
        );
        let one = entity(ext_cell, &values);
        assert_eq!(
            writer.entry(&one),
            format!("{DECLARATION}<entry {head}{content}</entry>")
        );
        assert_eq!(
            writer.feed(
                "ExtCell",
                [&one],
                ListEnd {
                    count: Some(3),
                    next: None
                }
            ),
            format!(
                "{DECLARATION}<feed {head}<title type=\"text\">ExtCell</title><id>http://h/a/__ctl/ExtCell</id>\
                 <updated>2026-11-22T22:12:07Z</updated><link rel=\"self\" title=\"ExtCell\" href=\"ExtCell\"/>\
                 <m:count>3</m:count><entry>{content}</entry></feed>"
            )
        );
    }

    #[test]
    fn standard_feed_has_entity_tags_and_links_with_the_query() {
        let cell = control::cell();
        let mut values = Properties::new();
        values.set("Name", "r");
        let role = entity(cell.entity_type("Role").unwrap(), &values);
        let text = AtomWriter::new(cell, "http://h/", EntityShape::Read, NOW)
            .dialect(Dialect::Standard, "$top=1&q=%22")
            .feed(
                "Role",
                [&role],
                ListEnd {
                    count: None,
                    next: Some("http://h/Role?a&$skiptoken=x"),
                },
            );
        for part in [
            "<id>http://h/Role</id>",
            "<link rel=\"self\" title=\"Role\" href=\"Role?$top=1&amp;q=%22\"/>",
            "<entry m:etag=\"W/&quot;1-1795383815762&quot;\">",
            "</entry><link rel=\"next\" href=\"http://h/Role?a&amp;$skiptoken=x\"/></feed>",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn floating_point_numbers_have_a_fraction() {
        for (value, text) in [
            (Value::Double(123.0), "123.0"),
            (Value::Double(-7.0), "-7.0"),
            (Value::Double(0.0), "0.0"),
            (Value::Double(1.5), "1.5"),
            (Value::Double(1e300), "1.0E300"),
            (Value::Single(3.0), "3.0"),
            (Value::Int32(3), "3"),
        ] {
            let mut out = String::new();
            push_scalar(&mut out, &value);
            assert_eq!(out, text);
        }
    }

    #[test]
    fn property_is_a_document_of_its_own() {
        let schema = Schema::new(control::USER_NAMESPACE);
        let writer = AtomWriter::new(&schema, "http://h/", EntityShape::Read, NOW);
        let number = Property::new("n", SimpleType::Double);
        let namespaces = "xmlns:d=\"http://schemas.microsoft.com/ado/2007/08/dataservices\" \
             xmlns:m=\"http://schemas.microsoft.com/ado/2007/08/dataservices/metadata\"";
        for (value, rest) in [
            (Value::Double(2.0), " m:type=\"Edm.Double\">2.0</d:n>"),
            (Value::Null, " m:type=\"Edm.Double\" m:null=\"true\"/>"),
        ] {
            let text = writer.property(&number, &value);
            assert_eq!(text, format!("{DECLARATION}<d:n {namespaces}{rest}"));
        }
    }

    #[test]
    fn complex_values_lists_and_expanded_entities_are_written() {
        let mut schema = Schema::new(control::USER_NAMESPACE);
        let members = PropertyList::new(vec![Property::new("x", SimpleType::Int32)]);
        schema.add_complex_type(ComplexType {
            name: "C".into(),
            properties: members,
        });
        schema.add_type(EntityType::user_data(
            "T",
            vec![
                Property::new("b", SimpleType::Boolean),
                Property::complex("c", "C"),
                Property::new("l", SimpleType::Double).list(),
            ],
        ));
        let end = NewAssociationEnd::new("T", Multiplicity::Many, "_T");
        schema.add_association(end, end);
        let t = schema.entity_type("T").unwrap();
        let mut values = Properties::new();
        values.set("__id", "<i>");
        values.set(
            "c",
            Value::Complex([("x".into(), Value::Int32(1))].into_iter().collect()),
        );
        values.set("l", Value::List(vec![Value::Double(1.5), Value::Null]));
        let mut one = entity(t, &values);
        one.expanded.push(ExpandedNavigation {
            navigation: "_T",
            entities: vec![entity(t, &values)],
        });
        let text = AtomWriter::new(&schema, "http://h/", EntityShape::Read, NOW).entry(&one);
        assert!(text.contains("<d:__id>&lt;i&gt;</d:__id>"));
        assert!(text.contains(
            "<d:b m:type=\"Edm.Boolean\" m:null=\"true\"/><d:c m:type=\"UserData.C\"><d:x m:type=\"Edm.Int32\">1</d:x></d:c>\
             <d:l m:type=\"Bag(Edm.Double)\"><d:element>1.5</d:element><d:element m:null=\"true\"/></d:l>"
        ));
        assert!(
            text.contains(
                "href=\"T('%3Ci%3E')/_T\"><m:inline><feed><title type=\"text\">_T</title>"
            )
        );
        assert!(text.contains("</entry></feed></m:inline></link><category"));
    }
}
