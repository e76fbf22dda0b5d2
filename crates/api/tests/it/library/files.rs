//! Boxes, collections and files.

use serde_json::json;

use super::ScriptUnit;

#[tokio::test]
async fn files_are_put_read_listed_and_removed() {
    let unit = ScriptUnit::new().await;
    let code = "
        var out = [box.mkCol('d'), box.col('d').put('a.txt', 'text/plain', 'あ'), box.getString('d/a.txt'),
          box.put({path:'d/b.txt', contentType:'text/plain', data:'日本', charset:'MS932'}), box.getString('d/b.txt', 'MS932'),
          box.getString('d/b.txt') === '日本',
          box.col('d').getFileList(), box.getColList(), box.col('d').getPath(), box.col('d').name,
          box.col('d').del('b.txt'), fails(function () { box.getString('d/b.txt'); }),
          fails(function () { box.del('d/b.txt'); }), fails(function () { box.getStream('d/b.txt'); }),
          fails(function () { box.col('nosuch').getFileList(); }), fails(function () { box.put('nosuch/a', 'text/plain', 'x'); })[0]];
        return out;";
    let app = "http://unit.example/c/app";
    let missing = json!([404, "PR404-DV-0001"]);
    let expected = json!([
        null,
        null,
        "あ",
        null,
        "日本",
        false,
        [format!("{app}/d/a.txt"), format!("{app}/d/b.txt")],
        [format!("{app}/d"), format!("{app}/svc")],
        format!("{app}/d"),
        "",
        null,
        missing,
        missing,
        missing,
        missing,
        409
    ]);
    let mut out = unit.value(code).await;
    for list in [6, 7] {
        let mut names: Vec<String> = serde_json::from_value(out[list].take()).unwrap();
        names.sort_unstable();
        out[list] = json!(names);
    }
    assert_eq!(out, expected);
}

#[tokio::test]
async fn collections_of_each_kind_are_made_once() {
    let unit = ScriptUnit::new().await;
    let code = "return ['mkCol', 'mkOData', 'mkService'].map(function (make) {
        return [box[make](make), fails(function () { box[make](make); })[0], fails(function () { own[make](make + '2'); }),
          fails(function () { box[make]('nosuch/x'); })[0], box.del(make), fails(function () { box.del(make); })[0]]; });";
    let expected = json!([null, 405, [403, "PR403-AU-0002"], 409, null, 404]);
    for outcome in unit.value(code).await.as_array().unwrap() {
        assert_eq!(*outcome, expected);
    }
}

#[tokio::test]
async fn files_are_refused_to_callers_without_the_privilege() {
    let unit = ScriptUnit::new().await;
    unit.value("box.mkCol('d'); box.put('d/a.txt', 'text/plain', 'x');")
        .await;
    let all = "var d = own.col('d');
        return [fails(function () { d.getString('a.txt'); }), fails(function () { d.getStream('a.txt'); }),
          fails(function () { d.getFileList(); }), fails(function () { d.getColList(); }),
          fails(function () { d.put('b.txt', 'text/plain', 'x'); }), fails(function () { d.mkCol('x'); }),
          fails(function () { d.del('a.txt'); })];";
    let (denied, allowed) = (json!([403, "PR403-AU-0002"]), json!("no failure"));
    for outcome in unit.value(all).await.as_array().unwrap() {
        assert_eq!(*outcome, denied);
    }
    unit.unit
        .grant_by_new_role("c/app/d", ("me", "reads"), &["D:read"])
        .await;
    let out = unit.value(all).await;
    assert_eq!(
        out,
        json!([allowed, allowed, allowed, allowed, denied, denied, denied])
    );
    unit.unit
        .grant_by_new_role("c/app/d", ("me", "writes"), &["D:read", "D:write"])
        .await;
    for outcome in unit.value(all).await.as_array().unwrap() {
        assert_eq!(*outcome, allowed);
    }
}

