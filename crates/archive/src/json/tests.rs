use super::*;

fn is_refused<T>(read: impl Fn(&[u8]) -> Result<T, BarJsonError>, texts: &[&str]) {
    for text in texts {
        assert!(read(text.as_bytes()).is_err(), "{text}");
    }
}

fn items<T>(list: Vec<Listed<T>>) -> Vec<T> {
    list.into_iter().map(|listed| listed.item).collect()
}

#[test]
fn lines_of_objects_and_errors_are_known() {
    let text = "\u{feff}{\r\n\"Relations\": [\r\n {\"Name\": \"a\"}, {\r\n\"Name\": \"b\"},\r\n {\"Name\": \"c\"}\r\n]}";
    let read = relations(text.as_bytes()).unwrap();
    let lines: Vec<usize> = read.iter().map(|listed| listed.line).collect();
    assert_eq!(lines, [3, 3, 5]);
    for (text, line) in [
        (
            "{\n\"Relations\": [\n{\"Name\": \"a\"},\n{\"Name\": \"b\",\n\"x\": 1}]}",
            5,
        ),
        ("{\n\"Relations\": [\n{\"Name\": \"a\"},\n{}]}", 4),
        ("{\n\"Relations\": [\n]", 3),
        ("{\n\"Roles\": []}", 2),
        ("", 1),
    ] {
        let error = relations(text.as_bytes()).unwrap_err();
        assert_eq!(error.line, line, "{text}: {error}");
        assert!(!error.to_string().contains(" at line "), "{error}");
    }
}

#[test]
fn relations_and_roles_are_parsed() {
    let read = relations(br#"{"Relations":[{"Name":"r1"},{"Name":"r2"}]}"#).unwrap();
    let names: Vec<_> = read.iter().map(|relation| relation.name.as_str()).collect();
    assert_eq!(names, ["r1", "r2"]);
    assert_eq!(relations(br#" {"Relations":[]} "#).unwrap(), []);
    let name = "\u{5f79}".to_owned();
    let read = roles("\u{feff}{\"Roles\":[{\"Name\":\"役\"}]}".as_bytes()).unwrap();
    assert_eq!(items(read), [BarRole { name }]);
    is_refused(
        relations,
        &[
            "",
            "{}",
            "[]",
            "[[]]",
            r#"[[{"Name":"r"}]]"#,
            r#"{"Relations":null}"#,
            r#"{"Relations":{}}"#,
            r#"{"Relations":{"Name":"r"}}"#,
            r#"{"Relations":["r"]}"#,
            r#"{"Relations":[["r"]]}"#,
            r#"{"Relations":[{}]}"#,
            r#"{"Relations":[{"Name":null}]}"#,
            r#"{"Relations":[{"Name":1}]}"#,
            r#"{"Relations":[{"name":"r"}]}"#,
            r#"{"Relations":[{"Name":"r","x":1}]}"#,
            r#"{"Relations":[],"x":1}"#,
            r#"{"Relations":[],"Relations":[]}"#,
            r#"{"Roles":[]}"#,
            r#"{"Relations":[{"Name":"r","Name":"s"}]}"#,
            r#"{"Relations":[]} {}"#,
            r#"{"Relations":["#,
            "\u{feff}",
            "{\"Relations\":[]}\u{feff}",
        ],
    );
    is_refused(
        roles,
        &[
            r#"{"Relations":[]}"#,
            r#"{"Roles":[{"Name":"r","_Box.Name":"b"}]}"#,
        ],
    );
    assert!(roles(b"{\"Roles\":[{\"Name\":\"\xff\"}]}").is_err());
}

#[test]
fn external_roles_are_parsed() {
    let read =
        ext_roles(br#"{"ExtRoles":[{"ExtRole":"https://c/__role/__/r","_Relation.Name":"rel"}]}"#)
            .unwrap();
    let url = "https://c/__role/__/r".to_owned();
    let relation = "rel".to_owned();
    assert_eq!(items(read), [BarExtRole { url, relation }]);
    is_refused(
        ext_roles,
        &[
            r#"{"ExtRoles":[{"ExtRole":"https://c/"}]}"#,
            r#"{"ExtRoles":[{"_Relation.Name":"r"}]}"#,
            r#"{"ExtRoles":[{"ExtRole":"u","_Relation.Name":"r","_Relation._Box.Name":"b"}]}"#,
        ],
    );
}

#[test]
fn rules_require_only_an_action() {
    let text = br#"{"Rules":[{"Action":"log","EventExternal":null},{"EventExternal":true,"EventSubject":"s",
        "EventType":"t","EventObject":"o","EventInfo":"i","Action":"exec","TargetUrl":"u"}]}"#;
    let read = rules(text).unwrap();
    assert_eq!(read[0].action, "log");
    assert_eq!(
        (read[0].event_external, read[0].target_url.as_deref()),
        (None, None)
    );
    let full = &read[1];
    assert_eq!(
        (full.event_external, full.action.as_str()),
        (Some(true), "exec")
    );
    let texts = [
        &full.event_subject,
        &full.event_type,
        &full.event_object,
        &full.event_info,
        &full.target_url,
    ];
    assert_eq!(
        texts.map(|text| text.as_deref().unwrap()),
        ["s", "t", "o", "i", "u"]
    );
    is_refused(
        rules,
        &[
            r#"{"Rules":[{}]}"#,
            r#"{"Rules":[{"Action":"log","Name":"x"}]}"#,
        ],
    );
}

#[test]
fn links_are_parsed() {
    let text = br#"{"Links":[{"FromType":"Relation","FromName":{"Name":"rel"},"ToType":"ExtRole",
        "ToName":{"_Relation.Name":"rel","ExtRole":"u"}}]}"#;
    let read = links(text).unwrap();
    assert_eq!(
        (
            read[0].from.entity_type.as_str(),
            read[0].to.entity_type.as_str()
        ),
        ("Relation", "ExtRole")
    );
    assert_eq!(
        read[0].from.names.get("Name").map(String::as_str),
        Some("rel")
    );
    assert_eq!(read[0].to.names.len(), 2);
    is_refused(
        links,
        &[
            r#"{"Links":[{"FromType":"a","FromName":{"Name":"x"},"ToType":"b"}]}"#,
            r#"{"Links":[{"FromType":"a","FromName":{"Name":null},"ToType":"b","ToName":{}}]}"#,
            r#"{"Links":[{"FromType":"a","FromName":"x","ToType":"b","ToName":{}}]}"#,
            r#"{"Links":[{"FromType":"a","FromName":[],"ToType":"b","ToName":{}}]}"#,
            r#"{"Links":[{"FromType":"a","FromName":{"N":"x","N":"x"},"ToType":"b","ToName":{}}]}"#,
            r#"{"Links":[{"FromType":"a","FromName":{},"ToType":"b","ToName":{},"x":1}]}"#,
            r#"{"Links":[["a",{},"b",{}]]}"#,
        ],
    );
}

