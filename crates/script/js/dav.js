// Boxes, collections and files.
(function (host, need, js) {
  'use strict';
  const { text } = js;
  const {
    invalid, failure, guarded, stateOf, defineClass, make, lazy, textArgument, javaText, member, encodeName, joined, checked,
  } = need('base');

  // Uses a character set, which may be unknown.
  const withCharset = (message, act) => guarded(() => {
    try {
      return act();
    } catch (error) {
      throw member(error, 'code') === 'charset' ? failure(0, message) : error;
    }
  });
  // The body of a file from the argument of `put`: a stream, bytes, or a value as a text.
  const contentOf = (data, charset) => {
    const handle = guarded(() => host.handleOf(data));
    if (handle !== undefined) return handle;
    if (js.isBytes(data)) return data;
    const content = javaText(data);
    if (content === null) throw invalid();
    return js.lower(charset) === 'utf-8' ? content : withCharset('UnsupportedEncodingException', () => host.encode(content, charset));
  };
  const putFile = (state, file) => {
    const headers = { __proto__: null, 'Content-Type': file.contentType, 'If-Match': file.etag };
    checked(state.session, 'PUT', joined(state.url, file.path), { __proto__: null, headers: headers, body: contentOf(file.data, file.charset) });
  };

  // The URL of a resource as scripts see it: with the names as they were given.
  const shownPath = (above, name) => js.replace(above, /\/+$/, '') + '/' + js.replace(name, /^\/+/, '');

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
      const url = joined(state.url, textArgument(name));
      const path = shownPath(state.path, textArgument(name));
      return make('DavCollection', { family: 'dav', session: state.session, url: url, path: path, cellUrl: state.cellUrl, name: '' });
    },
    odata(name) {
      const state = stateOf(this, 'dav');
      return need('odata').odataCollection(state.session, joined(state.url, textArgument(name)), '');
    },
    service(name) {
      const state = stateOf(this, 'dav');
      return need('service').serviceCollection(state.session, joined(state.url, textArgument(name)), '');
    },
    getPath() {
      return stateOf(this, 'dav').path;
    },
    makeUrlString() {
      return stateOf(this, 'dav').url;
    },
    getString(path, charset) {
      const state = stateOf(this, 'dav');
      const wanted = charset ? text(charset) : 'utf-8';
      const options = { __proto__: null, headers: js.create(null), accept: 'bytes' };
      const bytes = checked(state.session, 'GET', joined(state.url, textArgument(path)), options).body;
      return withCharset('io exception', () => host.decode(bytes, wanted));
    },
    getStream(path) {
      const state = stateOf(this, 'dav');
      const options = { __proto__: null, headers: js.create(null), accept: 'stream' };
      const answer = checked(state.session, 'GET', joined(state.url, textArgument(path)), options);
      return guarded(() => host.newStream(answer.body));
    },
    put(given, contentType, data, etag) {
      const state = stateOf(this, 'dav');
      if (given === undefined || given === null || (typeof given === 'string' && arguments.length < 3)) throw invalid();
      if (typeof given === 'string') {
        const path = textArgument(given);
        putFile(state, { __proto__: null, path: path, contentType: javaText(contentType) || null, data: data, charset: 'UTF-8', etag: etag ? text(etag) : '*' });
        return;
      }
      if (!given.path || !given.contentType || !given.data) throw invalid();
      const charset = given.charset ? text(given.charset) : 'UTF-8';
      const tag = given.etag ? text(given.etag) : '*';
      try {
        // Scripts see what was filled in.
        given.charset = charset;
        given.etag = tag;
      } catch (_) { /* it is frozen */ }
      putFile(state, {
        __proto__: null, path: javaText(given.path), contentType: javaText(given.contentType), data: given.data, charset: charset, etag: tag,
      });
    },
    del(path, etag) {
      const state = stateOf(this, 'dav');
      const headers = { __proto__: null, 'If-Match': etag ? text(etag) : '*' };
      checked(state.session, 'DELETE', joined(state.url, textArgument(path)), { __proto__: null, headers: headers });
    },
  }, undefined, {
    __proto__: null,
    // With the character set between type and content.
    put(path, contentType, charset, data, etag) {
      const state = stateOf(this, 'dav');
      const hasCharset = arguments.length > 4;
      const content = hasCharset ? data : charset;
      const tag = hasCharset ? etag : data;
      putFile(state, {
        __proto__: null, path: textArgument(path), contentType: javaText(contentType) || null, data: content,
        charset: hasCharset ? text(charset) : 'UTF-8', etag: tag ? text(tag) : '*',
      });
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
      family: 'dav', session: session, url: url, path: cellUrl + values.name, cellUrl: cellUrl, name: values.name, schema: values.schema,
    });
  };

  return { __proto__: null, boxOf };
})
