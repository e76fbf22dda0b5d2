// Reads and writes the few XML documents of WebDAV that the library needs.
(function (host, need, js) {
  'use strict';
  const { text, number, replace, indexOf, slice, matches, lower, push } = js;

  const ENTITIES = { __proto__: null, lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" };
  const character = (code) => (code > 0 && code < 0x110000 ? js.fromCodePoint(code) : '');
  const unescape = (value) => replace(value, /&(#x[0-9a-fA-F]{1,6}|#[0-9]{1,7}|lt|gt|amp|quot|apos);/g, (found) => {
    const name = found[1];
    if (name[0] !== '#') return ENTITIES[name];
    return character(lower(name[1]) === 'x' ? number('0x' + slice(name, 2)) : number(slice(name, 1)));
  });
  const escape = (value) => replace(replace(replace(replace(text(value), /&/g, '&amp;'), /</g, '&lt;'), />/g, '&gt;'), /"/g, '&quot;');
  const localName = (name) => slice(name, indexOf(name, ':') + 1);

  const attributesOf = (source) => {
    const attributes = { __proto__: null };
    replace(source, /([^\s=]+)\s*=\s*(?:"([^"]*)"|'([^']*)')/g, (found) => {
      if (indexOf(found[1], 'xmlns') !== 0) attributes[localName(found[1])] = unescape(found[2] === undefined ? found[3] : found[2]);
      return '';
    });
    return attributes;
  };

  // The elements of a document: local name, attributes, children, text. What is not well-formed ends it.
  const parseXml = (source) => {
    const root = { __proto__: null, name: '', attributes: {}, children: [], text: '' };
    const open = [root];
    let at = 0;
    while (at < source.length) {
      const start = indexOf(source, '<', at);
      if (start < 0) break;
      open[open.length - 1].text += unescape(slice(source, at, start));
      if (slice(source, start, start + 4) === '<!--') {
        const end = indexOf(source, '-->', start);
        if (end < 0) break;
        at = end + 3;
        continue;
      }
      const end = indexOf(source, '>', start);
      if (end < 0) break;
      const tag = slice(source, start + 1, end);
      at = end + 1;
      if (tag[0] === '?' || tag[0] === '!') continue;
      if (tag[0] === '/') {
        if (open.length > 1) open.length -= 1;
        continue;
      }
      const empty = slice(tag, -1) === '/';
      const inner = empty ? slice(tag, 0, -1) : tag;
      const name = replace(inner, /\s[^]*$/, '');
      const element = { __proto__: null, name: localName(name), attributes: attributesOf(slice(inner, name.length)), children: [], text: '' };
      push(open[open.length - 1].children, element);
      if (!empty) push(open, element);
    }
    return root;
  };
  const child = (element, name) => {
    for (let at = 0; at < element.children.length; at += 1) {
      if (element.children[at].name === name) return element.children[at];
    }
    return null;
  };
  // The elements of a name below an element, in document order.
  const all = (element, name) => {
    const found = [];
    const waiting = [element];
    while (waiting.length > 0) {
      const one = waiting[waiting.length - 1];
      waiting.length -= 1;
      if (one.name === name) push(found, one);
      for (let at = one.children.length - 1; at >= 0; at -= 1) push(waiting, one.children[at]);
    }
    return found;
  };

  const NAMESPACES = 'xmlns:D="DAV:" xmlns:p="urn:x-personium:xmlns"';
  const HEAD = '<?xml version="1.0" encoding="utf-8"?>';
  const isName = (value) => matches(/^[A-Za-z_][A-Za-z0-9_.-]*$/, value);

  return { __proto__: null, parseXml, child, all, escape, isName, NAMESPACES, HEAD };
})