#[test]
fn first_id_of_entity_links_is_used() {
    let text = br#"{"Links":[{"FromType":"e1","FromId":{"z":"first","__id":"b"},"ToType":"e2","ToId":{"__id":"c"}}]}"#;
    let read = entity_links(text).unwrap();
    let end = |entity_type: &str, id: &str| EntityRef {
        entity_type: entity_type.into(),
        id: id.into(),
    };
    assert_eq!(
        items(read),
        [EntityLink {
            from: end("e1", "first"),
            to: end("e2", "c")
        }]
    );
    is_refused(
        entity_links,
        &[
            r#"{"Links":[{"FromType":"a","FromId":{},"ToType":"b","ToId":{"__id":"c"}}]}"#,
            r#"{"Links":[{"FromType":"a","FromId":[{"__id":"b"}],"ToType":"b","ToId":{"__id":"c"}}]}"#,
            r#"{"Links":[{"FromType":"a","FromId":{"__id":1},"ToType":"b","ToId":{"__id":"c"}}]}"#,
            r#"{"Links":[{"FromType":"a","FromId":{"__id":"b"},"ToType":"b","ToName":{"__id":"c"}}]}"#,
        ],
    );
}

#[test]
fn deep_nesting_is_refused() {
    let deep = format!("{{\"Relations\":{}", "[".repeat(1_000_000));
    assert!(relations(deep.as_bytes()).is_err());
    assert!(
        object::<serde_json::Value>(format!("{{\"a\":{}", "[".repeat(1_000_000)).as_bytes())
            .is_err()
    );
}

#[test]
fn scalars_of_rules_may_have_other_types() {
    let read = |members: &str| {
        let file = format!(r#"{{"Rules":[{{"Action":"log",{members}}}]}}"#);
        rules(file.as_bytes()).map(|read| read[0].item.clone())
    };
    let rule = read(r#""EventExternal":"false","EventObject":5,"EventInfo":true"#).unwrap();
    assert_eq!(rule.event_external, Some(false));
    assert_eq!(rule.event_object.as_deref(), Some("5"));
    assert_eq!(rule.event_info.as_deref(), Some("true"));
    for (external, expected) in [("1", Some(true)), ("0", Some(false)), ("\"\"", None)] {
        let rule = read(&format!("\"EventExternal\":{external}")).unwrap();
        assert_eq!(rule.event_external, expected, "{external}");
    }
    for bad in [
        "\"EventExternal\":\"yes\"",
        "\"EventExternal\":1.5",
        "\"EventInfo\":[]",
    ] {
        assert!(read(bad).is_err(), "{bad}");
    }
}
