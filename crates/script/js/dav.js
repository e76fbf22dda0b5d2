// Boxes, collections and files.
(function (host, need, js) {
  'use strict';
  const { text } = js;
  const { invalid, guarded, stateOf, defineClass, make, lazy, textArgument, objectArgument, encodeName, joined, checked } = need('base');

  // The body of a file from the argument of `put`: a text, a stream, or bytes.
  const contentOf = (data, charset) => {
    if (typeof data === 'string') {
      return js.lower(charset) === 'utf-8' ? data : guarded(() => host.encode(data, charset));
    }
    const handle = guarded(() => host.handleOf(data));
    if (handle !== undefined) return handle;
    if (js.isBytes(data)) return data;
    throw invalid();
  };
  const putFile = (state, file) => {
    const headers = { __proto__: null, 'Content-Type': file.contentType, 'If-Match': file.etag };
    checked(state.session, 'PUT', joined(state.url, file.path), { __proto__: null, headers: headers, body: contentOf(file.data, file.charset) });
  };

  defineClass('Webdav', null, {
    mkCol(name) {
      need('folders').mkcol(stateOf(this, 'dav'), name, '');
    },
    mkOData(name) {
      need('folders').mkcol(stateOf(this, 'dav'), name, '<p:odata/>');
    },
    mkService(name) {
      need('folders').mkcol(stateOf(this, 'dav'), name, '<p:service/>');
    },
    getFileList() {
      return need('folders').members(stateOf(this, 'dav'), false);
    },
    getColList() {
      return need('folders').members(stateOf(this, 'dav'), true);
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
      return need('odata').odataCollection(state.session, joined(state.url, textArgument(name)), name);
    },
    service(name) {
      const state = stateOf(this, 'dav');
      return need('service').serviceCollection(state.session, joined(state.url, textArgument(name)), name);
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
      const options = { __proto__: null, headers: js.create(null), accept: 'bytes' };
      const bytes = checked(state.session, 'GET', joined(state.url, textArgument(path)), options).body;
      return guarded(() => host.decode(bytes, wanted));
    },
    getStream(path) {
      const state = stateOf(this, 'dav');
      const options = { __proto__: null, headers: js.create(null), accept: 'stream' };
      const answer = checked(state.session, 'GET', joined(state.url, textArgument(path)), options);
      return guarded(() => host.newStream(answer.body));
    },
    put(given, contentType, data, etag) {
      const state = stateOf(this, 'dav');
      if (typeof given === 'string') {
        const path = textArgument(given);
        putFile(state, { __proto__: null, path: path, contentType: textArgument(contentType), data: data, charset: 'UTF-8', etag: etag ? text(etag) : '*' });
        return;
      }
      const file = objectArgument(given);
      if (!file.path || !file.contentType || !file.data) throw invalid();
      putFile(state, {
        __proto__: null, path: textArgument(file.path), contentType: textArgument(file.contentType), data: file.data,
        charset: file.charset ? text(file.charset) : 'UTF-8', etag: file.etag ? text(file.etag) : '*',
      });
    },
    del(path, etag) {
      const state = stateOf(this, 'dav');
      const headers = { __proto__: null, 'If-Match': etag ? text(etag) : '*' };
      checked(state.session, 'DELETE', joined(state.url, textArgument(path)), { __proto__: null, headers: headers });
    },
  });
  const withAcl = (object, state) => {
    js.put(object, 'name', state.name, true);
    lazy(object, 'acl', () => need('acl').aclOf(state.session, state.url, state.cellUrl));
  };
  defineClass('DavCollection', 'Webdav', {}, withAcl);
  defineClass('BoxCtl', null, {}, (object, state) => {
    const defaults = state.name === '__' ? null : { __proto__: null, '_Box.Name': state.name };
    js.put(object, 'role', need('control').manager('Role', state.session, state.cellUrl + '__ctl/', { defaults: defaults }), true);
  });
  defineClass('Box', 'Webdav', {
    getMetaData() {
      const state = stateOf(this, 'dav');
      return checked(state.session, 'GET', state.url, { __proto__: null, headers: { __proto__: null, Accept: 'application/json' } }).body;
    },
    getName() {
      return stateOf(this, 'dav').name;
    },
  }, (object, state) => {
    withAcl(object, state);
    js.put(object, 'schema', state.schema, true);
    lazy(object, 'ctl', () => make('BoxCtl', {
      family: 'boxctl', session: state.session, cellUrl: state.cellUrl, name: state.name,
    }));
  });
  const boxOf = (session, cellUrl, values) => {
    const url = cellUrl + encodeName(values.name);
    return make('Box', {
      family: 'dav', session: session, url: url, cellUrl: cellUrl, name: values.name, schema: values.schema,
    });
  };

  return { __proto__: null, boxOf };
})
