// Collections of WebDAV: how they are made and listed.
(function (host, need, js) {
  'use strict';
  const { decode, replace } = js;
  const { textArgument, joined, checked } = need('base');
  const { parseXml, child, all, NAMESPACES, HEAD } = need('xml');

  const XML = { __proto__: null, 'Content-Type': 'application/xml', Accept: 'application/xml' };
  const mkcol = (state, name, type) => {
    const body = HEAD + '<D:mkcol ' + NAMESPACES + '><D:set><D:prop><D:resourcetype><D:collection/>' + type
      + '</D:resourcetype></D:prop></D:set></D:mkcol>';
    checked(state.session, 'MKCOL', joined(state.url, textArgument(name)), { __proto__: null, headers: XML, body: body });
  };
  const propfind = (session, url, depth) => {
    const headers = js.copy({ __proto__: null, Depth: depth }, XML);
    const body = HEAD + '<D:propfind xmlns:D="DAV:"><D:allprop/></D:propfind>';
    return all(parseXml(checked(session, 'PROPFIND', url, { __proto__: null, headers: headers, body: body }).body), 'response');
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
    return href === null ? '' : replace(decoded(js.trim(href.text)), /\/+$/, '');
  };
  // The URLs of the members of a collection: its collections, or the others.
  const members = (state, collections) => {
    const found = [];
    const responses = propfind(state.session, state.url, '1');
    // The first response is the collection itself.
    for (let at = 1; at < responses.length; at += 1) {
      const types = all(responses[at], 'resourcetype');
      const isCollection = types.length > 0 && child(types[0], 'collection') !== null;
      if (isCollection === collections) js.push(found, hrefOf(responses[at]));
    }
    return found;
  };

  return { __proto__: null, XML, mkcol, propfind, decoded, members };
})
