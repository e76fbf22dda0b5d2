//! Access control lists of cells, boxes and collections.

use serde_json::json;

use super::ScriptUnit;

const ROLES: &str = "http://unit.example/c/__role";

#[tokio::test]
async fn lists_of_a_collection_are_set_and_read_back() {
    let unit = ScriptUnit::new().await;
    let code = "box.mkCol('d'); var acl = box.col('d').acl;
        var inCell = cell.ctl.role.create({Name:'x'}), inBox = cell.ctl.role.create({Name:'y','_Box.Name':'app'});
        acl.set({requireSchemaAuthz:'public', ace:[{role:inCell, privilege:['read','write']}, {role:inBox, privilege:['read-acl']},
          {role:Packages.io.personium.client.Principal.ALL, privilege:['exec']}, {role:'_ALL', privilege:['read']}]});
        return acl.get();";
    let expected = json!({
        "base": format!("{ROLES}/app/"), "requireSchemaAuthz": "public",
        "ace": [
            {"role": "../__/x", "privilege": ["read", "write"]}, {"role": "y", "privilege": ["read-acl"]},
            {"role": "_ALL", "privilege": ["exec"]}, {"role": "_ALL", "privilege": ["read"]},
        ],
    });
    assert_eq!(unit.value(code).await, expected);
}

#[tokio::test]
async fn lists_of_cell_and_box_are_set_and_read_back() {
    let unit = ScriptUnit::new().await;
    let code = "var ruler = cell.ctl.role.retrieve({Name:'ruler'});
        cell.acl.set({ace:[{role:ruler, privilege:['root']}, {role:ruler, privilege:['auth-read','message']}]});
        box.acl.set({requireSchemaAuthz:'none', ace:[]});
        return [cell.acl.get(), box.acl.get()];";
    let out = unit.value(code).await;
    let of_cell = json!({
        "base": format!("{ROLES}/__/"), "requireSchemaAuthz": "",
        "ace": [{"role": "ruler", "privilege": ["root"]}, {"role": "ruler", "privilege": ["auth-read", "message"]}],
    });
    assert_eq!(out[0], of_cell);
    let of_box = json!({"base": format!("{ROLES}/app/"), "requireSchemaAuthz": "none", "ace": []});
    assert_eq!(out[1], of_box);
}

#[tokio::test]
async fn lists_are_refused_to_callers_without_the_privilege() {
    let unit = ScriptUnit::new().await;
    let code = "box.mkCol('d');
        return [own.col('d'), own, mine].map(function (where) {
          return [fails(function () { where.acl.get(); }), fails(function () { where.acl.set({ace:[]}); })]; });";
    let denied = json!([403, "PR403-AU-0002"]);
    for outcome in unit.value(code).await.as_array().unwrap() {
        assert_eq!(*outcome, json!([denied, denied]));
    }
    // Who may read the list may not write it.
    unit.unit
        .grant_by_new_role(
            "c/app/d",
            ("me", "reads"),
            &["D:read-acl", "D:read-properties"],
        )
        .await;
    let code = "var d = own.col('d');
        return [fails(function () { d.acl.get(); }), fails(function () { d.acl.set({ace:[]}); })];";
    assert_eq!(unit.value(code).await, json!(["no failure", denied]));
    unit.unit
        .grant_by_new_role("c/app/d", ("me", "writes"), &["D:write-acl"])
        .await;
    assert_eq!(unit.value(code).await[1], "no failure");
}

