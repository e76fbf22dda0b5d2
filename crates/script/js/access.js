// `_p.as(...)`: the identities.
(function (host, need, js) {
  'use strict';
  const { failure, invalid, stateOf, defineClass, make, lazy, member, cellUrlOf, withSlash, checked } = need('base');

  const isText = (value) => typeof value === 'string';
  const sessionOf = (state, target) => {
    if (state.grant === undefined) return state.session;
    const session = need('grants').granted(state.grant, target, false);
    state.last = session;
    return session;
  };

  defineClass('Accessor', null, {
    cell(given) {
      const state = stateOf(this, 'accessor');
      const named = isText(given) ? cellUrlOf(given) : null;
      const home = state.grant === undefined ? host.context.cellUrl : cellUrlOf(state.grant.cellUrl);
      const session = sessionOf(state, named);
      return need('cell').cellOf(session, named === null ? home : named, state.schema);
    },
    unit(given) {
      const state = stateOf(this, 'accessor');
      const url = isText(given) ? withSlash(given) : host.context.unitUrl;
      return need('cell').unitOf(sessionOf(state, url), url);
    },
    asCellOwner() {
      const state = stateOf(this, 'accessor');
      const { granted, requestToken } = need('grants');
      // An identity without grant asks for nothing, which is refused.
      if (state.grant === undefined && !state.isGiven) requestToken(host.context.cellUrl, { __proto__: null, cell_owner: 'true' });
      const session = state.grant === undefined ? state.session : granted(state.grant, null, true);
      return make('OwnerAccessor', { family: 'accessor', session: session, grant: undefined });
    },
    changePassword(newPassword) {
      const state = stateOf(this, 'accessor');
      if (!isText(newPassword)) throw invalid();
      const session = state.last || sessionOf(state, null);
      const url = state.grant === undefined ? host.context.cellUrl : cellUrlOf(state.grant.cellUrl);
      checked(session, 'PUT', url + '__mypassword', { __proto__: null, headers: { __proto__: null, 'X-Personium-Credential': newPassword } });
    },
  });
  defineClass('OwnerAccessor', 'Accessor', {}, (object, state) => {
    lazy(object, 'unit', () => need('cell').unitOf(state.session, host.context.unitUrl));
  });

  // An argument of `_p.as` as an accessor.
  const as = (given) => {
    const accessor = (state) => make('Accessor', js.copy({ family: 'accessor' }, state));
    if (given === 'client') return accessor({ session: { __proto__: null, token: 'caller' } });
    if (given === 'serviceSubject') {
      if (host.context.subject === null) throw failure(0, 'ServiceSubject undefined.');
      return accessor({ session: { __proto__: null, token: 'service' } });
    }
    if (given === undefined || given === null) throw failure(0, 'read property "cellUrl" from ' + js.text(given));
    if (typeof given !== 'object') throw invalid();
    const grant = need('grants').grantOf(given);
    if (grant !== undefined) {
      return accessor({ grant: grant, schema: grant.schema === null ? null : cellUrlOf(grant.schema.url) });
    }
    if (!isText(member(given, 'accessToken'))) throw invalid();
    return accessor({ session: { __proto__: null, token: 'token:' + given.accessToken }, isGiven: true });
  };

  return { __proto__: null, as };
})
