//! Control objects: their managers in `cell.ctl`.

use serde_json::json;

use super::ScriptUnit;

/// A kind of control object: its manager below `ctl`, an object to create, its key, and the member with its first key.
struct Kind {
    manager: &'static str,
    object: &'static str,
    key: &'static str,
    member: &'static str,
    filter: &'static str,
}

const fn kind(
    manager: &'static str,
    object: &'static str,
    key: &'static str,
    member: &'static str,
    filter: &'static str,
) -> Kind {
    Kind {
        manager,
        object,
        key,
        member,
        filter,
    }
}

const KINDS: [Kind; 9] = [
    kind(
        "account",
        "{Name:'made'},'password9'",
        "'made'",
        "name",
        "Name eq 'made'",
    ),
    kind(
        "box",
        "{Name:'made',Schema:null}",
        "'made'",
        "name",
        "Name eq 'made'",
    ),
    kind(
        "role",
        "{Name:'made'}",
        "{Name:'made'}",
        "name",
        "Name eq 'made'",
    ),
    kind(
        "role",
        "{Name:'made','_Box.Name':'b'}",
        "{Name:'made','_Box.Name':'b'}",
        "name",
        "Name eq 'made'",
    ),
    kind("role", "{Name:'made'}", "'made'", "name", "Name eq 'made'"),
    kind(
        "relation",
        "{Name:'made'}",
        "{Name:'made'}",
        "name",
        "Name eq 'made'",
    ),
    kind(
        "relation",
        "{Name:'made','_Box.Name':'b'}",
        "{Name:'made','_Box.Name':'b'}",
        "name",
        "Name eq 'made'",
    ),
    kind(
        "extCell",
        "{Url:'http://far.example/made/'}",
        "'http://far.example/made/'",
        "url",
        "Url eq 'http://far.example/made/'",
    ),
    kind(
        "extRole",
        "{ExtRole:'http://far.example/x/__role/__/made','_Relation.Name':'rel','_Relation._Box.Name':null}",
        "{ExtRole:'http://far.example/x/__role/__/made','_Relation.Name':'rel'}",
        "name",
        "ExtRole eq 'http://far.example/x/__role/__/made'",
    ),
];

