//! The fixed schemas: the cells of a unit, the control sets of a cell, the schema sets of an OData collection.

use std::sync::LazyLock;

use crate::constraint::{AllowedValues, Format};
use crate::edm::{
    ComplexType, DEFAULT_NULL, DEFAULT_UUID, EntityRules, EntityType, ID, Multiplicity,
    NewAssociationEnd, PUBLISHED, Property, PropertyList, Schema, SimpleType, UPDATED,
};

/// The namespace of [`unit()`].
pub const UNIT_NAMESPACE: &str = "UnitCtl";
/// The namespace of [`cell`].
pub const CELL_NAMESPACE: &str = "CellCtl";
/// The namespace of [`schema`].
pub const SCHEMA_NAMESPACE: &str = "ODataSvcSchema";
/// The namespace of the schemas that users define.
pub const USER_NAMESPACE: &str = "UserData";
/// The complex type of the property `RequestObjects` of messages.
pub const REQUEST_OBJECT: &str = "Message_Request_Object";
/// The complex type of the property `Result` of sent messages.
pub const MESSAGE_RESULT: &str = "Sent_Message_Result";
/// The property of [`message_to_send`] that says whether the message belongs to the box of the sending application.
pub const BOX_BOUND: &str = "BoxBound";
/// The property of [`message_to_receive`] with the schema of the box that the message belongs to.
pub const BOX_SCHEMA: &str = "Schema";

/// The schema of `{unit}__ctl/`: the set `Cell`.
#[must_use]
pub fn unit() -> &'static Schema {
    static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
        let mut schema = Schema::new(UNIT_NAMESPACE);
        let mut cell = EntityType::new(
            "Cell",
            &["Name"],
            with_timestamps(vec![key("Name", Format::CellName)]),
        );
        cell.required_in_merge = cell.key.clone();
        schema.add_type(cell);
        schema
    });
    &SCHEMA
}

/// The schema of `{cell}__ctl/`: roles, accounts, relations, external cells, external roles, boxes, rules, messages.
#[must_use]
pub fn cell() -> &'static Schema {
    static SCHEMA: LazyLock<Schema> = LazyLock::new(build_cell);
    &SCHEMA
}

/// The schema of `{collection}/$metadata/`: entity types, properties, complex types, association ends.
#[must_use]
pub fn schema() -> &'static Schema {
    static SCHEMA: LazyLock<Schema> = LazyLock::new(build_schema);
    &SCHEMA
}

/// The type of the body with which a client sends a message: a `SentMessage` without the properties that the unit sets,
/// and [`BOX_BOUND`].
#[must_use]
pub fn message_to_send() -> &'static EntityType {
    static BODY: LazyLock<EntityType> = LazyLock::new(|| {
        let bound = Property::new(BOX_BOUND, SimpleType::Boolean).with_default("false");
        message_body("SentMessage", &[ID, "_Box.Name", "Result"], bound)
    });
    &BODY
}

/// The type of the body with which one cell delivers a message to another: a `ReceivedMessage` without the properties
/// that the unit sets, and [`BOX_SCHEMA`].
#[must_use]
pub fn message_to_receive() -> &'static EntityType {
    static BODY: LazyLock<EntityType> = LazyLock::new(|| {
        let kind = text("Type").required();
        let kind = kind.with_format(Format::OneOf(AllowedValues::MessageType));
        let mut body = message_body(
            "ReceivedMessage",
            &["_Box.Name", "Type"],
            optional(BOX_SCHEMA),
        );
        body.properties = PropertyList::new(
            std::iter::once(kind)
                .chain(body.properties.iter().cloned())
                .collect(),
        );
        body
    });
    &BODY
}

/// A type with the properties of a set of messages without time stamps and those of `omitted`, and one more.
fn message_body(set: &str, omitted: &[&str], added: Property) -> EntityType {
    let of_set = cell().entity_type(set).map(|t| &t.properties);
    let is_kept = |p: &&Property| !p.is_timestamp() && !omitted.contains(&&*p.name);
    let properties = of_set.into_iter().flatten().filter(is_kept).cloned();
    EntityType::new(set, &[], properties.chain([added]).collect())
}

fn text(name: &'static str) -> Property {
    Property::new(name, SimpleType::String)
}

fn optional(name: &'static str) -> Property {
    text(name).with_default(DEFAULT_NULL)
}

fn key(name: &'static str, format: Format) -> Property {
    text(name).required().with_format(format)
}

fn with_timestamps(mut properties: Vec<Property>) -> Vec<Property> {
    properties.push(Property::timestamp(PUBLISHED));
    properties.push(Property::timestamp(UPDATED));
    properties
}

fn box_name() -> Property {
    text("_Box.Name").with_format(Format::Name)
}

