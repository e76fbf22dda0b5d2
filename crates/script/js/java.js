// What scripts of the original use of the Java bridge: `Packages`, `java`, and a few classes.
(function (host, need, js) {
  'use strict';
  const { text, create, define, put, push, keys, copy, toPrimitive, ErrorClass, TypeErrorClass, ProxyClass } = js;
  const { invalid, stateOf, peek, classes, defineClass, make, exchange, guarded } = need('base');

  // A package or class that scripts may not use. Its name is all that can be read.
  const blocked = (path, target) => {
    const label = path === '' ? '[JavaPackage ]' : '[JavaPackage ' + path + ']';
    const refuse = () => {
      throw new TypeErrorClass(label + ' is not a function, it is object.');
    };
    return new ProxyClass(target, {
      __proto__: null,
      get: (_, name) => {
        if (name === toPrimitive || name === 'toString' || name === 'valueOf') return () => label;
        if (typeof name === 'symbol') return undefined;
        return known(path === '' ? name : path + '.' + name);
      },
      set: () => false,
      defineProperty: () => false,
      apply: refuse,
      construct: refuse,
    });
  };
  const closed = function () {
    throw new ErrorClass('not found');
  };
  const shims = create(null);
  const known = (path) => {
    if (shims[path] !== undefined) return shims[path];
    return blocked(path, function () {});
  };

  // Principals and access control lists.
  defineClass('Principal', null, {});
  const Principal = classes.Principal.Class;
  const NAMES = { __proto__: null, ALL: '_ALL', AUTHENTICATED: '_AUTHENTICATED', UNAUTHENTICATED: '_UNAUTHENTICATED' };
  const principals = create(null);
  const names = keys(NAMES);
  for (let at = 0; at < names.length; at += 1) {
    const name = names[at];
    const value = make('Principal', { family: 'principal', name: NAMES[name] });
    principals[NAMES[name]] = value;
    define(Principal, name, { __proto__: null, value: value, enumerable: true });
  }
  const principalName = (value) => {
    const state = peek(value);
    return state !== undefined && state.family === 'principal' ? state.name : undefined;
  };

  const fresh = (kind, family, methods) => {
    defineClass(kind, null, methods);
    return function () {
      if (new.target === undefined) throw new TypeErrorClass(kind + ' is a constructor');
      return make(kind, family());
    };
  };
  const Ace = fresh('JavaAce', () => ({ family: 'ace', role: null, privilege: [] }), {
    setPrincipal(value) {
      stateOf(this, 'ace').role = value;
    },
    setRole(value) {
      stateOf(this, 'ace').role = value;
    },
    getPrincipal() {
      return stateOf(this, 'ace').role;
    },
    addPrivilege(name) {
      const state = stateOf(this, 'ace');
      push(state.privilege, text(name));
    },
  });
  const Acl = fresh('JavaAcl', () => ({ family: 'list', level: '', aces: [] }), {
    setRequireSchemaAuthz(level) {
      stateOf(this, 'list').level = text(level);
    },
    getRequireSchemaAuthz() {
      return stateOf(this, 'list').level;
    },
    addAce(ace) {
      const state = stateOf(this, 'list');
      stateOf(ace, 'ace');
      push(state.aces, ace);
    },
  });
  const aclArgument = (given) => {
    const state = peek(given);
    if (state === undefined) return given;
    if (state.family !== 'list') throw invalid();
    const entries = [];
    for (let at = 0; at < state.aces.length; at += 1) {
      const entry = peek(state.aces[at]);
      push(entries, { __proto__: null, role: entry.role, privilege: entry.privilege });
    }
    return { __proto__: null, requireSchemaAuthz: state.level, ace: entries };
  };
  // A role in a list that was read.
  defineClass('JavaRole', null, {
    getName() {
      return stateOf(this, 'javaRole').name;
    },
  });
  // Adds to a list what scripts with own versions of the library read from it.
  const readableAcl = (list) => {
    define(list, 'getRequireSchemaAuthz', { __proto__: null, value: () => list.requireSchemaAuthz });
    define(list, 'aceList', {
      __proto__: null,
      get: () => {
        const entries = [];
        for (let at = 0; at < list.ace.length; at += 1) {
          const entry = list.ace[at];
          const principal = principals[entry.role] || make('JavaRole', { family: 'javaRole', name: entry.role });
          push(entries, { getPrincipal: () => principal, privilegeList: copy([], entry.privilege) });
        }
        return entries;
      },
    });
    return list;
  };

  // Raw HTTP without the extension.
  defineClass('RestAdapter', null, {
    get(url, headers) {
      return sendRaw(this, 'GET', url, { __proto__: null, headers: headers });
    },
    del(url, headers) {
      return sendRaw(this, 'DELETE', url, { __proto__: null, headers: headers });
    },
    post(url, headers, body, contentType) {
      return sendRaw(this, 'POST', url, { __proto__: null, headers: headers, body: body, contentType: contentType });
    },
    put(url, headers, body, contentType) {
      return sendRaw(this, 'PUT', url, { __proto__: null, headers: headers, body: body, contentType: contentType });
    },
  });
  const sendRaw = (adapter, method, url, given) => {
    const state = stateOf(adapter, 'rest');
    const options = { __proto__: null, headers: copy(create(null), given.headers), accept: 'stream' };
    if (given.contentType) options.headers['Content-Type'] = text(given.contentType);
    if (given.body !== undefined && given.body !== null) options.body = text(given.body);
    const answer = exchange({ __proto__: null, token: state.token }, method, text(url), options);
    if (answer.status >= 300 && answer.status !== 302) {
      const body = guarded(() => host.readText(answer.body, 'utf-8'));
      throw new ErrorClass('io.personium.client.DaoException: ' + answer.status + ',' + body);
    }
    return need('service').response(answer);
  };
  const Context = fresh('JavaContext', () => ({ family: 'javaContext', token: null }), {
    withToken(token) {
      const given = token === null || token === undefined ? null : 'token:' + text(token);
      return make('JavaContext', { family: 'javaContext', token: given });
    },
    withClientToken() {
      return make('JavaContext', { family: 'javaContext', token: 'caller' });
    },
  });
  const RestAdapterFactory = {
    create: (context) => make('RestAdapter', { family: 'rest', token: stateOf(context, 'javaContext').token }),
  };
  const JavaUnitManager = function (accessor) {
    const state = stateOf(accessor, 'accessor');
    return need('cell').unitOf(state.session || { __proto__: null, token: null }, host.context.unitUrl);
  };

  const CLIENT = 'io.personium.client.';
  shims[CLIENT + 'Principal'] = Principal;
  shims[CLIENT + 'Acl'] = Acl;
  shims[CLIENT + 'Ace'] = Ace;
  shims[CLIENT + 'Role'] = classes.JavaRole.Class;
  shims[CLIENT + 'UnitManager'] = JavaUnitManager;
  shims[CLIENT + 'PersoniumContext'] = Context;
  shims[CLIENT + 'http.RestAdapterFactory'] = RestAdapterFactory;
  shims['io.personium.engine.extension.wrapper.PersoniumInputStream'] = closed;
  shims['io.personium.engine.wrapper.PersoniumJSONObject'] = closed;
  shims['io.personium.engine.adapter.PersoniumRequestBodyStream'] = closed;

  return {
    __proto__: null, Packages: blocked('', {}), java: blocked('java', {}), principalName, aclArgument, readableAcl,
  };
})
