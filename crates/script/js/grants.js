// The grants of `_p.as`: requests for tokens, and tokens as scripts see them.
(function (host, need, js) {
  'use strict';
  const { text, encode, keys, replace, slice, matches, copy } = js;
  const { guarded, member, cellUrlOf, withSlash, checked, parsed } = need('base');

  const NONE = { __proto__: null, token: null };
  const isText = (value) => typeof value === 'string';
  const haveTexts = (object, names) => {
    for (let at = 0; at < names.length; at += 1) {
      if (!isText(member(object, names[at]))) return false;
    }
    return true;
  };
  const form = (fields) => guarded(() => {
    let out = '';
    const names = keys(fields);
    for (let at = 0; at < names.length; at += 1) {
      const name = names[at];
      if (fields[name] !== undefined) out += (out === '' ? '' : '&') + encode(name) + '=' + encode(fields[name]);
    }
    return out;
  });
  const requestToken = (cellUrl, fields) => {
    const headers = { __proto__: null, 'Content-Type': 'application/x-www-form-urlencoded', Accept: 'application/json' };
    return parsed(checked(NONE, 'POST', cellUrl + '__token', { __proto__: null, headers: headers, body: form(fields) }).body);
  };

  // The grant of an argument of `_p.as`; undefined if it is none.
  const grantOf = (given) => {
    const SCHEMA = ['schemaUrl', 'schemaUserId', 'schemaPassword'];
    if (!haveTexts(given, ['cellUrl'])) return undefined;
    let fields;
    let withSchema = haveTexts(given, SCHEMA);
    if (haveTexts(given, ['userId', 'password'])) {
      fields = { __proto__: null, grant_type: 'password', username: given.userId, password: given.password };
    } else if (haveTexts(given, ['accessToken'])) {
      fields = { __proto__: null, grant_type: 'urn:ietf:params:oauth:grant-type:saml2-bearer', assertion: given.accessToken };
    } else if (haveTexts(given, ['refreshToken'])) {
      fields = { __proto__: null, grant_type: 'refresh_token', refresh_token: given.refreshToken };
      withSchema = false;
    } else {
      return undefined;
    }
    return { __proto__: null, cellUrl: given.cellUrl, fields: fields, schema: withSchema ? schemaOf(given) : null };
  };
  const schemaOf = (given) => ({ __proto__: null, url: given.schemaUrl, userId: given.schemaUserId, password: given.schemaPassword });

  // The cell that an assertion (a SAML document in Base64, for URLs or not) is for; null if it names none.
  const audienceOf = (assertion) => {
    let encoded = replace(replace(assertion, /-/g, '+'), /_/g, '/');
    encoded = replace(encoded, /[=\s]/g, '');
    encoded += slice('===', 0, (4 - (encoded.length % 4)) % 4);
    try {
      const { all, parseXml } = need('xml');
      const found = all(parseXml(host.decode(host.fromBase64(encoded), 'utf-8')), 'Audience');
      const url = found.length === 0 ? '' : js.trim(found[0].text);
      return matches(/^https?:\/\//i, url) ? withSlash(url) : null;
    } catch (_) {
      return null;
    }
  };

  // Asks for a token of a grant. `target` is the URL of another cell or unit, or null. An assertion is exchanged where it is
  // valid, which may be another cell than the one that the script talks to.
  const granted = (grant, target, owner) => {
    const named = cellUrlOf(grant.cellUrl);
    const assertion = grant.fields.assertion;
    const base = (assertion !== undefined && audienceOf(assertion)) || named;
    const fields = copy(js.create(null), grant.fields);
    if (target !== null && target !== named && target !== base) fields.p_target = target;
    if (owner) fields.cell_owner = 'true';
    if (grant.schema !== null) {
      const application = cellUrlOf(grant.schema.url);
      const proof = requestToken(application, {
        __proto__: null, grant_type: 'password', username: grant.schema.userId, password: grant.schema.password, p_target: base,
      });
      fields.client_id = application;
      fields.client_secret = text(member(proof, 'access_token'));
    }
    const tokens = requestToken(base, fields);
    return { __proto__: null, token: 'token:' + text(member(tokens, 'access_token')), tokens: tokens };
  };

  // The tokens of a session, all as texts.
  const tokensOf = (session, url) => {
    const isGiven = session.token !== 'caller' && session.token !== 'service';
    const tokens = member(session, 'tokens') || { token_type: isGiven ? 'null' : 'Bearer', expires_in: session.token === 'service' ? 3600 : 0 };
    const access = () => {
      if (session.token === 'caller') return host.context.callerToken;
      if (session.token === 'service') return guarded(() => host.tokenOfService(url));
      return session.token === null ? null : slice(session.token, 6);
    };
    const shown = (name, absent) => {
      const value = member(tokens, name);
      return value === undefined || value === null ? absent : text(value);
    };
    return {
      access_token: text(access()),
      expires_in: shown('expires_in', '0'),
      refresh_token: shown('refresh_token', ''),
      refresh_token_expires_in: shown('refresh_token_expires_in', '0'),
      token_type: shown('token_type', 'null'),
    };
  };

  return { __proto__: null, NONE, form, grantOf, granted, requestToken, tokensOf };
})
