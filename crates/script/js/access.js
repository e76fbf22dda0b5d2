// `_p.as(...)`: the identities, their tokens.
(function (host, shared) {
  'use strict';
  const { text, encode, keys, replace, slice, matches } = shared.js;
  const { failure, invalid, guarded, stateOf, defineClass, make, member, cellUrlOf, withSlash, checked, parsed } = shared.base;
  const { parseXml, all } = shared.xml;

  const NONE = { token: null };
  const isText = (value) => typeof value === 'string';
  const haveTexts = (object, names) => {
    for (const name of names) {
      if (!isText(member(object, name))) return false;
    }
    return true;
  };
  const form = (fields) => guarded(() => {
    let out = '';
    for (const name of keys(fields)) {
      if (fields[name] !== undefined) out += (out === '' ? '' : '&') + encode(name) + '=' + encode(fields[name]);
    }
    return out;
  });
  const requestToken = (cellUrl, fields) => {
    const headers = { 'Content-Type': 'application/x-www-form-urlencoded', Accept: 'application/json' };
    return parsed(checked(NONE, 'POST', cellUrl + '__token', { headers: headers, body: form(fields) }).body);
  };

  // The grant of an argument of `_p.as`; undefined if it is none.
  const grantOf = (given) => {
    const SCHEMA = ['schemaUrl', 'schemaUserId', 'schemaPassword'];
    if (!haveTexts(given, ['cellUrl'])) return undefined;
    let fields;
    let withSchema = haveTexts(given, SCHEMA);
    if (haveTexts(given, ['userId', 'password'])) {
      fields = { grant_type: 'password', username: given.userId, password: given.password };
    } else if (haveTexts(given, ['accessToken'])) {
      fields = { grant_type: 'urn:ietf:params:oauth:grant-type:saml2-bearer', assertion: given.accessToken };
    } else if (haveTexts(given, ['refreshToken'])) {
      fields = { grant_type: 'refresh_token', refresh_token: given.refreshToken };
      withSchema = false;
    } else {
      return undefined;
    }
    return { cellUrl: given.cellUrl, fields: fields, schema: withSchema ? schemaOf(given) : null };
  };
  const schemaOf = (given) => ({ url: given.schemaUrl, userId: given.schemaUserId, password: given.schemaPassword });

  // The cell that an assertion (a SAML document in Base64, for URLs or not) is for; null if it names none.
  const audienceOf = (assertion) => {
    let encoded = replace(replace(assertion, /-/g, '+'), /_/g, '/');
    encoded = replace(encoded, /[=\s]/g, '');
    encoded += slice('===', 0, (4 - (encoded.length % 4)) % 4);
    try {
      const found = all(parseXml(host.decode(host.fromBase64(encoded), 'utf-8')), 'Audience');
      const url = found.length === 0 ? '' : found[0].text.trim();
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
    const fields = {};
    for (const name of keys(grant.fields)) fields[name] = grant.fields[name];
    if (target !== null && target !== named && target !== base) fields.p_target = target;
    if (owner) fields.cell_owner = 'true';
    if (grant.schema !== null) {
      const application = cellUrlOf(grant.schema.url);
      const proof = requestToken(application, {
        grant_type: 'password', username: grant.schema.userId, password: grant.schema.password, p_target: base,
      });
      fields.client_id = application;
      fields.client_secret = text(proof.access_token);
    }
    const tokens = requestToken(base, fields);
    return { token: 'token:' + text(tokens.access_token), tokens: tokens };
  };

  const sessionOf = (state, target) => {
    if (state.grant === undefined) return state.session;
    const session = granted(state.grant, target, false);
    state.last = session;
    return session;
  };

  // The tokens of a session, all as texts.
  const tokensOf = (session, url) => {
    const tokens = session.tokens || { token_type: 'Bearer' };
    const access = () => {
      if (session.token === 'caller') return host.context.callerToken;
      if (session.token === 'service') return guarded(() => host.tokenOfService(url));
      return session.token === null ? null : session.token.slice(6);
    };
    const shown = (value) => text(value === undefined ? null : value);
    return {
      access_token: shown(access()),
      expires_in: shown(tokens.expires_in),
      refresh_token: shown(tokens.refresh_token),
      refresh_token_expires_in: shown(tokens.refresh_token_expires_in),
      token_type: shown(tokens.token_type),
    };
  };

  defineClass('Accessor', null, {
    cell(given) {
      const state = stateOf(this, 'accessor');
      const named = isText(given) ? cellUrlOf(given) : null;
      const home = state.grant === undefined ? host.context.cellUrl : cellUrlOf(state.grant.cellUrl);
      const session = sessionOf(state, named);
      return shared.cellOf(session, named === null ? home : named, state.schema);
    },
    unit(given) {
      const state = stateOf(this, 'accessor');
      const url = isText(given) ? withSlash(given) : host.context.unitUrl;
      return shared.unitOf(sessionOf(state, url), url);
    },
    asCellOwner() {
      const state = stateOf(this, 'accessor');
      const session = state.grant === undefined ? state.session : granted(state.grant, null, true);
      return make('OwnerAccessor', { family: 'accessor', session: session, grant: undefined });
    },
    changePassword(newPassword) {
      const state = stateOf(this, 'accessor');
      if (!isText(newPassword)) throw invalid();
      const session = state.last || sessionOf(state, null);
      const url = state.grant === undefined ? host.context.cellUrl : cellUrlOf(state.grant.cellUrl);
      checked(session, 'PUT', url + '__mypassword', { headers: { 'X-Personium-Credential': newPassword } });
    },
  });
  defineClass('OwnerAccessor', 'Accessor', {}, (object, state) => {
    object.unit = shared.unitOf(state.session, host.context.unitUrl);
  });

  // An argument of `_p.as` as an accessor.
  const as = (given) => {
    const accessor = (state) => make('Accessor', Object.assign({ family: 'accessor' }, state));
    if (given === 'client') return accessor({ session: { token: 'caller' } });
    if (given === 'serviceSubject') {
      if (host.context.subject === null) throw failure(0, 'ServiceSubject undefined.');
      return accessor({ session: { token: 'service' } });
    }
    if (typeof given !== 'object' || given === null) throw invalid();
    const grant = grantOf(given);
    if (grant !== undefined) {
      return accessor({ grant: grant, schema: grant.schema === null ? null : cellUrlOf(grant.schema.url) });
    }
    if (!isText(member(given, 'accessToken'))) throw invalid();
    return accessor({ session: { token: 'token:' + given.accessToken } });
  };

  shared.access = { as, tokensOf, form, NONE };
})
