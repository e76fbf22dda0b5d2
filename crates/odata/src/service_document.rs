//! Service documents: the entity sets below a service root.

use personium_xml::escape_text_and_quotes;

use crate::edm::Schema;
use crate::value::push_json_string;
use crate::xml::{DECLARATION, push_attribute, push_attributes};

const APP_NAMESPACE: &str = "http://www.w3.org/2007/app";

/// The service document in Atom (RFC 5023, section 8). `root` is the URL of the service root with its final slash.
#[must_use]
pub fn atom(schema: &Schema, root: &str) -> String {
    let mut out = String::from(DECLARATION);
    out.push_str("<service");
    push_attributes(
        &mut out,
        &[
            ("xmlns", APP_NAMESPACE),
            ("xml:base", root),
            ("xmlns:atom", "http://www.w3.org/2005/Atom"),
            ("xmlns:app", APP_NAMESPACE),
        ],
    );
    out.push_str("><workspace><atom:title>Default</atom:title>");
    for entity_type in schema.entity_types() {
        out.push_str("<collection");
        push_attribute(&mut out, "href", &entity_type.name);
        out.push_str("><atom:title>");
        escape_text_and_quotes(&mut out, &entity_type.name);
        out.push_str("</atom:title></collection>");
    }
    out.push_str("</workspace></service>");
    out
}

/// The service document as JavaScript: `{"d":{"EntitySets":[...]}}` as the argument of a call without function name.
#[must_use]
pub fn script(schema: &Schema) -> String {
    let mut out = String::from("({\"d\":{\"EntitySets\":[");
    for (at, entity_type) in schema.entity_types().iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        push_json_string(&mut out, &entity_type.name);
    }
    out.push_str("]}});");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control;

    #[test]
    fn both_formats_list_the_entity_sets() {
        assert_eq!(
            atom(control::unit(), "http://h/__ctl/"),
            "<?xml version='1.0' encoding='utf-8'?><service xmlns=\"http://www.w3.org/2007/app\" xml:base=\"http://h/__ctl/\" \
             xmlns:atom=\"http://www.w3.org/2005/Atom\" xmlns:app=\"http://www.w3.org/2007/app\"><workspace>\
             <atom:title>Default</atom:title><collection href=\"Cell\"><atom:title>Cell</atom:title></collection>\
             </workspace></service>"
        );
        assert_eq!(
            script(control::schema()),
            "({\"d\":{\"EntitySets\":[\"EntityType\",\"AssociationEnd\",\"ComplexTypeProperty\",\"Property\",\"ComplexType\"]}});"
        );
    }
}