fn build_cell() -> Schema {
    let mut schema = Schema::new(CELL_NAMESPACE);
    schema.add_complex_type(request_object());
    schema.add_complex_type(ComplexType {
        name: MESSAGE_RESULT.into(),
        properties: PropertyList::new(vec![
            text("To").with_format(Format::CellUrl),
            text("Code"),
            text("Reason"),
        ]),
    });
    add_access_sets(&mut schema);
    add_rule(&mut schema);
    add_messages(&mut schema);
    add_cell_associations(&mut schema);
    schema
}

/// Adds roles, accounts, relations, external cells, boxes and external roles.
fn add_access_sets(schema: &mut Schema) {
    let named = |set: &'static str, format| {
        EntityType::new(
            set,
            &["Name", "_Box.Name"],
            with_timestamps(vec![key("Name", format), box_name()]),
        )
    };
    schema.add_type(named("Role", Format::Name));
    schema.add_type(EntityType::new(
        "Account",
        &["Name"],
        with_timestamps(vec![
            key("Name", Format::AccountName),
            text("Type")
                .required()
                .with_default("basic")
                .with_format(Format::AccountType),
            optional("Cell"),
            optional("IPAddressRange").with_format(Format::IpRange),
            text("Status")
                .with_default("active")
                .with_format(Format::OneOf(AllowedValues::AccountStatus)),
        ]),
    ));
    schema.add_type(named("Relation", Format::RelationName));
    schema.add_type(EntityType::new(
        "ExtCell",
        &["Url"],
        with_timestamps(vec![key("Url", Format::CellUrl)]),
    ));
    let mut box_schema = optional("Schema").with_format(Format::SchemaUri);
    box_schema.unique = Some("uk_box_schema".into());
    schema.add_type(EntityType::new(
        "Box",
        &["Name"],
        with_timestamps(vec![key("Name", Format::Name), box_schema]),
    ));
    schema.add_type(EntityType::new(
        "ExtRole",
        &["ExtRole", "_Relation.Name", "_Relation._Box.Name"],
        with_timestamps(vec![
            key("ExtRole", Format::Uri),
            key("_Relation.Name", Format::RelationName),
            text("_Relation._Box.Name").with_format(Format::Name),
        ]),
    ));
}

fn add_rule(schema: &mut Schema) {
    let mut rule = EntityType::new(
        "Rule",
        &["Name", "_Box.Name"],
        with_timestamps(vec![
            text("Name")
                .with_default(DEFAULT_UUID)
                .with_format(Format::RuleName),
            box_name(),
            Property::new("EventExternal", SimpleType::Boolean).with_default("false"),
            text("EventSubject").with_format(Format::Uri),
            text("EventType").with_format(Format::EventType),
            text("EventObject").with_format(Format::RuleObject),
            text("EventInfo"),
            text("Action").with_format(Format::OneOf(AllowedValues::RuleAction)),
            text("TargetUrl").with_format(Format::RuleTargetUrl),
        ]),
    );
    rule.entity_rules = EntityRules::Rule;
    schema.add_type(rule);
}

fn request_object() -> ComplexType {
    ComplexType {
        name: REQUEST_OBJECT.into(),
        properties: PropertyList::new(vec![
            text("RequestType")
                .required()
                .with_format(Format::OneOf(AllowedValues::RequestType)),
            text("Name").with_format(Format::RequestName),
            text("TargetUrl").with_format(Format::RequestTargetUrl),
            text("ClassUrl").with_format(Format::RequestClassUrl),
            text("EventSubject").with_format(Format::Uri),
            text("EventType").with_format(Format::EventType),
            text("EventObject").with_format(Format::RuleObject),
            text("EventInfo"),
            text("Action").with_format(Format::OneOf(AllowedValues::RuleAction)),
        ]),
    }
}

/// A set of messages: `addresses` are its properties with senders and receivers, `tail` its last ones.
fn message(
    set: &'static str,
    id: Property,
    addresses: Vec<Property>,
    tail: Vec<Property>,
) -> EntityType {
    let mut properties = vec![
        id,
        box_name(),
        text("InReplyTo").with_format(Format::MessageId),
    ];
    properties.extend(addresses);
    properties.extend([
        text("Type")
            .with_default("message")
            .with_format(Format::OneOf(AllowedValues::MessageType)),
        text("Title").with_default("").with_format(Format::Title),
        text("Body")
            .with_default("")
            .with_format(Format::MessageBody),
        Property::new("Priority", SimpleType::Int32)
            .with_default("3")
            .with_format(Format::Priority),
    ]);
    properties.extend(tail);
    EntityType::new(set, &[ID], with_timestamps(properties))
}