#[tokio::test]
async fn entity_tags_of_files_are_checked() {
    let unit = ScriptUnit::new().await;
    let code = "box.put('a.txt', 'text/plain', 'x');
        return [fails(function () { box.put('a.txt', 'text/plain', 'y', '\"99-1\"'); }),
          fails(function () { box.put({path:'a.txt', contentType:'text/plain', data:'y', etag:'\"99-1\"'}); }),
          fails(function () { box.del('a.txt', '\"99-1\"'); }), box.put('a.txt', 'text/plain', 'z', '*'), box.getString('a.txt')];";
    let stale = json!([412, "PR412-DV-0001"]);
    assert_eq!(
        unit.value(code).await,
        json!([stale, stale, stale, null, "z"])
    );
}

#[tokio::test]
async fn bytes_and_streams_are_stored_unchanged() {
    let unit = ScriptUnit::new().await;
    let code = "var bytes = new Uint8Array(256); for (var i = 0; i < 256; i++) bytes[i] = i;
        box.put({path:'a', contentType:'application/octet-stream', data:bytes});
        box.put({path:'b', contentType:'application/octet-stream', data:bytes.buffer});
        box.put('c', 'application/octet-stream', box.getStream('a'));
        var latin = function (path) { return box.getString(path, 'ISO-8859-1'); };
        return [latin('a') === latin('b'), latin('a') === latin('c'), latin('a').length];";
    assert_eq!(unit.value(code).await, json!([true, true, 256]));
    // An empty file would be taken for the whole stream.
    let twice = "var s = box.getStream('a'); box.put('once', 'a/b', s);
        var failed = false; try { box.put('again', 'a/b', s); } catch (e) { failed = true; }
        return [failed, box.getString('once', 'ISO-8859-1').length];";
    assert_eq!(unit.value(twice).await, json!([true, 256]));
    let again = unit.unit.admin_request("GET", "c/app/again").send().await;
    assert_eq!(again.status, 404);
    for path in ["c/app/a", "c/app/b", "c/app/c"] {
        let stored = unit.unit.admin_request("GET", path).send().await;
        assert_eq!(stored.body, (0..=255).collect::<Vec<u8>>(), "{path}");
    }
}

#[tokio::test]
async fn other_values_are_stored_as_their_texts() {
    let unit = ScriptUnit::new().await;
    let code = "return [5, true, {a: 1}, [1, 'b'], new String('s'), {toString: function () { return 't'; }}, undefined, false].map(function (data) {
        box.put('a', 'text/plain', data);
        var out = [box.getString('a')];
        if (data) { box.put({path: 'b', contentType: 'text/plain', data: data}); out.push(box.getString('b')); }
        return out.join(); }).concat([
          fails(function () { box.put('a', 'text/plain', null); }), fails(function () { box.put('a', 'text/plain', {toString: function () { throw 1; }}); }),
          fails(function () { box.put({path: 'b', contentType: 'text/plain', data: 'x', charset: 'none'}); }),
          fails(function () { box.getString('a', 'none'); })]);";
    let twice = |text: &str| json!(format!("{text},{text}"));
    let invalid = json!([0, "Invalid"]);
    let expected = json!([
        twice("5"),
        twice("true"),
        twice("[object Object]"),
        twice("1,b"),
        twice("s"),
        twice("t"),
        "undefined",
        "false",
        invalid,
        invalid,
        [0, "UnsupportedEncodingException"],
        [0, "io exception"]
    ]);
    assert_eq!(unit.value(code).await, expected);
    let code = "var file = {path: 'c', contentType: 'text/plain', data: 'x'}; box.put(file); box.put(Object.freeze({path: 'd', contentType: 'a/b', data: 'x'}));
        box.put('e', '', 'x'); box.put('f', null, 'x'); box.put('g', undefined, 'x');
        // What scripts do that bring a copy of the library.
        box.core.put('h', 'text/plain', 'MS932', '日', '*'); box.core.put('i', 'text/plain', 'x', '*');
        var failed = fails(function () { box.put(new String('j'), 'text/plain', 'x'); });
        return [file.charset, file.etag, ['d', 'e', 'f', 'g', 'i', new String('i')].map(function (path) { return box.getString(path); }).join(''),
          box.getString('h', 'MS932'), failed, box.col(5).getPath(), cell.ctl.account.create({Name: 'numbers'}, 12345678).name,
          [5, true, {Name: 77}].map(function (key) { return fails(function () { cell.ctl.role.retrieve(key); })[0]; }).join()];";
    let expected = json!([
        "UTF-8",
        "*",
        "xxxxxx",
        "日",
        [0, "Invalid"],
        "http://unit.example/c/app/5",
        "numbers",
        "404,404,404"
    ]);
    assert_eq!(unit.value(code).await, expected);
}