#[tokio::test]
async fn principal_without_a_role_and_missing_roles_are_refused_by_the_unit() {
    let unit = ScriptUnit::new().await;
    let code = "box.mkCol('d'); var acl = box.col('d').acl, role = cell.ctl.role.create({Name:'gone'}); cell.ctl.role.del({Name:'gone'});
        return [fails(function () { acl.set({ace:[{role:null, privilege:['read']}]}); }),
          fails(function () { acl.set({ace:[{privilege:['read']}]}); }), fails(function () { acl.set({ace:[{role:'', privilege:['read']}]}); }),
          fails(function () { acl.set({ace:[{role:'_AUTHENTICATED', privilege:['read']}]}); }),
          fails(function () { acl.set({ace:[{role:Packages.io.personium.client.Principal.UNAUTHENTICATED, privilege:['read']}]}); }),
          fails(function () { acl.set({ace:[{role:role, privilege:['read']}]}); })[0],
          fails(function () { acl.set({ace:[{role:role, privilege:['no-such']}]}); })[0],
          fails(function () { box.col('nosuch').acl.set({ace:[]}); })[0], fails(function () { box.col('nosuch').acl.get(); })[0]];";
    let empty = json!([400, "PR400-DV-0006"]);
    assert_eq!(
        unit.value(code).await,
        json!([empty, empty, empty, empty, empty, 400, 400, 404, 404])
    );
}

#[tokio::test]
async fn lists_without_entries_are_accepted() {
    let unit = ScriptUnit::new().await;
    let code = "box.mkCol('d'); var acl = box.col('d').acl;
        return [acl.set({}), acl.set({ace:[]}), acl.set({requireSchemaAuthz:'public'}), acl.get().requireSchemaAuthz, acl.get().ace.length,
          acl.set({requireSchemaAuthz:''}), acl.get().requireSchemaAuthz,
          fails(function () { acl.set(null); }), fails(function () { acl.set(); }), fails(function () { acl.set('x'); }),
          fails(function () { acl.set({ace:[{role:{}, privilege:['read']}]}); }),
          fails(function () { acl.set({ace:[{role:'_ALL', privilege:['<x/>']}]}); })];";
    let invalid = json!([0, "Invalid"]);
    let expected = json!([
        null, null, null, "public", 0, null, "", invalid, invalid, invalid, invalid, invalid
    ]);
    assert_eq!(unit.value(code).await, expected);
}

#[tokio::test]
async fn each_collection_has_a_list_of_its_own() {
    let unit = ScriptUnit::new().await;
    let code = "box.mkCol('x'); box.mkCol('y'); var x = box.col('x'), y = box.col('y');
        x.acl.set({ace:[{role:'_ALL', privilege:['read']}]});
        return [x.acl.get().ace.length, y.acl.get().ace.length];";
    assert_eq!(unit.value(code).await, json!([1, 0]));
}

#[tokio::test]
async fn names_of_roles_are_not_markup() {
    let unit = ScriptUnit::new().await;
    let code = "box.mkCol('d');
        return [fails(function () { box.col('d').acl.set({ace:[{role:'</D:href><D:all/>', privilege:['all']}]}); })[0],
          fails(function () { box.col('d').acl.set({requireSchemaAuthz:'\\\"><D:ace/>', ace:[]}); })[0], box.col('d').acl.get().ace.length];";
    assert_eq!(unit.value(code).await, json!([400, 400, 0]));
}

#[tokio::test]
async fn objects_of_the_java_bridge_make_lists() {
    let unit = ScriptUnit::new().await;
    let code = "box.mkCol('d'); var client = Packages.io.personium.client;
        var list = new client.Acl(), entry = new client.Ace();
        entry.setPrincipal(client.Principal.ALL); entry.addPrivilege('read'); entry.addPrivilege('exec');
        list.addAce(entry); list.setRequireSchemaAuthz('public');
        box.col('d').acl.set(list);
        var read = box.col('d').acl.get();
        return [read.requireSchemaAuthz, read.ace, client.Principal.ALL instanceof client.Principal,
          fails(function () { list.addAce({}); }), typeof client.Role];";
    let expected = json!([
        "public", [{"role": "_ALL", "privilege": ["read", "exec"]}], true, [0, "Invalid"], "function"
    ]);
    assert_eq!(unit.value(code).await, expected);
}
