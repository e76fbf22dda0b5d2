//! Links between control objects, from both sides.

use serde_json::json;

use super::ScriptUnit;

/// Makes one object of each kind.
const OBJECTS: &str = "
    var c = CELL.ctl;
    var objects = {
      account: c.account.retrieve('me'), role: c.role.retrieve({Name:'r','_Box.Name':'b'}), relation: c.relation.retrieve({Name:'x'}),
      extCell: c.extCell.retrieve('http://far.example/y/'),
      extRole: c.extRole.retrieve({ExtRole:'http://far.example/y/__role/__/z','_Relation.Name':'x'})
    };";
/// Each link: the object whose member it is, and the object that is linked.
const LINKS: &str = "[['account','role'],['role','account'],['role','relation'],['role','extCell'],['role','extRole'],
    ['relation','role'],['relation','extCell'],['extRole','role'],['extCell','role'],['extCell','relation']]";

async fn unit_with_objects() -> ScriptUnit {
    let unit = ScriptUnit::new().await;
    let code = "var c = cell.ctl; c.role.create({Name:'r','_Box.Name':'b'}); c.relation.create({Name:'x'});
        c.extCell.create({Url:'http://far.example/y/'});
        c.extRole.create({ExtRole:'http://far.example/y/__role/__/z','_Relation.Name':'x'});";
    unit.value(code).await;
    unit
}

#[tokio::test]
async fn objects_are_linked_once_and_unlinked_once() {
    let unit = unit_with_objects().await;
    let code = format!(
        "{} return {LINKS}.map(function (pair) {{
           var links = objects[pair[0]][pair[1]], other = objects[pair[1]];
           return [links.link(other), fails(function () {{ links.link(other); }}), links.unLink(other),
             fails(function () {{ links.unLink(other); }})];
         }});",
        OBJECTS.replace("CELL", "cell")
    );
    let out = unit.value(&code).await;
    let out = out.as_array().unwrap();
    assert_eq!(out.len(), 10);
    for outcome in out {
        let steps = (&outcome[0], &outcome[1][0], &outcome[2], &outcome[3][0]);
        assert_eq!(
            steps,
            (&json!(null), &json!(409), &json!(null), &json!(404)),
            "{outcome}"
        );
    }
}

#[tokio::test]
async fn links_are_refused_to_callers_who_may_only_read() {
    let unit = unit_with_objects().await;
    unit.unit
        .grant_by_new_role("c", ("me", "reader"), &["p:auth-read", "p:social-read"])
        .await;
    let code = format!(
        "{} return {LINKS}.map(function (pair) {{
           var links = objects[pair[0]][pair[1]], other = objects[pair[1]];
           return [fails(function () {{ links.link(other); }}), fails(function () {{ links.unLink(other); }})];
         }});",
        OBJECTS.replace("CELL", "mine")
    );
    let denied = json!([403, "PR403-AU-0002"]);
    for outcome in unit.value(&code).await.as_array().unwrap() {
        assert_eq!(*outcome, json!([denied, denied]));
    }
}

#[tokio::test]
async fn only_objects_of_the_right_kind_are_linked() {
    let unit = unit_with_objects().await;
    let code = format!(
        "{} return [objects.role, objects.relation, {{}}, null, undefined, 'x', {{name:'r'}}].map(function (other) {{
           return fails(function () {{ objects.role.account.link(other); }}); }});",
        OBJECTS.replace("CELL", "cell")
    );
    for outcome in unit.value(&code).await.as_array().unwrap() {
        assert_eq!(*outcome, json!([0, "Invalid"]));
    }
}

#[tokio::test]
async fn linked_role_has_effect_immediately() {
    let unit = ScriptUnit::new().await;
    let code = "
        var role = cell.ctl.role.create({Name:'reads'});
        box.acl.set({ace:[{role:role, privilege:['read']}]});
        var read = function () { own.getColList(); };
        var before = fails(read);
        cell.ctl.account.retrieve('me').role.link(role);
        var after = fails(read);
        role.account.unLink(cell.ctl.account.retrieve('me'));
        return [before, after, fails(read)];";
    let denied = json!([403, "PR403-AU-0002"]);
    assert_eq!(
        unit.value(code).await,
        json!([denied, "no failure", denied])
    );
}
