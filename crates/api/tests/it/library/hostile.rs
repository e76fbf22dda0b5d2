//! Scripts that attack the library: they reach nothing but themselves.

use serde_json::json;

use super::ScriptUnit;

#[tokio::test]
async fn methods_on_foreign_objects_are_refused() {
    let unit = ScriptUnit::new().await;
    let code = "var out = [];
        [cell, box, box.col('x'), cell.ctl.role, cell.event, cell.acl, box.odata('o'), box.odata('o').entitySet('s'), box.service('s'),
         cell.ctl.role.query(), _p.as('client'), _p.as('client').unit()].forEach(function (object) {
          var proto = Object.getPrototypeOf(object);
          while (proto && proto !== Object.prototype) {
            Object.getOwnPropertyNames(proto).forEach(function (name) {
              if (name === 'constructor' || name === 'core') return;
              [undefined, null, {}, [], function () {}, {family:'cell', url:'http://unit.example/d/', session:{token:'service'}},
               new Proxy(object, {}), Object.create(object)].forEach(function (self) {
                try { proto[name].call(self, 'x', 'y', 'z'); out.push(name); } catch (e) { if (!(e instanceof Error)) out.push('strange ' + name); }
              });
            });
            proto = Object.getPrototypeOf(proto);
          }
        });
        return out;";
    assert_eq!(unit.value(code).await, json!([]));
}

#[tokio::test]
async fn replaced_builtins_see_no_token_of_the_service_subject() {
    let unit = ScriptUnit::new().await;
    let code = "var seen = [];
        var watch = function (object, name) {
          var old = object[name];
          object[name] = function () {
            for (var i = 0; i < arguments.length; i++) { if (typeof arguments[i] === 'string') seen[seen.length] = arguments[i]; }
            if (typeof this === 'string') seen[seen.length] = this;
            return old.apply(this, arguments);
          };
        };
        ['get', 'set', 'has'].forEach(function (n) { watch(WeakMap.prototype, n); watch(Map.prototype, n); });
        ['replace', 'split', 'indexOf', 'slice', 'trim', 'toLowerCase', 'match'].forEach(function (n) { watch(String.prototype, n); });
        ['push', 'map', 'filter', 'join', 'concat'].forEach(function (n) { watch(Array.prototype, n); });
        watch(JSON, 'stringify'); watch(JSON, 'parse'); watch(Object, 'assign'); watch(RegExp.prototype, 'exec');
        Object.defineProperty(Object.prototype, 'token', { configurable: true, set: function (v) { seen[seen.length] = String(v); }, get: function () { return undefined; } });
        cell.ctl.role.query().run(); box.getColList(); box.put('f', 'text/plain', 'x'); box.acl.get();
        delete Object.prototype.token;
        var token = cell.getToken().access_token;
        return [seen.length > 0, seen.filter(function (t) { return t.indexOf(token) >= 0 || t.indexOf('Bearer') >= 0; })];";
    let out = unit.value(code).await;
    assert_eq!(out[1], json!([]));
}

#[tokio::test]
async fn changes_of_prototypes_end_with_the_request() {
    let unit = ScriptUnit::new().await;
    let dirty = "Object.prototype.polluted = 1; Array.prototype.map = 5; _p.as = null; _p.Cell.prototype.box = null; leaked = 7;
        JSON.parse = function () { return 'own'; }; pjvm.setDefaultHeader('X-Left', '1'); _p.setPersoniumVersion('0.0.1');
        return 'done';";
    let clean = "return [typeof ({}).polluted, typeof [].map, typeof _p.as, typeof _p.Cell.prototype.box, typeof leaked, JSON.parse('[1]')];";
    for _ in 0..3 {
        assert_eq!(unit.value(dirty).await, "done");
        let expected = json!([
            "undefined",
            "function",
            "function",
            "function",
            "undefined",
            [1]
        ]);
        assert_eq!(unit.value(clean).await, expected);
    }
}

#[tokio::test]
async fn replaced_methods_of_the_library_call_the_original_by_core() {
    let unit = ScriptUnit::new().await;
    let code = "var create = 0;
        _p.AccountManager.prototype.create = function (json, password) { create += 1; return new _p.Account(this.core.create(json, password)); };
        var made = cell.ctl.account.create({Name:'made'}, 'password9');
        return [create, made.name, made instanceof _p.Account, cell.ctl.account.retrieve('made').name];";
    assert_eq!(unit.value(code).await, json!([1, "made", true, "made"]));
}