#[tokio::test]
async fn control_objects_are_created_retrieved_listed_and_removed() {
    let unit = ScriptUnit::new().await;
    unit.unit
        .create("c/__ctl/Relation", r#"{"Name":"rel"}"#)
        .await;
    for Kind {
        manager,
        object,
        key,
        member,
        filter,
    } in KINDS
    {
        let code = format!(
            "var m = cell.ctl.{manager};
             var made = m.create({object}).{member};
             return [made,
               fails(function () {{ m.create({object}); }}),
               m.retrieve({key}).{member} === made,
               m.query().filter(\"{filter}\").run().d.results.length,
               m.del({key}),
               fails(function () {{ m.retrieve({key}); }}),
               fails(function () {{ m.del({key}); }})];"
        );
        let mut out = unit.value(&code).await;
        let made = out[0].take();
        assert!(
            made.as_str().is_some_and(|name| name.contains("made")),
            "{manager}: {made}"
        );
        let missing = json!([404, "PR404-OD-0002"]);
        let expected = json!([
            null,
            [409, "PR409-OD-0003"],
            true,
            1,
            null,
            missing,
            missing
        ]);
        assert_eq!(out, expected, "{object}");
    }
}

#[tokio::test]
async fn control_objects_are_refused_to_callers_without_the_privilege() {
    let unit = ScriptUnit::new().await;
    unit.unit
        .create("c/__ctl/Relation", r#"{"Name":"rel"}"#)
        .await;
    for Kind {
        manager,
        object,
        key,
        ..
    } in KINDS
    {
        let code = format!(
            "var m = mine.ctl.{manager};
             return [fails(function () {{ m.create({object}); }}),
               fails(function () {{ m.retrieve({key}); }}),
               fails(function () {{ m.query().run(); }}),
               fails(function () {{ m.del({key}); }})];"
        );
        let denied = json!([403, "PR403-AU-0002"]);
        let expected = json!([denied, denied, denied, denied]);
        assert_eq!(unit.value(&code).await, expected, "{object}");
    }
}

#[tokio::test]
async fn members_of_control_objects_are_those_of_the_entity() {
    let unit = ScriptUnit::new().await;
    let code = "
        function shown(o) { var names = Object.keys(o).sort(); var out = {}; names.forEach(function (n) {
          out[n] = typeof o[n] === 'object' ? 'object' : o[n]; }); return out; }
        var c = cell.ctl;
        return [shown(c.box.create({Name:'bx'})), shown(c.box.retrieve('app')), shown(c.account.create({Name:'a'}, 'password9')),
          shown(c.role.create({Name:'r'})), shown(c.role.create({Name:'r','_Box.Name':'app'})),
          shown(c.relation.create({Name:'x','_Box.Name':'app'})), shown(c.extCell.create({Url:'http://far.example/y/'})),
          shown(c.extRole.create({ExtRole:'http://far.example/y/__role/__/z','_Relation.Name':'x','_Relation._Box.Name':'app'}))];";
    let out = unit.value(code).await;
    let links = |names: &[&str], mut value: serde_json::Value| {
        for name in names {
            value[*name] = json!("object");
        }
        value
    };
    let made = json!({"name": "bx", "schema": "null", "acl": "object", "ctl": "object"});
    assert_eq!(out[0], made);
    assert_eq!(out[1]["schema"], "http://unit.example/appcell/");
    assert_eq!(out[2], links(&["role"], json!({"name": "a"})));
    let of_role = ["account", "extCell", "extRole", "relation"];
    assert_eq!(
        out[3],
        links(&of_role, json!({"name": "r", "boxName": "null", "id": ""}))
    );
    assert_eq!(
        out[4],
        links(&of_role, json!({"name": "r", "boxName": "app", "id": ""}))
    );
    assert_eq!(
        out[5],
        links(
            &["role", "extCell"],
            json!({"name": "x", "boxName": "app", "id": ""})
        )
    );
    let external = json!({"url": "http://far.example/y/", "id": "", "name": ""});
    assert_eq!(out[6], links(&["role", "relation"], external));
    let role = json!({
        "name": "http://far.example/y/__role/__/z", "relationName": "x", "relationBoxName": "app", "id": "",
    });
    assert_eq!(out[7], links(&["role"], role));
}

#[tokio::test]
async fn invalid_keys_and_objects_are_refused_without_a_request() {
    let unit = ScriptUnit::new().await;
    let code = "var m = cell.ctl.role;
        return [undefined, null, '', {}, [], {'_Box.Name':'b'}, {Name:''}].map(function (key) {
          return fails(function () { m.retrieve(key); }); }).concat([undefined, null, 'x', [], 5].map(function (value) {
          return fails(function () { m.create(value); }); }));";
    let out = unit.value(code).await;
    for outcome in out.as_array().unwrap() {
        assert_eq!(*outcome, json!([0, "Invalid"]));
    }
}

#[tokio::test]
async fn external_role_needs_its_relation_in_the_key() {
    let unit = ScriptUnit::new().await;
    let code = "
        cell.ctl.relation.create({Name:'rel','_Box.Name':'b'});
        var url = 'http://far.example/x/__role/__/z';
        var key = {ExtRole:url,'_Relation.Name':'rel','_Relation._Box.Name':'b'};
        var m = cell.ctl.extRole;
        m.create(key);
        return [fails(function () { m.retrieve({ExtRole:url}); }), fails(function () { m.del({ExtRole:url}); }),
          m.retrieve(key).relationBoxName, m.del(key)];";
    let missing = json!([404, "PR404-OD-0002"]);
    assert_eq!(unit.value(code).await, json!([missing, missing, "b", null]));
}

#[tokio::test]
async fn entity_tag_of_del_is_checked() {
    let unit = ScriptUnit::new().await;
    let code = "
        cell.ctl.role.create({Name:'r'});
        return [fails(function () { cell.ctl.role.del({Name:'r'}, 'W/\"99-1\"'); }), cell.ctl.role.del({Name:'r'})];";
    let expected = json!([[412, "PR412-OD-0002"], null]);
    assert_eq!(unit.value(code).await, expected);
}

#[tokio::test]
async fn names_of_accounts_with_special_characters_are_keys() {
    let unit = ScriptUnit::new().await;
    let code = "var name = 'a-_!$*=^`{|}~.@b';
        var m = cell.ctl.account;
        return [m.create({Name:name}, 'password9').name === name, m.retrieve(name).name === name,
          fails(function () { m.create({Name:name}, 'password9'); })[0], m.del(name), fails(function () { m.retrieve(name); })[0]];";
    assert_eq!(unit.value(code).await, json!([true, true, 409, null, 404]));
}

#[tokio::test]
async fn roles_of_a_box_have_the_box_by_default() {
    let unit = ScriptUnit::new().await;
    let code = "var m = box.ctl.role;
        var made = m.create({Name:'r'});
        return [made.boxName, m.retrieve({Name:'r'}).boxName, fails(function () { cell.ctl.role.retrieve({Name:'r'}); })[0],
          m.del({Name:'r'}), fails(function () { m.retrieve('r'); })[0]];";
    assert_eq!(
        unit.value(code).await,
        json!(["app", "app", 404, null, 404])
    );
}

#[tokio::test]
async fn removal_of_a_box_with_content_needs_the_recursive_call() {
    let unit = ScriptUnit::new().await;
    let code = "
        cell.ctl.box.create({Name:'full'});
        cell.box('full').mkCol('x');
        return [fails(function () { cell.ctl.box.del('full'); })[0], fails(function () { mine.ctl.box.recursiveDelete('full'); }),
          cell.ctl.box.recursiveDelete('full'), fails(function () { cell.ctl.box.retrieve('full'); })[0],
          fails(function () { cell.ctl.box.recursiveDelete('full'); })[0]];";
    let denied = json!([403, "PR403-AU-0002"]);
    assert_eq!(unit.value(code).await, json!([409, denied, null, 404, 404]));
}

#[tokio::test]
async fn password_of_an_account_is_changed_by_its_manager() {
    let unit = ScriptUnit::new().await;
    let code = "
        cell.ctl.account.create({Name:'a'}, 'password8');
        var m = cell.ctl.account;
        var login = function (password) { return function () {
          _p.as({cellUrl:'c',userId:'a',password:password}).cell(); }; };
        return [fails(function () { mine.ctl.account.changePassword('a', 'password9'); }),
          fails(function () { m.changePassword('nobody', 'password9'); }),
          m.changePassword('a', 'password9'), fails(login('password8')), fails(login('password9'))];";
    let expected = json!([
        [403, "PR403-AU-0002"],
        [404, "PR404-OD-0002"],
        null,
        [400, "invalid_grant"],
        "no failure"
    ]);
    assert_eq!(unit.value(code).await, expected);
}