fn add_messages(schema: &mut Schema) {
    let requests = || Property::complex("RequestObjects", REQUEST_OBJECT).list();
    schema.add_type(message(
        "ReceivedMessage",
        text(ID).required().with_format(Format::MessageId),
        vec![
            key("From", Format::CellUrl),
            text("MulticastTo").with_format(Format::CellUrlList),
        ],
        vec![
            text("Status")
                .required()
                .with_format(Format::OneOf(AllowedValues::MessageStatus)),
            requests(),
        ],
    ));
    schema.add_type(message(
        "SentMessage",
        text(ID).required().with_default(DEFAULT_UUID),
        vec![
            text("To").with_format(Format::CellUrlList),
            text("ToRelation").with_format(Format::RelationName),
        ],
        vec![
            requests(),
            Property::complex("Result", MESSAGE_RESULT).list(),
        ],
    ));
}

fn end(
    entity_type: &'static str,
    multiplicity: Multiplicity,
    navigation: &'static str,
) -> NewAssociationEnd<'static> {
    NewAssociationEnd::new(entity_type, multiplicity, navigation)
}

fn add_cell_associations(schema: &mut Schema) {
    use Multiplicity::{Many, One, ZeroOrOne};
    for (set, nav) in [
        ("Role", "_Role"),
        ("Relation", "_Relation"),
        ("ReceivedMessage", "_ReceivedMessage"),
        ("SentMessage", "_SentMessage"),
        ("Rule", "_Rule"),
    ] {
        schema.add_association(end("Box", ZeroOrOne, nav), end(set, Many, "_Box"));
    }
    schema.add_association(end("Account", Many, "_Role"), end("Role", Many, "_Account"));
    schema.add_association(end("ExtCell", Many, "_Role"), end("Role", Many, "_ExtCell"));
    schema.add_association(end("ExtRole", Many, "_Role"), end("Role", Many, "_ExtRole"));
    schema.add_association(
        end("ExtCell", Many, "_Relation"),
        end("Relation", Many, "_ExtCell"),
    );
    schema.add_association(
        end("ExtRole", Many, "_Relation"),
        end("Relation", One, "_ExtRole"),
    );
    schema.add_association(
        end("Relation", Many, "_Role"),
        end("Role", Many, "_Relation"),
    );
    schema.add_association(
        end("Account", Many, "_ReceivedMessageRead"),
        end("ReceivedMessage", Many, "_AccountRead"),
    );
}

/// A set of properties of types. The key property `type_key` has the name of the type.
fn property_set(set: &'static str, type_key: &'static str, further: Vec<Property>) -> EntityType {
    let mut properties = vec![
        key("Name", Format::Name),
        key(type_key, Format::Name),
        text("Type").required(),
        Property::new("Nullable", SimpleType::Boolean)
            .required()
            .with_default("true"),
        text("DefaultValue"),
        text("CollectionKind")
            .with_default("None")
            .with_format(Format::OneOf(AllowedValues::CollectionKind)),
    ];
    properties.extend(further);
    let mut property_set = EntityType::new(set, &["Name", type_key], with_timestamps(properties));
    property_set.entity_rules = EntityRules::SchemaProperty;
    property_set
}

fn build_schema() -> Schema {
    let mut schema = Schema::new(SCHEMA_NAMESPACE);
    let type_set = |set: &'static str| {
        EntityType::new(
            set,
            &["Name"],
            with_timestamps(vec![key("Name", Format::Name)]),
        )
    };
    let mut entity_type = type_set("EntityType");
    entity_type.required_in_merge = entity_type.key.clone();
    schema.add_type(entity_type);
    let mut association_end = EntityType::new(
        "AssociationEnd",
        &["Name", "_EntityType.Name"],
        with_timestamps(vec![
            key("Name", Format::Name),
            key("Multiplicity", Format::Multiplicity),
            key("_EntityType.Name", Format::Name),
        ]),
    );
    association_end.required_in_merge = association_end.key.clone();
    schema.add_type(association_end);
    schema.add_type(property_set(
        "ComplexTypeProperty",
        "_ComplexType.Name",
        vec![],
    ));
    schema.add_type(property_set(
        "Property",
        "_EntityType.Name",
        vec![
            Property::new("IsKey", SimpleType::Boolean)
                .required()
                .with_default("false"),
            text("UniqueKey").with_format(Format::Name),
            Property::new("IsDeclared", SimpleType::Boolean).with_default("true"),
        ],
    ));
    schema.add_type(type_set("ComplexType"));
    add_schema_associations(&mut schema);
    schema
}

fn add_schema_associations(schema: &mut Schema) {
    use Multiplicity::{Many, One, ZeroOrOne};
    schema.add_association(
        end("EntityType", One, "_AssociationEnd"),
        end("AssociationEnd", Many, "_EntityType"),
    );
    schema.add_association(
        end("AssociationEnd", ZeroOrOne, "_AssociationEnd"),
        end("AssociationEnd", ZeroOrOne, "_AssociationEnd"),
    );
    schema.add_association(
        end("EntityType", One, "_Property"),
        end("Property", Many, "_EntityType"),
    );
    schema.add_association(
        end("ComplexType", One, "_ComplexTypeProperty"),
        end("ComplexTypeProperty", Many, "_ComplexType"),
    );
}
