//! OData collections: their schema, their entities, queries.

use serde_json::json;

use super::ScriptUnit;

/// A unit with the collection `od` in the box of the service, which has the type `Item` with a property `n`.
async fn unit_with_items() -> ScriptUnit {
    let unit = ScriptUnit::new().await;
    let code = "box.mkOData('od'); var s = box.odata('od').schema;
        s.entityType.create({Name:'Item'}); s.entityType.create({Name:'Sub'});
        s.associationEnd.create({Name:'item','_EntityType.Name':'Item',Multiplicity:'0..1'});
        s.associationEnd.create({Name:'sub','_EntityType.Name':'Sub',Multiplicity:'*'});
        s.associationEnd.retrieve({Name:'item','_EntityType.Name':'Item'}).associationEnd.link(
          s.associationEnd.retrieve({Name:'sub','_EntityType.Name':'Sub'}));
        s.property.create({Name:'n','_EntityType.Name':'Item',Type:'Edm.Int32'});";
    unit.value(code).await;
    unit
}

#[tokio::test]
async fn parts_of_a_schema_are_created_retrieved_and_removed() {
    let unit = unit_with_items().await;
    let kinds = [
        ("entityType", "{Name:'Made'}", "'Made'", "name"),
        ("entityType", "{Name:'Made'}", "{Name:'Made'}", "name"),
        ("complexType", "{Name:'Made'}", "{Name:'Made'}", "name"),
        (
            "property",
            "{Name:'p','_EntityType.Name':'Item',Type:'Edm.String'}",
            "{Name:'p','_EntityType.Name':'Item'}",
            "entityTypeName",
        ),
        (
            "complexTypeProperty",
            "{Name:'q','_ComplexType.Name':'Complex',Type:'Edm.Int32'}",
            "{Name:'q','_ComplexType.Name':'Complex'}",
            "complexTypeName",
        ),
        (
            "associationEnd",
            "{Name:'e','_EntityType.Name':'Item',Multiplicity:'*'}",
            "{Name:'e','_EntityType.Name':'Item'}",
            "entityTypeName",
        ),
    ];
    unit.value("box.odata('od').schema.complexType.create({Name:'Complex'});")
        .await;
    for (manager, object, key, member) in kinds {
        let code = format!(
            "var m = box.odata('od').schema.{manager}, denied = own.odata('od').schema.{manager};
             var made = m.create({object}).{member};
             return [fails(function () {{ m.create({object}); }}), m.retrieve({key}).{member} === made,
               m.query().run().d.results.length > 0,
               fails(function () {{ denied.create({object}); }}), fails(function () {{ denied.retrieve({key}); }}),
               fails(function () {{ denied.query().run(); }}), fails(function () {{ denied.del({key}); }}),
               m.del({key}), fails(function () {{ m.retrieve({key}); }}), fails(function () {{ m.del({key}); }})];"
        );
        let (missing, denied) = (json!([404, "PR404-OD-0002"]), json!([403, "PR403-AU-0002"]));
        let expected = json!([
            [409, "PR409-OD-0003"],
            true,
            true,
            denied,
            denied,
            denied,
            denied,
            null,
            missing,
            missing
        ]);
        assert_eq!(unit.value(&code).await, expected, "{object}");
    }
}

#[tokio::test]
async fn properties_show_their_type() {
    let unit = unit_with_items().await;
    let code = "var s = box.odata('od').schema;
        var p = s.property.create({Name:'p','_EntityType.Name':'Item',Type:'Edm.Int32',Nullable:true,DefaultValue:null,
          CollectionKind:'None',IsKey:false,UniqueKey:null});
        s.complexType.create({Name:'Ct'});
        var q = s.complexTypeProperty.create({Name:'q','_ComplexType.Name':'Ct',Type:'Edm.String',Nullable:false,DefaultValue:'x',
          CollectionKind:'List'});
        var again = s.complexTypeProperty.retrieve({Name:'q','_ComplexType.Name':'Ct'});
        return [[p.type, p.nullable, p.defaultValue, p.collectionKind, p.isKey, p.uniqueKey],
          [q.type, q.nullable, q.defaultValue, q.collectionKind, q.complexTypeName, again.entityTypeName]];";
    let expected = json!([
        ["Edm.Int32", true, null, "None", false, "null"],
        ["Edm.String", false, "x", "List", "Ct", "Ct"]
    ]);
    assert_eq!(unit.value(code).await, expected);
}

