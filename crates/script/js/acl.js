// Access control lists.
(function (host, need, js) {
  'use strict';
  const { isArray, keys, slice, replace, matches, trim, push } = js;
  const { failure, invalid, stateOf, peek, defineClass, make, objectArgument, encodeName, checked } = need('base');
  const { child, all, escape, isName, NAMESPACES, HEAD } = need('xml');
  const { XML, propfind, decoded } = need('folders');

  const DAV_PRIVILEGE = /^(all|read|read-properties|read-acl|write|bind|unbind|write-content|write-properties|write-acl|alter-schema)$/;
  const PRINCIPALS = { __proto__: null, _ALL: 'all', _AUTHENTICATED: 'authenticated', _UNAUTHENTICATED: 'unauthenticated' };
  const principalXml = (role, cellUrl) => {
    const shim = need('java').principalName(role);
    const named = shim === undefined ? role : shim;
    if (typeof named === 'string' && PRINCIPALS[named] !== undefined) return '<D:' + PRINCIPALS[named] + '/>';
    if (typeof role === 'string') return '<D:href>' + escape(role) + '</D:href>';
    if (role === null || role === undefined) return '<D:href></D:href>';
    const state = peek(role);
    if (state === undefined || state.kind !== 'Role') throw invalid();
    const box = state.key.length > 1 ? state.key[1][1] : '__';
    const path = encodeName(box) + '/' + encodeName(state.key[0][1]);
    return '<D:href>' + escape(cellUrl + '__role/' + path) + '</D:href>';
  };
  const privilegeXml = (name) => {
    if (name === '') return '<D:privilege></D:privilege>';
    if (typeof name !== 'string' || !isName(name)) throw invalid();
    const prefix = matches(DAV_PRIVILEGE, name) ? 'D:' : 'p:';
    return '<D:privilege><' + prefix + name + '/></D:privilege>';
  };
  const aceXml = (ace, cellUrl) => {
    objectArgument(ace);
    let list = ace.privilege;
    if (typeof list === 'string' && list !== '') list = [list];
    let granted = '';
    if (!isArray(list)) list = [];
    for (let at = 0; at < list.length; at += 1) granted += privilegeXml(list[at]);
    return '<D:ace><D:principal>' + principalXml(ace.role, cellUrl) + '</D:principal><D:grant>' + granted + '</D:grant></D:ace>';
  };
  const aclXml = (given, state) => {
    const level = given.requireSchemaAuthz;
    let out = HEAD + '<D:acl ' + NAMESPACES + ' xml:base="' + escape(state.base) + '"';
    if (level !== undefined && level !== null && level !== '') out += ' p:requireSchemaAuthz="' + escape(level) + '"';
    out += '>';
    const entries = isArray(given.ace) ? given.ace : [];
    for (let at = 0; at < entries.length; at += 1) {
      if (entries[at] !== null && entries[at] !== undefined) out += aceXml(entries[at], state.cellUrl);
    }
    return out + '</D:acl>';
  };
  const readAce = (element) => {
    const principal = child(element, 'principal');
    let role = '';
    const known = keys(PRINCIPALS);
    const named = principal === null ? [] : principal.children;
    for (let at = 0; at < named.length; at += 1) {
      for (let other = 0; other < known.length; other += 1) {
        if (PRINCIPALS[known[other]] === named[at].name) role = known[other];
      }
      if (named[at].name === 'href') role = decoded(trim(named[at].text));
    }
    const names = [];
    const privileges = all(element, 'privilege');
    for (let at = 0; at < privileges.length; at += 1) {
      if (privileges[at].children.length > 0) push(names, privileges[at].children[0].name);
    }
    return { role: role, privilege: names };
  };
  defineClass('AclManager', null, {
    set(given) {
      const state = stateOf(this, 'acl');
      const list = need('java').aclArgument(given);
      checked(state.session, 'ACL', state.url, { __proto__: null, headers: XML, body: aclXml(objectArgument(list), state) });
    },
    get() {
      const state = stateOf(this, 'acl');
      const responses = propfind(state.session, state.url, '0');
      const lists = responses.length === 0 ? [] : all(responses[0], 'acl');
      if (lists.length === 0) throw failure(0, 'io exception : the response has no access control list');
      const entries = [];
      const found = lists[0].children;
      for (let at = 0; at < found.length; at += 1) {
        if (found[at].name === 'ace' && child(found[at], 'inherited') === null) push(entries, readAce(found[at]));
      }
      return need('java').readableAcl({
        base: lists[0].attributes.base || state.base,
        requireSchemaAuthz: lists[0].attributes.requireSchemaAuthz || '',
        ace: entries,
      });
    },
  });
  const aclOf = (session, url, cellUrl) => {
    const inCell = url.length > cellUrl.length ? replace(slice(url, cellUrl.length), /\/[^]*$/, '') : '__';
    return make('AclManager', {
      family: 'acl', session: session, url: url, cellUrl: cellUrl, base: cellUrl + '__role/' + inCell + '/',
    });
  };

  return { __proto__: null, aclOf };
})