#[tokio::test]
async fn body_of_the_request_goes_through_a_file_to_the_response() {
    let unit = ScriptUnit::new().await;
    let script = "function (request) {
        var box = _p.as('serviceSubject').cell().box();
        box.put({path:'a', contentType:'application/octet-stream', data:request.input.stream()});
        return {status:200, headers:{'X-More':'1'}, body:['<', box.getStream('a'), '>']}; }";
    unit.put_script(script).await;
    let sent: Vec<u8> = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
    let request = unit.caller.request("POST", "c/app/svc/other");
    let response = request.body(&sent).send().await.expect(200);
    assert_eq!(response.header("x-more"), Some("1"));
    let expected = [b"<".as_slice(), &sent, b">"].concat();
    assert!(response.body == expected, "{} bytes", response.body.len());
}

#[tokio::test]
async fn names_of_files_may_have_any_character_that_the_unit_permits() {
    let unit = ScriptUnit::new().await;
    let code = "return ['日本 語.txt', 'a%b', 'a+b&c=d', 'h#x', \"it's\"].map(function (name) {
        var sent = encodeURIComponent(name);
        box.put(sent, 'text/plain', name);
        var shown = box.getFileList().map(function (url) { return url.split('/').pop(); });
        return [box.getString(sent) === name, shown.indexOf(name) >= 0, box.del(sent)]; });";
    for outcome in unit.value(code).await.as_array().unwrap() {
        assert_eq!(*outcome, json!([true, true, null]));
    }
    let refused = "return fails(function () { box.put('q%3Fx', 'text/plain', 'x'); });";
    assert_eq!(unit.value(refused).await, json!([403, "PR403-DV-0004"]));
    let plain = "box.put('日本 語.txt', 'text/plain', 'x'); return box.getString('日本 語.txt');";
    assert_eq!(unit.value(plain).await, "x");
}

#[tokio::test]
async fn incomplete_arguments_are_refused_without_a_request() {
    let unit = ScriptUnit::new().await;
    let code = "return [[5], [{}], [{path:'a', contentType:'text/plain', data:''}], [{path:'', contentType:'text/plain', data:'x'}],
          [{path:'a', data:'x'}], ['', 'text/plain', 'x'], [[]], [], [null], ['a', 'text/plain']].map(function (given) {
            return fails(function () { box.put.apply(box, given); }); }).concat([
          fails(function () { box.getString(); }), fails(function () { box.del(''); }), fails(function () { box.col(); }),
          fails(function () { box.service(null); }), fails(function () { box.mkCol(''); }),
          fails(function () { box.getString('svc/__src/run.js', 'no-such-charset'); })[0] === 0 ? [0, 'Invalid'] : 'other']);";
    for outcome in unit.value(code).await.as_array().unwrap() {
        assert_eq!(*outcome, json!([0, "Invalid"]));
    }
}

#[tokio::test]
async fn properties_are_accepted_and_empty() {
    let unit = ScriptUnit::new().await;
    let code = "return [box.setProp('k', 'v'), box.getProp('k'), box.name, box.schema, box.getName(), JSON.parse(box.getMetaData()).box.status];";
    let expected = json!([
        null,
        "",
        "app",
        "http://unit.example/appcell/",
        "app",
        "ready"
    ]);
    assert_eq!(unit.value(code).await, expected);
}