#[tokio::test]
async fn entities_are_created_read_changed_and_removed() {
    let unit = unit_with_items().await;
    let code = "var set = box.odata('od').entitySet('Item');
        var made = set.create({__id:'i1', n:1, t:'日本'});
        set.merge('i1', {n:2}, '*');
        var merged = set.retrieve('i1');
        set.update('i1', {n:3}, merged.__metadata.etag);
        var updated = set.retrieve('i1');
        return [made.__id, made.t, [merged.n, merged.t], [updated.n, updated.t],
          fails(function () { set.create({__id:'i1'}); }),
          fails(function () { set.update('i1', {n:4}, merged.__metadata.etag); }),
          fails(function () { set.merge('i1', {n:4}, merged.__metadata.etag); }),
          fails(function () { set.del('i1', merged.__metadata.etag); }),
          set.del('i1'),
          fails(function () { set.retrieve('i1'); }), fails(function () { set.update('i1', {n:5}, '*'); }),
          fails(function () { set.merge('i1', {n:5}, '*'); }), fails(function () { set.del('i1'); })];";
    let (missing, stale) = (json!([404, "PR404-OD-0002"]), json!([412, "PR412-OD-0002"]));
    let expected = json!([
        "i1",
        "日本",
        [2, "日本"],
        [3, null],
        [409, "PR409-OD-0003"],
        stale,
        stale,
        stale,
        null,
        missing,
        missing,
        missing,
        missing
    ]);
    assert_eq!(unit.value(code).await, expected);
}

#[tokio::test]
async fn change_without_an_entity_tag_is_refused() {
    let unit = unit_with_items().await;
    let code = "var set = box.odata('od').entitySet('Item'); set.create({__id:'i1', n:1});
        return [fails(function () { set.update('i1', {n:2}); }), fails(function () { set.merge('i1', {n:2}); }),
          set.retrieve('i1').n];";
    let stale = json!([412, "PR412-OD-0002"]);
    assert_eq!(unit.value(code).await, json!([stale, stale, 1]));
}

#[tokio::test]
async fn entities_are_refused_to_callers_without_the_privilege() {
    let unit = unit_with_items().await;
    let all = "var set = own.odata('od').entitySet('Item');
        return [fails(function () { set.create({__id:'mine'}); }), fails(function () { set.retrieve('i1'); }),
          fails(function () { set.query().run(); }), fails(function () { set.update('i1', {n:2}, '*'); }),
          fails(function () { set.merge('i1', {n:2}, '*'); }), fails(function () { set.key('i1').nav('Sub').query().run(); }),
          fails(function () { set.key('i1').nav('Sub').create({__id:'s1'}); }), fails(function () { set.del('mine'); })];";
    unit.value("box.odata('od').entitySet('Item').create({__id:'i1'});")
        .await;
    let denied = json!([403, "PR403-AU-0002"]);
    for outcome in unit.value(all).await.as_array().unwrap() {
        assert_eq!(*outcome, denied);
    }
    unit.unit
        .grant_by_new_role("c/app/od", ("me", "reads"), &["D:read"])
        .await;
    let out = unit.value(all).await;
    let allowed = json!("no failure");
    let reads = json!([
        denied, allowed, allowed, denied, denied, allowed, denied, denied
    ]);
    assert_eq!(out, reads);
    unit.unit
        .grant_by_new_role("c/app/od", ("me", "writes"), &["D:read", "D:write"])
        .await;
    for outcome in unit.value(all).await.as_array().unwrap() {
        assert_eq!(*outcome, allowed);
    }
}