#[tokio::test]
async fn urls_that_are_no_cells_are_refused() {
    let unit = ScriptUnit::new().await;
    let code = "return ['http://127.0.0.1:1/', 'http://localhost/x/', 'http://169.254.169.254/latest/', 'http://[::1]/', 'file:///etc/passwd', 'http://unit.example@127.0.0.1/',
          'gopher://x/', 'http:///x'].map(function (url) {
        return fails(function () { _p.as({accessToken:'x'}).cell(url).ctl.role.query().run(); })[0]; });";
    for status in unit.value(code).await.as_array().unwrap() {
        assert!(
            [json!(0), json!(404), json!(400), json!(401)].contains(status),
            "{status}"
        );
    }
}

#[tokio::test]
async fn paths_cannot_leave_the_box() {
    let unit = ScriptUnit::new().await;
    let code = "return ['../b', '..', 'x/../../b', '%2e%2e/b', './/', '../../d/b', '?x=1', '#x'].map(function (path) {
        var outcome = fails(function () { own.col(path).getFileList(); }); return outcome === 'no failure' ? 0 : outcome[0]; });";
    for status in unit.value(code).await.as_array().unwrap() {
        assert!(
            [json!(400), json!(403), json!(404)].contains(status),
            "{status}"
        );
    }
}

#[tokio::test]
async fn headers_cannot_be_split() {
    let unit = ScriptUnit::new().await;
    let code = "return [fails(function () { cell.event.post({Type:'t'}, 'a\\r\\nX-Other: b'); })[0],
        fails(function () { box.put('f', 'text/plain\\r\\nX-Other: b', 'x'); })[0],
        fails(function () { cell.ctl.account.create({Name:'made'}, 'password9\\r\\nX: y'); })[0],
        fails(function () { new _p.extension.HttpClient().get('http://unit.example/', {'X-A\\r\\nX-B':'c'}); })[0] === undefined];";
    let out = unit.value(code).await;
    assert_eq!(out, json!([0, 0, 0, true]));
}

#[tokio::test]
async fn half_characters_do_not_break_the_library() {
    let unit = ScriptUnit::new().await;
    let code = "var half = '\\ud800x';
        box.put('f', 'text/plain', half);
        var outcomes = [fails(function () { cell.ctl.role.retrieve({Name:half}); })[0], fails(function () { box.getString(half); })[0],
          fails(function () { box.odata('x').entitySet(half).query().run(); })[0], fails(function () { _p.as({cellUrl:half, userId:half, password:half}).cell(); })[0]];
        return [box.getString('f') === '\\ufffdx', outcomes.every(function (code) { return typeof code === 'number'; })];";
    assert_eq!(unit.value(code).await, json!([true, true]));
}

#[tokio::test]
async fn getters_and_proxies_as_arguments_run_in_the_script_only() {
    let unit = ScriptUnit::new().await;
    let code = "var count = 0;
        var tricky = { get cellUrl() { count += 1; return count % 2 ? 'c' : 5; }, userId: 'me', password: 'password1' };
        var thrower = new Proxy({}, { get: function () { throw new RangeError('mine'); }, ownKeys: function () { throw new RangeError('mine'); },
          getOwnPropertyDescriptor: function () { throw new RangeError('mine'); } });
        var caught = function (act) { try { act(); return 'none'; } catch (e) { return e.name; } };
        var circle = {}; circle.x = circle;
        return [caught(function () { _p.as(tricky).cell(); }), caught(function () { _p.as(thrower); }), caught(function () { cell.ctl.role.create(thrower); }),
          caught(function () { box.put(thrower); }), caught(function () { cell.ctl.role.create(circle); }), caught(function () { cell.acl.set({ace:[thrower]}); }),
          caught(function () { box.odata('o').entitySet('x').create({toJSON: function () { throw new RangeError('mine'); }}); })];";
    let out = unit.value(code).await;
    for name in out.as_array().unwrap() {
        let known = ["_p.PersoniumException", "RangeError", "TypeError", "none"];
        assert!(known.contains(&name.as_str().unwrap()), "{out}");
    }
}
