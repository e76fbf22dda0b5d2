// Boxes, collections, files and access control lists.
(function (host, shared) {
  'use strict';
  const { text, decode, replace, isView, ByteBuffer, isArray, keys, slice } = shared.js;
  const { failure, invalid, guarded, stateOf, peek, defineClass, make, textArgument, objectArgument, joined, checked } = shared.base;
  const { parseXml, child, all, escape, isName, NAMESPACES, HEAD } = shared.xml;

  const XML = { 'Content-Type': 'application/xml', Accept: 'application/xml' };
  const mkcol = (state, name, type) => {
    const body = HEAD + '<D:mkcol ' + NAMESPACES + '><D:set><D:prop><D:resourcetype><D:collection/>' + type
      + '</D:resourcetype></D:prop></D:set></D:mkcol>';
    checked(state.session, 'MKCOL', joined(state.url, textArgument(name)), { headers: XML, body: body });
  };
  const propfind = (session, url, depth) => {
    const headers = Object.assign({ Depth: depth }, XML);
    const body = HEAD + '<D:propfind xmlns:D="DAV:"><D:allprop/></D:propfind>';
    return all(parseXml(checked(session, 'PROPFIND', url, { headers: headers, body: body }).body), 'response');
  };
  const decoded = (href) => {
    try {
      return decode(href);
    } catch (_) {
      return href;
    }
  };
  const hrefOf = (response) => {
    const href = child(response, 'href');
    return href === null ? '' : replace(decoded(href.text.trim()), /\/+$/, '');
  };
  // The URLs of the members of a collection: its collections, or the others.
  const members = (state, collections) => {
    const found = [];
    const responses = propfind(state.session, state.url, '1');
    // The first response is the collection itself.
    for (let at = 1; at < responses.length; at += 1) {
      const types = all(responses[at], 'resourcetype');
      const isCollection = types.length > 0 && child(types[0], 'collection') !== null;
      if (isCollection === collections) found.push(hrefOf(responses[at]));
    }
    return found;
  };

  // The body of a file from the argument of `put`: a text, a stream, or bytes.
  const contentOf = (data, charset) => {
    if (typeof data === 'string') {
      return shared.js.lower(charset) === 'utf-8' ? data : guarded(() => host.encode(data, charset));
    }
    const handle = guarded(() => host.handleOf(data));
    if (handle !== undefined) return handle;
    if (isView(data) || data instanceof ByteBuffer) return data;
    throw invalid();
  };
  const putFile = (state, file) => {
    const headers = { 'Content-Type': file.contentType, 'If-Match': file.etag };
    checked(state.session, 'PUT', joined(state.url, file.path), { headers: headers, body: contentOf(file.data, file.charset) });
  };

  defineClass('Webdav', null, {
    mkCol(name) {
      mkcol(stateOf(this, 'dav'), name, '');
    },
    mkOData(name) {
      mkcol(stateOf(this, 'dav'), name, '<p:odata/>');
    },
    mkService(name) {
      mkcol(stateOf(this, 'dav'), name, '<p:service/>');
    },
    getFileList() {
      return members(stateOf(this, 'dav'), false);
    },
    getColList() {
      return members(stateOf(this, 'dav'), true);
    },
    setProp() {
      stateOf(this, 'dav');
    },
    getProp() {
      stateOf(this, 'dav');
      return '';
    },
    col(name) {
      const state = stateOf(this, 'dav');
      const path = textArgument(name);
      const url = joined(state.url, path);
      return make('DavCollection', { family: 'dav', session: state.session, url: url, cellUrl: state.cellUrl, name: path });
    },
    odata(name) {
      const state = stateOf(this, 'dav');
      return shared.odataCollection(state.session, joined(state.url, textArgument(name)), name);
    },
    service(name) {
      const state = stateOf(this, 'dav');
      return shared.serviceCollection(state.session, joined(state.url, textArgument(name)), name);
    },
    getPath() {
      return stateOf(this, 'dav').url;
    },
    makeUrlString() {
      return stateOf(this, 'dav').url;
    },
    getString(path, charset) {
      const state = stateOf(this, 'dav');
      const wanted = charset ? text(charset) : 'utf-8';
      const options = { headers: {}, accept: 'bytes' };
      const bytes = checked(state.session, 'GET', joined(state.url, textArgument(path)), options).body;
      return guarded(() => host.decode(bytes, wanted));
    },
    getStream(path) {
      const state = stateOf(this, 'dav');
      const options = { headers: {}, accept: 'stream' };
      const answer = checked(state.session, 'GET', joined(state.url, textArgument(path)), options);
      return guarded(() => host.newStream(answer.body));
    },
    put(given, contentType, data, etag) {
      const state = stateOf(this, 'dav');
      if (typeof given === 'string') {
        const path = textArgument(given);
        putFile(state, { path: path, contentType: textArgument(contentType), data: data, charset: 'UTF-8', etag: etag ? text(etag) : '*' });
        return;
      }
      const file = objectArgument(given);
      if (!file.path || !file.contentType || !file.data) throw invalid();
      putFile(state, {
        path: textArgument(file.path), contentType: textArgument(file.contentType), data: file.data,
        charset: file.charset ? text(file.charset) : 'UTF-8', etag: file.etag ? text(file.etag) : '*',
      });
    },
    del(path, etag) {
      const state = stateOf(this, 'dav');
      const headers = { 'If-Match': etag ? text(etag) : '*' };
      checked(state.session, 'DELETE', joined(state.url, textArgument(path)), { headers: headers });
    },
  });
  const withAcl = (object, state) => {
    object.name = state.name;
    object.acl = shared.aclOf(state.session, state.url, state.cellUrl);
  };
  defineClass('DavCollection', 'Webdav', {}, withAcl);
  defineClass('BoxCtl', null, {}, (object, state) => {
    const defaults = state.name === '__' ? null : { '_Box.Name': state.name };
    object.role = shared.control.manager('Role', state.session, state.cellUrl + '__ctl/', { defaults: defaults });
  });
  defineClass('Box', 'Webdav', {
    getMetaData() {
      const state = stateOf(this, 'dav');
      return checked(state.session, 'GET', state.url, { headers: { Accept: 'application/json' } }).body;
    },
    getName() {
      return stateOf(this, 'dav').name;
    },
  }, (object, state) => {
    withAcl(object, state);
    object.schema = state.schema;
    object.ctl = make('BoxCtl', { family: 'boxctl', session: state.session, cellUrl: state.cellUrl, name: state.name });
  });
  shared.boxOf = (session, cellUrl, values) => {
    const url = cellUrl + shared.base.encodeName(values.name);
    return make('Box', {
      family: 'dav', session: session, url: url, cellUrl: cellUrl, name: values.name, schema: values.schema,
    });
  };

  // Access control lists.
  const DAV_PRIVILEGES = ['all', 'read', 'read-properties', 'read-acl', 'write', 'bind', 'unbind', 'write-content',
    'write-properties', 'write-acl', 'alter-schema'];
  const PRINCIPALS = { _ALL: 'all', _AUTHENTICATED: 'authenticated', _UNAUTHENTICATED: 'unauthenticated' };
  const principalXml = (role, cellUrl) => {
    const shim = shared.java.principalName(role);
    const named = shim === undefined ? role : shim;
    if (typeof named === 'string' && PRINCIPALS[named] !== undefined) return '<D:' + PRINCIPALS[named] + '/>';
    if (typeof role === 'string') return '<D:href>' + escape(role) + '</D:href>';
    if (role === null || role === undefined) return '<D:href></D:href>';
    const state = peek(role);
    if (state === undefined || state.kind !== 'Role') throw invalid();
    const box = state.key.length > 1 ? state.key[1][1] : '__';
    const path = shared.base.encodeName(box) + '/' + shared.base.encodeName(state.key[0][1]);
    return '<D:href>' + escape(cellUrl + '__role/' + path) + '</D:href>';
  };
  const privilegeXml = (name) => {
    if (name === '') return '<D:privilege></D:privilege>';
    if (typeof name !== 'string' || !isName(name)) throw invalid();
    const prefix = DAV_PRIVILEGES.includes(name) ? 'D:' : 'p:';
    return '<D:privilege><' + prefix + name + '/></D:privilege>';
  };
  const aceXml = (ace, cellUrl) => {
    objectArgument(ace);
    let list = ace.privilege;
    if (typeof list === 'string' && list !== '') list = [list];
    let granted = '';
    for (const name of isArray(list) ? list : []) granted += privilegeXml(name);
    return '<D:ace><D:principal>' + principalXml(ace.role, cellUrl) + '</D:principal><D:grant>' + granted + '</D:grant></D:ace>';
  };
  const aclXml = (given, state) => {
    const level = given.requireSchemaAuthz;
    let out = HEAD + '<D:acl ' + NAMESPACES + ' xml:base="' + escape(state.base) + '"';
    if (level !== undefined && level !== null && level !== '') out += ' p:requireSchemaAuthz="' + escape(level) + '"';
    out += '>';
    for (const ace of isArray(given.ace) ? given.ace : []) {
      if (ace !== null && ace !== undefined) out += aceXml(ace, state.cellUrl);
    }
    return out + '</D:acl>';
  };
  const readAce = (element) => {
    const principal = child(element, 'principal');
    let role = '';
    for (const one of principal === null ? [] : principal.children) {
      for (const name of keys(PRINCIPALS)) {
        if (PRINCIPALS[name] === one.name) role = name;
      }
      if (one.name === 'href') role = decoded(one.text.trim());
    }
    const names = [];
    for (const privilege of all(element, 'privilege')) {
      if (privilege.children.length > 0) names.push(privilege.children[0].name);
    }
    return { role: role, privilege: names };
  };
  defineClass('AclManager', null, {
    set(given) {
      const state = stateOf(this, 'acl');
      const list = shared.java.aclArgument(given);
      checked(state.session, 'ACL', state.url, { headers: XML, body: aclXml(objectArgument(list), state) });
    },
    get() {
      const state = stateOf(this, 'acl');
      const responses = propfind(state.session, state.url, '0');
      const lists = responses.length === 0 ? [] : all(responses[0], 'acl');
      if (lists.length === 0) throw failure(0, 'io exception : the response has no access control list');
      const entries = lists[0].children.filter((one) => one.name === 'ace' && child(one, 'inherited') === null);
      return shared.java.readableAcl({
        base: lists[0].attributes.base || state.base,
        requireSchemaAuthz: lists[0].attributes.requireSchemaAuthz || '',
        ace: entries.map(readAce),
      });
    },
  });
  shared.aclOf = (session, url, cellUrl) => {
    const inCell = url.length > cellUrl.length ? slice(url, cellUrl.length).split('/')[0] : '__';
    return make('AclManager', {
      family: 'acl', session: session, url: url, cellUrl: cellUrl, base: cellUrl + '__role/' + inCell + '/',
    });
  };
})