#[tokio::test]
async fn queries_send_every_option() {
    let unit = unit_with_items().await;
    let code = "var set = box.odata('od').entitySet('Item');
        for (var i = 0; i < 12; i++) set.create({__id:'i' + (10 + i), n:i, t:'項目 ' + i, u:\"it's\"});
        var ids = function (answer) { return answer.d.results.map(function (e) { return e.n; }); };
        var page = set.query().filter('n ge 3').orderby('n desc').skip(1).top(2).inlinecount('allpages').run();
        return [ids(page), page.d.__count, Object.keys(set.query().select('t').top(1).run().d.results[0]).filter(function (n) { return n.charAt(0) !== '_'; }),
          ids(set.query().filter(\"startswith(t,'項目 1')\").orderby('n').run()), ids(set.query().filter(\"u eq 'it''s'\").top(2).orderby('n').run()),
          ids(set.query().q('項目 7').run()), set.query().inlinecount('none').run().d.__count === undefined,
          fails(function () { set.query().filter('nosuch eq 1').run(); }), fails(function () { set.query().top(NaN).run(); })[0],
          fails(function () { box.odata('od').entitySet('Nosuch').query().run(); })[0]];";
    let expected = json!([
        [10, 9],
        "9",
        ["t"],
        [1, 10, 11],
        [0, 1],
        [7],
        true,
        [400, "PR400-OD-0045"],
        400,
        404
    ]);
    assert_eq!(unit.value(code).await, expected);
}

#[tokio::test]
async fn options_of_queries_that_are_null_or_not_above_zero_are_left_out() {
    let unit = unit_with_items().await;
    let code = "var set = box.odata('od').entitySet('Item');
        for (var i = 0; i < 4; i++) set.create({__id:'i' + i, n:i});
        var count = function (query) { return query.run().d.results.length; };
        return [count(set.query().filter(null).expand(null).orderby(null).inlinecount(null).q(null).select(null)),
          count(set.query().top(0)), count(set.query().top(-1)), count(set.query().skip(-1)), count(set.query().skip(0.9)),
          count(set.query().top(2.7)), count(set.query().top('3')), count(set.query().top(1).top(0)), count(set.query().filter('n eq 1').filter(null)),
          fails(function () { set.query().filter(undefined).run(); })[0]];";
    assert_eq!(
        unit.value(code).await,
        json!([4, 4, 4, 4, 4, 2, 3, 4, 4, 400])
    );
}

#[tokio::test]
async fn entities_are_created_and_read_through_navigation_properties() {
    let unit = unit_with_items().await;
    let code = "var set = box.odata('od').entitySet('Item'), subs = box.odata('od').entitySet('Sub');
        set.create({__id:\"it's 1\"});
        var nav = set.key(\"it's 1\").nav('Sub');
        return [nav.create({__id:'s1', v:1}).__id, nav.query().run().d.results.length, subs.retrieve('s1').v,
          set.key(\"it's 1\").query().expand('_Sub').run().d.results._Sub.length,
          set.query().expand('_Sub').run().d.results[0]._Sub.length,
          fails(function () { nav.create({__id:'s1'}); })[0], fails(function () { set.key('none').nav('Sub').query().run(); })[0],
          fails(function () { set.nav('Sub'); }), subs.del('s1')];";
    let expected = json!(["s1", 1, 1, 1, 1, 409, 404, [0, "Invalid"], null]);
    assert_eq!(unit.value(code).await, expected);
}

#[tokio::test]
async fn association_ends_are_linked_once() {
    let unit = unit_with_items().await;
    let code = "var m = box.odata('od').schema.associationEnd;
        var a = m.create({Name:'a','_EntityType.Name':'Item',Multiplicity:'*'}), b = m.create({Name:'b','_EntityType.Name':'Item',Multiplicity:'*'});
        return [a.associationEnd.link(b), fails(function () { a.associationEnd.link(b); })[0], a.associationEnd.unLink(b),
          fails(function () { a.associationEnd.unLink(b); })[0]];";
    assert_eq!(unit.value(code).await, json!([null, 409, null, 404]));
}

#[tokio::test]
async fn failure_is_an_error_with_status_and_body() {
    let unit = unit_with_items().await;
    let code = "try { box.odata('od').entitySet('Item').retrieve('none'); } catch (e) {
        var body = JSON.parse(e.message);
        return [e instanceof _p.PersoniumException, e instanceof Error, e.name, typeof e.code, e.code, body.code, body.message.lang,
          String(e) === '_p.PersoniumException: ' + e.message]; }";
    let expected = json!([
        true,
        true,
        "_p.PersoniumException",
        "number",
        404,
        "PR404-OD-0002",
        "en",
        true
    ]);
    assert_eq!(unit.value(code).await, expected);
}
